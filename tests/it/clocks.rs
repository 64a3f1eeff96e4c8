//! The three clocks of an agent, and what people and agents say about them: stalled, leases, leaving, paused,
//! forgotten, aliases, clocks that go wrong, hashes that are polled, and a rhythm that is learnt.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{
    beats::Beats,
    daemon::Daemon,
    redis::Redis,
    telegram::FakeTelegram,
    views::{entries, time},
    wait,
};

const SOON: Duration = Duration::from_secs(20);

/// One agent, mary, with these keys.
async fn mary(keys: &str) -> Daemon {
    let text = format!("[[agent]]\nid = \"mary\"\nfirst_beat_within = \"1m\"\n{keys}");
    Daemon::setup().registry(&text).start().await
}

/// Sends the same beat again and again until she is `verdict`; returns how she is shown then.
async fn beats_until(daemon: &Daemon, beat: &Value, verdict: &str) -> Value {
    daemon
        .wait_until(&format!("{beat} makes her {verdict}"), SOON, async || {
            daemon.beat(beat).await;
            daemon.seen("mary").await.filter(|it| it["verdict"] == verdict)
        })
        .await
}

/// The conditions of all her incidents so far, oldest first.
async fn troubles(daemon: &Daemon) -> Vec<String> {
    let incidents = daemon.incidents_of("agent/mary").await;
    let word = |it: &Value| it["condition"].as_str().unwrap_or_default().to_owned();
    incidents.iter().rev().map(word).collect()
}

