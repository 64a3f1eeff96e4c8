//! Shard: supervises the WatchActors of its slots. It only starts and restarts; no signal passes
//! through it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use super::{
    context::Shared,
    nursery::{Next, Nursery},
    slot::Slot,
    watch::WatchActor,
};
use crate::domain::{
    id::WatchId,
    restart::{FORGIVEN_AFTER, Patience},
};

#[derive(Debug)]
pub enum Message {
    /// Compare the slots with what runs: start what is missing, stop what is no longer wanted.
    Reconcile,
    /// The backoff of one watch has passed.
    Start(WatchId),
    /// A person asks for a half-open try of a quarantined watch.
    Retry(WatchId),
    /// This actor has lived long enough: its watch is no longer set aside.
    Proven(WatchId, ActorId),
    /// The actor of this watch does not answer: end it, which restarts it.
    Kill(WatchId),
    Ping(RpcReplyPort<()>),
}

pub(crate) struct Shard;

pub(crate) struct Running {
    context: Shared,
    number: usize,
    nursery: Nursery<WatchId>,
    slots: HashMap<WatchId, Arc<Slot>>,
}

impl Actor for Shard {
    type Msg = Message;
    type State = Running;
    type Arguments = (Shared, usize);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (context, number): (Shared, usize),
    ) -> Result<Running, ActorProcessingErr> {
        context.slots.points()[number].shard.set(myself);
        Ok(Running {
            context,
            number,
            nursery: Nursery::new(Patience::Quarantined),
            slots: HashMap::new(),
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        running.reconcile(&myself).await;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(test)]
        running.context.chaos.in_part("shard").await;
        match message {
            Message::Reconcile => running.reconcile(&myself).await,
            Message::Start(watch) => {
                if let Some(slot) = running.slots.get(&watch).cloned()
                    && !running.nursery.is_running(&watch)
                {
                    running.start(&myself, &slot).await;
                }
            }
            Message::Retry(watch) => {
                if let Some(slot) = running.slots.get(&watch).cloned()
                    && !running.nursery.is_running(&watch)
                {
                    running.nursery.forgive(&watch);
                    running.start(&myself, &slot).await;
                }
            }
            Message::Proven(watch, actor) => {
                if running.nursery.is_run_by(&watch, actor)
                    && let Some(slot) = running.slots.get(&watch)
                {
                    running.context.tell(slot.release(running.context.clock.now()));
                }
            }
            Message::Kill(watch) => {
                if let Some(actor) = running.slots.get(&watch).and_then(|it| it.actor()) {
                    actor.kill();
                }
            }
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
        let Some(watch) = running.nursery.buried(&event) else { return Ok(()) };
        if let Some(slot) = running.slots.get(&watch).cloned() {
            slot.orphan();
            if slot.is_retired() {
                running.forget(&watch);
            } else {
                running.failed(&myself, &slot);
            }
        }
        Ok(())
    }
}

impl Running {
    async fn reconcile(&mut self, myself: &ActorRef<Message>) {
        let wanted = self.context.slots.shard(self.number);
        let mut gone: HashMap<WatchId, Arc<Slot>> = std::mem::take(&mut self.slots);
        for slot in wanted {
            let known = gone.remove(&slot.watch);
            let replaced = known.as_ref().is_some_and(|it| !Arc::ptr_eq(it, &slot));
            if replaced && let Some(old) = known {
                // The same name with a new life: the old actor ends, its death is of no account.
                stop(&old);
                self.nursery.forget(&slot.watch);
            }
            self.slots.insert(slot.watch.clone(), Arc::clone(&slot));
            if !self.nursery.is_known(&slot.watch) {
                self.start(myself, &slot).await;
            }
        }
        for (watch, slot) in gone {
            stop(&slot);
            self.forget(&watch);
        }
    }

    async fn start(&mut self, myself: &ActorRef<Message>, slot: &Arc<Slot>) {
        let arguments = (Arc::clone(&self.context), Arc::clone(slot));
        match WatchActor::spawn_linked(None, WatchActor, arguments, myself.get_cell()).await {
            Ok((actor, _)) => {
                let (watch, id) = (slot.watch.clone(), actor.get_id());
                self.nursery.started(id, watch.clone(), self.context.clock.now());
                if slot.is_quarantined() {
                    let proof = Duration::try_from(FORGIVEN_AFTER).unwrap_or_default();
                    myself.send_after(proof, move || Message::Proven(watch, id));
                }
            }
            // A `pre_start` that fails sends no event: it is counted here.
            Err(error) => {
                tracing::warn!(watch = %slot.watch, %error, "watch did not start");
                self.failed(myself, slot);
            }
        }
    }

    fn failed(&mut self, myself: &ActorRef<Message>, slot: &Arc<Slot>) {
        let context = Arc::clone(&self.context);
        let now = context.clock.now();
        context.counters.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let wait = match self.nursery.failed(&slot.watch, now) {
            Next::Restart { wait, fresh } => {
                if fresh {
                    slot.refresh(now);
                }
                wait
            }
            Next::Quarantine => {
                slot.refresh(now);
                tracing::error!(watch = %slot.watch, "watch keeps failing and was set aside");
                context.tell(slot.quarantine(now, "its actor failed more than 6 times in 10 s"));
                context.timing.half_open
            }
        };
        let watch = slot.watch.clone();
        let wait = wait.try_into().unwrap_or_default();
        myself.send_after(wait, move || Message::Start(watch));
    }

    fn forget(&mut self, watch: &WatchId) {
        self.nursery.forget(watch);
        self.slots.remove(watch);
    }
}

fn stop(slot: &Slot) {
    if let Some(actor) = slot.actor() {
        actor.stop(Some("no longer watched".to_owned()));
    }
}
