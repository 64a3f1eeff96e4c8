//! Notifier: the child that talks to one receiver. Each attempt runs beside it, bounded, and its answer goes
//! to the outbox.

use std::collections::HashMap;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::{outbox, worker::Worker};
use crate::{
    domain::{delivery::Attempt, id::DeliveryId, outbox::Dispatch},
    ports::{
        fail_points::{Point, reached},
        notifier::Context as Sending,
        registry::ReadyReceiver,
    },
};

pub(crate) enum Message {
    Send(Box<Dispatch>, Sending),
    Done(Box<Dispatch>, Option<Attempt>),
}

pub(crate) struct NotifierActor;

pub(crate) struct Running {
    outbox: ActorRef<outbox::Message>,
    ready: ReadyReceiver,
    workers: HashMap<DeliveryId, Worker>,
}

impl Actor for NotifierActor {
    type Msg = Message;
    type State = Running;
    type Arguments = (ActorRef<outbox::Message>, ReadyReceiver);

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        (outbox, ready): (ActorRef<outbox::Message>, ReadyReceiver),
    ) -> Result<Running, ActorProcessingErr> {
        Ok(Running { outbox, ready, workers: HashMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Send(dispatch, sending) => {
                let id = dispatch.delivery.id;
                let notifier = running.ready.notifier.clone();
                let sent = dispatch.clone();
                let work = async move {
                    reached(Point::AttemptBegun);
                    let attempt = notifier.send(&sent.delivery, &sending).await;
                    reached(Point::AttemptAnswered);
                    attempt
                };
                let limit = running.ready.attempt_max;
                let worker = Worker::bounded(&myself, limit, work, |attempt| {
                    Message::Done(dispatch, attempt)
                });
                running.workers.insert(id, worker);
            }
            Message::Done(dispatch, attempt) => {
                running.workers.remove(&dispatch.delivery.id);
                let limit = running.ready.attempt_max.as_secs();
                let attempt = attempt.unwrap_or_else(|| Attempt::Again {
                    after: None,
                    why: format!("no answer within {limit} s"),
                });
                let receiver = running.ready.id.clone();
                running.outbox.cast(outbox::Message::Attempted { receiver, dispatch, attempt })?;
            }
        }
        Ok(())
    }
}
