//! Registry: follows the files. A change is read once it has been still for 300 ms, checked as a whole,
//! and only then adopted; a bad edit changes nothing and is told until it is mended.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::{context::Shared, incident_manager, outbox, recorder, watches, worker::Worker};
use crate::{
    domain::{
        desk::Answer,
        id::{Kind, WatchId},
        registry::Diff,
        text::Text,
        watch::Condition,
        write::Write,
    },
    ports::{
        registry::{Call, Read, Registry, Unreadable},
        service_manager::ServiceManager,
        store::Commit,
    },
};

/// The files must have been still for so long: an editor truncates before it writes
/// (docs/BEHAVIOUR.md 11).
const STILL_FOR: SignedDuration = SignedDuration::from_millis(300);
/// Files that are never still are read after this, if they are valid then.
const READ_AT_LATEST: SignedDuration = SignedDuration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Where the last good registry is kept in the store.
pub const KEPT: &str = "registry";
const WRITER: &str = "registry";

pub enum Message {
    /// The files are still: read them. Whether a person called for it.
    Settled(Call),
    /// What was read, and the fingerprint of the files just before: what is written later differs from it.
    Read(String, Result<Box<Read>, Unreadable>),
    /// A person wants a held edit applied.
    Apply {
        by: Text,
        reply: RpcReplyPort<Answer>,
    },
    Ping(RpcReplyPort<()>),
}

pub(crate) struct RegistryActor;

pub(crate) struct Running {
    context: Shared,
    registry: Arc<dyn Registry>,
    manager: Arc<dyn ServiceManager>,
    /// The service manager waits for the end of a reload.
    reloading: bool,
    incarnation: u64,
    sequence: u64,
    /// An edit that removes much, waiting for `apply`.
    held: Option<Box<Read>>,
    watching: Option<Worker>,
    reading: Option<Worker>,
}

impl Actor for RegistryActor {
    type Msg = Message;
    type State = Running;
    type Arguments = (Shared, Arc<dyn Registry>, Arc<dyn ServiceManager>);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (context, registry, manager): Self::Arguments,
    ) -> Result<Running, ActorProcessingErr> {
        #[cfg(test)]
        context.chaos.before_part("registry");
        let incarnation = context.next_incarnation();
        context.at.registry.set(myself);
        Ok(Running {
            context,
            registry,
            manager,
            reloading: false,
            incarnation,
            sequence: 0,
            held: None,
            watching: None,
            reading: None,
        })
    }

    /// Reads at once: an edit may have come while nobody looked.
    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        running.read(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(test)]
        running.context.chaos.in_part("registry").await;
        match message {
            Message::Settled(call) => {
                if call == Call::Read {
                    running.manager.reloading();
                    running.reloading = true;
                }
                running.read(&myself);
            }
            Message::Read(fingerprint, read) => {
                running.watch(&myself, fingerprint);
                match read {
                    Ok(read) => running.consider(read),
                    Err(unreadable) => {
                        running.held = None;
                        running.tell(Some((Condition::Refused, &unreadable.brief)));
                    }
                }
                if std::mem::take(&mut running.reloading) {
                    running.manager.ready();
                }
            }
            Message::Apply { by, reply } => drop(reply.send(running.apply(&by))),
            Message::Ping(reply) => drop(reply.send(())),
        }
        Ok(())
    }
}

impl Running {
    fn read(&mut self, myself: &ActorRef<Message>) {
        let registry = Arc::clone(&self.registry);
        let work = async move {
            let both = move || (registry.fingerprint(), registry.read().map(Box::new));
            tokio::task::spawn_blocking(both).await.unwrap_or_else(|error| {
                let why = format!("reading the registry failed: {error}");
                (String::new(), Err(Unreadable::one(why)))
            })
        };
        let done = |(fingerprint, read)| Message::Read(fingerprint, read);
        self.reading.replace(Worker::lasting(myself, work, done));
    }

