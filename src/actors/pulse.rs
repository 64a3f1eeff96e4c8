//! Pulse: asks the core for progress and sends the canary. Only when all of the core has answered and the canary has
//! crossed is all well: the watchdog is fed and our own signs of life are given. What does not answer is ended, which
//! restarts it.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::{join, join_all};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, rpc::CallResult};
use tokio::sync::Notify;

use super::{
    canary::{Canary, Passage},
    context::{Address, Shared},
    edges, incident_manager, outbox, recorder, registry, shard,
    signs::Signs,
    sources, status_line, sweeper, watch, watches,
    worker::Worker,
};
use crate::ports::{Pending, service_manager::ServiceManager, sign::Sign};

/// The core is asked so often where no watchdog says otherwise.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(5);
/// Before the tree judges, it is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Who has not answered by then did not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A part that stays silent in so many rounds is ended.
const SILENT_ROUNDS_MAX: u32 = 3;

/// A part by its name; of those that are many (shards, sweepers), by its place too: each has a count of its own.
type Part = (&'static str, usize);

#[derive(Debug)]
pub enum Message {
    Ask,
    Answers(Vec<Answered>),
    /// The canary came to the outbox's door.
    Crossed(Passage),
    /// What came of the sign of life at this place.
    Given(usize, Result<(), String>),
}

/// How one part answered.
#[derive(Debug)]
pub struct Answered {
    part: Part,
    /// Whether the watchdog hangs on it.
    core: bool,
    /// In time, with an answer or an error.
    in_time: bool,
    cell: Option<ActorCell>,
}

pub(crate) struct Pulse;

pub(crate) struct Running {
    context: Shared,
    manager: Arc<dyn ServiceManager>,
    signs: Signs,
    silent: HashMap<Part, u32>,
    asking: Option<Worker>,
    canary: Canary,
    /// It has crossed since the watchdog was last thought of.
    crossed: bool,
    /// The line that the service manager has.
    said: String,
    /// Tells the round under way.
    arrived: Arc<Notify>,
}

impl Actor for Pulse {
    type Msg = Message;
    type State = Running;
    type Arguments = (Shared, Arc<dyn ServiceManager>, Arc<[Arc<dyn Sign>]>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (context, manager, signs): Self::Arguments,
    ) -> Result<Running, ActorProcessingErr> {
        let canary = Canary::hatch(&context, myself.get_cell()).await?;
        context.at.pulse.set(myself);
        Ok(Running {
            signs: Signs::new(signs, &context),
            context,
            manager,
            silent: HashMap::new(),
            asking: None,
            canary,
            crossed: false,
            said: String::new(),
            arrived: Arc::default(),
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        running.ask(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Ask => running.ask(&myself),
            #[cfg(test)]
            Message::Crossed(_) if running.context.chaos.loses("outbox to pulse") => {}
            Message::Crossed(passage) => {
                if running.canary.crossed(passage) {
                    running.crossed = true;
                    running.arrived.notify_one();
                }
            }
            Message::Answers(answers) => {
                let unwell = running.judge(&answers);
                if unwell.is_none() {
                    running.manager.feed();
                    running.signs.give(&myself, &running.context);
                }
                running.say(unwell.as_deref());
                let every =
                    running.manager.watchdog().map_or(ASK_EVERY, |it| (it / 3).min(ASK_EVERY));
                myself.send_after(every, || Message::Ask);
            }
            Message::Given(place, given) => running.signs.given(place, given, &running.context),
        }
        Ok(())
    }
}

impl Running {
    fn ask(&mut self, myself: &ActorRef<Message>) {
        // While the tree goes up, who is not there yet is not silent; and nothing is fed before it judges.
        if !self.context.ready.load(Ordering::Acquire) {
            myself.send_after(LOOK_AGAIN, || Message::Ask);
            return;
        }
        self.canary.fly();
        let (canary, arrived) = (self.canary.actor.clone(), Arc::clone(&self.arrived));
        let context = Arc::clone(&self.context);
        let work = async move {
            let (at, points) = (&context.at, context.slots.points());
            // All at once: one that is silent delays no other.
            let mut questions: Vec<Pending<'_, Answered>> = vec![
                asked(("recorder", 0), true, &at.recorder, recorder::Message::Ping),
                asked(("incident_manager", 0), true, &at.manager, incident_manager::Message::Ping),
                asked(("outbox", 0), true, &at.outbox, outbox::Message::Ping),
                asked(("watches", 0), true, &at.watches, watches::Message::Ping),
                asked(("sources", 0), false, &at.sources, sources::Message::Ping),
                asked(("registry", 0), false, &at.registry, registry::Message::Ping),
                asked(("edges", 0), false, &at.edges, edges::Message::Ping),
            ];
            for (place, point) in points.iter().enumerate() {
                let sweeper = ("sweeper", place);
                questions.push(asked(sweeper, true, &point.sweeper, sweeper::Message::Ping));
                // A shard that hangs restarts nobody: its watches would stay without their actors.
                questions.push(asked(("shard", place), true, &point.shard, shard::Message::Ping));
            }
            questions.push(Box::pin(ask(("canary", 0), true, Some(canary), watch::Message::Ping)));
            // An answer that comes without the canary is no reason to feed; it may come while others answer.
            let crossing = tokio::time::timeout(ANSWER_WITHIN, arrived.notified());
            join(join_all(questions), crossing).await.0
        };
        self.asking.replace(Worker::lasting(myself, work, Message::Answers));
    }

    /// Why not all is well; none when the core has answered and the canary has crossed.
    fn judge(&mut self, answers: &[Answered]) -> Option<String> {
        let mut unwell = None;
        for answer in answers {
            if answer.in_time {
                self.silent.remove(&answer.part);
                continue;
            }
            let (part, place) = answer.part;
            if answer.core && unwell.is_none() {
                unwell = Some(format!("{part} does not answer"));
            }
            let rounds = self.silent.entry(answer.part).or_default();
            *rounds += 1;
            tracing::warn!(part, place, rounds, "part of the tree does not answer");
            if SILENT_ROUNDS_MAX <= *rounds
                && let Some(cell) = &answer.cell
            {
                *rounds = 0;
                tracing::error!(part, place, "part of the tree is ended, to be started anew");
                cell.kill();
            }
        }
        let crossed = std::mem::take(&mut self.crossed);
        if !crossed {
            tracing::warn!("the canary did not cross: a verdict may not reach its receivers");
            unwell.get_or_insert_with(|| "the canary does not cross".to_owned());
        }
        unwell
    }

    /// One line for the service manager, when it is another than the last.
    fn say(&mut self, unwell: Option<&str>) {
        let line = status_line::line(&self.context, unwell);
        if line != self.said {
            self.manager.status(&line);
            self.said = line;
        }
    }
}

fn asked<M: ractor::Message>(
    part: Part,
    core: bool,
    address: &Address<M>,
    question: fn(RpcReplyPort<()>) -> M,
) -> Pending<'_, Answered> {
    Box::pin(ask(part, core, address.get(), question))
}

async fn ask<M: ractor::Message>(
    part: Part,
    core: bool,
    actor: Option<ActorRef<M>>,
    question: fn(RpcReplyPort<()>) -> M,
) -> Answered {
    let Some(actor) = actor else {
        return Answered { part, core, in_time: false, cell: None };
    };
    let in_time =
        matches!(actor.call(question, Some(ANSWER_WITHIN)).await, Ok(CallResult::Success(())));
    Answered { part, core, in_time, cell: Some(actor.get_cell()) }
}
