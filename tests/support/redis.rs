//! A real `redis-server` on a port of its own, that can die, return and stand still.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{free_port, netns::Namespace, wait};

/// The server; ends with its owner. Nothing is kept over a restart: pub/sub replays nothing either.
pub(crate) struct Redis {
    pub(crate) port: u16,
    host: String,
    folder: TempDir,
    namespace: Option<String>,
    child: Option<Child>,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let mut redis = Self::absent();
        redis.start_again().await;
        redis
    }

    /// A port where no server answers yet: `start_again` brings it.
    pub(crate) fn absent() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { port: free_port(), host: "127.0.0.1".into(), folder, namespace: None, child: None }
    }

    /// Inside a network namespace, reached over its link, whose packets can be dropped.
    pub(crate) async fn start_in(namespace: &Namespace) -> Self {
        let mut redis = Self::absent();
        redis.host = namespace.inner_address();
        redis.namespace = Some(namespace.name().to_owned());
        redis.start_again().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}:{}/0", self.host, self.port)
    }

    /// Starts on the same port, empty, and waits for its PONG.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.child.is_none(), "redis runs already");
        let log = File::options().append(true).create(true).open(self.folder.path().join("log"));
        let log = log.expect("the log can be opened");
        let child = self
            .command("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args((self.host != "127.0.0.1").then_some(&self.host))
            .args([
                "--save",
                "",
                "--appendonly",
                "no",
                "--protected-mode",
                "no",
                "--daemonize",
                "no",
                "--dir",
            ])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be doubled"))
            .stderr(log)
            .spawn();
        self.child = Some(
            child.unwrap_or_else(|why| panic!("redis-server ({why}): `tests/run` installs it")),
        );
        wait::eventually(Duration::from_secs(15), "redis answers PING", async || {
            (self.try_cli(&["PING"])?.trim() == "PONG").then_some(())
        })
        .await;
    }

    /// `redis-cli` with these words, as a person types them; fails the test when it fails. Returns what it printed.
    #[track_caller]
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        self.try_cli(words)
            .unwrap_or_else(|| panic!("redis-cli {words:?} failed on port {}", self.port))
    }

    /// Publishes and returns how many subscribers it reached.
    #[track_caller]
    pub(crate) fn publish(&self, channel: &str, payload: &str) -> usize {
        let said = self.cli(&["PUBLISH", channel, payload]);
        said.trim().parse().unwrap_or_else(|_| panic!("PUBLISH said {said:?}"))
    }

    /// Publishes until somebody hears it: a client subscribes to one channel after the other.
    pub(crate) async fn publish_heard(&self, channel: &str, payload: &str, deadline: Duration) {
        wait::eventually(deadline, &format!("somebody listens to {channel}"), async || {
            (0 < self.publish(channel, payload)).then_some(())
        })
        .await;
    }

    #[track_caller]
    pub(crate) fn hset(&self, key: &str, fields: &[(&str, &str)]) {
        let pairs = fields.iter().flat_map(|(name, value)| [*name, *value]);
        self.cli(&["HSET", key].into_iter().chain(pairs).collect::<Vec<_>>());
    }

    /// Publishes many payloads over one `redis-cli`: for storms.
    pub(crate) fn publish_all<'a>(&self, messages: impl IntoIterator<Item = (&'a str, &'a str)>) {
        use std::io::Write as _;
        let mut child = self
            .client()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-cli starts: `tests/run` installs it");
        let mut input = child.stdin.take().expect("its input is piped");
        for (channel, payload) in messages {
            writeln!(input, "PUBLISH {} {}", quoted(channel), quoted(payload))
                .expect("redis-cli reads its input");
        }
        drop(input);
        assert!(
            child.wait().expect("redis-cli can be waited for").success(),
            "redis-cli failed in a storm"
        );
    }

    /// How many clients are subscribed to a channel or pattern: what to wait for before the first publish.
    pub(crate) fn subscribers(&self) -> usize {
        let clients = self.try_cli(&["CLIENT", "LIST"]).unwrap_or_default();
        clients
            .lines()
            .filter(|line| !(line.contains(" sub=0 ") && line.contains(" psub=0 ")))
            .count()
    }

    /// Waits until somebody listens.
    pub(crate) async fn heard(&self, deadline: Duration) {
        wait::eventually(deadline, "somebody subscribes", async || {
            (0 < self.subscribers()).then_some(())
        })
        .await;
    }

    pub(crate) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Half-open: connections stay, nothing is answered.
    pub(crate) fn sigstop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn sigcont(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("redis runs");
        kill_process(Pid::from_child(child), signal).expect("our own child takes signals");
    }

    /// `ip netns exec` replaces itself by the program, so the child's pid is the program's.
    fn command(&self, program: &str) -> Command {
        match &self.namespace {
            Some(name) => Namespace::command_in(name, program),
            None => Command::new(program),
        }
    }

    /// Talks over the namespace's own loopback, so that dropped packets do not stop the story.
    fn client(&self) -> Command {
        let mut command = self.command("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command
    }

    fn try_cli(&self, words: &[&str]) -> Option<String> {
        let output = self.client().arg("-e").args(words).stdin(Stdio::null()).output();
        let output = output.expect("redis-cli starts: `tests/run` installs it");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.bytes().fold(String::new(), |out, byte| match byte {
        b'"' | b'\\' => format!("{out}\\{}", char::from(byte)),
        0x20..=0x7e => format!("{out}{}", char::from(byte)),
        other => format!("{out}\\x{other:02x}"),
    });
    format!("\"{escaped}\"")
}
