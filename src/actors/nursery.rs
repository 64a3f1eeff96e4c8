//! Nursery: the book that every supervisor keeps of its children: who runs, who failed how often, and
//! what is to be done about it. The rule is `domain::restart`'s.

use std::{collections::HashMap, hash::Hash};

use jiff::{SignedDuration, Timestamp};
use ractor::{ActorId, SupervisionEvent};

use crate::domain::restart::{Patience, Record, Verdict};

/// What a failure calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start it again after `wait`; with `fresh`, without the facts that may be the poison.
    Restart { wait: SignedDuration, fresh: bool },
    /// Set it aside; try again when the half-open period has passed.
    Quarantine,
}

pub(crate) struct Nursery<K> {
    patience: Patience,
    running: HashMap<ActorId, K>,
    records: HashMap<K, Record>,
    known: HashMap<K, Option<ActorId>>,
}

impl<K: Clone + Eq + Hash> Nursery<K> {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, running: HashMap::new(), records: HashMap::new(), known: HashMap::new() }
    }

    pub(crate) fn started(&mut self, actor: ActorId, child: K, now: Timestamp) {
        // Who never failed needs no record: it begins with its first failure.
        if let Some(record) = self.records.get_mut(&child) {
            record.started(now);
        }
        self.running.insert(actor, child.clone());
        self.known.insert(child, Some(actor));
    }

    /// Whether it runs, waits for its backoff or is set aside: whether anybody minds it.
    pub(crate) fn is_known(&self, child: &K) -> bool {
        self.known.contains_key(child)
    }

    pub(crate) fn is_running(&self, child: &K) -> bool {
        self.known.get(child).is_some_and(Option::is_some)
    }

    /// The child that this event is the death of; none for births and for strangers (an earlier
    /// incarnation, whose death is of no account).
    pub(crate) fn buried(&mut self, event: &SupervisionEvent) -> Option<K> {
        let cell = match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                tracing::warn!(%error, "a child of the tree failed");
                cell
            }
            SupervisionEvent::ActorTerminated(cell, ..) => cell,
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {
                return None;
            }
        };
        let child = self.running.remove(&cell.get_id())?;
        if self.known.get(&child) != Some(&Some(cell.get_id())) {
            return None;
        }
        self.known.insert(child.clone(), None);
        Some(child)
    }

    /// Counts a failure (or a start that failed) and says what it calls for.
    pub(crate) fn failed(&mut self, child: &K, now: Timestamp) -> Next {
        self.known.entry(child.clone()).or_insert(None);
        let record = self.records.entry(child.clone()).or_default();
        match self.patience.on_failure(record, now, fastrand::f64()) {
            Verdict::RestartAfter(wait) => Next::Restart { wait, fresh: record.fresh_facts() },
            Verdict::Quarantine => Next::Quarantine,
        }
    }

    /// Whether this very actor still runs the child.
    pub(crate) fn is_run_by(&self, child: &K, actor: ActorId) -> bool {
        self.known.get(child) == Some(&Some(actor))
    }

    /// A person wants it tried again: what was counted is forgotten.
    pub(crate) fn forgive(&mut self, child: &K) {
        self.records.remove(child);
    }

    /// It is no longer wanted.
    pub(crate) fn forget(&mut self, child: &K) {
        self.records.remove(child);
        if let Some(Some(actor)) = self.known.remove(child) {
            self.running.remove(&actor);
        }
    }
}
