//! `atalaya demo`: what it shows is true, the user's own daemon hears nothing of it, and nothing of it is left,
//! however it ends.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{daemon::Daemon, wait};

/// Half a minute, with room for a loaded machine.
const OVER_WITHIN: Duration = Duration::from_secs(150);
const SOON: Duration = Duration::from_secs(20);

/// A demo in the folder of a daemon, with its folder for temporary files there. Killed when dropped.
struct Demo {
    process: Child,
    output: Option<BufReader<ChildStdout>>,
    folder: PathBuf,
}

impl Demo {
    fn start(daemon: &Daemon, words: &[&str]) -> Self {
        let folder = daemon.path("demo");
        fs::create_dir_all(&folder).expect("the folder can be written");
        let words = [&["demo"], words].concat();
        let mut command = daemon.command(&words);
        command.env("TMPDIR", &folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("cargo has built the binary");
        let output = process.stdout.take().map(BufReader::new);
        Self { process, output, folder }
    }

    /// Reads until a line holds these words.
    fn reads(&mut self, words: &str) {
        let mut read = String::new();
        while !read.lines().last().unwrap_or_default().contains(words) {
            let output = self.output.as_mut().expect("it is piped");
            let count = output.read_line(&mut read).expect("a pipe can be read");
            assert_ne!(count, 0, "{words:?} never came:\n{read}");
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("our own child takes signals");
    }

    async fn ends(&mut self) -> Option<i32> {
        let ended = async || self.process.try_wait().expect("our own child");
        wait::eventually(OVER_WITHIN, "the demo ends", ended).await.code()
    }

    /// Processes that work in its folder.
    fn processes(&self) -> usize {
        let processes = fs::read_dir("/proc").expect("Linux has it").filter_map(Result::ok);
        let works_there = |it: &fs::DirEntry| {
            fs::read_link(it.path().join("cwd")).is_ok_and(|it| it.starts_with(&self.folder))
        };
        processes.filter(works_there).count()
    }

    async fn leaves_no_process(&self) {
        let none = async || (self.processes() == 0).then_some(());
        wait::eventually(SOON, "no process is left", none).await;
    }

    fn leaves_no_file(&self) {
        let left: Vec<_> = fs::read_dir(&self.folder).expect("a folder").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_three_troubles_and_their_end_and_touches_nothing() {
    let daemon = Daemon::setup().start().await;
    let mut demo = Demo::start(&daemon, &["--json"]);
    let output = demo.output.take().expect("it is piped");
    let lines =
        tokio::task::spawn_blocking(|| output.lines().map(|it| it.expect("text")).collect());
    let read: Vec<String> = lines.await.expect("it is read to the end");
    assert_eq!(demo.ends().await, Some(0), "{read:#?}");
    let lines: Vec<Value> =
        read.iter().map(|it| serde_json::from_str(it).expect("a line of JSON")).collect();
    let told = lines.iter().filter(|it| it["incident"].is_object());
    let told: Vec<(&str, &str, bool)> = told
        .map(|it| {
            let incident = &it["incident"];
            let word = |key: &str| incident[key].as_str().unwrap_or_default();
            (word("watch"), word("condition"), !incident["resolved_at"].is_null())
        })
        .collect();
    let expected = [("agent/mary", "down"), ("agent/lisa", "stalled"), ("agent/paula", "failed")];
    let expected: Vec<(&str, &str, bool)> = expected
        .into_iter()
        .flat_map(|(watch, condition)| [false, true].map(|over| (watch, condition, over)))
        .collect();
    assert_eq!(told, expected, "{lines:#?}");
    demo.leaves_no_process().await;
    demo.leaves_no_file();
    assert_eq!(daemon.cli_json(&["agents"]).await, serde_json::json!([]), "ours heard of it");
    assert!(daemon.incidents().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_interrupted_leaves_nothing() {
    let daemon = Daemon::setup().write();
    let mut demo = Demo::start(&daemon, &[]);
    demo.reads("3 agents are up");
    assert!(6 < demo.processes(), "a daemon, and for each agent `exec` and itself");
    demo.signal(Signal::INT);
    assert_eq!(demo.ends().await, Some(130));
    demo.leaves_no_process().await;
    demo.leaves_no_file();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_nobody_reads_ends() {
    let daemon = Daemon::setup().write();
    let mut demo = Demo::start(&daemon, &[]);
    demo.reads("3 agents are up");
    drop(demo.output.take());
    assert_eq!(demo.ends().await, Some(0));
    demo.leaves_no_process().await;
    demo.leaves_no_file();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_killed_leaves_no_process() {
    let daemon = Daemon::setup().write();
    let mut demo = Demo::start(&daemon, &[]);
    demo.reads("3 agents are up");
    demo.signal(Signal::KILL);
    assert_eq!(demo.ends().await, None);
    demo.leaves_no_process().await;
}
