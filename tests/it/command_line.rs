//! The command line against a running daemon, over its Unix socket and over HTTP, and its exit codes.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use serde_json::Value;

use crate::support::{
    daemon::{Daemon, Said},
    free_port, wait,
    webhook::Webhook,
};

const SOON: Duration = Duration::from_secs(20);
const TOKEN: &str = "a-token-of-the-test";

/// Mary beats quickly, lisa and the rest have time; a webhook hears of all that is critical.
fn registry(sink: &Webhook) -> String {
    format!(
        "auto_register = true\n[[agent]]\nid = \"mary\"\ninterval = \"300ms\"\ntimeout = \"1s\"\n\
         [[agent]]\nid = \"lisa\"\n\
         [[receiver]]\nid = \"hook\"\nwebhook = {{ url = \"{}\" }}\n\
         [[route]]\nmatch = \"*/*\"\nto = [\"hook\"]\n",
        sink.url()
    )
}

fn exits(said: &Said, code: i32, words: &str) {
    assert_eq!(said.status, Some(code), "{said:?}");
    let text = format!("{}{}", said.stdout, said.stderr);
    assert!(text.contains(words), "{words}: {said:?}");
    assert!(!text.contains('\u{1b}'), "no colours in a pipe: {said:?}");
    assert!(!said.stderr.contains("panicked"), "{said:?}");
}

