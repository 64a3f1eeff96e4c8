//! Replay: a time of which history is kept, judged and told again under a registry. It runs the machines and
//! the desk themselves: there is no second judgement here, only what they are fed.
//!
//! ```text
//! history ─▶ steps (what became of one agent) ─▶ lane: its machine ─Flip▶ telling: the desk ─▶ Prediction
//! ```

mod lane;
mod steps;
mod telling;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use self::{lane::Lane, steps::Known};
use super::{
    history::{Deafness, History},
    id::{Kind, ReceiverId, SourceId, WatchId},
    registry::{Wanted, Watched},
    watch::{Cause, Condition, Flip, Spec},
};

/// What would have come of a time under one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prediction {
    /// By the moment at which the promise broke.
    pub troubles: Vec<Trouble>,
    /// By their time.
    pub pages: Vec<Page>,
    /// Agents of the registry of which nothing is known.
    pub unknown: Vec<WatchId>,
}

/// A promise that an agent would have broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub watch: WatchId,
    pub condition: Condition,
    /// The last beat before a silence; none where it was never heard, or where it is no silence.
    pub silent_since: Option<Timestamp>,
    /// From when on it counts as broken: the difference to the last beat is how long it takes to see it.
    pub at: Timestamp,
    /// None: still so at the end.
    pub until: Option<Timestamp>,
}

/// What would have disturbed a receiver: a message that rings, or an event for a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub at: Timestamp,
    pub receiver: ReceiverId,
    pub human: bool,
    /// The first line of the message, or the event and its watch.
    pub text: String,
}

/// A flip, and when it would have been noticed.
#[derive(Debug, Clone)]
struct Noticed {
    at: Timestamp,
    flip: Flip,
}

/// When each agent was late: what depends on it waits for its verdict.
type Late = HashMap<WatchId, Vec<(Timestamp, Timestamp)>>;

/// How long we could not hear over each source within the time, by name.
pub fn deaf_for(history: &History) -> BTreeMap<Arc<str>, SignedDuration> {
    let mut deaf: BTreeMap<Arc<str>, SignedDuration> = BTreeMap::new();
    for (since, until, name) in periods(history) {
        let length = until.min(history.until).duration_since(since.max(history.since));
        if length.is_positive() {
            *deaf.entry(name).or_default() += length;
        }
    }
    deaf
}

/// Times of deafness of each source, by their beginning and without overlaps: one that never ended (the run
/// was killed) lasts until the next one of its source.
fn periods(history: &History) -> Vec<(Timestamp, Timestamp, Arc<str>)> {
    let mut of_source: BTreeMap<&Arc<str>, Vec<&Deafness>> = BTreeMap::new();
    for deafness in &history.deafness {
        if let Some(source) = &deafness.source {
            of_source.entry(source).or_default().push(deafness);
        }
    }
    let mut found = Vec::new();
    for (source, all) in of_source {
        for (place, deafness) in all.iter().enumerate() {
            let next = all.get(place + 1).map_or(Timestamp::MAX, |it| it.since);
            let until = deafness.until.map_or(next, |it| it.min(next));
            found.push((deafness.since, until, Arc::clone(source)));
        }
    }
    found.sort_by_key(|it| it.0);
    found
}

/// What would have come of this time if `wanted` had been the registry all along. `sources` are the names of
/// the sources by the numbers that `wanted` knows them by.
///
/// As they were: blindness and absence, pauses, removals, silences, and the troubles of atalaya itself.
/// Maintenance is the registry's. Not replayed: acknowledgements, and receivers that refused.
pub fn replay(history: &History, wanted: &Wanted, sources: &[Arc<str>]) -> Prediction {
    let numbers = numbers(history, sources);
    let known = Known::of(history, &numbers);
    let mut noticed = Vec::new();
    let mut unknown = Vec::new();
    let mut late = Late::new();
    for watched in watches(history, wanted) {
        let Watched { subject, spec: Spec::Agent(spec) } = &watched;
        match known.steps(&subject.watch, spec) {
            Some(steps) => {
                let lane = Lane::new(subject, spec, numbers.len());
                let (said, shown) = lane.run(steps, history.until);
                noticed.extend(said);
                late.insert(subject.watch.clone(), shown);
            }
            None => unknown.push(subject.watch.clone()),
        }
    }
    noticed.extend(telling::parts(history));
    noticed.sort_by_key(|it| it.at);
    let mut troubles = troubles(&noticed);
    troubles.retain(|it| it.until.is_none_or(|until| history.since <= until));
    let mut pages = telling::tell(history, wanted, &noticed, &late);
    pages.retain(|it| history.since <= it.at);
    Prediction { troubles, pages, unknown }
}

/// A number for each source that history names; those that the registry knows keep theirs.
fn numbers(history: &History, sources: &[Arc<str>]) -> HashMap<Arc<str>, SourceId> {
    let of_beats = history.beats.iter().flat_map(|it| {
        let before = it.beat.before.iter().flat_map(|it| &it.over);
        before.chain([&it.beat.source])
    });
    let named: BTreeSet<&Arc<str>> =
        history.deafness.iter().filter_map(|it| it.source.as_ref()).chain(of_beats).collect();
    let others = named.into_iter().filter(|it| !sources.contains(it));
    let all = sources.iter().chain(others);
    all.zip(0..=u8::MAX).map(|(name, number)| (Arc::clone(name), SourceId(number))).collect()
}

/// What the registry declares, and whoever was heard and has no entry, where it takes them in.
fn watches(history: &History, wanted: &Wanted) -> Vec<Watched> {
    let index = wanted.index();
    let facts = history.facts.iter().filter(|it| it.removed_at.is_none()).map(|it| &it.watch);
    let heard: BTreeSet<&WatchId> = history
        .beats
        .iter()
        .map(|it| &it.watch)
        .chain(facts)
        .filter(|it| it.kind == Kind::Agent && index.declared(&it.name).is_none())
        .collect();
    let taken_in = heard.into_iter().filter_map(|it| wanted.undeclared(it));
    wanted.watches.iter().cloned().chain(taken_in.take(wanted.undeclared_max)).collect()
}

/// What agents broke, each from the flip that said so to the one that said otherwise.
fn troubles(noticed: &[Noticed]) -> Vec<Trouble> {
    let mut troubles: Vec<Trouble> = Vec::new();
    let mut open: HashMap<&WatchId, usize> = HashMap::new();
    for Noticed { flip, .. } in noticed {
        let watch = &flip.subject.watch;
        if watch.kind != Kind::Agent || flip.to.suspends() {
            continue;
        }
        let condition = flip.to.condition().filter(|it| *it != Condition::Unwatched);
        if let Some(place) = open.get(watch) {
            if condition == Some(troubles[*place].condition) {
                continue;
            }
            troubles[*place].until = Some(flip.at);
            open.remove(watch);
        }
        if let Some(condition) = condition {
            let silent_since =
                if let Cause::Silence { last, .. } = flip.cause { last } else { None };
            open.insert(watch, troubles.len());
            let watch = watch.clone();
            troubles.push(Trouble { watch, condition, silent_since, at: flip.at, until: None });
        }
    }
    troubles.sort_by(|a, b| (a.at, &a.watch).cmp(&(b.at, &b.watch)));
    troubles
}
