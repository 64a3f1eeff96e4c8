//! A webhook's far end: keeps what it was sent, answers as scripted, checks signatures.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::{
    server::{Server, close_connection},
    wait,
};

/// How a request is met in place of 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answer this status; nothing counts as accepted.
    Status(u16),
    /// Accept after this long.
    Hang(Duration),
    /// Close the connection without an answer.
    Close,
    /// Accept, then close without an answer: the sender cannot know.
    LoseAnswer,
}

/// One request that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) at: Instant,
    /// `POST /alerts`.
    pub(crate) request: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Delivery {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|why| panic!("no JSON ({why}): {}", self.body))
    }

    /// `event` of the contract in docs/BEHAVIOUR.md 12.
    pub(crate) fn event(&self) -> String {
        self.json()["event"].as_str().unwrap_or_default().to_owned()
    }

    /// `incident.<field>`, as text whether it is a string or a number.
    pub(crate) fn incident(&self, field: &str) -> String {
        let value = &self.json()["incident"][field];
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// Whether `X-Atalaya-Signature` is `sha256=<hex HMAC of the body>` under this secret.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(self.body.as_bytes());
        let hex = mac
            .finalize()
            .into_bytes()
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        self.headers
            .get("x-atalaya-signature")
            .is_some_and(|it| it.as_bytes() == format!("sha256={hex}").as_bytes())
    }
}

#[derive(Default)]
struct Log {
    attempts: Vec<Instant>,
    accepted: Vec<Delivery>,
    script: VecDeque<Fault>,
    standing: Option<Fault>,
}

/// The sink. Any path and method reaches it.
pub(crate) struct Webhook {
    server: Server,
    log: Arc<Mutex<Log>>,
}

impl Webhook {
    pub(crate) async fn start() -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let router = Router::new().fallback(receive).with_state(Arc::clone(&log));
        Self { server: Server::start(router).await, log }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/alerts", self.server.port)
    }

    /// Everything accepted so far, in order.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.log().accepted.clone()
    }

    /// Accepted deliveries with this `event`.
    pub(crate) fn events(&self, event: &str) -> Vec<Delivery> {
        self.deliveries().into_iter().filter(|it| it.event() == event).collect()
    }

    /// When each request came, refused ones too.
    pub(crate) fn attempts(&self) -> Vec<Instant> {
        self.log().attempts.clone()
    }

    /// Waits for the first accepted delivery that `wanted` accepts.
    pub(crate) async fn expect(
        &self,
        deadline: Duration,
        what: &str,
        wanted: impl Fn(&Delivery) -> bool,
    ) -> Delivery {
        wait::eventually(deadline, what, async || {
            self.deliveries().into_iter().find(|it| wanted(it))
        })
        .await
    }

    /// The next requests meet these, one each.
    pub(crate) fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.log().script.extend(faults);
    }

    /// Every request meets this, after the script, until `None`.
    pub(crate) fn answer_all_with(&self, fault: Option<Fault>) {
        self.log().standing = fault;
    }

    pub(crate) async fn stop(&mut self) {
        self.server.stop().await;
    }

    pub(crate) async fn start_again(&mut self) {
        self.server.start_again().await;
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no handler panics with the log in hand")
    }
}

async fn receive(
    State(log): State<Arc<Mutex<Log>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let lock = || log.lock().expect("no handler panics with the log in hand");
    let fault = {
        let mut log = lock();
        log.attempts.push(wait::now());
        log.script.pop_front().or_else(|| log.standing.clone())
    };
    match &fault {
        Some(Fault::Status(status)) => {
            return StatusCode::from_u16(*status).expect("scripted statuses exist");
        }
        Some(Fault::Close) => close_connection(),
        Some(Fault::Hang(length)) => wait::pause(*length).await,
        Some(Fault::LoseAnswer) | None => {}
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    let request = format!("{method} {uri}");
    lock().accepted.push(Delivery { at: wait::now(), request, headers, body });
    if fault == Some(Fault::LoseAnswer) {
        close_connection();
    }
    StatusCode::OK
}
