//! A server on loopback for tests: it answers by a script and remembers what it was asked.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response, Uri},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet, time::timeout};

/// How long a test waits for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// One answer of the script.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Answer {
    #[expect(clippy::needless_pass_by_value, reason = "scripts read better with values")]
    pub(crate) fn new(status: u16, body: impl ToString) -> Self {
        Self { status, headers: Vec::new(), body: body.to_string() }
    }

    /// A refusal as the Bot API words it.
    pub(crate) fn refusal(code: u16, description: &str) -> Self {
        let body = json!({ "ok": false, "error_code": code, "description": description });
        Self::new(code, body)
    }
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("the body is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|it| it.to_str().expect("a header of ASCII"))
    }
}

#[derive(Default)]
struct Memory {
    /// By the last part of the path: the method's name of the Bot API.
    script: HashMap<String, VecDeque<Answer>>,
    asked: HashMap<String, Vec<Asked>>,
}

#[derive(Default)]
struct Shared {
    memory: Mutex<Memory>,
    changed: Notify,
}

pub(crate) struct Fake {
    pub(crate) url: reqwest::Url,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        let url = format!("http://{address}").parse().expect("a url");
        Self { url, shared, _serving: serving }
    }

    /// The next request for `method` that has no answer yet gets this one.
    pub(crate) fn script(&self, method: &str, answer: Answer) {
        let mut memory = self.shared.memory.lock().expect("no test panics in it");
        memory.script.entry(method.to_owned()).or_default().push_back(answer);
        self.shared.changed.notify_waiters();
    }

    pub(crate) fn asked(&self, method: &str) -> Vec<Asked> {
        let memory = self.shared.memory.lock().expect("no test panics in it");
        memory.asked.get(method).cloned().unwrap_or_default()
    }

    /// Waits until `method` was asked `count` times.
    pub(crate) async fn wait(&self, method: &str, count: usize) -> Vec<Asked> {
        let come = async {
            loop {
                let changed = self.shared.changed.notified();
                let asked = self.asked(method);
                if count <= asked.len() {
                    return asked;
                }
                changed.await;
            }
        };
        timeout(DEADLINE, come).await.unwrap_or_else(|_| panic!("{method} was not asked"))
    }
}

/// What is not in the script succeeds, but a poll for updates, which is held until there is something.
async fn serve(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response<Body> {
    let method = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let count = {
        let mut memory = shared.memory.lock().expect("no test panics in it");
        let asked = memory.asked.entry(method.clone()).or_default();
        asked.push(Asked { headers, bytes });
        asked.len()
    };
    shared.changed.notify_waiters();
    let answer = loop {
        let changed = shared.changed.notified();
        let scripted = {
            let mut memory = shared.memory.lock().expect("no test panics in it");
            memory.script.get_mut(&method).and_then(VecDeque::pop_front)
        };
        match (scripted, method.as_str()) {
            (Some(answer), _) => break answer,
            (None, "GetUpdates") => changed.await,
            (None, "SendMessage") => {
                let result = json!({ "message_id": 100 + count });
                break Answer::new(200, json!({ "ok": true, "result": result }));
            }
            (None, _) => break Answer::new(200, json!({ "ok": true, "result": true })),
        }
    };
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).expect("a response")
}
