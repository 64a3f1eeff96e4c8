//! Lives that are replayed: what history keeps of one says the same as every beat of it.

use std::sync::Arc;

use jiff::{SignedDuration, tz::TimeZone};

use super::{
    lane::Lane,
    steps::{Known, Step},
    *,
};
use crate::domain::{
    alert::route::Receiver,
    desk, detector,
    hearing::{Hearing, Source},
    history::BeatRecord,
    id::Origin,
    silence::{Silence, Target},
    text::Text,
    watch::{
        Signal, Subject, Verdict,
        agent::{self, Notable, Spec, State},
        beat::{Beat, Progress, Report},
    },
    write::{Facts, FlipRecord},
};

fn mary() -> WatchId {
    "agent/mary".parse().unwrap()
}

fn second(at: i64) -> Timestamp {
    Timestamp::from_second(at).unwrap()
}

fn milli(at: i64) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap()
}

fn spec(timeout: i64, stall: Option<i64>) -> Spec {
    let seconds = SignedDuration::from_secs;
    Spec {
        interval: seconds(30),
        timeout: seconds(timeout),
        first_beat_within: seconds(120),
        stall_after: stall.map(seconds),
        loop_after: None,
        lease_max: seconds(1_800),
        leave_max: seconds(600),
        needs_input: None,
        beats: agent::Beats::Steady,
        detector: detector::Kind::Fixed,
        enabled: Arc::from([SourceId(0)]),
    }
}

fn watched(spec: Spec) -> Watched {
    let subject = Subject::new(mary(), Text::clean("Mary", 40), Origin::Default("test"));
    Watched { subject: Arc::new(subject), spec: spec.into() }
}

fn wanted(spec: Spec) -> Wanted {
    let receiver = |id: &str, human| Receiver {
        id: ReceiverId::new(id),
        human,
        origin: Origin::Default("test"),
    };
    Wanted {
        watches: vec![watched(spec)],
        patterns: Vec::new(),
        auto_register: None,
        undeclared_max: 9,
        desk: Arc::new(desk::Settings {
            receivers: vec![receiver("phone", true)],
            ..desk::Settings::new(Text::clean("tower-1", 40), TimeZone::UTC)
        }),
    }
}

/// Takes a life of Mary in as her slot does, and keeps of it what the store keeps; beside it, all of it.
struct Slot {
    spec: Spec,
    state: State,
    history: History,
    whole: Vec<(Timestamp, Step)>,
}

impl Slot {
    fn new(spec: Spec) -> Self {
        let history = History {
            since: second(0),
            until: second(0),
            beats: Vec::new(),
            deafness: Vec::new(),
            flips: Vec::new(),
            facts: Vec::new(),
            silences: Vec::new(),
        };
        Self { spec, state: State::new(second(0)), history, whole: Vec::new() }
    }

    /// A plain beat at each of these seconds.
    fn beating(spec: Spec, seconds: impl IntoIterator<Item = i64>) -> Self {
        let mut slot = Self::new(spec);
        for at in seconds {
            slot.beat(Beat::plain(second(at), SourceId(0)));
        }
        slot
    }

    fn beat(&mut self, beat: Beat) {
        let at = beat.at;
        if self.whole.is_empty() {
            self.whole.push((at, Step::Begin));
        }
        let advanced = beat.progress.is_some() && beat.progress != self.state.progress;
        let (report, busy) = (beat.report.clone(), beat.busy.clone());
        let all = Notable { at, source: beat.source, report, busy, advanced, before: None };
        self.whole.push((at, Step::Beat(all)));
        if let Some(notable) = self.spec.notable(&self.state, &beat) {
            let beat = notable.renamed(|_| Arc::from("redis"));
            self.history.beats.push(BeatRecord { watch: mary(), beat });
        }
        let source = Source { proved_at: at, periods: Vec::new() };
        let hearing = Hearing { sources: vec![source], shifts: Vec::new() };
        self.state = self.spec.on(&self.state, Signal::Beat(beat), &hearing, at).0;
    }

