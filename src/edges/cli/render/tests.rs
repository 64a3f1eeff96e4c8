//! What people read in a terminal, whole.

use jiff::{Timestamp, tz::TimeZone};

use super::{Scene, reply};
use crate::{
    control::{
        Reply,
        agents::{AgentView, ProgressView, UnknownView},
        incidents::IncidentView,
        next::NextView,
        show::{AgentDetail, IncidentDetail, PartDetail, RhythmView, ShowView, StepView},
        silences::SilenceView,
        status::{Count, PartView, SignView, StatusView, StoreView},
        why::{DeliveryView, LinkView, WhyView},
    },
    edges::cli::terminal::Terminal,
};

pub(in crate::edges::cli) fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().expect("a moment")
}

pub(in crate::edges::cli) fn scene(unicode: bool) -> Scene {
    Scene {
        node: "tower-1".to_owned(),
        now: at("03:15:20"),
        zone: TimeZone::UTC,
        program: "bin/atalaya".to_owned(),
        terminal: Terminal { colour: false, unicode },
    }
}

fn check(view: &Reply, expected: &str) {
    let text = reply(view, &scene(true));
    assert_eq!(text, expected.trim_matches('\n'), "\n{text}\n");
}

pub(in crate::edges::cli) fn mary() -> AgentView {
    AgentView {
        id: "mary".to_owned(),
        name: "Mary".to_owned(),
        verdict: "down".to_owned(),
        since: at("03:13:34"),
        last_beat: Some(at("03:12:04")),
        progress: Some(ProgressView::Count(412)),
        task: Some("refactor billing tests".to_owned()),
        metadata: None,
        idle: false,
        aliases: vec!["002".to_owned()],
        group: Some("coding".to_owned()),
        self_registered: false,
        source: Some("http".to_owned()),
        beats: 9114,
        malformed: 0,
        seq: None,
        progress_at: Some(at("03:09:50")),
        interval: "30s".to_owned(),
        timeout: "90s".to_owned(),
        deadline: None,
        incident: Some(412),
        quarantined_since: None,
        origin: "registry.toml:8".to_owned(),
    }
}

pub(in crate::edges::cli) fn incident(id: u64, watch: &str) -> IncidentView {
    IncidentView {
        id,
        watch: watch.to_owned(),
        condition: "down".to_owned(),
        severity: "critical".to_owned(),
        status: "open".to_owned(),
        opened_at: at("03:13:34"),
        broke_at: at("03:13:34"),
        resolved_at: None,
        occurrences: 1,
        revision: 1,
        name: "Mary".to_owned(),
        cause: "silence > 90s".to_owned(),
        task: None,
        acknowledged_by: None,
        acknowledged_until: None,
        acknowledged_reason: None,
        held_by: None,
        held_until: None,
        ending: None,
        told: vec!["telegram".to_owned()],
        next_step_at: None,
        repeat_at: None,
        origin: "registry.toml:8".to_owned(),
        would_tell: Vec::new(),
    }
}

pub(in crate::edges::cli) fn held() -> IncidentView {
    IncidentView {
        condition: "degraded".to_owned(),
        severity: "warning".to_owned(),
        status: "acknowledged".to_owned(),
        acknowledged_by: Some("Ana".to_owned()),
        acknowledged_until: Some(at("11:20:00")),
        acknowledged_reason: Some("mine".to_owned()),
        opened_at: "2026-11-19T00:15:20Z".parse().expect("a moment"),
        broke_at: "2026-11-19T00:15:20Z".parse().expect("a moment"),
        ..incident(398, "agent/scout")
    }
}

fn part(watch: &str, trouble: Option<&str>, owed: Option<usize>) -> PartView {
    PartView {
        watch: watch.to_owned(),
        trouble: trouble.map(str::to_owned),
        since: at("03:12:40"),
        detail: "127.0.0.1:6379: connection refused".to_owned(),
        owed,
    }
}

