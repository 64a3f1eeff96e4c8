//! The real binary in a folder of its own: started, asked, killed, stopped, started again.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, client, free_port, telegram::FakeTelegram, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_atalaya");
const READY_WITHIN: Duration = Duration::from_secs(20);

/// What a command of the CLI said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// The exit code; `None` when a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What to start. `[node]` and `[http]` are written by the harness; a test adds keys to them with `node` and `http`.
pub(crate) struct Setup {
    node: String,
    http: String,
    config: String,
    registry: String,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// More keys of `[node]`, beside `name`, `timezone` and `state_dir`.
    pub(crate) fn node(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.node);
        self
    }

    /// More keys of `[http]`, beside `bind` and `socket`.
    pub(crate) fn http(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.http);
        self
    }

    /// More tables of `atalaya.toml`; repeated calls append.
    pub(crate) fn config(mut self, tables: &str) -> Self {
        self.config += tables;
        self.config += "\n";
        self
    }

    /// The whole of `registry.toml`.
    pub(crate) fn registry(mut self, text: &str) -> Self {
        text.clone_into(&mut self.registry);
        self
    }

    /// One more environment variable, for the daemon and for the CLI.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Tells a fake Telegram: its token, its chat, its one allowed user; `lines` are more keys of `[telegram]`.
    pub(crate) fn telegram(self, fake: &FakeTelegram, lines: &str) -> Self {
        let table = format!(
            "[telegram]\napi_url = \"{}\"\nchat = {}\nallowed_users = [{}]\n{lines}",
            fake.url(),
            FakeTelegram::CHAT,
            FakeTelegram::USER,
        );
        self.config(&table).env("TELEGRAM_BOT_TOKEN", FakeTelegram::TOKEN)
    }

    /// Writes the files and starts nothing: for `check`, `plan` and refused starts.
    pub(crate) fn write(self) -> Daemon {
        let folder = folder();
        let daemon = Daemon {
            port: free_port(),
            folder,
            environment: self.environment,
            once: Vec::new(),
            child: None,
        };
        fs::create_dir_all(daemon.path("config")).expect("the folder can be written");
        let text = format!(
            "[node]\nname = \"tower-test\"\ntimezone = \"UTC\"\nstate_dir = \"{}\"\n{}\n\n\
             [http]\nbind = \"127.0.0.1:{}\"\nsocket = \"{}\"\n{}\n\n{}",
            daemon.path("var").display(),
            self.node,
            daemon.port,
            daemon.socket().display(),
            self.http,
            self.config,
        );
        daemon.write_config(&text);
        daemon.write_registry(&self.registry);
        daemon
    }

    /// Writes the files, starts the daemon and waits until it judges.
    pub(crate) async fn start(self) -> Daemon {
        let mut daemon = self.write();
        daemon.start().await;
        daemon
    }
}

/// A folder with its two files, and the daemon in it while it runs. Killed when dropped.
pub(crate) struct Daemon {
    pub(crate) port: u16,
    folder: TempDir,
    environment: Vec<(String, String)>,
    /// For the next start alone.
    once: Vec<(String, String)>,
    child: Option<Child>,
}

impl Daemon {
    /// Whatever pings is watched, with the default clocks, until `registry` says otherwise.
    pub(crate) fn setup() -> Setup {
        Setup {
            node: String::new(),
            http: String::new(),
            config: String::new(),
            registry: "auto_register = true\n".into(),
            environment: Vec::new(),
        }
    }

    // Files

