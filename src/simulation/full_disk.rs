//! A disk that is full for ten minutes: who falls meanwhile is told meanwhile, and recorded afterwards.

use jiff::SignedDuration;

use super::house::{BUS, House, spec};
use crate::{
    domain::{
        text::Text,
        watch::beat::{Beat, Report},
    },
    ports::store::{Fault, IncidentFilter, Store as _},
};

/// Beats come every 30 s.
const ROUNDS: usize = 20;
/// A fallen agent is away for so many of them: 180 s.
const AWAY: usize = 6;
/// And no longer than this, as it is judged.
const AWAY_LENGTH: SignedDuration = SignedDuration::from_secs(181);

/// Who falls in this round.
fn falls(round: usize) -> [String; 3] {
    [0, 1, 2].map(|it| format!("a{}", 3 * round + it))
}

fn is_away(name: &str, round: usize) -> bool {
    (round.saturating_sub(AWAY - 1)..=round).any(|it| falls(it).iter().any(|away| away == name))
}

/// The whole time, with `more` in each round, and the end of it.
async fn ten_minutes(house: &House, more: impl Fn(&House, usize)) {
    let all: Vec<String> = (0..3 * ROUNDS).map(|it| format!("a{it}")).collect();
    house.beats_for(&all, 60).await;
    house.store.refuse_all(Fault::Full);
    for round in 0..ROUNDS {
        for name in all.iter().filter(|it| !is_away(it, round)) {
            house.beat(name);
        }
        more(house, round);
        house.pass(30.0).await;
        // Their last beat was a round before they fell: 120 s of silence by now, of which 90 s are borne.
        if let Some(fell) = round.checked_sub(2) {
            for name in falls(fell) {
                assert_eq!(
                    house.hook.count(&format!("opened agent/{name}")),
                    1,
                    "{name}, meanwhile"
                );
            }
        }
        if let Some(back) = round.checked_sub(AWAY) {
            for name in falls(back) {
                let told = house.hook.count(&format!("resolved agent/{name}"));
                assert_eq!(told, 1, "{name} is back, meanwhile");
            }
        }
    }
    assert_eq!(house.open().await, [] as [String; 0], "nothing could be stored");
    house.store.refuse_all(None);
    for name in &all {
        house.beat(name);
    }
    house.pass(15.0).await;
}

/// Each outage is in the store once, with its true length, and was told once.
async fn is_recorded(house: &House) {
    let filter = IncidentFilter { all: true, limit: 10_000, ..IncidentFilter::default() };
    let stored = house.store.incidents(filter).await.expect("it reads");
    for name in (0..ROUNDS).flat_map(falls) {
        let watch = format!("agent/{name}");
        let of: Vec<_> = stored.iter().filter(|it| it.watch.to_string() == watch).collect();
        // Who fell in the last round or two had not yet been silent for 90 s.
        let told = house.hook.count(&format!("opened {watch}"));
        assert_eq!(of.len(), told, "{name}");
        assert!(told <= 1, "{name} is told {told} times");
        assert_eq!(house.hook.count(&format!("resolved {watch}")), told, "{name}");
        for incident in of {
            let (until, _) = incident.resolved.as_ref().expect("it is over");
            let length = until.duration_since(incident.opened_at);
            assert!(length <= AWAY_LENGTH, "{name}: {length:?}");
        }
    }
    house.assert_book_equals_verdicts().await;
}

#[tokio::test(start_paused = true)]
async fn who_falls_while_the_disk_is_full_is_told_meanwhile_and_recorded_afterwards() {
    let house = House::many(3 * ROUNDS).await;
    ten_minutes(&house, |_, _| {}).await;
    is_recorded(&house).await;
    house.stop().await;
}

/// Three thousand warnings that nobody acknowledges, of watches that stand before and behind those that fall.
#[tokio::test(start_paused = true)]
async fn warnings_without_end_while_the_disk_is_full_hold_no_fall_up() {
    let names: Vec<String> = (0..150).map(|it| format!("w{it}")).collect();
    let falling: Vec<String> = (0..3 * ROUNDS).map(|it| format!("a{it}")).collect();
    let mixed: Vec<&str> =
        names[..75].iter().chain(&falling).chain(&names[75..]).map(String::as_str).collect();
    let house = House::with(&mixed, spec()).await;
    ten_minutes(&house, |house, round| {
        let report = if round % 2 == 0 {
            Report::Degraded(Text::clean("degraded", 40))
        } else {
            Report::Alive
        };
        for name in &names {
            let plain = Beat::plain(house.clock.now(), BUS);
            house.say(name, Beat { report: report.clone(), ..plain });
        }
    })
    .await;
    is_recorded(&house).await;
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn when_memory_owes_a_thousand_messages_what_is_critical_goes_first() {
    let storm: Vec<String> = (0..1_100).map(|it| format!("a{it}")).collect();
    let names: Vec<&str> = storm.iter().map(String::as_str).chain(["warns", "falls"]).collect();
    let house = House::with(&names, spec()).await;
    let all: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    house.beats_for(&all, 60).await;
    house.store.refuse_all(Fault::Full);
    let living = ["warns".to_owned(), "falls".to_owned()];
    house.beats_for(&living, 120).await;
    let told = |text: &str| house.hook.count(text);
    assert_eq!((told("opened agent/a0"), told("opened agent/a1099")), (1, 1));
    let degraded = Report::Degraded(Text::clean("degraded", 40));
    house.say("warns", Beat { report: degraded, ..Beat::plain(house.clock.now(), BUS) });
    house.pass(95.0).await;
    assert_eq!(told("opened agent/falls"), 1, "whatever waits");
    house.store.refuse_all(None);
    house.pass(15.0).await;
    house.assert_book_equals_verdicts().await;
    for name in storm.iter().map(String::as_str).chain(["falls"]) {
        assert_eq!(told(&format!("opened agent/{name}")), 1, "{name}");
    }
    house.stop().await;
}