pub(in crate::edges::cli) fn status() -> StatusView {
    let count = |verdict: &str, count| Count { verdict: verdict.to_owned(), count };
    StatusView {
        node: "tower-1".to_owned(),
        version: "0.1.0".to_owned(),
        ready: true,
        now: at("03:15:20"),
        started_at: "2026-11-14T23:15:20Z".parse().expect("a moment"),
        registry_read_at: at("02:10:31"),
        troubles: vec![incident(412, "agent/mary"), held()],
        troubles_unknown: None,
        agents: 6,
        verdicts: vec![count("up", 4), count("idle", 1), count("down", 1)],
        unknown: 1,
        parts: vec![
            part("source/http", None, None),
            part("source/redis", Some("blind"), None),
            part("receiver/telegram", None, Some(0)),
            part("self/registry", Some("held"), None),
        ],
        signs: vec![SignView {
            name: "deadman".to_owned(),
            taken_at: Some(at("03:14:58")),
            failing_since: None,
            detail: String::new(),
        }],
        store: StoreView { kind: "sqlite".to_owned(), bytes: 38_200_000 },
        restarts: 0,
        refused_beats: 0,
        dry_run: false,
        watchdog_seconds: Some(60),
    }
}

fn told() -> DeliveryView {
    DeliveryView {
        changed_at: at("03:13:35.100"),
        id: 7,
        receiver: "telegram".to_owned(),
        kind: "new".to_owned(),
        state: "sent".to_owned(),
        attempts: 1,
        created_at: at("03:13:34"),
        next_at: at("03:13:34"),
        error: None,
        incidents: 1,
        failed_over: false,
    }
}

fn next(at: Option<Timestamp>, what: &str) -> NextView {
    NextView { at, what: what.to_owned() }
}

#[test]
fn status_says_trouble_first_then_what_is_well() {
    check(
        &Reply::Status(Box::new(status())),
        r"
tower-1   atalaya 0.1.0   up 6d 4h                                03:15:20
✗  agent/mary   down      1m 46s  silence > 90s           #412
!  agent/scout  degraded  2d 3h   Ana has it until 11:20  #398

agents      6   4 up  1 idle  1 down
sources     http ok  redis blind 2m 40s
receivers   telegram ok, 0 owed
registry    of 02:10:31, an edit is held
store       sqlite, 38 MB
signs       deadman given 22s ago
unknown     1 id not watched: bin/atalaya agents --unknown
",
    );
    let mut well = status();
    well.troubles.clear();
    well.parts.clear();
    well.signs[0] = SignView {
        failing_since: Some(at("03:11:20")),
        detail: "it answers 503 Service Unavailable".to_owned(),
        ..well.signs[0].clone()
    };
    well.verdicts.clear();
    (well.agents, well.unknown, well.ready) = (0, 0, false);
    assert!(!well.is_bad_news());
    check(
        &Reply::Status(Box::new(well)),
        r"
tower-1   atalaya 0.1.0   up 6d 4h                                03:15:20
starting: it does not judge yet
✓ nothing is in trouble

agents      0
sources
receivers   none: nobody is told but this terminal's log
registry    of 02:10:31
store       sqlite, 38 MB
signs       deadman failing 4m: it answers 503 Service Unavailable
",
    );
    let storm = (0..200).map(|id| incident(id, "agent/x")).collect();
    let text = Reply::Status(Box::new(StatusView { troubles: storm, ..status() }));
    assert!(reply(&text, &scene(true)).contains("  and 180 more: bin/atalaya incidents\n"));
}

#[test]
fn status_is_bad_news_while_something_critical_is_open() {
    assert!(status().is_bad_news());
    let held = StatusView { troubles: vec![held()], ..status() };
    assert!(!held.is_bad_news());
}

#[test]
fn without_unicode_the_glyphs_are_ascii() {
    let text = reply(&Reply::Status(Box::new(status())), &scene(false));
    assert!(text.contains("x  agent/mary"), "{text}");
    assert!(text.is_ascii(), "{text}");
    let text = reply(&Reply::Why(Box::new(why())), &scene(false));
    assert!(text.contains("up -> down") && text.is_ascii(), "{text}");
}

