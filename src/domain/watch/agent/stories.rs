//! Stories of agents: what comes in, and what is said of it. Each is told twice, once with every beat
//! handed to the actor and once through the fast path of the slot; both must say the same.

use super::{
    tower::{AGENT, Tower, Way, beat, check, check_with, plainly, second, signal, spec},
    *,
};
use crate::domain::{
    hearing::{Hearing, Source},
    watch::beat::PENDING_MAX,
};

#[test]
fn silence_strictly_longer_than_the_timeout_is_down() {
    check("beat@0 tick@89", "up@0 | late");
    check("beat@0 tick@45", "up@0 | up");
    check("beat@0 tick@46", "up@0 | late");
    check("beat@0 tick@90", "up@0 | late");
    check("beat@0 tick@91", "up@0 down@90 | down");
    check("beat@0 beat@90 tick@91", "up@0 | up");
    check("beat@0 beat@91", "up@0 down@90 up@91 | up");
    check("beat@0 beat@500", "up@0 down@90 up@500 | up");
    check("beat@0 beat@500 tick@591", "up@0 down@90 up@500 down@590 | down");
    let slow = "interval=100 timeout=300";
    check_with(slow, "beat@0 tick@300", "up@0 | late");
    check_with(slow, "beat@0 tick@301", "up@0 down@300 | down");
    check_with(slow, "beat@0 beat@300 beat@601", "up@0 down@600 up@601 | up");
}

#[test]
fn a_watch_that_was_never_heard_waits_and_then_is_down() {
    check("tick@120", "waiting");
    check("tick@121", "down@120 | down");
    check("tick@121 beat@200", "down@120 up@200 | up");
    check("beat@120", "up@120 | up");
    check("beat@121", "down@120 up@121 | up");
}

#[test]
fn an_old_stamp_that_is_polled_keeps_nobody_alive() {
    check("stamp-400@1 tick@120", "waiting");
    check("stamp-400@1 tick@121", "down@120 | down");
    check("stamp-60@1 tick@30", "up@0 | late");
    check("stamp-60@1 tick@31", "up@0 down@30 | down");
    check("beat@0 tick@91 stamp-5@92", "up@0 down@90 | down");
    check("beat@0 fail@60 stamp50@61", "up@0 failed@60 | failed");
    check("beat@60 stamp-400@61 tick@150", "up@60 | late");
}

#[test]
fn it_tells_of_its_own_failure() {
    check("fail@0", "failed@0 | failed");
    check("beat@0 fail@10 log@20 bad@30 start@40", "up@0 failed@10 | failed");
    check("beat@0 fail@10 beat@20", "up@0 failed@10 up@20 | up");
    check("beat@0 exit3@10 success@20", "up@0 failed@10 up@20 | up");
    check("beat@0 fail@10 idle@20", "up@0 failed@10 up@20 | idle");
    check("beat@0 fail@10 tick@101 beat@120", "up@0 failed@10 down@100 up@120 | up");
    check("beat@0 tick@91 fail@120 beat@130", "up@0 down@90 failed@120 up@130 | up");
    check("beat@0 fail@10 stop@20 beat@30", "up@0 failed@10 up@30 | up");
    check("beat@0 degraded@10 bad@11 beat@20", "up@0 degraded@10 up@20 | up");
    check("beat@0 fail@10 degraded@20 fail@30", "up@0 failed@10 degraded@20 failed@30 | failed");
    check("bad@0 log@80 tick@170", "up@0 | late");
}

#[test]
fn an_agent_that_says_it_is_leaving_may_be_silent_for_a_while() {
    check("beat@0 stop@10 tick@610", "up@0 leaving@10 | leaving");
    check("beat@0 stop@10 tick@611", "up@0 leaving@10 down@610 | down");
    check("beat@0 stop@10 beat@400 tick@491", "up@0 leaving@10 up@400 down@490 | down");
    check("beat@0 stop@10 pause@20 tick@900", "up@0 leaving@10 paused@20 | paused");
    check_with("stall=60", "beat@0 stop@10 tick@300", "up@0 leaving@10 | leaving");
}

