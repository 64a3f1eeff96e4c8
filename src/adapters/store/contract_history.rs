//! The contract of a store, of what judges a time again: kept beats and times in which we could not hear.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    contract::{Bench, stand},
    contract_samples::{at, facts, flip, mary, silence, text},
};
use crate::domain::{
    detector::Rhythm,
    history::{BeatRecord, Deafness, Entry, KEPT_SINCE},
    id::{Kind, WatchId},
    silence::Target,
    watch::{
        agent::{Before, Notable},
        beat::{Busy, Report},
    },
    write::{Facts, Write},
};

/// A kept beat with every field set.
fn record(watch: &WatchId, second: i64) -> BeatRecord {
    let rhythm = Rhythm { count: 7, mean: 30.5, variance: 2.25, longest: 33.0, recent: Vec::new() };
    let before = Before {
        last: at(second - 90),
        advanced: Some(at(second - 300)),
        over: vec!["redis".into(), "http".into()],
        rhythm,
    };
    let beat = Notable {
        at: at(second),
        source: "redis".into(),
        report: Report::Fail { exit: Some(3) },
        busy: Busy::Until { op: text("build"), for_: SignedDuration::from_mins(5) },
        advanced: true,
        before: Some(before),
    };
    BeatRecord { watch: watch.clone(), beat }
}

fn deafness(source: Option<&str>, since: i64, until: Option<i64>) -> Deafness {
    Deafness { source: source.map(Arc::from), since: at(since), until: until.map(at) }
}

fn beat(record: &BeatRecord) -> Write {
    Write::History(Box::new(Entry::Beat(record.clone())))
}

fn deaf(deafness: &Deafness) -> Write {
    Write::History(Box::new(Entry::Deafness(deafness.clone())))
}

fn kept_since(at: Timestamp) -> Write {
    Write::Meta { key: KEPT_SINCE.to_owned(), value: at.to_string() }
}

pub(super) async fn a_time_comes_back_with_what_was_known_at_its_beginning(bench: &impl Bench) {
    let lisa = WatchId::new(Kind::Agent, "lisa");
    let beats =
        [record(&mary(), 100), record(&lisa, 150), record(&mary(), 200), record(&mary(), 400)];
    let over = deafness(Some("redis"), 10, Some(50));
    let lasting = deafness(Some("http"), 20, None);
    let ended = deafness(Some("redis"), 250, Some(300));
    let shift = deafness(None, 310, Some(314));
    let silences = [silence(1, Target::Watch(mary())), silence(2, Target::Watch(lisa.clone()))];
    let mut writes = vec![kept_since(at(0)), Write::Facts(Box::new(facts(&mary(), 1)))];
    writes.extend(beats.iter().map(beat));
    writes.extend([&over, &lasting, &deafness(Some("redis"), 250, None), &ended, &shift].map(deaf));
    writes.extend([Write::Flip(flip(&mary(), 1, 180)), Write::Flip(flip(&mary(), 2, 205))]);
    writes.extend(silences.iter().cloned().map(|it| Write::Silence(Box::new(it))));
    writes.push(Write::SilenceEnded { id: 1, at: at(61) });
    stand(&*bench.store(), writes).await;
    // The same once more: the writer did not hear that it stands.
    stand(&*bench.store(), beats.iter().map(beat).collect()).await;

    let store = bench.restarted();
    store.commit(Vec::new(), at(500)).await.unwrap();
    let history = store.history(at(190)).await.unwrap();
    assert_eq!((history.since, history.until), (at(190), at(500)));
    assert_eq!(history.beats, beats, "the newest of each before it comes along");
    assert_eq!(history.deafness, [lasting, ended, shift]);
    assert_eq!(history.flips, [flip(&mary(), 2, 205)]);
    assert_eq!(history.facts, [facts(&mary(), 1)]);
    assert_eq!(history.silences, [(silences[1].clone(), None)]);
    let history = store.history(at(-900)).await.unwrap();
    assert_eq!(history.since, at(0), "beats are kept since then");
    assert_eq!(history.silences[0].1, Some(at(61)));
}

pub(super) async fn history_is_pruned_by_age_and_by_number(bench: &impl Bench) {
    let store = bench.store();
    let mut writes = vec![kept_since(at(0))];
    writes.extend((0..1_600).map(|it| beat(&record(&mary(), it))));
    writes.extend((0..1_600).map(|it| deaf(&deafness(Some("redis"), it, Some(it + 1)))));
    writes.push(Write::Facts(Box::new(Facts { removed_at: None, ..facts(&mary(), 1) })));
    stand(&*store, writes).await;
    assert_eq!(store.prune(at(2_000)).await.unwrap(), 100);
    let history = store.history(at(0)).await.unwrap();
    assert_eq!((history.beats.len(), history.since), (1_500, at(100)), "it is known since then");
    let old = 30 * 24 * 3_600;
    assert_eq!(store.prune(at(old + 1_000)).await.unwrap(), 900 + 999);
    assert_eq!(store.history(at(0)).await.unwrap().beats.len(), 600);
}
