//! The contract of a store: what every adapter must keep, told once. An adapter joins by a [`Bench`].

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

pub(super) use super::contract_deliveries::{
    a_key_is_owed_once, references_name_the_newest_message,
    rows_that_were_being_sent_are_owed_in_their_order,
    what_a_dry_run_would_have_sent_is_found_by_its_time,
};
pub(super) use super::contract_history::{
    a_time_comes_back_with_what_was_known_at_its_beginning, history_is_pruned_by_age_and_by_number,
};
use super::{
    ROW_BYTES_MAX, Retention,
    contract_samples::{
        at, decision, delivery, facts, flip, group, incident, mary, message, outcome, owed,
        resolved, silence, text,
    },
};
use crate::{
    domain::{
        decision::Decision,
        delivery::{Body, Delivery, Event, State},
        desk::Restored,
        id::{DeliveryId, GroupId, IncidentId, Kind, WatchId},
        incident::Incident,
        silence::Target,
        watch::Condition,
        write::{Facts, Write},
    },
    ports::store::{Commit, IncidentFilter, Opened, Refused, SharedStore, Store},
};

/// What a test needs of an adapter.
pub(super) trait Bench {
    fn store(&self) -> SharedStore;

    /// A new process over the same rows.
    fn restarted(&self) -> SharedStore;

    /// Makes an incident's row unreadable.
    fn garble(&self, incident: IncidentId);
}

/// Keeping times of the benches: small numbers of rows, the usual times.
pub(super) fn retention() -> Retention {
    Retention { decisions_max: 2_500, flips_max: 1_500, beats_max: 1_500, ..Retention::default() }
}

/// Runs every story on a bench.
macro_rules! contract {
    ($($story:ident),* $(,)?) => {
        /// One test per story, on the bench that `$make` gives.
        macro_rules! keeps_the_contract {
            ($make:expr) => { $(
                #[tokio::test]
                async fn $story() {
                    let bench = $make;
                    crate::adapters::store::contract::$story(&bench).await;
                }
            )* };
        }
        pub(super) use keeps_the_contract;
    };
}

contract!(
    an_empty_store_holds_nothing,
    what_was_written_comes_back_after_a_restart,
    a_refused_commit_leaves_no_trace_and_the_others_stand,
    a_replaced_writer_is_refused,
    a_commit_that_stands_is_not_applied_again,
    one_trouble_has_one_open_incident,
    a_key_is_owed_once,
    what_a_dry_run_would_have_sent_is_found_by_its_time,
    every_commit_is_a_stamp_of_life,
    incidents_resolved_within_the_window_come_back,
    rows_that_were_being_sent_are_owed_in_their_order,
    references_name_the_newest_message,
    history_is_told_oldest_first_and_the_newest_of_it,
    a_row_set_aside_is_kept_and_hinders_nobody,
    a_garbled_row_is_named_and_stops_nothing,
    pruning_takes_what_is_over_and_nothing_else,
    history_has_a_bounded_size,
    the_same_commit_again_changes_nothing,
    a_removed_watch_comes_back_in_a_new_life_only,
    a_time_comes_back_with_what_was_known_at_its_beginning,
    history_is_pruned_by_age_and_by_number,
);

pub(super) fn commit(writes: Vec<Write>) -> Commit {
    static SEQUENCE: AtomicU64 = AtomicU64::new(1);
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    Commit { writer: "incidents", incarnation: 1, sequence, writes }
}

/// Commits and expects all of it to stand.
pub(super) async fn stand(store: &dyn Store, writes: Vec<Write>) {
    let results = store.commit(vec![commit(writes)], at(0)).await.expect("the store works");
    assert_eq!(results, [Ok(())]);
}

fn all() -> IncidentFilter {
    IncidentFilter { all: true, limit: 100, ..IncidentFilter::default() }
}

