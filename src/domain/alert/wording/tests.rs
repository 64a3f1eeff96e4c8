//! What messages read like, whole (docs/BEHAVIOUR.md 9, "What a message says").

use std::sync::Arc;

use jiff::{SignedDuration, tz::TimeZone};

use super::*;
use crate::domain::{
    id::{Origin, WatchId},
    incident::{Acknowledgement, Step},
    watch::Subject,
};

fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().unwrap()
}

fn settings() -> Settings {
    Settings::new(Text::clean("tower-1", 40), TimeZone::fixed(jiff::tz::offset(1)))
}

fn incident(watch: &str, name: &str, condition: Condition, cause: Cause) -> Incident {
    let watch: WatchId = watch.parse().unwrap();
    Incident {
        id: IncidentId(412),
        watch: watch.clone(),
        subject: Arc::new(Subject {
            self_registered: name == "stray",
            ..Subject::new(watch, Text::clean(name, 200), Origin::Default("test"))
        }),
        condition,
        severity: condition.severity(),
        opened_at: at("02:13:34"),
        cause,
        task: None,
        acknowledgement: None,
        resolved: None,
        occurrences: 1,
        relapses: Vec::new(),
        told: Vec::new(),
        revision: 0,
        chain: Vec::new(),
        steps_told: 0,
        next_step_at: None,
        repeat_at: None,
        unrest: None,
        maintenance_until: None,
        held: None,
        digest: None,
    }
}

fn down(name: &str) -> Incident {
    let limit = SignedDuration::from_secs(90);
    let cause = Cause::Silence { last: Some(at("02:12:04")), limit };
    incident("mary", name, Condition::Down, cause)
}

fn fault(watch: &str, condition: Condition, why: &str) -> Incident {
    let name = watch.split('/').next_back().unwrap();
    incident(watch, name, condition, Cause::Fault(Text::clean(why, 400)))
}

/// The message as lines, marks as `<b>` and `<i>`, isolates left out.
fn shown(members: &[Incident], reason: Option<&Reason>) -> String {
    let settings = settings();
    let members: Vec<&Incident> = members.iter().collect();
    let scene = Scene {
        settings: &settings,
        members: &members,
        reason,
        silence: None,
        holds: &[],
        repeats_at: Some(at("06:13:34")),
        now: at("02:20:00"),
    };
    let message = message(&scene);
    let line = |spans: &Vec<Span>| {
        let set = spans.iter().map(|it| match it {
            Span::Plain(it) => it.clone(),
            Span::Bold(it) => format!("<b>{it}</b>"),
            Span::Italic(it) => format!("<i>{it}</i>"),
            Span::Code(it) => format!("`{it}`"),
        });
        set.collect::<String>()
    };
    let mut lines = vec![format!("{} {}", message.glyph, line(&message.headline))];
    lines.extend(message.lines.iter().map(line));
    lines.push(message.footer.clone());
    lines.push(format!("{:?}", message.buttons));
    lines.join("\n").replace(['\u{2068}', '\u{2069}'], "")
}

fn check(members: &[Incident], reason: Option<&Reason>, expected: &str) {
    assert_eq!(shown(members, reason), expected.replace("\n        ", "\n").trim());
}

#[test]
fn opened() {
    let mut mary = down("Mary");
    mary.task = Some(Text::clean("refactor billing tests", 200));
    check(
        &[mary.clone()],
        Some(&Reason::Opened),
        "🔴 <b>Mary is down</b>: silent since 03:12:04
        Was doing: <i>refactor billing tests</i>
        Without you: I ring again at 07:13
        tower-1 · #412
        [Acknowledge(1), SilenceOneHour, Why]",
    );
    mary.chain =
        vec![Step { after: SignedDuration::from_mins(15), to: vec![ReceiverId::new("hook")] }];
    mary.next_step_at = Some(at("02:28:34"));
    mary.task = None;
    mary.subject = down("stray").subject;
    check(
        &[mary],
        Some(&Reason::Opened),
        "🔴 <b>stray is down</b>: silent since 03:12:04
        Without you: hook hears of it at 03:28
        tower-1 · #412
        [Acknowledge(1), SilenceOneHour, Why, Forget]",
    );
}

