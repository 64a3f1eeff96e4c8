//! Tower: the one handle by which the floors above ask the tree. Reading is from slots and store and
//! waits for no actor; asking goes to the actor concerned, with a time-out. And the ear, by which the
//! sources bring what they hear.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use ractor::{Message, RpcReplyPort, rpc::CallResult};

pub use super::board::Part;
use super::{
    context::{Address, Shared, lock},
    incident_manager, registry, signs,
    slot::{Beginning, Slot, epoch_after},
    watches,
};
use crate::{
    domain::{
        desk::{Answer, Ask},
        history::BeatRecord,
        id::{Name, ReceiverId, SourceId, WatchId},
        registry::Wanted,
        text::Text,
        watch::{Condition, Knowledge, Signal, Spec, State, Subject, agent, beat::Beat},
    },
    ports::{
        Pending,
        fail_points::{Point, reached},
        source::{Ear, Took},
        store::SharedStore,
    },
};

/// Ids that pinged and are not watched, kept for `agents --unknown`.
const UNKNOWN_MAX: usize = 256;
/// Whoever is asked answers within this, or is being restarted.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// One watch as it is now.
#[derive(Debug, Clone)]
pub enum Seen {
    Agent(Sight<agent::Spec, agent::State>),
}

impl Seen {
    pub fn subject(&self) -> &Arc<Subject> {
        match self {
            Self::Agent(sight) => &sight.subject,
        }
    }
}

/// What is seen of a watch of one kind.
#[derive(Debug, Clone)]
pub struct Sight<Spec, State> {
    pub subject: Arc<Subject>,
    pub spec: Arc<Spec>,
    pub state: State,
    pub epoch: u64,
    /// How often its actor was started: 1 unless it failed.
    pub actor_starts: u64,
    /// Its actor keeps failing and was set aside: since when.
    pub quarantined_since: Option<Timestamp>,
}

/// An id that pinged and is not watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Unknown {
    pub name: Name,
    pub beats: u64,
    pub last: Timestamp,
}

/// What the daemon says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// It judges: facts restored, actors at work.
    pub ready: bool,
    pub started_at: Timestamp,
    pub version: &'static str,
    pub node: Text,
    pub registry_read_at: Timestamp,
    /// Deliveries not yet sent, per receiver.
    pub owed: Vec<(ReceiverId, usize)>,
    pub restarts: u64,
    pub refused_beats: u64,
    /// Our own signs of life, by name.
    pub signs: signs::Known,
    /// Dry run: receivers are sent nothing but test messages.
    pub rehearses: bool,
    /// How often the service manager wants to be told that all is well; none: it does not.
    pub watchdog: Option<Duration>,
}

