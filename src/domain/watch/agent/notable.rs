//! Notable: which beats history keeps, so that a time can be judged again under other settings
//! (docs/BEHAVIOUR.md 2, "Facts are stored").
//!
//! Kept is a beat that ended a silence over one and a half intervals, or that said something the verdict asks
//! for; each with how the time before it was. Between two of them the agent beat in its rhythm and said nothing.

use jiff::{SignedDuration, Timestamp};

use super::{Beat, Beats, Busy, Report, Spec, State};
use crate::domain::{detector::Rhythm, hearing::after, id::SourceId};

/// Progress is kept where it stood still for longer than this part of `stall_after`.
pub const STANDSTILL_PART: i32 = 4;

/// A beat that history keeps. Sources are numbers within a run and names (`S`) in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Notable<S = SourceId> {
    pub at: Timestamp,
    pub source: S,
    pub report: Report,
    pub busy: Busy,
    /// Its progress was another than before.
    pub advanced: bool,
    /// None: it was never heard before.
    pub before: Option<Before<S>>,
}

/// How the time before a kept beat was.
#[derive(Debug, Clone, PartialEq)]
pub struct Before<S = SourceId> {
    /// The beat before it.
    pub last: Timestamp,
    /// The last progress before it.
    pub advanced: Option<Timestamp>,
    /// The sources that counted.
    pub over: Vec<S>,
    /// Without the picture of the last intervals.
    pub rhythm: Rhythm,
}

impl<S> Notable<S> {
    /// The same with other names for the sources.
    pub fn renamed<T>(self, name: impl Fn(S) -> T) -> Notable<T> {
        let Self { at, source, report, busy, advanced, before } = self;
        let source = name(source);
        let before = before.map(|it| Before {
            last: it.last,
            advanced: it.advanced,
            over: it.over.into_iter().map(&name).collect(),
            rhythm: it.rhythm,
        });
        Notable { at, source, report, busy, advanced, before }
    }
}

impl Spec {
    /// A longer silence is shown as `late`, and is kept by history.
    pub fn patience(&self) -> SignedDuration {
        self.interval.saturating_add(self.interval / 2)
    }

    /// What history keeps of a beat that is about to be taken in; none where it is one like the last.
    pub fn notable(&self, state: &State, beat: &Beat) -> Option<Notable> {
        let last = state.last.max(state.pending.last().map(|it| it.at));
        let in_rhythm = last.is_some_and(|last| beat.at <= after(last, self.patience()));
        if in_rhythm && !self.tells(state, beat) {
            return None;
        }
        Some(Notable {
            at: beat.at,
            source: beat.source,
            report: beat.report.clone(),
            busy: beat.busy.clone(),
            advanced: advances(state, beat),
            before: last.map(|last| self.before(state, last)),
        })
    }

    /// How the time up to the last beat was.
    pub fn before(&self, state: &State, last: Timestamp) -> Before {
        Before {
            last,
            advanced: state.progress_at,
            over: self.steady(state).collect(),
            rhythm: Rhythm { recent: Vec::new(), ..state.rhythm.clone() },
        }
    }

    fn tells(&self, state: &State, beat: &Beat) -> bool {
        let known = state.pending.last().map_or(&state.report, |it| &it.report);
        let works =
            self.stall_after.is_some() || state.lease.is_some() || self.beats == Beats::OnActivity;
        let at_work = *known != Report::Idle
            && (self.beats == Beats::Steady || state.working_since.is_some());
        let overran = state.broken.overrun.is_some();
        let report = match &beat.report {
            Report::Log => false,
            // Whoever waits for a person waits on.
            Report::Alive | Report::Success if *known == Report::NeedsInput => false,
            // As `hear` has it: a word of work alone ends no overrun.
            Report::Alive => is_trouble(known),
            Report::Success => is_trouble(known) || (overran && beat.run.is_some()),
            Report::Working => is_trouble(known) || (works && !at_work),
            Report::Start => is_trouble(known) || overran || (works && !at_work),
            Report::Idle => is_trouble(known) || (works && at_work),
            Report::NeedsInput | Report::Degraded(_) | Report::Stopping | Report::Fail { .. } => {
                beat.report != *known
            }
        };
        let busy = match beat.busy {
            Busy::Keep => false,
            Busy::End => state.lease.is_some(),
            Busy::Until { .. } => !state.lease_spent,
        };
        report || busy || self.ends_standstill(state, beat)
    }