#[test]
fn show_tells_all_that_is_known_of_an_agent() {
    let detail = AgentDetail {
        agent: mary(),
        watched_since: at("01:00:00"),
        actor_starts: 1,
        first_beat_within: "2m".to_owned(),
        beats_expected: "steady".to_owned(),
        needs_input: Some("2m".to_owned()),
        asked_at: Some(at("03:11:00")),
        stall_after: Some("30m".to_owned()),
        loop_after: None,
        lease: None,
        rhythm: RhythmView {
            recent_seconds: vec![30.0, 30.0, 41.0, 30.0],
            usual_seconds: 30.2,
            longest_seconds: 41.0,
            count: 200,
        },
        skew_seconds: Some(-600),
        open: vec![incident(412, "agent/mary")],
        told: vec![told()],
        would_tell: vec![
            StepView {
                after: None,
                to: vec!["telegram".to_owned()],
                origin: "registry.toml:42".to_owned(),
            },
            StepView {
                after: Some("15m".to_owned()),
                to: vec!["hook".to_owned()],
                origin: "registry.toml:42".to_owned(),
            },
        ],
        depends_on: vec!["agent/db".to_owned()],
        silences: Vec::new(),
        next: vec![
            next(None, "up with its next beat"),
            next(Some(at("07:13:34")), "rings again, unless acknowledged"),
        ],
    };
    check(
        &Reply::Show(Box::new(ShowView::Agent(Box::new(detail)))),
        r#"
agent/mary "Mary"   DOWN since 03:13:34 (silent 3m 16s)   #412
pulse      last 03:12:04 over http, every 30s, down after 90s
progress   412, still since 03:09:50 (stalls after 30m)
input      waits for a person since 03:11:00 (people are told after 2m)
task       refactor billing tests
beats      ▆▆█▆ ✗    usual 30s, longest 41s
clock      its clock is 600s behind ours
open       #412 down silence > 90s
next       up with its next beat
next       07:13:34 rings again, unless acknowledged
told       03:13:34  telegram  rings  sent (1.1s)
would tell telegram; after 15m without acknowledgement: hook (registry.toml:42)
depends on agent/db
aliases    002
group      coding
from       registry.toml:8
"#,
    );
}

#[test]
fn show_tells_of_a_part_and_of_an_incident() {
    let detail = PartDetail {
        part: part("source/redis", Some("blind"), None),
        open: vec![IncidentView { condition: "blind".to_owned(), ..incident(420, "source/redis") }],
        told: Vec::new(),
        next: Vec::new(),
    };
    check(
        &Reply::Show(Box::new(ShowView::Part(detail))),
        r"
source/redis   BLIND since 03:12:40
detail     127.0.0.1:6379: connection refused
open       ✗  #420  source/redis  blind  critical  since 03:13:34  1m 46s  silence > 90s
",
    );
    let over = IncidentView {
        status: "resolved".to_owned(),
        resolved_at: Some(at("03:14:46")),
        ending: Some("recovered".to_owned()),
        ..incident(412, "agent/mary")
    };
    let detail = IncidentDetail {
        incident: over,
        relapses: vec![at("03:14:00")],
        chain: why().chain,
        deliveries: vec![told()],
        next: Vec::new(),
    };
    let view = ShowView::Incident(Box::new(detail));
    let json = serde_json::to_string(&view).expect("a view is JSON");
    assert_eq!(serde_json::from_str::<ShowView>(&json).expect("as the daemon sends it"), view);
    check(
        &Reply::Show(Box::new(view)),
        r"
#412 agent/mary down   critical, resolved
since      03:13:34 (silence > 90s)
until      03:14:46 after 1m 12s: recovered
relapses   03:14:00
told       03:13:34  telegram  rings  sent (1.1s)
from       registry.toml:8
03:13:34.118  verdict   up → down    silence > 90s     registry.toml:5
03:13:34.131  incident  #412 opened  critical          default: down is critical
03:13:34.131  telegram  told         first route       registry.toml:42
03:14:38.010  telegram  edited only  joined its group  default: within 30s
",
    );
}

