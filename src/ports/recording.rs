//! An ear that writes down what it hears, for tests of sources and edges.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::{
    Pending,
    clock::Clock,
    source::{Ear, Took},
};
use crate::domain::{
    id::{Name, SourceId},
    watch::beat::Beat,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Beat(Name, Beat),
    Refused(String),
    Proved(Timestamp),
    Blind(Timestamp, String),
}

#[derive(Default)]
pub(crate) struct Recording {
    heard: Mutex<Vec<Heard>>,
    known: Mutex<HashSet<String>>,
    /// A name that is not known is registered; else it is unknown.
    auto_register: bool,
    want: Notify,
}

impl Recording {
    pub(crate) fn watching(names: &[&str]) -> Arc<Self> {
        let known = Mutex::new(names.iter().map(|it| (*it).to_owned()).collect());
        Arc::new(Self { known, ..Self::default() })
    }

    pub(crate) fn with_auto_register() -> Arc<Self> {
        Arc::new(Self { auto_register: true, ..Self::default() })
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no test panics while it holds the lock").clone()
    }

    /// A watch wants a proof now.
    pub(crate) fn ask(&self) {
        self.want.notify_one();
    }

    /// All beats as `name report`, in order.
    pub(crate) fn beats(&self) -> Vec<String> {
        let line = |heard| match heard {
            Heard::Beat(name, beat) => {
                let malformed = if beat.malformed { " malformed" } else { "" };
                Some(format!("{name} {:?}{malformed}", beat.report))
            }
            Heard::Refused(_) | Heard::Proved(_) | Heard::Blind(..) => None,
        };
        self.heard().into_iter().filter_map(line).collect()
    }

    /// Waits until what was heard from place `from` on fulfils `wanted`; answers how much was heard then.
    pub(crate) async fn until(
        &self,
        what: &str,
        from: usize,
        wanted: impl Fn(&[Heard]) -> bool,
    ) -> usize {
        for _ in 0..2_000 {
            let heard = self.heard();
            if wanted(heard.get(from..).unwrap_or_default()) {
                return heard.len();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never heard: {what}; but {:?}", self.heard());
    }

    fn write(&self, heard: Heard) {
        self.heard.lock().expect("no test panics while it holds the lock").push(heard);
    }
}

impl Ear for Recording {
    fn beat(&self, name: &Name, beat: Beat) -> Took {
        self.write(Heard::Beat(name.clone(), beat));
        let mut known = self.known.lock().expect("no test panics while it holds the lock");
        if known.contains(name.as_str()) {
            Took::Taken
        } else if self.auto_register {
            known.insert(name.as_str().to_owned());
            Took::Registered
        } else {
            Took::Unknown
        }
    }

    fn refused(&self, _: SourceId, why: &str) {
        self.write(Heard::Refused(why.to_owned()));
    }

    fn proved(&self, _: SourceId, at: Timestamp) {
        self.write(Heard::Proved(at));
    }

    fn blind(&self, _: SourceId, since: Timestamp, why: &str) {
        self.write(Heard::Blind(since, why.to_owned()));
    }

    fn wants_proof(&self, _: SourceId) -> Option<Timestamp> {
        None
    }

    fn wanted(&self, _: SourceId) -> Pending<'_, ()> {
        Box::pin(self.want.notified())
    }

    fn names(&self) -> Vec<Name> {
        let known = self.known.lock().expect("no test panics while it holds the lock");
        let mut names: Vec<Name> = known.iter().filter_map(|it| it.parse().ok()).collect();
        names.sort();
        names
    }
}

/// The machine's time.
pub(crate) struct Machine;

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "real servers live in real time")]
        Timestamp::now()
    }

    fn wall(&self) -> Timestamp {
        self.now()
    }

    fn suspended(&self) -> SignedDuration {
        SignedDuration::ZERO
    }
}
