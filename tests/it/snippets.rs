//! The snippets of docs/beats, run as they stand there but for the port: what people paste must beat.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::process::Command;

use crate::support::{daemon::Daemon, redis::Redis, skip};

const SOON: Duration = Duration::from_secs(20);

/// The blocks of a language, with the shipped address replaced by the daemon's.
fn snippets(language: &str, daemon: &Daemon) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/beats/README.md");
    let text = std::fs::read_to_string(path).expect("docs/beats/README.md can be read");
    let blocks = text.split("\n```").skip(1).step_by(2);
    let of_language = blocks.filter_map(|it| it.strip_prefix(language)?.strip_prefix('\n'));
    let found: Vec<String> =
        of_language.map(|it| it.replace("http://127.0.0.1:7717", &daemon.url(""))).collect();
    assert!(!found.is_empty(), "docs/beats shows nothing in {language}");
    found
}

async fn run(program: &str, words: &[&str], environment: &[(&str, &str)]) -> Output {
    let command = Command::new(program)
        .args(words)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SOON, command).await;
    output.unwrap_or_else(|_| panic!("{program} {words:?} hangs")).expect("the program can be run")
}

/// Whether the program is there; if not, that is said.
async fn has(program: &str, test: &str) -> bool {
    let version = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let there = version.await.is_ok_and(|it| it.success());
    if !there {
        skip(test, &format!("there is no {program}"));
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_for_a_shell_beat() {
    let redis = Redis::start().await;
    let config = format!("[redis]\nurl = \"{}\"", redis.url());
    let daemon = Daemon::setup().config(&config).start().await;
    redis.heard(SOON).await;
    let port = redis.port.to_string();
    for snippet in snippets("bash", &daemon) {
        daemon.cli(&["forget", "mary"]).await;
        let snippet = snippet.replace("redis-cli ", &format!("redis-cli -p {port} "));
        let output = run("bash", &["-euc", &snippet], &[]).await;
        assert!(output.status.success(), "{snippet}: {output:?}");
        daemon.verdict("mary", "up", SOON).await;
    }
    let mary = daemon.agent("mary").await.expect("mary is watched");
    assert_eq!((&mary["progress"], &mary["task"]), (&412.into(), &"refactor billing tests".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_for_cron_tells_how_the_script_ended() {
    let daemon = Daemon::setup().start().await;
    let lines = snippets("cron", &daemon);
    let command = lines[0].splitn(6, ' ').nth(5).expect("a command behind the five fields");
    for (script, verdict) in [("exit 3", "failed"), ("true", "up")] {
        let command = command.replace("/opt/backup.sh", &format!("({script})"));
        let output = run("sh", &["-c", &command], &[]).await;
        assert!(output.status.success(), "{command}: {output:?}");
        daemon.verdict("backup", verdict, SOON).await;
    }
}

/// The commands of the units, as systemd would call them: specifiers filled in, `$$` a dollar, a dash before
/// the program taken away.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_units_beat() {
    let daemon = Daemon::setup().start().await;
    for (key, name, result, verdict) in [
        ("ExecStartPre=", "nightly", "success", "up"),
        ("ExecStopPost=", "nightly", "exit-code", "failed"),
        ("ExecStopPost=", "nightly", "success", "up"),
        ("ExecStart=", "mary", "success", "up"),
    ] {
        let units = snippets("ini", &daemon);
        let mut lines = units.iter().flat_map(|it| it.lines());
        let line = lines.find_map(|it| it.strip_prefix(key)).expect("the key stands in a unit");
        let line = line.trim_start_matches('-').replace("%N", name).replace("%i", name);
        let line = line.replace("$$", "$");
        // A shell splits and quotes such a line as systemd does; the variable is systemd's to fill in.
        let output = match line.strip_prefix("/bin/sh -c ") {
            Some(script) => {
                let environment = [("SERVICE_RESULT", result)];
                run("sh", &["-c", script.trim_matches('\'')], &environment).await
            }
            None => run("sh", &["-c", &line], &[]).await,
        };
        assert!(output.status.success(), "{line}: {output:?}");
        daemon.verdict(name, verdict, SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snippet_for_python_beats() {
    if !has("python3", "the_snippet_for_python_beats").await {
        return;
    }
    let daemon = Daemon::setup().start().await;
    // The work that the thread beats beside.
    let script = snippets("python", &daemon).remove(0) + "\nthreading.Event().wait()\n";
    let mut work = Command::new("python3")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 can be run");
    daemon.verdict("mary", "up", SOON).await;
    work.kill().await.expect("our own child can be killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snippet_for_javascript_beats_and_keeps_nothing_alive() {
    if !has("node", "the_snippet_for_javascript_beats_and_keeps_nothing_alive").await {
        return;
    }
    let daemon = Daemon::setup().start().await;
    let script = snippets("js", &daemon).remove(0);
    let output = run("node", &["-e", &script], &[]).await;
    assert!(output.status.success(), "{output:?}");
    daemon.verdict("mary", "up", SOON).await;
}
