//! Board: the parts of atalaya that can be in trouble (sources, receivers, registry, store), each with
//! its last known state and the flips that nobody has acknowledged yet. Outlives every actor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;

use super::{context::lock, slot::epoch_after};
use crate::domain::{
    id::{Origin, WatchId},
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
    n: u64,
    flips: Vec<Flip>,
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
    entries: Mutex<BTreeMap<WatchId, Entry>>,
}

/// Longest error text that is kept of a part, in characters: a refused registry shows its report.
const DETAIL_CHARACTERS_MAX: usize = 2_000;

impl Board {
    /// `last_epoch` is the newest that the store knows.
    pub fn new(started_at: Timestamp, last_epoch: u64) -> Self {
        let epoch = epoch_after(last_epoch, started_at);
        Self { epoch, entries: Mutex::new(BTreeMap::new()) }
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
        let mut entries = lock(&self.entries);
        let known = entries.contains_key(watch);
        let entry = entries.entry(watch.clone()).or_insert_with(|| Entry {
            subject: Arc::new(subject(watch)),
            trouble: None,
            since: at,
            detail: Text::clean("", 1),
            n: 0,
            flips: Vec::new(),
        });
        let now_in = trouble.map(|it| it.0);
        let detail = Text::clean(trouble.map_or("", |it| it.1), DETAIL_CHARACTERS_MAX);
        if known && entry.trouble == now_in {
            entry.detail = detail;
            return Vec::new();
        }
        entry.n += 1;
        let flip = Flip {
            subject: Arc::clone(&entry.subject),
            epoch: self.epoch,
            n: entry.n,
            from: Verdict::Part(entry.trouble),
            to: Verdict::Part(now_in),
            at,
            cause: if now_in.is_some() { Cause::Fault(detail.clone()) } else { Cause::Hearing },
            task: None,
        };
        (entry.trouble, entry.since, entry.detail) = (now_in, at, detail);
        if entry.flips.len() == FLIPS_MAX {
            entry.flips.pop();
        }
        entry.flips.push(flip.clone());
        vec![flip]
    }

    /// Drops a part that the configuration no longer has; its open incident ends.
    #[must_use]
    pub fn remove(&self, watch: &WatchId, at: Timestamp) -> Vec<Flip> {
        let mut flips = self.set(watch, None, at);
        for flip in &mut flips {
            flip.cause = Cause::Removed;
        }
        flips
    }

    pub fn acknowledge(&self, watch: &WatchId, epoch: u64, n: u64) {
        if epoch == self.epoch
            && let Some(entry) = lock(&self.entries).get_mut(watch)
        {
            entry.flips.retain(|flip| n < flip.n);
        }
    }

    pub fn unacknowledged(&self) -> Vec<Flip> {
        lock(&self.entries).values().flat_map(|entry| entry.flips.iter().cloned()).collect()
    }

    pub fn parts(&self) -> Vec<Part> {
        lock(&self.entries)
            .iter()
            .map(|(watch, entry)| Part {
                watch: watch.clone(),
                trouble: entry.trouble,
                since: entry.since,
                detail: entry.detail.clone(),
            })
            .collect()
    }

    pub fn trouble(&self, watch: &WatchId) -> Option<Option<Condition>> {
        lock(&self.entries).get(watch).map(|entry| entry.trouble)
    }
}

fn subject(watch: &WatchId) -> Subject {
    Subject {
        watch: watch.clone(),
        name: Text::clean(&watch.to_string(), 60),
        origin: Origin::Default("a part of atalaya"),
        notify: Vec::new(),
        severity: Vec::new(),
        self_registered: false,
        aliases: Vec::new(),
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
            flips
                .iter()
                .map(|it| format!("{}→{}", it.from.word(), it.to.word()))
                .collect::<String>()
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
    }
}
