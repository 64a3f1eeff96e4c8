//! Worker: slow work beside an actor. It ends with its owner, is bounded by a time-out and casts its
//! result back; a handler never waits on the outside.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use ractor::{ActorRef, Message, concurrency::JoinHandle};

/// Work under way; dropping it ends it, so nothing outlives the actor that asked.
#[derive(Debug)]
pub(crate) struct Worker(JoinHandle<()>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Worker {
    /// Runs `work` and casts what `done` makes of it to `owner`; `late` stands in when `limit` passes first.
    pub(crate) fn bounded<M, T, F>(
        owner: &ActorRef<M>,
        limit: Duration,
        work: F,
        done: impl FnOnce(Option<T>) -> M + Send + 'static,
    ) -> Self
    where
        M: Message,
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let work = async move { tokio::time::timeout(limit, work).await.ok() };
        Self::lasting(owner, work, done)
    }

    /// Runs `work` without a limit: for work that is meant to last as long as its owner.
    pub(crate) fn lasting<M, T, F>(
        owner: &ActorRef<M>,
        work: F,
        done: impl FnOnce(T) -> M + Send + 'static,
    ) -> Self
    where
        M: Message,
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let owner = owner.clone();
        Self(ractor::concurrency::spawn(async move {
            match AssertUnwindSafe(work).catch_unwind().await {
                // An owner that has gone has no use for the result.
                Ok(result) => drop(owner.cast(done(result))),
                // Its owner would wait for ever: the panic becomes the owner's death, which is judged.
                Err(_) => owner.kill(),
            }
        }))
    }
}
