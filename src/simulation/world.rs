//! What the house is simulated with: receivers that remember, a source that works or not, a registry
//! that the test writes.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Notify, time::Instant};

use super::house::lock;
use crate::{
    actors::edges::Edge,
    domain::{
        delivery::{Attempt, Body, Delivery, Event, Message, Span},
        id::SourceId,
    },
    ports::{
        Pending,
        clock::Clock,
        notifier::{Ailment, Context as Sending, Notifier},
        registry::{Call, Read, Registry, Unreadable},
        service_manager::ServiceManager,
        sign::Sign,
        source::{Ear, Source, SourceEnded},
    },
};

/// A clock that begins on the same day in every run, and goes on when the house is built anew.
pub(super) struct Calendar(Instant);

impl Calendar {
    #[expect(clippy::disallowed_methods, reason = "the time of a simulation is tokio's")]
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Calendar {
    #[expect(clippy::disallowed_methods, reason = "the time of a simulation is tokio's")]
    fn now(&self) -> Timestamp {
        const MONDAY: Timestamp = Timestamp::constant(1_795_392_000, 0);
        let elapsed = SignedDuration::try_from(self.0.elapsed()).unwrap_or(SignedDuration::MAX);
        MONDAY.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    fn wall(&self) -> Timestamp {
        self.now()
    }

    fn suspended(&self) -> SignedDuration {
        SignedDuration::ZERO
    }
}

/// What one receiver was given and accepted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub at: Timestamp,
    pub reference: String,
    /// The plain text of the message, or `event watch` for a machine.
    pub text: String,
    pub rings: bool,
    pub edit: bool,
    pub key: String,
}

/// A receiver that remembers; scripted answers come first.
#[derive(Default)]
pub(super) struct Sink {
    pub told: Mutex<Vec<Told>>,
    pub script: Mutex<VecDeque<Attempt>>,
    /// Refuses to answer at all.
    pub hangs: AtomicBool,
    next: Mutex<u64>,
    pub clock: Mutex<Option<Arc<dyn Clock>>>,
}

impl Sink {
    pub(super) fn texts(&self) -> Vec<String> {
        lock(&self.told).iter().map(|it| it.text.clone()).collect()
    }

    /// Keys of accepted machine events: `opened agent/mary`.
    pub(super) fn count(&self, text: &str) -> usize {
        lock(&self.told).iter().filter(|it| it.text == text).count()
    }

    pub(super) fn rings(&self) -> usize {
        lock(&self.told).iter().filter(|it| it.rings).count()
    }
}

impl Notifier for Sink {
    fn look(&self) -> Pending<'_, Result<String, Ailment>> {
        Box::pin(async { Ok("plays a receiver".to_owned()) })
    }

    fn send<'a>(&'a self, delivery: &'a Delivery, context: &'a Sending) -> Pending<'a, Attempt> {
        Box::pin(async move {
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if let Some(attempt) = lock(&self.script).pop_front()
                && !matches!(attempt, Attempt::Accepted { .. })
            {
                return attempt;
            }
            let (text, rings, edit) = match &delivery.body {
                Body::New { message, rings } => (plain(message), *rings, false),
                Body::Edit { message } => (plain(message), false, true),
                Body::Event(event) => {
                    (format!("{} {}", event.event, event_watch(event)), true, false)
                }
            };
            let known = context.reference.clone().filter(|_| edit);
            let reference = known.unwrap_or_else(|| {
                let mut next = lock(&self.next);
                *next += 1;
                next.to_string()
            });
            let at = lock(&self.clock).as_ref().map_or(Timestamp::UNIX_EPOCH, |it| it.now());
            let key = delivery.key.clone();
            lock(&self.told).push(Told {
                at,
                reference: reference.clone(),
                text,
                rings,
                edit,
                key,
            });
            Attempt::Accepted { reference: Some(reference) }
        })
    }
}

