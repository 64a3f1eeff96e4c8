//! Recorder: the store's one writer. While one transaction is under way, all commits that arrive wait
//! for the next one together: group commit. Reading for a restart of the IncidentManager passes through
//! the same queue, so no write of its predecessor can land behind its back.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, rpc::CallResult};

use super::{context::Shared, worker::Worker};
use crate::{
    domain::{desk::Restored, id::Kind, id::WatchId, watch::Condition},
    ports::{
        fail_points::{Point, reached},
        store::{Commit, Refused, StoreError},
    },
};

/// A transaction that takes longer is given up as failed; the store may still finish it, which the
/// sequence numbers of the commits make harmless.
const COMMIT_WITHIN: Duration = Duration::from_secs(20);

/// History beyond its keeping time is deleted this often.
const PRUNE_EVERY: Duration = Duration::from_mins(10);

/// What became of a commit.
#[derive(Debug, Clone)]
pub enum Recorded {
    /// It is on the disk.
    Durable,
    /// This commit alone was refused: its writer is outdated or a row is impossible.
    Refused(Refused),
    /// The store did not work; the same commit may be sent again.
    Failed(Arc<str>),
}

/// What a desk begins with, and the names of the rows that could not be read.
pub type Book = Result<(Restored, Vec<String>), Arc<str>>;

pub enum Message {
    Commit(Commit, Option<RpcReplyPort<Recorded>>),
    /// Everything that was sent before this is in the store when it is answered.
    Desk {
        reopen_after: Timestamp,
        reply: RpcReplyPort<Book>,
    },
    Done(Option<Result<Vec<Result<(), Refused>>, StoreError>>),
    Loaded(Option<Result<(Restored, Vec<String>), StoreError>>),
    /// Delete what is older than its keeping time.
    Prune,
    Pruned(Option<Result<u64, StoreError>>),
    Ping(RpcReplyPort<()>),
}

/// Sends one commit and waits for what came of it; none when the Recorder was restarted meanwhile.
pub async fn commit(context: Shared, commit: Commit) -> Option<Recorded> {
    let recorder = context.at.recorder.get()?;
    let ask = |reply| Message::Commit(commit, Some(reply));
    match recorder.call(ask, None).await {
        Ok(CallResult::Success(recorded)) => Some(recorded),
        Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => None,
    }
}

pub(crate) struct Recorder;

enum Work {
    Commit(Vec<Option<RpcReplyPort<Recorded>>>),
    Desk(RpcReplyPort<Book>),
    Prune,
}

pub(crate) struct Running {
    context: Shared,
    waiting: Vec<(Commit, Option<RpcReplyPort<Recorded>>)>,
    desks: Vec<(Timestamp, RpcReplyPort<Book>)>,
    prune: bool,
    under_way: Option<(Work, Worker)>,
}

impl Actor for Recorder {
    type Msg = Message;
    type State = Running;
    type Arguments = Shared;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        context: Shared,
    ) -> Result<Running, ActorProcessingErr> {
        #[cfg(test)]
        context.chaos.before_part("recorder");
        myself.send_after(PRUNE_EVERY, || Message::Prune);
        context.at.recorder.set(myself);
        Ok(Running {
            context,
            waiting: Vec::new(),
            desks: Vec::new(),
            prune: false,
            under_way: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(test)]
        running.context.chaos.in_part("recorder").await;
        match message {
            Message::Commit(commit, reply) => running.waiting.push((commit, reply)),
            Message::Desk { reopen_after, reply } => running.desks.push((reopen_after, reply)),
            Message::Done(result) => running.done(result),
            Message::Loaded(result) => running.loaded(result),
            Message::Prune => {
                running.prune = true;
                myself.send_after(PRUNE_EVERY, || Message::Prune);
            }
            Message::Pruned(result) => running.pruned(result),
            Message::Ping(reply) => drop(reply.send(())),
        }
        running.next(&myself);
        Ok(())
    }
}

impl Running {
    /// Starts what waits, if nothing is under way: commits first, then whoever wants to read after them.
    fn next(&mut self, myself: &ActorRef<Message>) {
        if self.under_way.is_some() {
            return;
        }
        let store = Arc::clone(&self.context.store);
        if !self.waiting.is_empty() {
            let (commits, replies) = std::mem::take(&mut self.waiting).into_iter().unzip();
            let at = self.context.clock.now();
            reached(Point::CommitTaken);
            let work = async move { store.commit(commits, at).await };
            let worker = Worker::bounded(myself, COMMIT_WITHIN, work, Message::Done);
            self.under_way = Some((Work::Commit(replies), worker));
        } else if let Some((reopen_after, reply)) = self.desks.pop() {
            let work = async move { store.desk(reopen_after).await };
            let worker = Worker::bounded(myself, COMMIT_WITHIN, work, Message::Loaded);
            self.under_way = Some((Work::Desk(reply), worker));
        } else if std::mem::take(&mut self.prune) {
            let now = self.context.clock.now();
            let work = async move { store.prune(now).await };
            let worker = Worker::bounded(myself, COMMIT_WITHIN, work, Message::Pruned);
            self.under_way = Some((Work::Prune, worker));
        }
    }

    fn pruned(&mut self, result: Option<Result<u64, StoreError>>) {
        self.under_way = None;
        if let Ok(rows) = self.judge(result)
            && 0 < rows
        {
            tracing::info!(rows, "history beyond its keeping time was deleted");
        }
    }

    fn done(&mut self, result: Option<Result<Vec<Result<(), Refused>>, StoreError>>) {
        let Some((Work::Commit(replies), _)) = self.under_way.take() else { return };
        reached(Point::CommitAnswered);
        let outcomes = self.judge(result);
        for (place, reply) in replies.into_iter().enumerate() {
            let Some(reply) = reply else { continue };
            let recorded = match &outcomes {
                Ok(outcomes) => match outcomes.get(place) {
                    Some(Err(refused)) => Recorded::Refused(refused.clone()),
                    Some(Ok(())) | None => Recorded::Durable,
                },
                Err(why) => Recorded::Failed(Arc::clone(why)),
            };
            // Whoever asked may have gone.
            let _ = reply.send(recorded);
        }
    }

    fn loaded(&mut self, result: Option<Result<(Restored, Vec<String>), StoreError>>) {
        let Some((Work::Desk(reply), _)) = self.under_way.take() else { return };
        let book = self.judge(result);
        let _ = reply.send(book);
    }

    /// Tells of a store that does not work, and of one that works again.
    fn judge<T>(&self, result: Option<Result<T, StoreError>>) -> Result<T, Arc<str>> {
        let watch = WatchId::new(Kind::Myself, "store");
        let now = self.context.clock.now();
        let (result, trouble) = match result {
            Some(Ok(value)) => (Ok(value), None),
            Some(Err(error)) => {
                let why: Arc<str> = Arc::from(crate::ports::chain(&error));
                (Err(Arc::clone(&why)), Some(why))
            }
            None => {
                let why: Arc<str> = Arc::from("the store did not answer within 20 s");
                (Err(Arc::clone(&why)), Some(why))
            }
        };
        let news = self.context.board.set(
            &watch,
            trouble.as_deref().map(|why| (Condition::Unwritable, why)),
            now,
        );
        match (&trouble, news.first().is_some_and(|it| it.from != it.to)) {
            (Some(why), true) => tracing::error!(%why, "the store cannot be written"),
            (None, true) => tracing::info!("the store is written again"),
            (Some(_) | None, false) => {}
        }
        self.context.tell(news);
        result
    }
}
