//! What holds for every story, tried exhaustively over short scripts: a `Tick` anywhere changes nothing,
//! the fast path of the slot is an optimisation only, and a late actor tells the same story.

use super::{
    tower::{second, signal, spec},
    *,
};
use crate::domain::hearing::{Hearing, Period, Source};

const WORDS: &[&str] =
    &["beat", "beat:1", "fail", "p1", "p2", "dA", "busy80", "idle", "stop", "pause", "resume"];
/// Of agents that wait for people, or speak only while they act.
const ACTS: &[&str] = &["beat", "work", "ask", "idle", "p1", "busy80", "done", "pause", "resume"];
const GAPS: [i64; 3] = [1, 61, 91];

/// What came to pass with the sources, of which at any time only the past is known.
struct Past {
    /// Per source: blind since, until.
    blind: [&'static [(i64, i64)]; 2],
    shifts: &'static [(i64, i64)],
}

const QUIET: Past = Past { blind: [&[], &[]], shifts: &[] };
const PASTS: [Past; 4] = [
    QUIET,
    Past { blind: [&[(40, 75)], &[]], shifts: &[] },
    Past { blind: [&[(40, 75), (80, 99), (150, 400)], &[(60, 85)]], shifts: &[] },
    Past { blind: [&[], &[(0, 100)]], shifts: &[(65, 6), (110, 9)] },
];

impl Past {
    fn known_at(&self, now: i64) -> Hearing {
        let source = |blind: &[(i64, i64)]| {
            let periods = blind.iter().filter(|(since, _)| *since < now).map(|(since, until)| {
                Period { since: second(*since), until: (*until <= now).then(|| second(*until)) }
            });
            let mut source = Source { proved_at: second(now), periods: periods.collect() };
            if let Some(since) = source.blind_since() {
                source.proved_at = since;
            }
            source
        };
        let shifts = self.shifts.iter().filter(|(at, _)| *at <= now);
        Hearing {
            sources: self.blind.iter().map(|it| source(it)).collect(),
            shifts: shifts
                .map(|(at, length)| (second(*at), SignedDuration::from_secs(*length)))
                .collect(),
        }
    }
}

/// A signal of one of the words at a time.
fn read(word: &str, at: i64) -> Signal {
    let (word, source) = word.split_once(':').unwrap_or((word, "0"));
    signal(word, second(at), SourceId(source.parse().unwrap()))
}

/// What is held to, what it says, and what befalls the sources.
struct World {
    spec: Spec,
    begin: State,
    words: &'static [&'static str],
    past: &'static Past,
}

/// Every script of `length` words: `visit` is shown each state before a word, the word, and when it comes.
fn for_each_step(
    world: &World,
    (state, now): (&State, i64),
    length: usize,
    visit: &mut dyn FnMut(&State, i64, &str, i64),
) {
    let World { spec, words, past, .. } = world;
    for word in words.iter().copied() {
        for gap in GAPS {
            let at = now + gap;
            // A blind source brings nothing: its first message would have ended that.
            let source = usize::from(word.ends_with(":1"));
            let is_beat = !matches!(word, "pause" | "resume");
            if is_beat && past.known_at(at).sources[source].is_blind() {
                continue;
            }
            visit(state, now, word, at);
            if 1 < length {
                let next = spec.on(state, read(word, at), &past.known_at(at), second(at)).0;
                for_each_step(world, (&next, at), length - 1, visit);
            }
        }
    }
}

fn worlds() -> Vec<World> {
    let begin = State::new(second(0));
    let mut rhythm = detector::Rhythm::default();
    (0..detector::SAMPLES_MIN).for_each(|_| rhythm.take(SignedDuration::from_secs(30)));
    let known = State { rhythm, ..begin.clone() };
    let mut worlds =
        vec![World { spec: spec("adaptive"), begin: known, words: WORDS, past: &QUIET }];
    let world = |kind, words, past| World { spec: spec(kind), begin: begin.clone(), words, past };
    worlds.extend(PASTS.iter().map(|it| world("stall=60 loop=2 lease=100", WORDS, it)));
    for past in [&PASTS[1], &PASTS[3]] {
        worlds.push(world("stall=60 lease=100 needs=60", ACTS, past));
        worlds.push(world("stall=120 lease=100 needs=60 activity", ACTS, past));
    }
    worlds
}

