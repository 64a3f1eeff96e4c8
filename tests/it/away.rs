//! Atalaya itself does not run for a time: nobody goes down for it, and who died meanwhile is told after it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    beats::Beats,
    daemon::Daemon,
    redis::Redis,
    telegram::FakeTelegram,
    views::{entries, later_by, time},
    wait,
};

const SOON: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(250);
/// One interval plus 5 s (docs/BEHAVIOUR.md 4).
const RESPITE: Duration = Duration::from_secs(6);
const OVER_HTTP: [&str; 2] = ["anna", "ben"];
const OVER_REDIS: [&str; 2] = ["carl", "dora"];
const ALIVE: [&str; 2] = ["anna", "carl"];
const DEAD: [&str; 2] = ["ben", "dora"];

/// How atalaya is away, and for how many of the agents' timeouts of 3 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    /// Three timeouts: a gap of up to 10 s merely shifts deadlines.
    Stopped,
    /// Five timeouts: more than 10 s, so every source has to prove itself anew.
    StoppedForLong,
    /// SIGKILL, and a new start after five timeouts.
    Killed,
}

impl Away {
    fn length(self) -> Duration {
        match self {
            Self::Stopped => Duration::from_secs(9),
            Self::StoppedForLong | Self::Killed => Duration::from_secs(15),
        }
    }

    fn begin(self, daemon: &mut Daemon) {
        match self {
            Self::Stopped | Self::StoppedForLong => daemon.sigstop(),
            Self::Killed => daemon.kill9(),
        }
    }

    /// Returns when it ran again.
    async fn end(self, daemon: &mut Daemon) -> Instant {
        match self {
            Self::Stopped | Self::StoppedForLong => daemon.sigcont(),
            Self::Killed => daemon.start().await,
        }
        wait::now()
    }
}

async fn check(away: Away) {
    let (telegram, redis) = (FakeTelegram::start().await, Redis::start().await);
    let agents = entries(&[OVER_HTTP, OVER_REDIS].concat());
    let mut daemon = Daemon::setup()
        .config(&format!("[redis]\nurl = \"{}\"\nprofiles = [\"heartbeat-map\"]\n", redis.url()))
        .telegram(&telegram, "")
        .registry(&format!(
            "[defaults.agent]\ninterval = \"1s\"\ntimeout = \"3s\"\nfirst_beat_within = \"20s\"\n\n{agents}"
        ))
        .start()
        .await;
    let over_http = Beats::over_http(daemon.port, &OVER_HTTP, EVERY);
    let over_redis = Beats::over_redis(&redis.url(), &OVER_REDIS, EVERY);
    daemon.all_are("up", &[OVER_HTTP, OVER_REDIS].concat(), SOON).await;
    // What is shown may be a moment ahead of what is stored, and a kill in that moment forgets who was heard.
    for agent in DEAD {
        let what = format!("the first verdict of {agent} is stored");
        let stored = async || {
            let why = daemon.cli_json(&["why", agent]).await;
            let up = |it: &Value| it["outcome"].as_str().is_some_and(|it| it.ends_with("→ up"));
            why["chain"].as_array()?.iter().any(up).then_some(())
        };
        daemon.wait_until(&what, SOON, stored).await;
    }

    away.begin(&mut daemon);
    over_http.kill("ben");
    over_redis.kill("dora");
    wait::last(away.length()).await;
    let back = away.end(&mut daemon).await;

    for agent in DEAD {
        let (incident, _) = daemon.incident(&format!("agent/{agent}"), "open", SOON).await;
        let opened = time(&incident, "opened_at");
        assert!(wait::wall(back) < opened, "{away:?}: blamed for a time without proof: {incident}");
        let waited = opened.duration_since(wait::wall(back)).unsigned_abs();
        assert!(waited <= RESPITE + SECOND, "{away:?}: {waited:?} after the return: {incident}");
        let what = format!("{agent} is told");
        let told = telegram.expect(SOON, &what, |it| it.text.contains(agent)).await;
        // The second joins the message of the first, which is edited at most once a second.
        let late = later_by(told.at, opened);
        assert!(late <= 2 * SECOND, "{away:?}: {agent} told {late:?} after the respite");
    }
    daemon.all_are("up", &ALIVE, SOON).await;
    let told = |it: &Value| it["watch"].as_str().unwrap_or_default().to_owned();
    let incidents = daemon.all_incidents().await;
    let mut watches: Vec<String> = incidents.iter().map(told).collect();
    watches.sort();
    assert_eq!(watches, ["agent/ben", "agent/dora"], "{away:?}: {incidents:#?}");
    assert_eq!(telegram.calls_of("SendMessage").len(), 1, "{}", telegram.story());
    telegram.assert_nothing_refused();
}

#[tokio::test(flavor = "multi_thread")]
async fn atalaya_is_stopped_for_seconds() {
    check(Away::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atalaya_is_stopped_for_long() {
    check(Away::StoppedForLong).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atalaya_is_killed_and_started_again() {
    check(Away::Killed).await;
}
