//! WatchActor: the one shell for every kind of watch. Woken, it decides, writes its slot, tells.

use std::sync::{Arc, atomic::Ordering};

use jiff::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::{
    context::Shared,
    slot::{Question, Slot},
};
use crate::{
    domain::{
        hearing::Hearing,
        watch::{Effects, Signal, State},
    },
    ports::fail_points::{Point, reached},
};

#[derive(Debug)]
pub enum Message {
    /// Something is to be decided: a deadline passed, a beat may change the verdict, somebody asked.
    Wake,
    /// Answers when it has come to this message: whether it still advances.
    Ping(RpcReplyPort<()>),
}

pub(crate) struct WatchActor;

pub(crate) struct Running {
    context: Shared,
    slot: Arc<Slot>,
    incarnation: u64,
}

impl Actor for WatchActor {
    type Msg = Message;
    type State = Running;
    type Arguments = (Shared, Arc<Slot>);

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        (context, slot): (Shared, Arc<Slot>),
    ) -> Result<Running, ActorProcessingErr> {
        #[cfg(test)]
        context.chaos.before_start(&slot.watch);
        let incarnation = slot.incarnation.fetch_add(1, Ordering::AcqRel) + 1;
        Ok(Running { context, slot, incarnation })
    }

    /// Publishes itself, then looks at its slot: what came while nobody was there is settled now.
    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        running.slot.adopt(myself.clone());
        running.step(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(test)]
        running.context.chaos.in_handler(&running.slot.watch).await;
        match message {
            Message::Wake => {
                reached(Point::WatchWoken);
                running.step(&myself);
            }
            // Whoever asked may have gone.
            Message::Ping(reply) => drop(reply.send(())),
        }
        Ok(())
    }
}

impl Running {
    /// Decide, write the slot, tell. The only place where a verdict changes.
    fn step(&self, myself: &ActorRef<Message>) {
        if self.slot.incarnation.load(Ordering::Acquire) != self.incarnation {
            myself.stop(Some("replaced".to_owned()));
            return;
        }
        let context = &self.context;
        let now = context.clock.now();
        context.ears.notice(now, context.clock.suspended());
        let hearing = context.ears.hearing();
        let (flips, effects) = self.slot.step(|question| {
            #[cfg(test)]
            context.chaos.in_judgement(&self.slot.watch);
            judge(question, &hearing, now)
        });
        let Some(effects) = effects else {
            myself.stop(Some("no longer watched".to_owned()));
            return;
        };
        if let Some((after, sources)) = effects.need {
            for source in sources {
                context.ears.want(source, after);
            }
        }
        if !flips.is_empty() {
            reached(Point::VerdictChanged);
        }
        context.tell(flips);
    }
}

/// Reads all that was asked, in order, then the time; last the new Spec, if there is one.
fn judge(question: &Question<'_>, hearing: &Hearing, now: Timestamp) -> (State, Effects) {
    let mut state = question.state.clone();
    let mut all = Effects::default();
    let asked = question.signals.iter().cloned().map(|signal| (question.spec, signal));
    let settle = [(question.spec, Signal::Tick)];
    let reload = question.next_spec.map(|spec| (spec, Signal::Reloaded));
    for (spec, signal) in asked.chain(settle).chain(reload) {
        let (next, effects) = spec.on(&state, signal, hearing, now);
        state = next;
        all.changes.extend(effects.changes);
        all.need = effects.need;
    }
    (state, all)
}
