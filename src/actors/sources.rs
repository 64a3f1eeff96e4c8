//! Sources: one child per way by which signs of life reach us. A child that ends is started again; one
//! that keeps failing is set aside and told, and the others do not notice.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use super::{
    context::Shared,
    nursery::{Next, Nursery},
    tower::Listener,
    worker::Worker,
};
use crate::{
    domain::{id::SourceId, restart::Patience, watch::Condition},
    ports::source::{Ear, Source, SourceEnded},
};

#[derive(Debug)]
pub enum Message {
    Start(SourceId),
    Ping(RpcReplyPort<()>),
}

pub(crate) struct Sources;

pub(crate) struct Running {
    context: Shared,
    sources: Arc<[Arc<dyn Source>]>,
    nursery: Nursery<SourceId>,
}

impl Actor for Sources {
    type Msg = Message;
    type State = Running;
    type Arguments = (Shared, Arc<[Arc<dyn Source>]>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (context, sources): (Shared, Arc<[Arc<dyn Source>]>),
    ) -> Result<Running, ActorProcessingErr> {
        #[cfg(test)]
        context.chaos.before_part("sources");
        context.at.sources.set(myself);
        Ok(Running { context, sources, nursery: Nursery::new(Patience::Quarantined) })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        let all: Vec<SourceId> = running.context.ears.sources().collect();
        for source in all {
            running.start(&myself, source).await;
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(test)]
        running.context.chaos.in_part("sources").await;
        match message {
            Message::Start(source) => running.start(&myself, source).await,
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
        if let Some(source) = running.nursery.buried(&event) {
            running.failed(&myself, source);
        }
        Ok(())
    }
}

impl Running {
    async fn start(&mut self, myself: &ActorRef<Message>, id: SourceId) {
        let Some(source) = self.sources.get(usize::from(id.0)).cloned() else { return };
        let arguments = (Arc::clone(&self.context), source, id);
        match child::SourceActor::spawn_linked(
            None,
            child::SourceActor,
            arguments,
            myself.get_cell(),
        )
        .await
        {
            Ok((actor, _)) => {
                self.nursery.started(actor.get_id(), id, self.context.clock.now());
            }
            Err(error) => {
                tracing::warn!(source = self.context.ears.name_of(id), %error, "source did not start");
                self.failed(myself, id);
            }
        }
    }

    fn failed(&mut self, myself: &ActorRef<Message>, id: SourceId) {
        let context = Arc::clone(&self.context);
        let now: Timestamp = context.clock.now();
        context.counters.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let wait = match self.nursery.failed(&id, now) {
            Next::Restart { wait, .. } => wait,
            Next::Quarantine => {
                let watch = context.ears.watch_of(id);
                tracing::error!(%watch, "source keeps failing and was set aside");
                // A source that does not run cannot hear: its watches are judged by the others.
                let since = context.ears.hearing().sources[usize::from(id.0)].proved_at;
                context.ears.blind(id, since);
                let why = "it failed more than 6 times in 10 s and is tried again every 5 minutes";
                context.tell(context.board.set(&watch, Some((Condition::Unwatched, why)), now));
                context.slots.poke_all();
                context.timing.half_open
            }
        };
        let wait = Duration::try_from(wait).unwrap_or_default();
        myself.send_after(wait, move || Message::Start(id));
    }
}

mod child {
    //! One source at work. It has no question to answer: its handler waits on nothing, and whether the
    //! work beside it goes on is what the source's proofs tell.
    use super::{
        Actor, ActorProcessingErr, ActorRef, Arc, Ear, Listener, Shared, Source, SourceEnded,
        SourceId, Worker,
    };

    pub(super) enum Message {
        Ended(SourceEnded),
    }

    pub(super) struct SourceActor;

    pub(super) struct Running {
        _work: Worker,
    }

    impl Actor for SourceActor {
        type Msg = Message;
        type State = Running;
        type Arguments = (Shared, Arc<dyn Source>, SourceId);

        async fn pre_start(
            &self,
            myself: ActorRef<Message>,
            (context, source, id): (Shared, Arc<dyn Source>, SourceId),
        ) -> Result<Running, ActorProcessingErr> {
            #[cfg(test)]
            context.chaos.before_part("source");
            let ear: Arc<dyn Ear> = Arc::new(Listener::new(context));
            let work = async move { source.run(ear, id).await };
            Ok(Running { _work: Worker::lasting(&myself, work, Message::Ended) })
        }

        async fn handle(
            &self,
            _: ActorRef<Message>,
            message: Message,
            _: &mut Running,
        ) -> Result<(), ActorProcessingErr> {
            match message {
                Message::Ended(SourceEnded(why)) => Err(why.into()),
            }
        }
    }
}
