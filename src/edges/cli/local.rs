//! Local: what the command line does without a daemon. The composition root has it done: the floors that
//! read configurations and run trees are not seen from here.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Zoned};
use secrecy::SecretString;
use serde::Serialize;

use crate::{
    control::once::OnceView,
    domain::{history::History, registry::Wanted},
};

/// Which files are meant; none: the standard places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    pub config: Option<PathBuf>,
    pub registry: Option<PathBuf>,
}

/// What `check` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Nothing that keeps the daemon from starting; there may be warnings.
    pub ok: bool,
    /// The files that were read; empty: built-in settings.
    pub files: Vec<String>,
    pub findings: Vec<Finding>,
    /// The whole report, each error with file, line and how to mend it.
    #[serde(skip)]
    pub text: String,
}

/// One thing that `check` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `error` or `warning`.
    pub level: &'static str,
    pub message: String,
    /// The file, or the variable in words.
    pub place: String,
    /// From 1; none where the place is no line of a file.
    pub line: Option<usize>,
    /// In characters, from 1.
    pub column: Option<usize>,
    /// How to mend it.
    pub help: String,
}

/// How something is that `doctor` looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Well,
    /// It works; one day somebody will wish that it were otherwise.
    Warning,
    Problem,
}

/// One thing that `doctor` looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examined {
    pub health: Health,
    /// `files`, `store`, `telegram`, `agent/nova`.
    pub part: String,
    pub text: String,
    /// What to do; a command that can be pasted where there is one.
    pub mend: Option<String>,
}

impl Examined {
    pub fn well(part: impl Into<String>, text: impl Into<String>) -> Self {
        Self { health: Health::Well, part: part.into(), text: text.into(), mend: None }
    }

    pub fn warning(
        part: impl Into<String>,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { health: Health::Warning, mend: Some(mend.into()), ..Self::well(part, text) }
    }

    pub fn problem(
        part: impl Into<String>,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { health: Health::Problem, mend: Some(mend.into()), ..Self::well(part, text) }
    }
}

/// How the daemon of a configuration is reached: `[http] socket`, `bind` and `token`.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    pub socket: Option<PathBuf>,
    pub bind: Option<String>,
    /// `[http] token`: whoever may read the configuration may act. Shown to `bind` alone.
    pub token: Option<SecretString>,
}

/// Which file's schema is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// atalaya.toml
    Daemon,
    /// registry.toml
    Registry,
    /// What `[heartbeat_map]` has written
    HeartbeatMap,
}

/// How a run that ends is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once {
    /// It ends as soon as waiting adds nothing.
    pub as_soon_as_known: bool,
    /// And after this at the latest.
    pub at_most: Duration,
    /// Receivers are sent what they are owed, before the end.
    pub notify: bool,
}

/// What a run saw, and the node's local time at its end.
#[derive(Debug, Clone)]
pub struct Seen {
    pub view: OnceView,
    pub now: Zoned,
}

/// Why the daemon did not start, in words, with the exit code (75: another one runs already).
#[derive(Debug)]
pub struct NotStarted {
    pub code: u8,
    pub text: String,
}

pub trait Local {
    /// A variable of the environment, if it is set and not empty.
    fn variable(&self, name: &str) -> Option<String>;

    /// Runs the daemon until it is told to stop; returns its exit code.
    ///
    /// # Errors
    /// When it did not start.
    fn run(&self, files: &Files) -> Result<u8, NotStarted>;

    /// Runs until it knows how it stands, or for a time, and ends.
    ///
    /// # Errors
    /// When it did not start, or was told to end before it had judged.
    fn once(&self, files: &Files, once: Once) -> Result<Seen, NotStarted>;

    /// Checks the files; offline, absent secret files and unreachable receivers only warn.
    fn check(&self, files: &Files, offline: bool) -> Checked;

    /// Looks at all that needs no daemon, `files` first; tells nobody anything and changes nothing.
    fn examine(&self, files: &Files) -> Vec<Examined>;

    /// Reads and checks the registry.
    ///
    /// # Errors
    /// The whole report, as `check` prints it.
    fn wanted(&self, files: &Files) -> Result<Wanted, String>;

    /// The last `length` of what the daemon's store knows, read beside the daemon; and the names of the
    /// sources, by their numbers.
    ///
    /// # Errors
    /// In words: there is no store, it may not be read, or it is of another version.
    fn history(
        &self,
        config: Option<&Path>,
        length: SignedDuration,
    ) -> Result<(History, Vec<Arc<str>>), String>;

    /// The JSON Schema of a file.
    fn schema(&self, which: Which) -> String;

    /// How the daemon of this configuration (none: of the one in the standard places) is reached; none
    /// where there is no configuration.
    ///
    /// # Errors
    /// When a configuration was named and cannot be read.
    fn reach(&self, config: Option<&Path>) -> Result<Option<Reach>, String>;
}
