//! Chaos: what the tests can do to the tree. Compiled for tests alone.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::context::lock;
use crate::domain::id::WatchId;

/// How a part is to fail the next time it is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// In the handler.
    Panic,
    /// In `pre_start`.
    PanicAtStart,
    /// The handler waits for ever.
    Hang,
}

#[derive(Default)]
pub(crate) struct Chaos {
    /// Watches whose judgement always panics: poison facts.
    pub(crate) poison: Mutex<HashSet<WatchId>>,
    /// Watches whose handler fails once.
    pub(crate) watches: Mutex<HashMap<WatchId, Harm>>,
    /// Parts of the tree that fail once, by name.
    pub(crate) parts: Mutex<HashMap<&'static str, Harm>>,
    /// Parts that cannot start as long as they stand here.
    pub(crate) kept_down: Mutex<HashSet<&'static str>>,
    /// Watches whose flips kill the IncidentManager.
    pub(crate) poison_desk: Mutex<HashSet<WatchId>>,
    pub(crate) drop_acknowledgements: AtomicBool,
    /// Hops of the canary's way, by name, that answer whoever asks and pass nothing on.
    pub(crate) lost: Mutex<HashSet<&'static str>>,
}

impl Chaos {
    pub(crate) fn before_start(&self, watch: &WatchId) {
        let ordered = take_if(&self.watches, watch, Harm::PanicAtStart);
        assert!(ordered.is_none(), "chaos: {watch} at its start");
    }

    pub(crate) async fn in_handler(&self, watch: &WatchId) {
        let ordered = lock(&self.watches).remove(watch);
        harm(ordered, "a watch").await;
    }

    pub(crate) fn in_judgement(&self, watch: &WatchId) {
        assert!(!lock(&self.poison).contains(watch), "chaos: {watch} is poison");
    }

    pub(crate) fn before_part(&self, part: &'static str) {
        assert!(!lock(&self.kept_down).contains(part), "chaos: {part} is kept down");
        let ordered = take_if(&self.parts, &part, Harm::PanicAtStart);
        assert!(ordered.is_none(), "chaos: {part} at its start");
    }

    pub(crate) async fn in_part(&self, part: &'static str) {
        let ordered = lock(&self.parts).remove(part);
        harm(ordered, part).await;
    }

    pub(crate) fn in_desk(&self, watch: &WatchId) {
        assert!(!lock(&self.poison_desk).contains(watch), "chaos: {watch} kills the desk");
    }

    pub(crate) fn loses(&self, hop: &'static str) -> bool {
        lock(&self.lost).contains(hop)
    }

    pub(crate) fn drops_acknowledgement(&self) -> bool {
        self.drop_acknowledgements.swap(false, Ordering::Relaxed)
    }
}

fn take_if<K: std::hash::Hash + Eq>(
    harms: &Mutex<HashMap<K, Harm>>,
    key: &K,
    wanted: Harm,
) -> Option<Harm> {
    let mut harms = lock(harms);
    if harms.get(key) == Some(&wanted) { harms.remove(key) } else { None }
}

async fn harm(harm: Option<Harm>, whom: &str) {
    match harm {
        Some(Harm::Panic) => panic!("chaos: {whom} in its handler"),
        Some(Harm::Hang) => std::future::pending().await,
        Some(Harm::PanicAtStart) | None => {}
    }
}