/// The CLI does as it is told.
async fn told(daemon: &Daemon, words: &[&str]) {
    let said = daemon.cli(words).await;
    assert_eq!(said.status, Some(0), "{words:?}: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn standing_progress_is_stalled_and_a_lease_holds_until_its_end() {
    let daemon = mary("interval = \"10s\"\nstall_after = \"1s\"\n").await;
    beats_until(&daemon, &json!({"agent": "mary", "progress": 1}), "up").await;
    let seen = beats_until(&daemon, &json!({"agent": "mary", "progress": 1}), "stalled").await;
    let (stalled, _) = daemon.incident("agent/mary", "open", SOON).await;
    let due = time(&seen, "progress_at") + SignedDuration::from_secs(1);
    assert_eq!(time(&stalled, "opened_at"), due, "{stalled}");

    // Progress ends it, and with a lease she may stand still for longer than a second.
    let busy = json!({"op": "compile", "for": "3s"});
    daemon.beat(&json!({"agent": "mary", "progress": 2, "busy": busy})).await;
    let seen = beats_until(&daemon, &json!({"agent": "mary", "progress": 2}), "up").await;
    let granted = time(&seen, "progress_at");
    beats_until(&daemon, &json!({"agent": "mary", "progress": 2}), "overrun").await;
    assert_eq!(troubles(&daemon).await, ["stalled", "overrun"], "the lease held");
    let (overrun, _) = daemon.incident("agent/mary", "open", SOON).await;
    let opened = time(&overrun, "opened_at");
    assert_eq!(opened, granted + SignedDuration::from_secs(3), "{overrun}");

    // A second lease needs progress first.
    daemon.beat(&json!({"agent": "mary", "progress": 2, "busy": busy})).await;
    let still = || async { daemon.seen("mary").await.filter(|it| it["verdict"] != "overrun") };
    wait::never(Duration::from_secs(1), "no lease without progress", still).await;
    beats_until(&daemon, &json!({"agent": "mary", "progress": 3}), "up").await;
    daemon.incident("agent/mary", "resolved", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_ended_early_is_followed_by_no_second_lease_without_progress() {
    let daemon = mary("interval = \"10s\"\nstall_after = \"1s\"\n").await;
    let busy = json!({"op": "compile", "for": "30s"});
    beats_until(&daemon, &json!({"agent": "mary", "progress": 1, "busy": busy}), "up").await;
    daemon.beat(&json!({"agent": "mary", "progress": 1, "busy": null, "seq": 7})).await;
    let ended = daemon.shows("mary", "the end of the step", |it| it["seq"] == 7).await;
    let ended = time(&ended, "last_beat");
    beats_until(&daemon, &json!({"agent": "mary", "progress": 1, "busy": busy}), "stalled").await;
    let (stalled, _) = daemon.incident("agent/mary", "open", SOON).await;
    let due = ended + SignedDuration::from_secs(1);
    assert_eq!(time(&stalled, "opened_at"), due, "a second after the step ended: {stalled}");
    assert_eq!(troubles(&daemon).await, ["stalled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_that_it_stops_may_be_silent_for_a_while() {
    let daemon = mary("interval = \"300ms\"\ntimeout = \"1s\"\nleave_max = \"3s\"\n").await;
    let leaving =
        beats_until(&daemon, &json!({"agent": "mary", "status": "stopping"}), "leaving").await;
    let last = time(&leaving, "last_beat");
    let (down, _) = daemon.incident("agent/mary", "open", SOON).await;
    let due = last + SignedDuration::from_secs(3);
    assert_eq!((&down["condition"], time(&down, "opened_at")), (&json!("down"), due), "{down}");
    assert_eq!(troubles(&daemon).await, ["down"], "not before: three timeouts passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_resume_and_forget_as_people_type_them() {
    let registry = "auto_register = true\n[defaults.agent]\ninterval = \"300ms\"\ntimeout = \"1s\"\nfirst_beat_within = \"2s\"\n\n[[agent]]\nid = \"mary\"\n";
    let daemon = Daemon::setup().registry(registry).start().await;
    daemon.ping("mary").await;
    daemon.incident("agent/mary", "open", SOON).await;
    told(&daemon, &["pause", "mary"]).await;
    daemon.verdict("mary", "paused", SOON).await;
    let (closed, _) = daemon.incident("agent/mary", "resolved", SOON).await;
    assert_eq!(closed["ending"], "paused", "{closed}");
    // A second timeout of silence, and a failure, say nothing while she is paused.
    daemon.ping("mary/fail").await;
    let trouble = || async { daemon.seen("mary").await.filter(|it| it["verdict"] != "paused") };
    wait::never(Duration::from_secs(2), "paused", trouble).await;

    told(&daemon, &["resume", "mary"]).await;
    daemon.verdict("mary", "waiting", SOON).await;
    daemon.verdict("mary", "down", SOON).await;
    daemon.ping("mary").await;
    daemon.verdict("mary", "up", SOON).await;

    // One that registered itself can be forgotten, with its incident; one of the registry cannot.
    assert_eq!(daemon.ping("stray").await.status, 201);
    let (open, _) = daemon.incident("agent/stray", "open", SOON).await;
    told(&daemon, &["forget", "stray"]).await;
    assert!(daemon.seen("stray").await.is_none(), "forgotten");
    let (closed, _) = daemon.incident("agent/stray", "resolved", SOON).await;
    assert_eq!((&closed["id"], &closed["ending"]), (&open["id"], &json!("no longer watched")));
    assert_eq!(daemon.ping("stray").await.status, 201, "a new life");
    let refused = daemon.cli(&["forget", "mary"]).await;
    assert_eq!(refused.status, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("registry.toml"),
        "it names where she is declared: {refused:?}"
    );
    assert_eq!(daemon.cli(&["pause", "nobody"]).await.status, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_goes_by_its_aliases_too() {
    let daemon =
        mary("interval = \"300ms\"\ntimeout = \"1s\"\naliases = [\"002\", \"agent:002\"]\n").await;
    for (beats, path) in (1..).zip(["002", "agent:002", "agent%3A002/log", "mary"]) {
        assert_eq!(daemon.ping(path).await.status, 200, "{path}");
        daemon.shows("mary", &format!("{beats} beats, {path}"), |it| it["beats"] == beats).await;
    }
    let list = daemon.cli_json(&["agents"]).await;
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    told(&daemon, &["pause", "002"]).await;
    daemon.verdict("mary", "paused", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_whose_clock_is_wrong_is_judged_by_ours() {
    for off in [-10, 10] {
        let daemon = mary("interval = \"300ms\"\ntimeout = \"1s\"\n").await;
        let sent = wait::wall(wait::now());
        let claimed = sent + SignedDuration::from_mins(off);
        let seen =
            beats_until(&daemon, &json!({"agent": "mary", "timestamp": claimed.to_string()}), "up")
                .await;
        let last = time(&seen, "last_beat");
        assert!(sent <= last && last <= wait::wall(wait::now()), "{off} min: {seen}");
        let (down, _) = daemon.incident("agent/mary", "open", SOON).await;
        let last = time(&daemon.seen("mary").await.expect("she is watched"), "last_beat");
        assert_eq!(time(&down, "opened_at"), last + SignedDuration::from_secs(1), "{off} min");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polled_hash_that_stands_keeps_nobody_alive_and_one_that_moves_does() {
    let redis = Redis::start().await;
    let stamp = |at: Timestamp| at.to_string();
    let hash = |agent: &str| format!("binaryrogue:agents:{agent}");
    let write = |agent: &str, at: Timestamp| {
        let fields = [("status", "alive"), ("last_seen", &*stamp(at)), ("uptime_seconds", "12.5")];
        redis.hset(&hash(agent), &fields);
    };
    let began = wait::wall(wait::now());
    // Dead for an hour, and dead from now on.
    write("old", began - SignedDuration::from_hours(1));
    write("dead", began);
    write("moving", began);
    let agents = entries(&["old", "dead", "moving"]);
    let clocks = "[defaults.agent]\ninterval = \"500ms\"\ntimeout = \"1500ms\"\nfirst_beat_within = \"2s\"\n\n";
    let daemon = Daemon::setup()
        .config(&format!("[redis]\nurl = \"{}\"\npoll_every = \"100ms\"\n", redis.url()))
        .registry(&format!("{clocks}{agents}"))
        .start()
        .await;
    let down = async |agent: &str| {
        let wanted = format!("{agent} is down");
        daemon
            .wait_until(&wanted, SOON, async || {
                write("moving", wait::wall(wait::now()));
                daemon.seen(agent).await.filter(|it| it["verdict"] == "down")
            })
            .await
    };
    assert_eq!(down("dead").await["beats"], 1, "one stamp is one beat");
    down("old").await;
    assert_eq!(daemon.incidents_of("agent/moving").await, [] as [Value; 0]);
    let moving = daemon.seen("moving").await.expect("it is watched");
    assert_eq!((&moving["verdict"], &moving["source"]), (&json!("up"), &json!("redis-poll")));
    // A stamp that goes on after all is a life again.
    write("old", wait::wall(wait::now()));
    daemon.incident("agent/old", "resolved", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rhythm_that_was_learnt_is_believed_before_the_timeout() {
    let daemon = mary("interval = \"300ms\"\ntimeout = \"15s\"\ndetector = \"adaptive\"\n").await;
    let beats = Beats::over_http(daemon.port, &["mary"], Duration::from_millis(200));
    daemon
        .wait_until("a rhythm is learnt", SOON, async || {
            daemon.seen("mary").await.filter(|it| Some(30) < it["beats"].as_u64())
        })
        .await;
    beats.kill("mary");
    let (down, _) = daemon.incident("agent/mary", "open", SOON).await;
    let last = time(&daemon.seen("mary").await.expect("she is watched"), "last_beat");
    let silence = time(&down, "opened_at").duration_since(last);
    // Never before 2 × max(interval, mean); how much later depends on how regular this machine let her be.
    assert!(SignedDuration::from_millis(600) <= silence, "{silence:?}");
    assert!(silence < SignedDuration::from_secs(7), "{silence:?}, not the timeout");
    assert_eq!(troubles(&daemon).await, ["down"], "she was never blamed while she beat");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_person_is_not_down_and_the_phone_hears_what_it_asks() {
    let phone = FakeTelegram::start().await;
    let keys = "interval = \"300ms\"\ntimeout = \"1s\"\nneeds_input = \"2s\"";
    let text = format!("[[agent]]\nid = \"mary\"\nname = \"Mary\"\n{keys}\n");
    let mut daemon = Daemon::setup().telegram(&phone, "").registry(&text).start().await;
    let asks = json!({"agent": "mary", "status": "needs_input", "task": "permission for Bash"});
    daemon.beat(&asks).await;
    let seen = daemon.verdict("mary", "needs_input", SOON).await;
    let (told, _) = daemon.incident("agent/mary", "open", SOON).await;
    assert_eq!((&told["condition"], &told["severity"]), (&json!("needs_input"), &json!("warning")));
    let due = time(&seen, "since") + SignedDuration::from_secs(2);
    assert_eq!(time(&told, "opened_at"), due, "{told}");
    let asked = " asks you</b>: \u{2068}permission for Bash\u{2069}";
    phone.shows(SOON, asked, |it| it.text.contains(asked)).await;
    let show = daemon.cli(&["show", "mary"]).await.stdout;
    assert!(show.contains("waits for a person since"), "{show}");

    // It lives on over a restart, and ends with her next word of work.
    daemon.restart().await;
    daemon.verdict("mary", "needs_input", SOON).await;
    daemon.beat(&json!({"agent": "mary", "status": "working", "task": null})).await;
    let (over, _) = daemon.incident("agent/mary", "resolved", SOON).await;
    assert_eq!((&over["id"], &over["ending"]), (&told["id"], &json!("recovered")));
    daemon.verdict("mary", "down", SOON).await;
    assert_eq!(troubles(&daemon).await, ["needs_input", "down"], "her clocks run again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_only_while_it_acts_is_down_only_while_it_acts() {
    let keys = "beats = \"on_activity\"\ninterval = \"300ms\"\ntimeout = \"1s\"";
    let daemon = mary(keys).await;
    daemon.verdict("mary", "waiting", SOON).await;
    let show = daemon.cli(&["show", "mary"]).await.stdout;
    assert!(show.contains("nothing until it is heard"), "{show}");
    let says = async |status: &str| {
        daemon.beat(&json!({"agent": "mary", "status": status})).await;
    };
    says("idle").await;
    let seen = daemon.verdict("mary", "up", SOON).await;
    assert_eq!((&seen["idle"], &seen["deadline"]), (&json!(true), &Value::Null), "{seen}");
    says("working").await;
    let seen = daemon.shows("mary", "a deadline", |it| !it["deadline"].is_null()).await;
    daemon.verdict("mary", "down", SOON).await;
    let (down, _) = daemon.incident("agent/mary", "open", SOON).await;
    assert_eq!(time(&down, "opened_at"), time(&seen, "deadline"), "{down}");
    says("idle").await;
    daemon.verdict("mary", "up", SOON).await;
    // A declared step holds the pulse; progress ends it.
    let busy = json!({"op": "compile", "for": "1m"});
    daemon.beat(&json!({"agent": "mary", "status": "working", "busy": busy})).await;
    let minute = SignedDuration::from_mins(1);
    daemon
        .shows("mary", "the end of the step as its deadline", |it| {
            !it["deadline"].is_null() && time(it, "deadline") == time(it, "last_beat") + minute
        })
        .await;
    daemon.beat(&json!({"agent": "mary", "progress": "a"})).await;
    daemon.verdict("mary", "down", SOON).await;
}
