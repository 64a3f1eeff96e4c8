//! Canary: a watch of our own that goes the whole way of a flip (signal, watch actor, IncidentManager, store,
//! outbox) and tells nobody. Only where a flip crosses is anything fed. It stands in no table: nothing lists,
//! counts, silences or stores it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ractor::{Actor, ActorCell, ActorRef, SpawnErr};

use super::{
    context::Shared,
    slot::{Beginning, ShardPoint, Slot, epoch_after},
    watch::{self, WatchActor},
};
use crate::domain::{
    detector,
    id::{Kind, Origin, WatchId},
    text::Text,
    watch::{
        Flip, Signal, Subject,
        agent::{Beats, Spec, State},
    },
};

const BY: &str = "pulse";

/// Which flip of the canary: of which life, and its number.
pub type Passage = (u64, u64);

/// The canary's flip, if it is one.
pub(crate) fn passage(flip: &Flip) -> Option<Passage> {
    let watch = &flip.subject.watch;
    (watch.kind == Kind::Myself && &*watch.name == "canary").then_some((flip.epoch, flip.n))
}

pub(crate) struct Canary {
    context: Shared,
    slot: Arc<Slot>,
    pub(crate) actor: ActorRef<watch::Message>,
    paused: bool,
}

impl Canary {
    /// Lives and dies with `parent`.
    pub(crate) async fn hatch(context: &Shared, parent: ActorCell) -> Result<Self, SpawnErr> {
        let now = context.clock.now();
        let slot = Arc::new(Slot::new(beginning(now), 0, Arc::<ShardPoint>::default()));
        let arguments = (Arc::clone(context), Arc::clone(&slot));
        let (actor, _) = WatchActor::spawn_linked(None, WatchActor, arguments, parent).await?;
        Ok(Self { context: Arc::clone(context), slot, actor, paused: false })
    }

    /// Sends it off; one that has not crossed is told again, as any flip that nobody acknowledged.
    pub(crate) fn fly(&mut self) {
        let waiting = self.slot.unacknowledged();
        if !waiting.is_empty() {
            self.context.tell(waiting);
            return;
        }
        let by = Text::clean(BY, 40);
        self.paused = !self.paused;
        self.slot.signal(if self.paused { Signal::Pause { by } } else { Signal::Resume { by } });
    }

    /// It came to the outbox's door: whether it is the one that was sent.
    pub(crate) fn crossed(&self, (epoch, n): Passage) -> bool {
        let sent = self.slot.unacknowledged().last().map(|it| (it.epoch, it.n));
        self.slot.acknowledge(epoch, n);
        sent == Some((epoch, n))
    }
}

fn beginning(now: Timestamp) -> Beginning {
    let never = SignedDuration::from_hours(24 * 365);
    Beginning {
        subject: Arc::new(Subject::new(
            WatchId::new(Kind::Myself, "canary"),
            Text::clean("canary", 40),
            Origin::Default("canary"),
        )),
        spec: Spec {
            interval: never,
            timeout: never,
            first_beat_within: never,
            stall_after: None,
            loop_after: None,
            lease_max: never,
            needs_input: None,
            beats: Beats::Steady,
            leave_max: never,
            detector: detector::Kind::Fixed,
            enabled: Arc::from([]),
        }
        .into(),
        state: State::new(now).into(),
        epoch: epoch_after(0, now),
        n: 0,
    }
}
