//! Judge: what the facts of an agent mean at a moment. Elapsed time is settled before a signal is read,
//! each promise at the moment when it broke, so late timers and late beats tell the same story.

use std::mem;

use jiff::{SignedDuration, Timestamp};

use super::{Asked, Beat, Beats, Broken, Change, Effects, Report, Signal, Spec, State, Verdict};
use crate::domain::{
    hearing::{Ears, Hearing, Proof, RESPITE, Source, Stretch, after, extend},
    id::SourceId,
    text::Text,
    watch::{self, Cause},
};

/// Changes in one silence: a blindness per remembered period, back and forth, and the broken promises.
const STEPS_MAX: usize = 64;

impl Spec {
    /// The actor's half: settles `pending` and the time up to `now`, then reads `signal`. Pure: same
    /// inputs, same outputs; inserting a `Tick` anywhere never changes the story.
    ///
    /// Before a new Spec takes the place of the old one, the shell sends a `Tick` to the old one;
    /// `Reloaded` goes to the new one before anything else does.
    pub fn on(
        &self,
        state: &State,
        signal: Signal,
        hearing: &Hearing,
        now: Timestamp,
    ) -> (State, Effects) {
        let mut judge = Judge { spec: self, hearing, state: state.clone(), changes: Vec::new() };
        if matches!(signal, Signal::Reloaded) {
            let grace = self.interval.saturating_add(RESPITE);
            judge.state.not_before = Some(after(now, grace));
        }
        for beat in mem::take(&mut judge.state.pending) {
            judge.take(beat, now);
        }
        if let Signal::Beat(beat) = signal {
            judge.take(beat, now);
        } else {
            judge.settle(now, None);
            judge.read(signal, now);
        }
        let need = judge.settle(now, None);
        judge.state.deadline = judge.deadline();
        (judge.state, Effects { changes: judge.changes, need })
    }

    /// What is shown now: as `said`, but `late` (silence over 1.5 × interval) is derived from the clock;
    /// and whether it is idle, which stands beside `up`.
    pub fn shown(&self, state: &State, now: Timestamp) -> (Verdict, bool) {
        let idle = state.said == Verdict::Up && state.report == Report::Idle;
        (self.or_late(state.said, state, now), idle)
    }

    /// `up`, unless its silence is over 1.5 × interval.
    pub(super) fn or_late(&self, said: Verdict, state: &State, now: Timestamp) -> Verdict {
        let silent = state.last.is_some_and(|last| after(last, self.patience()) < now);
        let late = silent && self.beats == Beats::Steady;
        if said == Verdict::Up && late { Verdict::Late } else { said }
    }

    /// Whether none of the sources by which it is heard works.
    pub(super) fn is_deaf(&self, state: &State, hearing: &Hearing) -> bool {
        let judge = Judge { spec: self, hearing, state: state.clone(), changes: Vec::new() };
        let ears = judge.ears();
        let mut blind =
            ears.sources.iter().map(|(id, _)| hearing.source(*id).is_none_or(Source::is_blind));
        if ears.all_must_work { blind.any(|it| it) } else { blind.all(|it| it) }
    }

    /// The worst that the facts say.
    pub(super) fn standing(&self, state: &State) -> Verdict {
        let looping = self.loop_after.is_some_and(|limit| limit <= state.repeats);
        let heard = state.last.is_some_and(|last| state.watched_since <= last);
        match &state.report {
            _ if state.paused => Verdict::Paused,
            _ if state.broken.down.is_some() => Verdict::Down,
            _ if !heard => Verdict::Waiting,
            _ if state.broken.failed.is_some() => Verdict::Failed,
            _ if state.broken.overrun.is_some() => Verdict::Overrun,
            _ if state.broken.stalled.is_some() => Verdict::Stalled,
            _ if looping => Verdict::Looping,
            Report::Degraded(_) => Verdict::Degraded,
            Report::NeedsInput if state.broken.unanswered.is_some() => Verdict::Unanswered,
            Report::NeedsInput => Verdict::NeedsInput,
            Report::Stopping => Verdict::Leaving,
            Report::Alive
            | Report::Working
            | Report::Idle
            | Report::Start
            | Report::Success
            | Report::Fail { .. }
            | Report::Log => Verdict::Up,
        }
    }
}