    /// A path inside the folder that the daemon runs in.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("var/atalaya.sock")
    }

    /// `config/atalaya.toml` as it stands.
    pub(crate) fn config(&self) -> String {
        fs::read_to_string(self.path("config/atalaya.toml")).expect("the harness wrote it")
    }

    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.path("config/atalaya.toml"), text).expect("the folder can be written");
    }

    /// In place, as `cp` and simple editors save.
    pub(crate) fn write_registry(&self, text: &str) {
        fs::write(self.path("config/registry.toml"), text).expect("the folder can be written");
    }

    /// By rename, as careful editors save.
    pub(crate) fn replace_registry_by_rename(&self, text: &str) {
        let draft = self.path("config/.registry.toml.new");
        fs::write(&draft, text).expect("the folder can be written");
        fs::rename(draft, self.path("config/registry.toml")).expect("both lie in one folder");
    }

    /// In two pieces with `gap` between them, as an editor that truncates before it writes.
    pub(crate) async fn write_registry_in_halves(&self, text: &str, gap: Duration) {
        let half = text.floor_char_boundary(text.len() / 2);
        self.write_registry(&text[..half]);
        wait::last(gap).await;
        self.write_registry(text);
    }

    /// Everything that the daemon has printed since the first start, standard output first.
    pub(crate) fn logs(&self) -> String {
        ["stdout", "stderr"]
            .map(|name| fs::read_to_string(self.path(name)).unwrap_or_default())
            .join("\n")
    }

    // Life and death

    /// Starts and waits for `GET /readyz` to say 200; fails the test with the logs.
    pub(crate) async fn start(&mut self) {
        self.spawn();
        self.ready().await;
    }

    /// Starts without waiting.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "the daemon runs already");
        let once = std::mem::take(&mut self.once);
        let open = |name: &str| {
            File::options()
                .append(true)
                .create(true)
                .open(self.path(name))
                .expect("the log can be opened")
        };
        let child = self
            .command(&[
                "run",
                "--config",
                "config/atalaya.toml",
                "--registry",
                "config/registry.toml",
            ])
            .envs(once)
            .stdout(open("stdout"))
            .stderr(open("stderr"))
            .spawn();
        self.child = Some(child.expect("cargo has built the binary"));
    }

    /// Waits until `/readyz` says 200.
    pub(crate) async fn ready(&mut self) {
        let url = self.url("/readyz");
        let http = client();
        let found = wait::within(READY_WITHIN, async || {
            if let Some(status) = self.exited() {
                return Some(Err(format!("it ended with {status}")));
            }
            let answer = http.get(&url).send().await.ok()?;
            (answer.status() == 200).then_some(Ok(()))
        });
        let outcome =
            found.await.unwrap_or_else(|| Err(format!("not ready within {READY_WITHIN:?}")));
        if let Err(why) = outcome {
            panic!("{why}; its logs:\n{}", self.logs());
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("the daemon runs"))
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("our own child can be asked")?;
        self.child = None;
        Some(status)
    }

    /// Waits for its end by itself, and returns how.
    pub(crate) async fn ends(&mut self, deadline: Duration) -> ExitStatus {
        let ended = wait::within(deadline, async || self.exited()).await;
        ended.unwrap_or_else(|| {
            panic!("still running after {deadline:?}; its logs:\n{}", self.logs())
        })
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// SIGTERM, and waits for the end that is promised within 5 s (here 8 s, for a loaded machine).
    pub(crate) async fn term(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ends(Duration::from_secs(8)).await
    }

    pub(crate) fn sighup(&self) {
        self.signal(Signal::HUP);
    }

    pub(crate) fn sigstop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn sigcont(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL if it runs, then a new start on the same folder and port.
    pub(crate) async fn restart(&mut self) {
        self.kill9();
        self.start().await;
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("our own child takes signals");
    }

    // Asking

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// `GET /ping/<path>`, and fails the test unless it is accepted.
    pub(crate) async fn ping(&self, path: &str) -> Answer {
        let answer = self.get(&format!("/ping/{path}")).await;
        assert!((200..300).contains(&answer.status), "ping {path}: {answer:?}");
        answer
    }

    /// One beat through `POST /api/v1/beats`, and fails the test unless it is accepted.
    pub(crate) async fn beat(&self, beat: &Value) -> Answer {
        let answer = self.post("/api/v1/beats", beat).await;
        assert!((200..300).contains(&answer.status), "beat {beat}: {answer:?}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(client().get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(client().post(self.url(path)).json(body)).await
    }

    /// Any request: other methods, headers, broken bodies.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = match request.send().await {
            Ok(answer) => Answer::read(answer).await,
            Err(why) => Err(why),
        };
        answer.unwrap_or_else(|why| panic!("no answer: {why:?}; its logs:\n{}", self.logs()))
    }

    /// The CLI in the daemon's folder and environment, knowing the files by `ATALAYA_CONFIG` and `ATALAYA_REGISTRY`.
    pub(crate) async fn cli(&self, words: &[&str]) -> Said {
        let mut command = tokio::process::Command::from(self.command(words));
        let output =
            tokio::time::timeout(Duration::from_secs(30), command.kill_on_drop(true).output())
                .await;
        let output = output.unwrap_or_else(|_| panic!("`atalaya {}` hangs", words.join(" ")));
        let output = output.expect("cargo has built the binary");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said {
            status: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// From now on the CLI asks over HTTP.
    pub(crate) fn over_http(self) -> Self {
        let url = self.url("");
        self.with_env("ATALAYA_URL", &url)
    }

    /// One more environment variable for the CLI, and for the daemon's next start.
    pub(crate) fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more environment variable for the daemon's next start, and for no other.
    pub(crate) fn only_next_start_with(&mut self, name: &str, value: &str) {
        self.once.push((name.to_owned(), value.to_owned()));
    }

    /// The CLI with `--json` behind; bad news (exit code 1) is an answer too.
    pub(crate) async fn cli_json(&self, words: &[&str]) -> Value {
        let said = self.cli(&[words, &["--json"]].concat()).await;
        serde_json::from_str(&said.stdout)
            .unwrap_or_else(|why| panic!("{words:?}: no JSON ({why}): {said:?}"))
    }

    /// The object of `atalaya agents --json` with this id.
    pub(crate) async fn agent(&self, id: &str) -> Option<Value> {
        let agents = self.cli_json(&["agents"]).await;
        agents.as_array().expect("a list").iter().find(|it| it["id"] == id).cloned()
    }

    /// Waits until the agent has this verdict.
    pub(crate) async fn verdict(&self, id: &str, verdict: &str, deadline: Duration) -> Value {
        self.wait_until(&format!("{id} is {verdict}"), deadline, async || {
            self.agent(id).await.filter(|it| it["verdict"] == verdict)
        })
        .await
    }

    /// `atalaya incidents --all --json`.
    pub(crate) async fn incidents(&self) -> Vec<Value> {
        self.cli_json(&["incidents", "--all"]).await.as_array().expect("a list").clone()
    }

    /// Like `wait::eventually`, and prints the daemon's logs when the deadline passes.
    pub(crate) async fn wait_until<T>(
        &self,
        what: &str,
        deadline: Duration,
        probe: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let found = wait::within(deadline, probe).await;
        found.unwrap_or_else(|| {
            panic!("not within {deadline:?}: {what}; its logs:\n{}", self.logs())
        })
    }

    /// The program in this folder, with nothing of the machine's environment but `PATH`.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(words)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.folder.path())
            .env("LANG", "C.UTF-8")
            .env("ATALAYA_CONFIG", self.path("config/atalaya.toml"))
            .env("ATALAYA_REGISTRY", self.path("config/registry.toml"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }
}

/// In memory where the machine has such a place: while a build writes, its disk may take seconds for one flush, and
/// what the stories measure is atalaya. No story ends the machine, so what is flushed there outlives what is killed.
fn folder() -> TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory.or_else(|_| tempfile::tempdir()).expect("a temporary folder can be made")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
    }
}
