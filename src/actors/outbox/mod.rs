//! Outbox: delivers what the store owes. One lane and one Notifier child per receiver, so a slow receiver
//! delays itself alone. The rules (order, merging, retries, fail-over) are `domain::outbox`'s.

mod receiver;
mod record;
mod waiting;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use self::{receiver::Receiver, waiting::Waiting};
use super::{
    alarm::Alarm,
    canary::Passage,
    context::{Shared, lock},
    incident_manager,
    notifier::NotifierActor,
    nursery::{Next, Nursery},
    pulse,
    recorder::Recorded,
    worker::Worker,
};
use crate::{
    domain::{
        delivery::{Attempt, Delivery, State},
        desk::Undelivered,
        id::{DeliveryId, GroupId, ReceiverId},
        outbox::{Dispatch, Lane, recovered},
        restart::Patience,
        text::Text,
        watch::Condition,
        write::{Outcome, Write},
    },
    ports::{
        fail_points::{Point, reached},
        store::{Commit, StoreError},
    },
};

const WRITER: &str = "outbox";
/// The store is asked for rows that no message announced this often.
const RECONCILE_EVERY: Duration = Duration::from_mins(1);
/// A load that failed is tried again after this.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const STORE_WITHIN: Duration = Duration::from_secs(25);
/// Rows read at once; what is beyond comes with the next reading.
const ROWS_MAX: usize = 50_000;
/// Loads that fail before rows from memory are sent all the same: some 5 s.
const LOADS_MAX: u32 = 10;
/// How long a finished row is remembered: a reading that began before its outcome was stored must not
/// bring it back.
const FINISHED_KEPT: SignedDuration = SignedDuration::from_mins(5);

/// What the store knows at a start, or a while later.
pub struct Stored {
    rows: Vec<Delivery>,
    references: Vec<(GroupId, String)>,
}

pub enum Message {
    /// Rows that were just committed.
    Owed(Vec<Delivery>),
    /// Rows that the store has refused so far: told from memory.
    OwedUnstored(Vec<Delivery>),
    /// The canary is at the door: stored, or refused by the store.
    Canary(Passage),
    /// The receivers may have changed; read what is owed anew.
    Reconcile,
    Loaded(Option<Result<Stored, StoreError>>),
    Attempted {
        receiver: ReceiverId,
        dispatch: Box<Dispatch>,
        attempt: Attempt,
    },
    /// See what is due.
    Look,
    Recorded(Option<Recorded>),
    /// Sends nothing new; answers when what is in flight is settled and stored.
    Drain(RpcReplyPort<()>),
    /// Answers when nothing is owed to anybody.
    Delivered(RpcReplyPort<()>),
    Retry,
    Start(ReceiverId),
    Ping(RpcReplyPort<()>),
}

pub(crate) struct Outbox;

pub(crate) struct Running {
    context: Shared,
    incarnation: u64,
    sequence: u64,
    loaded: bool,
    desks: BTreeMap<ReceiverId, Receiver>,
    references: HashMap<GroupId, String>,
    /// What became of rows lately. A row that was told from memory and is stored only later gets its outcome again.
    finished: HashMap<DeliveryId, Outcome>,
    /// Rows that were told from memory and that the store does not have yet.
    unstored: HashSet<DeliveryId>,
    waiting: Waiting,
    loads_failed: u32,
    nursery: Nursery<ReceiverId>,
    writes: Vec<Write>,
    under_way: Option<(Commit, Worker)>,
    loading: Option<Worker>,
    looks_soon: bool,
    alarm: Alarm<Message>,
}

