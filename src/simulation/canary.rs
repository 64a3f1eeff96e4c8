//! The canary: each hop of a flip's way, when broken, stops the feeding of the watchdog, and only that does.

use std::sync::atomic::Ordering;

use super::house::{House, lock, spec};
use crate::{
    actors::chaos::Harm,
    domain::id::{Kind, WatchId},
    ports::store::Fault,
};

/// How often the watchdog was fed in so many seconds.
async fn fed(house: &House, seconds: f64) -> u64 {
    let before = house.watchdog.fed.load(Ordering::Relaxed);
    house.pass(seconds).await;
    house.watchdog.fed.load(Ordering::Relaxed) - before
}

/// This part hangs: nothing is fed until it is ended and started anew.
async fn a_part_that_hangs(part: &'static str) {
    let house = House::with(&["mary"], spec()).await;
    assert!(2 <= fed(&house, 15.0).await, "all is well");
    lock(&house.context.chaos.parts).insert(part, Harm::Hang);
    // One round may have been under way.
    house.pass(6.0).await;
    assert_eq!(fed(&house, 12.0).await, 0, "{part} hangs");
    house.pass(60.0).await;
    assert!(2 <= fed(&house, 15.0).await, "{part} runs again");
    house.stop().await;
}

/// Everybody answers, and what a watch says is lost on its way: the answers alone would have fed.
#[tokio::test(start_paused = true)]
async fn a_hop_that_answers_and_passes_nothing_on_stops_the_feeding_and_only_that() {
    let house = House::with(&["mary"], spec()).await;
    for hop in ["watch to manager", "manager to outbox", "outbox to pulse"] {
        assert!(2 <= fed(&house, 15.0).await, "before {hop} breaks");
        lock(&house.context.chaos.lost).insert(hop);
        // One round may have been under way.
        house.pass(6.0).await;
        assert_eq!(fed(&house, 30.0).await, 0, "{hop} is broken");
        lock(&house.context.chaos.lost).clear();
        house.pass(11.0).await;
    }
    assert!(2 <= fed(&house, 15.0).await);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_hangs_stops_the_feeding() {
    a_part_that_hangs("incident_manager").await;
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_hangs_stops_the_feeding() {
    a_part_that_hangs("recorder").await;
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_hangs_stops_the_feeding() {
    a_part_that_hangs("outbox").await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_actor_that_hangs_stops_the_feeding() {
    let house = House::with(&["mary"], spec()).await;
    assert!(2 <= fed(&house, 15.0).await);
    lock(&house.context.chaos.watches).insert(WatchId::new(Kind::Myself, "canary"), Harm::Hang);
    house.pass(6.0).await;
    assert_eq!(fed(&house, 12.0).await, 0);
    house.pass(60.0).await;
    assert!(2 <= fed(&house, 15.0).await);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_starves_nobody_and_the_canary_tells_nobody() {
    let house = House::with(&["mary"], spec()).await;
    house.store.refuse_all(Fault::Full);
    house.pass(6.0).await;
    assert!(4 <= fed(&house, 30.0).await, "refused is an answer");
    house.store.refuse_all(None);
    house.pass(30.0).await;
    assert!(4 <= fed(&house, 30.0).await);
    assert!(house.phone.texts().iter().all(|it| !it.contains("canary")));
    assert!(house.kept(false).await.iter().all(|it| it.watch.kind != Kind::Myself));
    assert!(house.tower.watches().iter().all(|it| it.subject().watch.kind != Kind::Myself));
    house.stop().await;
}