    /// Waits for files other than those that were read, or a person's call, then for the files to be still.
    fn watch(&mut self, myself: &ActorRef<Message>, was_read: String) {
        let (context, registry) = (Arc::clone(&self.context), Arc::clone(&self.registry));
        let work = async move {
            let (mut last, mut call) = (was_read.clone(), Call::Look);
            while last == was_read && call == Call::Look {
                call = registry.called().await;
                last = registry.fingerprint();
            }
            let first = context.clock.now();
            let mut still_since = first;
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let (now, seen) = (context.clock.now(), registry.fingerprint());
                if seen != last {
                    (last, still_since) = (seen, now);
                }
                let late = READ_AT_LATEST <= now.duration_since(first);
                if STILL_FOR <= now.duration_since(still_since) || late && registry.read().is_ok() {
                    return call;
                }
            }
        };
        self.watching.replace(Worker::lasting(myself, work, Message::Settled));
    }

    fn consider(&mut self, read: Box<Read>) {
        let diff = self.diff(&read);
        if diff.removes_too_many() {
            let why = format!(
                "this edit would stop {} of {} watches; see `atalaya plan`, then `atalaya apply`, or mend the file",
                diff.stop.len(),
                diff.stop.len() + diff.change.len() + diff.unchanged,
            );
            self.held = Some(read);
            self.tell(Some((Condition::Held, &why)));
            return;
        }
        self.adopt(*read, &diff);
    }

    fn diff(&self, read: &Read) -> Diff {
        let subjects = self.context.slots.all().into_iter().map(|it| it.subject());
        let undeclared = subjects.filter(|it| it.self_registered).map(|it| it.watch.clone());
        Diff::between(&self.context.wanted(), &read.wanted, &undeclared.collect::<Vec<_>>())
    }

    fn apply(&mut self, by: &Text) -> Answer {
        let Some(read) = self.held.take() else {
            return Err("no edit is held: what stands in the files is in force".to_owned());
        };
        let diff = self.diff(&read);
        tracing::info!(%by, stop = diff.stop.len(), "a held edit was applied");
        let said = format!(
            "applied: {} started, {} changed, {} stopped",
            diff.start.len(),
            diff.change.len(),
            diff.stop.len()
        );
        self.adopt(*read, &diff);
        Ok(said)
    }

    fn adopt(&mut self, read: Read, diff: &Diff) {
        self.held = None;
        self.tell(None);
        let context = &self.context;
        if !diff.start.is_empty() || !diff.stop.is_empty() || !diff.change.is_empty() {
            tracing::info!(
                start = diff.start.len(),
                stop = diff.stop.len(),
                change = diff.change.len(),
                unchanged = diff.unchanged,
                "registry adopted"
            );
        }
        let desk = Arc::clone(&read.wanted.desk);
        context.set_wanted(Arc::clone(&read.wanted));
        self.registry.adopted(&read);
        context.set_receivers(read.receivers);
        context.at.watches.cast(watches::Message::Reconcile);
        context.at.manager.cast(incident_manager::Message::Reload(desk));
        context.at.outbox.cast(outbox::Message::Reconcile);
        self.sequence += 1;
        let commit = Commit {
            writer: WRITER,
            incarnation: self.incarnation,
            sequence: self.sequence,
            writes: vec![Write::Meta { key: KEPT.to_owned(), value: read.text }],
        };
        // Without an answer: the next good edit, or the next start, keeps it again.
        context.at.recorder.cast(recorder::Message::Commit(commit, None));
    }

    fn tell(&self, trouble: Option<(Condition, &str)>) {
        let watch = WatchId::new(Kind::Myself, "registry");
        if let Some((condition, why)) = trouble {
            tracing::warn!(%condition, why, "registry not adopted");
        }
        self.context.tell(self.context.board.set(&watch, trouble, self.context.clock.now()));
    }
}
