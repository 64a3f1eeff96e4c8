//! Record: what came of the attempts is committed, all that waits at once.

use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef};

use super::{Message, RETRY_AFTER, Running, STORE_WITHIN, WRITER};
use crate::{
    actors::{
        recorder::{self, Recorded},
        worker::Worker,
    },
    ports::{
        fail_points::{Point, reached},
        store::Commit,
    },
};

impl Running {
    /// Commits what has come of the attempts, all that waits at once.
    pub(super) fn record(&mut self, myself: &ActorRef<Message>) {
        if self.under_way.is_some() || self.writes.is_empty() {
            return;
        }
        self.sequence += 1;
        let commit = Commit {
            writer: WRITER,
            incarnation: self.incarnation,
            sequence: self.sequence,
            writes: std::mem::take(&mut self.writes),
        };
        let worker = self.send(myself, &commit);
        self.under_way = Some((commit, worker));
    }

    pub(super) fn send(&self, myself: &ActorRef<Message>, commit: &Commit) -> Worker {
        let work = recorder::commit(Arc::clone(&self.context), commit.clone());
        Worker::bounded(myself, STORE_WITHIN, work, |recorded| {
            Message::Recorded(recorded.flatten())
        })
    }

    pub(super) fn recorded(
        &mut self,
        myself: &ActorRef<Message>,
        recorded: Option<Recorded>,
    ) -> Result<(), ActorProcessingErr> {
        match recorded {
            Some(Recorded::Durable) => {
                reached(Point::OutcomeStands);
                self.under_way = None;
            }
            Some(Recorded::Refused(refused)) => return Err(refused.into()),
            Some(Recorded::Failed(_)) | None => {
                myself.send_after(RETRY_AFTER, || Message::Retry);
            }
        }
        Ok(())
    }

    /// The commit under way once more: the store did not take it, or the Recorder was restarted.
    pub(super) fn retry(&mut self, myself: &ActorRef<Message>) {
        if let Some((commit, _)) = self.under_way.take() {
            let worker = self.send(myself, &commit);
            self.under_way = Some((commit, worker));
        }
    }
}
