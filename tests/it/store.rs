//! The store in trouble, and the end and the return of the process: it is told in plain words, the watch goes on
//! judging, and what was committed is there.

use std::{fs, path::Path, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::support::{
    beating::Beating,
    daemon::{Daemon, Setup},
    disk::Disk,
    wait,
    webhook::{Delivery, Webhook},
};

const SOON: Duration = Duration::from_secs(20);
const BEAT: Duration = Duration::from_millis(150);

/// Three agents whose falls a webhook hears.
fn setup(sink: &Webhook) -> Setup {
    let agents: String = ["mary", "lisa", "paula"]
        .map(|id| format!("[[agent]]\nid = \"{id}\"\ninterval = \"500ms\"\ntimeout = \"2s\"\n"))
        .concat();
    Daemon::setup().registry(&format!(
        "auto_register = false\n{agents}[[receiver]]\nid = \"hook\"\nwebhook = {{ url = \"{}\" }}\n\
         [[route]]\nmatch = \"*/*\"\nto = [\"hook\"]\n",
        sink.url()
    ))
}

fn of(watch: &str, event: &str) -> impl Fn(&Delivery) -> bool {
    move |it| it.incident("watch") == watch && it.event() == event
}

/// The part of `status` that speaks of the store.
async fn trouble_of_store(daemon: &Daemon, condition: Option<&str>) -> Value {
    daemon
        .wait_until(&format!("self/store is {condition:?}"), SOON, async || {
            let status = daemon.cli_json(&["status"]).await;
            let parts = status["parts"].as_array()?.clone();
            parts
                .into_iter()
                .find(|it| it["watch"] == "self/store" && it["trouble"].as_str() == condition)
        })
        .await
}

async fn incident(daemon: &Daemon, watch: &str, status: &str) -> Value {
    daemon
        .wait_until(&format!("{watch} has an incident that is {status}"), SOON, async || {
            let all = daemon.incidents().await;
            all.into_iter().find(|it| it["watch"] == watch && it["status"] == status)
        })
        .await
}

/// While the store is in trouble: status and log say so, and one who dies is judged.
async fn judges_on(daemon: &Daemon, beating: &Beating, says: &[&str]) {
    let part = trouble_of_store(daemon, Some("unwritable")).await;
    let detail = part["detail"].as_str().expect("text");
    for words in says {
        assert!(detail.contains(words), "{words}: {detail}");
        assert!(daemon.logs().contains(words), "{words}: {}", daemon.logs());
    }
    // One who was never heard since the start is waited for, not missed.
    daemon.verdict("mary", "up", SOON).await;
    beating.silence("mary");
    daemon.verdict("mary", "down", SOON).await;
    daemon.verdict("lisa", "up", SOON).await;
    let status = daemon.cli(&["status"]).await;
    assert!(status.stdout.contains("1 down") || status.stdout.contains("2 down"), "{status:?}");
}

/// The trouble has passed: what fell meanwhile is in the store, and ends like any other.
async fn recovers(daemon: &Daemon, sink: &Webhook, beating: &Beating) {
    trouble_of_store(daemon, None).await;
    incident(daemon, "agent/mary", "open").await;
    sink.expect(SOON, "her fall is told", of("agent/mary", "opened")).await;
    beating.add("mary");
    incident(daemon, "agent/mary", "resolved").await;
    sink.expect(SOON, "her return is told", of("agent/mary", "resolved")).await;
    assert_eq!(sink.events("opened").iter().filter(|it| of("agent/mary", "opened")(it)).count(), 1);
}

fn elsewhere(setup: Setup, at: &Path) -> Setup {
    setup.config(&format!("[store]\nurl = \"sqlite:{}\"", at.join("atalaya.db").display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_the_watch_goes_on() {
    let sink = Webhook::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = Disk::mount("a_full_disk_is_told_and_the_watch_goes_on", folder.path()) else {
        return;
    };
    let daemon = elsewhere(setup(&sink), folder.path()).start().await;
    let beating = Beating::start(&daemon, ["mary", "lisa", "paula"], BEAT);
    daemon.verdict("paula", "up", SOON).await;
    disk.fill();
    // Whoever falls makes it write.
    beating.silence("paula");
    daemon.verdict("paula", "down", SOON).await;
    judges_on(&daemon, &beating, &["is full", "free space there"]).await;
    disk.free();
    recovers(&daemon, &sink, &beating).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_while_the_disk_is_full_are_told_meanwhile_and_recorded_afterwards() {
    let name = "outages_while_the_disk_is_full_are_told_meanwhile_and_recorded_afterwards";
    let sink = Webhook::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = Disk::mount(name, folder.path()) else { return };
    let daemon = elsewhere(setup(&sink), folder.path()).start().await;
    let names = ["mary", "lisa", "paula"];
    let beating = Beating::start(&daemon, names, BEAT);
    for it in names {
        daemon.verdict(it, "up", SOON).await;
    }
    disk.fill();
    for it in names {
        let watch = format!("agent/{it}");
        beating.silence(it);
        sink.expect(SOON, "the fall is told meanwhile", of(&watch, "opened")).await;
        trouble_of_store(&daemon, Some("unwritable")).await;
        beating.add(it);
        sink.expect(SOON, "the return is told meanwhile", of(&watch, "resolved")).await;
    }
    sink.expect(SOON, "so is the store", of("self/store", "opened")).await;
    disk.free();
    trouble_of_store(&daemon, None).await;
    for it in names {
        let watch = format!("agent/{it}");
        let stored = incident(&daemon, &watch, "resolved").await;
        assert!(time(&stored["opened_at"]) < time(&stored["resolved_at"]), "{stored}");
        for event in ["opened", "resolved"] {
            let told = sink.events(event).into_iter().filter(|it| it.incident("watch") == watch);
            assert_eq!(told.count(), 1, "{event} {watch}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_read_only_disk_is_told_and_the_watch_goes_on() {
    let sink = Webhook::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let name = "a_start_on_a_read_only_disk_is_told_and_the_watch_goes_on";
    let Some(disk) = Disk::mount(name, folder.path()) else { return };
    let mut daemon = elsewhere(setup(&sink), folder.path()).start().await;
    let beating = Beating::start(&daemon, ["mary", "lisa", "paula"], BEAT);
    daemon.verdict("mary", "up", SOON).await;
    assert!(daemon.term().await.success());
    disk.make_read_only();
    daemon.start().await;
    judges_on(&daemon, &beating, &["cannot be written", "read-only"]).await;
    disk.make_writable();
    recovers(&daemon, &sink, &beating).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_while_it_runs_is_told_and_the_watch_goes_on() {
    let sink = Webhook::start().await;
    let mut daemon = setup(&sink).start().await;
    let beating = Beating::start(&daemon, ["mary", "lisa", "paula"], BEAT);
    daemon.verdict("paula", "up", SOON).await;
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(daemon.path(&format!("var/atalaya.db{suffix}"))).expect("it is there");
    }
    beating.silence("paula");
    daemon.verdict("paula", "down", SOON).await;
    judges_on(&daemon, &beating, &["is not there any more", "start atalaya again"]).await;
    // As it says: the next start begins a new one, with what the watches say.
    beating.add("paula");
    daemon.term().await;
    daemon.start().await;
    trouble_of_store(&daemon, None).await;
    daemon.verdict("lisa", "up", SOON).await;
    assert!(daemon.path("var/atalaya.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_file_is_kept_aside_and_a_new_one_begun() {
    let sink = Webhook::start().await;
    let mut daemon = setup(&sink).start().await;
    daemon.ping("mary").await;
    assert!(daemon.term().await.success());
    let garbage =
        "this is no database, and longer than a header of one hundred bytes would be. ".repeat(20);
    fs::write(daemon.path("var/atalaya.db"), &garbage).expect("written");
    daemon.start().await;
    let kept = fs::read_dir(daemon.path("var")).expect("the folder").find_map(|it| {
        let path = it.expect("an entry").path();
        path.to_string_lossy().contains("atalaya.db.damaged-").then_some(path)
    });
    let kept = kept.expect("the damaged file is kept");
    assert_eq!(fs::read_to_string(&kept).expect("readable"), garbage);
    let logs = daemon.logs();
    assert!(logs.contains("kept under another name"), "{logs}");
    assert!(logs.contains(&kept.file_name().expect("a name").to_string_lossy()[..]), "{logs}");
    daemon.ping("mary").await;
    daemon.verdict("mary", "down", SOON).await;
    incident(&daemon, "agent/mary", "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_in_plain_words_and_left_untouched() {
    let sink = Webhook::start().await;
    let mut daemon = setup(&sink).start().await;
    daemon.ping("mary").await;
    assert!(daemon.term().await.success());
    let file = daemon.path("var/atalaya.db");
    let newer = rusqlite::Connection::open(&file).expect("opens");
    let sql = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
               VALUES (999, 'of_tomorrow', '2030-01-01T00:00:00Z', '1')";
    newer.execute_batch(sql).expect("runs");
    newer.close().expect("closes");
    let before = fs::read(&file).expect("readable");
    daemon.spawn();
    let ended = daemon.ends(SOON).await;
    assert_eq!(ended.code(), Some(1), "{}", daemon.logs());
    let logs = daemon.logs();
    let said = logs.lines().rfind(|it| it.starts_with("error:")).expect("it says why");
    for words in ["written by a newer atalaya", "999", "left untouched", "run that version"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(said.matches("999").count(), 1, "once: {said}");
    assert_eq!(fs::read(&file).expect("readable"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_on_the_same_state_ends_with_75() {
    let sink = Webhook::start().await;
    let daemon = setup(&sink).start().await;
    let second = daemon.cli(&["run"]).await;
    assert_eq!(second.status, Some(75), "{second:?}");
    let pid = daemon.pid().as_raw_nonzero().to_string();
    assert!(second.stderr.contains(&pid), "it names who holds it ({pid}): {second:?}");
    assert!(second.stderr.contains("var"), "{second:?}");
    assert_eq!(daemon.get("/readyz").await.status, 200, "the first is not disturbed");
    assert!(daemon.socket().exists());
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("a time: {value}")).parse().expect("RFC 3339")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_commits_the_last_beat_within_five_seconds() {
    let sink = Webhook::start().await;
    let mut daemon = setup(&sink).start().await;
    let beating = Beating::start(&daemon, ["mary", "lisa"], BEAT);
    daemon.verdict("mary", "up", SOON).await;
    drop(beating);
    daemon.ping("mary").await;
    let last = daemon.agent("mary").await.expect("watched");
    let began = wait::now();
    assert_eq!(daemon.term().await.code(), Some(0), "{}", daemon.logs());
    let took = wait::now() - began;
    assert!(took <= Duration::from_secs(5), "it stopped after {took:?}");
    assert!(daemon.logs().contains("what it knows is stored"), "{}", daemon.logs());
    assert!(!daemon.socket().exists(), "nobody is there to be asked");
    daemon.start().await;
    let after = daemon.agent("mary").await.expect("watched");
    assert_eq!((&after["last_beat"], &after["beats"]), (&last["last_beat"], &last["beats"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_time_away_is_unknown_and_nothing_is_opened_anew() {
    let sink = Webhook::start().await;
    let mut daemon = setup(&sink).start().await;
    let beating = Beating::start(&daemon, ["mary", "lisa", "paula"], BEAT);
    for name in ["mary", "lisa", "paula"] {
        daemon.verdict(name, "up", SOON).await;
    }
    beating.silence("paula");
    daemon.verdict("paula", "down", SOON).await;
    let open = incident(&daemon, "agent/paula", "open").await;
    sink.expect(SOON, "her fall is told", of("agent/paula", "opened")).await;
    let killed_at = daemon.agent("mary").await.expect("watched");
    daemon.kill9();
    // Longer than the limit of 2 s: were it counted as silence, all would be down.
    wait::last(Duration::from_secs(4)).await;
    daemon.start().await;
    let mary = daemon.verdict("mary", "up", SOON).await;
    let stored = time(&mary["last_beat"]);
    assert!(time(&killed_at["last_beat"]) <= stored, "beats that were stored are at most 10 s old");
    assert!(0 < mary["beats"].as_u64().expect("a count"), "{mary}");
    daemon.verdict("lisa", "up", SOON).await;
    let again = incident(&daemon, "agent/paula", "open").await;
    assert_eq!((&again["id"], &again["occurrences"]), (&open["id"], &open["occurrences"]));
    // One who did not come back is found out all the same.
    beating.silence("lisa");
    incident(&daemon, "agent/lisa", "open").await;
    let opened = sink.events("opened");
    let of_paula = opened.iter().filter(|it| it.incident("watch") == "agent/paula").count();
    assert_eq!(of_paula, 1, "nothing that was told is told anew");
    let all = daemon.incidents().await;
    assert!(all.iter().all(|it| it["watch"] != "agent/mary"), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beats_are_stored_within_ten_seconds_even_if_a_kill_follows() {
    let sink = Webhook::start().await;
    let registry = "[[agent]]\nid = \"mary\"\ninterval = \"1m\"\n";
    let mut daemon = setup(&sink).registry(registry).start().await;
    daemon.ping("mary").await;
    let file = daemon.path("var/atalaya.db");
    let stored = async || {
        let store = rusqlite::Connection::open_with_flags(
            &file,
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        );
        let sql = "SELECT count(*) FROM facts WHERE watch = 'agent/mary'";
        store.ok()?.query_row(sql, [], |row| row.get::<_, i64>(0)).ok().filter(|it| 0 < *it)
    };
    // 10 s, and what a loaded machine takes for a transaction.
    daemon.wait_until("her beat is stored", Duration::from_secs(12), stored).await;
    let before = daemon.agent("mary").await.expect("watched");
    daemon.restart().await;
    let after = daemon.agent("mary").await.expect("watched");
    assert_eq!(before["last_beat"], after["last_beat"]);
    assert_eq!(after["beats"], 1);
}