    fn ends_standstill(&self, state: &State, beat: &Beat) -> bool {
        let stood = || {
            let stood = beat.at.duration_since(state.progress_at.or(state.working_since)?);
            self.stall_after.map(|limit| limit / STANDSTILL_PART < stood)
        };
        let begins = self.beats == Beats::OnActivity && state.working_since.is_none();
        let counts = begins
            || state.asked.is_some()
            || state.lease.is_some()
            || state.broken.overrun.is_some()
            || state.broken.stalled.is_some()
            || stood() == Some(true);
        counts && advances(state, beat)
    }
}

fn advances(state: &State, beat: &Beat) -> bool {
    beat.progress.is_some() && beat.progress != state.progress
}

fn is_trouble(report: &Report) -> bool {
    match report {
        Report::NeedsInput | Report::Degraded(_) | Report::Stopping | Report::Fail { .. } => true,
        Report::Alive
        | Report::Working
        | Report::Idle
        | Report::Start
        | Report::Success
        | Report::Log => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tower::{beat, second, spec},
        *,
    };

    /// Beats `what@second`, and those that are kept, each with the beat before it and the progress before it.
    #[track_caller]
    fn check(kind: &str, script: &str, kept: &str) {
        let (spec, mut state) = (spec(kind), State::new(second(0)));
        let mut found = Vec::new();
        for word in script.split_whitespace() {
            let (what, at) = word.split_once('@').unwrap();
            let beat = beat(what, second(at.parse().unwrap()), SourceId(0));
            if let Some(notable) = spec.notable(&state, &beat) {
                let before = notable.before.map_or_else(String::new, |it| {
                    let advanced = it.advanced.map(|at| format!(",{}", at.as_second()));
                    format!(" after {}{}", it.last.as_second(), advanced.unwrap_or_default())
                });
                found.push(format!("{word}{before}"));
            }
            spec.absorb(&mut state, beat, true);
        }
        assert_eq!(found.join("; "), kept, "{script}");
    }

    #[test]
    fn a_beat_is_kept_that_ended_a_silence_or_said_something_new() {
        let kind = "interval=30 timeout=90";
        check(kind, "beat@0 beat@30 beat@75 beat@121", "beat@0; beat@121 after 75");
        check(kind, "beat@0 work@10 idle@20 success@30 log@40 p1@50 p2@60", "beat@0");
        check(
            kind,
            "beat@0 degraded@30 degraded@60 beat@90 fail@100 log@110 success@120 stop@130 work@140",
            "beat@0; degraded@30 after 0; beat@90 after 60; fail@100 after 90; success@120 after 110; \
             stop@130 after 120; work@140 after 130",
        );
        check(
            kind,
            "beat@0 busy60@30 busy60@60 end@80 end@90",
            "beat@0; busy60@30 after 0; end@80 after 60",
        );
    }

    #[test]
    fn what_the_clock_of_progress_asks_for_is_kept_where_it_is_switched_on() {
        let kind = "interval=30 timeout=90 stall=400";
        check(kind, "p1@0 p2@30 p2@60 p2@90 p3@120 p3@150 p4@231", "p1@0; p4@231 after 150,120");
        check(kind, "work@0 idle@20 idle@40 work@60", "work@0; idle@20 after 0; work@60 after 40");
    }

    #[test]
    fn the_ends_of_activity_and_of_waiting_are_kept() {
        let acts = "interval=30 timeout=90 activity";
        check(
            acts,
            "idle@0 beat@20 work@40 work@60 idle@80 idle@90",
            "idle@0; work@40 after 20; idle@80 after 60",
        );
        check(acts, "idle@0 p1@20 p2@40 p3@60", "idle@0; p1@20 after 0");
        let kind = "interval=30 timeout=90";
        check(
            kind,
            "beat@0 ask@20 beat@40 ask@50 work@60",
            "beat@0; ask@20 after 0; work@60 after 50",
        );
        check(kind, "p1@0 ask@20 p1@40 p2@60", "p1@0; ask@20 after 0,0; p2@60 after 40,0");
    }
}
