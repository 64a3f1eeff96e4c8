//! Samples for the contract: one of each thing that is stored, every field set.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    alert::group::Group,
    decision::{Decision, Stage},
    delivery::{Body, Button, Delivery, Message, Span, State},
    detector::Rhythm,
    id::{DeliveryId, GroupId, IncidentId, Kind, Origin, ReceiverId, SourceId, WatchId},
    incident::{Acknowledgement, Digest, Ending, Flapping, Hold, Incident, Severity, Step, Unrest},
    silence::{Silence, Target},
    text::Text,
    watch::{
        Cause, Condition, Subject, Verdict,
        agent::{self, Heard, Lease},
        beat::{Beat, Busy, Progress, Report},
    },
    write::{Facts, FlipRecord, Outcome, Write},
};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::new(1_795_000_000 + second, 123_456_789).expect("within range")
}

pub(super) fn mary() -> WatchId {
    WatchId::new(Kind::Agent, "mary")
}

pub(super) fn text(raw: &str) -> Text {
    Text::clean(raw, 200)
}

/// An incident with every field set.
pub(super) fn incident(id: u64, watch: &WatchId, condition: Condition) -> Incident {
    Incident {
        id: IncidentId(id),
        watch: watch.clone(),
        subject: Arc::new(Subject {
            watch: watch.clone(),
            name: text("Mary <b>\"'&"),
            origin: Origin::File { path: "registry.toml".into(), line: 12 },
            notify: vec![ReceiverId::new("hook")],
            severity: vec![(Condition::Degraded, Severity::Critical)],
            self_registered: true,
            timeout: Some(SignedDuration::from_secs(90)),
            aliases: vec!["agent:002".parse().expect("a name")],
            group: Some("coding".parse().expect("a name")),
        }),
        condition,
        severity: Severity::Critical,
        opened_at: at(1),
        cause: Cause::Silence { last: Some(at(0)), limit: SignedDuration::from_secs(90) },
        task: Some(text("refactor billing tests 😀")),
        acknowledgement: Some(Acknowledgement {
            by: text("Ana"),
            reason: None,
            at: at(2),
            until: at(28_802),
        }),
        resolved: None,
        occurrences: 2,
        relapses: vec![at(3), at(4)],
        told: vec![ReceiverId::new("telegram")],
        revision: 7,
        chain: vec![Step {
            after: SignedDuration::from_mins(15),
            to: vec![ReceiverId::new("hook"), ReceiverId::new("log")],
        }],
        steps_told: 1,
        next_step_at: Some(at(900)),
        repeat_at: Some(at(77)),
        maintenance_until: Some(at(900)),
        held: Some(Hold { by: WatchId::new(Kind::Source, "redis"), until: Some(at(61)) }),
        digest: Some(Digest { due: Some(at(1_800)), told: true }),
        unrest: Some(Unrest {
            changes: vec![at(1), at(4)],
            flapping: Some(Flapping {
                since: at(1),
                count: 7,
                severity: Severity::Critical,
                told: Some(Condition::Down),
            }),
        }),
    }
}

pub(super) fn resolved(id: u64, watch: &WatchId, second: i64) -> Incident {
    Incident {
        resolved: Some((at(second), Ending::Became(Condition::Down))),
        ..incident(id, watch, Condition::Stalled)
    }
}

pub(super) fn message() -> Message {
    Message {
        glyph: "🔴",
        headline: vec![Span::Bold("Mary is down".into()), Span::Plain(": silent since".into())],
        lines: vec![vec![Span::Italic("x".into())], vec![Span::Code("y".into())], vec![]],
        quote: vec!["ModuleNotFoundError".into()],
        footer: "tower-1 · #412".into(),
        buttons: vec![Button::Acknowledge(7), Button::SilenceOneHour, Button::Why],
    }
}

pub(super) fn delivery(id: u64, receiver: &str, body: Body) -> Delivery {
    Delivery {
        id: DeliveryId(id),
        key: format!("412/{receiver}/{id}"),
        receiver: ReceiverId::new(receiver),
        group: Some(GroupId(3)),
        incidents: vec![IncidentId(412), IncidentId(9)],
        condition: Condition::Down,
        severity: Severity::Critical,
        revision: 4,
        body,
        created_at: at(10),
        state: State::Pending,
        attempts: 0,
        next_at: at(10),
        deadline: Timestamp::MAX,
        error: None,
        reference: None,
        failed_over: false,
    }
}