fn ids(incidents: &[Incident]) -> Vec<u64> {
    incidents.iter().map(|it| it.id.0).collect()
}

/// The deliveries alone that tell of an incident.
async fn rows_of(store: &dyn Store, incident: u64) -> Vec<Delivery> {
    let told = store.deliveries_of(IncidentId(incident)).await.unwrap();
    told.into_iter().map(|(it, _)| it).collect()
}

pub(super) fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|it| it.id.0).collect()
}

pub(super) async fn an_empty_store_holds_nothing(bench: &impl Bench) {
    let store = bench.store();
    assert_eq!(store.open().await.unwrap(), Opened::default());
    let (restored, unreadable) = store.desk(at(0)).await.unwrap();
    assert_eq!(restored, Restored::default());
    assert_eq!(unreadable, [""; 0]);
    assert_eq!(store.owed(None, 10).await.unwrap(), []);
    assert_eq!(store.references().await.unwrap(), []);
    assert_eq!(store.delivery(DeliveryId(1)).await.unwrap(), None);
    assert_eq!(store.meta("registry").await.unwrap(), None);
    assert_eq!(store.prune(at(0)).await.unwrap(), 0);
}

pub(super) async fn what_was_written_comes_back_after_a_restart(bench: &impl Bench) {
    let redis = WatchId::new(Kind::Source, "redis");
    let incident = incident(412, &mary(), Condition::Down);
    let groups = [group(3, &[412], true), group(4, &[], false)];
    let silences = [
        silence(1, Target::Watch(mary())),
        silence(2, Target::Pattern("agent/w-*".into())),
        silence(3, Target::Group("coding".parse().expect("a name"))),
    ];
    let event = Event {
        event: "opened",
        incident: r#"{"id":412}"#.into(),
        status: "open",
        message: "Mary is down".into(),
        source: "registry",
    };
    let deliveries = [
        owed(1, "telegram"),
        delivery(2, "telegram", Body::Edit { message: message() }),
        delivery(3, "hook", Body::Event(event)),
    ];
    let mut writes = vec![
        Write::Facts(Box::new(facts(&mary(), 7))),
        Write::Flip(flip(&mary(), 7, 1)),
        Write::Flip(flip(&redis, 3, 1)),
        Write::Incident(Box::new(incident.clone())),
        Write::Meta { key: "registry".into(), value: "[[agent]]".into() },
    ];
    writes.extend(groups.iter().cloned().map(|it| Write::Group(Box::new(it))));
    writes.extend(silences.iter().cloned().map(|it| Write::Silence(Box::new(it))));
    writes.extend(deliveries.iter().cloned().map(|it| Write::Delivery(Box::new(it))));
    stand(&*bench.store(), writes).await;

    let store = bench.restarted();
    let opened = store.open().await.unwrap();
    assert_eq!(opened.life_stamp, Some(at(0)));
    assert_eq!(opened.facts, [facts(&mary(), 7)]);
    let (restored, unreadable) = store.desk(at(0)).await.unwrap();
    assert_eq!(unreadable, [""; 0]);
    assert_eq!(restored.incidents, [incident]);
    assert_eq!(restored.groups, groups);
    assert_eq!(restored.silences, silences);
    let seen = HashMap::from([(mary(), (u64::MAX - 1, 7)), (redis, (u64::MAX - 1, 3))]);
    assert_eq!(restored.seen, seen);
    let last = (restored.last_incident, restored.last_group, restored.last_delivery);
    assert_eq!((last, restored.last_silence), ((412, 4, 3), 3));
    assert_eq!(store.owed(None, 10).await.unwrap(), deliveries);
    assert_eq!(rows_of(&*store, 9).await, deliveries);
    assert_eq!(store.delivery(DeliveryId(2)).await.unwrap().as_ref(), Some(&deliveries[1]));
    assert_eq!(store.meta("registry").await.unwrap().as_deref(), Some("[[agent]]"));
}