#[test]
fn who_waits_for_a_person_asks_in_the_first_line() {
    let limit = SignedDuration::from_mins(2);
    let cause = Cause::Unanswered { since: at("02:11:34"), limit };
    let mut mary = incident("mary", "Mary", Condition::NeedsInput, cause);
    mary.task = Some(Text::clean("permission for Bash", 200));
    check(
        &[mary.clone()],
        Some(&Reason::Opened),
        "🟡 <b>Mary asks you</b>: permission for Bash
        Waits since 03:11:34
        Without you: I ring again at 07:13
        tower-1 · #412
        [Acknowledge(1), SilenceOneHour, Why]",
    );
    mary.task = None;
    let said = shown(&[mary.clone()], Some(&Reason::Opened));
    assert!(said.starts_with("🟡 <b>Mary asks you</b> since 03:11:34\nWithout"), "{said}");
    mary.resolved = Some((at("02:18:00"), Ending::Recovered));
    let said = shown(&[mary], None);
    assert!(
        said.starts_with("✅ <b>Mary goes on</b>: waited 4 min 26 s, 03:13 to 03:18"),
        "{said}"
    );
}

#[test]
fn a_group_lists_five_and_counts_the_rest() {
    let names = ["Mary", "Lisa", "Paula", "Hybrid", "Scout", "Ann", "Bea"];
    let mut members: Vec<Incident> = names.into_iter().map(down).collect();
    for (place, member) in (0..).zip(&mut members) {
        member.id = IncidentId(412 + place);
    }
    check(
        &members,
        None,
        "🔴 <b>7 agents are down</b> since 03:13 (Mary first)
        Mary, Lisa, Paula, Hybrid, Scout<i> and 2 more</i>
        Without you: I ring again at 07:13
        tower-1 · #412 to #418
        [Acknowledge(7), SilenceOneHour, List, Why]",
    );
    members[0].resolved = Some((at("02:19:00"), Ending::Recovered));
    members[1].acknowledgement = Some(held());
    check(
        &members,
        None,
        "🔴 <b>6 agents are down</b> since 03:13 (Lisa first)
        Lisa, Paula, Hybrid, Scout, Ann<i> and 1 more</i>
        1 of 7 over
        👤 Ana has 1 of 6 until 11:20: no repeats, no escalation
        Without you: I ring again at 07:13
        tower-1 · #412 to #418
        [Acknowledge(5), SilenceOneHour, List, Why]",
    );
}

fn held() -> Acknowledgement {
    let by = Text::clean("Ana", 40);
    Acknowledgement { by, reason: None, at: at("02:20:00"), until: at("10:20:00") }
}

#[test]
fn acknowledged_relapsed_repeated_and_over() {
    let mut mary = down("Mary");
    mary.acknowledgement = Some(held());
    check(
        &[mary],
        None,
        "🔴 <b>Mary is down</b>: silent since 03:12:04
        👤 Ana has it until 11:20: no repeats, no escalation
        tower-1 · #412
        [Release, SilenceOneHour, Why]",
    );
    let mut again = down("Mary");
    again.occurrences = 2;
    again.relapses.push(at("02:19:00"));
    check(
        &[again],
        Some(&Reason::Relapsed { after: SignedDuration::from_mins(4) }),
        "🔴 <b>Mary is down again</b>: 4 min after coming back
        Second time since 03:13
        Without you: I ring again at 07:13
        tower-1 · #412
        [Acknowledge(1), SilenceOneHour, Why]",
    );
    let by = Text::clean("Ana", 40);
    for (reason, line) in [
        (Reason::Repeated, "Still so, since 03:13; nobody has it"),
        (Reason::Escalated, "Nobody has acknowledged it since 03:13"),
        (Reason::MaintenanceEnded, "Maintenance has ended and it is still so"),
        (Reason::SilenceEnded { id: 3 }, "Silence 3 has ended and it is still so"),
        (
            Reason::Unacknowledged { by: by.clone(), released: false },
            "Ana had it, and the time is over: nobody has it now",
        ),
        (
            Reason::FailedOver {
                from: ReceiverId::new("telegram"),
                why: Text::clean("blocked", 9),
            },
            "You hear it because telegram did not take it: blocked",
        ),
    ] {
        assert_eq!(shown(&[down("Mary")], Some(&reason)).lines().nth(1), Some(line));
    }
    let mut over = down("Mary");
    over.resolved = Some((at("02:19:46"), Ending::Recovered));
    check(
        &[over],
        None,
        "✅ <b>Mary is back</b>: down 6 min 12 s, 03:13 to 03:19
        tower-1 · #412
        [Why]",
    );
}

