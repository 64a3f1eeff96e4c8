//! IncidentManager: the shell of the desk. Takes flips, requests and time; commits what the desk wants
//! written in one transaction; only then acknowledges the flips and wakes the outbox.

mod audit;
mod commit;
mod doubt;
mod lane;
mod suspects;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, rpc::CallResult};

pub use self::suspects::Suspects;
use self::{
    lane::Room,
    suspects::{CRASHES_MAX, blame},
};
use super::{
    alarm::Alarm,
    canary::{Passage, passage},
    context::{Shared, lock},
    recorder::{self, Recorded},
    worker::Worker,
};
use crate::{
    domain::{
        desk::{Answer, Ask, Desk, Missed, Restored, Settings, Undelivered},
        id::{Kind, WatchId},
        incident::Incident,
        watch::{Condition, Flip},
        write::Write,
    },
    ports::{
        fail_points::{Point, reached},
        store::Commit,
    },
};

/// Who writes, as the store's fence knows it.
const WRITER: &str = "incident_manager";
/// A store that did not take a commit is asked again after this.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long a commit may take before it is sent again (the Recorder gives up at 20 s by itself).
const ANSWER_WITHIN: Duration = Duration::from_secs(25);
/// Flips that wait to be taken in.
const WAITING_MAX: usize = 20_000;
/// Loads that fail before the manager begins without the book: some 5 s.
const LOADS_MAX: u32 = 10;
/// Numbers that are told from memory alone begin here, far from any that the store will ever draw.
const UNSTORED: u64 = 1 << 52;
/// Flips taken into one transaction.
const BATCH_MAX: usize = 2_000;
pub enum Message {
    Flips(Vec<Flip>),
    Ask(Ask, RpcReplyPort<Answer>),
    Undelivered(Undelivered),
    Reload(Arc<Settings>),
    Loaded(Option<recorder::Book>),
    Recorded(Option<Recorded>),
    Retry,
    Alarm,
    /// Compare slots with open incidents, from this place of the table on.
    Audit(usize),
    /// Answers when all that was taken in stands.
    Drain(RpcReplyPort<()>),
    Ping(RpcReplyPort<()>),
}

pub(crate) struct IncidentManager;

/// A transaction that was sent or waits for the one before it; kept until it stands.
struct UnderWay {
    commit: Commit,
    /// Whose flips are in it.
    watches: Vec<WatchId>,
    acknowledge: Vec<(WatchId, u64, u64)>,
    replies: Vec<(RpcReplyPort<Answer>, Answer)>,
    worker: Option<Worker>,
    /// Goes on to the outbox once the store has answered, whatever it said.
    canary: Option<Passage>,
    /// Messages that are in it.
    owed: usize,
}

pub(crate) struct Running {
    context: Shared,
    incarnation: u64,
    sequence: u64,
    desk: Option<Desk>,
    /// The desk is the store's book; else one begun without it, whose word goes out from memory alone.
    loaded: bool,
    loads_failed: u32,
    flips: Vec<Flip>,
    asks: Vec<(Ask, RpcReplyPort<Answer>)>,
    undelivered: Vec<Undelivered>,
    /// Oldest first; only the first is with the Recorder. More than one only while the store refuses.
    queue: VecDeque<UnderWay>,
    /// The store refused the first of the queue: what is owed is told from memory meanwhile.
    refused: bool,
    loading: Option<Worker>,
    alarm: Alarm<Message>,
    drains: Vec<RpcReplyPort<()>>,
    set_aside: HashSet<WatchId>,
    /// Steps of chains that were due at the last audit and not done.
    due: HashSet<Missed>,
    /// To be taken along by the next commit.
    canary: Option<Passage>,
}

