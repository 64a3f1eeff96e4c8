//! Facts: what a beat changes in what is known of an agent, whatever it means for the verdict.

use jiff::{SignedDuration, Timestamp};

use super::{
    Asked, Beat, Beats, Broken, Busy, Heard, Lease, Progress, Report, Spec, State, Verdict, Wake,
    push_pending,
};
use crate::domain::{
    hearing::{Hearing, after},
    id::SourceId,
};

/// Two beats that arrive together may overtake each other on the way to the slot: both are heard.
const OVERTAKING: SignedDuration = SignedDuration::from_secs(1);

impl Spec {
    /// A source's half, under the slot's lock: takes a beat in. A plain beat of an agent that is up
    /// moves its facts and its deadline; whatever may change the verdict waits in `pending` for the actor.
    /// The beat is dated by the caller and not later than now.
    pub fn hear(&self, state: &mut State, beat: Beat, hearing: &Hearing) -> Wake {
        if state.paused && state.pending.is_empty() {
            self.absorb(state, beat, false);
            return Wake::No;
        }
        if self.is_plain(state, &beat, hearing) {
            self.absorb(state, beat, true);
            state.deadline = self.earliest_base(state);
            return Wake::No;
        }
        push_pending(&mut state.pending, beat);
        Wake::Yes
    }

    /// Whether nothing but facts follows from this beat: it is in time, we heard all along, and it says nothing
    /// that the verdict asks for.
    fn is_plain(&self, state: &State, beat: &Beat, hearing: &Hearing) -> bool {
        let in_time = state.pending.is_empty()
            && state.said == Verdict::Up
            && state.deadline.is_some_and(|deadline| beat.at <= deadline)
            && state.last.is_some_and(|last| {
                last <= beat.at
                    && state.watched_since <= last
                    && !hearing.disturbed(self.steady(state), last)
            });
        in_time && self.says_nothing_new(state, beat)
    }

    fn says_nothing_new(&self, state: &State, beat: &Beat) -> bool {
        let report = match &beat.report {
            Report::Log => return true,
            Report::Alive => true,
            Report::Success => beat.run.is_none(),
            Report::Working => state.report != Report::Idle,
            Report::Idle => state.report == Report::Idle,
            Report::NeedsInput
            | Report::Degraded(_)
            | Report::Stopping
            | Report::Start
            | Report::Fail { .. } => false,
        };
        let progress = match (&beat.progress, self.loop_after) {
            (None | Some(Progress::Count(_)), _) | (Some(Progress::Digest(_)), None) => true,
            (same, Some(limit)) => {
                *same != state.progress || state.repeats.saturating_add(1) < limit
            }
        };
        report
            && progress
            && beat.busy == Busy::Keep
            && beat.task.as_ref().is_none_or(|task| *task == state.task)
    }

