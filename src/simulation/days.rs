//! Days: agents live and die by a seed while a source goes deaf, the store refuses and atalaya is away. What
//! receivers saw is held against the truth; and what replay says of another registry, against what the same
//! days come to under it.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};

use super::{
    house::{BUS, House, lock, spec, wanted},
    world::Told,
};
use crate::{
    domain::{
        history::History,
        id::{Kind, ReceiverId},
        replay::{Prediction, replay},
        watch::{Condition, agent::Spec},
    },
    ports::store::{Fault, Store},
};

const AGENTS: usize = 8;
const MINUTE: i64 = 60_000;

/// What happens, in milliseconds from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Beat(usize),
    Deaf,
    Hears,
    Full,
    Room,
    /// Killed, and back after so many seconds.
    Away(u64),
}

/// A silence of an agent, from its last beat to the next.
#[derive(Debug, Clone, Copy)]
struct Silence {
    agent: usize,
    from: i64,
    until: i64,
}

/// What truly happens, whatever atalaya makes of it.
struct Script {
    events: Vec<(i64, Event)>,
    silences: Vec<Silence>,
    /// When atalaya cannot know how its agents are.
    unsure: Vec<(i64, i64)>,
    end: i64,
}

impl Script {
    fn of(seed: u64, hours: i64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let end = hours * 60 * MINUTE;
        let mut script = Self { events: Vec::new(), silences: Vec::new(), unsure: Vec::new(), end };
        for agent in 0..AGENTS {
            let mut at = rng.i64(1_000..30_000);
            while at < end {
                script.events.push((at, Event::Beat(agent)));
                let silent = rng.u32(..500) == 0;
                let next =
                    at + if silent { rng.i64(40_000..1_500_000) } else { rng.i64(24_000..34_000) };
                script.silences.push(Silence { agent, from: at, until: next });
                at = next;
            }
        }
        // Every four hours one trouble, well apart from each other.
        for (place, begin) in (0..end).step_by(240 * 60_000).enumerate() {
            let from = begin + rng.i64(30 * MINUTE..120 * MINUTE);
            let length = rng.i64(MINUTE / 3..40 * MINUTE);
            let until = from + length;
            match place % 3 {
                0 => {
                    script.events.extend([(from, Event::Deaf), (until, Event::Hears)]);
                    script.unsure.push((from, until));
                }
                1 => script.events.extend([(from, Event::Full), (until, Event::Room)]),
                _ => {
                    let away = u64::try_from(length / 1_000).expect("it is positive");
                    script.events.push((from, Event::Away(away)));
                    script.unsure.push((from, until));
                }
            }
        }
        script.events.sort_unstable();
        script
    }

    /// When the agent is next silent for longer than this, counted from there.
    fn next(&self, silence: Silence, limit: i64) -> i64 {
        let next = self.silences.iter().find(|it| {
            it.agent == silence.agent && silence.until <= it.from && limit < it.until - it.from
        });
        next.map_or(i64::MAX, |it| it.from + limit)
    }

    /// Whether atalaya may have missed any of it.
    fn is_unsure(&self, silence: Silence) -> bool {
        let respite = 2 * MINUTE;
        self.unsure
            .iter()
            .any(|(from, until)| *from < silence.until + respite && silence.from - respite < *until)
    }
}

/// What came of it.
struct Lived {
    began: Timestamp,
    history: History,
    phone: Vec<Told>,
    hook: Vec<Told>,
}

fn names() -> Vec<String> {
    (0..AGENTS).map(|it| format!("a{it}")).collect()
}

async fn live(script: &Script, spec: Spec) -> Lived {
    let names = names();
    let refs: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut house = House::with(&refs, spec).await;
    let began = house.clock.now();
    let mut deaf = false;
    for (at, event) in &script.events {
        let now = house.clock.now().duration_since(began).as_millis();
        let Ok(wait) = u64::try_from(i128::from(*at) - now) else { continue };
        tokio::time::sleep(Duration::from_millis(wait)).await;
        match event {
            Event::Beat(agent) if !deaf => house.beat(&names[*agent]),
            Event::Beat(_) => {}
            Event::Deaf => {
                deaf = true;
                house.bus.works.store(false, Ordering::Relaxed);
                house.tower.ear().blind(BUS, house.clock.now(), "connection lost");
            }
            Event::Hears => {
                deaf = false;
                house.bus.works.store(true, Ordering::Relaxed);
                house.tower.ear().proved(BUS, house.clock.now());
            }
            Event::Full => house.store.refuse_all(Fault::Full),
            Event::Room => house.store.refuse_all(None),
            Event::Away(seconds) => {
                house = house.crash_and_return(Duration::from_secs(*seconds)).await;
            }
        }
    }
    house.pass(60.0).await;
    house.assert_book_equals_verdicts().await;
    let history = house.store.history(Timestamp::MIN).await.expect("the store reads");
    let (phone, hook) = (lock(&house.phone.told).clone(), lock(&house.hook.told).clone());
    house.stop().await;
    Lived { began, history, phone, hook }
}

