//! Edits of the registry while beats flow: what changed is acted on within a second, what did not change is not
//! touched, and a bad edit changes nothing.

use std::{fs, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::support::{beating::Beating, client, daemon::Daemon, wait};

/// How long a condition is waited for; promptness is judged by recorded times.
const SOON: Duration = Duration::from_secs(20);
const BEAT: Duration = Duration::from_millis(150);
/// "Within a second of its last write", and half a second for a machine that builds beside the tests.
const ACTED_WITHIN: Duration = Duration::from_millis(1_500);

const FOUR: [&str; 4] = ["mary", "lisa", "paula", "nova"];

/// A registry of these agents with `more` keys for one of them.
fn registry(names: &[&str], keys: &[(&str, &str)]) -> String {
    let entries = names.iter().map(|name| {
        let more = keys.iter().filter(|(of, _)| of == name).map(|(_, keys)| format!("{keys}\n"));
        format!("[[agent]]\nid = \"{name}\"\n{}", more.collect::<String>())
    });
    let clocks =
        "[defaults.agent]\ninterval = \"1s\"\ntimeout = \"10s\"\nfirst_beat_within = \"10s\"\n";
    format!("auto_register = false\n{clocks}{}", entries.collect::<String>())
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("a time: {value}")).parse().expect("RFC 3339")
}

#[expect(
    clippy::disallowed_methods,
    reason = "edits are dated by the same clock as the daemon's words"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// What must not move while others are edited: `actor_starts` counts the starts of the actor, the others are
/// lost with the slot.
async fn identity(daemon: &Daemon, id: &str) -> (Value, Value, Value, u64) {
    let shown = daemon.cli_json(&["show", id]).await;
    assert_eq!(shown["verdict"], "up", "{shown}");
    let beats = shown["beats"].as_u64().expect("a count");
    (shown["actor_starts"].clone(), shown["watched_since"].clone(), shown["since"].clone(), beats)
}

/// Verdicts that `why` knows of an agent.
async fn verdicts(daemon: &Daemon, id: &str) -> Vec<String> {
    let why = daemon.cli_json(&["why", id]).await;
    let chain = why["chain"].as_array().expect("a list").clone();
    let verdicts = chain.iter().filter(|it| it["stage"] == "verdict");
    verdicts.map(|it| it["outcome"].as_str().expect("text").to_owned()).collect()
}

/// When the registry in force was read.
async fn read_at(daemon: &Daemon) -> Timestamp {
    time(&daemon.cli_json(&["status"]).await["registry_read_at"])
}

/// Waits until a registry is in force that was read after `saved`, and holds the moment against the promise.
async fn acted_on(daemon: &Daemon, saved: Timestamp, how: &str) {
    let at = daemon
        .wait_until(&format!("the edit is adopted: {how}"), SOON, async || {
            Some(read_at(daemon).await).filter(|at| saved < *at)
        })
        .await;
    let took = Duration::try_from(at.duration_since(saved)).expect("it was read afterwards");
    assert!(took <= ACTED_WITHIN, "{how}: acted on after {took:?}");
}

async fn ids(daemon: &Daemon) -> Vec<String> {
    let agents = daemon.cli_json(&["agents"]).await;
    let mut ids: Vec<String> = agents
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["id"].as_str().expect("an id").to_owned())
        .collect();
    ids.sort();
    ids
}

async fn incident(daemon: &Daemon, watch: &str, condition: &str) -> Value {
    daemon
        .wait_until(&format!("{watch} {condition} is open"), SOON, async || {
            daemon.incidents().await.into_iter().find(|it| {
                it["watch"] == watch && it["condition"] == condition && it["status"] == "open"
            })
        })
        .await
}

async fn resolved(daemon: &Daemon, id: &Value) -> Value {
    daemon
        .wait_until(&format!("#{id} is resolved"), SOON, async || {
            let all = daemon.incidents().await;
            all.into_iter().find(|it| it["id"] == *id && it["status"] == "resolved")
        })
        .await
}

async fn started(names: &[&str]) -> (Daemon, Beating) {
    let daemon = Daemon::setup().registry(&registry(names, &[])).start().await;
    let beating = Beating::start(&daemon, names.iter().copied(), BEAT);
    for name in names {
        daemon.verdict(name, "up", SOON).await;
    }
    (daemon, beating)
}