#[test]
fn a_pause_judges_nothing_and_a_resume_begins_anew() {
    check("beat@0 pause@10 tick@500", "up@0 paused@10 | paused");
    check("beat@0 tick@100 pause@110 beat@120", "up@0 down@90 paused@110 | paused");
    check("beat@0 pause@10 beat@20 resume@30 tick@150", "up@0 paused@10 waiting@30 | waiting");
    check("beat@0 pause@10 resume@30 tick@151", "up@0 paused@10 waiting@30 down@150 | down");
    check(
        "beat@0 fail@5 pause@10 resume@30 beat@40",
        "up@0 failed@5 paused@10 waiting@30 up@40 | up",
    );
    check("beat@0 pause@10 fail@20 resume@30 log@40", "up@0 paused@10 waiting@30 up@40 | up");
    check("beat@0 resume@10 pause@20 pause@30", "up@0 paused@20 | paused");
    check("beat@0 pause@100", "up@0 down@90 paused@100 | paused");
}

#[test]
fn who_beats_and_does_not_advance_is_stalled() {
    let stall = |script, expected| check_with("stall=60", script, expected);
    stall("p1@0 beat@30 beat@60 tick@60", "up@0 | up");
    stall("p1@0 beat@30 p1@60 tick@61", "up@0 stalled@60 | stalled");
    stall("p1@0 beat@30 p2@61", "up@0 stalled@60 up@61 | up");
    stall("p1@0 half@50 tick@80", "up@0 | up"); // what could be read of a payload holds
    stall("p5@0 beat@30 p2@50 beat@100 tick@110", "up@0 | up"); // a restarted agent counts anew
    stall("beat@0 beat@50 tick@61", "up@0 stalled@60 | stalled");
    stall("beat@0 tick@200 beat@210 tick@211", "up@0 stalled@60 down@90 up@210 | up");
    stall(
        "p1@0 tick@200 beat@210 beat@240 tick@271",
        "up@0 stalled@60 down@90 up@210 stalled@270 | stalled",
    );
    stall("p1@0 idle@30 beat@90 beat@150 tick@200", "up@0 | late"); // plain beats leave it idle
    stall("p1@0 idle@30 work@100 beat@160 tick@161", "up@0 stalled@160 | stalled");
    stall("p1@0 beat@50 tick@61 idle@70", "up@0 stalled@60 up@70 | idle");
    stall("p1@0 idle@30 p2@60 beat@100 tick@121", "up@0 stalled@120 | stalled");
    stall("p1@0 fail@50 tick@61 beat@70", "up@0 failed@50 stalled@70 | stalled");
    check("p1@0 p1@80 p1@160 tick@200", "up@0 | up");
}