pub(super) fn owed(id: u64, receiver: &str) -> Delivery {
    delivery(id, receiver, Body::New { message: message(), rings: true })
}

pub(super) fn outcome(delivery: u64, state: State, second: i64) -> Write {
    Write::Outcome(Box::new(Outcome {
        delivery: DeliveryId(delivery),
        state,
        attempts: 3,
        next_at: at(20),
        at: at(second),
        error: Some(text("500")),
        reference: Some("8812".into()),
        failed_over: true,
    }))
}

pub(super) fn group(id: u64, members: &[u64], closed: bool) -> Group {
    Group {
        id: GroupId(id),
        receiver: ReceiverId::new("telegram"),
        condition: Condition::Down,
        members: members.iter().map(|it| IncidentId(*it)).collect(),
        opened_at: at(1),
        revision: 2,
        rang_at: at(1),
        members_at_ring: 1,
        closed,
        sealed: true,
    }
}

pub(super) fn silence(id: u64, target: Target) -> Silence {
    Silence {
        id,
        target,
        by: text("Ana"),
        reason: Some(text("deploy")),
        from: at(1),
        until: at(61),
        muted: 5,
    }
}

/// Facts with every field set.
pub(super) fn facts(watch: &WatchId, n: u64) -> Facts {
    let mut beat = Beat::plain(at(5), SourceId(2));
    beat.report = Report::Fail { exit: Some(3) };
    beat.claimed = Some(at(600));
    beat.task = Some(None);
    beat.progress = Some(Progress::Digest("ab12".into()));
    beat.busy = Busy::Until { op: text("build"), for_: SignedDuration::from_mins(5) };
    beat.run = Some("7f".into());
    let state = agent::State {
        watched_since: at(0),
        last: Some(at(4)),
        heard: vec![Heard { source: SourceId(0), last: at(4), steady: true }],
        rhythm: Rhythm {
            count: 7,
            mean: 30.5,
            variance: 0.25,
            longest: 41.0,
            recent: vec![30.0, 0.5],
        },
        report: Report::Degraded(text("slow")),
        reported_at: Some(at(3)),
        task: Some(text("refactor")),
        progress: Some(Progress::Count(u64::MAX)),
        progress_at: Some(at(2)),
        repeats: 2,
        lease: Some(Lease { op: text("tests"), until: at(300) }),
        lease_spent: true,
        metadata: Some(r#"{"model":"x","deep":[1,{"a":"\u0000"}]}"#.into()),
        seq: Some(9114),
        skew: Some(SignedDuration::new(-601, -5)),
        malformed: 1,
        beats: 4711,
        paused: false,
        not_before: Some(at(90)),
        pending: vec![beat],
        said: agent::Verdict::Degraded,
        said_since: at(3),
        deadline: Some(at(94)),
        asked: Some(agent::Asked { at: at(3), deaf: SignedDuration::from_secs(4) }),
        working_since: Some(at(41)),
        broken: agent::Broken { stalled: Some(at(90)), ..agent::Broken::default() },
    };
    Facts {
        watch: watch.clone(),
        epoch: u64::MAX - 1,
        n,
        state: Arc::new(state.into()),
        self_registered: true,
        removed_at: None,
    }
}

pub(super) fn flip(watch: &WatchId, n: u64, second: i64) -> FlipRecord {
    FlipRecord {
        watch: watch.clone(),
        epoch: u64::MAX - 1,
        n,
        from: Verdict::Agent(agent::Verdict::Up),
        to: Verdict::Part(Some(Condition::Unwatched)),
        at: at(second),
        noticed_at: at(second + 1),
    }
}

pub(super) fn decision(watch: &WatchId, incident: Option<u64>, second: i64) -> Decision {
    Decision {
        at: at(second),
        watch: watch.clone(),
        incident: incident.map(IncidentId),
        stage: Stage::Group,
        outcome: text("edited only"),
        rule: text("joined a group within 30s"),
        origin: Origin::Default("join_within"),
        receiver: Some(ReceiverId::new("telegram")),
    }
}
