//! Pulse: asks the core for progress and feeds the watchdog only when all of it has answered. What does
//! not answer is ended, which restarts it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, rpc::CallResult};

use super::{
    context::{Address, Shared},
    edges, incident_manager, outbox, recorder, registry, sources, sweeper, watches,
    worker::Worker,
};
use crate::ports::service_manager::ServiceManager;

/// The core is asked so often where no watchdog says otherwise.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Who has not answered by then did not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A part that stays silent in so many rounds is ended.
const SILENT_ROUNDS_MAX: u32 = 3;

#[derive(Debug)]
pub enum Message {
    Ask,
    Answers(Vec<Answered>),
}

/// How one part answered.
#[derive(Debug)]
pub struct Answered {
    part: &'static str,
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
    silent: HashMap<&'static str, u32>,
    asking: Option<Worker>,
}

impl Actor for Pulse {
    type Msg = Message;
    type State = Running;
    type Arguments = (Shared, Arc<dyn ServiceManager>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (context, manager): (Shared, Arc<dyn ServiceManager>),
    ) -> Result<Running, ActorProcessingErr> {
        context.at.pulse.set(myself);
        Ok(Running { context, manager, silent: HashMap::new(), asking: None })
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
            Message::Answers(answers) => {
                running.judge(&answers);
                let every =
                    running.manager.watchdog().map_or(ASK_EVERY, |it| (it / 3).min(ASK_EVERY));
                myself.send_after(every, || Message::Ask);
            }
        }
        Ok(())
    }
}

impl Running {
    fn ask(&mut self, myself: &ActorRef<Message>) {
        let context = Arc::clone(&self.context);
        let work = async move {
            let at = &context.at;
            let mut answers = vec![
                asked("recorder", true, &at.recorder, recorder::Message::Ping).await,
                asked("incident_manager", true, &at.manager, incident_manager::Message::Ping).await,
                asked("outbox", true, &at.outbox, outbox::Message::Ping).await,
                asked("watches", true, &at.watches, watches::Message::Ping).await,
                asked("sources", false, &at.sources, sources::Message::Ping).await,
                asked("registry", false, &at.registry, registry::Message::Ping).await,
                asked("edges", false, &at.edges, edges::Message::Ping).await,
            ];
            let sweepers = context
                .slots
                .points()
                .iter()
                .map(|point| asked("sweeper", true, &point.sweeper, sweeper::Message::Ping));
            answers.extend(join_all(sweepers).await);
            answers
        };
        self.asking.replace(Worker::lasting(myself, work, Message::Answers));
    }

    fn judge(&mut self, answers: &[Answered]) {
        let mut core_answers = true;
        for answer in answers {
            if answer.in_time {
                self.silent.remove(answer.part);
                continue;
            }
            core_answers &= !answer.core;
            let rounds = self.silent.entry(answer.part).or_default();
            *rounds += 1;
            tracing::warn!(part = answer.part, rounds, "part of the tree does not answer");
            if SILENT_ROUNDS_MAX <= *rounds
                && let Some(cell) = &answer.cell
            {
                *rounds = 0;
                tracing::error!(
                    part = answer.part,
                    "part of the tree is ended, to be started anew"
                );
                cell.kill();
            }
        }
        if core_answers {
            self.manager.feed();
        }
    }
}

async fn asked<M: ractor::Message>(
    part: &'static str,
    core: bool,
    address: &Address<M>,
    question: fn(RpcReplyPort<()>) -> M,
) -> Answered {
    let Some(actor) = address.get() else {
        return Answered { part, core, in_time: false, cell: None };
    };
    let in_time =
        matches!(actor.call(question, Some(ANSWER_WITHIN)).await, Ok(CallResult::Success(())));
    Answered { part, core, in_time, cell: Some(actor.get_cell()) }
}
