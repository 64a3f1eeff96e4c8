//! Context: what every actor is handed, and what outlives each of them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use ractor::{ActorRef, Message};

use super::{
    board::Board, ears::Ears, edges, incident_manager, logbook::Logbook, outbox, pulse, recorder,
    registry, signs, slots::Slots, sources, tower, watches,
};
use crate::{
    domain::{
        id::{ReceiverId, WatchId},
        registry::Wanted,
        text::Text,
        write::Facts,
    },
    ports::{clock::Clock, registry::ReadyReceiver, store::SharedStore},
};

/// The present address of a singleton, empty while it restarts. Messages to an empty address are
/// dropped; the sender's own retry repairs that.
pub struct Address<M>(Mutex<Option<ActorRef<M>>>);

impl<M> Default for Address<M> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<M: Message> Address<M> {
    pub fn set(&self, actor: ActorRef<M>) {
        *lock(&self.0) = Some(actor);
    }

    pub fn get(&self) -> Option<ActorRef<M>> {
        lock(&self.0).clone()
    }

    /// Whether the message reached a mailbox; it may still be lost with its actor.
    pub fn cast(&self, message: M) -> bool {
        self.get().is_some_and(|actor| actor.cast(message).is_ok())
    }
}

/// A lock whose holder panicked still guards consistent data: every writer writes last.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The addresses of the singletons.
#[derive(Default)]
pub struct Addresses {
    pub recorder: Address<recorder::Message>,
    pub outbox: Address<outbox::Message>,
    pub manager: Address<incident_manager::Message>,
    pub watches: Address<watches::Message>,
    pub sources: Address<sources::Message>,
    pub registry: Address<registry::Message>,
    pub edges: Address<edges::Message>,
    pub pulse: Address<pulse::Message>,
}

/// Counters that `status` shows.
#[derive(Default)]
pub struct Counters {
    pub restarts: AtomicU64,
    pub refused_beats: AtomicU64,
}

pub struct Context {
    pub clock: Arc<dyn Clock>,
    pub store: SharedStore,
    pub node: Text,
    pub started_at: Timestamp,
    pub slots: Slots,
    pub ears: Arc<Ears>,
    pub board: Board,
    pub at: Addresses,
    pub counters: Counters,
    /// What the registry wants at present; swapped whole.
    pub wanted: RwLock<Arc<Wanted>>,
    pub receivers: RwLock<Arc<Vec<ReadyReceiver>>>,
    pub registry_read_at: Mutex<Timestamp>,
    pub strangers: tower::Strangers,
    pub logbook: Logbook,
    /// Facts of watches that the registry dropped, for their return within a day.
    pub removed: Mutex<HashMap<WatchId, Facts>>,
    /// Facts of removed watches that the store does not have as removed yet.
    pub unstored: Mutex<HashMap<WatchId, Facts>>,
    /// Deliveries not yet sent, per receiver: the outbox's word for `status`.
    pub owed: Mutex<Vec<(ReceiverId, usize)>>,
    /// Our own signs of life, and whether somebody takes them: Pulse's word for `status`.
    pub signs: Mutex<signs::Known>,
    /// Set when facts are restored and watches have their actors.
    pub ready: AtomicBool,
    /// Grows with every start of a writer; the store refuses what an older one sends.
    pub incarnations: AtomicU64,
    /// Verdicts that the IncidentManager has taken in and that wait for a store that refuses.
    pub taken: AtomicUsize,
    /// What the IncidentManager was working on: found here by its successor if it died of it.
    pub suspects: Mutex<incident_manager::Suspects>,
    pub timing: Timing,
    /// How often the service manager wants to be told that all is well; none: nobody would start us again.
    pub watchdog: Option<Duration>,
    /// Receivers are sent what they are owed. In a run that tells nobody it stays owed.
    pub sends: bool,
    #[cfg(test)]
    pub(crate) chaos: super::chaos::Chaos,
}

/// Periods of the tree's own work; the defaults are those of docs/BEHAVIOUR.md.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Facts of beats reach the store so often (10 s at most after a crash are lost).
    pub flush: SignedDuration,
    /// The IncidentManager compares slots with open incidents so often (60 s).
    pub audit: SignedDuration,
    /// A quarantined child is tried again after this (5 m).
    pub half_open: SignedDuration,
    /// A source's trouble ends for people after it has worked for the longest interval that is watched,
    /// or for this, whichever is shorter (30 s).
    pub settle: SignedDuration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            flush: SignedDuration::from_secs(5),
            audit: SignedDuration::from_secs(60),
            half_open: SignedDuration::from_mins(5),
            settle: SignedDuration::from_secs(30),
        }
    }
}

/// The context as it is shared.
pub type Shared = Arc<Context>;

impl Context {
    pub fn wanted(&self) -> Arc<Wanted> {
        Arc::clone(&self.wanted.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_wanted(&self, wanted: Arc<Wanted>) {
        *self.wanted.write().unwrap_or_else(PoisonError::into_inner) = wanted;
        *lock(&self.registry_read_at) = self.clock.wall();
    }

    pub fn receivers(&self) -> Arc<Vec<ReadyReceiver>> {
        Arc::clone(&self.receivers.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_receivers(&self, receivers: Vec<ReadyReceiver>) {
        *self.receivers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(receivers);
    }

    /// A number for a writer that starts now, larger than all before it, in this run and earlier ones.
    pub fn next_incarnation(&self) -> u64 {
        self.incarnations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Facts of removed watches that are yet to be stored, so many at most. One that lives again has no
    /// need of it: its new facts take their place.
    pub fn unstored_removals(&self, limit: usize) -> Vec<Facts> {
        let mut unstored = lock(&self.unstored);
        unstored.retain(|watch, _| self.slots.by_watch(watch).is_none());
        unstored.values().take(limit).cloned().collect()
    }

    /// The store has these removals now.
    pub fn removals_stored(&self, stored: &[Facts]) {
        let mut unstored = lock(&self.unstored);
        for facts in stored {
            if unstored.get(&facts.watch).is_some_and(|it| it == facts) {
                unstored.remove(&facts.watch);
            }
        }
    }

    /// Tells the IncidentManager that flips wait in slots or on the board.
    pub fn tell(&self, flips: Vec<crate::domain::watch::Flip>) {
        if !flips.is_empty() {
            self.at.manager.cast(incident_manager::Message::Flips(flips));
        }
    }
}