#[test]
fn troubles_of_atalaya_itself() {
    for (watch, condition, headline) in [
        ("source/redis", Condition::Blind, "⚪ <b>Cannot hear over redis</b> since 03:13:34"),
        ("agent/mary", Condition::Unwatched, "🔴 <b>mary is watched by nobody</b> since 03:13:34"),
        (
            "self/registry",
            Condition::Refused,
            "🟡 <b>A new registry was refused</b> since 03:13:34",
        ),
        ("self/registry", Condition::Held, "🟡 <b>A new registry is held</b> since 03:13:34"),
        (
            "self/store",
            Condition::Unwritable,
            "🔴 <b>The store cannot be written</b> since 03:13:34",
        ),
        (
            "receiver/hook",
            Condition::Undeliverable,
            "🔴 <b>hook takes no messages</b> since 03:13:34",
        ),
        (
            "self/desk",
            Condition::SetAside,
            "🔴 <b>A stored incident was set aside</b> since 03:13:34",
        ),
        (
            "self/escalation",
            Condition::Overdue,
            "🔴 <b>A step of an escalation was not done in time</b> since 03:13:34",
        ),
    ] {
        let text = shown(&[fault(watch, condition, "46 agents: connection refused")], None);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(headline));
        assert_eq!(lines.next(), Some("`46 agents: connection refused`"));
        assert!(headline.chars().count() < 70 && lines.next().is_some());
    }
    let mut heard = fault("source/redis", Condition::Blind, "gone");
    heard.resolved = Some((at("02:16:39"), Ending::Recovered));
    check(
        &[heard],
        None,
        "✅ <b>Hearing again over redis</b>: deaf 3 min 5 s, 03:13 to 03:16
        tower-1 · #412 · source/redis
        [Why]",
    );
}

#[test]
fn names_are_isolated_and_cut_and_machines_read_them_bare() {
    let long = down(&format!("<b>_{}", "x".repeat(60)));
    let settings = settings();
    let scene = Scene {
        settings: &settings,
        members: &[&long],
        reason: None,
        silence: None,
        holds: &[],
        repeats_at: None,
        now: at("02:20:00"),
    };
    let message = message(&scene);
    let Span::Bold(first) = &message.headline[0] else { panic!("bold") };
    assert!(
        first.starts_with("\u{2068}<b>_xxx") && first.ends_with("…\u{2069} is down"),
        "{first}"
    );
    assert_eq!(first.chars().take_while(|it| *it != '\u{2069}').count(), 41);
    assert!(plain(&message).ends_with("… is down: silent since 03:12:04 (tower-1 · #412)"));
}

#[test]
fn dates_and_durations() {
    let zone = TimeZone::UTC;
    assert_eq!(clock(at("02:12:04"), at("23:00:00"), &zone), "02:12");
    let tomorrow = later_by_a_day(at("02:12:04"));
    assert_eq!(clock(at("02:12:04"), tomorrow, &zone), "21 Nov 02:12");
    for (seconds, said, as_written) in [
        (0, "0 s", "0s"),
        (90, "1 min 30 s", "90s"),
        (372, "6 min 12 s", "6m 12s"),
        (3_600, "1 h", "1h"),
        (5_400, "1 h 30 min", "1h 30m"),
        (3_605, "1 h", "1h 5s"),
        (200_000, "2 d 7 h", "2d 7h 33m 20s"),
    ] {
        let span = SignedDuration::from_secs(seconds);
        assert_eq!((spoken(span).as_str(), written(span).as_str()), (said, as_written));
    }
    assert_eq!(written(SignedDuration::from_millis(1_500)), "1500ms");
}

fn later_by_a_day(at: Timestamp) -> Timestamp {
    at.saturating_add(SignedDuration::from_hours(24)).unwrap()
}

#[test]
fn an_exit_code_is_said_once() {
    let said = |status: &str, exit| rule(&Cause::Said { status: Text::clean(status, 40), exit });
    assert_eq!(said("exit 3", Some(3)), "exit 3");
    assert_eq!(said("error", None), "it said error");
}
