//! Verb demo: a daemon of its own and three agents, real processes all, that get into trouble and out of it. What
//! atalaya says here is what that daemon said: nothing of it is known beforehand.
//!
//! ```text
//!  demo ─pipe─▶ daemon          ends with its input
//!    ├───pipe─▶ exec mary ▶ agent ─beats─▶ daemon
//!    ├─SIGKILL, orders─▶ …
//!    └─asks 5 times a second─▶ daemon ─incidents─▶ printed as they open and close
//! ```

mod part;
mod stage;

use std::{collections::HashSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

pub(super) use self::part::DemoPart;
use self::{part::Order, stage::Stage};
use super::{
    Call, Ended,
    client::{self, Place},
    exit::Exit,
    find::Address,
    json, out,
    render::{self, Scene},
    terminal::Mood,
};
use crate::control::{
    Command, Reply,
    agents::{AgentView, Agents},
    incidents::{IncidentView, Incidents},
    why::Why,
    words,
};

/// Between two looks at the daemon.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is to come comes within this, on a loaded machine too.
const COMES_WITHIN: Duration = Duration::from_secs(20);

/// How long a reader looks at what just happened, before the next.
const PAUSE: Duration = Duration::from_secs(2);

/// A shell adds this to the number of the signal that ended a command.
const BY_SIGNAL: u8 = 128;

const INTRODUCTION: &str = "\
A daemon of its own and three agents, real processes, for half a minute.
3 s of silence is down, 4 s without progress is stalled, exit codes but 0 are failed.
Your files and your daemon are not touched. Ctrl-C ends it.
";

impl Call<'_> {
    pub(super) fn demo(&self) -> Ended {
        let broken = |text: String| Ended::complained(Exit::BadNews, format!("error: {text}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return broken(format!("starting the runtime: {error}")),
        };
        let stopped = match runtime.block_on(self.staged()) {
            Ok(closing) => return Ended::said(Exit::Well, closing),
            Err(stopped) => stopped,
        };
        match stopped {
            Stopped::Broken(text) => broken(text),
            Stopped::Signal(number) => {
                let mut ended = Ended::complained(
                    Exit::BadNews,
                    "stopped: all its processes have ended, its folder is gone",
                );
                ended.code = BY_SIGNAL.saturating_add(number);
                ended
            }
            // Whoever read it has seen enough.
            Stopped::Unread => Ended::said(Exit::Well, ""),
        }
    }

    /// Plays to the end or to a signal; then all that was started is ended.
    async fn staged(&self) -> Result<String, Stopped> {
        // Before anything is started that would have to be ended.
        let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals = signals.map(|it| (it, signal(it)));
        let variables =
            stage::VARIABLES.iter().filter_map(|it| Some((*it, self.local.variable(it)?)));
        let stage = Stage::raise(variables.collect()).map_err(Stopped::Broken)?;
        let place = Place { address: Address::Socket(stage.socket()), token: None };
        let mut show = Show { call: self, stage, places: [place], seen: Seen::default() };
        let signalled = futures_util::future::select_all(signals.into_iter().map(|(kind, it)| {
            Box::pin(async move {
                match it {
                    Ok(mut stream) => stream.recv().await,
                    // This one ends us as it would anyone.
                    Err(_) => std::future::pending().await,
                };
                u8::try_from(kind.as_raw_value()).unwrap_or_default()
            })
        }));
        let played = tokio::select! {
            played = show.play() => played,
            (number, ..) = signalled => Err(Stopped::Signal(number)),
        };
        show.stage.strike().await;
        played
    }
}

/// Why it did not come to its end.
enum Stopped {
    Broken(String),
    /// By the number of a signal.
    Signal(u8),
    /// Nobody reads what it prints.
    Unread,
}

/// A line that is printed; with `--json` an object.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    /// `demo`: what was done to the agents. `atalaya`: what the daemon said.
    by: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<&'a IncidentView>,
}