#[test]
fn a_declared_step_may_take_as_long_as_it_says_once() {
    let stall = |script, expected| check_with("stall=60 lease=300", script, expected);
    stall("p1@0 busy100@10 beat@70 tick@110", "up@0 | up");
    stall("p1@0 busy100@10 beat@70 tick@111", "up@0 overrun@110 | overrun");
    stall("p1@0 busy100@10 beat@70 p2@111", "up@0 overrun@110 up@111 | up");
    stall("p1@0 busy100@10 p2@30 beat@80 tick@91", "up@0 stalled@90 | stalled");
    stall("p1@0 busy100@10 end@30 beat@80 tick@91", "up@0 stalled@90 | stalled");
    stall("p1@0 busy100@10 end@30 busy100@40 tick@91", "up@0 stalled@90 | stalled");
    stall("p1@0 busy100@10 busy100@80 tick@111", "up@0 overrun@110 | overrun");
    stall("p1@0 busy100@10 p2@80 busy100@100 beat@150 tick@200", "up@0 | late");
    stall("busy9999@0 beat@80 beat@160 beat@240 tick@301", "up@0 overrun@300 | overrun");
    stall("busy100@0 beat@80 tick@101 busy100@110", "up@0 overrun@100 | overrun");
    stall("busy100@0 beat@80 tick@101 beat@110 end@120", "up@0 overrun@100 up@120 | up");
    stall("busy100@0 beat@80 tick@101 start@110", "up@0 overrun@100 up@110 | up");
    stall("busy100@0 beat@80 tick@101 success@110", "up@0 overrun@100 | overrun");
    stall("busy100@0 beat@80 tick@101 done@110", "up@0 overrun@100 up@110 | up");
    stall("busy100@0 beat@80 tick@101 idle@110", "up@0 overrun@100 up@110 | idle");
    stall("busy200@0 tick@91 beat@150 tick@201", "up@0 down@90 up@150 overrun@200 | overrun");
    stall("busy100@0 tick@91 beat@150 tick@190", "up@0 down@90 up@150 | up");
    stall("p1@0 beat@50 tick@61 busy50@70 tick@120", "up@0 stalled@60 up@70 | late");
    stall("idle@0 busy50@10 tick@61", "up@0 overrun@60 | overrun"); // whoever declares a step works
    stall("busy0@0 beat@50 tick@61", "up@0 stalled@60 | stalled");
    check_with("lease=300", "busy100@0 beat@80 tick@101", "up@0 overrun@100 | overrun");
}

#[test]
fn who_repeats_the_same_step_is_looping() {
    let looping = |script, expected| check_with("loop=3", script, expected);
    looping("dA@0 dA@10 beat@20 dB@30", "up@0 | up");
    looping("dA@0 dA@10 dA@20 dA@30", "up@0 looping@20 | looping");
    looping("dA@0 dA@10 dA@20 dB@30", "up@0 looping@20 up@30 | up");
    looping("dA@0 dA@10 dA@20 idle@30", "up@0 looping@20 up@30 | idle");
    looping("dA@0 dA@10 dA@20 tick@111 dA@120", "up@0 looping@20 down@110 up@120 | up");
    looping("p1@0 p1@10 p1@20 p1@30", "up@0 | up");
}

#[test]
fn a_rhythm_that_is_known_is_told_earlier() {
    let steady = repeat(21, |n| format!("beat@{} ", n * 30));
    let at_660 = format!("{steady}tick@660");
    let at_661 = format!("{steady}tick@661");
    check_with("adaptive", &at_660, "up@0 | late");
    check_with("adaptive", &at_661, "up@0 down@660 | down");
    check(&at_661, "up@0 | late");
    let few = repeat(20, |n| format!("beat@{} ", n * 30));
    check_with("adaptive", &format!("{few}tick@631"), "up@0 | late");
    // An outage, a pause and a blindness are no intervals.
    let gaps = format!(
        "{steady}beat@1000 pause@1010 resume@2000 beat@2100 blind@2110 back@2150 beat@2151 tick@2212"
    );
    let said =
        "up@0 down@660 up@1000 paused@1010 waiting@2000 up@2100 blind@2110 up@2150 down@2211";
    check_with("adaptive", &gaps, &format!("{} | down", said.replace("up@2150", "up@2151")));
}

#[test]
fn a_reload_moves_deadlines_and_takes_back_what_it_no_longer_holds() {
    check("beat@0 timeout300@50 tick@300", "up@0 | late");
    check("beat@0 timeout300@50 tick@301", "up@0 down@300 | down");
    check_with("timeout=300", "beat@0 timeout90@200 tick@235", "up@0 | late");
    check_with("timeout=300", "beat@0 timeout90@200 tick@236", "up@0 down@235 | down");
    check_with("timeout=300", "beat@0 timeout90@200 beat@230 tick@300", "up@0 | late");
    check("beat@0 tick@91 timeout300@100 tick@301", "up@0 down@90 up@100 down@300 | down");
    check("beat@0 tick@91 timeout100@110 tick@300", "up@0 down@90 | down");
    check_with(
        "stall=60",
        "beat@0 beat@50 tick@61 stall200@70 beat@130",
        "up@0 stalled@60 up@70 | up",
    );
    check_with("loop=2", "dA@0 dA@1 loop5@2", "up@0 looping@1 up@2 | up");
    check_with("loop=9", "dA@0 dA@1 loop2@2", "up@0 looping@2 | looping");
    check("beat@0 blind@80 timeout300@85 tick@90", "up@0 blind@80 | blind");
    check("tick@121 timeout90@130 beat@140", "down@120 up@140 | up");
}