/// The tree did not answer in time; it is named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} did not answer within 5 s; it is being restarted, try again")]
pub struct Unanswered(pub &'static str);

/// Names that nobody watches.
#[derive(Default)]
pub struct Strangers(Mutex<BTreeMap<Name, (u64, Timestamp)>>);

impl Strangers {
    fn count(&self, name: &Name, at: Timestamp) {
        let mut known = lock(&self.0);
        if let Some((beats, last)) = known.get_mut(name) {
            (*beats, *last) = (*beats + 1, at);
        } else if known.len() < UNKNOWN_MAX {
            known.insert(name.clone(), (1, at));
        }
    }

    fn forget(&self, name: &Name) {
        lock(&self.0).remove(name);
    }

    /// Forgets the others: they are watched now.
    pub(super) fn retain(&self, is_strange: impl Fn(&str) -> bool) {
        lock(&self.0).retain(|name, _| is_strange(name.as_str()));
    }
}

#[derive(Clone)]
pub struct Tower {
    context: Shared,
}

impl Tower {
    pub fn new(context: Shared) -> Self {
        Self { context }
    }

    pub fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    pub fn watches(&self) -> Vec<Seen> {
        self.context.slots.all().iter().map(|it| seen(it)).collect()
    }

    /// Changes when an agent comes or goes, has another name or group, or says another verdict; cheap to look at.
    pub fn mark(&self) -> u64 {
        let marks = self.context.slots.all().into_iter().map(|slot| {
            let mut mark = DefaultHasher::new();
            let subject = slot.subject();
            let group = subject.group.as_ref().map(Name::as_str);
            let name = (&*subject.watch.name, subject.name.as_str());
            (name, group, slot.verdict().0.word()).hash(&mut mark);
            mark.finish()
        });
        // In any order.
        marks.fold(0, u64::wrapping_add)
    }

    /// By id or alias of an agent, or `kind/name`.
    pub fn watch(&self, name: &str) -> Option<Seen> {
        let name = name.strip_prefix("agent/").unwrap_or(name);
        self.context.slots.by_name(name).map(|it| seen(&it))
    }

    /// What the registry in force says.
    pub fn wanted(&self) -> Arc<Wanted> {
        self.context.wanted()
    }

    /// What a run that began at `began` can say of a watch.
    pub fn knowledge(&self, seen: &Seen, began: Timestamp) -> Knowledge {
        let hearing = self.context.ears.hearing();
        match seen {
            Seen::Agent(it) => it.spec.knowledge(&it.state, &hearing, began, self.now()),
        }
    }

    /// Whoever beats under a name that no entry declares may be watched from then on.
    pub fn takes_in(&self) -> bool {
        let wanted = self.context.wanted();
        wanted.auto_register.is_some() || !wanted.patterns.is_empty()
    }

    /// A source that is switched on cannot hear at present.
    pub fn is_any_source_blind(&self) -> bool {
        let ears = &self.context.ears;
        ears.sources().any(|it| ears.is_blind(it))
    }

    pub fn parts(&self) -> Vec<Part> {
        self.context.board.parts()
    }

    pub fn unknown(&self) -> Vec<Unknown> {
        lock(&self.context.strangers.0)
            .iter()
            .map(|(name, (beats, last))| Unknown { name: name.clone(), beats: *beats, last: *last })
            .collect()
    }

    pub fn health(&self) -> Health {
        let context = &self.context;
        Health {
            ready: context.ready.load(Ordering::Acquire),
            started_at: context.started_at,
            version: env!("CARGO_PKG_VERSION"),
            node: context.node.clone(),
            registry_read_at: *lock(&context.registry_read_at),
            owed: lock(&context.owed).clone(),
            signs: lock(&context.signs).clone(),
            restarts: context.counters.restarts.load(Ordering::Relaxed),
            refused_beats: context.counters.refused_beats.load(Ordering::Relaxed),
            rehearses: context.receivers().iter().any(|it| it.rehearses),
            watchdog: context.watchdog,
        }
    }

    pub fn ear(&self) -> Arc<dyn Ear> {
        Arc::new(Listener::new(Arc::clone(&self.context)))
    }

    pub fn store(&self) -> &SharedStore {
        &self.context.store
    }

    /// Asks the IncidentManager; when it has answered, what it did is committed.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, Unanswered> {
        let question = |reply| incident_manager::Message::Ask(ask, reply);
        call("the incident manager", &self.context.at.manager, question).await
    }

    /// Ends the watching of agents. Returns the watches that are known.
    pub async fn pause(&self, watches: Vec<WatchId>, by: Text) -> Result<Vec<WatchId>, Unanswered> {
        self.signal(watches, Signal::Pause { by }).await
    }

    pub async fn resume(
        &self,
        watches: Vec<WatchId>,
        by: Text,
    ) -> Result<Vec<WatchId>, Unanswered> {
        self.signal(watches, Signal::Resume { by }).await
    }

    async fn signal(
        &self,
        watches: Vec<WatchId>,
        signal: Signal,
    ) -> Result<Vec<WatchId>, Unanswered> {
        let question = |reply| watches::Message::Signal { watches, signal, reply };
        call("the watches", &self.context.at.watches, question).await
    }

    /// Drops an agent that registered itself; one that the registry declares is refused (`Err` says so).
    pub async fn forget(&self, watch: WatchId, by: Text) -> Result<Answer, Unanswered> {
        let question = |reply| watches::Message::Forget { watch, by, reply };
        call("the watches", &self.context.at.watches, question).await
    }

    /// A half-open try of a quarantined watch now.
    pub async fn retry(&self, watch: WatchId) -> Result<Answer, Unanswered> {
        let question = |reply| watches::Message::Retry { watch, reply };
        call("the watches", &self.context.at.watches, question).await
    }

    /// Applies an edit that was held because it removes much.
    pub async fn apply(&self, by: Text) -> Result<Answer, Unanswered> {
        let question = |reply| registry::Message::Apply { by, reply };
        call("the registry", &self.context.at.registry, question).await
    }
}

async fn call<M: Message, T: Send + 'static>(
    who: &'static str,
    address: &Address<M>,
    question: impl FnOnce(RpcReplyPort<T>) -> M,
) -> Result<T, Unanswered> {
    let actor = address.get().ok_or(Unanswered(who))?;
    match actor.call(question, Some(ANSWER_WITHIN)).await {
        Ok(CallResult::Success(answer)) => Ok(answer),
        Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => Err(Unanswered(who)),
    }
}

