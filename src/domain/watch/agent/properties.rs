//! What holds for every story, tried exhaustively over short scripts: a `Tick` anywhere changes nothing,
//! the fast path of the slot is an optimisation only, and a late actor tells the same story.

use super::{
    tower::{second, signal, spec},
    *,
};
use crate::domain::hearing::{Hearing, Period, Source};

const WORDS: [&str; 11] =
    ["beat", "beat:1", "fail", "p1", "p2", "dA", "busy80", "idle", "stop", "pause", "resume"];
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

/// Every script of `length` words: `visit` is shown each state before a word, the word, and when it comes.
fn for_each_step(
    spec: &Spec,
    past: &Past,
    (state, now): (&State, i64),
    length: usize,
    visit: &mut dyn FnMut(&State, i64, &str, i64),
) {
    for word in WORDS {
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
                for_each_step(spec, past, (&next, at), length - 1, visit);
            }
        }
    }
}

/// What is held to, from where, and what befalls the sources.
fn worlds() -> Vec<(Spec, State, &'static Past)> {
    let begin = State::new(second(0));
    let mut rhythm = detector::Rhythm::default();
    (0..detector::SAMPLES_MIN).for_each(|_| rhythm.take(SignedDuration::from_secs(30)));
    let known = State { rhythm, ..begin.clone() };
    let mut worlds = vec![(spec("adaptive"), known, &QUIET)];
    worlds.extend(PASTS.iter().map(|it| (spec("stall=60 loop=2 lease=100"), begin.clone(), it)));
    worlds
}

#[test]
fn a_tick_anywhere_never_changes_the_story() {
    for (spec, begin, past) in worlds() {
        for_each_step(&spec, past, (&begin, 0), 3, &mut |state, before, word, at| {
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
    for (spec, begin, past) in worlds() {
        for_each_step(&spec, past, (&begin, 0), 3, &mut |state, _, word, at| {
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
    for (spec, begin, _) in worlds().into_iter().take(2) {
        for_each_step(&spec, &QUIET, (&begin, 0), 2, &mut |state, _, word, at| {
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
