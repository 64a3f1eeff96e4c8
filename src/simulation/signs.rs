//! Our own signs of life: given while all is well and at no other time; that nobody takes one is told.

use std::sync::atomic::Ordering;

use super::house::{House, lock, spec};

/// How many were taken in so many seconds.
async fn taken(house: &House, seconds: f64) -> u64 {
    let before = house.sign.taken.load(Ordering::Relaxed);
    house.pass(seconds).await;
    house.sign.taken.load(Ordering::Relaxed) - before
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_is_given_at_its_period_and_only_while_all_is_well() {
    let house = House::with(&[], spec()).await;
    house.pass(10.0).await;
    assert_eq!(house.sign.taken.load(Ordering::Relaxed), 1, "the first at once");
    let in_ten_minutes = taken(&house, 600.0).await;
    assert!((10..=11).contains(&in_ten_minutes), "{in_ten_minutes}");
    for hop in ["watch to manager", "manager to outbox", "outbox to pulse"] {
        lock(&house.context.chaos.lost).insert(hop);
        // One round may have been under way.
        house.pass(6.0).await;
        assert_eq!(taken(&house, 300.0).await, 0, "{hop} is broken");
        lock(&house.context.chaos.lost).clear();
        assert_eq!(taken(&house, 30.0).await, 1, "{hop} passes again");
    }
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sign_that_nobody_takes_is_shown_at_once_and_told_when_it_lasts() {
    let house = House::with(&[], spec()).await;
    house.pass(10.0).await;
    let fed = house.watchdog.fed.load(Ordering::Relaxed);
    house.sign.refused.store(true, Ordering::Relaxed);
    house.pass(65.0).await;
    let shown = house.tower.health().signs["deadman"].clone();
    assert!(shown.failing.is_some_and(|(_, why)| why.as_str() == "it answers 503"));
    assert!(shown.taken_at.is_some());
    assert_eq!(house.open().await, [] as [String; 0], "not yet");
    house.pass(180.0).await;
    assert_eq!(house.open().await, ["self/deadman degraded"]);
    house.sign.refused.store(false, Ordering::Relaxed);
    house.sign.hangs.store(true, Ordering::Relaxed);
    house.pass(60.0).await;
    let failing = house.tower.health().signs["deadman"].failing.clone();
    assert!(failing.is_some_and(|(_, why)| why.as_str() == "no answer within 10 s"));
    house.sign.hangs.store(false, Ordering::Relaxed);
    house.pass(30.0).await;
    assert_eq!(house.open().await, [] as [String; 0], "somebody took it");
    assert_eq!(house.tower.health().signs["deadman"].failing, None);
    let fed = house.watchdog.fed.load(Ordering::Relaxed) - fed;
    assert!(60 <= fed, "nothing waits for who does not answer: {fed}");
    assert!(house.phone.texts().is_empty(), "a warning rings for nobody");
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_sign_outlives_pulse() {
    let house = House::with(&[], spec()).await;
    house.pass(10.0).await;
    house.sign.refused.store(true, Ordering::Relaxed);
    house.pass(90.0).await;
    let since =
        |house: &House| house.tower.health().signs["deadman"].failing.clone().map(|it| it.0);
    let before = since(&house).expect("it fails");
    house.context.at.pulse.get().expect("it runs").kill();
    house.pass(30.0).await;
    assert_eq!(since(&house), Some(before));
    house.stop().await;
}