fn seen(slot: &Slot) -> Seen {
    let view = slot.view();
    let actor_starts = slot.incarnation.load(Ordering::Acquire);
    match (view.spec, view.state) {
        (Spec::Agent(spec), State::Agent(state)) => Seen::Agent(Sight {
            subject: view.subject,
            spec,
            state,
            epoch: view.epoch,
            actor_starts,
            quarantined_since: view.quarantined_since,
        }),
    }
}

/// The ear that sources hold: beats go into slots without waiting for any actor.
pub struct Listener {
    context: Shared,
}

impl Listener {
    pub fn new(context: Shared) -> Self {
        Self { context }
    }

    fn hear(&self, slot: &Slot, beat: Beat) {
        let context = &self.context;
        if let Some(notable) = slot.hear(beat, &context.ears.hearing()) {
            let beat = notable.renamed(|it| Arc::from(context.ears.name_of(it)));
            context.logbook.beat(BeatRecord { watch: slot.watch.clone(), beat });
        }
    }

    /// A name that nobody declared: watched from now on, or counted as unknown.
    fn stranger(&self, name: &Name, beat: Beat) -> Took {
        let context = &self.context;
        let wanted = context.wanted();
        let Some(agent) = wanted.undeclared(&WatchId::agent(name)) else {
            context.strangers.count(name, beat.at);
            return Took::Unknown;
        };
        let now = context.clock.now();
        let begin = Beginning {
            subject: agent.subject,
            state: agent.spec.begin(now),
            spec: agent.spec,
            epoch: epoch_after(0, now),
            n: 0,
        };
        let Some((slot, new)) = context.slots.insert(begin, wanted.undeclared_max) else {
            context.strangers.count(name, beat.at);
            return Took::Full;
        };
        self.hear(&slot, beat);
        if !new {
            return Took::Taken;
        }
        context.strangers.forget(name);
        tracing::info!(watch = %slot.watch, "heard for the first time and watched from now on");
        slot.point.shard.cast(super::shard::Message::Reconcile);
        Took::Registered
    }
}

impl Ear for Listener {
    fn beat(&self, name: &Name, beat: Beat) -> Took {
        if self.context.ears.is_blind(beat.source) {
            // A beat over any source ends its blindness at once.
            self.proved(beat.source, beat.at);
        }
        match self.context.slots.by_name(name.as_str()) {
            Some(slot) => {
                self.hear(&slot, beat);
                reached(Point::BeatHeard);
                Took::Taken
            }
            None => self.stranger(name, beat),
        }
    }

    fn refused(&self, source: SourceId, why: &str) {
        self.context.counters.refused_beats.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(source = self.context.ears.name_of(source), why, "beat refused");
    }

    fn proved(&self, source: SourceId, at: Timestamp) {
        let context = &self.context;
        let now = context.clock.now();
        // A proof must not hide time in which we did not run: that is noticed first.
        context.ears.notice(now, context.clock.suspended());
        let wanted = context.ears.wanted_after(source).is_some();
        let (returned, first) = context.ears.proved(source, at, now);
        if first {
            let watch = context.ears.watch_of(source);
            context.tell(context.board.set(&watch, None, now));
        }
        if returned || wanted {
            context.slots.poke_all();
        }
    }

    fn blind(&self, source: SourceId, since: Timestamp, why: &str) {
        let context = &self.context;
        let news = context.ears.blind(source, since);
        let watch = context.ears.watch_of(source);
        let heard_here = context.slots.all().iter().filter(|it| it.is_heard_over(source)).count();
        let detail = match heard_here {
            0 => why.to_owned(),
            1 => format!("{why} (1 agent is heard over it)"),
            count => format!("{why} ({count} agents are heard over it)"),
        };
        context.tell(context.board.set(&watch, Some((Condition::Blind, &detail)), since));
        if news {
            tracing::warn!(%watch, why, "source cannot hear");
            context.slots.poke_all();
        }
    }

    fn wants_proof(&self, source: SourceId) -> Option<Timestamp> {
        self.context.ears.wanted_after(source)
    }

    fn wanted(&self, source: SourceId) -> Pending<'_, ()> {
        Box::pin(self.context.ears.wanted(source))
    }

    fn names(&self) -> Vec<Name> {
        self.context.slots.names()
    }
}
