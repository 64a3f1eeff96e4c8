//! Watches: holds what the registry wants against the slots, and the shards that run them. It takes no
//! input: whatever woke it, it compares all wanted with all there is. Also flushes the facts of beats.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use super::{
    context::{Shared, lock},
    nursery::{Next, Nursery},
    recorder::{self, Recorded},
    shard::{self, Shard},
    slot::{Beginning, Slot, epoch_after},
    sweeper::Sweeper,
    worker::Worker,
};
use crate::{
    domain::{
        desk::Answer,
        id::WatchId,
        registry::Watched,
        restart::{Patience, WAIT_MAX},
        text::Text,
        watch::Signal,
        write::{Facts, Write},
    },
    ports::store::Commit,
};

/// Facts of a watch that the registry dropped are kept so long (docs/BEHAVIOUR.md 11).
const REMOVED_FACTS_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Facts written in one commit; the rest follow in the next.
const FLUSH_MAX: usize = 5_000;
const ANSWER_WITHIN: Duration = Duration::from_secs(25);
const WRITER: &str = "watches";
/// Until when the store has all beats; what came later, a kill may have taken.
pub const HEARD_UNTIL: &str = "heard_until";

pub enum Message {
    Reconcile,
    Flush,
    Flushed {
        flushed: Flushed,
        recorded: Option<Recorded>,
    },
    /// Start or end the watching of these; answers which changed.
    Signal {
        watches: Vec<WatchId>,
        signal: Signal,
        reply: RpcReplyPort<Vec<WatchId>>,
    },
    Forget {
        watch: WatchId,
        by: Text,
        reply: RpcReplyPort<Answer>,
    },
    Retry {
        watch: WatchId,
        reply: RpcReplyPort<Answer>,
    },
    Start(Child),
    Ping(RpcReplyPort<()>),
}

/// What Watches supervises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Child {
    Shard(usize),
    Sweeper(usize),
}

/// What one flush took with it.
pub struct Flushed {
    /// Their facts, to be taken again if they could not be stored.
    watches: Vec<WatchId>,
    removals: Vec<Facts>,
    /// Entries of the logbook.
    entries: usize,
}

/// One look at every slot, in as many commits as it takes. Each gets its turn, however many change
/// meanwhile.
struct Round {
    began_at: Timestamp,
    left: Vec<Arc<Slot>>,
    /// All that was taken is in the store.
    whole: bool,
}

/// Goes with the facts of all that was heard before `now`.
pub fn heard_until(now: Timestamp) -> Write {
    Write::Meta { key: HEARD_UNTIL.to_owned(), value: now.to_string() }
}

pub(crate) struct Watches;

pub(crate) struct Running {
    context: Shared,
    nursery: Nursery<Child>,
    incarnation: u64,
    sequence: u64,
    round: Option<Round>,
    flush: Option<Worker>,
}

