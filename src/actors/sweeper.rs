//! Sweeper: sleeps to the earliest deadline of its shard, 1 s at most, and wakes whose deadline has
//! passed. It decides nothing and keeps nothing: when it dies, the next sweep sees the same.

use std::sync::{Arc, atomic::Ordering};

use jiff::{SignedDuration, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::{alarm::Alarm, context::Shared, ears::Gap, shard, slot::ShardPoint};
use crate::ports::fail_points::{Point, reached};

/// The longest sleep: what no poke announced is seen within this.
const SLEEP_MAX: SignedDuration = SignedDuration::from_secs(1);
/// Sweeps follow each other no closer than this, however many pokes come.
const SLEEP_MIN: SignedDuration = SignedDuration::from_millis(5);
/// An actor that has not answered a wake-up for so long is ended and started anew.
const ANSWER_WITHIN: SignedDuration = SignedDuration::from_secs(5);
/// Verdicts that wait for the IncidentManager per shard, beyond which no further actor is woken: an
/// observer under load must not drown in its own messages (docs/ARCHITECTURE.md, "Cross-cutting").
const UNACKNOWLEDGED_MAX: usize = 1_000;
/// Flips that nobody acknowledged are sent again so often.
const RESEND_EVERY: SignedDuration = SignedDuration::from_secs(1);

#[derive(Debug)]
pub enum Message {
    /// The alarm went off.
    Due,
    /// A deadline came nearer, a proof arrived, or the hearing changed.
    Poke,
    Ping(RpcReplyPort<()>),
}

pub(crate) struct Sweeper;

pub(crate) struct Running {
    context: Shared,
    number: usize,
    point: Arc<ShardPoint>,
    alarm: Alarm<Message>,
    seen_version: u64,
    resent_at: Timestamp,
    swept_at: Timestamp,
}

impl Actor for Sweeper {
    type Msg = Message;
    type State = Running;
    type Arguments = (Shared, usize);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (context, number): (Shared, usize),
    ) -> Result<Running, ActorProcessingErr> {
        let point = Arc::clone(&context.slots.points()[number]);
        point.sweeper.set(myself.clone());
        let now = context.clock.now();
        // Version 0 is never current after the first proof: a new sweeper wakes everybody once.
        Ok(Running {
            context,
            number,
            point,
            alarm: Alarm::default(),
            seen_version: u64::MAX,
            resent_at: now,
            swept_at: now,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        running.sweep(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(test)]
        running.context.chaos.in_part("sweeper").await;
        match message {
            Message::Due => running.sweep(&myself),
            Message::Poke => {
                let wait = SLEEP_MIN - running.context.clock.now().duration_since(running.swept_at);
                if wait.is_positive() {
                    running.sleep(&myself, wait);
                } else {
                    running.sweep(&myself);
                }
            }
            Message::Ping(reply) => drop(reply.send(())),
        }
        Ok(())
    }
}

impl Running {
    fn sweep(&mut self, myself: &ActorRef<Message>) {
        self.point.looking();
        let now = self.context.clock.now();
        let gap = self.context.ears.notice(now, self.context.clock.suspended());
        log_gap(gap);
        let version = self.context.ears.version();
        let all = version != self.seen_version;
        self.seen_version = version;
        let resend = RESEND_EVERY <= now.duration_since(self.resent_at);
        let mut next = now + SLEEP_MAX;
        let mut waiting = 0;
        // What was taken in and waits for the store alone holds nobody up.
        let waiting_max = UNACKNOWLEDGED_MAX + self.context.taken.load(Ordering::Relaxed);
        let mut unheard = Vec::new();
        for slot in self.context.slots.shard(self.number) {
            let glance = slot.glance(now);
            waiting += glance.unacknowledged.len();
            if resend {
                unheard.extend(glance.unacknowledged);
            }
            if glance.deaf_since.is_some_and(|since| ANSWER_WITHIN < now.duration_since(since)) {
                tracing::warn!(watch = %slot.watch, "watch does not answer and is started anew");
                self.point.shard.cast(shard::Message::Kill(slot.watch.clone()));
                continue;
            }
            match glance.deadline {
                // Strictly later: at the deadline itself the promise still holds.
                Some(deadline) if now <= deadline => next = next.min(deadline),
                Some(_) if waiting < waiting_max => {
                    reached(Point::DeadlineFound);
                    slot.wake();
                }
                Some(_) | None => {}
            }
            if all {
                slot.wake();
            }
        }
        if resend {
            self.resend(unheard, now);
        }
        self.swept_at = now;
        // One microsecond past the deadline, the clock's own step: then it has been broken.
        let wait = next.duration_since(now) + SignedDuration::from_micros(1);
        self.sleep(myself, wait.max(SLEEP_MIN));
    }

    fn resend(&mut self, mut unheard: Vec<crate::domain::watch::Flip>, now: Timestamp) {
        self.resent_at = now;
        if self.number == 0 {
            unheard.extend(self.context.board.unacknowledged());
            unheard.extend(self.context.slots.retired_flips());
            let longest = self.context.wanted().longest_interval();
            let settle =
                longest.map_or(self.context.timing.settle, |it| it.min(self.context.timing.settle));
            for source in self.context.ears.settled(now, settle) {
                let watch = self.context.ears.watch_of(source);
                unheard.extend(self.context.board.set(&watch, None, now));
            }
        }
        self.context.tell(unheard);
    }

    fn sleep(&mut self, myself: &ActorRef<Message>, wait: SignedDuration) {
        let now = self.context.clock.now();
        self.point.sleep_to(now + wait);
        self.alarm.set(myself, now + wait, now, || Message::Due);
    }
}

fn log_gap(gap: Gap) {
    match gap {
        Gap::None => {}
        Gap::Shifted(length) => {
            tracing::warn!(?length, "the process was held up and deadlines were shifted");
        }
        Gap::Deaf(length) => {
            tracing::warn!(?length, "the process did not run: all sources must prove themselves");
        }
    }
}