/// Every verb once, in an order that makes sense, with what it must say; then `--json` where there is something to
/// read.
async fn every_verb(daemon: &Daemon) {
    let check = async |words: &[&str], code: i32, says: &str| {
        exits(&daemon.cli(words).await, code, says);
    };
    check(&["ping", "mary"], 0, "mary").await;
    check(&["ping", "stranger"], 0, "stranger").await;
    daemon.verdict("mary", "down", SOON).await;
    let id = daemon
        .wait_until("the incident is stored", SOON, async || {
            let open = daemon.cli_json(&["incidents", "--watch", "mary"]).await;
            Some(open.as_array()?.first()?["id"].to_string())
        })
        .await;
    check(&["status"], 1, "agent/mary").await;
    check(&["agents"], 0, "down").await;
    check(&["agents", "--unknown"], 0, "").await;
    check(&["show", "mary"], 0, "DOWN since").await;
    check(&["show", &id], 0, "agent/mary").await;
    check(&["incidents"], 0, &format!("#{id}")).await;
    check(&["why", "mary"], 0, "up → down").await;
    check(&["why", &format!("#{id}")], 0, "hook").await;
    check(&["ack", &id, "--for", "1h", "--reason", "on it"], 0, "is acknowledged").await;
    check(&["release", &id], 0, &format!("#{id}")).await;
    check(&["resolve", &id], 1, "still").await;
    check(&["silence", "agent/ma*", "1h", "known", "trouble"], 0, "").await;
    check(&["silences"], 0, "agent/ma*").await;
    let silences = daemon.cli_json(&["silences"]).await;
    check(&["unsilence", &silences[0]["id"].to_string()], 0, "").await;
    check(&["pause", "mary"], 0, "agent/mary paused").await;
    check(&["resume", "mary"], 0, "agent/mary resumed").await;
    check(&["forget", "stranger"], 0, "agent/stranger").await;
    check(&["forget", "mary"], 1, "registry.toml").await;
    check(&["notify", "test"], 0, "hook").await;
    check(&["notify", "test", "hook"], 0, "hook").await;
    check(&["apply"], 1, "no edit is held").await;
    check(&["retry", "mary"], 1, "").await;
    check(&["ping", "mary", "--fail"], 0, "mary").await;
    for words in [
        &["status"][..],
        &["agents"],
        &["agents", "--unknown"],
        &["show", "mary"],
        &["show", &id],
        &["incidents", "--all"],
        &["why", "mary"],
        &["silences"],
        &["ping", "lisa"],
        &["pause", "lisa"],
        &["resume", "lisa"],
        &["apply"],
        &["notify", "test"],
        &["check"],
    ] {
        let value = daemon.cli_json(words).await;
        assert!(value.is_object() || value.is_array(), "{words:?}: {value}");
    }
    let agents = daemon.cli_json(&["agents"]).await;
    let mary = agents.as_array().expect("a list").iter().find(|it| it["id"] == "mary");
    assert_eq!(mary.expect("she is watched")["name"], "mary");
    assert!(mary.expect("she is watched")["since"].as_str().expect("text").ends_with('Z'), "UTC");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_works_over_the_unix_socket() {
    let sink = Webhook::start().await;
    let daemon = Daemon::setup().registry(&registry(&sink)).start().await;
    let socket =
        wait::eventually(SOON, "the socket is there", async || fs::metadata(daemon.socket()).ok());
    let mode = socket.await.permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "its owner alone");
    every_verb(&daemon).await;
    let tested = |it: &crate::support::webhook::Delivery| it.event().contains("test");
    sink.expect(SOON, "the test message", tested).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_works_over_http_with_a_token() {
    let sink = Webhook::start().await;
    let setup = Daemon::setup().registry(&registry(&sink)).http(&format!("token = \"{TOKEN}\""));
    // What is named is asked alone: the socket plays no part.
    let mut daemon = setup.env("ATALAYA_TOKEN", TOKEN).write();
    daemon.start().await;
    let daemon = daemon.over_http();
    every_verb(&daemon).await;
    let wrong = daemon.with_env("ATALAYA_TOKEN", "wrong");
    exits(&wrong.cli(&["status"]).await, 4, "token");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_one_may_read_and_ping_over_loopback_and_not_act() {
    let sink = Webhook::start().await;
    let mut daemon = Daemon::setup().registry(&registry(&sink)).write();
    daemon.start().await;
    let daemon = daemon.over_http();
    exits(&daemon.cli(&["ping", "lisa"]).await, 0, "lisa");
    exits(&daemon.cli(&["agents"]).await, 0, "lisa");
    for words in
        [&["pause", "lisa"][..], &["silence", "lisa", "1h"], &["notify", "test"], &["apply"]]
    {
        let said = daemon.cli(words).await;
        exits(&said, 4, "token");
        let refused = daemon.cli(&[words, &["--json"]].concat()).await;
        assert_eq!(refused.status, Some(4), "{refused:?}");
        let problem: Value = serde_json::from_str(&refused.stdout).expect("a problem in JSON");
        assert_eq!(problem["class"], "not_permitted", "{problem}");
    }
    assert_eq!(daemon.agent("lisa").await.expect("watched")["verdict"], "up", "nothing was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_every_place_that_was_tried_is_listed() {
    let daemon = Daemon::setup().write();
    let said = daemon.cli(&["status"]).await;
    exits(&said, 3, "no daemon answers; tried");
    assert!(said.stderr.contains(&daemon.socket().display().to_string()), "{said:?}");
    assert!(said.stderr.contains(&format!("http://127.0.0.1:{}", daemon.port)), "{said:?}");
    assert!(said.stderr.contains("atalaya run"), "{said:?}");
    let port = free_port();
    let said = daemon.cli(&["--url", &format!("http://127.0.0.1:{port}"), "agents"]).await;
    exits(&said, 3, &format!("127.0.0.1:{port}: Connection refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_and_typos_are_told_with_what_was_meant() {
    let sink = Webhook::start().await;
    let daemon = Daemon::setup().registry(&registry(&sink)).start().await;
    for (words, says) in [
        (&["statsu"][..], "'status'"),
        (&[], "Usage:"),
        (&["agents", "--unkown"], "--unknown"),
        (&["show"], "WATCH|INCIDENT"),
        (&["show", "mray"], "did you mean agent/mary?"),
        (&["pause", "lsia"], "did you mean agent/lisa?"),
        (&["notify", "test", "hok"], "did you mean hook?"),
        (&["ack", "999"], "there is no incident #999"),
        (&["silence", "mary", "soon"], "soon"),
        (&["ping", "../x"], "id"),
        (&["schema", "regstry"], "registry"),
    ] {
        exits(&daemon.cli(words).await, 2, says);
    }
    for words in [&["--help"][..], &["--version"], &["help", "silence"]] {
        exits(&daemon.cli(words).await, 0, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_man_pages_know_every_verb() {
    let daemon = Daemon::setup().write();
    for shell in ["bash", "zsh", "fish"] {
        exits(&daemon.cli(&["completions", shell]).await, 0, "unsilence");
    }
    exits(&daemon.cli(&["man"]).await, 0, ".TH atalaya");
    exits(&daemon.cli(&["man", "--out", "pages"]).await, 0, "");
    let pages = fs::read_dir(daemon.path("pages")).expect("a folder");
    let mut names: Vec<String> =
        pages.map(|it| it.expect("a page").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for page in ["atalaya.1", "atalaya-silence.1", "atalaya-run.1", "atalaya-notify-test.1"] {
        assert!(names.iter().any(|it| it == page), "{page}: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals() {
    let sink = Webhook::start().await;
    let daemon = Daemon::setup().registry(&registry(&sink)).start().await;
    daemon.ping("mary").await;
    let colours = |said: &Said| said.stdout.contains("\u{1b}[");
    assert!(!colours(&daemon.cli(&["status"]).await));
    assert!(colours(&daemon.cli(&["--color", "always", "status"]).await));
    // util-linux's `script` gives it a terminal.
    let on_terminal = async |env: &[(&str, &str)]| {
        let line = format!(
            "{} --socket {} agents",
            env!("CARGO_BIN_EXE_atalaya"),
            daemon.socket().display()
        );
        let mut command = tokio::process::Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
        command.env_remove("NO_COLOR").env("TERM", "xterm").envs(env.iter().copied());
        let output = command.output().await.expect("`script` of util-linux");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(on_terminal(&[]).await.contains("\u{1b}["), "coloured on a terminal");
    let plain = on_terminal(&[("NO_COLOR", "1")]).await;
    assert!(plain.contains("mary") && !plain.contains("\u{1b}["), "{plain:?}");
}