pub(super) async fn a_refused_commit_leaves_no_trace_and_the_others_stand(bench: &impl Bench) {
    let store = bench.store();
    let meta = |key: &str| Write::Meta { key: key.into(), value: "x".into() };
    let down = |id| Write::Incident(Box::new(incident(id, &mary(), Condition::Down)));
    let large = Write::Meta { key: "large".into(), value: "x".repeat(ROW_BYTES_MAX + 1) };
    let commits = vec![
        commit(vec![meta("first"), down(1)]),
        commit(vec![meta("second"), Write::Delivery(Box::new(owed(1, "hook"))), down(2)]),
        commit(vec![meta("third")]),
        commit(vec![meta("fourth"), large]),
    ];
    let results = store.commit(commits, at(5)).await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false]);
    for (key, stands) in [("first", true), ("second", false), ("third", true), ("fourth", false)] {
        assert_eq!(store.meta(key).await.unwrap().is_some(), stands, "{key}");
    }
    assert_eq!(store.owed(None, 10).await.unwrap(), []);
    assert_eq!(ids(&store.incidents(all()).await.unwrap()), [1]);
}

pub(super) async fn a_replaced_writer_is_refused(bench: &impl Bench) {
    let store = bench.store();
    let by = |writer, incarnation| Commit {
        writer,
        incarnation,
        sequence: 1,
        writes: vec![Write::Meta { key: format!("{writer}{incarnation}"), value: "x".into() }],
    };
    let results =
        store.commit(vec![by("a", 2), by("a", 1), by("b", 1), by("a", 2)], at(0)).await.unwrap();
    let fenced = Refused::Fenced { writer: "a", incarnation: 1, newest: 2 };
    assert_eq!(results, [Ok(()), Err(fenced.clone()), Ok(()), Ok(())]);
    assert_eq!(store.commit(vec![by("a", 1)], at(1)).await.unwrap(), [Err(fenced)]);
    assert_eq!(store.meta("a1").await.unwrap(), None);
    // A new process counts from anew.
    assert_eq!(bench.restarted().commit(vec![by("a", 1)], at(2)).await.unwrap(), [Ok(())]);
}

pub(super) async fn a_commit_that_stands_is_not_applied_again(bench: &impl Bench) {
    let store = bench.store();
    let write = |value: &str| Write::Meta { key: "k".into(), value: value.into() };
    let first = commit(vec![write("first")]);
    store.commit(vec![first.clone()], at(0)).await.unwrap();
    store.commit(vec![commit(vec![write("second")])], at(1)).await.unwrap();
    assert_eq!(store.commit(vec![first], at(2)).await.unwrap(), [Ok(())]);
    assert_eq!(store.meta("k").await.unwrap().as_deref(), Some("second"));
}

pub(super) async fn one_trouble_has_one_open_incident(bench: &impl Bench) {
    let store = bench.store();
    let try_one = async |incident: Incident| {
        let writes = vec![Write::Incident(Box::new(incident))];
        store.commit(vec![commit(writes)], at(0)).await.unwrap().remove(0).is_ok()
    };
    let open = |id| incident(id, &mary(), Condition::Stalled);
    assert!(try_one(open(1)).await);
    assert!(try_one(Incident { revision: 9, ..open(1) }).await, "the same one changes");
    assert!(!try_one(open(2)).await, "a second one");
    assert!(try_one(incident(3, &mary(), Condition::Down)).await, "another condition");
    assert!(try_one(resolved(1, &mary(), 9)).await);
    assert!(try_one(open(2)).await, "after the first has ended");
    assert!(!try_one(open(1)).await, "the first reopens beside the second");
    let both = vec![
        Write::Incident(Box::new(resolved(2, &mary(), 9))),
        Write::Incident(Box::new(open(1))),
    ];
    stand(&*store, both).await;
    let found = store.incidents(IncidentFilter { limit: 10, ..IncidentFilter::default() }).await;
    assert_eq!(ids(&found.unwrap()), [3, 1]);
}

