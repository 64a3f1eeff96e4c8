//! Two hundred fall silent together: the phone gets one message, programs get each, and each knows why it made no
//! sound.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{Scene, agents, beat_all, plain, while_beating};

const COUNT: usize = 200;
/// So many questions at once: each is a process.
const AT_ONCE: usize = 4;

fn names() -> Vec<String> {
    (1..=COUNT).map(|it| format!("w{it}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_fall_together_one_message_tells_it_and_each_knows_why() {
    let names = names();
    let clocks = "interval = \"1s\"\ntimeout = \"3s\"";
    let mut scene = Scene::start(&agents(names.iter().map(String::as_str), clocks)).await;
    beat_all(&scene.daemon, &names, &json!({})).await;
    scene.shows(&["200 agents are down"]).await;
    scene.delivered().await;

    assert_eq!(scene.phone.calls_of("sendmessage").len(), 1, "{}", scene.phone.story());
    let told = scene.phone.messages().remove(0);
    assert!(!told.silent && plain(&told.text).contains(" and 195 more"), "{}", told.text);
    let open = incidents(&scene, "open").await;
    assert_eq!(open.len(), COUNT);
    let opened: HashSet<String> =
        scene.hook.events("opened").iter().map(|it| it.incident("watch")).collect();
    assert_eq!((opened.len(), scene.hook.deliveries().len()), (COUNT, COUNT), "each one, singly");

    // Nothing of it lives in the process alone.
    scene.daemon.restart().await;
    let route = scene.daemon.path("config/registry.toml");
    let text = std::fs::read_to_string(route).expect("the harness wrote it");
    let line = 1 + text.lines().position(|it| it == "[[route]]").expect("there is a route");
    let whys: Vec<Value> = stream::iter(&names)
        .map(|name| async { scene.daemon.cli_json(&["why", name]).await })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let silent = whys.iter().filter(|why| made_no_sound(why, line)).count();
    assert_eq!(silent, COUNT - 1, "one rang for all");

    while_beating(&scene.daemon, &names, &json!({}), recovery(&scene)).await;
}

/// The link about the phone: how it was told, by which rule, and where that rule stands.
fn made_no_sound(why: &Value, line: usize) -> bool {
    let chain = why["chain"].as_array().expect("a chain");
    let of_phone = |it: &&Value| it["receiver"] == "telegram";
    let link = chain.iter().find(of_phone).unwrap_or_else(|| panic!("nothing of the phone: {why}"));
    let origin = link["origin"].as_str().unwrap_or_default();
    assert!(origin.ends_with(&format!("registry.toml:{line}")), "{link}");
    let fell = |it: &&Value| it["outcome"].as_str().is_some_and(|it| it.ends_with("→ down"));
    let verdict = chain.iter().find(fell).unwrap_or_else(|| panic!("no fall: {why}"));
    assert_eq!(verdict["rule"], "silence > 3s", "{verdict}");
    match link["outcome"].as_str() {
        Some("edited only") => {
            assert_eq!(link["rule"], "joined a group within 30s", "{link}");
            true
        }
        Some("told") => false,
        _ => panic!("neither told nor not: {link}"),
    }
}

async fn recovery(scene: &Scene) {
    scene.shows(&["✅ 200 agents are back"]).await;
    scene
        .daemon
        .wait_until("the webhook hears each end", Duration::from_secs(30), async || {
            (scene.hook.events("resolved").len() == COUNT).then_some(())
        })
        .await;
    assert_eq!(incidents(scene, "resolved").await.len(), COUNT);
    assert_eq!(scene.phone.calls_of("sendmessage").len(), 1, "{}", scene.phone.story());
    let mut kept: Vec<(String, String)> =
        scene.hook.deliveries().iter().map(|it| (it.incident("id"), it.event())).collect();
    kept.sort();
    kept.dedup();
    assert_eq!(kept.len(), 2 * COUNT, "each opened once and ended once");
    assert_eq!(scene.hook.deliveries().len(), 2 * COUNT);
    scene.phone.assert_nothing_refused();
}

async fn incidents(scene: &Scene, status: &str) -> Vec<Value> {
    let all = scene.daemon.cli_json(&["incidents", "--all", "--limit", "1000"]).await;
    let all = all.as_array().expect("a list").iter();
    let of_agents = |it: &&Value| it["watch"].as_str().is_some_and(|it| it.starts_with("agent/"));
    all.filter(of_agents).filter(|it| it["status"] == status).cloned().collect()
}