pub(in crate::edges::cli) fn why() -> WhyView {
    let link = |time: &str, stage: &str, outcome: &str, rule: &str, origin: &str| LinkView {
        at: at(time),
        stage: stage.to_owned(),
        outcome: outcome.to_owned(),
        rule: rule.to_owned(),
        origin: origin.to_owned(),
        receiver: (stage == "route").then(|| "telegram".to_owned()),
        incident: Some(412),
    };
    let retried = DeliveryView {
        id: 8,
        receiver: "hook".to_owned(),
        kind: "opened".to_owned(),
        state: "pending".to_owned(),
        attempts: 3,
        next_at: at("03:15:30"),
        error: Some("connection refused".to_owned()),
        ..told()
    };
    WhyView {
        watch: "agent/mary".to_owned(),
        name: "Mary".to_owned(),
        verdict: "down".to_owned(),
        since: Some(at("03:13:34")),
        origin: Some("registry.toml:8".to_owned()),
        chain: vec![
            link("03:13:34.118", "verdict", "up → down", "silence > 90s", "registry.toml:5"),
            link("03:13:34.131", "incident", "opened", "critical", "default: down is critical"),
            link("03:13:34.131", "route", "told", "first route", "registry.toml:42"),
            link("03:14:38.010", "route", "edited only", "joined its group", "default: within 30s"),
        ],
        incidents: vec![incident(412, "agent/mary")],
        deliveries: vec![DeliveryView { incidents: 200, ..told() }, retried],
        next: vec![next(None, "up with its next beat"), next(Some(at("07:13:34")), "rings again")],
    }
}

#[test]
fn why_prints_the_chain_with_the_rule_and_place_of_each_link() {
    check(
        &Reply::Why(Box::new(why())),
        r#"
agent/mary "Mary"   down since 03:13:34   #412   registry.toml:8
03:13:34.118  verdict   up → down              silence > 90s     registry.toml:5
03:13:34.131  incident  #412 opened            critical          default: down is critical
03:13:34.131  telegram  told                   first route       registry.toml:42
03:14:38.010  telegram  edited only            joined its group  default: within 30s
now                     up with its next beat
now           07:13:34  rings again

03:13:34  telegram  rings   sent (1.1s)                of 200 incidents
03:13:34  hook      opened  3 attempts, next 03:15:30                    connection refused
"#,
    );
}

#[test]
fn agents_have_a_column_for_groups_where_any_has_one() {
    let up = AgentView {
        id: "paula-the-second".to_owned(),
        verdict: "up".to_owned(),
        since: at("01:00:00"),
        last_beat: Some(at("03:15:10")),
        progress: Some(ProgressView::Digest("sha256:0123456789abcdef".to_owned())),
        task: None,
        idle: true,
        group: None,
        ..mary()
    };
    check(
        &Reply::Agents(vec![mary(), up.clone()]),
        r"
   agent             group   verdict  for     last beat   progress      doing
✗  mary              coding  down     1m 46s  3m 16s ago  412           refactor billing tests
·  paula-the-second          idle     2h 15m  10s ago     sha256:0123…
",
    );
    check(
        &Reply::Agents(vec![up]),
        r"
   agent             verdict  for     last beat  progress      doing
·  paula-the-second  idle     2h 15m  10s ago    sha256:0123…
",
    );
}

#[test]
fn lists_are_aligned_and_empty_ones_say_what_to_do() {
    check(
        &Reply::Agents(Vec::new()),
        "no agent is watched yet. A first beat: bin/atalaya ping mary",
    );
    check(
        &Reply::Unknown(vec![UnknownView {
            id: "ghost".to_owned(),
            beats: 3,
            last_beat: at("03:15:00"),
        }]),
        "ghost  3 beats  last 20s ago",
    );
    let over = IncidentView {
        resolved_at: Some(at("03:14:34")),
        status: "resolved".to_owned(),
        ending: Some("recovered".to_owned()),
        occurrences: 3,
        ..incident(397, "agent/lisa")
    };
    check(
        &Reply::Incidents(vec![incident(412, "agent/mary"), held(), over]),
        r"
✗  #412  agent/mary   down      critical  since 03:13:34         1m 46s  silence > 90s
!  #398  agent/scout  degraded  warning   since 19 Nov 00:15:20  2d 3h   Ana has it until 11:20
✓  #397  agent/lisa   down      critical  since 03:13:34         1m      recovered; 3 times
",
    );
    check(
        &Reply::Incidents(Vec::new()),
        "✓ no incident is open. All that were: bin/atalaya incidents --all",
    );
    check(
        &Reply::Silences(vec![SilenceView {
            id: 3,
            target: "agent/worker-*".to_owned(),
            by: "Ana".to_owned(),
            reason: Some("deploy".to_owned()),
            from: at("03:00:00"),
            until: at("05:00:00"),
            muted: 4,
        }]),
        "3  agent/worker-*  until 05:00  by Ana  4 muted  deploy\nTo end one: bin/atalaya unsilence ID",
    );
}
