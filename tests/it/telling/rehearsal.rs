//! Dry run: what would have been told is listed, message by message, and nothing leaves the house.

use serde_json::Value;

use super::{Scene, agents, delivered, with_hook};
use crate::support::{
    daemon::{Daemon, Said},
    telegram::FakeTelegram,
    wait,
    webhook::Webhook,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_sends_nothing_and_lists_what_it_would_have_told() {
    let (phone, hook) = (FakeTelegram::start().await, Webhook::start().await);
    let setup = Daemon::setup().telegram(&phone, "").config("[delivery]\ndry_run = true\n");
    let daemon = with_hook(setup, &hook, &agents(["mary"], "")).start().await;
    let scene = Scene { daemon, phone, hook };
    scene.fail("mary").await;
    scene.status("mary", "open").await;
    scene.back("mary").await;
    scene.status("mary", "resolved").await;
    delivered(&scene.daemon).await;
    let list = scene.daemon.cli_json(&["incidents", "--would-tell", "--since", "1h"]).await;
    let [incident] = list.as_array().expect("a list").as_slice() else { panic!("{list}") };
    let told = |receiver: &str| -> Vec<(bool, String)> {
        let rows = incident["would_tell"].as_array().expect("messages").iter();
        rows.filter(|it| it["receiver"] == receiver)
            .map(|it| (it["rings"] == true, it["text"].as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    let hook = told("hook");
    assert_eq!(hook.len(), 2, "{incident}");
    assert!(hook[0].1.starts_with("opened: Mary") && hook[1].1.starts_with("resolved: "));
    let phone = told("telegram");
    assert!(phone.first().is_some_and(|it| it.0 && it.1.starts_with("Mary")), "{incident}");
    let said = scene.daemon.cli(&["status"]).await;
    assert!(said.stdout.contains("incidents --would-tell"), "{said:?}");
    let said = scene.daemon.cli(&["why", "mary"]).await;
    assert!(said.stdout.contains("dry run: not sent"), "{said:?}");

    // A test is asked for by a person who wants to see it arrive, and is the one thing that is sent.
    let said: Said = scene.daemon.cli(&["notify", "test", "hook"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    wait::within(super::SOON, async || scene.hook.events("test").pop()).await.expect("the test");
    assert_eq!(scene.hook.deliveries().len(), 1, "and nothing else");
    assert!(scene.phone.messages().is_empty(), "{}", scene.phone.story());
    let older = scene.daemon.cli_json(&["incidents", "--since", "1s", "--watch", "mary"]).await;
    assert_eq!(older, Value::Array(Vec::new()), "none is open");
}
