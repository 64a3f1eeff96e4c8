//! A run that ends: it says what it knows and what it cannot, tells nobody unless it is to, and keeps what it owes.

use std::{fs, time::Duration};

use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

use crate::support::{
    beating::Beating,
    daemon::{Daemon, Said, Setup},
    redis::Redis,
    wait,
    webhook::{Fault, Webhook},
};

const SOON: Duration = Duration::from_secs(20);
const BEAT: Duration = Duration::from_millis(200);
const QUICK: &str = "interval = \"500ms\"\ntimeout = \"1500ms\"\n";

fn agents(names: &[&str], keys: &str) -> String {
    let entries = names.iter().map(|id| format!("[[agent]]\nid = \"{id}\"\n{keys}"));
    entries.collect::<Vec<_>>().concat()
}

fn setup(names: &[&str], keys: &str, hook: &Webhook) -> Setup {
    Daemon::setup().registry(&format!(
        "auto_register = false\n{}[[receiver]]\nid = \"hook\"\nwebhook = {{ url = \"{}\" }}\n\
         [[route]]\nto = [\"hook\"]\n",
        agents(names, keys),
        hook.url()
    ))
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|why| panic!("no JSON ({why}): {said:?}"))
}

fn verdict(seen: &Value, id: &str) -> String {
    let watch = format!("agent/{id}");
    let found = seen["watches"].as_array().expect("a list").iter().find(|it| it["watch"] == watch);
    found.expect("it is listed")["verdict"].as_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_all_is_known_and_with_0_when_all_is_well() {
    let hook = Webhook::start().await;
    // Its bound is far: it ends because nothing is left to learn.
    let daemon = setup(&["mary", "lisa"], "", &hook).write();
    let beating = Beating::start(&daemon, ["mary", "lisa"], BEAT);
    let said = daemon.cli(&["run", "--once", "--duration", "10m"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stdout.contains("2 watches: 2 up") && said.stdout.contains("✓ well"), "{said:?}");
    assert!(!daemon.socket().exists(), "nothing is left of it");
    // What it heard is remembered: the next run knows it at once, with nobody beating.
    drop(beating);
    let said = daemon.cli(&["run", "--once", "--duration", "10m", "--json"]).await;
    let seen = json(&said);
    assert_eq!((said.status, &seen["well"]), (Some(0), &true.into()), "{said:?}");
    assert_eq!(verdict(&seen, "mary"), "up");
    assert!(hook.deliveries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_down_and_what_is_unknown_is_told_apart_and_nobody_is_told_without_notify() {
    let hook = Webhook::start().await;
    let mut daemon = setup(&["mary", "lisa", "nova"], QUICK, &hook).write();
    let beating = Beating::start(&daemon, ["mary", "lisa"], BEAT);
    let run = async |daemon: &Daemon, words: &[&str]| {
        daemon.cli(&[&["run", "--json"], words].concat()).await
    };
    let (said, ()) = tokio::join!(run(&daemon, &["--duration", "6s"]), async {
        wait::last(Duration::from_secs(2)).await;
        beating.silence("lisa");
    });
    let seen = json(&said);
    assert_eq!(said.status, Some(1), "{said:?}");
    let verdicts = ["mary", "lisa", "nova"].map(|it| verdict(&seen, it));
    assert_eq!(verdicts, ["up", "down", "unknown"], "{seen}");
    assert_eq!(seen["unwell"], serde_json::json!(["1 watch is down", "1 watch is unknown"]));
    assert_eq!((&seen["notified"], &seen["owed"]), (&false.into(), &1.into()), "{seen}");
    assert!(hook.deliveries().is_empty(), "nobody was to be told");
    // With --notify what the run before owed is sent too, before it ends.
    let said = run(&daemon, &["--once", "--duration", "3s", "--notify"]).await;
    let seen = json(&said);
    assert_eq!((said.status, &seen["owed"]), (Some(1), &0.into()), "{said:?}");
    let told = hook.events("opened");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].incident("watch"), "agent/lisa");
    // She comes back in a run that tells nobody: the daemon that follows tells it, once.
    beating.add("lisa");
    let seen = json(&run(&daemon, &["--duration", "2s"]).await);
    assert_eq!(verdict(&seen, "lisa"), "up");
    assert_eq!(seen["ended"][0]["watch"], "agent/lisa", "{seen}");
    daemon.start().await;
    hook.expect(SOON, "her return is told", |it| it.event() == "resolved").await;
    assert_eq!(hook.events("opened").len(), 1);
    // While it runs, nobody else has its state.
    let said = daemon.cli(&["run", "--once"]).await;
    assert_eq!(said.status, Some(75));
    assert!(said.stderr.contains("another atalaya"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_stays_owed_and_is_said() {
    let hook = Webhook::start().await;
    hook.answer_all_with(Some(Fault::Status(503)));
    let daemon = setup(&["mary"], QUICK, &hook).write();
    let beating = Beating::start(&daemon, ["mary"], BEAT);
    let mut run = tokio::process::Command::from(daemon.command(&[
        "run",
        "--duration",
        "4s",
        "--notify",
        "--summary",
        "summary.md",
    ]));
    let run = run.kill_on_drop(true).output();
    let (output, ()) = tokio::join!(tokio::time::timeout(SOON * 4, run), async {
        wait::last(Duration::from_secs(1)).await;
        beating.silence("mary");
    });
    let output = output.expect("it ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 message could not be sent yet and stay"), "{said}");
    let summary = fs::read_to_string(daemon.path("summary.md")).expect("it was asked for");
    assert!(summary.contains("1 watch is down") && summary.contains("agent\\/mary"), "{summary}");
    assert!(!hook.attempts().is_empty() && hook.deliveries().is_empty());
    let seen = json(&daemon.cli(&["run", "--duration", "1s", "--json"]).await);
    assert_eq!((&seen["owed"], &seen["notified"]), (&1.into(), &false.into()), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_that_are_polled_are_as_old_as_their_stamps_say() {
    let redis = Redis::start().await;
    let stamp = |ago: i64| (wait::epoch_seconds() - ago).to_string();
    redis.hset("fleet:agents:mary", &[("status", "alive"), ("last_seen", &stamp(5))]);
    redis.hset("fleet:agents:lisa", &[("status", "alive"), ("last_seen", &stamp(900))]);
    let config = format!("[redis]\nurl = \"{}\"\nprefix = \"fleet\"\n", redis.url());
    let daemon = Daemon::setup()
        .config(&config)
        .registry(&agents(&["mary", "lisa"], "timeout = \"60s\"\n"))
        .write();
    let mut heard = ::redis::Client::open(redis.url())
        .expect("a URL")
        .get_async_pubsub()
        .await
        .expect("a connection");
    heard.subscribe("fleet:heartbeats").await.expect("a subscription");
    let said = daemon.cli(&["run", "--once", "--duration", "3s", "--json"]).await;
    let seen = json(&said);
    assert_eq!([verdict(&seen, "mary"), verdict(&seen, "lisa")], ["up", "unknown"], "{seen}");
    assert_eq!(said.status, Some(1));
    // What it sent would have come by now: it has ended.
    let mut messages = heard.on_message();
    let sign = futures_util::StreamExt::next(&mut messages);
    let sign = tokio::time::timeout(Duration::from_millis(200), sign).await;
    assert!(sign.is_err(), "it gave a sign of life: {sign:?}");
    drop(messages);
    drop(redis);
    let seen = json(&daemon.cli(&["run", "--once", "--duration", "3s", "--json"]).await);
    assert_eq!([verdict(&seen, "mary"), verdict(&seen, "lisa")], ["unknown", "unknown"], "{seen}");
    assert_eq!(seen["unwell"][0], "2 watches are unknown");
    assert!(
        seen["unwell"].as_array().expect("a list").iter().any(|it| it == "source/redis is blind")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_watch_or_told_to_end_it_is_not_well() {
    let daemon = Daemon::setup().registry("auto_register = false\n").write();
    let said = daemon.cli(&["run", "--once"]).await;
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(said.stdout.contains("not well: nothing is watched"), "{said:?}");
    let mut child = daemon.command(&["run", "--duration", "10m"]).spawn().expect("it starts");
    daemon
        .wait_until("it judges", SOON, async || {
            let asked = crate::support::client().get(daemon.url("/readyz")).send().await;
            (asked.ok()?.status() == 200).then_some(())
        })
        .await;
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it takes signals");
    let status = wait::eventually(SOON, "it ends", async || child.try_wait().expect("our child"));
    assert_eq!(status.await.code(), Some(1));
}

/// The step of the published workflow that watches.
fn step_that_watches() -> Yaml {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating/github-workflow.yml");
    let text = fs::read_to_string(path).expect("it is published");
    let workflow: Yaml = serde_yaml_ng::from_str(&text).expect("it is YAML");
    assert!(workflow.get("on").is_some_and(Yaml::is_mapping), "GitHub asks when to run it");
    let job = &workflow["jobs"]["watch"];
    assert!(job["runs-on"].is_string());
    for name in ["ATALAYA_CONFIG", "ATALAYA_REGISTRY"] {
        assert!(job["env"][name].as_str().is_some_and(|it| it.starts_with("config/")));
    }
    let steps = job["steps"].as_sequence().expect("a list").clone();
    for step in &steps {
        assert!(step["uses"].is_string() != step["run"].is_string(), "one of both: {step:?}");
    }
    let watches = |it: &Yaml| it["run"].as_str().is_some_and(|it| it.starts_with("atalaya run"));
    steps.into_iter().find(watches).expect("a step that watches")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_workflow_fails_with_a_summary_when_an_agent_is_silent() {
    let hook = Webhook::start().await;
    let step = step_that_watches();
    assert!(step["env"]["TELEGRAM_BOT_TOKEN"].as_str().is_some_and(|it| it.contains("secrets.")));
    // For a shorter time than the two minutes, and more than an interval and 5 s; else as GitHub runs it.
    let run = step["run"].as_str().expect("text").replace("2m", "7s");
    assert!(run.contains("--duration 7s") && run.contains("--notify"), "{run}");
    let daemon = setup(&["mary", "lisa"], QUICK, &hook).write();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_atalaya"));
    let path = format!("{}:/usr/bin:/bin", program.parent().expect("its folder").display());
    let summary = daemon.path("step-summary.md");
    fs::write(&summary, "Of an earlier command.\n").expect("the folder can be written");
    let step = async || {
        let mut shell = tokio::process::Command::new("bash");
        shell.args(["-e", "-c", &run]).current_dir(daemon.path("")).env_clear();
        shell.env("PATH", &path).env("GITHUB_STEP_SUMMARY", &summary);
        shell.env("ATALAYA_CONFIG", "config/atalaya.toml");
        shell.env("ATALAYA_REGISTRY", "config/registry.toml");
        let ended = tokio::time::timeout(SOON, shell.kill_on_drop(true).output()).await;
        ended.expect("it ends").expect("bash is there").status.code()
    };
    let beating = Beating::start(&daemon, ["mary", "lisa"], BEAT);
    assert_eq!(step().await, Some(0));
    beating.silence("lisa");
    assert_eq!(step().await, Some(1));
    let text = fs::read_to_string(&summary).expect("the summary");
    let wanted = [
        "Of an earlier command.\n",
        "### ✅ tower\\-test: well",
        "### ❌ tower\\-test: 1 watch is down",
    ];
    let places = wanted.map(|it| text.find(it).unwrap_or_else(|| panic!("{it}: {text}")));
    assert!(places.is_sorted(), "{text}");
    assert!(text.contains("| agent\\/lisa | **down** |"), "{text}");
    assert_eq!(hook.events("opened").len(), 1);
}
