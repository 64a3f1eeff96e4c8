//! Signs of life of atalaya's own: the service manager, the dead-man ping, the beat on the bus. They come while it is
//! well, and cease when it does not run.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    daemon::{Daemon, Setup},
    redis::Redis,
    service_manager::ServiceManager,
    wait,
    webhook::{Fault, Webhook},
};

const SOON: Duration = Duration::from_secs(20);
/// Longer than three periods of a second.
const A_WHILE: Duration = Duration::from_millis(3500);

/// Asked for progress once a second: a third of what the watchdog bears.
fn brisk(setup: Setup) -> Setup {
    setup.env("WATCHDOG_USEC", "3000000")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_of_start_progress_reload_and_end() {
    let setup = brisk(Daemon::setup()).registry("[[agent]]\nid = \"mary\"\ntimeout = \"1s\"\n");
    let mut daemon = setup.write();
    let manager = ServiceManager::at(&daemon.path("notify"));
    let socket = daemon.path("notify").display().to_string();
    daemon = daemon.with_env("NOTIFY_SOCKET", &socket);
    daemon.start().await;
    manager.hears(SOON, &["READY=1"]).await;
    manager.hears(SOON, &["STATUS=1 agent: 1 waiting"]).await;
    daemon.ping("mary").await;
    manager.hears(SOON, &["STATUS=1 agent: 1 up"]).await;
    manager.hears(SOON, &["STATUS=1 agent: 1 down"]).await;
    let fed = manager.count("WATCHDOG=1");
    wait::eventually(SOON, "it is fed on and on", async || {
        (fed + 2 <= manager.count("WATCHDOG=1")).then_some(())
    })
    .await;
    assert_eq!(manager.count("READY=1"), 1);
    daemon.sighup();
    manager.hears(SOON, &["MONOTONIC_USEC="]).await;
    assert_eq!(manager.count("RELOADING=1"), 1);
    wait::eventually(SOON, "the reload is over", async || {
        (manager.count("READY=1") == 2).then_some(())
    })
    .await;
    daemon.write_registry("no = such = file");
    manager.hears(SOON, &["STATUS=1 agent", "self/registry refused"]).await;
    assert!(daemon.term().await.success());
    manager.hears(SOON, &["STATUS=stopping"]).await;
    let told = manager.told();
    let place = |line: &str| told.iter().position(|it| it == line);
    assert!(place("READY=1") < place("WATCHDOG=1"), "it is fed when it is ready: {told:?}");
    assert!(place("WATCHDOG=1") < place("STOPPING=1"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_man_ping_comes_at_its_period_and_ceases_with_the_watch() {
    let far = Webhook::start().await;
    let url = far.url().replace("/alerts", "/4ce9b9d6-secret");
    let section = format!("[deadman]\nurl = \"{url}\"\nevery = \"1s\"\n");
    let mut daemon = brisk(Daemon::setup()).config(&section).start().await;
    let come = async |count: usize| {
        let before = far.deliveries().len();
        wait::eventually(SOON, "it comes again", async || {
            (before + count <= far.deliveries().len()).then_some(())
        })
        .await;
    };
    come(3).await;
    let first = far.deliveries().remove(0);
    assert_eq!((first.request.as_str(), first.body.as_str()), ("GET /4ce9b9d6-secret", ""));
    // One may have been under way.
    let ceases = async || {
        let at = far.deliveries().len() + 1;
        wait::never(A_WHILE, "nobody watches", async || {
            (at < far.deliveries().len()).then_some(())
        })
        .await;
    };
    daemon.sigstop();
    ceases().await;
    daemon.sigcont();
    come(2).await;
    daemon.kill9();
    ceases().await;
    daemon.start().await;
    come(2).await;
    assert!(daemon.term().await.success());
    ceases().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_man_ping_that_nobody_takes_is_shown_and_told_and_its_address_is_not() {
    let far = Webhook::start().await;
    far.answer_all_with(Some(Fault::Status(503)));
    let url = far.url().replace("/alerts", "/4ce9b9d6-secret");
    let section = format!("[deadman]\nurl = \"{url}\"\nevery = \"1s\"\nmethod = \"post\"\n");
    let daemon = brisk(Daemon::setup()).config(&section).start().await;
    let sign = async |failing: bool| {
        daemon
            .wait_until("the sign is shown", SOON, async || {
                let status = daemon.cli_json(&["status"]).await;
                Some(status["signs"][0].clone())
                    .filter(|it| it["failing_since"].is_null() != failing)
            })
            .await
    };
    let shown = sign(true).await;
    assert_eq!((&shown["name"], &shown["taken_at"]), (&"deadman".into(), &Value::Null));
    assert_eq!(shown["detail"], "it answers 503 Service Unavailable");
    let incident = daemon
        .wait_until("it is told as a warning", SOON, async || {
            daemon.incidents().await.into_iter().find(|it| it["watch"] == "self/deadman")
        })
        .await;
    assert_eq!((&incident["severity"], &incident["status"]), (&"warning".into(), &"open".into()));
    let status = daemon.cli(&["status"]).await;
    assert!(status.stdout.contains("deadman failing"), "{status:?}");
    assert_eq!(status.status, Some(0), "a warning is no bad news");
    far.answer_all_with(None);
    sign(false).await;
    assert!(far.deliveries()[0].request.starts_with("POST /"));
    daemon
        .wait_until("it is over", SOON, async || {
            let all = daemon.incidents().await;
            all.into_iter().find(|it| it["watch"] == "self/deadman" && it["status"] == "resolved")
        })
        .await;
    let why = daemon.cli(&["why", "self/deadman"]).await;
    for text in [daemon.logs(), status.stdout, why.stdout, why.stderr] {
        assert!(!text.contains("4ce9b9d6"), "the address is a secret: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_beats_on_the_bus_as_itself_and_watches_others_there_but_not_itself() {
    let redis = Redis::start().await;
    let client = ::redis::Client::open(redis.url()).expect("a URL");
    let mut heard = client.get_async_pubsub().await.expect("a connection");
    heard.subscribe("fleet:heartbeats").await.expect("a subscription");
    let section = |more: &str| {
        format!(
            "[redis]\nurl = \"{}\"\nprefix = \"fleet\"\nbeat_every = \"1s\"\n{more}",
            redis.url()
        )
    };
    let mut one = brisk(Daemon::setup()).config(&section("")).start().await;
    let mut messages = heard.on_message();
    let mut next = async || {
        let message = tokio::time::timeout(SOON, futures_util::StreamExt::next(&mut messages));
        let message = message.await.expect("a beat in time").expect("a message");
        serde_json::from_str::<Value>(&message.get_payload::<String>().expect("text"))
            .expect("JSON")
    };
    for _ in 0..2 {
        let beat = next().await;
        assert_eq!((&beat["agent_id"], &beat["status"]), (&"atalaya".into(), &"alive".into()));
        let stamp = beat["timestamp"].as_str().expect("text");
        assert!(stamp.ends_with('Z') && stamp.contains('.'), "{stamp}");
    }
    // Another of another name is an agent like any other to the first, and the reverse.
    let other = brisk(Daemon::setup())
        .config(&section("beat_as = \"atalaya-2\"\n"))
        .registry("[[agent]]\nid = \"atalaya\"\ninterval = \"1s\"\ntimeout = \"3s\"\n")
        .start()
        .await;
    one.verdict("atalaya-2", "up", SOON).await;
    other.verdict("atalaya", "up", SOON).await;
    assert!(one.agent("atalaya").await.is_none(), "nobody watches itself");
    assert!(other.agent("atalaya-2").await.is_none());
    one.kill9();
    other.verdict("atalaya", "down", SOON).await;
}