impl Actor for Watches {
    type Msg = Message;
    type State = Running;
    type Arguments = Shared;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        context: Shared,
    ) -> Result<Running, ActorProcessingErr> {
        #[cfg(test)]
        context.chaos.before_part("watches");
        let incarnation = context.next_incarnation();
        context.at.watches.set(myself);
        Ok(Running {
            context,
            nursery: Nursery::new(Patience::Endless),
            incarnation,
            sequence: 0,
            round: None,
            flush: None,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        running.reconcile();
        for number in 0..running.context.slots.points().len() {
            running.start(&myself, Child::Shard(number)).await;
            running.start(&myself, Child::Sweeper(number)).await;
        }
        running.context.ready.store(true, std::sync::atomic::Ordering::Release);
        running.flush(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(test)]
        running.context.chaos.in_part("watches").await;
        match message {
            Message::Reconcile => running.reconcile(),
            Message::Flush => running.flush(&myself),
            Message::Flushed { flushed, recorded } => {
                running.flushed(&myself, &flushed, recorded.as_ref());
            }
            Message::Signal { watches, signal, reply } => {
                drop(reply.send(running.signal(watches, &signal)));
            }
            Message::Forget { watch, by, reply } => drop(reply.send(running.forget(&watch, &by))),
            Message::Retry { watch, reply } => drop(reply.send(running.retry(&watch))),
            Message::Start(child) => running.start(&myself, child).await,
            Message::Ping(reply) => drop(reply.send(())),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(child) = running.nursery.buried(&event) {
            running.failed(&myself, child);
        }
        Ok(())
    }
}

impl Running {
    /// Makes the slots what the registry wants, then has every shard do the same with its actors.
    fn reconcile(&mut self) {
        let wanted = self.context.wanted();
        let now = self.context.clock.now();
        lock(&self.context.removed).retain(|_, facts| {
            facts.removed_at.is_some_and(|at| now.duration_since(at) < REMOVED_FACTS_KEPT)
        });
        let index = wanted.index();
        for slot in self.context.slots.all() {
            match index.successor(&slot.watch, !slot.subject().self_registered) {
                Some(watched) => self.go_on(&slot, &watched),
                None => self.remove(&slot, now, now),
            }
        }
        for watched in &wanted.watches {
            self.ensure(watched, now);
        }
        self.context.strangers.retain(|name| self.context.slots.by_name(name).is_none());
        for point in self.context.slots.points() {
            point.shard.cast(shard::Message::Reconcile);
        }
    }

    /// The same watch, as the registry has it now.
    fn go_on(&self, slot: &Arc<Slot>, wanted: &Watched) {
        if slot.subject() != wanted.subject {
            self.context.slots.rename(slot, &wanted.subject);
        }
        slot.respecify(Arc::clone(&wanted.subject), wanted.spec.clone());
    }

    fn remove(&mut self, slot: &Arc<Slot>, now: Timestamp, removed_at: Timestamp) {
        if let Some(mut facts) = slot.facts(true) {
            facts.removed_at = Some(removed_at);
            lock(&self.context.removed).insert(slot.watch.clone(), facts.clone());
            lock(&self.context.unstored).insert(slot.watch.clone(), facts);
        }
        if let Some((_, flips)) = self.context.slots.remove(&slot.watch, now) {
            self.context.tell(flips);
        }
    }

    fn ensure(&mut self, wanted: &Watched, now: Timestamp) {
        let watch = &wanted.subject.watch;
        if self.context.slots.by_watch(watch).is_some() {
            return;
        }
        // It comes back within a day: what was known of it goes on, in a new life, so that nothing told of
        // the old one is mistaken for it.
        let known = lock(&self.context.removed).remove(watch);
        let last_epoch = known.as_ref().map_or(0, |it| it.epoch);
        let state = match known {
            Some(facts) => facts.state.returned(now),
            None => wanted.spec.begin(now),
        };
        let begin = Beginning {
            subject: Arc::clone(&wanted.subject),
            spec: wanted.spec.clone(),
            state,
            epoch: epoch_after(last_epoch, now),
            n: 0,
        };
        self.context.slots.insert(begin, usize::MAX);
    }

    fn signal(&self, watches: Vec<WatchId>, signal: &Signal) -> Vec<WatchId> {
        watches
            .into_iter()
            .filter(|watch| {
                let slot = self.context.slots.by_watch(watch);
                if let Some(slot) = &slot {
                    slot.signal(signal.clone());
                }
                slot.is_some()
            })
            .collect()
    }

    fn forget(&mut self, watch: &WatchId, by: &Text) -> Answer {
        let Some(slot) = self.context.slots.by_watch(watch) else {
            return Err(format!("{watch} is not watched"));
        };
        let subject = slot.subject();
        if !subject.self_registered {
            return Err(format!(
                "{watch} stands in {}; take it out there, and save",
                subject.origin
            ));
        }
        let now = self.context.clock.now();
        // As if it had been dropped a day ago: nothing of it comes back.
        self.remove(&slot, now, now - REMOVED_FACTS_KEPT);
        lock(&self.context.removed).remove(watch);
        tracing::info!(%watch, %by, "watch was forgotten");
        self.context.slots.points()[slot.shard].shard.cast(shard::Message::Reconcile);
        Ok(format!("{watch} is forgotten; its next beat begins anew"))
    }

    fn retry(&self, watch: &WatchId) -> Answer {
        let Some(slot) = self.context.slots.by_watch(watch) else {
            return Err(format!("{watch} is not watched"));
        };
        if slot.view().quarantined_since.is_none() {
            return Err(format!("{watch} is not set aside: its actor runs"));
        }
        slot.point.shard.cast(shard::Message::Retry(watch.clone()));
        Ok(format!("{watch} is tried again now"))
    }

    async fn start(&mut self, myself: &ActorRef<Message>, child: Child) {
        let context = Arc::clone(&self.context);
        let spawned = match child {
            Child::Shard(number) => {
                Shard::spawn_linked(None, Shard, (context, number), myself.get_cell())
                    .await
                    .map(|(actor, _)| actor.get_id())
            }
            Child::Sweeper(number) => {
                Sweeper::spawn_linked(None, Sweeper, (context, number), myself.get_cell())
                    .await
                    .map(|(actor, _)| actor.get_id())
            }
        };
        match spawned {
            Ok(actor) => self.nursery.started(actor, child, self.context.clock.now()),
            Err(error) => {
                tracing::error!(?child, %error, "part of the tree did not start");
                self.failed(myself, child);
            }
        }
    }

    fn failed(&mut self, myself: &ActorRef<Message>, child: Child) {
        let now = self.context.clock.now();
        self.context.counters.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let wait = match self.nursery.failed(&child, now) {
            Next::Restart { wait, .. } => wait,
            // Shards and sweepers are never set aside, they back off.
            Next::Quarantine => WAIT_MAX,
        };
        let wait = Duration::try_from(wait).unwrap_or_default();
        myself.send_after(wait, move || Message::Start(child));
    }

    /// Writes the facts that beats have moved and what history keeps of them; also the life-stamp of a quiet fleet.
    fn flush(&mut self, myself: &ActorRef<Message>) {
        let removals = self.context.unstored_removals(FLUSH_MAX);
        let now = self.context.clock.now();
        let mut writes = self.context.logbook.take(&self.context.ears, now, FLUSH_MAX);
        let entries = writes.len();
        writes.extend(removals.iter().map(|it| Write::Facts(Box::new(it.clone()))));
        let round = self.round.get_or_insert_with(|| Round {
            began_at: now,
            left: self.context.slots.all(),
            whole: true,
        });
        let mut watches = Vec::new();
        while writes.len() < entries + FLUSH_MAX
            && let Some(slot) = round.left.pop()
        {
            // The last word on one that was removed meanwhile is its removal.
            if let Some(facts) = slot.facts(false).filter(|_| !slot.is_retired()) {
                watches.push(facts.watch.clone());
                writes.push(Write::Facts(Box::new(facts)));
            }
        }
        if round.left.is_empty() && round.whole {
            writes.push(heard_until(round.began_at));
        }
        self.sequence += 1;
        let commit = Commit {
            writer: WRITER,
            incarnation: self.incarnation,
            sequence: self.sequence,
            writes,
        };
        let work = recorder::commit(Arc::clone(&self.context), commit);
        self.flush = Some(Worker::bounded(myself, ANSWER_WITHIN, work, move |recorded| {
            let flushed = Flushed { watches, removals, entries };
            Message::Flushed { flushed, recorded: recorded.flatten() }
        }));
    }

    /// What is left of a round follows at once, as long as the store takes it.
    fn flushed(
        &mut self,
        myself: &ActorRef<Message>,
        flushed: &Flushed,
        recorded: Option<&Recorded>,
    ) {
        self.flush = None;
        let durable = matches!(recorded, Some(Recorded::Durable));
        if durable {
            self.context.removals_stored(&flushed.removals);
            self.context.logbook.stored(flushed.entries);
        } else {
            self.take_back(&flushed.watches);
        }
        let over = self.round.as_mut().is_none_or(|round| {
            round.whole &= durable;
            round.left.is_empty()
        });
        if over {
            self.round = None;
        }
        if durable && !over {
            self.flush(myself);
        } else {
            self.flush_later(myself);
        }
    }

    fn flush_later(&self, myself: &ActorRef<Message>) {
        let wait = Duration::try_from(self.context.timing.flush).unwrap_or_default();
        myself.send_after(wait, || Message::Flush);
    }

    fn take_back(&self, watches: &[WatchId]) {
        for slot in watches.iter().filter_map(|it| self.context.slots.by_watch(it)) {
            slot.mark_dirty();
        }
    }
}