fn plain(message: &Message) -> String {
    let words = |spans: &[Span]| {
        spans
            .iter()
            .map(|it| match it {
                Span::Plain(text) | Span::Bold(text) | Span::Italic(text) | Span::Code(text) => {
                    text.as_str()
                }
            })
            .collect::<String>()
    };
    format!("{} {}", message.glyph, words(&message.headline)).replace(['\u{2068}', '\u{2069}'], "")
}

/// A source that proves itself as long as it works.
pub(super) struct Bus {
    pub name: &'static str,
    pub works: AtomicBool,
    pub clock: Arc<dyn Clock>,
}

impl Source for Bus {
    fn name(&self) -> &str {
        self.name
    }

    fn run(&self, ear: Arc<dyn Ear>, id: SourceId) -> Pending<'_, SourceEnded> {
        Box::pin(async move {
            let mut last = self.clock.now();
            loop {
                let asked = self.clock.now();
                tokio::time::sleep(Duration::from_millis(1)).await;
                if self.works.load(Ordering::Relaxed) {
                    last = asked;
                    ear.proved(id, asked);
                } else {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    if !self.works.load(Ordering::Relaxed) {
                        ear.blind(id, last, "no echo within 2 s");
                    }
                }
                let idle = tokio::time::sleep(Duration::from_secs(10));
                let pace = tokio::time::sleep(Duration::from_millis(50));
                pace.await;
                tokio::select! {
                    () = ear.wanted(id) => {}
                    () = idle => {}
                }
            }
        })
    }
}

/// A registry that is set by the test.
pub(super) struct Paper {
    pub read: Mutex<Result<Read, Unreadable>>,
    pub version: Mutex<u64>,
    pub changed: Notify,
}

impl Paper {
    pub(super) fn write(&self, read: Result<Read, Unreadable>) {
        *lock(&self.read) = read;
        *lock(&self.version) += 1;
        self.changed.notify_one();
    }
}

impl Registry for Paper {
    fn read(&self) -> Result<Read, Unreadable> {
        lock(&self.read).clone()
    }

    fn read_kept(&self, _: &str) -> Result<Read, Unreadable> {
        self.read()
    }

    fn fingerprint(&self) -> String {
        lock(&self.version).to_string()
    }

    fn called(&self) -> Pending<'_, Call> {
        Box::pin(async {
            self.changed.notified().await;
            Call::Look
        })
    }

    fn adopted(&self, _: &Read) {}
}

/// A face that nobody looks at.
pub(super) struct Face;

impl Edge for Face {
    fn name(&self) -> &'static str {
        "face"
    }

    fn run(&self) -> Pending<'_, String> {
        Box::pin(std::future::pending())
    }
}

/// Counts how often it was fed, and keeps the newest line of status.
#[derive(Default)]
pub(super) struct Watchdog {
    pub fed: AtomicU64,
    pub line: Mutex<String>,
}

impl ServiceManager for Watchdog {
    fn ready(&self) {}
    fn reloading(&self) {}
    fn feed(&self) {
        self.fed.fetch_add(1, Ordering::Relaxed);
    }
    fn status(&self, line: &str) {
        line.clone_into(&mut lock(&self.line));
    }
    fn stopping(&self) {}
    fn watchdog(&self) -> Option<Duration> {
        None
    }
}

/// A sign of life that is expected every minute; counts those that were taken.
#[derive(Default)]
pub(super) struct Pulsation {
    pub taken: AtomicU64,
    pub refused: AtomicBool,
    pub hangs: AtomicBool,
}

impl Sign for Pulsation {
    fn name(&self) -> &'static str {
        "deadman"
    }

    fn every(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn give(&self) -> Pending<'_, Result<(), String>> {
        Box::pin(async move {
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.refused.load(Ordering::Relaxed) {
                return Err("it answers 503".to_owned());
            }
            self.taken.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    }
}

fn event_watch(event: &Event) -> String {
    let incident: serde_json::Value = serde_json::from_str(&event.incident).expect("it is JSON");
    incident["watch"].as_str().expect("it names the watch").to_owned()
}
