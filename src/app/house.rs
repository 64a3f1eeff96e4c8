//! House: puts the tree up from what the store kept and the registry wants, and takes it down again.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
    time::Duration,
};

use jiff::Timestamp;
use ractor::{Actor, ActorRef, SpawnErr, rpc::CallResult};

use crate::{
    actors::{
        board::Board,
        context::{Addresses, Context, Counters, Shared, Timing},
        ears::Ears,
        logbook::Logbook,
        recorder,
        root::{self, Parts, Root},
        slot::{Beginning, epoch_after},
        slots::Slots,
        tower::Strangers,
        watches::{HEARD_UNTIL, heard_until},
    },
    domain::{
        history::KEPT_SINCE,
        id::WatchId,
        registry::{Wanted, Watched},
        write::{Facts, Write},
    },
    ports::{
        chain,
        clock::Clock,
        registry::Read,
        store::{Commit, Fault, Opened, SharedStore, StoreError},
    },
};

/// What the house is built on.
pub struct Ground {
    pub clock: Arc<dyn Clock>,
    pub store: SharedStore,
    pub read: Read,
    /// Names of the sources, in the order of their ids.
    pub sources: Vec<String>,
    pub timing: Timing,
    /// How often the service manager wants to be told that all is well, if it does.
    pub watchdog: Option<Duration>,
    /// Receivers are sent what they are owed.
    pub sends: bool,
}

/// Facts by watch.
type Kept = HashMap<WatchId, Facts>;

/// How long a stop waits for the last commit (docs/BEHAVIOUR.md 11).
const LAST_COMMIT_WITHIN: Duration = Duration::from_secs(2);

/// Restores facts and builds everything that outlives the actors.
///
/// A store that cannot work at present (full disk, read-only, busy) does not keep it from judging: it begins
/// without facts, and the Recorder tells.
///
/// # Errors
/// When the store's file is damaged or a newer atalaya's: a person must decide.
pub async fn prepare(ground: Ground) -> Result<Shared, StoreError> {
    let now = ground.clock.now();
    let opened = match ground.store.open().await {
        Ok(opened) => opened,
        Err(error) => match error.kind {
            Fault::Damaged | Fault::NewerSchema => return Err(error),
            Fault::Full | Fault::ReadOnly | Fault::Busy | Fault::Other => {
                tracing::error!(
                    error = chain(&error),
                    "the store does not work; judging without what it knew"
                );
                Opened::default()
            }
        },
    };
    let wanted = Arc::clone(&ground.read.wanted);
    let slots = Slots::new(wanted.watches.len().max(opened.facts.len()));
    let last_epoch = opened.last_epoch;
    // Beats of the last seconds before a kill are not in the store, though commits of others are: where
    // nobody can know whether an agent beat, we were away.
    let heard_until = ground.store.meta(HEARD_UNTIL).await.ok().flatten();
    let heard_until = heard_until.and_then(|it| it.parse().ok());
    let absent_since = opened.life_stamp.into_iter().chain(heard_until).fold(now, Timestamp::min);
    let keeps_beats = ground.store.meta(KEPT_SINCE).await.ok().flatten().is_some();
    let logbook = if keeps_beats { Logbook::default() } else { Logbook::begun(now) };
    let (removed, dropped) = furnish(&slots, &wanted, opened, now);
    let sources: Vec<&str> = ground.sources.iter().map(String::as_str).collect();
    let suspended = ground.clock.suspended();
    let ears = Ears::new(&sources, absent_since, now, suspended);
    let board = Board::new(now, last_epoch);
    for source in ears.sources() {
        board.announce(&ears.watch_of(source), now);
    }
    Ok(Arc::new(Context {
        started_at: ground.clock.wall(),
        node: wanted.desk.node.clone(),
        registry_read_at: Mutex::new(ground.clock.wall()),
        clock: ground.clock,
        store: ground.store,
        slots,
        ears: Arc::new(ears),
        board,
        at: Addresses::default(),
        counters: Counters::default(),
        wanted: RwLock::new(wanted),
        receivers: RwLock::new(Arc::new(ground.read.receivers)),
        strangers: Strangers::default(),
        logbook,
        owed: Mutex::default(),
        signs: Mutex::default(),
        watchdog: ground.watchdog,
        removed: Mutex::new(removed),
        unstored: Mutex::new(dropped),
        ready: AtomicBool::new(false),
        incarnations: AtomicU64::new(0),
        taken: AtomicUsize::new(0),
        suspects: Mutex::default(),
        timing: ground.timing,
        sends: ground.sends,
        #[cfg(test)]
        chaos: crate::actors::chaos::Chaos::default(),
    }))
}