    /// The sources that count for a watch that was heard: that of the last beat, and each that brought two beats
    /// at most `timeout` apart and was heard no longer than that before the newest.
    pub fn steady<'a>(&self, state: &'a State) -> impl Iterator<Item = SourceId> + 'a {
        let timeout = self.timeout;
        let newest = state.last.unwrap_or(Timestamp::MAX);
        state
            .heard
            .iter()
            .enumerate()
            .filter(move |(place, it)| {
                *place == 0 || (it.steady && newest.duration_since(it.last) <= timeout)
            })
            .map(|(_, it)| it.source)
    }

    /// Takes in what a beat says. `sampled`: the silence before it belongs to the rhythm.
    pub(super) fn absorb(&self, state: &mut State, beat: Beat, sampled: bool) {
        let at = beat.at;
        let before = state.last;
        state.beats = state.beats.saturating_add(1);
        self.pulse(state, at, beat.source, sampled);
        state.malformed = state.malformed.saturating_add(u64::from(beat.malformed));
        // A stamp that was read late is older than what we know since: its words are out of date.
        if beat.report == Report::Log || before.is_some_and(|last| after(at, OVERTAKING) < last) {
            return;
        }
        let at = at.max(before.unwrap_or(at));
        if let Some(claimed) = beat.claimed {
            state.skew = Some(claimed.duration_since(at));
        }
        state.seq = beat.seq.or(state.seq);
        if let Some(task) = beat.task {
            state.task = task;
        }
        if let Some(metadata) = beat.metadata {
            state.metadata = Some(metadata);
        }
        // A beat that says that it does not work does not begin to by what else it says.
        let rests = matches!(beat.report, Report::Idle | Report::NeedsInput);
        self.report(state, beat.report, beat.run.is_some(), at);
        if let Some(progress) = beat.progress {
            advance(state, progress, at, rests);
        }
        self.lease(state, beat.busy, at, rests);
    }

    fn pulse(&self, state: &mut State, at: Timestamp, source: SourceId, sampled: bool) {
        // A stamp from shortly before the watch began: it lives since then, as far as we know.
        let known = state.last.is_some_and(|last| state.watched_since <= last);
        if at < state.watched_since && !known && state.watched_since <= after(at, self.timeout) {
            state.watched_since = at;
        }
        if let (true, Some(last)) = (sampled && self.expects_beats(state), state.last) {
            state.rhythm.take(at.duration_since(last));
        }
        remember(&mut state.heard, source, at, self.timeout);
        let moved = state.last.is_none_or(|last| last < at);
        state.last = state.last.max(Some(at));
        if state.last < Some(state.watched_since) {
            return;
        }
        let returns = moved && state.broken.down.is_some_and(|down| down < after(at, self.timeout));
        if returns {
            // A new life: what it did before the outage is not held against it, a failure that it told of is.
            state.broken = Broken { failed: state.broken.failed, ..Broken::default() };
            state.lease = state.lease.take().filter(|lease| at <= lease.until);
            state.repeats = 0;
        }
        let begins = self.beats == Beats::Steady && state.working_since.is_none();
        if !rests(&state.report) && (returns || begins) {
            state.working_since = Some(at);
        }
    }

    fn report(&self, state: &mut State, said: Report, ends_run: bool, at: Timestamp) {
        state.reported_at = Some(at);
        match &said {
            Report::Log => return,
            Report::Alive | Report::Working | Report::Degraded(_) => state.broken.failed = None,
            Report::Success => {
                state.broken.failed = None;
                if ends_run {
                    end_overrun(state);
                }
            }
            Report::Start => end_overrun(state),
            Report::Fail { .. } => state.broken.failed = Some(at),
            Report::Idle => {
                state.broken.failed = None;
                rest(state);
            }
            Report::NeedsInput => {
                state.broken.failed = None;
                wait(state, at);
            }
            // A process that failed and then ends has still failed.
            Report::Stopping => rest(state),
        }
        let says_nothing_of_work = matches!(said, Report::Alive | Report::Success);
        let goes_on = says_nothing_of_work
            && (state.report == Report::Idle || (state.report == Report::NeedsInput && !ends_run));
        if goes_on {
            return;
        }
        if said != Report::NeedsInput {
            answered(state, at);
        }
        let begins = match &said {
            Report::Working | Report::Start => true,
            Report::Alive | Report::Success | Report::Degraded(_) | Report::Fail { .. } => {
                self.beats == Beats::Steady
            }
            Report::Idle | Report::NeedsInput | Report::Stopping | Report::Log => false,
        };
        if begins {
            state.working_since = state.working_since.or(Some(at));
        }
        if ends_run && self.beats == Beats::OnActivity && said != Report::Start {
            rest(state);
        }
        state.report = said;
    }

    fn lease(&self, state: &mut State, busy: Busy, at: Timestamp, rests: bool) {
        match busy {
            Busy::Keep => {}
            Busy::End => {
                // The step is over; the progress clock begins with its end, not with its beginning.
                if state.lease.take().is_some() {
                    state.broken.overrun = None;
                    state.working_since = state.working_since.map(|_| at);
                }
            }
            Busy::Until { op, for_ } => {
                let granted = for_.min(self.lease_max);
                if granted.is_positive() && !state.lease_spent {
                    state.lease = Some(Lease { op, until: after(at, granted) });
                    state.lease_spent = true;
                    state.broken.stalled = None;
                    if !rests {
                        begin_to_work(state, at);
                    }
                }
            }
        }
    }

    /// Whether its silence would mean something.
    pub(super) fn expects_beats(&self, state: &State) -> bool {
        let heard = state.last.is_some_and(|last| state.watched_since <= last);
        let asks = heard && state.report == Report::NeedsInput;
        let acts = || heard && state.working_since.is_some() && state.lease.is_none();
        !asks && (self.beats == Beats::Steady || acts())
    }

    /// When the silence breaks the promise and how long it may last, if we hear all along.
    pub(super) fn pulse_base(&self, state: &State) -> Option<(Timestamp, SignedDuration)> {
        if state.broken.down.is_some() || !self.expects_beats(state) {
            return None;
        }
        let heard = state.last.filter(|last| state.watched_since <= *last);
        let (from, limit) = match (heard, &state.report) {
            (None, _) => (state.watched_since, self.first_beat_within),
            (Some(last), Report::Stopping) => (last, self.leave_max),
            (Some(last), _) => {
                (last, self.detector.limit(&state.rhythm, self.interval, self.timeout))
            }
        };
        Some((after(from, limit).max(state.not_before.unwrap_or(Timestamp::MIN)), limit))
    }

    /// When the declared step should have ended.
    pub(super) fn lease_base(state: &State) -> Option<Timestamp> {
        let judged = state.broken.down.is_none() && state.broken.overrun.is_none();
        state.lease.as_ref().map(|lease| lease.until).filter(|_| judged && is_at_work(state))
    }

    /// When standing still breaks the promise. While a lease runs, or after it ran out, that says it all.
    pub(super) fn stall_base(&self, state: &State) -> Option<Timestamp> {
        let judged = state.broken.down.is_none()
            && state.broken.stalled.is_none()
            && state.lease.is_none()
            && is_at_work(state);
        let due = after(state.working_since?, self.stall_after?);
        judged.then(|| due.max(state.not_before.unwrap_or(Timestamp::MIN)))
    }

    /// When people are to hear that it waits for one of them.
    pub(super) fn answer_base(&self, state: &State) -> Option<Timestamp> {
        let judged = state.broken.down.is_none() && state.broken.unanswered.is_none();
        let asked = state.asked?;
        let due = after(after(asked.at, asked.deaf), self.needs_input?);
        judged.then(|| due.max(state.not_before.unwrap_or(Timestamp::MIN)))
    }

    /// The next moment at which the verdict changes by itself, if we hear all along.
    fn earliest_base(&self, state: &State) -> Option<Timestamp> {
        let pulse = self.pulse_base(state).map(|(due, _)| due);
        [pulse, Self::lease_base(state), self.stall_base(state)].into_iter().flatten().min()
    }
}

