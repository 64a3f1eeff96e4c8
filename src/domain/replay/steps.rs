//! Steps: what became of one agent and of the hearing, in its order, as far as history knows.

use std::{collections::HashMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::periods;
use crate::domain::{
    detector,
    history::{BeatRecord, History},
    id::{SourceId, WatchId},
    watch::{
        State, Verdict,
        agent::{self, Notable, Spec},
    },
};

/// One thing that happened.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// It is watched from now on.
    Begin,
    /// It beats in its rhythm from now on.
    Rhythm(Rhythm),
    /// A kept beat.
    Beat(Notable),
    Pause,
    Resume,
    /// It is not watched any more.
    End,
    Deaf(SourceId),
    Hears(SourceId),
    /// Our own scheduler stood still for so long up to now.
    Shift(SignedDuration),
}

/// Beats at most one and a half intervals apart, of which nothing else is known.
#[derive(Debug, Clone)]
pub(super) struct Rhythm {
    /// The last of them.
    pub(super) until: Timestamp,
    /// The last that advanced.
    pub(super) advanced: Option<Timestamp>,
    pub(super) over: Vec<SourceId>,
    /// What the detector knew at the last of them.
    pub(super) learnt: Option<detector::Rhythm>,
}

/// History by watch.
pub(super) struct Known<'a> {
    since: Timestamp,
    numbers: &'a HashMap<Arc<str>, SourceId>,
    beats: HashMap<&'a WatchId, Vec<&'a BeatRecord>>,
    facts: HashMap<&'a WatchId, &'a agent::State>,
    marks: HashMap<&'a WatchId, Vec<(Timestamp, Step)>>,
    hearing: Vec<(Timestamp, Step)>,
}

impl<'a> Known<'a> {
    pub(super) fn of(history: &'a History, numbers: &'a HashMap<Arc<str>, SourceId>) -> Self {
        let mut beats: HashMap<&WatchId, Vec<&BeatRecord>> = HashMap::new();
        for record in &history.beats {
            beats.entry(&record.watch).or_default().push(record);
        }
        Self {
            since: history.since,
            numbers,
            beats,
            facts: history
                .facts
                .iter()
                .map(|it| match &*it.state {
                    State::Agent(state) => (&it.watch, state),
                })
                .collect(),
            marks: marks(history),
            hearing: hearing(history, numbers),
        }
    }

    /// What became of a watch that is promised `spec`; none where nothing is known of it.
    pub(super) fn steps(&self, watch: &WatchId, spec: &Spec) -> Option<Vec<(Timestamp, Step)>> {
        let facts = self.facts.get(watch).copied();
        let mut steps = match self.beats.get(watch) {
            Some(records) => self.of_records(records, facts, spec),
            None => Self::of_facts(facts?, spec, self.since),
        };
        let begin = steps.first()?.0;
        let marks = self.marks.get(watch).map_or(&[][..], |it| it);
        let paused = match marks.iter().find(|(_, it)| matches!(it, Step::Pause | Step::Resume)) {
            Some((_, first)) => matches!(first, Step::Resume),
            None => facts.is_some_and(|it| it.paused),
        };
        if paused {
            steps.insert(1, (begin, Step::Pause));
        }
        steps.extend(marks.iter().cloned());
        steps.extend(self.hearing.iter().cloned());
        // Of one moment, the hearing is known last.
        steps.sort_by_key(|it| it.0);
        Some(steps)
    }

    fn of_records(
        &self,
        records: &[&BeatRecord],
        facts: Option<&agent::State>,
        spec: &Spec,
    ) -> Vec<(Timestamp, Step)> {
        let mut steps = Vec::new();
        let mut last: Option<Timestamp> = None;
        for record in records {
            let beat = record.beat.clone().renamed(|it| self.number(&it));
            match &beat.before {
                None => steps.push((beat.at, Step::Begin)),
                Some(before) => {
                    let from = last.unwrap_or_else(|| {
                        let from = before.last.min(self.since);
                        steps.push((from, Step::Begin));
                        from
                    });
                    let rhythm = Rhythm {
                        until: before.last,
                        advanced: before.advanced,
                        over: before.over.clone(),
                        learnt: Some(before.rhythm.clone()),
                    };
                    steps.push((from, Step::Rhythm(rhythm)));
                }
            }
            last = Some(beat.at);
            steps.push((beat.at, Step::Beat(beat)));
        }
        let known = facts.and_then(|it| Some((it, it.last?)));
        if let (Some((facts, until)), Some(from)) = (known, last)
            && from < until
        {
            steps.push((from, Step::Rhythm(Rhythm::of(facts, spec, until))));
        }
        steps
    }

    /// Nothing of it was kept: it beat in its rhythm all along, or not at all.
    fn of_facts(facts: &agent::State, spec: &Spec, since: Timestamp) -> Vec<(Timestamp, Step)> {
        let Some(until) = facts.last else {
            return vec![(facts.watched_since, Step::Begin)];
        };
        let from = until.min(since);
        vec![(from, Step::Begin), (from, Step::Rhythm(Rhythm::of(facts, spec, until)))]
    }

    fn number(&self, name: &Arc<str>) -> SourceId {
        self.numbers.get(name).copied().unwrap_or(SourceId(u8::MAX))
    }
}

impl Rhythm {
    /// As the facts have it at the end.
    fn of(state: &agent::State, spec: &Spec, until: Timestamp) -> Self {
        Self {
            until,
            advanced: state.progress_at,
            over: spec.steady(state).collect(),
            learnt: Some(state.rhythm.clone()),
        }
    }
}

/// Pauses and removals, by watch.
fn marks(history: &History) -> HashMap<&WatchId, Vec<(Timestamp, Step)>> {
    let mut marks: HashMap<&WatchId, Vec<(Timestamp, Step)>> = HashMap::new();
    for flip in &history.flips {
        let (Verdict::Agent(from), Verdict::Agent(to)) = (flip.from, flip.to) else { continue };
        let step = if from == to {
            continue;
        } else if to == agent::Verdict::Paused {
            Step::Pause
        } else if from == agent::Verdict::Paused {
            Step::Resume
        } else if to == agent::Verdict::Waiting {
            // Whoever was heard waits no more: it was taken out.
            Step::End
        } else {
            continue;
        };
        marks.entry(&flip.watch).or_default().push((flip.at, step));
    }
    marks
}

/// When which source could not hear, and when the clocks were shifted, the same for all.
fn hearing(history: &History, numbers: &HashMap<Arc<str>, SourceId>) -> Vec<(Timestamp, Step)> {
    let mut steps = Vec::new();
    for (since, until, source) in periods(history) {
        if let Some(source) = numbers.get(&source) {
            steps.push((since, Step::Deaf(*source)));
            if until < Timestamp::MAX {
                steps.push((until, Step::Hears(*source)));
            }
        }
    }
    for shift in history.deafness.iter().filter(|it| it.source.is_none()) {
        let until = shift.until.unwrap_or(shift.since);
        steps.push((until, Step::Shift(until.duration_since(shift.since))));
    }
    steps.sort_by_key(|it| it.0);
    steps
}