/// What was seen of the daemon, and printed.
#[derive(Default)]
struct Seen {
    scene: Option<Scene>,
    began: Option<Timestamp>,
    agents: Vec<AgentView>,
    incidents: Vec<IncidentView>,
    /// Incidents by number, once for the opening and once for the end.
    printed: HashSet<(u64, bool)>,
}

impl Seen {
    fn all_are_up(&self) -> bool {
        !self.agents.is_empty() && self.agents.iter().all(|it| it.verdict == "up")
    }

    fn is_open(&self, watch: &str) -> bool {
        self.incidents.iter().any(|it| it.watch == watch && it.is_open())
    }
}

struct Show<'a> {
    call: &'a Call<'a>,
    stage: Stage,
    places: [Place; 1],
    seen: Seen,
}

impl Show<'_> {
    /// The plot; returns the words with which it closes.
    async fn play(&mut self) -> Result<String, Stopped> {
        if !self.call.everywhere.json {
            print(INTRODUCTION)?;
        }
        self.until("the daemon answers", |it| it.scene.is_some()).await?;
        let folder = self.stage.folder().display().to_string();
        self.act(&format!("started a daemon in {folder}"))?;
        for name in ["mary", "lisa", "paula"] {
            self.start(name, "")?;
        }
        self.until("all agents are up", Seen::all_are_up).await?;
        let up = format!("{} are up", words::counted(self.seen.agents.len(), "agent"));
        self.say(None, "atalaya", &up, None)?;
        self.pause().await?;

        let pid = self.stage.kill("mary").await;
        self.act(&format!("kills mary, process {pid}, by SIGKILL: now it is silent"))?;
        self.breaks("agent/mary").await?;
        self.start("mary", " again")?;
        self.mends("agent/mary").await?;

        self.stage.order("lisa", Order::StandStill).await;
        self.act("lets lisa stand still: it beats on, and gets nowhere")?;
        self.breaks("agent/lisa").await?;
        self.stage.order("lisa", Order::GoOn).await;
        self.act("lets lisa go on")?;
        self.mends("agent/lisa").await?;

        self.stage.order("paula", Order::Fail).await;
        self.act(&format!("lets paula end with exit code {}", part::FAILURE))?;
        self.breaks("agent/paula").await?;
        self.start("paula", " again")?;
        self.mends("agent/paula").await?;
        self.close().await
    }

    fn start(&mut self, name: &'static str, again: &str) -> Result<(), Stopped> {
        let pid = self.stage.start(name).map_err(Stopped::Broken)?;
        let line = format!("starts {name}{again}: process {pid}, beats every {}", stage::EVERY);
        self.act(&line)
    }

    async fn breaks(&mut self, watch: &str) -> Result<(), Stopped> {
        self.until(&format!("{watch} breaks"), |it| it.is_open(watch)).await?;
        self.pause().await
    }

    async fn mends(&mut self, watch: &str) -> Result<(), Stopped> {
        self.until(&format!("{watch} is up"), |it| !it.is_open(watch) && it.all_are_up()).await?;
        self.pause().await
    }

    async fn pause(&mut self) -> Result<(), Stopped> {
        tokio::time::sleep(PAUSE).await;
        self.look().await
    }

    /// Looks, and prints what is new, until it is as it should be.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Seen) -> bool) -> Result<(), Stopped> {
        let looking = async {
            loop {
                self.look().await?;
                if is_so(&self.seen) {
                    return Ok(());
                }
                if let Some(why) = self.stage.broken() {
                    return Err(Stopped::Broken(why));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let late =
            |_| Err(Stopped::Broken(format!("not within {}s: {what}", COMES_WITHIN.as_secs())));
        tokio::time::timeout(COMES_WITHIN, looking).await.unwrap_or_else(late)
    }

    /// Asks the daemon; nothing is new while it does not answer.
    async fn look(&mut self) -> Result<(), Stopped> {
        let agents = Command::Agents(Agents::default());
        let Some(Reply::Agents(agents)) = self.ask(&agents).await else { return Ok(()) };
        let incidents = Command::Incidents(Incidents { all: true, ..Incidents::default() });
        let Some(Reply::Incidents(incidents)) = self.ask(&incidents).await else { return Ok(()) };
        self.seen.agents = agents;
        for incident in incidents.iter().rev() {
            if self.seen.printed.insert((incident.id, true)) {
                self.say(Some(incident.opened_at), "atalaya", &opened(incident), Some(incident))?;
            }
            if !incident.is_open() && self.seen.printed.insert((incident.id, false)) {
                self.say(incident.resolved_at, "atalaya", &over(incident), Some(incident))?;
            }
        }
        self.seen.incidents = incidents;
        Ok(())
    }

    async fn ask(&mut self, command: &Command) -> Option<Reply> {
        let answered = client::ask(&self.places, Some("demo"), command).await.ok()?;
        let scene = self.call.scene(&answered);
        self.seen.began.get_or_insert(scene.now);
        self.seen.scene = Some(scene);
        Reply::read(command, &answered.result.ok()?).ok()
    }

    fn act(&self, text: &str) -> Result<(), Stopped> {
        self.say(None, "demo", text, None)
    }

    /// Without a time of its own, at the daemon's present one.
    fn say(
        &self,
        at: Option<Timestamp>,
        by: &'static str,
        text: &str,
        incident: Option<&IncidentView>,
    ) -> Result<(), Stopped> {
        let Some(scene) = &self.seen.scene else { return Ok(()) };
        let at = at.unwrap_or(scene.now);
        if self.call.everywhere.json {
            return print(&json(&Line { at, by, text, incident }));
        }
        let (mood, glyph) = match incident {
            Some(it) if !text.starts_with("over") => scene.mark(&it.severity),
            Some(_) => (Mood::Good, scene.terminal.glyph("✓").to_owned()),
            None => (Mood::Plain, " ".to_owned()),
        };
        let number = incident.map(|it| format!("#{} ", it.id)).unwrap_or_default();
        let clock = scene.paint(Mood::Faint, &scene.clock(at));
        let line = format!("{clock} {by:<7} {} {number}{text}", scene.paint(mood, &glyph));
        print(&scene.terminal.fit(&line))
    }

    /// The chain of one incident, as the daemon tells it, and what to try next.
    async fn close(&mut self) -> Result<String, Stopped> {
        let why = Command::Why(Why { target: "mary".to_owned() });
        let why = self.ask(&why).await;
        let (Some(scene), Some(began), false) =
            (&self.seen.scene, self.seen.began, self.call.everywhere.json)
        else {
            return Ok(String::new());
        };
        let took = words::age(scene.now.duration_since(began));
        let (opened, open) = (self.seen.incidents.len(), self.seen.incidents.iter());
        let open = open.filter(|it| it.is_open()).count();
        let why = why.map(|it| render::reply(&it, scene)).unwrap_or_default();
        let program = &self.call.program;
        Ok(format!(
            "
{opened} incidents opened and {} closed in {took}. `{program} why mary` said of one:

{why}

For agents of your own:
  a daemon that stays  {program} run
  any command          {program} exec --agent mary -- COMMAND
  any other beat       curl http://127.0.0.1:7717/ping/mary
  how they fare        {program} status
  what is missing yet  {program} doctor
",
            opened - open
        ))
    }
}

fn print(line: &str) -> Result<(), Stopped> {
    out::line(line).map_err(|_| Stopped::Unread)
}

fn opened(incident: &IncidentView) -> String {
    format!("{} {}: {} ({})", incident.watch, incident.condition, incident.cause, incident.severity)
}

fn over(incident: &IncidentView) -> String {
    let end = incident.resolved_at.unwrap_or(incident.broke_at);
    let lasted = end.duration_since(incident.broke_at).max(SignedDuration::ZERO);
    let ending = incident.ending.as_deref().unwrap_or_default();
    format!("over: {} {ending} after {}", incident.watch, words::age(lasted))
}