/// Each true outage that atalaya could see is told once and its end once; what it could not be sure of, at
/// most once; and nothing else.
fn judge(script: &Script, lived: &Lived, timeout: SignedDuration) {
    let limit = i64::try_from(timeout.as_millis()).expect("it fits");
    let mut told: Vec<(i64, &str)> = lived
        .hook
        .iter()
        .map(|it| (millis(it.at, lived.began), it.text.as_str()))
        .filter(|(_, text)| text.contains("agent/"))
        .collect();
    for silence in script.silences.iter().filter(|it| limit < it.until - it.from) {
        let name = format!("agent/a{}", silence.agent);
        let mut take = |event: &str, from: i64, until: i64| {
            let before = told.len();
            let text = format!("{event} {name}");
            told.retain(|(at, it)| *it != text || *at < from || until < *at);
            before - told.len()
        };
        let over = silence.until.min(script.end + MINUTE);
        let opened = take("opened", silence.from + limit, over + 3_000);
        let sure = !script.is_unsure(*silence) && silence.until < script.end;
        let heard_by =
            if sure { silence.until + MINUTE / 20 } else { script.next(*silence, limit) };
        let resolved = take("resolved", silence.until, heard_by);
        if sure {
            assert_eq!((opened, resolved), (1, 1), "{silence:?}");
        } else {
            assert!(opened <= 1 && resolved <= 1, "{silence:?}: {opened}, {resolved}");
        }
    }
    assert_eq!(told, [], "what nobody's silence accounts for");
}

fn millis(at: Timestamp, began: Timestamp) -> i64 {
    i64::try_from(at.duration_since(began).as_millis()).expect("it fits")
}

/// `a3 down 5400000-5460000`: broken and mended, as history has it.
fn outages(lived: &Lived) -> Vec<String> {
    let mut outages = Vec::new();
    for agent in names() {
        let flips = lived.history.flips.iter().filter(|it| *it.watch.name == *agent);
        let mut down: Option<i64> = None;
        for flip in flips.filter(|it| it.watch.kind == Kind::Agent && !it.to.suspends()) {
            let at = millis(flip.at, lived.began);
            let is_down = flip.to.condition() == Some(Condition::Down);
            match (down, is_down) {
                (None, true) => down = Some(at),
                (Some(since), false) => {
                    outages.push(format!("{agent} {since}-{at}"));
                    down = None;
                }
                (None, false) | (Some(_), true) => {}
            }
        }
        outages.extend(down.map(|since| format!("{agent} {since}-")));
    }
    outages.sort();
    outages
}

fn predicted(prediction: &Prediction, began: Timestamp) -> Vec<String> {
    let line = |it: &crate::domain::replay::Trouble| {
        let until = it.until.map(|it| millis(it, began).to_string()).unwrap_or_default();
        format!("{} {}-{until}", it.watch.name, millis(it.at, began))
    };
    let mut lines: Vec<String> = prediction.troubles.iter().map(line).collect();
    lines.sort();
    lines
}

/// The seconds at which a receiver was disturbed, each with what it read.
fn disturbed(told: &[Told], began: Timestamp) -> Vec<(i64, String)> {
    let rings = told.iter().filter(|it| it.rings);
    rings.map(|it| (millis(it.at, began), it.text.clone())).collect()
}

#[track_caller]
fn assert_pages(name: &str, predicted: &[(i64, String)], seen: &[(i64, String)]) {
    let close = |(at, text): &(i64, String), (seen, words): &(i64, String)| {
        (at - seen).abs() < 3_000 && words.contains(text.as_str())
    };
    for (place, (predicted, seen)) in predicted.iter().zip(seen).enumerate() {
        assert!(close(predicted, seen), "{name}, page {place}: {predicted:?}, truly {seen:?}");
    }
    assert_eq!(predicted.len(), seen.len(), "pages to {name}");
}

fn slow() -> Spec {
    Spec { timeout: SignedDuration::from_mins(5), ..spec() }
}

/// Lives the same hours under both registries, each on a thread of its own.
fn hours(seed: u64, hours: i64) {
    let run = move |spec: Spec| {
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
            let script = Script::of(seed, hours);
            let timeout = spec.timeout;
            let lived = runtime.block_on(live(&script, spec));
            judge(&script, &lived, timeout);
            lived
        })
    };
    let (quick, other) = (run(spec()), run(slow()));
    let (quick, other) = (quick.join().expect("it lived"), other.join().expect("it lived"));
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let wanted = wanted(&names, &Arc::new(slow()));
    let sources = [Arc::from("http"), Arc::from("redis")];
    let said = replay(&quick.history, &wanted, &sources);
    assert_eq!(predicted(&said, quick.began), outages(&other), "seed {seed}");
    assert!(outages(&other).len() < outages(&quick).len(), "it matters");
    for (name, told) in [("phone", &other.phone), ("hook", &other.hook)] {
        let pages = said.pages.iter().filter(|it| it.receiver == ReceiverId::new(name));
        let word = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
        let text = |it: &str| if name == "hook" { word(it) } else { it.to_owned() };
        let pages: Vec<_> = pages.map(|it| (millis(it.at, quick.began), text(&it.text))).collect();
        assert_pages(name, &pages, &disturbed(told, other.began));
    }
}

#[test]
fn replay_of_half_a_day_says_what_it_is_under_the_other_registry() {
    hours(1, 12);
}
