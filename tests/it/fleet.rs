//! Many agents under few lines: patterns, groups, and the ids that nobody declared.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::support::{beating::Beating, daemon::Daemon};

/// How long a condition is waited for.
const SOON: Duration = Duration::from_secs(20);
const BEAT: Duration = Duration::from_millis(150);

const CLOCKS: &str =
    "[defaults.agent]\ninterval = \"1s\"\ntimeout = \"10s\"\nfirst_beat_within = \"10s\"\n";

/// A registry in which nobody registers himself but by a pattern.
fn registry(entries: &str) -> String {
    format!("auto_register = false\n{CLOCKS}{entries}")
}

/// An entry with more lines.
fn entry(id: &str, lines: &str) -> String {
    format!("[[agent]]\nid = \"{id}\"\n{lines}\n")
}

async fn ids(daemon: &Daemon) -> Vec<String> {
    let agents = daemon.cli_json(&["agents"]).await;
    let agents = agents.as_array().expect("a list").iter();
    let mut ids: Vec<String> =
        agents.map(|it| it["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

/// What must not move while the registry changes what holds for the agent.
async fn life(daemon: &Daemon, id: &str) -> (Value, Value, Value) {
    let shown = daemon.cli_json(&["show", id]).await;
    assert_eq!(shown["verdict"], "up", "{shown}");
    (shown["actor_starts"].clone(), shown["watched_since"].clone(), shown["since"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_entry_watches_all_that_match_and_an_edit_turns_them_into_something_else() {
    let [mary, workers] = [entry("mary", ""), entry("worker-*", "timeout = \"12s\"")];
    let text = registry(&format!("{mary}{workers}"));
    let mut daemon = Daemon::setup().registry(&text).start().await;
    let names = ["mary", "worker-1", "worker-2", "ghost"];
    let _beating = Beating::start(&daemon, names, BEAT);
    for id in &names[..3] {
        daemon.verdict(id, "up", SOON).await;
    }
    assert_eq!(ids(&daemon).await, ["mary", "worker-1", "worker-2"], "the ghost is counted only");
    let worker = daemon.agent("worker-1").await.expect("watched");
    assert_eq!((&worker["timeout"], &worker["self_registered"]), (&json!("12s"), &json!(true)));
    assert!(worker["origin"].as_str().expect("text").ends_with("registry.toml:9"), "{worker}");
    assert_eq!(daemon.get("/ping/worker-").await.status, 201, "a star may stand for nothing");
    assert_eq!(daemon.cli(&["forget", "worker-"]).await.status, Some(0));

    // A restart goes on with them.
    daemon.restart().await;
    daemon.verdict("worker-1", "up", SOON).await;
    let before = (life(&daemon, "mary").await, life(&daemon, "worker-1").await);

    // One of them gets an entry of its own, the others another limit: said before, then done.
    let own = entry("worker-1", "timeout = \"20s\"");
    let draft = registry(&format!("{mary}{own}{}", entry("worker-*", "timeout = \"15s\"")));
    fs::write(daemon.path("draft.toml"), &draft).expect("the draft");
    let plan = daemon.cli(&["plan", "--registry", "draft.toml"]).await.stdout;
    for line in
        ["timeout 12s → 20s, gets an entry of its own", "timeout 12s → 15s", "= 1 unchanged"]
    {
        assert!(plan.contains(line), "{line}\n{plan}");
    }
    daemon.replace_registry_by_rename(&draft);
    daemon.shows("worker-1", "its own limit", |it| it["timeout"] == "20s").await;
    daemon.shows("worker-2", "the new limit", |it| it["timeout"] == "15s").await;
    assert_eq!(daemon.agent("worker-1").await.expect("watched")["self_registered"], false);

    // And goes on under the pattern when that entry is gone.
    daemon.replace_registry_by_rename(&text);
    daemon.shows("worker-1", "the limit of all", |it| it["timeout"] == "12s").await;
    let after = (life(&daemon, "mary").await, life(&daemon, "worker-1").await);
    assert_eq!(before, after, "nobody was disturbed");

    // The pattern goes, and with it who had no other line.
    daemon.replace_registry_by_rename(&registry(&format!("{mary}{own}{}", entry("lisa", ""))));
    daemon
        .wait_until("worker-2 is watched no more", SOON, async || {
            (ids(&daemon).await == ["lisa", "mary", "worker-1"]).then_some(())
        })
        .await;
    assert_eq!(life(&daemon, "mary").await, after.0);
    assert_eq!(daemon.get("/ping/worker-2").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_a_pattern_are_bounded_and_go_down_like_all_others() {
    let short = "interval = \"300ms\"\ntimeout = \"1s\"";
    let text = format!("auto_register_max = 2\n{}", registry(&entry("worker-*", short)));
    let daemon = Daemon::setup().registry(&text).start().await;
    let answers = ["worker-1", "worker-2", "worker-3"];
    let mut statuses = Vec::new();
    for name in answers {
        statuses.push(daemon.get(&format!("/ping/{name}")).await.status);
    }
    assert_eq!(statuses, [201, 201, 404]);
    daemon.shows("worker-1", "its incident", |it| it["incident"].is_u64()).await;
    let why = daemon.cli(&["why", "worker-1"]).await.stdout;
    assert!(why.contains("silence > 1s") && why.contains("registry.toml:7"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_listed_silenced_and_paused_as_one() {
    let short = "interval = \"300ms\"\ntimeout = \"1s\"\ngroup = \"coding\"";
    let entries = [entry("mary", short), entry("claude-*", short), entry("lisa", "")].concat();
    let map = "[heartbeat_map]\npath = \"map.json\"\n";
    let daemon = Daemon::setup().config(map).registry(&registry(&entries)).start().await;
    let beating = Beating::start(&daemon, ["mary", "claude-1", "lisa"], BEAT);
    for id in ["mary", "claude-1", "lisa"] {
        daemon.verdict(id, "up", SOON).await;
    }
    let listed = daemon.cli_json(&["agents", "--group", "coding"]).await;
    let listed: Vec<_> = listed.as_array().expect("a list").iter().map(|it| &it["id"]).collect();
    assert_eq!(listed, ["claude-1", "mary"]);
    let answer = daemon.get("/api/v1/agents?group=coding").await.json();
    assert_eq!(answer["items"].as_array().map(Vec::len), Some(2), "{answer}");
    let mistyped = daemon.cli(&["agents", "--group", "codign"]).await;
    assert_eq!(mistyped.status, Some(2), "{mistyped:?}");
    assert!(mistyped.stderr.contains("did you mean coding?"), "{mistyped:?}");
    daemon
        .wait_until("the map knows the group", SOON, async || {
            let text = fs::read_to_string(daemon.path("map.json")).ok()?;
            let map: Value = serde_json::from_str(&text).expect("JSON");
            let group = |id: &str| map["agents"][id]["group"].clone();
            (group("claude-1") == "coding" && group("lisa").is_null()).then_some(())
        })
        .await;

    let said = daemon.cli(&["silence", "group/coding", "1h", "deploy"]).await;
    assert!(said.stdout.contains("group/coding"), "{said:?}");
    for id in ["mary", "claude-1"] {
        beating.silence(id);
    }
    daemon.verdict("claude-1", "down", SOON).await;
    daemon
        .wait_until("it is muted", SOON, async || {
            let why = daemon.cli(&["why", "claude-1"]).await.stdout;
            why.contains("silenced by #1").then_some(())
        })
        .await;
    let silences = daemon.cli_json(&["silences"]).await;
    assert_eq!(silences[0]["target"], "group/coding", "{silences}");

    let said = daemon.cli(&["pause", "group/coding"]).await;
    assert_eq!(said.stdout.lines().count(), 2, "{said:?}");
    daemon.verdict("mary", "paused", SOON).await;
    assert_eq!(daemon.agent("lisa").await.expect("watched")["verdict"], "up");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_ids_are_printed_as_entries_that_can_be_taken_as_they_are() {
    let daemon = Daemon::setup().registry(&registry(&entry("mary", ""))).start().await;
    let empty = daemon.cli(&["agents", "--unknown", "--toml"]).await;
    assert_eq!(empty.stdout, "# every id that pinged is watched\n");
    let odd = ["agent:002", "a@b-c_d.e", "ghost"];
    for name in odd {
        assert_eq!(daemon.get(&format!("/ping/{name}")).await.status, 404);
    }
    let said = daemon.cli(&["agents", "--unknown", "--toml"]).await.stdout;
    assert_eq!(said.matches("[[agent]]").count(), 3, "{said}");
    assert!(said.contains("id = \"ghost\"    # 1 beats, the last 20"), "{said}");
    daemon.replace_registry_by_rename(&registry(&format!("{}{said}", entry("mary", ""))));
    for name in odd {
        daemon
            .wait_until("it is watched", SOON, async || {
                (daemon.get(&format!("/ping/{name}")).await.status == 200).then_some(())
            })
            .await;
    }
    assert_eq!(daemon.cli_json(&["agents", "--unknown"]).await, json!([]), "they are known now");
    let wrong = daemon.cli(&["agents", "--toml"]).await;
    assert_eq!(wrong.status, Some(2), "of unknown ids alone: {wrong:?}");
}
