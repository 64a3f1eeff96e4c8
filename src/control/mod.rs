//! Control: all that a person or a program may ask, as one enum, one verb per file. The command line,
//! HTTP and Telegram are translations of it; a new verb is one file and one variant.
//!
//! ```text
//!  face ─Command, Caller─▶ Controller::run ─▶ permitted? ─▶ slots and store (reading)
//!                                                       └▶ Tower::ask … (acting)  ─▶ Reply | Refusal
//! ```

pub mod ack;
pub mod agents;
pub mod apply;
pub mod caller;
pub mod forget;
pub mod incidents;
pub mod next;
pub mod notify;
pub mod once;
pub mod pause;
pub mod ping;
pub mod press;
pub mod refusal;
pub mod release;
pub mod resolve;
pub mod resume;
pub mod retry;
pub mod show;
pub mod silence;
pub mod silences;
pub mod status;
pub mod target;
pub mod unsilence;
pub mod why;
pub mod words;

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    caller::{Caller, Face, Scope},
    refusal::{Class, Refusal},
};
pub use crate::ports::{
    beats,
    clock::Clock,
    source::{Ear, Took},
};

#[cfg(test)]
pub(crate) use crate::ports::recording;
use crate::{actors::tower::Tower, domain::desk};

/// Everything one may ask. Written on a command line, or as JSON: `{"command":"ack","targets":["#412"]}`.
#[derive(Debug, Clone, PartialEq, clap::Subcommand, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// What is in trouble, what is well, and how atalaya itself is
    Status(status::Status),
    /// All agents, worst first, or the unknown ids that pinged
    Agents(agents::Agents),
    /// One watch or one incident, with all that is known of it
    Show(show::Show),
    /// Open incidents, newest first
    Incidents(incidents::Incidents),
    /// Why a watch is judged as it is, who was told, who was not, and by which rule
    Why(why::Why),
    /// Acknowledge: you have it; nothing repeats or escalates until recovery or the limit
    Ack(ack::Ack),
    /// Give an acknowledged incident back: it repeats and escalates again
    Release(release::Release),
    /// Close an incident by hand; refused while its watch still says so
    Resolve(resolve::Resolve),
    /// Nothing of a watch, a pattern or a group rings for a while; recovery is told all the same
    Silence(silence::Silence),
    /// End a silence now
    Unsilence(unsilence::Unsilence),
    /// Silences that hold
    Silences(silences::Silences),
    /// Stop judging agents until they are resumed; closes their incidents as paused
    Pause(pause::Pause),
    /// Judge paused agents again
    Resume(resume::Resume),
    /// Drop an agent that registered itself
    Forget(forget::Forget),
    /// Send a sign of life for an agent
    Ping(ping::Ping),
    /// Try the ways by which people are told
    Notify(notify::Notify),
    /// Apply an edit of the registry that is held because it removes much
    Apply(apply::Apply),
    /// Try a quarantined watch again now
    Retry(retry::Retry),
}

impl Command {
    /// What a caller must be allowed to do.
    pub fn needs(&self) -> Scope {
        match self {
            Self::Status(_)
            | Self::Agents(_)
            | Self::Show(_)
            | Self::Incidents(_)
            | Self::Why(_)
            | Self::Silences(_) => Scope::Read,
            Self::Ping(_) => Scope::Ping,
            Self::Ack(_)
            | Self::Release(_)
            | Self::Resolve(_)
            | Self::Silence(_)
            | Self::Unsilence(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Forget(_)
            | Self::Notify(_)
            | Self::Apply(_)
            | Self::Retry(_) => Scope::Act,
        }
    }
}

/// What came of an action, a sentence each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    pub done: Vec<String>,
}

impl Done {
    fn one(sentence: impl Into<String>) -> Self {
        Self { done: vec![sentence.into()] }
    }
}

/// The view that answers a command. As JSON it is the view alone, without a tag: the asker knows what
/// was asked ([`Reply::read`]).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    Status(Box<status::StatusView>),
    Agents(Vec<agents::AgentView>),
    Unknown(Vec<agents::UnknownView>),
    Draft(agents::DraftView),
    Show(Box<show::ShowView>),
    Incidents(Vec<incidents::IncidentView>),
    Silences(Vec<silences::SilenceView>),
    Why(Box<why::WhyView>),
    Ping(ping::PingView),
    Done(Done),
}

