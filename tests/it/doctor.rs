//! `atalaya doctor`: what is in order is said to be, each trouble is named with what mends it, and nobody is told and
//! nothing changed by looking.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde_json::Value;

use crate::support::{
    daemon::Daemon,
    free_port,
    redis::Redis,
    telegram::{FakeTelegram, Fault},
    wait,
    webhook::Webhook,
};

const SOON: Duration = Duration::from_secs(20);

/// What was found, by part: how it is and the text.
async fn examined(daemon: &Daemon, code: i32) -> BTreeMap<String, (String, String)> {
    let said = daemon.cli(&["doctor", "--json"]).await;
    assert_eq!(said.status, Some(code), "{said:?}");
    let report: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let word = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().expect("a list");
    for it in findings {
        assert_eq!(
            it["health"] == "well",
            it["mend"].is_null(),
            "what is not well is mended: {it}"
        );
    }
    let count = |health: &str| findings.iter().filter(|it| it["health"] == health).count();
    assert_eq!(
        (&report["problems"], &report["warnings"]),
        (&count("problem").into(), &count("warning").into())
    );
    findings.iter().map(|it| (word(it, "part"), (word(it, "health"), word(it, "text")))).collect()
}

fn check(found: &BTreeMap<String, (String, String)>, part: &str, health: &str, text: &str) {
    let Some((how, said)) = found.get(part) else { panic!("{part} was not looked at: {found:#?}") };
    assert!(
        how == health && said.contains(text),
        "{part} is {how}, {said:?}; not {health}, {text:?}"
    );
}

/// The files below a folder and what is in them.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.display().to_string(), fs::read(&path).unwrap_or_default());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_order_is_looked_at_without_telling_anybody() {
    let (telegram, hook, redis) =
        (FakeTelegram::start().await, Webhook::start().await, Redis::start().await);
    // Slack tells nobody of a request for the head; this one counts it.
    let slack = Webhook::start().await;
    let registry = format!(
        "[[agent]]\nid = \"mary\"\n[[receiver]]\nid = \"hook\"\nwebhook = {{ url = \"{}/a-secret-path\" }}\n\
         [[receiver]]\nid = \"team\"\nwebhook = {{ url = \"{}\", template = \"slack\" }}\n\
         [[receiver]]\nid = \"bus\"\nredis = {{ prefix = \"fleet\" }}\n\
         [[receiver]]\nid = \"file\"\nlog = {{ file = \"alerts.jsonl\" }}\n\
         [[route]]\nto = [\"telegram\", \"hook\", \"team\", \"bus\", \"file\"]\n",
        hook.url().trim_end_matches('/'),
        slack.url(),
    );
    let daemon = Daemon::setup()
        .telegram(&telegram, "listen = false\n")
        .env("REDIS_URL", &redis.url())
        .config("[deadman]\nurl = \"http://127.0.0.1:9/ping\"\n")
        .registry(&registry)
        .start()
        .await;
    daemon.ping("mary").await;
    redis.heard(SOON).await;
    let found = examined(&daemon, 0).await;
    for (part, text) in [
        ("files", "config/atalaya.toml"),
        ("daemon", "tower-test, atalaya"),
        ("store", "whole and writable"),
        ("telegram", "chat \"Ana\""),
        ("hook", "takes connections"),
        ("team", "200 to HEAD"),
        ("bus", "answers PING"),
        ("file", "can be written"),
        ("source/redis", "answers PING"),
        ("clock", "UTC"),
    ] {
        check(&found, part, "well", text);
    }
    check(&found, "watchdog", "warning", "nobody starts it again");
    assert!(!found.contains_key("agent/mary"), "it was heard");
    assert!(telegram.messages().is_empty() && hook.attempts().is_empty(), "somebody was told");
    telegram.assert_nothing_refused();
    let said = daemon.cli(&["doctor"]).await;
    for secret in [FakeTelegram::TOKEN, "a-secret-path"] {
        assert!(!said.stdout.contains(secret), "{}", said.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trouble_is_named_with_what_mends_it() {
    let telegram = FakeTelegram::start().await;
    telegram.script("getchat", [Fault::ChatNotFound, Fault::ChatNotFound]);
    let port = free_port();
    let registry = format!(
        "[[agent]]\nid = \"nova\"\n\
         [[receiver]]\nid = \"hook\"\nwebhook = {{ url = \"http://127.0.0.1:{port}/\" }}\n\
         [[receiver]]\nid = \"file\"\nlog = {{ file = \"not/there.jsonl\" }}\n\
         [[route]]\nto = [\"telegram\", \"hook\", \"file\"]\n"
    );
    let redis = Redis::absent();
    let daemon = Daemon::setup()
        .telegram(&telegram, "listen = false\n")
        .env("REDIS_URL", &redis.url())
        .config("[delivery]\ndry_run = true\n")
        .registry(&registry)
        .start()
        .await;
    let found = examined(&daemon, 1).await;
    for (part, health, text) in [
        ("telegram", "problem", "chat not found"),
        ("hook", "problem", "Connection refused"),
        ("file", "problem", "cannot be written"),
        ("source/redis", "problem", "Connection refused"),
        ("delivery", "warning", "dry run"),
        ("deadman", "warning", "nobody would tell you"),
        ("agent/nova", "warning", "never heard"),
    ] {
        check(&found, part, health, text);
    }
    // What is to be pasted does it.
    let said = daemon.cli(&["doctor"]).await;
    let url = daemon.url("/ping/nova");
    assert!(said.stdout.contains(&format!("mend: curl {url}")), "{}", said.stdout);
    daemon.ping("nova").await;
    assert!(!examined(&daemon, 1).await.contains_key("agent/nova"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_the_files_and_the_store_are_looked_at_and_left_alone() {
    let mut daemon = Daemon::setup().registry("[[agent]]\nid = \"mary\"\n").write();
    let before = files(&daemon.path("."));
    let found = examined(&daemon, 1).await;
    check(&found, "daemon", "problem", "no daemon answers");
    check(&found, "store", "well", "made at the first start");
    check(&found, "receivers", "warning", "nobody is told");
    assert_eq!(files(&daemon.path(".")), before, "looking changed something");

    daemon.start().await;
    wait::eventually(SOON, "mary is watched", async || daemon.agent("mary").await).await;
    daemon.term().await;
    check(&examined(&daemon, 1).await, "store", "well", "whole and writable");

    daemon.write_registry("[[agent]]\nid = \"mary\"\nstall_afer = \"30m\"\n");
    fs::write(daemon.path("var/atalaya.db"), "no database".repeat(1000)).expect("it is ours");
    let found = examined(&daemon, 1).await;
    check(&found, "files", "problem", "did you mean `stall_after`?");
    check(&found, "store", "problem", "is damaged or no database");
}