impl Actor for IncidentManager {
    type Msg = Message;
    type State = Running;
    type Arguments = Shared;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        context: Shared,
    ) -> Result<Running, ActorProcessingErr> {
        #[cfg(test)]
        context.chaos.before_part("incident_manager");
        let set_aside = blame(&mut lock(&context.suspects));
        let incarnation = context.next_incarnation();
        context.at.manager.set(myself);
        Ok(Running {
            context,
            incarnation,
            sequence: 0,
            desk: None,
            loaded: false,
            loads_failed: 0,
            flips: Vec::new(),
            asks: Vec::new(),
            undelivered: Vec::new(),
            queue: VecDeque::new(),
            refused: false,
            loading: None,
            alarm: Alarm::default(),
            drains: Vec::new(),
            set_aside,
            due: HashSet::new(),
            canary: None,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
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
        running.context.chaos.in_part("incident_manager").await;
        match message {
            // What has no room here waits in its slot and is sent again.
            Message::Flips(flips) if running.flips.len() < WAITING_MAX => {
                reached(Point::FlipsArrived);
                running.flips.extend(flips);
            }
            Message::Flips(_) => {}
            Message::Ask(ask, reply) => running.asks.push((ask, reply)),
            Message::Undelivered(report) => running.undelivered.push(report),
            Message::Reload(settings) => {
                if let Some(desk) = &mut running.desk {
                    desk.reload(settings);
                }
            }
            Message::Loaded(book) => running.loaded(&myself, book),
            Message::Recorded(recorded) => running.recorded(&myself, recorded)?,
            Message::Retry if !running.loaded => running.load(&myself),
            Message::Retry => running.send(&myself),
            #[cfg(test)]
            Message::Alarm if running.context.chaos.loses("alarm to manager") => {}
            Message::Alarm => running.tick(&myself),
            Message::Audit(from) => {
                // A manager that has lived until its second audit was killed by none of those it blamed.
                lock(&running.context.suspects).crashes.retain(|_, it| CRASHES_MAX <= *it);
                running.audit(&myself, from);
            }
            Message::Drain(reply) => running.drains.push(reply),
            Message::Ping(reply) => drop(reply.send(())),
        }
        running.pump(&myself);
        running.publish_taken();
        if running.queue.is_empty() && running.flips.is_empty() {
            for reply in running.drains.drain(..) {
                let _ = reply.send(());
            }
        }
        Ok(())
    }
}

impl Running {
    /// Asks for the book through the Recorder's queue: what a predecessor sent is in it.
    fn load(&mut self, myself: &ActorRef<Message>) {
        let Some(recorder) = self.context.at.recorder.get() else {
            myself.send_after(RETRY_AFTER, || Message::Retry);
            return;
        };
        let settings = &self.context.wanted().desk;
        let reopen_after = self.context.clock.now() - settings.remembers();
        let work = async move {
            let ask = |reply| recorder::Message::Desk { reopen_after, reply };
            match recorder.call(ask, None).await {
                Ok(CallResult::Success(book)) => Some(book),
                // The Recorder was restarted: that says nothing about the store.
                Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => None,
            }
        };
        self.loading = Some(Worker::bounded(myself, ANSWER_WITHIN, work, |book| {
            Message::Loaded(book.flatten())
        }));
    }

    fn loaded(&mut self, myself: &ActorRef<Message>, book: Option<recorder::Book>) {
        self.loading = None;
        let refused = matches!(book, Some(Err(_)));
        let Some(Ok((mut restored, unreadable))) = book else {
            self.loads_failed += u32::from(refused);
            if refused && self.loads_failed == LOADS_MAX {
                self.begin_without_book();
            }
            myself.send_after(RETRY_AFTER, || Message::Retry);
            return;
        };
        self.loaded = true;
        lock(&self.context.suspects).drawn.raise(&mut restored);
        let now = self.context.clock.now();
        let mut aside: Vec<Incident> = Vec::new();
        restored.incidents.retain(|it| {
            let poison = self.set_aside.contains(&it.watch);
            if poison {
                aside.push(it.clone());
            }
            !poison
        });
        let settings = Arc::clone(&self.context.wanted().desk);
        self.desk = Some(Desk::restore(settings, restored));
        self.tell_of_rows(&aside, &unreadable, now);
        if !aside.is_empty() {
            let writes = aside.iter().map(|it| Write::SetAside { incident: it.id }).collect();
            self.commit(myself, writes, Vec::new(), Vec::new());
        }
        // What the actors have not been acknowledged for is in the slots; and what the book and the slots
        // disagree about is settled by asking. What arrived while the book was read comes after it: a flip that
        // is taken before an older one of its watch makes that one look known.
        let arrived = std::mem::take(&mut self.flips);
        for slot in self.context.slots.all() {
            self.flips.extend(slot.unacknowledged());
        }
        self.flips.extend(self.context.slots.retired_flips());
        self.flips.extend(self.context.board.unacknowledged());
        self.flips.extend(arrived);
        self.audit(myself, 0);
    }

    /// The store cannot even be read: a watch that stays mute for that is none. What is told now is told
    /// from memory, and once more when the store is back, since nobody can know then what was told.
    fn begin_without_book(&mut self) {
        tracing::error!("the store cannot be read: incidents are told from memory until it can");
        let restored = Restored {
            last_incident: UNSTORED,
            last_group: UNSTORED,
            last_delivery: UNSTORED,
            last_silence: UNSTORED,
            ..Restored::default()
        };
        self.desk = Some(Desk::restore(Arc::clone(&self.context.wanted().desk), restored));
    }

    /// Rows that crash their reader or cannot be read are kept, not loaded, and told.
    fn tell_of_rows(&self, aside: &[Incident], unreadable: &[String], now: Timestamp) {
        let mut names: Vec<String> = aside.iter().map(|it| it.id.to_string()).collect();
        // What kills before an incident is open is a verdict of this watch.
        names.extend(self.set_aside.iter().map(|it| format!("verdicts of {it}")));
        names.extend(unreadable.iter().cloned());
        let why = format!("set aside, kept in the store: {}", names.join(", "));
        let trouble = (!names.is_empty()).then_some((Condition::SetAside, why.as_str()));
        let watch = WatchId::new(Kind::Myself, "incidents");
        if trouble.is_some() || self.context.board.trouble(&watch).is_none() {
            self.context.tell(self.context.board.set(&watch, trouble, now));
        }
    }

    /// Takes in all that waits, as one transaction, unless one is under way.
    fn pump(&mut self, myself: &ActorRef<Message>) {
        if self.room() == Room::Nothing || self.desk.is_none() {
            return;
        }
        if !self.flips.is_empty() || !self.asks.is_empty() || !self.undelivered.is_empty() {
            let now = self.context.clock.now();
            let (mut writes, acknowledge) = self.take_flips(now);
            if self.loaded {
                let replies = self.take_asks(now, &mut writes);
                self.commit(myself, writes, acknowledge, replies);
            } else {
                self.tell_from_memory(&writes);
                let canary = self.canary.take();
                self.pass_on(canary);
                for (_, reply) in std::mem::take(&mut self.asks) {
                    // Whoever asked may have gone.
                    let _ =
                        reply.send(Err("the store does not work: nothing can be kept".to_owned()));
                }
            }
        }
        self.set_alarm(myself);
    }

    fn take_flips(&mut self, now: Timestamp) -> (Vec<Write>, Vec<(WatchId, u64, u64)>) {
        let room = self.room();
        let Some(desk) = &mut self.desk else { return (Vec::new(), Vec::new()) };
        // After a crash one at a time, until the one that did it is known.
        let crashes = |it: &Suspects| it.crashes.values().any(|count| *count < CRASHES_MAX);
        let careful = crashes(&lock(&self.context.suspects));
        let batch_max = if careful { 1 } else { BATCH_MAX };
        let mut batch: Vec<Flip> = Vec::new();
        let mut acknowledge = Vec::new();
        let mut newest: HashMap<WatchId, (u64, u64)> = HashMap::new();
        let mut left = std::mem::take(&mut self.flips).into_iter();
        for flip in left.by_ref() {
            if let Some(canary) = passage(&flip) {
                #[cfg(test)]
                if self.context.chaos.loses("watch to manager") {
                    continue;
                }
                self.canary = Some(canary);
                continue;
            }
            let watch = &flip.subject.watch;
            let newer = newest.get(watch).is_some_and(|it| (flip.epoch, flip.n) <= *it);
            let known = newer || desk.has_seen(&flip) || self.set_aside.contains(watch);
            // What has no place now, and what waits for the store already, comes again.
            if (known && self.refused) || !(known || room.has_place_for(&flip)) {
                continue;
            }
            acknowledge.push((watch.clone(), flip.epoch, flip.n));
            if known {
                continue;
            }
            newest.insert(watch.clone(), (flip.epoch, flip.n));
            batch.push(flip);
            if batch_max <= batch.len() {
                break;
            }
        }
        self.flips = left.collect();
        let watches: Vec<WatchId> = newest.keys().cloned().collect();
        lock(&self.context.suspects).at_work.clone_from(&watches);
        #[cfg(test)]
        for watch in &watches {
            self.context.chaos.in_desk(watch);
        }
        let doubtful = self.doubtful(&batch);
        let Some(desk) = &mut self.desk else { return (Vec::new(), Vec::new()) };
        let mut writes = desk.flips(&batch, doubtful, now);
        if !batch.is_empty() {
            reached(Point::DeskDecided);
        }
        {
            let mut suspects = lock(&self.context.suspects);
            suspects.at_work.clear();
            for watch in &watches {
                suspects.crashes.remove(watch);
            }
        }
        for (watch, (epoch, n)) in newest {
            if let Some(mut facts) =
                self.context.slots.by_watch(&watch).and_then(|it| it.facts(true))
                && facts.epoch == epoch
            {
                facts.n = facts.n.max(n);
                writes.push(Write::Facts(Box::new(facts)));
            }
        }
        (writes, acknowledge)
    }

    fn take_asks(
        &mut self,
        now: Timestamp,
        writes: &mut Vec<Write>,
    ) -> Vec<(RpcReplyPort<Answer>, Answer)> {
        let Some(desk) = &mut self.desk else { return Vec::new() };
        for report in std::mem::take(&mut self.undelivered) {
            writes.extend(desk.undelivered(&report, now));
        }
        let mut replies = Vec::new();
        for (ask, reply) in std::mem::take(&mut self.asks) {
            let (answer, more) = desk.ask(ask, now);
            writes.extend(more);
            replies.push((reply, answer));
        }
        replies
    }

    fn tick(&mut self, myself: &ActorRef<Message>) {
        // While a commit is under way the alarm is set again when it stands.
        if self.loaded
            && self.room() != Room::Nothing
            && let Some(desk) = &mut self.desk
        {
            let writes = desk.tick(self.context.clock.now());
            self.commit(myself, writes, Vec::new(), Vec::new());
        }
    }

    fn set_alarm(&mut self, myself: &ActorRef<Message>) {
        let Some(desk) = &self.desk else { return };
        match desk.deadline() {
            Some(at) => self.alarm.set(myself, at, self.context.clock.now(), || Message::Alarm),
            None => self.alarm.clear(),
        }
    }
}
