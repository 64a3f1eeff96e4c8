//! Commands as they are typed and as JSON; views as programs read them; what buttons say.

use std::sync::Arc;

use clap::Parser;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;

use super::{
    Caller, Class, Command, Face, Reply, Scope,
    agents::{Agent, AgentView},
    incidents::IncidentView,
    next, press, refusal,
    show::would_tell,
    status::count,
    why::{LinkView, WhyView},
};
use crate::{
    actors::tower::Sight,
    domain::{
        alert::route::{Receiver, Route},
        delivery::{Body, Button, Delivery, Message, State},
        desk::Settings,
        detector,
        id::{DeliveryId, IncidentId, Kind, Origin, ReceiverId, SourceId, WatchId},
        incident::{Ending, Incident, Severity, Step},
        silence::Target,
        text::Text,
        watch::{
            Cause, Condition, Subject,
            agent::{self, Heard, Spec, Verdict},
            beat::Progress,
        },
    },
};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

pub(super) fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().expect("a moment")
}

pub(super) fn text(words: &str) -> Text {
    Text::clean(words, 200)
}

fn origin(line: u32) -> Origin {
    Origin::File { path: "registry.toml".into(), line }
}

fn subject(name: &str) -> Arc<Subject> {
    Arc::new(Subject {
        aliases: vec!["002".parse().expect("a name")],
        group: Some("coding".parse().expect("a name")),
        ..Subject::new(WatchId::new(Kind::Agent, name), text("Mary"), origin(8))
    })
}

fn spec() -> Spec {
    Spec {
        interval: SignedDuration::from_secs(30),
        timeout: SignedDuration::from_secs(90),
        first_beat_within: SignedDuration::from_secs(120),
        stall_after: Some(SignedDuration::from_mins(30)),
        loop_after: None,
        lease_max: SignedDuration::from_mins(30),
        leave_max: SignedDuration::from_mins(10),
        needs_input: None,
        beats: agent::Beats::Steady,
        detector: detector::Kind::Fixed,
        enabled: Arc::new([SourceId(0)]),
    }
}

