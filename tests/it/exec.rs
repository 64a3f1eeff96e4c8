//! `atalaya exec`: the command is as it would be without, and its watch hears how it fares.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    process::{Child, ChildStdout, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    daemon::{Daemon, Said},
    wait,
};

const SOON: Duration = Duration::from_secs(20);
const MEBIBYTE: usize = 1024 * 1024;

/// `atalaya exec --agent mary` with these options around a shell's script.
fn words<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["exec", "--agent", "mary"], options, &["--", "sh", "-c", script]].concat()
}

/// A run in the background. Killed when dropped; a command that reads its input ends with it.
struct Run(Child);

impl Run {
    fn start(daemon: &Daemon, options: &[&str], script: &str) -> Self {
        let mut command = daemon.command(&words(options, script));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(daemon.path("errors")).expect("a file"));
        Self(command.spawn().expect("cargo has built the binary"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("our own child takes signals");
    }

    fn output(&mut self) -> ChildStdout {
        self.0.stdout.take().expect("it is read once")
    }

    async fn ends(&mut self) -> ExitStatus {
        wait::eventually(SOON, "the run ends", async || self.0.try_wait().expect("our own child"))
            .await
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads until these words came.
fn read_until(output: &mut ChildStdout, words: &str) -> String {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(words.as_bytes()) {
        let count = output.read(&mut byte).expect("a pipe can be read");
        assert_eq!(count, 1, "{words:?} never came: {:?}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
    String::from_utf8(read).expect("text")
}

fn silent(said: &Said, code: i32) {
    assert_eq!((said.status, said.stderr.as_str()), (Some(code), ""), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_kept_and_tells_whether_it_failed() {
    let daemon = Daemon::setup().start().await;
    for (script, code, verdict) in [
        ("exit 3", 3, "failed"),
        ("exit 0", 0, "up"),
        ("kill -KILL $$", 137, "failed"),
        ("test $ATALAYA_AGENT = mary", 0, "up"),
        ("kill -SEGV $$", 139, "failed"),
    ] {
        let said = daemon.cli(&words(&[], script)).await;
        silent(&said, code);
        daemon.verdict("mary", verdict, SOON).await;
    }
    let said = daemon.cli(&["exec", "--agent", "lisa", "--", "./nothing-here", "-x"]).await;
    assert_eq!(said.status, Some(127), "{said:?}");
    assert!(said.stderr.contains("cannot run ./nothing-here: No such file"), "{said:?}");
    daemon.verdict("lisa", "failed", SOON).await;
    let (failed, _) = daemon.incident("agent/lisa", "open", SOON).await;
    assert!(failed["cause"].as_str().is_some_and(|it| it.contains("127")), "{failed}");
    let said = daemon.cli(&["exec", "--agent", "lisa", "--", "./config"]).await;
    assert_eq!(said.status, Some(126), "a folder cannot be run: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_runs_nothing() {
    let daemon = Daemon::setup().write();
    for wrong in [
        &["exec", "--", "touch", "ran"][..],
        &["exec", "--agent", "../x", "--", "touch", "ran"],
        &["exec", "--agent", "mary", "--every", "often", "--", "touch", "ran"],
        &["exec", "--agent", "mary", "--every", "1ms", "--", "touch", "ran"],
        &["exec", "--agent", "mary", "touch", "ran"],
        &["exec", "--agent", "mary"],
    ] {
        let said = daemon.cli(wrong).await;
        assert_eq!(said.status, Some(2), "{wrong:?}: {said:?}");
    }
    assert!(!daemon.path("ran").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_end_it_reaches_the_command() {
    let daemon = Daemon::setup().start().await;
    for (signal, name) in
        [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::QUIT, "QUIT")]
    {
        let script =
            format!("trap 'echo told; exit 7' {name}; echo ready; while :; do sleep 0.05; done");
        let mut run = Run::start(&daemon, &[], &script);
        let mut output = run.output();
        read_until(&mut output, "ready\n");
        run.signal(signal);
        assert_eq!(read_until(&mut output, "told\n"), "told\n");
        assert_eq!(run.ends().await.code(), Some(7), "{name}");
    }
    let mut run = Run::start(&daemon, &[], "echo ready; exec cat");
    read_until(&mut run.output(), "ready\n");
    run.signal(Signal::TERM);
    assert_eq!(run.ends().await.code(), Some(143), "it died of it");
    daemon.verdict("mary", "failed", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ignored_stays_ignored() {
    let daemon = Daemon::setup().start().await;
    let program = env!("CARGO_BIN_EXE_atalaya");
    // The command says which signals it ignores; HUP is bit 0.
    let script =
        format!("trap '' HUP; exec {program} exec --agent mary -- grep SigIgn /proc/self/status");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).env("ATALAYA_SOCKET", daemon.socket()).stdin(Stdio::null());
    let output = command.output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.trim_end().ends_with('1'), "{said}");
}

/// What a reader gets of a script's two outputs, which go to files.
async fn outputs(daemon: &Daemon, options: &[&str], script: &str) -> (Vec<u8>, Vec<u8>) {
    let open = |name: &str| File::create(daemon.path(name)).expect("a file can be made");
    let mut command = daemon.command(&words(options, script));
    command.stdout(open("out")).stderr(open("errors"));
    let mut run = Run(command.spawn().expect("cargo has built the binary"));
    assert_eq!(run.ends().await.code(), Some(0));
    let read = |name: &str| fs::read(daemon.path(name)).expect("the file is there");
    (read("out"), read("errors"))
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_pass_byte_for_byte_and_in_order() {
    let daemon = Daemon::setup().start().await;
    // Every byte there is, at odd lengths.
    let bytes: Vec<u8> = (0..=255_u8).cycle().take(16 * MEBIBYTE + 17).collect();
    fs::write(daemon.path("flood"), &bytes).expect("a file can be written");
    for options in [&[][..], &["--progress", "output"], &["--progress", "none"]] {
        let script = "cat flood & tail -c +2 flood >&2; wait";
        let (out, errors) = outputs(&daemon, options, script).await;
        assert!(out == bytes && errors == bytes[1..], "{options:?}: {} bytes", out.len());
    }
    // Both into one file: as they were written, one after the other.
    let script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo error $i >&2; i=$((i+1)); done";
    let file = File::create(daemon.path("both")).expect("a file can be made");
    let mut command = daemon.command(&words(&[], script));
    command.stdout(file.try_clone().expect("a copy")).stderr(file);
    let mut run = Run(command.spawn().expect("cargo has built the binary"));
    assert_eq!(run.ends().await.code(), Some(0));
    let wanted: Vec<String> =
        (0..500).flat_map(|it| [format!("out {it}"), format!("error {it}")]).collect();
    let both = fs::read_to_string(daemon.path("both")).expect("text");
    assert!(both.lines().eq(wanted.iter()), "{} lines", both.lines().count());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_is_read_slowly_costs_no_memory_and_no_beat() {
    let daemon = Daemon::setup().start().await;
    let mut run = Run::start(&daemon, &["--every", "100ms"], "exec head -c 64M /dev/zero");
    let mut output = run.output();
    // Nobody reads: it stands, and beats.
    let beats = async || daemon.agent("mary").await?["beats"].as_u64().filter(|it| 4 < *it);
    daemon.wait_until("it beats while it cannot write", SOON, beats).await;
    let mut buffer = vec![1; 48 * MEBIBYTE];
    output.read_exact(&mut buffer).expect("the flood");
    let status = fs::read_to_string(format!("/proc/{}/status", run.0.id())).expect("it runs");
    let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).expect("its peak");
    let kibibytes: usize = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    // The pages of the binary are counted too.
    assert!(kibibytes < 40 * 1024, "{kibibytes} KiB for a flood of 64 MiB");
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).expect("the rest");
    assert_eq!(buffer.len() + rest.len(), 64 * MEBIBYTE);
    assert!(buffer.iter().chain(&rest).all(|it| *it == 0));
    assert_eq!(run.ends().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_the_command_as_without() {
    let daemon = Daemon::setup().start().await;
    let mut run = Run::start(&daemon, &[], "exec yes");
    read_until(&mut run.output(), "y\n");
    assert_eq!(run.ends().await.code(), Some(141), "SIGPIPE");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_leaves_running_does_not_hold_it() {
    let daemon = Daemon::setup().start().await;
    let mut run = Run::start(&daemon, &[], "sleep 120 & echo $!; exit 5");
    let mut output = run.output();
    let left = read_until(&mut output, "\n");
    assert_eq!(run.ends().await.code(), Some(5));
    let left = left.trim().parse().ok().and_then(Pid::from_raw).expect("the number of a process");
    kill_process(left, Signal::KILL).expect("it lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reads_what_we_are_given() {
    let daemon = Daemon::setup().start().await;
    let mut command = daemon.command(&words(&[], "read line; echo \"[$line]\""));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut run = Run(command.spawn().expect("cargo has built the binary"));
    run.0.stdin.take().expect("a pipe").write_all(b"hello\n").expect("it is read");
    assert_eq!(read_until(&mut run.output(), "]\n"), "[hello]\n");
    assert_eq!(run.ends().await.code(), Some(0));
}

/// In util-linux's `script`, which gives it a terminal; what it printed.
async fn on_terminal(daemon: &Daemon, options: &str, script: &str) -> String {
    let program = env!("CARGO_BIN_EXE_atalaya");
    let line = format!("{program} exec --agent mary {options} -- sh -c '{script}'");
    let mut command = tokio::process::Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
    command.env("ATALAYA_SOCKET", daemon.socket()).kill_on_drop(true);
    let output = tokio::time::timeout(SOON, command.output()).await;
    let output = output.expect("it ends").expect("`script` of util-linux");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_stays_the_commands_own() {
    let daemon = Daemon::setup().start().await;
    let script = "test -t 0 && test -t 1 && test -t 2 && echo all terminals";
    for options in ["", "--progress hooks", "--progress none"] {
        let said = on_terminal(&daemon, options, script).await;
        assert!(said.contains("all terminals"), "{options}: {said:?}");
    }
    // Where all output is to count, it sees a pipe in its place; its input stays.
    let said =
        on_terminal(&daemon, "--progress output", "test -t 0 && ! test -t 1 && echo a pipe").await;
    assert!(said.contains("a pipe"), "{said:?}");
    // An interrupt of the terminal reaches it once, from the terminal.
    let script = "trap \"echo again >> told\" INT; kill -INT 0; sleep 0.3; kill -INT 0; sleep 0.3; wc -l < told";
    let said = on_terminal(
        &daemon,
        "",
        &script.replace("told", &daemon.path("told").display().to_string()),
    )
    .await;
    assert!(said.trim().ends_with('2'), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_beats_and_is_stalled_and_one_that_prints_is_not() {
    let agent = |id| {
        format!(
            "[[agent]]\nid = \"{id}\"\ntimeout = \"3s\"\ninterval = \"1s\"\nstall_after = \"2s\"\n"
        )
    };
    let registry = agent("mary") + &agent("lisa");
    let daemon = Daemon::setup().registry(&registry).start().await;
    let start = |agent: &str, script: &str| {
        let words = ["exec", "--agent", agent, "--every", "200ms", "--", "sh", "-c", script];
        let mut command = daemon.command(&words);
        Run(command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo has built the binary"))
    };
    let hangs = start("mary", "echo once; exec cat");
    let mut prints = start("lisa", "while :; do printf .; done");
    let mut output = prints.output();
    let reader = std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let mary = daemon.verdict("mary", "stalled", SOON).await;
    let lisa = daemon.agent("lisa").await.expect("lisa is watched");
    assert_eq!(lisa["verdict"], "up", "{lisa}");
    let beats = mary["beats"].as_u64();
    daemon
        .wait_until("mary beats on", SOON, async || {
            daemon.agent("mary").await.filter(|it| beats < it["beats"].as_u64())
        })
        .await;
    assert!(mary["progress"].as_u64().is_some_and(|it| it == 6), "five bytes and the run: {mary}");
    assert!(lisa["progress"].as_u64().is_some_and(|it| 100 < it), "{lisa}");
    drop((hangs, prints));
    reader.join().expect("a reader").expect("a pipe can be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_hooks_it_only_lives_and_idle_stands() {
    let daemon = Daemon::setup().start().await;
    let options = ["--every", "100ms", "--progress", "hooks"];
    let _run = Run::start(&daemon, &options, "exec cat");
    daemon.verdict("mary", "up", SOON).await;
    daemon.beat(&serde_json::json!({"agent": "mary", "status": "idle", "progress": 7})).await;
    let beats = daemon.agent("mary").await.expect("mary is watched")["beats"].as_u64();
    let later = daemon
        .wait_until("it beats on", SOON, async || {
            let later = beats.map(|it| it + 3);
            daemon.agent("mary").await.filter(|it| later < it["beats"].as_u64())
        })
        .await;
    assert_eq!((&later["idle"], &later["progress"]), (&true.into(), &7.into()), "{later}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_stands_while_runs_fail_sooner_than_they_beat() {
    let daemon = Daemon::setup().start().await;
    for _ in 0..3 {
        silent(&daemon.cli(&words(&[], "exit 1")).await, 1);
    }
    daemon.verdict("mary", "failed", SOON).await;
    let (failed, _) = daemon.incident("agent/mary", "open", SOON).await;
    assert_eq!(failed["occurrences"], 1, "{failed}");
    let mut run = Run::start(&daemon, &["--every", "100ms"], "exec cat");
    daemon.verdict("mary", "up", SOON).await;
    run.signal(Signal::KILL);
    run.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_it_runs_and_says_so_once() {
    let mut daemon = Daemon::setup().write();
    let said = daemon.cli(&words(&["--every", "100ms"], "sleep 0.5; echo done; exit 4")).await;
    assert_eq!((said.status, said.stdout.as_str()), (Some(4), "done\n"), "{said:?}");
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
    assert!(said.stderr.starts_with("atalaya: nobody hears of mary: no daemon answers; tried "));
    assert!(said.stderr.contains(&daemon.port.to_string()), "{said:?}");

    // One that comes later hears of it.
    let _run = Run::start(&daemon, &["--every", "100ms"], "exec cat");
    daemon.start().await;
    daemon.verdict("mary", "up", SOON).await;

    // One that does not answer delays nobody for long.
    daemon.sigstop();
    let said = daemon.cli(&words(&[], "exit 6")).await;
    assert_eq!(said.status, Some(6), "{said:?}");
    assert!(said.stderr.contains("its end was not taken within 2 s"), "{said:?}");
    daemon.sigcont();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_no_configuration_and_keeps_to_the_one_that_was_named() {
    let daemon = Daemon::setup().start().await;
    let config = daemon.config();
    daemon.write_config("not = [ toml");
    let said = daemon.cli(&words(&[], "exit 2")).await;
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(said.stderr.starts_with("atalaya: nobody hears of mary: "), "{said:?}");
    let socket = daemon.socket().display().to_string();
    let said = daemon.cli(&[&["--socket", &*socket][..], &words(&[], "exit 2")].concat()).await;
    silent(&said, 2);
    daemon.write_config(&config);
    daemon.verdict("mary", "failed", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_it_shows_its_token() {
    let setup = Daemon::setup().http("token = \"a-token-of-the-test\"");
    let daemon = setup.start().await.over_http();
    let daemon = daemon.with_env("ATALAYA_TOKEN", "wrong");
    let said = daemon.cli(&words(&[], "exit 3")).await;
    assert_eq!(said.status, Some(3), "{said:?}");
    assert!(said.stderr.contains("its token is missing or wrong"), "{said:?}");
    let daemon = daemon.with_env("ATALAYA_TOKEN", "a-token-of-the-test");
    silent(&daemon.cli(&words(&[], "exit 3")).await, 3);
    daemon.verdict("mary", "failed", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_nobody_watches_is_told_so() {
    let daemon = Daemon::setup().registry("auto_register = false\n").start().await;
    let said = daemon.cli(&words(&["--every", "100ms"], "sleep 0.3; exit 3")).await;
    assert_eq!((said.status, said.stderr.lines().count()), (Some(3), 1), "{said:?}");
    assert!(said.stderr.contains("the daemon does not watch it; add mary to the registry"));
    let unknown = daemon.cli_json(&["agents", "--unknown"]).await;
    assert_eq!(unknown[0]["id"], "mary");
}
