//! A world of one agent and two sources, driven by words: what the stories and properties are told in.

use super::*;
use crate::domain::{
    hearing::{Hearing, Source},
    watch::{self, Cause},
};

/// How beats reach the machine.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Way {
    Actor,
    Slot,
}

/// A world of one agent and two sources, which prove themselves at every word unless they are mute or blind.
pub(super) struct Tower {
    pub(super) spec: Spec,
    pub(super) state: State,
    pub(super) hearing: Hearing,
    pub(super) mute: Vec<usize>,
    pub(super) now: Timestamp,
    pub(super) said: Vec<String>,
    pub(super) causes: Vec<Cause>,
    pub(super) need: String,
}

/// What an agent is held to unless a story says otherwise.
pub(super) const AGENT: &str = "interval=30 timeout=90";

#[track_caller]
pub(super) fn check(script: &str, expected: &str) {
    check_with(AGENT, script, expected);
}

#[track_caller]
pub(super) fn check_with(kind: &str, script: &str, expected: &str) {
    for (way, name) in [(Way::Actor, "by the actor"), (Way::Slot, "through the slot")] {
        let mut tower = Tower::new(kind);
        tower.play(script, way);
        assert_eq!(tower.story(), expected, "{script}, {name}");
    }
}

impl Tower {
    pub(super) fn new(kind: &str) -> Self {
        let source = Source { proved_at: second(0), periods: Vec::new() };
        Self {
            spec: spec(kind),
            state: State::new(second(0)),
            hearing: Hearing { sources: vec![source; 2], shifts: Vec::new() },
            mute: Vec::new(),
            now: second(0),
            said: Vec::new(),
            causes: Vec::new(),
            need: String::new(),
        }
    }

    /// Words `what@second` or `what:source@second`; a number at the end of `what` is its argument.
    pub(super) fn play(&mut self, script: &str, way: Way) {
        for text in script.split_whitespace() {
            let (what, at) = text.split_once('@').unwrap();
            let (what, source) = what.split_once(':').unwrap_or((what, "0"));
            self.now = second(at.parse().unwrap());
            let place = source.parse().unwrap();
            let source = SourceId(u8::try_from(place).unwrap());
            if let Some(signal) = self.world(what, place) {
                self.feed(signal, way);
            } else {
                self.feed(signal(what, self.now, source), way);
            }
        }
    }

    /// What happens to the hearing or the registry, and what the machine is told of it.
    fn world(&mut self, what: &str, place: usize) -> Option<Signal> {
        let now = self.now;
        let (name, number) = split(what);
        let span = SignedDuration::from_secs(number.unwrap_or(0));
        let is_beat = !matches!(name, "tick" | "pause" | "resume" | "blind" | "mute" | "slept");
        for (at, source) in self.hearing.sources.iter_mut().enumerate() {
            // As the slot does it: a beat over a source that was thought blind ends that.
            let ends = name == "back" || name == "echo" || (is_beat && source.is_blind());
            let heard = place == at && ends;
            let breaks = name == "slept" || (name == "blind" && place == at);
            if !breaks && (heard || !(source.is_blind() || self.mute.contains(&at))) {
                source.proved(now);
            }
        }
        match name {
            "blind" => self.hearing.sources[place].blind(number.map_or(now, second)),
            "mute" => self.mute.push(place),
            "back" | "echo" => self.mute.retain(|it| *it != place),
            "shift" => self.hearing.shift(now, span),
            "slept" => self.hearing.slept(now - span, now),
            "timeout" => self.spec.timeout = span,
            "stall" => self.spec.stall_after = Some(span),
            "needs" => self.spec.needs_input = number.map(SignedDuration::from_secs),
            "loop" => self.spec.loop_after = number.and_then(|it| u32::try_from(it).ok()),
            _ => return None,
        }
        let reloaded = matches!(name, "timeout" | "stall" | "needs" | "loop");
        Some(if reloaded { Signal::Reloaded } else { Signal::Tick })
    }

    fn feed(&mut self, signal: Signal, way: Way) {
        let signal = match (way, signal) {
            (Way::Slot, Signal::Beat(beat)) => {
                match self.spec.hear(&mut self.state, beat, &self.hearing) {
                    Wake::No => return,
                    Wake::Yes => Signal::Tick,
                }
            }
            (_, signal) => signal,
        };
        let (state, effects) = self.spec.on(&self.state, signal, &self.hearing, self.now);
        self.state = state;
        for change in effects.changes {
            self.said.push(format!("{}@{}", told(change.to), change.at.as_second()));
            self.causes.push(change.cause);
        }
        self.need = effects.need.map_or_else(String::new, |(at, sources)| {
            let sources: Vec<_> = sources.iter().map(|it| it.0.to_string()).collect();
            format!(" need@{}:{}", at.as_second(), sources.join(","))
        });
    }