impl Actor for Outbox {
    type Msg = Message;
    type State = Running;
    type Arguments = Shared;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        context: Shared,
    ) -> Result<Running, ActorProcessingErr> {
        #[cfg(test)]
        context.chaos.before_part("outbox");
        let incarnation = context.next_incarnation();
        context.at.outbox.set(myself);
        Ok(Running {
            context,
            incarnation,
            sequence: 0,
            loaded: false,
            desks: BTreeMap::new(),
            references: HashMap::new(),
            finished: HashMap::new(),
            unstored: HashSet::new(),
            waiting: Waiting::default(),
            loads_failed: 0,
            nursery: Nursery::new(Patience::Quarantined),
            writes: Vec::new(),
            under_way: None,
            loading: None,
            looks_soon: false,
            alarm: Alarm::default(),
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        running.furnish(&myself).await;
        running.load(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(test)]
        running.context.chaos.in_part("outbox").await;
        match message {
            Message::Owed(rows) => {
                for row in &rows {
                    running.unstored.remove(&row.id);
                }
                running.take(rows);
                reached(Point::RowsTaken);
                running.look_soon(&myself);
            }
            Message::OwedUnstored(rows) => {
                running.unstored.extend(rows.iter().map(|it| it.id));
                running.take(rows);
                running.look_soon(&myself);
            }
            Message::Canary(it) => drop(running.context.at.pulse.cast(pulse::Message::Crossed(it))),
            Message::Reconcile => {
                running.furnish(&myself).await;
                running.load(&myself);
            }
            Message::Loaded(stored) => running.loaded(&myself, stored),
            Message::Attempted { receiver, dispatch, attempt } => {
                running.attempted(&receiver, &dispatch, &attempt);
                running.look_soon(&myself);
            }
            Message::Look => running.look(&myself),
            Message::Recorded(recorded) => running.recorded(&myself, recorded)?,
            Message::Drain(reply) => running.waiting.drains.push(reply),
            Message::Delivered(reply) => running.waiting.deliveries.push(reply),
            Message::Retry => running.retry(&myself),
            Message::Start(receiver) => running.start(&myself, &receiver).await,
            Message::Ping(reply) => drop(reply.send(())),
        }
        running.record(&myself);
        running.tell_waiting();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(receiver) = running.nursery.buried(&event) {
            running.failed(&myself, &receiver);
            running.look_soon(&myself);
        }
        Ok(())
    }
}

impl Running {
    /// Makes the desks what the registry wants; an unchanged receiver keeps its child and its pace.
    async fn furnish(&mut self, myself: &ActorRef<Message>) {
        let wanted = self.context.receivers();
        let gone: Vec<ReceiverId> = self
            .desks
            .iter()
            .filter(|(id, desk)| {
                !wanted.iter().any(|it| it.id == **id && it.fingerprint == desk.ready.fingerprint)
            })
            .map(|(id, _)| id.clone())
            .collect();
        let mut homeless = Vec::new();
        for id in gone {
            self.nursery.forget(&id);
            self.context.board.forget(&id.watch());
            if let Some(desk) = self.desks.remove(&id) {
                if let Some(child) = desk.child {
                    child.kill();
                }
                homeless.extend(desk.rows.into_values());
            }
        }
        recovered(&mut homeless);
        for ready in wanted.iter() {
            if !self.desks.contains_key(&ready.id) {
                let desk = Receiver {
                    lane: Lane::new(ready.at_once),
                    ready: ready.clone(),
                    rows: BTreeMap::new(),
                    in_flight: HashMap::new(),
                    child: None,
                    changed: true,
                    again_at: None,
                };
                self.context.board.announce(&ready.id.watch(), self.context.clock.now());
                self.desks.insert(ready.id.clone(), desk);
                self.start(myself, &ready.id).await;
            }
        }
        self.take(homeless);
    }

    async fn start(&mut self, myself: &ActorRef<Message>, receiver: &ReceiverId) {
        let Some(desk) = self.desks.get_mut(receiver).filter(|it| it.child.is_none()) else {
            return;
        };
        desk.changed = true;
        let arguments = (myself.clone(), desk.ready.clone());
        match NotifierActor::spawn_linked(None, NotifierActor, arguments, myself.get_cell()).await {
            Ok((actor, _)) => {
                self.nursery.started(actor.get_id(), receiver.clone(), self.context.clock.now());
                desk.child = Some(actor);
                self.look_soon(myself);
            }
            Err(error) => {
                tracing::warn!(%receiver, %error, "notifier did not start");
                self.failed(myself, receiver);
            }
        }
    }

    /// A notifier died: what was in its hands is sent again.
    fn failed(&mut self, myself: &ActorRef<Message>, receiver: &ReceiverId) {
        let now = self.context.clock.now();
        self.context.counters.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Some(desk) = self.desks.get_mut(receiver) else { return };
        desk.child = None;
        desk.release();
        let wait = match self.nursery.failed(receiver, now) {
            Next::Restart { wait, .. } => wait,
            Next::Quarantine => {
                self.trouble(receiver, Some("its notifier keeps failing; tried every 5 minutes"));
                self.context.timing.half_open
            }
        };
        let (wait, receiver) = (Duration::try_from(wait).unwrap_or_default(), receiver.clone());
        myself.send_after(wait, move || Message::Start(receiver));
    }

    fn load(&mut self, myself: &ActorRef<Message>) {
        let store = Arc::clone(&self.context.store);
        let work = async move {
            let rows = store.owed(None, ROWS_MAX).await?;
            let references = store.references().await?;
            Ok(Stored { rows, references })
        };
        self.loading = Some(Worker::bounded(myself, STORE_WITHIN, work, Message::Loaded));
    }

    fn loaded(&mut self, myself: &ActorRef<Message>, stored: Option<Result<Stored, StoreError>>) {
        self.loading = None;
        let Some(Ok(stored)) = stored else {
            self.loads_failed += 1;
            if !self.loaded {
                myself.send_after(RETRY_AFTER, || Message::Reconcile);
            }
            if self.loads_failed == LOADS_MAX {
                // What is told from memory must not wait for a store that cannot be read.
                self.look_soon(myself);
            }
            return;
        };
        let now = self.context.clock.now();
        let settled = self.under_way.is_none();
        let unstored = &self.unstored;
        self.finished.retain(|id, it| {
            !settled || unstored.contains(id) || now.duration_since(it.at) < FINISHED_KEPT
        });

        for (group, reference) in stored.references {
            // What was accepted meanwhile is newer than what was read.
            self.references.entry(group).or_insert(reference);
        }
        let mut rows = stored.rows;
        recovered(&mut rows);
        self.take(rows);
        if !self.loaded {
            self.loaded = true;
            myself.send_interval(RECONCILE_EVERY, || Message::Reconcile);
        }
        self.look_soon(myself);
    }

    /// Puts rows on the desks of their receivers; those of a receiver that is gone go to another.
    fn take(&mut self, rows: Vec<Delivery>) {
        let now = self.context.clock.now();
        for row in rows {
            if let Some(outcome) = self.finished.get(&row.id) {
                self.writes.push(Write::Outcome(Box::new(outcome.clone())));
                continue;
            }
            match self.desks.get_mut(&row.receiver) {
                Some(desk) => {
                    desk.changed = true;
                    desk.rows.entry(row.id).or_insert(row);
                }
                None => self.give_away(row, now),
            }
        }
    }

    fn give_away(&mut self, row: Delivery, now: Timestamp) {
        let why = Text::clean("this receiver is no longer configured", 80);
        let outcome = Outcome {
            delivery: row.id,
            state: State::Failed,
            attempts: row.attempts,
            next_at: row.next_at,
            at: now,
            error: Some(why.clone()),
            reference: None,
            failed_over: true,
        };
        self.finished.insert(row.id, outcome.clone());
        self.writes.push(Write::Outcome(Box::new(outcome)));
        self.report(Undelivered {
            delivery: row.id,
            receiver: row.receiver,
            incidents: row.incidents,
            why,
        });
    }

    fn report(&self, undelivered: Undelivered) {
        self.context.at.manager.cast(incident_manager::Message::Undelivered(undelivered));
    }

    /// Sends what is due on every desk and sleeps to what is due next.
    fn look(&mut self, myself: &ActorRef<Message>) {
        self.looks_soon = false;
        if !self.loaded && self.loads_failed < LOADS_MAX {
            return;
        }
        let (now, sends) = (self.context.clock.now(), self.sends());
        let mut again_at: Option<Timestamp> = None;
        let mut reports = Vec::new();
        for desk in self.desks.values_mut() {
            if !desk.is_due(now) {
                again_at = again_at.into_iter().chain(desk.again_at).min();
                continue;
            }
            let next = desk.lane.next(desk.rows.values(), now);
            desk.changed = false;
            for outcome in next.outcomes {
                desk.settle(&outcome);
                if outcome.state == State::Failed {
                    self.finished.insert(outcome.delivery, outcome.clone());
                }
                self.writes.push(Write::Outcome(Box::new(outcome)));
            }
            reports.extend(next.undelivered);
            if sends {
                for dispatch in next.send {
                    desk.send(dispatch, &self.references, now);
                }
            }
            desk.again_at = next.again_at.into_iter().chain(desk.hung_at(now)).min();
            again_at = again_at.into_iter().chain(desk.again_at).min();
        }
        for undelivered in reports {
            self.report(undelivered);
        }
        self.publish_owed();
        match again_at {
            Some(at) => self.alarm.set(myself, at, now, || Message::Look),
            None => self.alarm.clear(),
        }
    }

    /// After the messages that wait already: a burst of answers is looked at once.
    fn look_soon(&mut self, myself: &ActorRef<Message>) {
        if !std::mem::replace(&mut self.looks_soon, true) {
            // `cast` to oneself cannot fail while one handles a message.
            let _ = myself.cast(Message::Look);
        }
    }

    fn publish_owed(&self) {
        let owed = self.desks.iter().map(|(id, desk)| (id.clone(), desk.rows.len())).collect();
        *lock(&self.context.owed) = owed;
    }

    fn attempted(&mut self, receiver: &ReceiverId, dispatch: &Dispatch, attempt: &Attempt) {
        let now = self.context.clock.now();
        let Some(desk) = self.desks.get_mut(receiver) else { return };
        // An answer about a row that is no longer in flight came too late to count.
        if desk.in_flight.remove(&dispatch.delivery.id).is_none() {
            return;
        }
        desk.uncover(dispatch);
        let settled = desk.lane.after_attempt(dispatch, attempt, now, fastrand::f64());
        for write in &settled.writes {
            if let Write::Outcome(outcome) = write {
                desk.settle(outcome);
                if outcome.state != State::Pending {
                    self.finished.insert(outcome.delivery, Outcome::clone(outcome));
                }
            } else if let Write::Reference { group, reference } = write {
                self.references.insert(*group, reference.clone());
            }
        }
        self.writes.extend(settled.writes);
        reached(Point::AttemptJudged);
        if let Some(undelivered) = settled.undelivered {
            self.report(undelivered);
        }
        match attempt {
            Attempt::Accepted { .. } => self.trouble(receiver, None),
            Attempt::Refused { why } => {
                tracing::warn!(%receiver, %why, "receiver refuses for good");
                self.trouble(receiver, Some(why));
            }
            Attempt::Again { why, .. } => {
                tracing::debug!(%receiver, %why, "receiver did not take a message yet");
            }
            Attempt::Gone | Attempt::Rehearsed => {}
        }
    }

    fn trouble(&self, receiver: &ReceiverId, why: Option<&str>) {
        let trouble = why.map(|why| (Condition::Undeliverable, why));
        let now = self.context.clock.now();
        self.context.tell(self.context.board.set(&receiver.watch(), trouble, now));
    }
}