impl Reply {
    /// Reads the JSON that answered `command`.
    ///
    /// # Errors
    /// When it is not that command's view.
    pub fn read(command: &Command, json: &str) -> serde_json::Result<Self> {
        Ok(match command {
            Command::Status(_) => Self::Status(serde_json::from_str(json)?),
            Command::Agents(it) if it.toml => Self::Draft(serde_json::from_str(json)?),
            Command::Agents(it) if it.unknown => Self::Unknown(serde_json::from_str(json)?),
            Command::Agents(_) => Self::Agents(serde_json::from_str(json)?),
            Command::Show(_) => Self::Show(serde_json::from_str(json)?),
            Command::Incidents(_) => Self::Incidents(serde_json::from_str(json)?),
            Command::Silences(_) => Self::Silences(serde_json::from_str(json)?),
            Command::Why(_) => Self::Why(serde_json::from_str(json)?),
            Command::Ping(_) => Self::Ping(serde_json::from_str(json)?),
            Command::Ack(_)
            | Command::Release(_)
            | Command::Resolve(_)
            | Command::Silence(_)
            | Command::Unsilence(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Forget(_)
            | Command::Notify(_)
            | Command::Apply(_)
            | Command::Retry(_) => Self::Done(serde_json::from_str(json)?),
        })
    }

    /// Well answered, but with bad news: a critical incident is open, or nobody watches what pinged.
    pub fn is_bad_news(&self) -> bool {
        match self {
            Self::Status(view) => view.is_bad_news(),
            Self::Ping(view) => view.is_bad_news(),
            Self::Agents(_)
            | Self::Unknown(_)
            | Self::Draft(_)
            | Self::Show(_)
            | Self::Incidents(_)
            | Self::Silences(_)
            | Self::Why(_)
            | Self::Done(_) => false,
        }
    }
}

/// How the telling is set at this moment; a new registry replaces it.
pub type SettingsNow = Arc<dyn Fn() -> Arc<desk::Settings> + Send + Sync>;

/// Answers commands. Cheap to clone; shared by all faces.
#[derive(Clone)]
pub struct Controller {
    tower: Tower,
    settings: SettingsNow,
    sources: Arc<[String]>,
}

impl fmt::Debug for Controller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Controller").finish_non_exhaustive()
    }
}

impl Controller {
    /// `sources` is the table of sources by name, in the order of their ids: it holds for one run.
    pub fn new(tower: Tower, settings: SettingsNow, sources: Arc<[String]>) -> Self {
        Self { tower, settings, sources }
    }

    /// Does what `command` asks, if `caller` may.
    ///
    /// # Errors
    /// [`Refusal`] says why not, with a class from which exit codes and HTTP statuses follow.
    pub async fn run(&self, command: Command, caller: Caller) -> Result<Reply, Refusal> {
        caller.permits(command.needs())?;
        let by = &caller.name;
        Ok(match command {
            Command::Status(_) => Reply::Status(Box::new(self.status().await?)),
            Command::Agents(it) => self.list_agents(&it).await?,
            Command::Show(it) => Reply::Show(Box::new(self.show(&it).await?)),
            Command::Incidents(it) => Reply::Incidents(self.incidents(&it).await?),
            Command::Why(it) => Reply::Why(Box::new(self.why(&it).await?)),
            Command::Silences(_) => Reply::Silences(self.silences().await?),
            Command::Ping(it) => Reply::Ping(self.ping(&it)?),
            Command::Ack(it) => Reply::Done(self.ack(it, by).await?),
            Command::Release(it) => Reply::Done(self.release(it, by).await?),
            Command::Resolve(it) => Reply::Done(self.resolve(it, by).await?),
            Command::Silence(it) => Reply::Done(self.silence(it, by).await?),
            Command::Unsilence(it) => Reply::Done(self.unsilence(&it, by).await?),
            Command::Pause(it) => Reply::Done(self.pause(it, by).await?),
            Command::Resume(it) => Reply::Done(self.resume(it, by).await?),
            Command::Forget(it) => Reply::Done(self.forget(&it, by).await?),
            Command::Notify(it) => Reply::Done(self.notify(it, by).await?),
            Command::Apply(_) => Reply::Done(self.apply(by).await?),
            Command::Retry(it) => Reply::Done(self.retry(&it).await?),
        })
    }

    /// The node's name and its present local time: what a face needs to render a view.
    pub fn here(&self) -> (String, jiff::Zoned) {
        let settings = (self.settings)();
        (settings.node.as_str().to_owned(), self.tower.now().to_zoned(settings.timezone.clone()))
    }

    pub fn now(&self) -> jiff::Timestamp {
        self.tower.now()
    }

    async fn ask(&self, ask: desk::Ask) -> Result<Done, Refusal> {
        self.tower.ask(ask).await?.map(Done::one).map_err(Refusal::refused)
    }
}

#[cfg(test)]
mod tests;
