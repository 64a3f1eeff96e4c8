//! Commit: what the desk wants written goes to the Recorder, one transaction after the other; only when it
//! stands are flips acknowledged and the outbox told. While the store refuses, the outbox is told from memory.

use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};

use super::{ANSWER_WITHIN, Message, RETRY_AFTER, Running, UnderWay, WRITER};
use crate::{
    actors::{
        canary::Passage,
        context::lock,
        outbox,
        recorder::{self, Recorded},
        worker::Worker,
    },
    domain::{delivery::Delivery, desk::Answer, id::WatchId, write::Write},
    ports::{
        fail_points::{Point, reached},
        store::{Commit, Refused},
    },
};

impl Running {
    pub(super) fn commit(
        &mut self,
        myself: &ActorRef<Message>,
        writes: Vec<Write>,
        acknowledge: Vec<(WatchId, u64, u64)>,
        replies: Vec<(RpcReplyPort<Answer>, Answer)>,
    ) {
        let canary = self.canary.take();
        if writes.is_empty()
            && let Some(last) = self.queue.back_mut()
        {
            last.canary = canary.or(last.canary);
        }
        if writes.is_empty() && (canary.is_none() || !self.queue.is_empty()) {
            // Known flips may be known from a transaction that does not stand yet: they are sent again.
            match self.queue.back_mut() {
                Some(last) => last.replies.extend(replies),
                None => self.settle(&acknowledge, replies),
            }
            return;
        }
        lock(&self.context.suspects).drawn.note(&writes);
        let watches = acknowledge.iter().map(|(watch, ..)| watch.clone()).collect();
        self.sequence += 1;
        let commit = Commit {
            writer: WRITER,
            incarnation: self.incarnation,
            sequence: self.sequence,
            writes,
        };
        if self.refused {
            self.tell_from_memory(&commit.writes);
        }
        let owed = commit.writes.iter().filter(|it| matches!(it, Write::Delivery(_))).count();
        self.enqueue(UnderWay {
            owed,
            commit,
            watches,
            acknowledge,
            replies,
            worker: None,
            canary,
        });
        if self.queue.len() == 1 {
            self.send(myself);
        }
    }

    /// The outbox's memory lane: a full disk must not silence a watch. The rows come again when they stand.
    pub(super) fn tell_from_memory(&self, writes: &[Write]) {
        let owed: Vec<Delivery> = writes.iter().cloned().filter_map(owed).collect();
        if !owed.is_empty() {
            self.context.at.outbox.cast(outbox::Message::OwedUnstored(owed));
        }
    }

    pub(super) fn pass_on(&self, canary: Option<Passage>) {
        #[cfg(test)]
        let canary = canary.filter(|_| !self.context.chaos.loses("manager to outbox"));
        if let Some(canary) = canary {
            self.context.at.outbox.cast(outbox::Message::Canary(canary));
        }
    }

    /// Sends the commit under way, for the first time or again.
    pub(super) fn send(&mut self, myself: &ActorRef<Message>) {
        let Some(under_way) = self.queue.front_mut() else { return };
        let work = recorder::commit(Arc::clone(&self.context), under_way.commit.clone());
        under_way.worker = Some(Worker::bounded(myself, ANSWER_WITHIN, work, |recorded| {
            Message::Recorded(recorded.flatten())
        }));
        reached(Point::CommitSent);
    }

    pub(super) fn recorded(
        &mut self,
        myself: &ActorRef<Message>,
        recorded: Option<Recorded>,
    ) -> Result<(), ActorProcessingErr> {
        match recorded {
            Some(Recorded::Durable) => {
                reached(Point::CommitStands);
                self.refused = false;
                if let Some(done) = self.queue.pop_front() {
                    log(&done.commit.writes);
                    let owed: Vec<Delivery> =
                        done.commit.writes.into_iter().filter_map(owed).collect();
                    if !owed.is_empty() {
                        self.context.at.outbox.cast(outbox::Message::Owed(owed));
                    }
                    reached(Point::OutboxTold);
                    self.pass_on(done.canary);
                    self.settle(&done.acknowledge, done.replies);
                    reached(Point::FlipsAcknowledged);
                }
                self.send(myself);
            }
            // A successor is at work, or the book and the store disagree: begin anew from the store.
            Some(Recorded::Refused(refused @ Refused::Fenced { .. })) => return Err(refused.into()),
            Some(Recorded::Refused(refused @ Refused::Row(_))) => {
                // Whoever is in it is suspected: one of them makes rows that the store will not have.
                if let Some(first) = self.queue.pop_front() {
                    lock(&self.context.suspects).at_work = first.watches;
                }
                return Err(refused.into());
            }
            Some(Recorded::Failed(_)) => {
                if !std::mem::replace(&mut self.refused, true)
                    && let Some(first) = self.queue.front()
                {
                    self.tell_from_memory(&first.commit.writes);
                }
                // Refused is an answer too, and the queue waits behind it.
                let refused = self.queue.iter_mut().filter_map(|it| it.canary.take()).last();
                self.pass_on(refused);
                myself.send_after(RETRY_AFTER, || Message::Retry);
            }
            None => {
                myself.send_after(RETRY_AFTER, || Message::Retry);
            }
        }
        Ok(())
    }

    pub(super) fn settle(
        &self,
        acknowledge: &[(WatchId, u64, u64)],
        replies: Vec<(RpcReplyPort<Answer>, Answer)>,
    ) {
        #[cfg(test)]
        if self.context.chaos.drops_acknowledgement() {
            return;
        }
        for (watch, epoch, n) in acknowledge {
            self.context.slots.acknowledge(watch, *epoch, *n);
            self.context.board.acknowledge(watch, *epoch, *n);
        }
        for (reply, answer) in replies {
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        }
    }
}

fn owed(write: Write) -> Option<Delivery> {
    if let Write::Delivery(delivery) = write { Some(*delivery) } else { None }
}

/// One line per incident that opened or ended: the log, and what a terminal shows.
fn log(writes: &[Write]) {
    for write in writes {
        let Write::Incident(incident) = write else { continue };
        let (watch, condition) = (&incident.watch, incident.condition);
        match &incident.resolved {
            Some((at, _)) => {
                tracing::info!(%watch, %condition, incident = %incident.id, since = %incident.opened_at, until = %at, "incident resolved");
            }
            None if incident.acknowledgement.is_some() => {
                tracing::info!(%watch, %condition, incident = %incident.id, "incident acknowledged");
            }
            None => {
                tracing::warn!(%watch, %condition, incident = %incident.id, severity = %incident.severity, since = %incident.opened_at, "incident open");
            }
        }
    }
}