#[test]
fn every_change_says_why() {
    for (kind, script, expected) in [
        (AGENT, "beat@0 tick@91", "Silence { last: Some(0), limit: 90 }"),
        (AGENT, "tick@121", "Silence { last: None, limit: 120 }"),
        (AGENT, "beat@0 exit3@1", "Said { status: exit 3, exit: Some(3) }"),
        (AGENT, "beat@0 fail@1", "Said { status: fail, exit: None }"),
        (AGENT, "beat@0 degraded@1", "Said { status: degraded, exit: None }"),
        (AGENT, "beat@0 stop@1", "Said { status: stopping, exit: None }"),
        (AGENT, "beat@0 tick@91 beat@95", "Beat"),
        (AGENT, "beat@0 blind@50 tick@60", "Hearing"),
        (AGENT, "beat@0 pause@1", "Paused { by: ada }"),
        (AGENT, "beat@0 pause@1 resume@2", "Resumed { by: ada }"),
        (AGENT, "beat@0 tick@91 timeout300@100", "SettingsChanged"),
        ("stall=60", "p1@5 beat@50 tick@70", "NoProgress { since: 5, limit: 60 }"),
        ("loop=2", "dA@0 dA@1", "Repeats { count: 2 }"),
        ("stall=60", "busy80@0 beat@50 tick@81", "Lease { op: build, until: 80 }"),
    ] {
        let mut tower = Tower::new(kind);
        tower.play(script, Way::Actor);
        let cause = tower.causes.pop().expect("something was said");
        assert_eq!(plainly(&cause), expected, "{script}");
    }
}

#[test]
fn nobody_goes_down_because_we_could_not_hear() {
    // For 25 s, within the timeout and over its end; for three minutes; half-open, noticed late.
    check("beat@0 blind@50 back@75 beat@76 tick@166", "up@0 blind@50 up@76 | late");
    check("beat@0 blind@80 back@105 tick@140", "up@0 blind@80 up@105 | late");
    check("beat@0 blind@50 back@230 beat@235", "up@0 blind@50 up@235 | up");
    check("beat@0 mute@50 blind50@92 back@110 beat@111", "up@0 blind@50 up@111 | up");
    check("beat@0 mute@50 tick@91", "up@0 | late need@90:0");
    check("beat@0 mute@50 tick@91 echo@92", "up@0 down@90 | down");
    check("beat@0 mute@50 beat@91", "up@0 down@90 up@91 | up"); // the beat itself is the proof
    // Who really died meanwhile is told within what was left, or one interval and 5 s.
    check("beat@0 blind@50 back@80 tick@120", "up@0 blind@50 up@80 | late");
    check("beat@0 blind@50 back@80 tick@121", "up@0 blind@50 up@80 down@120 | down");
    check("beat@0 blind@80 back@260 tick@296", "up@0 blind@80 up@260 down@295 | down");
    // It began after the deadline: the silence was proven before.
    check("beat@0 blind91@95 tick@100", "up@0 down@90 | down");
    check("beat@0 blind@50 tick@5000", "up@0 blind@50 | blind");
}

#[test]
fn a_source_that_flaps_never_returned() {
    let flapping = repeat(60, |n| format!("blind@{} back@{} ", 50 + n * 10, 55 + n * 10));
    check(&format!("beat@0 {flapping}tick@660"), "up@0 blind@50 | blind");
    check(&format!("beat@0 {flapping}beat@660"), "up@0 blind@50 up@660 | up");
    check(&format!("beat@0 {flapping}tick@685"), "up@0 blind@50 up@645 | late");
    check(&format!("beat@0 {flapping}tick@686"), "up@0 blind@50 up@645 down@685 | down");
}

