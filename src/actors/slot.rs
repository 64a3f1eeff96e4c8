//! Slot: what must outlive an actor. One slot per watch, under its own lock: facts, the flips that
//! nobody has acknowledged, the present actor. Sources write beats here without waiting; the actor
//! alone writes verdicts.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use jiff::Timestamp;
use ractor::ActorRef;

use super::{
    context::{Address, lock},
    shard, sweeper, watch,
};
use crate::domain::{
    hearing::Hearing,
    id::{SourceId, WatchId},
    text::Text,
    watch::{
        Cause, Change, Condition, Effects, Flip, Signal, Spec, State, Subject, Verdict, Wake,
        agent::Notable, beat::Beat,
    },
    write::Facts,
};

/// Unacknowledged flips kept in a slot; beyond that the newest ones are merged, with a count.
pub const FLIPS_MAX: usize = 8;
/// Where the shard and the sweeper of a part of the slots are reached.
#[derive(Default)]
pub struct ShardPoint {
    pub shard: Address<shard::Message>,
    pub sweeper: Address<sweeper::Message>,
    poked: AtomicBool,
    /// The deadline that the sweeper sleeps to, in microseconds.
    sleeps_to: AtomicI64,
}

impl ShardPoint {
    /// Wakes the sweeper now; one poke is pending at most.
    pub fn poke(&self) {
        if !self.poked.swap(true, Ordering::AcqRel) && !self.sweeper.cast(sweeper::Message::Poke) {
            self.poked.store(false, Ordering::Release);
        }
    }

    /// The sweeper is awake and looks at everything: whatever comes later must poke again.
    pub fn looking(&self) {
        self.poked.store(false, Ordering::Release);
    }

    pub fn sleep_to(&self, deadline: Timestamp) {
        self.sleeps_to.store(deadline.as_microsecond(), Ordering::Release);
    }

    fn is_earlier(&self, deadline: Timestamp) -> bool {
        deadline.as_microsecond() < self.sleeps_to.load(Ordering::Acquire)
    }
}

pub struct Slot {
    pub watch: WatchId,
    pub point: Arc<ShardPoint>,
    /// Which shard starts its actor.
    pub shard: usize,
    /// Grows with every start of its actor: an older one that still runs stops itself.
    pub incarnation: AtomicU64,
    wake_pending: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    subject: Arc<Subject>,
    spec: Spec,
    /// What the registry says since; the actor settles by the old one before it takes it over.
    next_spec: Option<Spec>,
    state: State,
    /// What people or the registry asked and the actor has yet to judge.
    signals: Vec<Signal>,
    epoch: u64,
    n: u64,
    acknowledged: u64,
    flips: Vec<Flip>,
    actor: Option<ActorRef<watch::Message>>,
    woken_at: Option<Timestamp>,
    dirty: bool,
    quarantined_since: Option<Timestamp>,
    retired: bool,
}

/// What an actor judges: the slot as it stands.
pub struct Question<'a> {
    pub spec: &'a Spec,
    /// The Spec to go on with, once what came under the old one is settled.
    pub next_spec: Option<&'a Spec>,
    pub state: &'a State,
    pub signals: &'a [Signal],
}

/// A slot as it is now.
#[derive(Debug, Clone)]
pub struct View {
    pub subject: Arc<Subject>,
    pub spec: Spec,
    pub state: State,
    pub epoch: u64,
    pub quarantined_since: Option<Timestamp>,
    /// Flips wait for the IncidentManager.
    pub unacknowledged: bool,
}

/// What a sweep found in one slot.
pub struct Glance {
    pub deadline: Option<Timestamp>,
    /// Its actor has not answered a wake-up since then.
    pub deaf_since: Option<Timestamp>,
    pub unacknowledged: Vec<Flip>,
}

