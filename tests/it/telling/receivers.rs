//! Programs: what a webhook, a Redis channel and a file are told, in which order, and how it is proven to be ours.

use std::fmt::Write as _;

use futures_util::StreamExt as _;
use serde_json::Value;

use super::{ELSEWHERE, SECRET, SOON, Scene, agents, delivered, while_beating};
use crate::support::{
    daemon::Daemon,
    redis::Redis,
    wait,
    webhook::{Delivery, Fault, Webhook},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_the_whole_incident_signed_and_in_order() {
    let scene = Scene::start(&agents(["mary"], "")).await;
    let status = scene.daemon.cli_json(&["status"]).await;
    let mut parts = status["parts"].as_array().expect("a list").iter();
    let hook = parts.find(|it| it["watch"] == "receiver/hook").expect("known before it was tried");
    assert_eq!((&hook["trouble"], &hook["owed"]), (&Value::Null, &0.into()));
    scene.hook.script([Fault::Status(500), Fault::Close, Fault::Status(503)]);
    scene.fail("mary").await;
    let open = scene.status("mary", "open").await;
    // The acknowledgement and the end wait their turn behind the opening.
    let said = scene.daemon.cli(&["ack", "mary", "--for", "1h", "--reason", "on it"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    scene.back("mary").await;
    scene.delivered().await;
    let told = scene.hook.deliveries();
    let events: Vec<String> = told.iter().map(Delivery::event).collect();
    assert_eq!(
        events,
        ["opened", "acknowledged", "resolved"],
        "in their order, through three failures"
    );
    let statuses: Vec<String> = told.iter().map(|it| it.incident("status")).collect();
    assert_eq!(statuses, ["open", "acknowledged", "resolved"]);
    for delivery in &told {
        assert!(delivery.is_signed_with(SECRET), "{}", delivery.body);
        assert_eq!(delivery.headers["content-type"], "application/json");
        let body = delivery.json();
        let key = body["idempotency_key"].as_str().expect("a key");
        assert_eq!(delivery.headers["idempotency-key"], key);
        assert!(body["message"].as_str().is_some_and(|it| it.contains("Mary")), "{body}");
        assert_eq!(
            (&body["incident"]["id"], &body["incident"]["watch"]),
            (&open["id"], &open["watch"])
        );
        assert_eq!(body["incident"]["severity"], "critical");
    }
    let keys: std::collections::HashSet<_> =
        told.iter().map(|it| it.json()["idempotency_key"].to_string()).collect();
    assert_eq!(keys.len(), 3, "each change has a key of its own");
    assert_eq!(scene.hook.attempts().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_got_lost_comes_again_under_the_same_key() {
    let scene = Scene::start(&agents(["mary"], "")).await;
    scene.hook.script([Fault::LoseAnswer]);
    scene.fail("mary").await;
    scene.status("mary", "open").await;
    scene.delivered().await;
    let told = scene.hook.deliveries();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].body, told[1].body);
}

/// A webhook of a template gets this key, with a text that holds both names escaped as that place needs it.
async fn check_template(template: &str, key: &str, escaped: &str) {
    let hook = Webhook::start().await;
    let registry = format!(
        "[[receiver]]\nid = \"room\"\nwebhook = {{ url = \"{}\", template = \"{template}\" }}\n\
         [[route]]\nmatch = \"agent/*\"\nto = [\"room\"]\n{ELSEWHERE}\
         [[agent]]\nid = \"mary\"\nname = \"<!channel> *mary* @here\"\n",
        hook.url()
    );
    let daemon = Daemon::setup().registry(&registry).start().await;
    daemon.ping("mary/fail").await;
    let opened = hook.expect(SOON, "the room hears of mary", |_| true).await;
    let text = opened.json()[key].as_str().expect("a text").to_owned();
    assert!(
        text.starts_with("🔴") && text.contains(escaped) && text.contains("has failed"),
        "{text}"
    );
    assert!(!opened.headers.contains_key("x-atalaya-signature"), "no secret, no signature");
    daemon.ping("mary").await;
    let over = |it: &Delivery| it.json()[key].as_str().is_some_and(|it| it.starts_with("✅"));
    hook.expect(SOON, "and of the end", over).await;
    delivered(&daemon).await;
    assert_eq!(hook.deliveries().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_gets_its_own_body() {
    check_template("slack", "text", "&lt;!channel&gt; *mary* @here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discord_gets_its_own_body() {
    check_template("discord", "content", "\\<!channel\\> \\*mary\\* @\u{200B}here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_channels_and_a_file_are_told_as_the_fleet_reads_them() {
    let redis = Redis::start().await;
    let client = ::redis::Client::open(redis.url()).expect("a URL");
    let mut heard = client.get_async_pubsub().await.expect("a connection");
    heard
        .subscribe(&["binaryrogue:alerts", "binaryrogue:incidents"])
        .await
        .expect("a subscription");
    let registry = "[[route]]\nmatch = \"agent/*\"\nto = [\"bus\", \"book\"]\n\
                    [[receiver]]\nid = \"bus\"\nredis = {}\n[[receiver]]\nid = \"book\"\n\
                    log = { file = \"alerts.jsonl\" }\n[[agent]]\nid = \"mary\"\n\
                    interval = \"1s\"\ntimeout = \"3s\"\n";
    let url = format!("[redis]\nurl = \"{}\"\n", redis.url());
    let daemon =
        Daemon::setup().config(&url).registry(&format!("{registry}{ELSEWHERE}")).start().await;
    daemon.ping("mary").await;
    let mut messages = heard.on_message();
    let mut next = async || -> (String, Value) {
        let message = tokio::time::timeout(SOON, messages.next()).await;
        let message = message.expect("in time").expect("a message");
        let payload: String = message.get_payload().expect("text");
        let value = serde_json::from_str(&payload).expect("JSON");
        (message.get_channel_name().trim_start_matches("binaryrogue:").to_owned(), value)
    };
    let (channel, alert) = next().await;
    assert_eq!(
        (channel.as_str(), &alert["level"]),
        ("alerts", &Value::from("critical")),
        "{alert}"
    );
    assert_eq!(alert["source"], "atalaya");
    assert!(alert["message"].as_str().is_some_and(|it| it.contains("mary is down")), "{alert}");
    assert!(alert["timestamp"].as_str().is_some_and(|it| it.ends_with('Z')), "{alert}");
    let (channel, incident) = next().await;
    assert_eq!((channel.as_str(), &incident["status"]), ("incidents", &Value::from("open")));
    assert_eq!(incident["severity"], "critical");
    assert_eq!(incident["details"]["watch"], "agent/mary");
    let names = ["mary".to_owned()];
    let (_, resolved) = while_beating(&daemon, &names, &serde_json::json!({}), async {
        next().await;
        next().await
    })
    .await;
    assert_eq!(
        (&resolved["status"], &resolved["incident_id"]),
        (&"resolved".into(), &incident["incident_id"])
    );

    let lines = wait::eventually(SOON, "the file holds both", async || {
        let text = std::fs::read_to_string(daemon.path("alerts.jsonl")).ok()?;
        let lines: Vec<Value> =
            text.lines().map(|it| serde_json::from_str(it).expect("a line of JSON")).collect();
        (2 <= lines.len()).then_some(lines)
    })
    .await;
    let events = lines.iter().fold(String::new(), |mut all, it| {
        let _ = write!(all, "{} ", it["event"].as_str().unwrap_or_default());
        all
    });
    assert!(events.starts_with("opened resolved"), "{events}");
    assert_eq!(lines[0]["incident"]["watch"], "agent/mary");
}