    fn known_at(mut self, until: Timestamp) -> (History, Vec<(Timestamp, Step)>) {
        self.history.until = until;
        self.history.facts.push(Facts {
            watch: mary(),
            epoch: 1,
            n: 1,
            state: Arc::new(self.state.into()),
            self_registered: false,
            removed_at: None,
        });
        (self.history, self.whole)
    }

    fn known(self, until: i64) -> History {
        self.known_at(second(until)).0
    }
}

/// Numbers of a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A day of an agent that is silent, stands still and complains now and then.
fn life(slot: &mut Slot, dice: &mut Dice) -> Timestamp {
    let (mut now, mut count, mut stuck_until) = (0, 0, -1);
    while now < 86_400_000 {
        let mut beat = Beat::plain(milli(now), SourceId(0));
        count += u64::from(stuck_until < now);
        if dice.below(300) == 0 {
            stuck_until = now + dice.below(5_000_000);
        }
        beat.progress = Some(Progress::Count(count));
        beat.report = match dice.below(60) {
            0 => Report::Fail { exit: Some(3) },
            1 => Report::Degraded(Text::clean("error", 9)),
            2 => Report::Log,
            _ => Report::Working,
        };
        slot.beat(beat);
        now += if dice.below(50) == 0 {
            31_000 + dice.below(900_000)
        } else {
            25_000 + dice.below(9_000)
        };
    }
    milli(now)
}

fn told(noticed: &[Noticed]) -> Vec<String> {
    noticed.iter().map(|it| format!("{} {}", it.flip.at, it.flip.to.word())).collect()
}

#[test]
fn what_is_kept_says_the_same_as_every_beat() {
    for seed in 0..20 {
        let mut slot = Slot::new(spec(90, Some(1_200)));
        let end = life(&mut slot, &mut Dice(seed));
        let (history, whole) = slot.known_at(end);
        assert!(history.beats.len() * 4 < whole.len(), "little of it is kept");
        for (timeout, stall) in
            [(60, None), (90, None), (90, Some(1_200)), (300, Some(400)), (1_000, Some(2_400))]
        {
            let (spec, subject) = (spec(timeout, stall), watched(spec(timeout, stall)).subject);
            let numbers = numbers(&history, &[Arc::from("redis")]);
            let kept = Known::of(&history, &numbers).steps(&mary(), &spec).unwrap();
            let kept = told(&Lane::new(&subject, &spec, 1).run(kept, end).0);
            let whole = told(&Lane::new(&subject, &spec, 1).run(whole.clone(), end).0);
            let differ = kept.iter().zip(&whole).find(|(kept, whole)| kept != whole);
            assert_eq!(differ, None, "seed {seed}, timeout {timeout}, {stall:?}");
            assert_eq!(kept.len(), whole.len(), "seed {seed}, timeout {timeout}, {stall:?}");
        }
    }
}

/// `seconds at which it broke after the last beat-until`, then the pages.
#[track_caller]
fn check(history: &History, spec: Spec, troubles: &str, pages: usize) {
    let found = replay(history, &wanted(spec), &[Arc::from("redis")]);
    let line = |it: &Trouble| {
        let since = it.silent_since.map_or("-".to_owned(), |it| it.as_second().to_string());
        let until = it.until.map_or(String::new(), |it| it.as_second().to_string());
        format!("{} {since}..{}-{until}", it.condition, it.at.as_second())
    };
    let said: Vec<String> = found.troubles.iter().map(line).collect();
    assert_eq!(said.join(", "), troubles);
    assert_eq!(found.pages.len(), pages, "{:?}", found.pages);
}

#[test]
fn a_longer_timeout_sees_later_and_what_came_back_in_time_not_at_all() {
    let beats = (0..=600).step_by(30).chain((720..=900).step_by(30)).chain([2_000, 2_030]);
    let history = Slot::beating(spec(90, None), beats).known(2_060);
    check(&history, spec(90, None), "down 600..690-720, down 900..990-2000", 2);
    check(&history, spec(300, None), "down 900..1200-2000", 1);
    check(&history, spec(1_200, None), "", 0);
    let history = Slot::beating(spec(90, None), [0, 30]).known(2_060);
    check(&history, spec(90, None), "down 30..120-", 1);
}

