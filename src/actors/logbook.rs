//! Logbook: what history keeps of beats and of our hearing, until the store has it. Outlives every actor;
//! Watches writes it with the facts.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;

use super::{context::lock, ears::Ears};
use crate::domain::{
    hearing::{Hearing, Period},
    history::{BeatRecord, Deafness, Entry, KEPT_SINCE},
    write::Write,
};

/// Entries that wait for a store that refuses. What comes beyond is lost, and that time is told as one in
/// which nobody could hear.
const WAITING_MAX: usize = 20_000;

/// What waits to be written.
#[derive(Default)]
pub struct Logbook(Mutex<Book>);

#[derive(Default)]
struct Book {
    waiting: VecDeque<Write>,
    /// The hearing as far as it was noted.
    noted: Hearing,
    lost_since: Option<Timestamp>,
}

impl Logbook {
    /// A logbook that begins with this entry: since now beats are kept.
    pub fn begun(now: Timestamp) -> Self {
        let logbook = Self::default();
        let value = now.to_string();
        lock(&logbook.0).waiting.push_back(Write::Meta { key: KEPT_SINCE.to_owned(), value });
        logbook
    }

    pub fn beat(&self, record: BeatRecord) {
        let mut book = lock(&self.0);
        let at = record.beat.at;
        book.push(Entry::Beat(record), at);
    }

    /// What waits, the oldest first, so many at most; and what changed in the hearing meanwhile.
    pub fn take(&self, ears: &Ears, now: Timestamp, limit: usize) -> Vec<Write> {
        let hearing = ears.hearing();
        let mut book = lock(&self.0);
        if book.waiting.len() < WAITING_MAX
            && let Some(since) = book.lost_since.take()
        {
            for source in ears.sources() {
                let source = Some(Arc::from(ears.name_of(source)));
                book.push(Entry::Deafness(Deafness { source, since, until: Some(now) }), since);
            }
            // What was lost may have been of the hearing.
            book.noted = Hearing::default();
        }
        for deafness in changes(&book.noted, &hearing, ears) {
            book.push(Entry::Deafness(deafness), now);
        }
        book.noted = Hearing::clone(&hearing);
        book.waiting.iter().take(limit).cloned().collect()
    }

    /// The oldest so many are in the store.
    pub fn stored(&self, count: usize) {
        let mut book = lock(&self.0);
        let count = count.min(book.waiting.len());
        book.waiting.drain(..count);
    }
}

impl Book {
    fn push(&mut self, entry: Entry, at: Timestamp) {
        if WAITING_MAX <= self.waiting.len() {
            self.lost_since.get_or_insert(at);
        } else {
            self.waiting.push_back(Write::History(Box::new(entry)));
        }
    }
}

/// Periods and shifts that are new, or ended since.
fn changes(before: &Hearing, after: &Hearing, ears: &Ears) -> Vec<Deafness> {
    let mut changed = Vec::new();
    for (id, source) in ears.sources().zip(&after.sources) {
        let known: &[Period] = before.source(id).map_or(&[], |it| &it.periods);
        for period in source.periods.iter().filter(|it| !known.contains(it)) {
            let source = Some(Arc::from(ears.name_of(id)));
            changed.push(Deafness { source, since: period.since, until: period.until });
        }
    }
    for (at, length) in after.shifts.iter().filter(|it| !before.shifts.contains(it)) {
        let since = at.checked_sub(*length).unwrap_or(Timestamp::MIN);
        changed.push(Deafness { source: None, since, until: Some(*at) });
    }
    changed
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::{
        id::SourceId,
        watch::{
            agent::Notable,
            beat::{Busy, Report},
        },
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn record(second: i64) -> BeatRecord {
        let beat = Notable {
            at: at(second),
            source: Arc::from("redis"),
            report: Report::Alive,
            busy: Busy::Keep,
            advanced: false,
            before: None,
        };
        BeatRecord { watch: "agent/mary".parse().unwrap(), beat }
    }

    /// `redis 50-80`, `beat 7`, in order.
    fn told(writes: &[Write]) -> String {
        let second = |it: Timestamp| it.as_second().to_string();
        let line = |write: &Write| {
            let Write::History(entry) = write else { panic!("not the logbook's: {write:?}") };
            match &**entry {
                Entry::Beat(record) => format!("beat {}", second(record.beat.at)),
                Entry::Deafness(Deafness { source, since, until }) => format!(
                    "{} {}-{}",
                    source.as_deref().unwrap_or("clock"),
                    second(*since),
                    until.map(second).unwrap_or_default()
                ),
            }
        };
        writes.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_change_of_the_hearing_is_noted_once_and_what_waits_stays_until_it_is_stored() {
        let ears = Ears::new(&["http", "redis"], at(0), at(100), SignedDuration::ZERO);
        let logbook = Logbook::default();
        logbook.beat(record(7));
        let taken = logbook.take(&ears, at(101), 9);
        assert_eq!(told(&taken), "beat 7, http 0-, redis 0-");
        ears.proved(SourceId(1), at(102), at(102));
        ears.notice(at(104), SignedDuration::ZERO);
        let taken = logbook.take(&ears, at(105), 9);
        assert_eq!(told(&taken), "beat 7, http 0-, redis 0-, redis 0-102, clock 100-104");
        logbook.stored(2);
        assert_eq!(told(&logbook.take(&ears, at(106), 2)), "redis 0-, redis 0-102");
    }

    #[test]
    fn what_had_no_room_is_told_as_time_in_which_nobody_could_hear() {
        let ears = Ears::new(&["redis"], at(0), at(1), SignedDuration::ZERO);
        let logbook = Logbook::default();
        for second in (0..).take(WAITING_MAX + 5) {
            logbook.beat(record(second));
        }
        let taken = logbook.take(&ears, at(90_000), usize::MAX);
        assert_eq!(taken.len(), WAITING_MAX);
        logbook.stored(taken.len());
        let said = "redis 20000-90005, redis 0-";
        assert_eq!(told(&logbook.take(&ears, at(90_005), 9)), said);
        assert_eq!(told(&logbook.take(&ears, at(90_006), 9)), said, "once");
    }
}