    pub(super) fn story(&self) -> String {
        let (verdict, idle) = self.spec.shown(&self.state, self.now);
        let word = match (verdict, idle) {
            (Verdict::Up, true) => "idle",
            (verdict, _) => told(watch::Verdict::Agent(verdict)),
        };
        let bar = if self.said.is_empty() { "" } else { " | " };
        format!("{}{bar}{word}{}", self.said.join(" "), self.need)
    }
}

/// The word of a verdict; of two that share one, another for the worse.
fn told(verdict: watch::Verdict) -> &'static str {
    let unanswered = verdict == watch::Verdict::Agent(Verdict::Unanswered);
    if unanswered { "unanswered" } else { verdict.word() }
}

pub(super) fn spec(kind: &str) -> Spec {
    let seconds = SignedDuration::from_secs;
    let mut spec = Spec {
        interval: seconds(30),
        timeout: seconds(90),
        first_beat_within: seconds(120),
        stall_after: None,
        loop_after: None,
        lease_max: seconds(1_800),
        leave_max: seconds(600),
        needs_input: None,
        beats: Beats::Steady,
        detector: detector::Kind::Fixed,
        enabled: Arc::from([SourceId(0), SourceId(1)]),
    };
    for word in kind.split(' ') {
        let (name, number) = word.split_once('=').unwrap_or((word, "0"));
        let number = number.parse().unwrap();
        match name {
            "interval" => spec.interval = seconds(number),
            "timeout" => spec.timeout = seconds(number),
            "stall" => spec.stall_after = Some(seconds(number)),
            "loop" => spec.loop_after = u32::try_from(number).ok(),
            "lease" => spec.lease_max = seconds(number),
            "needs" => spec.needs_input = Some(seconds(number)),
            "activity" => spec.beats = Beats::OnActivity,
            "adaptive" => spec.detector = detector::Kind::Adaptive,
            other => panic!("unknown setting {other}"),
        }
    }
    spec
}

pub(super) fn signal(word: &str, at: Timestamp, source: SourceId) -> Signal {
    let by = Text::clean("ada", 40);
    match word {
        "tick" => Signal::Tick,
        "pause" => Signal::Pause { by },
        "resume" => Signal::Resume { by },
        "reload" => Signal::Reloaded,
        beat_word => Signal::Beat(beat(beat_word, at, source)),
    }
}

pub(super) fn beat(word: &str, at: Timestamp, source: SourceId) -> Beat {
    let plain = Beat::plain(at, source);
    let report = |report| Beat { report, ..plain.clone() };
    let (name, number) = split(word);
    match (name, number) {
        ("beat", _) => plain,
        ("stamp", Some(stamp)) => Beat::plain(second(stamp), source),
        ("work", _) => report(Report::Working),
        ("idle", _) => report(Report::Idle),
        ("ask", _) => report(Report::NeedsInput),
        ("log", _) => report(Report::Log),
        ("bad", _) => Beat::unreadable(at, source),
        ("half", _) => Beat { malformed: true, progress: Some(Progress::Count(2)), ..plain },
        ("fail", _) => report(Report::Fail { exit: None }),
        ("exit", code) => report(Report::Fail { exit: code.and_then(|it| u8::try_from(it).ok()) }),
        ("start", _) => report(Report::Start),
        ("success", _) => report(Report::Success),
        ("done", _) => Beat { run: Some(Arc::from("7")), ..report(Report::Success) },
        ("stop", _) => report(Report::Stopping),
        ("degraded", _) => report(Report::Degraded(Text::clean("degraded", 40))),
        ("p", Some(count)) => {
            Beat { progress: Some(Progress::Count(count.unsigned_abs())), ..plain }
        }
        ("end", _) => Beat { busy: Busy::End, ..plain },
        ("busy", Some(secs)) => {
            let op = Text::clean("build", 40);
            Beat { busy: Busy::Until { op, for_: SignedDuration::from_secs(secs) }, ..plain }
        }
        (digest, None) if digest.starts_with('d') => {
            Beat { progress: Some(Progress::Digest(Arc::from(digest))), ..plain }
        }
        (other, _) => panic!("unknown word {other}"),
    }
}

fn split(word: &str) -> (&str, Option<i64>) {
    let place = word.find(|it: char| it == '-' || it.is_ascii_digit()).unwrap_or(word.len());
    (&word[..place], word[place..].parse().ok())
}

pub(super) fn plainly(cause: &Cause) -> String {
    let mut text = format!("{cause:?}");
    for (from, to) in [
        ("1970-01-01T00:00:00Z", "0"),
        ("1970-01-01T00:00:05Z", "5"),
        ("1970-01-01T00:01:20Z", "80"),
        ("1m 30s", "90"),
        ("1m", "60"),
    ] {
        text = text.replace(from, to);
    }
    text.replace("Text(\"", "")
        .replace("\")", "")
        .replace("120s", "120")
        .replace("2m", "120")
        .replace("90s", "90")
        .replace("60s", "60")
}

pub(super) fn second(at: i64) -> Timestamp {
    Timestamp::from_second(at).unwrap()
}
