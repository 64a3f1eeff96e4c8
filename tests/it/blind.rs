//! Redis is away in every way it can be: no agent goes down for it, one incident tells it and resolves, and who
//! died meanwhile is told once Redis is heard again.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    beats::Beats,
    daemon::{Daemon, Setup},
    netns::Namespace,
    proxy::{Mode, Proxy},
    redis::Redis,
    telegram::FakeTelegram,
    views::{entries, later_by, time},
    wait,
};

const SOON: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
/// Half of the interval that the registry below allows.
const EVERY: Duration = Duration::from_millis(250);
/// Ten timeouts, as 15 minutes are to one of 90 s.
const OUTAGE: Duration = Duration::from_secs(15);
/// One interval plus 5 s (docs/BEHAVIOUR.md 4).
const RESPITE: Duration = Duration::from_millis(5_500);
const AGENTS: [&str; 3] = ["lisa", "mary", "paula"];

/// Three agents that beat over Redis, and what a person is told of them.
struct Fleet {
    telegram: FakeTelegram,
    daemon: Daemon,
    beats: Beats,
}

fn setup(redis_url: &str, telegram: &FakeTelegram) -> Setup {
    let agents = entries(&AGENTS);
    let clocks = "[defaults.agent]\ninterval = \"500ms\"\ntimeout = \"1500ms\"\nfirst_beat_within = \"5s\"\n\n";
    Daemon::setup()
        .config(&format!("[redis]\nurl = \"{redis_url}\"\nprofiles = [\"heartbeat-map\"]\n"))
        .telegram(telegram, "")
        .registry(&format!("{clocks}{agents}"))
}

impl Fleet {
    /// `heard_at` is where atalaya looks for Redis, `spoken_at` where the agents do.
    async fn start(heard_at: &str, spoken_at: &str) -> Self {
        let telegram = FakeTelegram::start().await;
        let daemon = setup(heard_at, &telegram).start().await;
        let beats = Beats::over_redis(spoken_at, &AGENTS, EVERY);
        daemon.all_are("up", &AGENTS, SOON).await;
        Self { telegram, daemon, beats }
    }

    /// Atalaya knows that it is deaf, and nobody else is blamed.
    async fn is_told_deaf(&self) {
        self.daemon.incident("source/redis", "open", SOON).await;
        self.telegram
            .shows(SOON, "the source is told", |it| it.text.contains("Cannot hear over redis"))
            .await;
    }

    /// Everybody is up again but `dead`, and of no one else was ever an incident.
    async fn all_but(&self, dead: Option<&str>) {
        let alive: Vec<&str> = AGENTS.into_iter().filter(|it| Some(*it) != dead).collect();
        self.daemon.all_are("up", &alive, SOON).await;
        self.daemon.incident("source/redis", "resolved", SOON).await;
        self.telegram
            .shows(SOON, "the return is told", |it| it.text.contains("Hearing again over redis"))
            .await;
        let told = |it: &Value| it["watch"].as_str().unwrap_or_default().to_owned();
        let incidents = self.daemon.all_incidents().await;
        let mut told: Vec<String> = incidents.iter().map(told).collect();
        told.sort();
        let mut expected: Vec<String> = dead.map(|it| format!("agent/{it}")).into_iter().collect();
        expected.push("source/redis".into());
        assert_eq!(told, expected, "{incidents:#?}; its logs:\n{}", self.daemon.logs());
        let story = self.telegram.story();
        for it in alive {
            assert!(!story.contains(it), "{it} is alive and was never in trouble: {story}");
        }
        self.telegram.assert_nothing_refused();
    }

