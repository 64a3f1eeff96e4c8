//! From a silent agent to a message on a phone, over each way by which agents beat, and back.

use std::{process::Stdio, time::Duration};

use jiff::SignedDuration;

use crate::support::{
    daemon::Daemon,
    redis::Redis,
    telegram::FakeTelegram,
    views::{later_by, time},
    wait,
};

const SOON: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: SignedDuration = SignedDuration::from_millis(1_000);
const MARY: &str = "[[agent]]\nid = \"mary\"\nname = \"Mary\"\ninterval = \"300ms\"\ntimeout = \"1s\"\nfirst_beat_within = \"1m\"\n";

/// How mary speaks.
#[derive(Debug, Clone, Copy)]
enum Way {
    Curl,
    OwnChannel,
    SharedChannel,
    Envelope,
}

impl Way {
    async fn beat(self, daemon: &Daemon, redis: Option<&Redis>) {
        let payload = match self {
            Self::Curl => return curl(&daemon.url("/ping/mary")).await,
            Self::OwnChannel => ("agents:heartbeat:mary", r#"{"status":"ok"}"#),
            Self::SharedChannel => (
                "binaryrogue:heartbeats",
                r#"{"agent_id":"mary","status":"alive","timestamp":"2026-11-22T07:00:00.123456"}"#,
            ),
            Self::Envelope => (
                "agents:heartbeat",
                r#"{"channel":"agents:heartbeat","timestamp":"2026-11-22T07:00:00.123456","data":{"agent_id":"mary","status":"working","current_task":"billing","progress":3}}"#,
            ),
        };
        let redis = redis.expect("this way leads over Redis");
        redis.publish_heard(payload.0, payload.1, SOON).await;
    }
}

/// As in the README and in many a crontab.
async fn curl(url: &str) {
    let mut command = tokio::process::Command::new("curl");
    command.args(["-fsS", "-m", "10", "-o", "/dev/null", url]).stdin(Stdio::null());
    let status = command.status().await.expect("curl starts: `tests/run` installs it");
    assert!(status.success(), "curl {url}: {status}");
}

async fn check(way: Way) {
    let telegram = FakeTelegram::start().await;
    let mut setup = Daemon::setup().registry(MARY).telegram(&telegram, "");
    let redis = match way {
        Way::Curl => None,
        Way::OwnChannel | Way::SharedChannel | Way::Envelope => Some(Redis::start().await),
    };
    if let Some(redis) = &redis {
        setup = setup.config(&format!("[redis]\nurl = \"{}\"\n", redis.url()));
    }
    let daemon = setup.start().await;
    for _ in 0..3 {
        way.beat(&daemon, redis.as_ref()).await;
        daemon.all_are("up", &["mary"], SOON).await;
    }

    // Then silence.
    let (opened, seen_at) = daemon.incident("agent/mary", "open", SOON).await;
    let last = time(&daemon.seen("mary").await.expect("mary is watched"), "last_beat");
    let deadline = last + TIMEOUT;
    assert_eq!(time(&opened, "opened_at"), deadline, "dated when the promise broke: {opened}");
    assert_eq!((&opened["condition"], &opened["severity"]), (&"down".into(), &"critical".into()));
    let committed = later_by(seen_at, deadline);
    assert!(committed <= SECOND, "{way:?}: committed {committed:?} after the deadline");
    let down = telegram.shows(SOON, "mary is down", |it| it.text.contains("is down")).await;
    let told = later_by(down.at, deadline);
    assert!(told <= 2 * SECOND, "{way:?}: told {told:?} after the deadline");
    assert!(down.text.contains("Mary") && !down.silent, "{down:?}");

    // And her return.
    let back = wait::now();
    way.beat(&daemon, redis.as_ref()).await;
    let (resolved, _) = daemon.incident("agent/mary", "resolved", SOON).await;
    assert_eq!(resolved["id"], opened["id"]);
    assert!(wait::wall(back) <= time(&resolved, "resolved_at"), "{resolved}");
    let edited = telegram.shows(SOON, "mary is back", |it| it.text.contains("is back")).await;
    assert_eq!(edited.id, down.id, "the same message: {}", telegram.story());
    assert_eq!(telegram.calls_of("SendMessage").len(), 1, "{}", telegram.story());
    telegram.assert_nothing_refused();
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_pings_then_silence_then_a_ping() {
    check(Way::Curl).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_publishes_on_her_own_channel_then_silence() {
    check(Way::OwnChannel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_publishes_on_the_shared_channel_then_silence() {
    check(Way::SharedChannel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_publishes_in_an_envelope_then_silence() {
    check(Way::Envelope).await;
}