impl Slot {
    pub(super) fn new(begin: Beginning, shard: usize, point: Arc<ShardPoint>) -> Self {
        Self {
            watch: begin.subject.watch.clone(),
            point,
            shard,
            incarnation: AtomicU64::new(0),
            wake_pending: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                subject: begin.subject,
                spec: begin.spec,
                next_spec: None,
                state: begin.state,
                signals: Vec::new(),
                epoch: begin.epoch,
                n: begin.n,
                acknowledged: begin.n,
                flips: Vec::new(),
                actor: None,
                woken_at: None,
                dirty: true,
                quarantined_since: None,
                retired: false,
            }),
        }
    }

    /// A source's half of a beat: under the lock, without waiting. Wakes the actor only when there is
    /// something to decide, the sweeper only when the deadline came nearer than it sleeps to. Returns
    /// what history keeps of it.
    pub fn hear(&self, beat: Beat, hearing: &Hearing) -> Option<Notable> {
        let (notable, wake, deadline) = {
            let mut inner = lock(&self.inner);
            let Inner { spec, state, dirty, .. } = &mut *inner;
            *dirty = true;
            let notable = spec.notable(state, &beat);
            (notable, spec.hear(state, beat, hearing), state.deadline())
        };
        match wake {
            Wake::Yes => self.wake(),
            Wake::No => self.note_deadline(deadline),
        }
        notable
    }

    fn note_deadline(&self, deadline: Option<Timestamp>) {
        if deadline.is_some_and(|it| self.point.is_earlier(it)) {
            self.point.poke();
        }
    }

    /// Wakes the actor; one wake-up is pending at most. Without an actor nothing is lost: it looks at its
    /// slot when it starts.
    pub fn wake(&self) {
        if self.wake_pending.swap(true, Ordering::AcqRel) {
            return;
        }
        let reached = lock(&self.inner)
            .actor
            .as_ref()
            .is_some_and(|it| it.cast(watch::Message::Wake).is_ok());
        if !reached {
            self.wake_pending.store(false, Ordering::Release);
        }
    }

    /// Leaves a request for the actor and wakes it; it survives the actor.
    pub fn signal(&self, signal: Signal) {
        lock(&self.inner).signals.push(signal);
        self.wake();
    }

    /// The actor's half: `judge` decides on a copy, then facts, deadline and flips are written in the same
    /// hold of the lock. Returns what is to be told and what proof is wanted.
    pub fn step(
        &self,
        judge: impl FnOnce(&Question<'_>) -> (State, Effects),
    ) -> (Vec<Flip>, Option<Effects>) {
        self.wake_pending.store(false, Ordering::Release);
        let (told, effects, deadline) = {
            let mut inner = lock(&self.inner);
            inner.woken_at = None;
            if inner.retired {
                return (Vec::new(), None);
            }
            let (state, effects) = judge(&Question {
                spec: &inner.spec,
                next_spec: inner.next_spec.as_ref(),
                state: &inner.state,
                signals: &inner.signals,
            });
            if let Some(spec) = inner.next_spec.take() {
                inner.spec = spec;
            }
            inner.dirty |= state != inner.state;
            inner.state = state;
            inner.signals.clear();
            let told = effects.changes.iter().map(|change| inner.change(change)).collect();
            (told, effects, inner.state.deadline())
        };
        self.note_deadline(deadline);
        (told, Some(effects))
    }

    /// Says the present verdict again, for an IncidentManager whose book differs
    /// (docs/BEHAVIOUR.md 2).
    pub fn restate(&self) -> Vec<Flip> {
        let mut inner = lock(&self.inner);
        if inner.retired || !inner.flips.is_empty() {
            return Vec::new();
        }
        let said = inner.state.said();
        let since = inner.state.said_since();
        vec![inner.record(said, said, since, Cause::Restated)]
    }

    pub fn acknowledge(&self, epoch: u64, n: u64) {
        let mut inner = lock(&self.inner);
        if inner.epoch == epoch {
            inner.acknowledged = inner.acknowledged.max(n);
            inner.flips.retain(|flip| n < flip.n);
        }
    }

    pub fn view(&self) -> View {
        let inner = lock(&self.inner);
        View {
            subject: Arc::clone(&inner.subject),
            spec: inner.next_spec.as_ref().unwrap_or(&inner.spec).clone(),
            state: inner.state.clone(),
            epoch: inner.epoch,
            quarantined_since: inner.quarantined_since,
            unacknowledged: !inner.flips.is_empty(),
        }
    }

    pub fn subject(&self) -> Arc<Subject> {
        Arc::clone(&lock(&self.inner).subject)
    }

    /// The verdict that stands, and whether flips about it still wait.
    pub fn verdict(&self) -> (Verdict, bool) {
        let inner = lock(&self.inner);
        (inner.state.said(), !inner.flips.is_empty())
    }

    /// What the sweeper needs, in one hold of the lock. A wake-up that is still pending is dated by the
    /// first glance that finds it.
    pub fn glance(&self, now: Timestamp) -> Glance {
        let pending = self.wake_pending.load(Ordering::Acquire);
        let mut inner = lock(&self.inner);
        inner.woken_at = pending.then(|| inner.woken_at.unwrap_or(now));
        Glance {
            deadline: inner.state.deadline(),
            deaf_since: inner.woken_at,
            unacknowledged: inner.flips.clone(),
        }
    }

    pub fn unacknowledged(&self) -> Vec<Flip> {
        lock(&self.inner).flips.clone()
    }

    /// The facts if they changed since they were last taken; with `always`, in any case. `n` is what was
    /// acknowledged: flips beyond it are not durable yet and will be told again.
    pub fn facts(&self, always: bool) -> Option<Facts> {
        let mut inner = lock(&self.inner);
        if !(inner.dirty || always) {
            return None;
        }
        inner.dirty = false;
        Some(Facts {
            watch: self.watch.clone(),
            epoch: inner.epoch,
            n: inner.acknowledged,
            state: Arc::new(inner.state.clone()),
            self_registered: inner.subject.self_registered,
            removed_at: None,
        })
    }

    /// The facts could not be stored: they are taken again.
    pub fn mark_dirty(&self) {
        lock(&self.inner).dirty = true;
    }

    /// Publishes the actor, which looks at the slot itself right after.
    pub fn adopt(&self, actor: ActorRef<watch::Message>) {
        self.wake_pending.store(false, Ordering::Release);
        let mut inner = lock(&self.inner);
        inner.actor = Some(actor);
        inner.woken_at = None;
    }

    /// A half-open try has held: the watch is watched again.
    pub fn release(&self, now: Timestamp) -> Vec<Flip> {
        let mut inner = lock(&self.inner);
        let trouble = Verdict::Part(Some(Condition::Unwatched));
        match inner.quarantined_since.take() {
            Some(_) => vec![inner.record(trouble, Verdict::Part(None), now, Cause::Hearing)],
            None => Vec::new(),
        }
    }

    pub fn orphan(&self) {
        let mut inner = lock(&self.inner);
        inner.actor = None;
        inner.woken_at = None;
        drop(inner);
        self.wake_pending.store(false, Ordering::Release);
    }

    pub fn actor(&self) -> Option<ActorRef<watch::Message>> {
        lock(&self.inner).actor.clone()
    }

    /// Sets the watch aside: its actor keeps failing. What stands about it stays; the trouble is told.
    pub fn quarantine(&self, now: Timestamp, why: &str) -> Vec<Flip> {
        let mut inner = lock(&self.inner);
        if inner.quarantined_since.is_some() {
            return Vec::new();
        }
        inner.quarantined_since = Some(now);
        let trouble = Verdict::Part(Some(Condition::Unwatched));
        let cause = Cause::Fault(Text::clean(why, 200));
        vec![inner.record(Verdict::Part(None), trouble, now, cause)]
    }

    /// The third quick failure: the facts may be the poison.
    pub fn refresh(&self, now: Timestamp) {
        let mut inner = lock(&self.inner);
        inner.state = inner.state.fresh(now);
        inner.signals.clear();
        inner.dirty = true;
    }

    /// Takes what the registry says from now on. The subject holds at once; the Spec from the actor's next
    /// step on, which settles by the old one first.
    pub fn respecify(&self, subject: Arc<Subject>, spec: Spec) {
        {
            let mut inner = lock(&self.inner);
            inner.dirty |= inner.subject.self_registered != subject.self_registered;
            inner.subject = subject;
            if *inner.next_spec.as_ref().unwrap_or(&inner.spec) == spec {
                return;
            }
            inner.next_spec = Some(spec);
        }
        self.wake();
    }

    /// Ends the watch: one last flip says why; the actor is stopped by its shard.
    pub(super) fn retire(&self, now: Timestamp) -> Vec<Flip> {
        let mut inner = lock(&self.inner);
        if inner.retired {
            return Vec::new();
        }
        let (from, to) = (inner.state.said(), Verdict::unknown(self.watch.kind));
        let flip = inner.record(from, to, now, Cause::Removed);
        inner.retired = true;
        vec![flip]
    }

    /// Whether its last beat came over this source.
    pub fn is_heard_over(&self, source: SourceId) -> bool {
        lock(&self.inner).state.last_source() == Some(source)
    }

    pub fn is_quarantined(&self) -> bool {
        lock(&self.inner).quarantined_since.is_some()
    }

    pub fn is_retired(&self) -> bool {
        lock(&self.inner).retired
    }
}