#[test]
fn a_tick_anywhere_never_changes_the_story() {
    for world in worlds() {
        let World { spec, begin, past, .. } = &world;
        for_each_step(&world, (begin, 0), 3, &mut |state, before, word, at| {
            let on =
                |state: &State, signal, at| spec.on(state, signal, &past.known_at(at), second(at));
            let (plain, effects) = on(state, read(word, at), at);
            for tick in [before + 1, at - 30, at - 1, at] {
                // While our scheduler stood still there was no tick.
                let still =
                    past.shifts.iter().any(|(end, length)| (end - length..*end).contains(&tick));
                if tick < before || still {
                    continue;
                }
                let (ticked, early) = on(state, Signal::Tick, tick);
                let (ticked, late) = on(&ticked, read(word, at), at);
                let said = [early.changes, late.changes].concat();
                assert_eq!(said, effects.changes, "{word}@{at}, tick@{tick}, {state:#?}");
                assert_eq!(ticked, plain, "{word}@{at}, tick@{tick}");
            }
        });
    }
}

#[test]
fn the_fast_path_is_an_optimisation_only() {
    let mut fast = 0;
    for world in worlds() {
        let World { spec, begin, past, .. } = &world;
        for_each_step(&world, (begin, 0), 3, &mut |state, _, word, at| {
            let Signal::Beat(beat) = read(word, at) else { return };
            let hearing = past.known_at(at);
            let (plain, effects) = spec.on(state, Signal::Beat(beat.clone()), &hearing, second(at));
            let mut heard = state.clone();
            let wake = spec.hear(&mut heard, beat, &hearing);
            if wake == Wake::No {
                fast += 1;
                assert_eq!(heard, plain, "{word}@{at} says all that there is");
            }
            let (heard, late) = spec.on(&heard, Signal::Tick, &hearing, second(at));
            assert_eq!(late.changes, effects.changes, "{word}@{at}");
            assert_eq!(heard, plain, "{word}@{at}");
        });
    }
    assert!(1_000 < fast, "{fast}");
}

/// Beats that waited for their actor are judged as if each had been judged when it came.
#[test]
fn a_late_actor_tells_the_same_story() {
    for world in worlds().into_iter().map(|it| World { past: &QUIET, ..it }) {
        let World { spec, begin, .. } = &world;
        for_each_step(&world, (begin, 0), 2, &mut |state, _, word, at| {
            for (second_word, gap) in [("beat", 1), ("fail", 95), ("p2", 200), ("busy80", 60)] {
                let signals = [(word, at), (second_word, at + gap), ("beat", at + gap + 91)];
                let end = second(at + gap + 500);
                let hearing = |at| QUIET.known_at(at);
                let (mut prompt, mut late) = (state.clone(), state.clone());
                let mut said = Vec::new();
                for (word, at) in signals {
                    let signal = read(word, at);
                    if let Signal::Beat(beat) = &signal {
                        spec.hear(&mut late, beat.clone(), &hearing(at));
                    } else {
                        return;
                    }
                    let (next, effects) = spec.on(&prompt, signal, &hearing(at), second(at));
                    prompt = next;
                    said.extend(effects.changes);
                }
                let known = hearing(at + gap + 500);
                let (prompt, effects) = spec.on(&prompt, Signal::Tick, &known, end);
                said.extend(effects.changes);
                let (late, effects) = spec.on(&late, Signal::Tick, &known, end);
                assert_eq!(effects.changes, said, "{signals:?}");
                assert_eq!(late, prompt, "{signals:?}");
            }
        });
    }
}
