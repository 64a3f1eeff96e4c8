//! Stories of the whole tree in the written durations: what a person is told, and when.

use super::house::{BUS, HTTP, House, lock, spec};
use crate::{
    actors::tower::Seen,
    domain::{watch::State, write::Facts},
    ports::store::{Fault, Store},
};
use jiff::SignedDuration;
use std::{sync::atomic::Ordering, time::Duration};

fn beats(State::Agent(state): &State) -> u64 {
    state.beats
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|it| format!("a{it}")).collect()
}

#[tokio::test(start_paused = true)]
async fn silence_is_told_at_the_deadline_and_the_return_edits_the_same_message() {
    let house = House::with(&["mary"], spec()).await;
    house.beat("mary");
    house.pass(90.0).await;
    assert_eq!(house.verdict("mary"), "up", "90 s of silence are alive");
    house.pass(1.0).await;
    assert_eq!(house.verdict("mary"), "down");
    house.until(1, "the message", |it| it.phone.rings() == 1).await;
    assert_eq!(house.open().await, ["agent/mary down"]);
    house.beat("mary");
    house.until(2, "the resolve", |it| it.hook.count("resolved agent/mary") == 1).await;
    house.until(3, "the edit", |it| it.phone.texts().len() == 2).await;
    let told = lock(&house.phone.told).clone();
    assert_eq!(told[0].reference, told[1].reference, "the same message is edited: {told:?}");
    assert!(told[1].edit && told[1].text.contains("is back"), "{told:?}");
    assert_eq!(house.open().await, [] as [String; 0]);
    house.assert_book_equals_verdicts().await;
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_hundred_that_fall_together_are_one_message() {
    let house = House::many(200).await;
    for name in names(200) {
        house.beat(&name);
    }
    house.pass(95.0).await;
    assert_eq!(house.open().await.len(), 200);
    assert_eq!(house.phone.rings(), 1, "{:?}", house.phone.texts());
    house.until(5, "machines hear of each", |it| it.hook.texts().len() == 200).await;
    for name in names(200) {
        house.beat(&name);
    }
    house.pass(10.0).await;
    assert_eq!(house.open().await.len(), 0);
    assert_eq!(house.phone.rings(), 1, "{:?}", house.phone.texts());
    assert_eq!(house.hook.texts().len(), 400);
    house.assert_book_equals_verdicts().await;
}

#[tokio::test(start_paused = true)]
async fn a_deaf_source_makes_nobody_dead_and_is_told_once() {
    let house = House::many(20).await;
    let all = names(20);
    house.beats_for(&all, 60).await;
    house.bus.works.store(false, Ordering::Relaxed);
    house.pass(180.0).await;
    assert_eq!(house.open().await, ["source/redis blind"]);
    assert_eq!(house.verdict("a3"), "blind");
    house.bus.works.store(true, Ordering::Relaxed);
    let living: Vec<String> = all[..19].to_vec();
    house.pass(5.0).await;
    house.beats_for(&living, 60).await;
    house.pass(2.0).await;
    assert_eq!(house.open().await, ["agent/a19 down"], "who died meanwhile is told");
    assert_eq!(house.hook.count("opened source/redis"), 1);
    assert_eq!(house.hook.count("resolved source/redis"), 1);
    house.assert_book_equals_verdicts().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_tells_nothing_twice_and_forgets_nothing() {
    let house = House::many(10).await;
    let all = names(10);
    house.beats_for(&all, 60).await;
    let living: Vec<String> = all[..9].to_vec();
    house.beats_for(&living, 90).await;
    assert_eq!(house.open().await, ["agent/a9 down"]);
    let house = house.crash_and_return(Duration::from_mins(10)).await;
    assert_eq!(house.open().await, ["agent/a9 down"]);
    house.beats_for(&living, 120).await;
    assert_eq!(house.open().await, ["agent/a9 down"], "our absence is nobody's death");
    house.beat("a9");
    house.pass(3.0).await;
    assert_eq!(house.open().await, [] as [String; 0]);
    assert_eq!(house.hook.count("opened agent/a9"), 1);
    assert_eq!(house.hook.count("resolved agent/a9"), 1);
    assert_eq!(house.phone.rings(), 1);
    house.assert_book_equals_verdicts().await;
}

#[tokio::test(start_paused = true)]
async fn the_manager_away_for_twenty_seconds_loses_no_opening_and_no_resolve() {
    let house = House::many(100).await;
    let all = names(100);
    house.beats_for(&all, 90).await;
    lock(&house.context.chaos.kept_down).insert("incident_manager");
    let manager = house.context.at.manager.get().expect("it runs");
    manager.kill();
    // All were heard 30 s ago: they fall in a minute, and return within the manager's absence.
    house.pass(61.0).await;
    for name in &all {
        assert_eq!(house.verdict(name), "down");
        house.beat(name);
    }
    house.pass(1.0).await;
    assert_eq!(house.hook.texts().len(), 0);
    lock(&house.context.chaos.kept_down).clear();
    house.until(60, "the manager's return", |it| it.hook.texts().len() == 200).await;
    let counts = super::house::tally(&house.hook.texts());
    assert_eq!(counts.len(), 200, "each once: {counts:?}");
    house.assert_book_equals_verdicts().await;
}

#[tokio::test(start_paused = true)]
async fn a_beat_over_another_source_ends_blindness_at_once() {
    let house = House::with(&["mary"], spec()).await;
    house.beat_over("mary", BUS);
    house.pass(20.0).await;
    house.bus.works.store(false, Ordering::Relaxed);
    house.pass(100.0).await;
    assert_eq!(house.verdict("mary"), "blind");
    house.beat_over("mary", HTTP);
    house.pass(0.1).await;
    assert_eq!(house.verdict("mary"), "up");
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_agent_keeps_its_actor_when_the_registry_changes() {
    let house = House::with(&["mary", "lisa"], spec()).await;
    house.beat("mary");
    let slot = house.context.slots.by_name("mary").expect("watched");
    let actor = slot.actor().expect("its actor").get_id();
    let short = spec();
    let read = house.registry(&["mary", "nova"], &short);
    house.paper.write(Ok(read));
    house.pass(1.0).await;
    assert!(house.tower.watch("nova").is_some());
    assert!(house.tower.watch("lisa").is_none());
    assert_eq!(slot.actor().expect("still there").get_id(), actor);
    house.paper.write(Err(crate::ports::registry::Unreadable::one("line 3: no")));
    house.pass(1.0).await;
    assert_eq!(house.open().await, ["self/registry refused"]);
    assert!(house.tower.watch("nova").is_some(), "a bad edit changes nothing");
    house.paper.write(Ok(house.registry(&["mary", "nova"], &short)));
    house.pass(1.0).await;
    assert_eq!(house.open().await, [] as [String; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_raised_during_an_outage_resolves_and_one_lowered_gives_respite() {
    let house = House::with(&["mary"], spec()).await;
    house.beat("mary");
    house.pass(100.0).await;
    assert_eq!(house.open().await, ["agent/mary down"]);
    let mut long = spec();
    long.timeout = SignedDuration::from_mins(10);
    house.paper.write(Ok(house.registry(&["mary"], &long)));
    house.pass(2.0).await;
    assert_eq!(house.open().await, [] as [String; 0]);
    house.paper.write(Ok(house.registry(&["mary"], &spec())));
    house.pass(30.0).await;
    assert_eq!(house.open().await, [] as [String; 0], "not before interval + 5 s");
    house.pass(10.0).await;
    assert_eq!(house.open().await, ["agent/mary down"]);
}

#[tokio::test(start_paused = true)]
async fn a_poison_agent_is_set_aside_alone_and_tried_again() {
    let house = House::many(5).await;
    let all = names(5);
    house.beats_for(&all, 30).await;
    let slot = house.context.slots.by_name("a2").expect("watched");
    lock(&house.context.chaos.poison).insert(slot.watch.clone());
    house.beats_for(&all, 30).await;
    slot.wake();
    house
        .until(60, "quarantine", |it| {
            it.tower.watch("a2").is_some_and(|Seen::Agent(it)| it.quarantined_since.is_some())
        })
        .await;
    house.pass(1.0).await;
    assert_eq!(house.open().await, ["agent/a2 unwatched"]);
    lock(&house.context.chaos.poison).clear();
    house.beats_for(&all, 420).await;
    assert_eq!(house.open().await, [] as [String; 0], "the half-open try held for a minute");
    house.assert_book_equals_verdicts().await;
}

fn called(facts: &[Facts]) -> Vec<&str> {
    facts.iter().map(|it| &*it.watch.name).collect()
}

#[tokio::test(start_paused = true)]
async fn who_was_dropped_while_nobody_watched_stays_away_and_who_registered_itself_stays() {
    let house = House::with(&["mary", "lisa"], spec()).await;
    for name in ["mary", "lisa", "stray"] {
        house.beat(name);
    }
    let living = ["mary".to_owned(), "stray".to_owned()];
    house.beats_for(&living, 100).await;
    assert_eq!(house.open().await, ["agent/lisa down"]);
    let mut house = house.crash_and_find(Duration::from_mins(1), &["mary"]).await;
    for _ in 0..2 {
        assert!(house.tower.watch("lisa").is_none());
        assert!(house.tower.watch("stray").is_some());
        house.beats_for(&living, 30).await;
        assert_eq!(house.open().await, [] as [String; 0], "no longer watched");
        assert_eq!(house.hook.count("resolved agent/lisa"), 1);
        assert_eq!(called(&house.kept(true).await), ["lisa"]);
        house = house.crash_and_return(Duration::from_mins(1)).await;
    }
    let house = house.crash_and_find(Duration::from_mins(1), &["mary", "lisa"]).await;
    house.beat("lisa");
    house.pass(6.0).await;
    assert_eq!(house.verdict("lisa"), "up");
    assert_eq!(called(&house.kept(false).await), ["lisa", "mary", "stray"]);
    house.assert_book_equals_verdicts().await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_the_store_refused_is_written_later_and_at_a_stop() {
    let house = House::with(&["mary", "lisa", "nova"], spec()).await;
    house.pass(6.0).await;
    house.store.refuse_all(Fault::Full);
    house.paper.write(Ok(house.registry(&["mary", "nova"], &spec())));
    house.pass(40.0).await;
    assert!(house.tower.watch("lisa").is_none());
    assert!(house.kept(true).await.is_empty());
    house.store.refuse_all(None);
    house.pass(40.0).await;
    assert_eq!(called(&house.kept(true).await), ["lisa"]);
    house.paper.write(Ok(house.registry(&["mary"], &spec())));
    house.until(2, "nova", |it| it.tower.watch("nova").is_none()).await;
    assert_eq!(called(&house.kept(true).await), ["lisa"], "the next flush is to come");
    let store = house.store.clone();
    house.stop().await;
    let kept = store.open().await.expect("it reads").facts;
    assert_eq!(kept.iter().filter(|it| it.removed_at.is_some()).count(), 2, "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn beats_of_a_fleet_larger_than_one_commit_are_all_stored_in_one_round() {
    let house = House::many(5_100).await;
    // The first beats are stored with the flips that they cause, the second ones by the flush alone.
    for _ in 0..2 {
        for name in names(5_100) {
            house.beat(&name);
        }
        house.pass(6.0).await;
    }
    let stored = house.kept(false).await.iter().filter(|it| beats(&it.state) == 2).count();
    assert_eq!(stored, 5_100);
    let until = house.store.meta(crate::actors::watches::HEARD_UNTIL).await.expect("it reads");
    assert!(until.is_some());
}