impl Inner {
    fn change(&mut self, change: &Change) -> Flip {
        self.record(change.from, change.to, change.at, change.cause.clone())
    }

    /// Numbers a flip and keeps it until it is acknowledged. Beyond [`FLIPS_MAX`] the last one of the
    /// same sort stands for all that came since: where they began and where they ended.
    fn record(&mut self, from: Verdict, to: Verdict, at: Timestamp, cause: Cause) -> Flip {
        self.n += 1;
        let mut flip = Flip {
            subject: Arc::clone(&self.subject),
            epoch: self.epoch,
            n: self.n,
            from,
            to,
            at,
            cause,
            task: self.state.task().cloned(),
        };
        let of_subject = |it: &Flip| !it.to.is_of_part();
        if FLIPS_MAX <= self.flips.len()
            && let Some(last) = self.flips.pop_if(|last| of_subject(last) && of_subject(&flip))
        {
            let count = if let Cause::Merged { count } = last.cause { count + 1 } else { 2 };
            (flip.from, flip.cause) = (last.from, Cause::Merged { count });
        }
        self.flips.push(flip.clone());
        flip
    }
}

/// How a slot begins.
pub struct Beginning {
    pub subject: Arc<Subject>,
    pub spec: Spec,
    pub state: State,
    pub epoch: u64,
    /// The newest flip that was committed.
    pub n: u64,
}

/// A life later than any that was stored, also when the wall clock was set back since.
pub fn epoch_after(last: u64, now: Timestamp) -> u64 {
    u64::try_from(now.as_microsecond()).unwrap_or(0).max(last.saturating_add(1))
}