fn is_at_work(state: &State) -> bool {
    !rests(&state.report) && state.last.is_some_and(|last| state.watched_since <= last)
}

/// Whether this word says that no work is to be expected.
fn rests(report: &Report) -> bool {
    matches!(report, Report::Idle | Report::NeedsInput | Report::Stopping)
}

/// No work is expected: the clocks of progress and lease end.
fn rest(state: &mut State) {
    state.working_since = None;
    state.lease = None;
    state.repeats = 0;
    state.broken.overrun = None;
    state.broken.stalled = None;
}

/// It waits for a person. The step that it declared, if that is still in its time, goes on afterwards.
fn wait(state: &mut State, at: Timestamp) {
    let lease = state.lease.take().filter(|it| at < it.until);
    rest(state);
    state.lease = lease;
    state.asked = state.asked.or(Some(Asked { at, deaf: SignedDuration::ZERO }));
}

/// It waits for nobody any more.
fn answered(state: &mut State, at: Timestamp) {
    if let Some(asked) = state.asked.take()
        && let Some(lease) = &mut state.lease
    {
        lease.until = after(lease.until, at.duration_since(asked.at));
    }
    state.broken.unanswered = None;
}

fn end_overrun(state: &mut State) {
    if state.broken.overrun.take().is_some() {
        state.lease = None;
        state.working_since = state.reported_at;
    }
}

fn advance(state: &mut State, progress: Progress, at: Timestamp, rests: bool) {
    if state.progress.as_ref() == Some(&progress) {
        if matches!(progress, Progress::Digest(_)) && !rests {
            state.repeats = state.repeats.saturating_add(1);
        }
        return;
    }
    state.repeats = u32::from(matches!(progress, Progress::Digest(_)));
    state.progress = Some(progress);
    state.progress_at = Some(at);
    state.lease = None;
    state.lease_spent = false;
    state.broken.overrun = None;
    state.broken.stalled = None;
    if rests || state.report == Report::Stopping {
        return;
    }
    state.working_since = Some(at);
    begin_to_work(state, at);
}

/// Whoever advances, or declares a long step, is not idle and waits for nobody.
fn begin_to_work(state: &mut State, at: Timestamp) {
    if matches!(state.report, Report::Idle | Report::NeedsInput) {
        answered(state, at);
        state.report = Report::Alive;
    }
    if !rests(&state.report) {
        state.working_since = state.working_since.or(Some(at));
    }
}

/// Newest first; the usual beat comes over the source that stands first.
fn remember(heard: &mut Vec<Heard>, source: SourceId, at: Timestamp, timeout: SignedDuration) {
    match heard.iter_mut().find(|it| it.source == source) {
        Some(it) => {
            it.steady = at.duration_since(it.last).abs() <= timeout;
            it.last = it.last.max(at);
        }
        None => heard.push(Heard { source, last: at, steady: false }),
    }
    if heard.first().is_none_or(|it| it.source != source) {
        heard.sort_by_key(|it| std::cmp::Reverse(it.last));
    }
}