#[test]
fn a_source_that_is_absent_at_the_start_leaves_its_watches_blind() {
    check("blind@0 tick@500", "blind@0 | blind");
    check("blind@0 beat:1@50 tick@141", "blind@0 up@50 down@140 | down");
    check("blind@0 back@200 tick@231", "blind@0 waiting@200 | waiting");
    check("blind@0 back@200 tick@321", "blind@0 waiting@200 down@320 | down");
    check("beat:1@0 blind:0@1 tick@91", "up@0 down@90 | down"); // heard over another one
}

#[test]
fn one_source_that_works_is_enough() {
    check("beat:0@0 beat:1@1 beat:0@30 beat:1@31 blind:0@40 tick@122", "up@0 down@121 | down");
    let both = "beat:0@0 beat:1@1 beat:0@30 beat:1@31 blind:0@40 blind:1@50 back:1@60 ";
    check(&format!("{both}tick@95"), "up@0 blind@50 up@60 | late");
    check(&format!("{both}tick@132"), "up@0 blind@50 up@60 down@131 | down");
    check(&format!("{both}beat:1@62 tick@70"), "up@0 blind@50 up@62 | up");
    // The other one was heard once only, or too long ago: it does not count.
    check("beat:1@0 beat:0@1 blind:0@40 tick@200", "up@0 blind@40 | blind");
    check("beat:1@0 beat:1@30 beat:0@60 beat:0@125 blind:0@140 tick@400", "up@0 blind@140 | blind");
    // A beat over a third way ends the blindness.
    check("beat:0@0 blind:0@40 beat:1@60 tick@61", "up@0 blind@40 up@60 | up");
    // That way does not prove that the other could hear: no outage is made up.
    check("beat:0@0 mute:0@50 beat:1@91 tick@92", "up@0 | up");
}

#[test]
fn trouble_stays_trouble_while_we_cannot_hear() {
    check("beat@0 tick@91 blind@100 tick@150 back@200 tick@900", "up@0 down@90 | down");
    check("beat@0 fail@10 blind@20 tick@500", "up@0 failed@10 | failed");
    check("beat@0 fail@10 blind@20 back@500 tick@581", "up@0 failed@10 down@580 | down");
    check(
        "beat@0 pause@10 blind@20 resume@30 tick@40",
        "up@0 paused@10 waiting@30 blind@30 | blind",
    );
    check(
        "beat@0 stop@10 blind@20 back@40 tick@640",
        "up@0 leaving@10 blind@20 leaving@40 down@630 | down",
    );
}

#[test]
fn the_other_clocks_stand_still_too() {
    let stall = |script, expected| check_with("stall=60", script, expected);
    stall("p1@0 beat@30 blind@40 back@50 tick@86", "up@0 blind@40 up@50 stalled@85 | stalled");
    stall("p1@0 beat@30 blind@40 back@50 beat@51 tick@80", "up@0 blind@40 up@51 | up");
    stall(
        "p1@0 beat@30 blind@40 back@50 beat@51 tick@86",
        "up@0 blind@40 up@51 stalled@85 | stalled",
    );
    stall(
        "busy60@0 beat@30 blind@40 back@50 beat@51 tick@86",
        "up@0 blind@40 up@51 overrun@85 | overrun",
    );
    stall("p1@0 beat@30 mute@50 tick@61", "up@0 | up need@60:0");
}

#[test]
fn gaps_of_our_own_scheduler() {
    check("beat@0 shift5@60 tick@95", "up@0 | late");
    check("beat@0 shift5@60 tick@96", "up@0 down@95 | down");
    check("beat@0 beat@70 shift5@60 tick@161", "up@0 down@160 | down");
    // Stopped for ten minutes: all sources were blind, and return with us.
    check("beat@0 slept600@605 tick@690", "up@0 blind@5 up@605 | late");
    check("beat@0 slept600@605 tick@691", "up@0 blind@5 up@605 down@690 | down");
    check("beat@0 slept600@605 beat@610", "up@0 blind@5 up@610 | up");
}

