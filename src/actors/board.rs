//! Board: the parts of atalaya that can be in trouble (sources, receivers, registry, store), each with
//! its last known state and the flips that nobody has acknowledged yet. Outlives every actor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;

use super::{context::lock, slot::epoch_after};
use crate::domain::{
    id::WatchId,
    text::Text,
    watch::{Cause, Condition, Flip, Subject, Verdict},
};

/// Unacknowledged flips kept per part; beyond that the newest replaces the one before it.
const FLIPS_MAX: usize = 8;

#[derive(Debug, Clone)]
struct Entry {
    subject: Arc<Subject>,
    trouble: Option<Condition>,
    since: Timestamp,
    detail: Text,
    flips: Vec<Flip>,
    /// Something was said of it in this run.
    said: bool,
}

impl Entry {
    fn new(watch: &WatchId, at: Timestamp) -> Self {
        Self {
            subject: Arc::new(Subject::of_part(watch)),
            trouble: None,
            since: at,
            detail: Text::clean("", 1),
            flips: Vec::new(),
            said: false,
        }
    }
}

/// One part, as `status` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub watch: WatchId,
    /// None: well.
    pub trouble: Option<Condition>,
    pub since: Timestamp,
    /// The error as an operator reads it.
    pub detail: Text,
}

pub struct Board {
    /// One life of the board is one run of the process.
    epoch: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The newest flip of all parts: a part that is forgotten and comes back within the epoch goes on
    /// above its old numbers, else the desk would take its flips for seen.
    n: u64,
    entries: BTreeMap<WatchId, Entry>,
}

/// Longest error text that is kept of a part, in characters: a refused registry shows its report.
const DETAIL_CHARACTERS_MAX: usize = 2_000;

impl Board {
    /// `last_epoch` is the newest that the store knows.
    pub fn new(started_at: Timestamp, last_epoch: u64) -> Self {
        let epoch = epoch_after(last_epoch, started_at);
        Self { epoch, known: Mutex::default() }
    }

    /// Records how a part is; returns the flip to tell, if that is news. The first word about a part is
    /// always told (as a restatement when it is well), because an incident of an earlier run may be open.
    #[must_use]
    pub fn set(
        &self,
        watch: &WatchId,
        trouble: Option<(Condition, &str)>,
        at: Timestamp,
    ) -> Vec<Flip> {
        let mut known = lock(&self.known);
        let Known { n, entries } = &mut *known;
        let entry = entries.entry(watch.clone()).or_insert_with(|| Entry::new(watch, at));
        let spoken_of = std::mem::replace(&mut entry.said, true);
        let now_in = trouble.map(|it| it.0);
        let detail = Text::clean(trouble.map_or("", |it| it.1), DETAIL_CHARACTERS_MAX);
        let same = spoken_of && entry.trouble == now_in;
        // A second bad edit has other mistakes, and whoever mends it reads the incident. A source's words
        // vary with each try, and are no news.
        let is_edit = matches!(now_in, Some(Condition::Refused | Condition::Held));
        if same && !(is_edit && entry.detail != detail) {
            entry.detail = detail;
            return Vec::new();
        }
        *n += 1;
        let flip = Flip {
            subject: Arc::clone(&entry.subject),
            epoch: self.epoch,
            n: *n,
            from: Verdict::Part(entry.trouble),
            to: Verdict::Part(now_in),
            at,
            cause: if now_in.is_some() { Cause::Fault(detail.clone()) } else { Cause::Hearing },
            task: None,
        };
        if !same {
            entry.since = at;
        }
        (entry.trouble, entry.detail) = (now_in, detail);
        if entry.flips.len() == FLIPS_MAX {
            entry.flips.pop();
        }
        entry.flips.push(flip.clone());
        vec![flip]
    }

    /// A part that the configuration has and of which nothing is known yet.
    pub fn announce(&self, watch: &WatchId, at: Timestamp) {
        lock(&self.known).entries.entry(watch.clone()).or_insert_with(|| Entry::new(watch, at));
    }

    /// A part that the configuration no longer has; the IncidentManager's audit ends its incident.
    pub fn forget(&self, watch: &WatchId) {
        lock(&self.known).entries.remove(watch);
    }

    pub fn acknowledge(&self, watch: &WatchId, epoch: u64, n: u64) {
        if epoch == self.epoch
            && let Some(entry) = lock(&self.known).entries.get_mut(watch)
        {
            entry.flips.retain(|flip| n < flip.n);
        }
    }

    pub fn unacknowledged(&self) -> Vec<Flip> {
        lock(&self.known).entries.values().flat_map(|entry| entry.flips.iter().cloned()).collect()
    }

    pub fn parts(&self) -> Vec<Part> {
        lock(&self.known)
            .entries
            .iter()
            .map(|(watch, entry)| Part {
                watch: watch.clone(),
                trouble: entry.trouble,
                since: entry.since,
                detail: entry.detail.clone(),
            })
            .collect()
    }

    /// How it is; none when nothing was said of it in this run.
    pub fn trouble(&self, watch: &WatchId) -> Option<Option<Condition>> {
        lock(&self.known).entries.get(watch).filter(|entry| entry.said).map(|entry| entry.trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_told_once_per_change_and_first_of_all_restated() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let board = Board::new(at(1), 0);
        let redis: WatchId = "source/redis".parse().unwrap();
        let told = |flips: Vec<Flip>| {
            let one = |it: &Flip| format!("{}→{}", it.from.word(), it.to.word());
            flips.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(board.set(&redis, None, at(1))), "up→up");
        assert_eq!(told(board.set(&redis, None, at(2))), "");
        assert_eq!(told(board.set(&redis, Some((Condition::Blind, "refused")), at(3))), "up→blind");
        assert_eq!(told(board.set(&redis, Some((Condition::Blind, "still")), at(4))), "");
        assert_eq!(board.parts()[0].detail.as_str(), "still");
        assert_eq!(told(board.set(&redis, None, at(5))), "blind→up");
        assert_eq!(board.unacknowledged().len(), 3);
        board.acknowledge(&redis, board.epoch, 2);
        assert_eq!(board.unacknowledged().len(), 1);

        let registry: WatchId = "self/registry".parse().unwrap();
        let edit = |why, second| board.set(&registry, Some((Condition::Refused, why)), at(second));
        assert_eq!(told(edit("line 3", 6)), "up→refused");
        assert_eq!(told(edit("line 3", 7)), "");
        assert_eq!(told(edit("line 9", 8)), "refused→refused", "other mistakes are news");
        let part = board.parts().into_iter().find(|it| it.watch == registry).unwrap();
        assert_eq!((part.since, part.detail.as_str()), (at(6), "line 9"));
    }

    #[test]
    fn a_part_that_was_forgotten_and_comes_back_counts_on() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let board = Board::new(at(1), 0);
        let (phone, hook): (WatchId, WatchId) =
            ("receiver/phone".parse().unwrap(), "receiver/hook".parse().unwrap());
        let refuses = Some((Condition::Undeliverable, "blocked"));
        let flip = |watch, trouble, second| board.set(watch, trouble, at(second)).remove(0);
        let before =
            [flip(&phone, refuses, 1), flip(&hook, None, 2), flip(&phone, None, 3)].map(|it| it.n);
        board.forget(&phone);
        board.announce(&phone, at(4));
        let after = flip(&phone, refuses, 5);
        assert_eq!((after.epoch, after.from), (board.epoch, Verdict::Part(None)));
        assert!(before.is_sorted() && before[2] < after.n, "{before:?}, then {}", after.n);
    }
}