pub(super) fn seen() -> Agent {
    let mut state = agent::State::new(at("03:00:00"));
    state.last = Some(at("03:12:04.118"));
    state.heard = vec![Heard { source: SourceId(1), last: at("03:12:04.118"), steady: true }];
    (state.beats, state.progress) = (9114, Some(Progress::Count(412)));
    state.progress_at = Some(at("03:09:50"));
    state.task = Some(text("refactor billing tests"));
    state.metadata = Some(Arc::from(r#"{"host":"tower-1"}"#));
    state.said = Verdict::Down;
    state.said_since = at("03:13:34.118");
    Sight {
        subject: subject("mary"),
        spec: Arc::new(spec()),
        state,
        epoch: 1,
        actor_starts: 1,
        quarantined_since: None,
    }
}

pub(super) fn incident(id: u64) -> Incident {
    Incident {
        id: IncidentId(id),
        watch: WatchId::new(Kind::Agent, "mary"),
        subject: subject("mary"),
        condition: Condition::Down,
        severity: Severity::Critical,
        opened_at: at("03:13:34.118"),
        cause: Cause::Silence {
            last: Some(at("03:12:04.118")),
            limit: SignedDuration::from_secs(90),
        },
        task: None,
        acknowledgement: None,
        resolved: None,
        occurrences: 1,
        relapses: Vec::new(),
        told: vec![ReceiverId::new("telegram")],
        revision: 1,
        chain: vec![Step {
            after: SignedDuration::from_mins(15),
            to: vec![ReceiverId::new("hook")],
        }],
        steps_told: 0,
        next_step_at: Some(at("03:28:34.131")),
        repeat_at: Some(at("07:13:35")),
        unrest: None,
        maintenance_until: None,
        held: None,
        digest: None,
    }
}

pub(super) fn delivery(buttons: Vec<Button>) -> Delivery {
    let message = Message {
        glyph: "🔴",
        headline: Vec::new(),
        lines: Vec::new(),
        quote: Vec::new(),
        footer: String::new(),
        buttons,
    };
    Delivery {
        id: DeliveryId(7),
        key: "7".to_owned(),
        receiver: ReceiverId::new("telegram"),
        group: None,
        incidents: vec![IncidentId(412)],
        condition: Condition::Down,
        severity: Severity::Critical,
        revision: 1,
        body: Body::New { message, rings: true },
        created_at: at("03:13:34.131"),
        state: State::Sent,
        attempts: 1,
        next_at: at("03:13:34.131"),
        deadline: at("23:13:34"),
        error: None,
        reference: None,
        failed_over: false,
    }
}

/// A command line, the JSON that it is, and what it needs.
fn check(line: &str, json: serde_json::Value, needs: Scope) {
    let words = std::iter::once("atalaya").chain(line.split(' '));
    let command =
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).command;
    assert_eq!(serde_json::to_value(&command).expect("json"), json, "{line}");
    assert_eq!(serde_json::from_value::<Command>(json).expect("a command"), command, "{line}");
    assert_eq!(command.needs(), needs, "{line}");
}

#[test]
fn a_command_is_the_same_typed_and_as_json() {
    check("status", json!({"command":"status"}), Scope::Read);
    let all = json!({"command":"agents","unknown":false,"group":"coding"});
    check("agents --group coding", all, Scope::Read);
    check("show agent/mary", json!({"command":"show","target":"agent/mary"}), Scope::Read);
    check("why #412", json!({"command":"why","target":"#412"}), Scope::Read);
    check("why -- --help", json!({"command":"why","target":"--help"}), Scope::Read);
    check(
        "incidents --all --watch mary --limit 3",
        json!({"command":"incidents","all":true,"watch":"mary","limit":3}),
        Scope::Read,
    );
    check("silences", json!({"command":"silences"}), Scope::Read);
    check(
        "ping mary --exit 3",
        json!({"command":"ping","agent":"mary","fail":false,"start":false,"log":false,"exit":3}),
        Scope::Ping,
    );
    check(
        "ack #412 mary --for 2h --reason seen",
        json!({"command":"ack","targets":["#412","mary"],"for":"2h","reason":"seen"}),
        Scope::Act,
    );
    check("release 412", json!({"command":"release","targets":["412"]}), Scope::Act);
    check("resolve 412", json!({"command":"resolve","targets":["412"]}), Scope::Act);
    check(
        "silence agent/worker-* 2h deploy of today",
        json!({"command":"silence","target":"agent/worker-*","for":"2h","reason":["deploy","of","today"]}),
        Scope::Act,
    );
    check("unsilence 3", json!({"command":"unsilence","id":3}), Scope::Act);
    check(
        "pause mary worker-*",
        json!({"command":"pause","targets":["mary","worker-*"]}),
        Scope::Act,
    );
    check("resume mary", json!({"command":"resume","targets":["mary"]}), Scope::Act);
    check("forget mary", json!({"command":"forget","agent":"mary"}), Scope::Act);
    check(
        "notify test telegram",
        json!({"command":"notify","verb":{"test":{"receiver":"telegram"}}}),
        Scope::Act,
    );
    check("notify test", json!({"command":"notify","verb":{"test":{}}}), Scope::Act);
    check("apply", json!({"command":"apply"}), Scope::Act);
    check("retry agent/mary", json!({"command":"retry","watch":"agent/mary"}), Scope::Act);
}

#[test]
fn nonsense_is_refused_at_the_door() {
    for line in ["ack", "silence mary", "ping mary --fail --start", "unsilence x", "nothing", "why"]
    {
        let words = std::iter::once("atalaya").chain(line.split(' '));
        assert!(Line::try_parse_from(words).is_err(), "{line}");
    }
    for json in [
        json!({"command":"ack","targets":["#1"],"forever":true}),
        json!({"command":"apply","force":true}),
        json!({"command":"launch"}),
        json!({"targets":["#1"]}),
    ] {
        assert!(serde_json::from_value::<Command>(json.clone()).is_err(), "{json}");
    }
}

#[test]
fn programs_read_agents_and_incidents_by_the_words_of_the_contract() {
    let sources = ["redis".to_owned(), "http".to_owned()];
    let view = AgentView::of(&seen(), (Verdict::Down, false), &sources, Some(IncidentId(412)));
    let json = serde_json::to_value(&view).expect("json");
    let expected = json!({
        "id": "mary", "name": "Mary", "verdict": "down",
        "since": "2026-11-21T03:13:34.118Z", "last_beat": "2026-11-21T03:12:04.118Z",
        "progress": 412, "task": "refactor billing tests", "metadata": {"host": "tower-1"},
        "idle": false, "aliases": ["002"], "group": "coding", "self_registered": false, "source": "http",
        "beats": 9114, "malformed": 0, "seq": null, "progress_at": "2026-11-21T03:09:50Z",
        "interval": "30s", "timeout": "90s", "deadline": null, "incident": 412,
        "quarantined_since": null, "origin": "registry.toml:8",
    });
    assert_eq!(json, expected);
    let list = Reply::Agents(vec![view]);
    let written = serde_json::to_string(&list).expect("json");
    assert!(written.starts_with('['), "{written}");
    let asked = Command::Agents(super::agents::Agents::default());
    assert_eq!(Reply::read(&asked, &written).expect("agents"), list);

    let mut over = incident(412);
    over.resolved = Some((at("03:19:00"), Ending::Recovered));
    over.occurrences = 2;
    let json = serde_json::to_value(IncidentView::of(&over)).expect("json");
    let expected = json!({
        "id": 412, "watch": "agent/mary", "condition": "down", "severity": "critical",
        "status": "resolved", "opened_at": "2026-11-21T03:13:34.118Z",
        "broke_at": "2026-11-21T03:13:34.118Z", "resolved_at": "2026-11-21T03:19:00Z", "occurrences": 2, "revision": 1, "name": "Mary",
        "cause": "silence > 90s", "task": null, "acknowledged_by": null,
        "acknowledged_until": null, "acknowledged_reason": null, "held_by": null, "held_until": null, "ending": "recovered",
        "told": ["telegram"], "next_step_at": null, "repeat_at": null, "origin": "registry.toml:8",
    });
    assert_eq!(json, expected);
}

#[test]
fn lateness_begins_when_the_clock_says_so() {
    let mut seen = seen();
    seen.state.said = Verdict::Up;
    let view = AgentView::of(&seen, (Verdict::Late, false), &[], None);
    assert_eq!(view.since, at("03:12:49.118"));
    assert_eq!(view.source, None);
}

#[test]
fn who_may_not_is_told_how_and_each_class_has_its_code() {
    let caller = |via, may| Caller { name: text("ana"), via, may };
    assert!(caller(Face::Socket, Scope::Act).permits(Scope::Act).is_ok());
    assert!(caller(Face::Http, Scope::Ping).permits(Scope::Read).is_ok());
    let refusal = caller(Face::Http, Scope::Ping).permits(Scope::Act).expect_err("reading alone");
    assert!(refusal.text.contains("ATALAYA_TOKEN"), "{refusal}");
    assert!(caller(Face::Http, Scope::Read).permits(Scope::Ping).is_err());
    for (class, exit, status) in [
        (Class::Refused, 1, 409),
        (Class::Unavailable, 1, 503),
        (Class::WrongUse, 2, 400),
        (Class::Unknown, 2, 404),
        (Class::NotPermitted, 4, 403),
    ] {
        assert_eq!((class.exit_code(), class.http_status()), (exit, status));
    }
    assert_eq!(
        refusal::Refusal::from(crate::actors::tower::Unanswered("the desk")).class,
        Class::Unavailable
    );
}

#[test]
fn what_is_well_is_counted_first_and_the_worst_last() {
    let shown = [
        (Verdict::Down, false),
        (Verdict::Up, false),
        (Verdict::Up, true),
        (Verdict::Blind, false),
        (Verdict::Up, false),
    ];
    let counts: Vec<String> =
        count(shown.into_iter()).iter().map(|it| format!("{} {}", it.count, it.verdict)).collect();
    assert_eq!(counts, ["2 up", "1 idle", "1 blind", "1 down"]);
}

#[test]
fn who_would_be_told_is_what_the_desk_would_do() {
    let receiver = |name: &str, human| Receiver {
        id: ReceiverId::new(name),
        human,
        origin: Origin::Default("test"),
    };
    let mut settings = Settings {
        receivers: vec![receiver("telegram", true), receiver("hook", false)],
        ..Settings::new(text("tower-1"), TimeZone::UTC)
    };
    let told = |settings: &Settings, subject: &Subject, condition| -> Vec<String> {
        let steps = would_tell(settings, subject, condition);
        let step = |it: &super::show::StepView| {
            format!("{}{} {}", it.after.clone().unwrap_or_default(), it.to.join("+"), it.origin)
        };
        steps.iter().map(step).collect()
    };
    let mary = subject("mary");
    assert_eq!(told(&settings, &mary, Condition::Down), ["telegram default: test"]);
    assert!(told(&settings, &mary, Condition::Degraded).is_empty());
    let route = |pattern: &str, line| Route {
        severity: vec![Severity::Critical],
        matching: Some(Target::Pattern(pattern.to_owned())),
        to: vec![ReceiverId::new("telegram")],
        then: vec![Step {
            after: SignedDuration::from_mins(15),
            to: vec![ReceiverId::new("hook")],
        }],
        origin: origin(line),
    };
    settings.routes = vec![route("agent/worker-*", 40), route("agent/*", 42)];
    assert_eq!(
        told(&settings, &mary, Condition::Down),
        ["telegram registry.toml:42", "15mhook registry.toml:42"]
    );
    let own = Subject { notify: vec![ReceiverId::new("hook")], ..(*mary).clone() };
    assert_eq!(told(&settings, &own, Condition::Down), ["hook registry.toml:8"]);
}

#[test]
fn a_button_is_what_the_stored_row_offered() {
    let row = delivery(vec![Button::Acknowledge(1), Button::Why]);
    assert_eq!(press::offered(&row, 1), Some(Button::Why));
    assert_eq!(press::offered(&row, 2), None);

    let (zone, now) = (TimeZone::fixed(jiff::tz::offset(1)), at("04:00:00"));
    let mut over = incident(412);
    over.resolved = Some((at("02:41:00"), Ending::Recovered));
    let both = [over.clone(), incident(413)];
    assert_eq!(press::over(&both, &zone, now), None);
    assert_eq!(press::over(&[over], &zone, now).as_deref(), Some("Over since 03:41"));
    assert_eq!(
        press::list(&both, &zone, now),
        "#412 Mary down over since 03:41\n#413 Mary down since 04:13:34"
    );
    let storm: Vec<Incident> = (0..500).map(incident).collect();
    let list = press::list(&storm, &zone, now);
    assert!(list.chars().count() <= 3500 && list.contains("more"), "{list}");
}

#[test]
fn why_fits_a_chat_and_keeps_its_newest_links() {
    let link = |second: u32| LinkView {
        at: at(&format!("03:13:{second:02}")),
        stage: "verdict".to_owned(),
        outcome: "up → down".to_owned(),
        rule: "silence > 90s".to_owned(),
        origin: "registry.toml:5".to_owned(),
        receiver: None,
        incident: Some(412),
    };
    let view = WhyView {
        watch: "agent/mary".to_owned(),
        name: "Mary".to_owned(),
        verdict: "down".to_owned(),
        since: Some(at("03:13:34")),
        origin: None,
        chain: (0..60).map(link).collect(),
        incidents: Vec::new(),
        deliveries: Vec::new(),
        next: vec![next::of_agent(&seen(), Verdict::Down)],
    };
    let plain = view.plain(&TimeZone::UTC, at("04:00:00"), 300);
    let lines: Vec<&str> = plain.lines().collect();
    assert!(plain.chars().count() <= 300, "{plain}");
    assert_eq!(lines[..2], ["Mary is down since 03:13:34", "…"]);
    assert_eq!(
        lines[lines.len() - 2..],
        [
            "03:13:59 verdict: up → down (silence > 90s; registry.toml:5)",
            "Next: up with its next beat",
        ]
    );
}
