//! Stories of agents that wait for people, and of those that speak only while they act.

use super::tower::{AGENT, Tower, Way, check, check_with, plainly};

#[test]
fn the_clocks_of_who_waits_for_a_person_stand_still() {
    check("beat@0 ask@10 tick@50000", "up@0 needs_input@10 | needs_input");
    check(
        "beat@0 ask@10 beat@40 success@50 log@60 bad@70 tick@900",
        "up@0 needs_input@10 | needs_input",
    );
    check("ask@0 work@500 tick@590", "needs_input@0 up@500 | late");
    check("ask@0 work@500 tick@591", "needs_input@0 up@500 down@590 | down");
    check("beat@0 fail@5 ask@10 tick@900", "up@0 failed@5 needs_input@10 | needs_input");
    check("beat@0 tick@91 ask@100", "up@0 down@90 needs_input@100 | needs_input");
    check(
        "beat@0 ask@10 pause@20 resume@30 tick@40",
        "up@0 needs_input@10 paused@20 waiting@30 | waiting",
    );
    let stall = |script, expected| check_with("stall=60 loop=2", script, expected);
    stall("p1@0 ask@30 tick@500 work@600 tick@660", "up@0 needs_input@30 up@600 | late");
    stall(
        "p1@0 ask@30 tick@500 work@600 tick@661",
        "up@0 needs_input@30 up@600 stalled@660 | stalled",
    );
    stall("p1@0 tick@61 ask@70", "up@0 stalled@60 needs_input@70 | needs_input");
    stall("dA@0 dA@1 ask@2", "up@0 looping@1 needs_input@2 | needs_input");
}

#[test]
fn whoever_works_rests_fails_or_ends_waits_no_more() {
    for (word, then) in [
        ("work", "up@20 | up"),
        ("idle", "up@20 | idle"),
        ("p2", "up@20 | up"),
        ("busy50", "up@20 | up"),
        ("start", "up@20 | up"),
        ("done", "up@20 | up"),
        ("fail", "failed@20 | failed"),
        ("stop", "leaving@20 | leaving"),
        ("degraded", "degraded@20 | degraded"),
        // These say nothing of it.
        ("p1", "| needs_input"),
        ("success", "| needs_input"),
        ("end", "| needs_input"),
    ] {
        let expected = format!("up@0 needs_input@10 {then}");
        check(&format!("p1@0 ask@10 {word}@20"), &expected);
    }
}

#[test]
fn a_declared_step_goes_on_when_the_waiting_is_over() {
    let long = |script, expected| check_with("timeout=900 lease=500 stall=300", script, expected);
    long("busy100@0 ask@20 work@320 tick@400", "up@0 needs_input@20 up@320 | late");
    long("busy100@0 ask@20 work@320 tick@401", "up@0 needs_input@20 up@320 overrun@400 | overrun");
    // It was over its time before: that is no news.
    long(
        "busy100@0 tick@101 ask@120 work@200 tick@499",
        "up@0 overrun@100 needs_input@120 up@200 | late",
    );
    long(
        "busy100@0 ask@20 blind@50 back@250 work@320 tick@400",
        "up@0 needs_input@20 blind@50 needs_input@250 up@320 | late",
    );
}

#[track_caller]
fn needs(script: &str, expected: &str) {
    check_with("needs=120", script, expected);
}

#[test]
fn people_hear_of_it_when_it_waits_longer_than_it_may() {
    needs("beat@0 ask@10 tick@130", "up@0 needs_input@10 | needs_input");
    needs("beat@0 ask@10 tick@131", "up@0 needs_input@10 unanswered@130 | unanswered");
    // Neither signs of life nor the same question begin it anew.
    needs("ask@10 beat@100 ask@110 tick@131", "needs_input@10 unanswered@130 | unanswered");
    needs("ask@10 work@100 tick@131", "needs_input@10 up@100 | up");
    needs(
        "ask@10 work@200 ask@210 tick@331",
        "needs_input@10 unanswered@130 up@200 needs_input@210 unanswered@330 | unanswered",
    );
    needs("ask@10 tick@131 tick@9000 idle@9001", "needs_input@10 unanswered@130 up@9001 | idle");
    // Settings.
    needs(
        "ask@10 tick@131 needs600@140",
        "needs_input@10 unanswered@130 needs_input@140 | needs_input",
    );
    needs(
        "ask@10 tick@131 needs600@140 tick@611",
        "needs_input@10 unanswered@130 needs_input@140 unanswered@610 | unanswered",
    );
    check("ask@10 needs60@500 tick@535", "needs_input@10 | needs_input");
    check("ask@10 needs60@500 tick@536", "needs_input@10 unanswered@535 | unanswered");
    let mut tower = Tower::new("needs=90");
    tower.play("ask@0 tick@91", Way::Actor);
    let cause = tower.causes.pop().expect("something was said");
    assert_eq!(plainly(&cause), "Unanswered { since: 0, limit: 90 }");
}

