//! Stage: the processes of the demo and the folder in which they live. All of them end with it.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin, Command},
};
use uuid::Uuid;

use super::part::Order;

/// What the processes get of our environment: neither settings nor secrets of the user's own daemon.
pub(super) const VARIABLES: [&str; 7] =
    ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "LC_TIME", "TZ", "TZDIR"];

/// Agents end at once, the daemon within the 5 s of its drain; then they are killed.
const AGENT_ENDS_WITHIN: Duration = Duration::from_secs(2);
const DAEMON_ENDS_WITHIN: Duration = Duration::from_secs(7);

/// Lines of the daemon's log that explain why it did not start.
const LOG_LINES: usize = 5;

const REGISTRY: &str = r#"[defaults.agent]
interval = "1s"
timeout = "3s"
stall_after = "4s"

[[agent]]
id = "mary"

[[agent]]
id = "lisa"

[[agent]]
id = "paula"

[[receiver]]
id = "file"
log = { file = "alerts.jsonl" }
"#;

/// How often the agents beat.
pub(super) const EVERY: &str = "500ms";

/// Everything that was started.
pub(super) struct Stage {
    agents: BTreeMap<&'static str, Actor>,
    daemon: Actor,
    program: PathBuf,
    variables: Vec<(&'static str, String)>,
    // The last to go: its processes are in it.
    folder: Folder,
}

impl Stage {
    /// Makes the folder and starts the daemon in it. Within a runtime.
    ///
    /// # Errors
    /// What could not be made, in words.
    pub(super) fn raise(variables: Vec<(&'static str, String)>) -> Result<Self, String> {
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot find this program's file: {error}"))?;
        let folder = Folder::make().map_err(|error| format!("cannot make a folder: {error}"))?;
        let daemon = folder.daemon(&program, &variables);
        let daemon = daemon.map_err(|error| format!("cannot start the daemon: {error}"))?;
        Ok(Self { agents: BTreeMap::new(), daemon, program, variables, folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.0.join("atalaya.sock")
    }

    /// Starts an agent under `exec`, and says as which process.
    pub(super) fn start(&mut self, name: &'static str) -> Result<u32, String> {
        let mut command = Command::new(&self.program);
        command.args(["exec", "--agent", name, "--every", EVERY, "--socket"]);
        command.arg(self.socket()).arg("--").arg(&self.program).args(["demo-part", "agent"]);
        let errors = self.folder.log(name).map_err(|error| format!("cannot log: {error}"))?;
        let actor = Actor::start(command, &self.folder, &self.variables, errors)
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let pid = actor.pid();
        self.agents.insert(name, actor);
        Ok(pid.unwrap_or_default())
    }

    /// Gives an agent an order; one that is gone has ended, which is what is then seen.
    pub(super) async fn order(&mut self, name: &str, order: Order) {
        if let Some(orders) = self.agents.get_mut(name).and_then(|it| it.orders.as_mut()) {
            let _ = orders.write_all(format!("{}\n", order.word()).as_bytes()).await;
        }
    }

    /// Kills an agent by SIGKILL, with all that it started; says which process it was.
    pub(super) async fn kill(&mut self, name: &str) -> u32 {
        let Some(mut actor) = self.agents.remove(name) else { return 0 };
        let pid = actor.pid().unwrap_or_default();
        actor.kill();
        let _ = actor.process.wait().await;
        pid
    }

    /// Why the daemon has ended, if it has.
    pub(super) fn broken(&mut self) -> Option<String> {
        let status = self.daemon.process.try_wait().ok()??;
        let log = fs::read_to_string(self.folder.0.join("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        Some(format!("its daemon ended, {status}:\n{last}"))
    }

    /// Ends all processes, in good order where they let it, and takes the folder away.
    pub(super) async fn strike(self) {
        let Self { agents, daemon, folder, .. } = self;
        let ends = agents.into_values().map(|it| it.end(AGENT_ENDS_WITHIN));
        futures_util::future::join_all(ends).await;
        daemon.end(DAEMON_ENDS_WITHIN).await;
        drop(folder);
    }
}

/// One process, the first of a group of its own: a Ctrl-C reaches us alone, and a kill reaches what it started.
struct Actor {
    process: Child,
    /// Its input: closed, it ends.
    orders: Option<ChildStdin>,
}

impl Actor {
    fn start(
        mut command: Command,
        folder: &Folder,
        variables: &[(&'static str, String)],
        errors: File,
    ) -> io::Result<Self> {
        command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(&folder.0).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors);
        let mut process = command.spawn()?;
        let orders = process.stdin.take();
        Ok(Self { process, orders })
    }

    /// None: it has ended, and its number may be another's.
    fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    fn kill(&self) {
        let pid = self.pid().and_then(|it| Pid::from_raw(i32::try_from(it).ok()?));
        if let Some(pid) = pid {
            // It may end at this moment.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    async fn end(mut self, within: Duration) {
        drop(self.orders.take());
        if tokio::time::timeout(within, self.process.wait()).await.is_err() {
            self.kill();
            let _ = self.process.wait().await;
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder of our own, which goes with us.
struct Folder(PathBuf);

impl Folder {
    fn make() -> io::Result<Self> {
        let name = format!("atalaya-demo-{}", Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        // Nobody else is to speak to the daemon in it.
        DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Self(path);
        fs::write(folder.0.join("registry.toml"), REGISTRY)?;
        // Port 0 is a free one: the parts speak over the socket.
        let config =
            "[node]\nname = \"demo\"\nstate_dir = \".\"\n\n[http]\nbind = \"127.0.0.1:0\"\n";
        fs::write(folder.0.join("atalaya.toml"), config)?;
        Ok(folder)
    }

    fn log(&self, name: &str) -> io::Result<File> {
        File::options().create(true).append(true).open(self.0.join(format!("{name}.log")))
    }

    fn daemon(&self, program: &Path, variables: &[(&'static str, String)]) -> io::Result<Actor> {
        let mut command = Command::new(program);
        command.args(["demo-part", "daemon", "--config", "atalaya.toml"]);
        command.args(["--registry", "registry.toml"]);
        Actor::start(command, self, variables, self.log("daemon")?)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed lies in the folder for temporary files, where it is removed in time.
        let _ = fs::remove_dir_all(&self.0);
    }
}