#[test]
fn what_was_kept_before_the_time_begins_is_known_and_not_counted() {
    let beats = [0, 30, 60, 2_000, 2_030, 5_000];
    let mut history = Slot::beating(spec(90, None), beats).known(5_010);
    history.since = second(1_000);
    check(&history, spec(90, None), "down 60..150-2000, down 2030..2120-5000", 1);
    history.beats.remove(0);
    check(&history, spec(90, None), "down 60..150-2000, down 2030..2120-5000", 1);
}

#[test]
fn time_in_which_we_could_not_hear_kills_nobody() {
    let mut history = Slot::beating(spec(90, None), [0, 30, 60, 500, 530]).known(2_000);
    let deaf = |since, until: Option<i64>| Deafness {
        source: Some(Arc::from("redis")),
        since: second(since),
        until: until.map(second),
    };
    history.deafness = vec![deaf(70, Some(490))];
    check(&history, spec(90, None), "down 530..620-", 1);
    // Killed while it could not hear: until the next run heard again.
    history.deafness = vec![deaf(70, None), deaf(200, Some(490)), deaf(540, Some(1_900))];
    check(&history, spec(90, None), "down 530..1980-", 1);
    assert_eq!(deaf_for(&history)["redis"].as_secs(), 130 + 290 + 1_360);
}

#[test]
fn pauses_removals_and_silences_are_as_they_were() {
    let flip = |from, to, at: i64| FlipRecord {
        watch: mary(),
        epoch: 7,
        n: 3,
        from: Verdict::Agent(from),
        to: Verdict::Agent(to),
        at: second(at),
        noticed_at: second(at),
    };
    let (down, paused) = (agent::Verdict::Down, agent::Verdict::Paused);
    let (up, waiting) = (agent::Verdict::Up, agent::Verdict::Waiting);
    let beating = || Slot::beating(spec(90, None), [0, 30, 60, 500, 530]).known(2_000);
    let mut history = beating();
    history.flips = vec![flip(up, paused, 80), flip(paused, waiting, 490), flip(up, waiting, 600)];
    check(&history, spec(90, None), "", 0);
    history.flips = vec![flip(down, paused, 200)];
    check(&history, spec(90, None), "down 60..150-200", 1);
    history.flips = vec![flip(paused, waiting, 520)];
    check(&history, spec(90, None), "down 530..620-", 1);

    let mut history = beating();
    let silence = Silence {
        id: 4,
        target: Target::Pattern("agent/*".into()),
        by: Text::clean("Ana", 9),
        reason: None,
        from: second(100),
        until: second(9_000),
        muted: 0,
    };
    history.silences = vec![(silence.clone(), None)];
    check(&history, spec(90, None), "down 60..150-500, down 530..620-", 0);
    history.silences = vec![(silence, Some(second(700)))];
    check(&history, spec(90, None), "down 60..150-500, down 530..620-", 1);
}

#[test]
fn an_agent_of_which_nothing_is_known_is_named() {
    let mut history = Slot::beating(spec(90, None), [0, 30]).known(60);
    let mut wanted = wanted(spec(90, None));
    let nova = Subject {
        watch: "agent/nova".parse().unwrap(),
        ..Subject::clone(&wanted.watches[0].subject)
    };
    wanted.watches.push(Watched { subject: Arc::new(nova), ..wanted.watches[0].clone() });
    let found = replay(&history, &wanted, &[]);
    assert_eq!(found.unknown, ["agent/nova".parse().unwrap()]);
    // One that was watched and never heard is known for that.
    history.beats.clear();
    history.facts[0].state = Arc::new(State::new(second(0)).into());
    history.until = second(500);
    check(&history, spec(90, None), "down -..120-", 1);
}
