//! Root: starts the singletons from left to right and restarts each by itself. Its own intensity is the
//! last resort: beyond it the process ends, and whoever started it starts it again.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use jiff::Timestamp;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::Notify;

use super::{
    context::Shared,
    edges::{Edge, Edges},
    incident_manager::IncidentManager,
    nursery::{Next, Nursery},
    outbox::Outbox,
    pulse::Pulse,
    recorder::Recorder,
    registry::RegistryActor,
    sources::Sources,
    watches::Watches,
    worker::Worker,
};
use crate::{
    domain::restart::{Intensity, Outcome, Patience, WAIT_MAX},
    ports::{registry::Registry, service_manager::ServiceManager, sign::Sign, source::Source},
};

/// Well below the 2 s from which on a gap counts (docs/BEHAVIOUR.md 4).
const BEAT_EVERY: Duration = Duration::from_millis(500);

/// The singletons, in the order in which they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Child {
    Recorder,
    Outbox,
    IncidentManager,
    Watches,
    Sources,
    Registry,
    Edges,
    Pulse,
}

impl Child {
    pub const ALL: [Self; 8] = [
        Self::Recorder,
        Self::Outbox,
        Self::IncidentManager,
        Self::Watches,
        Self::Sources,
        Self::Registry,
        Self::Edges,
        Self::Pulse,
    ];
}

#[derive(Debug)]
pub enum Message {
    Start(Child),
}

/// What the tree is built from.
#[derive(Clone)]
pub struct Parts {
    pub context: Shared,
    pub sources: Arc<[Arc<dyn Source>]>,
    pub edges: Arc<[Arc<dyn Edge>]>,
    pub registry: Arc<dyn Registry>,
    pub manager: Arc<dyn ServiceManager>,
    /// Our own signs of life, given while all is well.
    pub signs: Arc<[Arc<dyn Sign>]>,
    /// How many failures Root bears.
    pub intensity: Intensity,
    /// Told when Root gives up: the process is to exit non-zero.
    pub gave_up: Arc<Notify>,
}

pub struct Root;

pub struct Running {
    parts: Parts,
    nursery: Nursery<Child>,
    intensity: Intensity,
    recent: VecDeque<Timestamp>,
    /// Ends with Root.
    _metronome: Worker,
}

impl Actor for Root {
    type Msg = Message;
    type State = Running;
    type Arguments = Parts;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        parts: Parts,
    ) -> Result<Running, ActorProcessingErr> {
        let beating = beat(Arc::clone(&parts.context));
        Ok(Running {
            _metronome: Worker::lasting(&myself, beating, |never| match never {}),
            intensity: parts.intensity,
            parts,
            nursery: Nursery::new(Patience::Endless),
            recent: VecDeque::new(),
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        for child in Child::ALL {
            running.start(&myself, child).await;
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        Message::Start(child): Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        running.start(&myself, child).await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(child) = running.nursery.buried(&event) {
            tracing::warn!(?child, "part of the tree ended and is started anew");
            running.failed(&myself, child);
        }
        Ok(())
    }
}

impl Running {
    async fn start(&mut self, myself: &ActorRef<Message>, child: Child) {
        match spawn(&self.parts, myself, child).await {
            Ok(actor) => self.nursery.started(actor, child, self.parts.context.clock.now()),
            Err(error) => {
                tracing::error!(?child, %error, "part of the tree did not start");
                self.failed(myself, child);
            }
        }
    }

    fn failed(&mut self, myself: &ActorRef<Message>, child: Child) {
        let context = &self.parts.context;
        let now = context.clock.now();
        context.counters.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match self.intensity.on_failure(&mut self.recent, now) {
            Outcome::GoOn => {
                // Singletons are never set aside: what would be quarantine is the longest wait.
                let wait = match self.nursery.failed(&child, now) {
                    Next::Restart { wait, .. } => wait,
                    Next::Quarantine => WAIT_MAX,
                };
                let wait = Duration::try_from(wait).unwrap_or_default();
                myself.send_after(wait, move || Message::Start(child));
            }
            Outcome::GiveUp => {
                tracing::error!(?child, "the tree's core keeps failing: the process ends");
                self.parts.gave_up.notify_one();
            }
        }
    }
}

/// Notices time in which we did not run. No actor does it: one that is dead or hung would be taken for
/// a scheduler that stood still, and every deadline would be shifted for it.
async fn beat(context: Shared) -> Infallible {
    loop {
        tokio::time::sleep(BEAT_EVERY).await;
        context.ears.notice(context.clock.now(), context.clock.suspended());
    }
}

async fn spawn(
    parts: &Parts,
    myself: &ActorRef<Message>,
    child: Child,
) -> Result<ActorId, SpawnErr> {
    let parent = myself.get_cell();
    let context = Arc::clone(&parts.context);
    Ok(match child {
        Child::Recorder => {
            Recorder::spawn_linked(None, Recorder, context, parent).await?.0.get_id()
        }
        Child::Outbox => Outbox::spawn_linked(None, Outbox, context, parent).await?.0.get_id(),
        Child::IncidentManager => {
            IncidentManager::spawn_linked(None, IncidentManager, context, parent).await?.0.get_id()
        }
        Child::Watches => Watches::spawn_linked(None, Watches, context, parent).await?.0.get_id(),
        Child::Sources => {
            let sources = (context, Arc::clone(&parts.sources));
            Sources::spawn_linked(None, Sources, sources, parent).await?.0.get_id()
        }
        Child::Registry => {
            let registry = (context, Arc::clone(&parts.registry), Arc::clone(&parts.manager));
            RegistryActor::spawn_linked(None, RegistryActor, registry, parent).await?.0.get_id()
        }
        Child::Edges => {
            let edges = (context, Arc::clone(&parts.edges));
            Edges::spawn_linked(None, Edges, edges, parent).await?.0.get_id()
        }
        Child::Pulse => {
            let pulse = (context, Arc::clone(&parts.manager), Arc::clone(&parts.signs));
            Pulse::spawn_linked(None, Pulse, pulse, parent).await?.0.get_id()
        }
    })
}
