//! The heartbeat map: a file by which programs of that system go on, whole at any moment and true.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use serde_json::{Value, json};

use crate::support::{daemon::Daemon, redis::Redis, views::time};

const SOON: Duration = Duration::from_secs(20);
const FILE: &str = "hub/agent_heartbeat.json";
const REGISTRY: &str = "auto_register = true\n\
    [[agent]]\nid = \"mary\"\nname = \"Mary\"\ninterval = \"300ms\"\ntimeout = \"1s\"\n\
    [[agent]]\nid = \"lisa\"\nname = \"Lisa\"\n\
    [[agent]]\nid = \"nova\"\nname = \"Nova\"\ninterval = \"300ms\"\ntimeout = \"1s\"\nfirst_beat_within = \"1s\"\n";

/// A daemon whose map lies in a folder that is there.
async fn keeping(registry: &str, config: &str) -> Daemon {
    let section = format!("[heartbeat_map]\npath = \"{FILE}\"\n{config}");
    let mut daemon = Daemon::setup().registry(registry).config(&section).write();
    fs::create_dir(daemon.path("hub")).expect("a folder can be made");
    daemon.start().await;
    daemon
}

/// The file, held against the published schema. It is there whole, or not at all.
fn map(daemon: &Daemon) -> Option<Value> {
    let text = fs::read_to_string(daemon.path(FILE)).ok()?;
    let map: Value = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text:?}"));
    let published =
        concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/heartbeat-map.schema.json");
    let schema = fs::read_to_string(published).expect("it is published");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::validate(&schema, &map).unwrap_or_else(|why| panic!("{why}: {map}"));
    Some(map)
}

async fn shows(daemon: &Daemon, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    daemon.wait_until(what, SOON, async || map(daemon).filter(&holds)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_who_is_online_who_is_not_and_whom_nobody_knows_of() {
    let redis = Redis::start().await;
    let daemon = keeping(REGISTRY, &format!("[redis]\nurl = \"{}\"\n", redis.url())).await;
    let beat = r#"{"status":"ok","signals_sent":42,"last_trade":"BTC/USDT"}"#;
    redis.publish_heard("agents:heartbeat:mary", beat, SOON).await;
    let down = shows(&daemon, "mary was heard and is down, nova never was", |it| {
        it["agents"]["mary"]["status"] == "offline"
            && it["alerts"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    assert_eq!(
        down["summary"],
        json!({"total_agents": 3, "online_agents": 0, "offline_agents": 2, "unknown_agents": 1})
    );
    let mary = &down["agents"]["mary"];
    assert_eq!(
        (&mary["id"], &mary["name"], &mary["channel"], &mary["metadata"]),
        (
            &json!("mary"),
            &json!("Mary"),
            &json!("agents:heartbeat:mary"),
            &json!({"signals_sent": 42, "last_trade": "BTC/USDT"})
        )
    );
    let (last, alert) = (time(mary, "last_heartbeat"), &down["alerts"][0]);
    assert_eq!((&alert["agent_id"], &alert["agent_name"]), (&json!("mary"), &json!("Mary")));
    let since = time(alert, "alert_time").duration_since(last).as_millis();
    assert_eq!(since, 1_000, "when the promise broke: {down}");
    assert_eq!(down["agents"]["lisa"]["status"], "unknown");
    assert_eq!(down["agents"]["nova"]["last_heartbeat"], Value::Null);
    assert_eq!(down["alerts"][1]["agent_id"], "nova");

    // Back, and one more; both are changes.
    daemon.ping("lisa").await;
    daemon.ping("stranger").await;
    shows(&daemon, "lisa and a stranger are online", |it| {
        it["summary"]["online_agents"] == 2 && it["summary"]["total_agents"] == 4
    })
    .await;
    daemon.write_registry(&REGISTRY.replace("name = \"Lisa\"", "name = \"Elisabeth\""));
    shows(&daemon, "the new name", |it| it["agents"]["lisa"]["name"] == "Elisabeth").await;
    daemon.cli(&["pause", "lisa"]).await;
    shows(&daemon, "a paused agent", |it| it["agents"]["lisa"]["status"] == "unknown").await;
    let mode = fs::metadata(daemon.path(FILE)).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "others read it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_finds_half_of_it() {
    let daemon = keeping("auto_register = true\n", "").await;
    for name in 0..200 {
        daemon.ping(&format!("agent-{name}")).await;
        map(&daemon);
    }
    shows(&daemon, "all of them", |it| it["summary"]["online_agents"] == 200).await;
    let names = fs::read_dir(daemon.path("hub")).expect("a folder").count();
    assert!(names <= 2, "at most the next one beside it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_written_is_told_and_harms_nothing_else() {
    let section = format!("[heartbeat_map]\npath = \"{FILE}\"\n");
    let daemon = Daemon::setup().registry(REGISTRY).config(&section).start().await;
    let (open, _) = daemon.incident("self/heartbeat-map", "open", SOON).await;
    assert_eq!((&open["condition"], &open["severity"]), (&json!("degraded"), &json!("warning")));
    let cause = open["cause"].as_str().unwrap_or_default();
    assert!(cause.contains(&format!("cannot write {FILE}: No such file")), "{open}");
    daemon.ping("lisa").await;
    daemon.verdict("lisa", "up", SOON).await;
    assert_eq!(daemon.get("/readyz").await.status, 200);
    fs::create_dir(daemon.path("hub")).expect("a folder can be made");
    shows(&daemon, "lisa", |it| it["agents"]["lisa"]["status"] == "online").await;
    daemon.incident("self/heartbeat-map", "resolved", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_out_can_be_closed_by_hand() {
    let section = format!("[heartbeat_map]\npath = \"{FILE}\"\n");
    let mut daemon = Daemon::setup().config(&section).start().await;
    let (open, _) = daemon.incident("self/heartbeat-map", "open", SOON).await;
    daemon.term().await;
    let without = daemon.config().replace(&section, "");
    daemon.write_config(&without);
    daemon.start().await;
    let said = daemon.cli(&["resolve", &open["id"].to_string()]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    daemon.incident("self/heartbeat-map", "resolved", SOON).await;
    assert!(map(&daemon).is_none());
}