#[test]
fn facts_are_kept_and_bounded() {
    let mut tower = Tower::new(AGENT);
    tower.play("dA@0 dA@30 bad@60 busy50@70", Way::Slot);
    let state = &tower.state;
    assert_eq!((state.beats, state.malformed, state.repeats), (4, 1, 2));
    assert_eq!(state.lease.as_ref().map(|it| it.until), Some(second(120)));
    assert_eq!(state.deadline, Some(second(120)));
    let mut state = state.clone();
    let hearing = Hearing::default();
    let words = std::iter::once("fail").chain(std::iter::repeat_n("stop", 200));
    for (at, word) in (80..).zip(words) {
        assert_eq!(
            tower.spec.hear(&mut state, beat(word, second(at), SourceId(0)), &hearing),
            Wake::Yes
        );
    }
    assert_eq!(state.pending.len(), PENDING_MAX);
    assert_eq!(state.pending.first().map(|it| &it.report), Some(&Report::Fail { exit: None }));
    assert_eq!(state.pending.last().map(|it| it.at), Some(second(280)));
}

#[test]
fn fresh_facts_keep_what_was_said() {
    for (script, expected) in [
        ("beat@0 tick@91", " | down"),
        ("beat@0 tick@91 fresh@100 beat@110", "up@110 | up"),
        ("beat@0 fresh@50 tick@91", "down@90 | down"),
        ("beat@0 fail@10 fresh@50 tick@60", " | failed"),
        ("beat@0 stop@10 fresh@50 tick@150", " | leaving"),
        ("beat@0 ask@10 fresh@50 tick@500", " | needs_input"),
        ("beat@0 ask@10 needs60@20 tick@90 fresh@100 beat@200 tick@500", " | unanswered"),
        ("beat@0 ask@10 needs60@20 tick@90 fresh@100 work@200", "up@200 | up"),
        ("beat@0 pause@10 fresh@50 beat@60 tick@300", " | paused"),
    ] {
        let mut tower = Tower::new(AGENT);
        let (before, after) = script.split_once("fresh@").unwrap_or((script, ""));
        tower.play(before, Way::Actor);
        if let Some((at, rest)) = after.split_once(' ') {
            tower.state.pending.push(beat("fail", second(0), SourceId(0)));
            tower.state = tower.state.fresh(second(at.parse().unwrap()));
            tower.said.clear();
            tower.play(rest, Way::Actor);
        } else {
            tower.said.clear();
        }
        assert_eq!(
            tower.story().trim_start_matches("| "),
            expected.trim_start_matches(" | "),
            "{script}"
        );
    }
}

#[test]
fn nothing_panics_at_the_ends_of_time() {
    let spec = spec("interval=30 stall=60 loop=1 adaptive");
    let spec = Spec { timeout: SignedDuration::MAX, interval: SignedDuration::MAX, ..spec };
    let mut hearing = Hearing { sources: vec![Source::new(Timestamp::MIN)], shifts: Vec::new() };
    hearing.shift(Timestamp::MAX, SignedDuration::MAX);
    let mut state = State::new(Timestamp::MIN);
    for at in [Timestamp::MAX, Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        for word in ["beat", "busy99999999999", "dA", "fail", "stop", "reload", "pause", "resume"] {
            let signal = signal(word, at, SourceId(7));
            state = spec.on(&state, signal, &hearing, at).0;
            let _ = spec.hear(&mut state, beat("beat", at, SourceId(200)), &hearing);
            let _ = spec.shown(&state, at);
        }
    }
    assert!(state.heard.len() <= 2);
}

fn repeat(times: i64, word: impl Fn(i64) -> String) -> String {
    (0..times).map(word).collect()
}