    /// She is told within her respite, counted from the return, for which the way needs `to_return` at most.
    async fn is_told_dead(&self, agent: &str, mended: Instant, to_return: Duration) {
        let watch = format!("agent/{agent}");
        let (incident, _) = self.daemon.incident(&watch, "open", SOON).await;
        let opened = time(&incident, "opened_at");
        let waited = opened.duration_since(wait::wall(mended)).unsigned_abs();
        assert!(
            wait::wall(mended) < opened && waited <= to_return + RESPITE,
            "{incident}, {waited:?} after the return"
        );
        let what = format!("{agent} is down");
        let told = self.telegram.shows(SOON, &what, |it| it.text.contains(agent)).await;
        let late = later_by(told.at, opened);
        assert!(late <= SECOND, "told {late:?} after the respite");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_and_comes_back() {
    let mut redis = Redis::start().await;
    let fleet = Fleet::start(&redis.url(), &redis.url()).await;
    redis.kill9();
    fleet.is_told_deaf().await;
    fleet.beats.kill("lisa");
    wait::last(OUTAGE).await;
    fleet.daemon.all_are("blind", &AGENTS, SOON).await;
    redis.start_again().await;
    fleet.is_told_dead("lisa", wait::now(), 2 * SECOND).await;
    fleet.all_but(Some("lisa")).await;
    assert_eq!(fleet.telegram.calls_of("SendMessage").len(), 2, "{}", fleet.telegram.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_stands_still_and_goes_on() {
    let redis = Redis::start().await;
    let fleet = Fleet::start(&redis.url(), &redis.url()).await;
    redis.sigstop();
    fleet.beats.kill("lisa");
    fleet.is_told_deaf().await;
    wait::last(OUTAGE).await;
    fleet.daemon.all_are("blind", &AGENTS, SOON).await;
    redis.sigcont();
    fleet.is_told_dead("lisa", wait::now(), 5 * SECOND).await;
    fleet.all_but(Some("lisa")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_redis_is_half_open_while_the_agents_reach_it() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port);
    let heard_at = format!("redis://127.0.0.1:{}/0", proxy.port);
    let fleet = Fleet::start(&heard_at, &redis.url()).await;
    proxy.set(Mode::HalfOpen);
    fleet.is_told_deaf().await;
    wait::last(OUTAGE).await;
    fleet.daemon.all_are("blind", &AGENTS, SOON).await;
    // What the dead connection held back is nobody's sign of life any more.
    proxy.cut();
    proxy.set(Mode::Pass);
    fleet.all_but(None).await;
    assert_eq!(fleet.telegram.calls_of("SendMessage").len(), 1, "{}", fleet.telegram.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_to_redis_vanish_and_one_agent_dies_meanwhile() {
    let name = "packets_to_redis_vanish_and_one_agent_dies_meanwhile";
    let Some(namespace) = Namespace::new(name) else { return };
    let redis = Redis::start_in(&namespace).await;
    let fleet = Fleet::start(&redis.url(), &redis.url()).await;
    namespace.drop_packets();
    fleet.beats.kill("lisa");
    fleet.is_told_deaf().await;
    wait::last(OUTAGE).await;
    fleet.daemon.all_are("blind", &AGENTS, SOON).await;
    namespace.pass_packets();
    // A connection that is being made when packets pass again may first have to give up.
    fleet.is_told_dead("lisa", wait::now(), 6 * SECOND).await;
    fleet.all_but(Some("lisa")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_flaps_faster_than_anybody_beats() {
    let mut redis = Redis::start().await;
    let fleet = Fleet::start(&redis.url(), &redis.url()).await;
    fleet.beats.kill("lisa");
    for _ in 0..12 {
        redis.kill9();
        wait::last(Duration::from_millis(700)).await;
        redis.start_again().await;
        wait::last(Duration::from_millis(400)).await;
    }
    // It never worked for a whole interval, so nobody could be judged before it stays.
    fleet.is_told_dead("lisa", wait::now(), SECOND).await;
    fleet.all_but(Some("lisa")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_absent_at_the_start_and_comes_later() {
    let mut redis = Redis::absent();
    let telegram = FakeTelegram::start().await;
    let daemon = setup(&redis.url(), &telegram).start().await;
    // Longer than the first beat may take: nobody was heard, and nobody could be.
    daemon.incident("source/redis", "open", SOON).await;
    wait::last(OUTAGE).await;
    daemon.all_are("blind", &AGENTS, SOON).await;
    let beats = Beats::over_redis(&redis.url(), &AGENTS, EVERY);
    beats.kill("lisa");
    redis.start_again().await;
    let fleet = Fleet { telegram, daemon, beats };
    fleet.is_told_dead("lisa", wait::now(), 2 * SECOND).await;
    fleet.all_but(Some("lisa")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_beats_over_two_ways_is_judged_by_the_one_that_works() {
    let mut redis = Redis::start().await;
    let fleet = Fleet::start(&redis.url(), &redis.url()).await;
    let over_http = Beats::over_http(fleet.daemon.port, &["lisa", "mary"], EVERY);
    fleet
        .daemon
        .wait_until("lisa is heard over HTTP too", SOON, async || {
            let lisa = fleet.daemon.seen("lisa").await?;
            (lisa["source"] == "http").then_some(())
        })
        .await;
    redis.kill9();
    fleet.is_told_deaf().await;
    fleet.daemon.all_are("blind", &["paula"], SOON).await;
    fleet.daemon.all_are("up", &["lisa", "mary"], SOON).await;
    fleet.beats.kill("lisa");
    let died = over_http.kill("lisa");
    let (incident, _) = fleet.daemon.incident("agent/lisa", "open", SOON).await;
    let waited = time(&incident, "opened_at").duration_since(wait::wall(died)).unsigned_abs();
    assert!(waited <= 2 * SECOND, "her timeout alone counts, not {waited:?}: {incident}");
    let lisa = fleet.telegram.shows(SOON, "lisa is told", |it| it.text.contains("lisa")).await;
    assert!(later_by(lisa.at, time(&incident, "opened_at")) <= SECOND, "{lisa:?}");
    redis.start_again().await;
    fleet.all_but(Some("lisa")).await;
}