/// Fills the slots: what the registry wants, with the facts that were kept, and what registered itself.
/// Returns the facts of watches that are not wanted, and those of them that are newly so: the registry
/// dropped them while nobody watched.
fn furnish(slots: &Slots, wanted: &Wanted, opened: Opened, now: Timestamp) -> (Kept, Kept) {
    let mut kept: Kept =
        opened.facts.into_iter().map(|facts| (facts.watch.clone(), facts)).collect();
    for watched in &wanted.watches {
        let facts = kept.remove(&watched.subject.watch).filter(|it| it.removed_at.is_none());
        let (state, epoch, n) = facts.map_or_else(
            || (watched.spec.begin(now), epoch_after(opened.last_epoch, now), 0),
            |facts| (Arc::unwrap_or_clone(facts.state), facts.epoch, facts.n),
        );
        let (subject, spec) = (Arc::clone(&watched.subject), watched.spec.clone());
        slots.insert(Beginning { subject, spec, state, epoch, n }, usize::MAX);
    }
    let index = wanted.index();
    kept.retain(|watch, facts| {
        let successor = index.successor(watch, !facts.self_registered);
        let stays = facts.removed_at.is_none()
            && successor.is_some_and(|it| readmit(slots, it, facts, wanted.undeclared_max));
        !stays
    });
    let mut dropped = Kept::new();
    for facts in kept.values_mut().filter(|it| it.removed_at.is_none()) {
        facts.removed_at = Some(now);
        dropped.insert(facts.watch.clone(), facts.clone());
    }
    (kept, dropped)
}

/// Goes on with an agent that no entry declares, unless there are too many of them.
fn readmit(slots: &Slots, watched: Watched, facts: &Facts, max: usize) -> bool {
    let begin = Beginning {
        subject: watched.subject,
        spec: watched.spec,
        state: facts.state.as_ref().clone(),
        epoch: facts.epoch,
        n: facts.n,
    };
    slots.insert(begin, max).is_some()
}

/// Starts the tree.
///
/// # Errors
/// When Root itself cannot be spawned.
pub async fn raise(parts: Parts) -> Result<ActorRef<root::Message>, SpawnErr> {
    Ok(Root::spawn(None, Root, parts).await?.0)
}

/// Commits what beats have moved since the last flush, then ends the tree.
pub async fn take_down(context: &Shared, root: ActorRef<root::Message>) {
    let now = context.clock.now();
    let history = context.logbook.take(&context.ears, now, usize::MAX);
    let writes: Vec<Write> = context
        .slots
        .all()
        .iter()
        .filter_map(|slot| slot.facts(false))
        .chain(context.unstored_removals(usize::MAX))
        .map(|facts| Write::Facts(Box::new(facts)))
        .chain(history)
        .chain([heard_until(now)])
        .collect();
    let commit =
        Commit { writer: "stop", incarnation: context.next_incarnation(), sequence: 1, writes };
    if let Some(recorder) = context.at.recorder.get() {
        let ask = |reply| recorder::Message::Commit(commit, Some(reply));
        match recorder.call(ask, Some(LAST_COMMIT_WITHIN)).await {
            Ok(CallResult::Success(_)) => {}
            Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => {
                tracing::warn!("the last beats could not be stored; they are at most 10 s old");
            }
        }
    }
    root.stop(None);
    // Children are killed at once; a second is ample.
    let _ = root.wait(Some(Duration::from_secs(1))).await;
}
