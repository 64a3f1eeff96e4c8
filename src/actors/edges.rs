//! Edges: one child per face (HTTP, Telegram). Each may fail alone.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use super::{
    context::Shared,
    nursery::{Next, Nursery},
    worker::Worker,
};
use crate::{
    domain::{
        id::{Kind, WatchId},
        restart::Patience,
        watch::Condition,
    },
    ports::Pending,
};

/// A face at work. `run` returns only when it failed, with the reason.
pub trait Edge: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    fn run(&self) -> Pending<'_, String>;
}

#[derive(Debug)]
pub enum Message {
    Start(usize),
    Ping(RpcReplyPort<()>),
}

pub(crate) struct Edges;

pub(crate) struct Running {
    context: Shared,
    edges: Arc<[Arc<dyn Edge>]>,
    nursery: Nursery<usize>,
}

impl Actor for Edges {
    type Msg = Message;
    type State = Running;
    type Arguments = (Shared, Arc<[Arc<dyn Edge>]>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (context, edges): (Shared, Arc<[Arc<dyn Edge>]>),
    ) -> Result<Running, ActorProcessingErr> {
        #[cfg(test)]
        context.chaos.before_part("edges");
        context.at.edges.set(myself);
        let nursery = Nursery::new(Patience::Quarantined);
        Ok(Running { context, edges, nursery })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        for place in 0..running.edges.len() {
            running.start(&myself, place).await;
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
        running.context.chaos.in_part("edges").await;
        match message {
            Message::Start(place) => running.start(&myself, place).await,
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
        if let Some(place) = running.nursery.buried(&event) {
            running.failed(&myself, place);
        }
        Ok(())
    }
}

impl Running {
    async fn start(&mut self, myself: &ActorRef<Message>, place: usize) {
        let Some(edge) = self.edges.get(place).cloned() else { return };
        let spawned =
            child::EdgeActor::spawn_linked(None, child::EdgeActor, edge, myself.get_cell()).await;
        match spawned {
            Ok((actor, _)) => {
                self.nursery.started(actor.get_id(), place, self.context.clock.now());
                self.tell(place, None);
            }
            Err(error) => {
                tracing::warn!(%error, "edge did not start");
                self.failed(myself, place);
            }
        }
    }

    fn failed(&mut self, myself: &ActorRef<Message>, place: usize) {
        self.context.counters.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let wait = match self.nursery.failed(&place, self.context.clock.now()) {
            Next::Restart { wait, .. } => wait,
            Next::Quarantine => {
                self.tell(
                    place,
                    Some("it failed more than 6 times in 10 s, tried every 5 minutes"),
                );
                self.context.timing.half_open
            }
        };
        let wait = Duration::try_from(wait).unwrap_or_default();
        myself.send_after(wait, move || Message::Start(place));
    }

    fn tell(&self, place: usize, trouble: Option<&str>) {
        let Some(edge) = self.edges.get(place) else { return };
        let watch = WatchId::new(Kind::Myself, &format!("edge:{}", edge.name()));
        let trouble = trouble.map(|why| (Condition::Unwatched, why));
        self.context.tell(self.context.board.set(&watch, trouble, self.context.clock.now()));
    }
}

mod child {
    //! One edge at work. It has no question to answer: its handler waits on nothing, and whether the work
    //! beside it goes on is seen by what it serves.
    use super::{Actor, ActorProcessingErr, ActorRef, Arc, Edge, Worker};

    pub(super) enum Message {
        Ended(String),
    }

    pub(super) struct EdgeActor;

    pub(super) struct Running {
        _work: Worker,
    }

    impl Actor for EdgeActor {
        type Msg = Message;
        type State = Running;
        type Arguments = Arc<dyn Edge>;

        async fn pre_start(
            &self,
            myself: ActorRef<Message>,
            edge: Arc<dyn Edge>,
        ) -> Result<Running, ActorProcessingErr> {
            let work = async move { edge.run().await };
            Ok(Running { _work: Worker::lasting(&myself, work, Message::Ended) })
        }

        async fn handle(
            &self,
            _: ActorRef<Message>,
            message: Message,
            _: &mut Running,
        ) -> Result<(), ActorProcessingErr> {
            match message {
                Message::Ended(why) => Err(why.into()),
            }
        }
    }
}