#[test]
fn who_cannot_be_heard_may_have_gone_on() {
    needs("ask@10 mute@50 tick@131", "needs_input@10 | needs_input need@130:0");
    needs("ask@10 mute@50 tick@131 echo@132", "needs_input@10 unanswered@130 | unanswered");
    let heard = "needs_input@10 blind@50 needs_input@200";
    needs("ask@10 blind@50 back@200 tick@280", &format!("{heard} | needs_input"));
    needs("ask@10 blind@50 back@200 tick@281", &format!("{heard} unanswered@280 | unanswered"));
    needs(
        "ask@10 blind@50 back@200 beat@210 tick@281",
        "needs_input@10 blind@50 needs_input@210 unanswered@280 | unanswered",
    );
    needs("ask@10 tick@131 blind@140 tick@900", "needs_input@10 unanswered@130 | unanswered");
    check("ask@10 blind@20 tick@900", "needs_input@10 blind@20 | blind");
}

/// Driven by hooks: it speaks while it acts.
#[track_caller]
fn acts(script: &str, expected: &str) {
    check_with(&format!("{AGENT} lease=500 activity"), script, expected);
}

#[test]
fn who_speaks_only_while_it_acts_is_judged_from_its_first_word_of_work() {
    acts("tick@50000", " | waiting".trim_start_matches(" | "));
    acts("work@0 tick@90", "up@0 | up"); // never late
    acts("work@0 tick@91", "up@0 down@90 | down");
    acts("start@0 tick@91", "up@0 down@90 | down");
    acts("idle@0 p1@10 tick@101", "up@0 down@100 | down");
    // A sign of life says nothing of work.
    acts("beat@0 success@10 log@20 bad@30 tick@9000", "up@0 | up");
    acts("beat@0 fail@10 tick@9000", "up@0 failed@10 | failed");
    acts("work@0 beat@60 tick@150", "up@0 | up");
    acts("work@0 beat@60 tick@151", "up@0 down@150 | down");
}

#[test]
fn it_is_judged_until_it_rests_stops_or_ends_its_run() {
    acts("work@0 idle@10 tick@9000", "up@0 | idle");
    acts("work@0 idle@10 beat@50 tick@9000", "up@0 | idle");
    acts("work@0 idle@10 work@500 tick@591", "up@0 down@590 | down");
    acts("work@0 stop@10 tick@90000", "up@0 leaving@10 | leaving");
    acts("start@0 beat@50 done@80 tick@9000", "up@0 | up");
    acts("work@0 ask@10 tick@9000", "up@0 needs_input@10 | needs_input");
    acts("work@0 ask@10 work@1000 tick@1091", "up@0 needs_input@10 up@1000 down@1090 | down");
    acts("work@0 tick@91 beat@100 tick@191", "up@0 down@90 up@100 down@190 | down");
    acts("work@0 tick@91 idle@100 tick@9000", "up@0 down@90 up@100 | idle");
    acts("work@0 pause@10 resume@20 tick@9000", "up@0 paused@10 waiting@20 | waiting");
}

#[test]
fn a_lease_holds_its_pulse_too() {
    acts("work@0 busy300@10 tick@310", "up@0 | up");
    acts("work@0 busy300@10 tick@311", "up@0 overrun@310 | overrun");
    acts("idle@0 busy300@10 p1@50 tick@140", "up@0 | up");
    acts("idle@0 busy300@10 p1@50 tick@141", "up@0 down@140 | down");
    acts("work@0 busy300@10 end@200 tick@291", "up@0 down@290 | down");
}

#[test]
fn what_it_is_not_heard_in_changes_nothing_of_that() {
    acts("work@0 idle@5 blind@10 back@500 tick@9000", "up@0 blind@10 up@500 | idle");
    acts("work@0 blind@10 back@500 tick@580", "up@0 blind@10 up@500 | up");
    acts("work@0 blind@10 back@500 tick@581", "up@0 blind@10 up@500 down@580 | down");
    acts("work@0 mute@50 tick@91", "up@0 | up need@90:0");
    // Long pauses are no rhythm.
    let script =
        (0..30).map(|n| format!("work@{} beat@{} idle@{} ", n * 1000, n * 1000 + 5, n * 1000 + 10));
    let mut tower = Tower::new("interval=5 timeout=90 activity adaptive");
    tower.play(&script.collect::<String>(), Way::Slot);
    assert!(tower.state.rhythm.longest < 6.0, "{:?}", tower.state.rhythm);
}