pub(super) async fn every_commit_is_a_stamp_of_life(bench: &impl Bench) {
    let store = bench.store();
    for (second, commits) in [(1, vec![]), (2, vec![commit(vec![])]), (3, vec![])] {
        store.commit(commits, at(second)).await.unwrap();
        assert_eq!(bench.restarted().open().await.unwrap().life_stamp, Some(at(second)));
    }
}

pub(super) async fn incidents_resolved_within_the_window_come_back(bench: &impl Bench) {
    let store = bench.store();
    let lisa = WatchId::new(Kind::Agent, "lisa");
    let mut writes: Vec<Write> =
        [resolved(1, &mary(), 100), resolved(2, &mary(), 200), incident(3, &lisa, Condition::Down)]
            .map(|it| Write::Incident(Box::new(it)))
            .into();
    writes.extend(
        [
            group(1, &[1], true),
            group(2, &[1, 2], true),
            group(3, &[3], true),
            group(4, &[1], false),
        ]
        .map(|it| Write::Group(Box::new(it))),
    );
    writes.push(Write::Silence(Box::new(silence(7, Target::Watch(mary())))));
    writes.push(Write::SilenceEnded { id: 7, at: at(61) });
    stand(&*store, writes).await;
    let (restored, _) = store.desk(at(150)).await.unwrap();
    assert_eq!(ids(&restored.incidents), [2, 3]);
    assert_eq!(restored.groups.iter().map(|it| it.id.0).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(restored.silences, []);
    assert_eq!(restored.last_silence, 7);
    assert_eq!(ids(&store.incidents(all()).await.unwrap()), [3, 2, 1]);
    let open = IncidentFilter { limit: 10, ..IncidentFilter::default() };
    assert_eq!(ids(&store.incidents(open).await.unwrap()), [3]);
    let of_mary = IncidentFilter { watch: Some(mary()), limit: 1, ..all() };
    assert_eq!(ids(&store.incidents(of_mary).await.unwrap()), [2]);
    let one = IncidentFilter { id: Some(IncidentId(1)), ..all() };
    assert_eq!(store.incidents(one).await.unwrap(), [resolved(1, &mary(), 100)]);
}

pub(super) async fn history_is_told_oldest_first_and_the_newest_of_it(bench: &impl Bench) {
    let store = bench.store();
    let lisa = WatchId::new(Kind::Agent, "lisa");
    let decisions = [
        decision(&mary(), None, 5),
        decision(&mary(), Some(412), 3),
        decision(&mary(), Some(413), 9),
        decision(&lisa, Some(412), 4),
        Decision { rule: text("second of one moment"), ..decision(&mary(), None, 5) },
    ];
    let flips = [flip(&mary(), 1, 1), flip(&mary(), 2, 8), flip(&lisa, 1, 3), flip(&mary(), 3, 9)];
    let mut writes: Vec<Write> =
        decisions.iter().cloned().map(|it| Write::Decision(Box::new(it))).collect();
    writes.extend(flips.iter().cloned().map(Write::Flip));
    stand(&*store, writes).await;
    let [first, second, third, _, last] = decisions;
    let found = store.decisions(mary(), None, 10).await.unwrap();
    assert_eq!(found, [second.clone(), first, last.clone(), third.clone()]);
    assert_eq!(store.decisions(mary(), None, 2).await.unwrap(), [last, third]);
    let of_one = store.decisions(mary(), Some(IncidentId(412)), 10).await.unwrap();
    assert_eq!(of_one, [second]);
    let [early, middle, _, late] = flips;
    assert_eq!(
        store.flips(mary(), at(1), 10).await.unwrap(),
        [early, middle.clone(), late.clone()]
    );
    assert_eq!(store.flips(mary(), at(2), 10).await.unwrap(), [middle, late.clone()]);
    assert_eq!(store.flips(mary(), at(1), 1).await.unwrap(), [late]);
}

pub(super) async fn a_row_set_aside_is_kept_and_hinders_nobody(bench: &impl Bench) {
    let store = bench.store();
    let poison = incident(1, &mary(), Condition::Down);
    stand(&*store, vec![Write::Incident(Box::new(poison))]).await;
    let aside = Write::SetAside { incident: IncidentId(1) };
    store.commit(vec![commit(vec![aside])], at(0)).await.unwrap();
    let (restored, _) = bench.restarted().desk(at(0)).await.unwrap();
    assert_eq!(restored.incidents, []);
    assert_eq!(restored.last_incident, 1, "its number is not used again");
    assert_eq!(store.incidents(all()).await.unwrap(), []);
    stand(&*store, vec![Write::Incident(Box::new(incident(2, &mary(), Condition::Down)))]).await;
}

pub(super) async fn a_garbled_row_is_named_and_stops_nothing(bench: &impl Bench) {
    let lisa = WatchId::new(Kind::Agent, "lisa");
    let writes = [incident(1, &mary(), Condition::Down), incident(2, &lisa, Condition::Down)]
        .map(|it| Write::Incident(Box::new(it)));
    stand(&*bench.store(), writes.into()).await;
    bench.garble(IncidentId(1));
    let store = bench.restarted();
    assert_eq!(ids(&store.incidents(all()).await.unwrap()), [2]);
    let (restored, unreadable) = store.desk(at(0)).await.unwrap();
    assert_eq!(ids(&restored.incidents), [2]);
    assert!(matches!(&unreadable[..], [one] if one.starts_with("incident 1: ")), "{unreadable:?}");
    let (_, unreadable) = bench.restarted().desk(at(0)).await.unwrap();
    assert_eq!(unreadable, [""; 0], "it was set aside");
    stand(&*store, vec![Write::Incident(Box::new(incident(3, &mary(), Condition::Down)))]).await;
}

pub(super) async fn pruning_takes_what_is_over_and_nothing_else(bench: &impl Bench) {
    let store = bench.store();
    let lisa = WatchId::new(Kind::Agent, "lisa");
    let removed = Facts { removed_at: Some(at(0)), ..facts(&lisa, 1) };
    let mut writes = vec![
        Write::Facts(Box::new(facts(&mary(), 1))),
        Write::Facts(Box::new(removed)),
        Write::Flip(flip(&mary(), 1, 0)),
        Write::Decision(Box::new(decision(&mary(), None, 0))),
        Write::Incident(Box::new(resolved(1, &mary(), 0))),
        Write::Incident(Box::new(incident(2, &mary(), Condition::Down))),
        Write::Incident(Box::new(resolved(3, &mary(), 0))),
        Write::Silence(Box::new(silence(1, Target::Watch(mary())))),
        Write::Silence(Box::new(silence(2, Target::Watch(lisa)))),
        Write::Silence(Box::new(silence(3, Target::Watch(mary())))),
        Write::SilenceEnded { id: 1, at: at(0) },
        Write::SilenceEnded { id: 3, at: at(0) },
        Write::Meta { key: "registry".into(), value: "kept".into() },
    ];
    writes.extend((1..=4).map(|id| Write::Delivery(Box::new(owed(id, "telegram")))));
    writes.extend([outcome(1, State::Sent, 0), outcome(4, State::Failed, 0)]);
    writes.extend(
        [group(1, &[1], true), group(2, &[2], true), group(3, &[1], false), group(4, &[1], true)]
            .map(|it| Write::Group(Box::new(it))),
    );
    writes.extend((1..=4).map(|it| Write::Reference { group: GroupId(it), reference: "1".into() }));
    stand(&*store, writes).await;

    let day = 24 * 3_600;
    assert_eq!(store.prune(at(day - 1)).await.unwrap(), 0);
    assert_eq!(store.prune(at(day + 1)).await.unwrap(), 1, "the facts of a removed watch");
    let facts_left = store.open().await.unwrap().facts;
    assert_eq!(facts_left, [facts(&mary(), 1)]);
    // Decision, flip, delivery 1, group 1 and its reference, silence 1.
    assert_eq!(store.prune(at(31 * day)).await.unwrap(), 6);
    assert_eq!(store.prune(at(366 * day)).await.unwrap(), 1, "incident 1");
    assert_eq!(store.prune(at(999 * day)).await.unwrap(), 0);

    let (restored, _) = store.desk(at(0)).await.unwrap();
    assert_eq!(ids(&restored.incidents), [2, 3], "an open one, and the highest number");
    assert_eq!(restored.groups.iter().map(|it| it.id.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(restored.silences.iter().map(|it| it.id).collect::<Vec<_>>(), [2]);
    let last = (restored.last_incident, restored.last_group, restored.last_delivery);
    assert_eq!((last, restored.last_silence), ((3, 4, 4), 3));
    assert_eq!(numbers(&store.owed(None, 10).await.unwrap()), [2, 3]);
    assert_eq!(numbers(&rows_of(&*store, 412).await), [2, 3, 4]);
    assert_eq!(store.references().await.unwrap().len(), 3);
    assert!(store.meta("registry").await.unwrap().is_some());
    assert_eq!(store.decisions(mary(), None, 10).await.unwrap(), []);
}

pub(super) async fn history_has_a_bounded_size(bench: &impl Bench) {
    let store = bench.store();
    let mut writes: Vec<Write> =
        (0..4_000).map(|it| Write::Decision(Box::new(decision(&mary(), None, it)))).collect();
    writes.extend((0..2_000_u32).map(|it| Write::Flip(flip(&mary(), it.into(), it.into()))));
    stand(&*store, writes).await;
    assert_eq!(store.prune(at(4_000)).await.unwrap(), 1_500 + 500);
    let decisions = store.decisions(mary(), None, 9_999).await.unwrap();
    assert_eq!((decisions.len(), decisions[0].at), (2_500, at(1_500)));
    let flips = store.flips(mary(), at(0), 9_999).await.unwrap();
    assert_eq!((flips.len(), flips[0].at), (1_500, at(500)));
}

pub(super) async fn the_same_commit_again_changes_nothing(bench: &impl Bench) {
    let store = bench.store();
    let writes = vec![
        Write::Facts(Box::new(facts(&mary(), 1))),
        Write::Flip(flip(&mary(), 1, 0)),
        Write::Incident(Box::new(incident(1, &mary(), Condition::Down))),
        Write::Delivery(Box::new(owed(1, "telegram"))),
        Write::Group(Box::new(group(1, &[1], false))),
    ];
    stand(&*store, writes.clone()).await;
    let before = store.desk(at(0)).await.unwrap();
    stand(&*store, writes).await;
    assert_eq!(store.desk(at(0)).await.unwrap(), before);
    assert_eq!(store.flips(mary(), at(0), 10).await.unwrap().len(), 1);
    assert_eq!(store.owed(None, 10).await.unwrap().len(), 1);
}

pub(super) async fn a_removed_watch_comes_back_in_a_new_life_only(bench: &impl Bench) {
    let store = bench.store();
    let declared = Facts { self_registered: false, ..facts(&mary(), 1) };
    let removed = Facts { removed_at: Some(at(1)), ..declared.clone() };
    let late = declared.clone();
    let anew = Facts { epoch: u64::MAX, n: 0, ..declared };
    for (written, kept) in [(&removed, &removed), (&late, &removed), (&anew, &anew)] {
        stand(&*store, vec![Write::Facts(Box::new(written.clone()))]).await;
        assert_eq!(store.open().await.unwrap().facts, std::slice::from_ref(kept));
    }
}