#[tokio::test(flavor = "multi_thread")]
async fn however_it_is_saved_an_edit_is_acted_on_and_what_did_not_change_is_not_touched() {
    let (daemon, beating) = started(&["mary", "lisa", "paula"]).await;
    let (before, flips) = (identity(&daemon, "mary").await, verdicts(&daemon, "mary").await);

    // Add: in place.
    beating.add("nova");
    daemon.write_registry(&registry(&FOUR, &[]));
    acted_on(&daemon, now(), "in place").await;
    daemon.verdict("nova", "up", SOON).await;
    assert_eq!(ids(&daemon).await, ["lisa", "mary", "nova", "paula"]);

    // Change one: by rename, as vim and careful editors save.
    daemon.replace_registry_by_rename(&registry(&FOUR, &[("lisa", "timeout = \"30s\"")]));
    acted_on(&daemon, now(), "by rename").await;
    assert_eq!(daemon.agent("lisa").await.expect("watched")["timeout"], "30s");

    // Half-written, with a pause in which it would be valid and lack two agents.
    let change = registry(&FOUR, &[("lisa", "timeout = \"40s\"")]);
    daemon.write_registry_in_halves(&change, Duration::from_millis(150)).await;
    acted_on(&daemon, now(), "in halves").await;
    assert_eq!(daemon.agent("lisa").await.expect("watched")["timeout"], "40s");

    // Deleted and made anew.
    let file = daemon.path("config/registry.toml");
    fs::remove_file(&file).expect("it is there");
    wait::last(Duration::from_millis(100)).await;
    fs::write(&file, registry(&FOUR, &[("lisa", "timeout = \"50s\"")])).expect("written");
    acted_on(&daemon, now(), "deleted and made anew").await;
    assert_eq!(daemon.agent("lisa").await.expect("watched")["timeout"], "50s");

    // The old file is moved to a backup, as vim does with backupcopy=no.
    fs::rename(&file, daemon.path("config/registry.toml~")).expect("it is there");
    fs::write(&file, registry(&FOUR, &[("lisa", "timeout = \"60s\"")])).expect("written");
    acted_on(&daemon, now(), "backup by rename").await;
    assert_eq!(daemon.agent("lisa").await.expect("watched")["timeout"], "60s");

    // Remove one.
    daemon.replace_registry_by_rename(&registry(&["mary", "lisa", "nova"], &[]));
    acted_on(&daemon, now(), "one removed").await;
    assert_eq!(ids(&daemon).await, ["lisa", "mary", "nova"]);

    // A call without an edit reads all the same: what the files name may have changed.
    daemon.sighup();
    acted_on(&daemon, now(), "SIGHUP").await;

    let after = identity(&daemon, "mary").await;
    assert_eq!((&before.0, &before.1, &before.2), (&after.0, &after.1, &after.2));
    assert_eq!(after.0, 1, "its actor was started once");
    assert!(before.3 < after.3, "its beats were counted on: {before:?} {after:?}");
    assert_eq!(verdicts(&daemon, "mary").await, flips, "and no flip since");
    assert_eq!(daemon.incidents().await, [] as [Value; 0], "nobody was disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_registry_d_come_change_and_go_like_the_one() {
    let (daemon, beating) = started(&["mary", "lisa", "paula"]).await;
    let before = identity(&daemon, "mary").await;
    let folder = daemon.path("config/registry.d");
    fs::create_dir(&folder).expect("a folder");
    beating.add("nova");
    fs::write(folder.join("nova.toml"), "[[agent]]\nid = \"nova\"\n").expect("written");
    acted_on(&daemon, now(), "a folder with a file").await;
    let nova = daemon.verdict("nova", "up", SOON).await;
    assert!(nova["origin"].as_str().expect("text").ends_with("registry.d/nova.toml:1"), "{nova}");

    fs::write(folder.join("nova.toml"), "[[agent]]\nid = \"nova\"\ntimeout = \"20s\"\n")
        .expect("written");
    acted_on(&daemon, now(), "a file of the folder changed").await;
    assert_eq!(daemon.agent("nova").await.expect("watched")["timeout"], "20s");

    // What is no *.toml is no registry: backups and swap files of editors.
    fs::write(folder.join(".nova.toml.swp"), "garbage").expect("written");
    fs::write(folder.join("nova.toml~"), "garbage").expect("written");

    // The folder is replaced as a whole, as a deployment does.
    let new = daemon.path("config/registry.new");
    fs::create_dir(&new).expect("a folder");
    fs::write(new.join("nova.toml"), "[[agent]]\nid = \"nova\"\ntimeout = \"25s\"\n")
        .expect("written");
    fs::rename(&folder, daemon.path("config/old")).expect("moved away");
    fs::rename(&new, &folder).expect("moved in");
    acted_on(&daemon, now(), "the folder replaced").await;
    assert_eq!(daemon.agent("nova").await.expect("watched")["timeout"], "25s");
    fs::write(folder.join("nova.toml"), "[[agent]]\nid = \"nova\"\ntimeout = \"35s\"\n")
        .expect("written");
    acted_on(&daemon, now(), "a file of the new folder").await;

    fs::remove_dir_all(&folder).expect("removed");
    acted_on(&daemon, now(), "the folder removed").await;
    assert_eq!(ids(&daemon).await, ["lisa", "mary", "paula"]);
    let after = identity(&daemon, "mary").await;
    assert_eq!((before.0, before.1, before.2), (after.0, after.1, after.2));
    assert_eq!(daemon.incidents().await, [] as [Value; 0], "nobody was disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_edit_changes_nothing_and_is_one_incident_until_it_is_mended() {
    let (daemon, _beating) = started(&["mary", "lisa", "paula"]).await;
    let before = (identity(&daemon, "mary").await, read_at(&daemon).await);
    let saved = now();
    daemon.write_registry(&registry(&["mary", "lisa"], &[("mary", "stall_afer = \"30m\"")]));
    let told = incident(&daemon, "self/registry", "refused").await;
    let cause = told["cause"].as_str().expect("text");
    assert!(cause.contains("unknown key `stall_afer`"), "{cause}");
    assert!(
        cause.contains("registry.toml:") && cause.contains("did you mean `stall_after`?"),
        "{cause}"
    );
    let took = Duration::try_from(time(&told["opened_at"]).duration_since(saved));
    assert!(took.expect("it opened afterwards") <= ACTED_WITHIN, "{told}");
    assert_eq!(told["severity"], "warning", "{told}");
    assert_eq!(ids(&daemon).await, ["lisa", "mary", "paula"], "nothing changed");
    assert_eq!(read_at(&daemon).await, before.1, "the registry of before is in force");

    // Other mistakes, before the first is mended: the same incident with the new words.
    daemon.write_registry(&registry(&["mary", "lisa", "paula"], &[("lisa", "timeout = \"soon\"")]));
    daemon
        .wait_until("the incident says what is wrong now", SOON, async || {
            let open = incident(&daemon, "self/registry", "refused").await;
            assert_eq!(open["id"], told["id"], "one incident");
            open["cause"].as_str().expect("text").contains("timeout").then_some(())
        })
        .await;
    let status = daemon.cli(&["status"]).await;
    assert!(
        status.stdout.contains("self/registry") && status.stdout.contains("refused"),
        "{status:?}"
    );
    assert!(status.stdout.lines().all(|it| it.chars().count() <= 120), "{}", status.stdout);

    daemon.write_registry(&registry(&["mary", "lisa", "paula"], &[]));
    let over = resolved(&daemon, &told["id"]).await;
    assert_eq!(over["occurrences"], 1, "{over}");
    let after = identity(&daemon, "mary").await;
    let before = before.0;
    assert_eq!((before.0, before.1, before.2), (after.0, after.1, after.2));
    assert!(before.3 < after.3, "beats flowed all the while");
    assert_eq!(daemon.incidents().await.len(), 1, "one incident in all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_removal_waits_for_apply_and_takes_nothing_with_it() {
    let secret = "guard-of-lisa";
    let keys = [("lisa", "token_file = \"lisa.token\"")];
    let daemon = Daemon::setup().registry(&registry(&FOUR, &keys)).write();
    fs::write(daemon.path("lisa.token"), secret).expect("written");
    fs::write(daemon.path("config/lisa.token"), secret).expect("written");
    let mut daemon = daemon;
    daemon.start().await;
    let _beating = Beating::start(&daemon, ["mary", "paula", "nova"], BEAT);
    daemon.verdict("mary", "up", SOON).await;
    assert_eq!(daemon.get("/ping/lisa").await.status, 401, "lisa's beats need her token");

    daemon.write_registry(&registry(&["mary"], &[]));
    let held = incident(&daemon, "self/registry", "held").await;
    let cause = held["cause"].as_str().expect("text");
    assert!(cause.contains("would stop 3 of 4 watches"), "{cause}");
    assert!(cause.contains("atalaya apply"), "{cause}");
    assert_eq!(ids(&daemon).await, ["lisa", "mary", "nova", "paula"]);
    assert_eq!(daemon.get("/ping/lisa").await.status, 401, "a held edit opens no door");
    daemon.verdict("paula", "up", SOON).await;

    let said = daemon.cli(&["apply"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stdout.contains("3 stopped"), "{said:?}");
    daemon
        .wait_until("three are watched no more", SOON, async || {
            (ids(&daemon).await == ["mary"]).then_some(())
        })
        .await;
    resolved(&daemon, &held["id"]).await;
    assert_eq!(identity(&daemon, "mary").await.0, 1);
    let said = daemon.cli(&["apply"]).await;
    assert_eq!(said.status, Some(1), "nothing is held any more: {said:?}");
    assert!(said.stderr.contains("no edit is held"), "{said:?}");

    // What was removed comes back by its entry.
    daemon.write_registry(&registry(&FOUR, &[]));
    acted_on(&daemon, now(), "three added").await;
    daemon.verdict("paula", "up", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_raised_and_lowered_during_an_outage() {
    let names = ["mary", "lisa", "paula"];
    let with = |timeout: &str| registry(&names, &[("mary", &format!("timeout = \"{timeout}\""))]);
    let daemon = Daemon::setup().registry(&with("3s")).start().await;
    let beating = Beating::start(&daemon, names, BEAT);
    daemon.verdict("mary", "up", SOON).await;
    let mut others = Vec::new();
    for other in ["lisa", "paula"] {
        daemon.verdict(other, "up", SOON).await;
        others.push((other, verdicts(&daemon, other).await));
    }
    beating.silence("mary");
    let down = daemon.verdict("mary", "down", SOON).await;
    let first = incident(&daemon, "agent/mary", "down").await;

    // Raised: by the new limit she is not down, and the resolve says why.
    daemon.write_registry(&with("10m"));
    let over = resolved(&daemon, &first["id"]).await;
    let why = daemon.cli(&["why", "mary"]).await;
    assert!(why.stdout.contains("settings changed"), "{}", why.stdout);
    let shown = daemon.agent("mary").await.expect("watched");
    assert!(matches!(shown["verdict"].as_str(), Some("up" | "late")), "{shown}");
    assert_eq!(shown["last_beat"], down["last_beat"], "facts stay");
    assert_eq!(over["occurrences"], 1);

    // Lowered: down again, but not before one interval and 5 s have passed.
    daemon.write_registry(&with("3s"));
    let lowered = now();
    acted_on(&daemon, lowered, "lowered").await;
    let again = daemon.verdict("mary", "down", SOON).await;
    let respite = Duration::try_from(time(&again["since"]).duration_since(lowered));
    // `since` is when the promise broke, the incident's own decision when it was said.
    assert!(respite.is_ok() || time(&again["since"]) <= lowered, "{again}");
    let relapse = incident(&daemon, "agent/mary", "down").await;
    assert_eq!((&relapse["id"], &relapse["occurrences"]), (&first["id"], &Value::from(2)));
    let why = daemon.cli_json(&["why", "mary"]).await;
    let said_at = why["chain"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|it| it["stage"] == "incident")
        .map(|it| time(&it["at"]))
        .max()
        .expect("it was reopened");
    assert!(lowered.duration_since(said_at).abs() >= jiff::SignedDuration::from_secs(6), "{why}");
    for (other, flips) in &others {
        assert_eq!(identity(&daemon, other).await.0, 1);
        assert_eq!(&verdicts(&daemon, other).await, flips, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_bad_registry_uses_the_last_good_one_and_says_so() {
    let (mut daemon, beating) = started(&["mary", "lisa", "paula"]).await;
    assert!(daemon.term().await.success());
    daemon.write_registry("[[agent]]\nid = \"mary\nbroken");
    daemon.start().await;
    let told = incident(&daemon, "self/registry", "refused").await;
    assert!(told["cause"].as_str().expect("text").contains("registry.toml:"), "{told}");
    assert_eq!(ids(&daemon).await, ["lisa", "mary", "paula"], "the last good one is in force");
    daemon.verdict("mary", "up", SOON).await;
    beating.add("nova");
    daemon.write_registry(&registry(&FOUR, &[]));
    resolved(&daemon, &told["id"]).await;
    daemon.verdict("nova", "up", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_with_a_bad_registry_refuses_with_the_whole_report() {
    let bad = "auto_regster = true\n[[agent]]\nid = \"mary\"\ntimeout = \"soon\"\n";
    let mut daemon = Daemon::setup().registry(bad).write();
    daemon.spawn();
    assert_eq!(daemon.ends(SOON).await.code(), Some(2));
    let logs = daemon.logs();
    for words in ["did you mean `auto_register`?", "registry.toml:4:", "2 errors", "^^^^"] {
        assert!(logs.contains(words), "{words}: {logs}");
    }
    assert!(client().get(daemon.url("/readyz")).send().await.is_err(), "nobody listens");
}