/// What changes by itself next.
enum Step {
    Deaf,
    HearsAgain,
    Down(SignedDuration),
    Overrun,
    Stalled,
    Unanswered,
}

/// A step, when it happened, and after when it may be said.
struct Due {
    at: Timestamp,
    sure: Timestamp,
    step: Step,
}

struct Judge<'a> {
    spec: &'a Spec,
    hearing: &'a Hearing,
    state: State,
    changes: Vec<Change>,
}

impl Judge<'_> {
    /// Takes a beat: the silence before it is judged first, as far as it is proven.
    fn take(&mut self, mut beat: Beat, now: Timestamp) {
        beat.at = beat.at.min(now);
        let at = beat.at;
        self.settle(at, Some(beat.source));
        let deaf = self.stretches_until(at);
        self.keep_what_was_left(&deaf);
        let sampled = deaf.is_empty()
            && !self.state.paused
            && self.state.broken.down.is_none()
            && self.state.last.is_some_and(|last| self.state.watched_since <= last);
        self.spec.absorb(&mut self.state, beat, sampled);
        let verdict = self.spec.standing(&self.state);
        let cause = self.cause(verdict);
        self.say(verdict, at, cause);
    }

    /// Reads what is no beat.
    fn read(&mut self, signal: Signal, now: Timestamp) {
        match signal {
            Signal::Beat(_) | Signal::Tick => {}
            Signal::Pause { by } => {
                self.state.paused = true;
                self.say(Verdict::Paused, now, Cause::Paused { by });
            }
            Signal::Resume { by } => {
                if self.state.paused {
                    self.begin_anew(now);
                    self.say(self.spec.standing(&self.state), now, Cause::Resumed { by });
                }
            }
            Signal::Reloaded => self.reconsider(now),
        }
    }

    /// After a pause it is watched as if it began now; what it told before does not count.
    fn begin_anew(&mut self, now: Timestamp) {
        let state = &mut self.state;
        state.paused = false;
        state.watched_since = now;
        state.broken = Broken::default();
        state.report = Report::Alive;
        state.reported_at = None;
        state.working_since = None;
        state.asked = None;
        state.repeats = 0;
        state.lease = None;
        state.lease_spent = false;
    }

    /// What the new settings no longer hold against it is taken back.
    fn reconsider(&mut self, now: Timestamp) {
        let was = self.state.broken;
        self.state.broken.down = None;
        self.state.broken.stalled = None;
        self.state.broken.unanswered = None;
        let stretches = self.stretches();
        // Without the grace of this reload: that delays a verdict, and takes none back.
        let grace = self.state.not_before.take();
        let holds = |base: Option<Timestamp>| {
            base.and_then(|base| extend(base, &stretches, self.spec.interval))
                .is_some_and(|due| due < now)
        };
        let down = holds(self.spec.pulse_base(&self.state).map(|(due, _)| due));
        let stalled = holds(self.spec.stall_base(&self.state));
        let unanswered = holds(self.spec.answer_base(&self.state));
        self.state.not_before = grace;
        self.state.broken.down = was.down.filter(|_| down);
        self.state.broken.stalled = was.stalled.filter(|_| stalled);
        self.state.broken.unanswered = was.unanswered.filter(|_| unanswered);
        let verdict = self.spec.standing(&self.state);
        let cause = match verdict.condition() {
            None => Cause::SettingsChanged,
            Some(_) => self.cause(verdict),
        };
        if self.state.said != Verdict::Blind || verdict.condition().is_some() {
            self.say(verdict, now, cause);
        }
    }

    /// Says all that happened by itself up to `to`. What is due but not proven stays unsaid and is answered: its
    /// deadline, and the sources that are to prove it. `beat_over` has just brought a beat, which is a proof.
    fn settle(
        &mut self,
        to: Timestamp,
        beat_over: Option<SourceId>,
    ) -> Option<(Timestamp, Vec<SourceId>)> {
        if self.state.paused {
            return None;
        }
        let stretches = self.stretches();
        let mut ears = self.ears();
        for (source, heard) in &mut ears.sources {
            if Some(*source) == beat_over {
                *heard = Some(to).max(*heard);
            }
        }
        for _ in 0..STEPS_MAX {
            let due = self.next(&stretches).filter(|due| due.sure < to)?;
            let proof = match due.step {
                Step::Deaf | Step::HearsAgain => Proof::Proven,
                Step::Down(_) | Step::Overrun | Step::Stalled | Step::Unanswered => {
                    self.hearing.proof(&ears, due.at)
                }
            };
            match proof {
                Proof::Proven => self.apply(&due),
                Proof::Needed(sources) => return Some((due.at, sources)),
                Proof::Blind => return None,
            }
        }
        None
    }

    /// The earliest change that comes by itself, whether its time has come or not.
    fn next(&self, stretches: &[Stretch]) -> Option<Due> {
        let state = &self.state;
        let extended = |base: Option<Timestamp>| {
            base.and_then(|base| extend(base, stretches, self.spec.interval))
        };
        let pulse = self.spec.pulse_base(state);
        let limit = pulse.map_or(SignedDuration::ZERO, |(_, limit)| limit);
        let promises = [
            (extended(pulse.map(|(due, _)| due)), Step::Down(limit)),
            (extended(Spec::lease_base(state)), Step::Overrun),
            (extended(self.spec.stall_base(state)), Step::Stalled),
            (extended(self.spec.answer_base(state)), Step::Unanswered),
        ];
        let promises =
            promises.into_iter().filter_map(|(at, step)| at.map(|at| Due { at, sure: at, step }));
        // Of two at the same moment the first: the worse one.
        self.next_of_hearing(stretches).into_iter().chain(promises).min_by_key(|due| due.at)
    }

    /// When blindness begins to hide the verdict, or ends to. A watch in trouble stays in trouble.
    fn next_of_hearing(&self, stretches: &[Stretch]) -> Option<Due> {
        let since = self.state.said_since;
        let mut blind =
            stretches.iter().filter(|it| it.blind && it.until.is_none_or(|until| since < until));
        match self.state.said {
            Verdict::Up | Verdict::Waiting | Verdict::NeedsInput | Verdict::Leaving => {
                let at = blind.next()?.since.max(since);
                Some(Due { at, sure: at, step: Step::Deaf })
            }
            Verdict::Blind => match blind.find(|it| it.since <= since) {
                None => Some(Due { at: since, sure: since, step: Step::HearsAgain }),
                // Whoever breaks again within one interval never returned.
                Some(stretch) => stretch.until.map(|at| Due {
                    at,
                    sure: after(at, self.spec.interval),
                    step: Step::HearsAgain,
                }),
            },
            Verdict::Down
            | Verdict::Failed
            | Verdict::Overrun
            | Verdict::Stalled
            | Verdict::Looping
            | Verdict::Degraded
            | Verdict::Unanswered
            | Verdict::Late
            | Verdict::Paused => None,
        }
    }

    fn apply(&mut self, due: &Due) {
        let at = due.at;
        let cause = match due.step {
            Step::Deaf => return self.say(Verdict::Blind, at, Cause::Hearing),
            Step::HearsAgain => Cause::Hearing,
            Step::Down(limit) => {
                self.state.broken.down = Some(at);
                Cause::Silence { last: self.state.last, limit }
            }
            Step::Overrun => {
                self.state.broken.overrun = Some(at);
                self.cause(Verdict::Overrun)
            }
            Step::Stalled => {
                self.state.broken.stalled = Some(at);
                self.cause(Verdict::Stalled)
            }
            Step::Unanswered => {
                self.state.broken.unanswered = Some(at);
                self.cause(Verdict::Unanswered)
            }
        };
        self.say(self.spec.standing(&self.state), at, cause);
    }

    /// Why the facts say this verdict, where a beat brought it.
    fn cause(&self, verdict: Verdict) -> Cause {
        let state = &self.state;
        match verdict {
            Verdict::Failed => {
                let Report::Fail { exit: Some(exit) } = state.report else {
                    return Cause::Said { status: word("fail"), exit: None };
                };
                Cause::Said { status: word(&format!("exit {exit}")), exit: Some(exit) }
            }
            Verdict::Overrun => state.lease.as_ref().map_or(Cause::Beat, |lease| Cause::Lease {
                op: lease.op.clone(),
                until: lease.until,
            }),
            Verdict::Stalled => Cause::NoProgress {
                since: state.progress_at.or(state.working_since).unwrap_or(state.said_since),
                limit: self.spec.stall_after.unwrap_or(SignedDuration::ZERO),
            },
            Verdict::Looping => Cause::Repeats { count: state.repeats },
            Verdict::Degraded => {
                let Report::Degraded(status) = &state.report else { return Cause::Beat };
                Cause::Said { status: status.clone(), exit: None }
            }
            Verdict::Unanswered => Cause::Unanswered {
                since: state.asked.map_or(state.said_since, |it| it.at),
                limit: self.spec.needs_input.unwrap_or(SignedDuration::ZERO),
            },
            Verdict::NeedsInput => Cause::Said { status: word("needs_input"), exit: None },
            Verdict::Leaving => Cause::Said { status: word("stopping"), exit: None },
            Verdict::Down
            | Verdict::Late
            | Verdict::Up
            | Verdict::Waiting
            | Verdict::Paused
            | Verdict::Blind => Cause::Beat,
        }
    }

    /// Says a verdict if it is another than before. Nothing is dated before what was said last.
    fn say(&mut self, to: Verdict, at: Timestamp, cause: Cause) {
        let from = self.state.said;
        if from == to {
            return;
        }
        let at = at.max(self.state.said_since);
        let said = watch::Verdict::Agent;
        self.changes.push(Change { from: said(from), to: said(to), at, cause });
        self.state.said = to;
        self.state.said_since = at;
    }

    /// When somebody should look again: what is due next, as soon as it may be said. While all ears are
    /// deaf there is none; their return wakes.
    fn deadline(&self) -> Option<Timestamp> {
        if self.state.paused {
            return None;
        }
        self.next(&self.stretches()).map(|due| due.sure)
    }

    fn ears(&self) -> Ears {
        let state = &self.state;
        let known = |id: &SourceId| self.hearing.source(*id).is_some();
        let over = |id: SourceId| {
            state.heard.iter().find(|it| it.source == id).map(|it| (id, Some(it.last)))
        };
        let steady: Vec<_> = self.spec.steady(state).filter(known).filter_map(over).collect();
        let heard = state.last.is_some_and(|last| state.watched_since <= last);
        if heard && !steady.is_empty() {
            return Ears { sources: steady, all_must_work: false };
        }
        Ears {
            sources: self.spec.enabled.iter().map(|id| (*id, None)).collect(),
            all_must_work: true,
        }
    }

    /// Times in the present silence in which it could not be heard.
    fn stretches(&self) -> Vec<Stretch> {
        let from = self
            .state
            .last
            .map_or(self.state.watched_since, |last| last.max(self.state.watched_since));
        self.hearing.stretches(&self.ears(), from, self.spec.interval)
    }

    /// The same, as a beat at that moment ends them.
    fn stretches_until(&self, end: Timestamp) -> Vec<Stretch> {
        let cut =
            |it: Stretch| Stretch { until: Some(it.until.map_or(end, |at| at.min(end))), ..it };
        self.stretches().into_iter().filter(|it| it.since < end).map(cut).collect()
    }

    /// The clocks that a beat does not start anew keep the time that they were given for being unheard.
    fn keep_what_was_left(&mut self, deaf: &[Stretch]) {
        if deaf.is_empty() || self.state.paused {
            return;
        }
        let interval = self.spec.interval;
        let later = |base: Timestamp| extend(base, deaf, interval).unwrap_or(base);
        if let Some(base) = self.spec.stall_base(&self.state) {
            let given = later(base).duration_since(base);
            self.state.working_since = self.state.working_since.map(|at| after(at, given));
        }
        let lease_judged = Spec::lease_base(&self.state).is_some();
        if let Some(lease) = self.state.lease.as_mut().filter(|_| lease_judged) {
            lease.until = later(lease.until);
        }
        if let Some(base) = self.spec.answer_base(&self.state) {
            let given = later(base).duration_since(base);
            self.state.asked =
                self.state.asked.map(|it| Asked { deaf: it.deaf.saturating_add(given), ..it });
        }
    }
}

fn word(text: &str) -> Text {
    Text::clean(text, 40)
}
