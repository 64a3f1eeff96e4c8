//! Incident: one open trouble, by (watch, condition): opened, maybe acknowledged, resolved.

use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{
    id::{IncidentId, ReceiverId, WatchId},
    text::Text,
    watch::{Cause, Condition, Subject},
};

/// Critical rings at once; warning and info go to the log, and warning to whom a route names for it
/// (docs/BEHAVIOUR.md 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

/// Who has it, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    pub by: Text,
    pub reason: Option<Text>,
    pub at: Timestamp,
    pub until: Timestamp,
}

/// How restless a watch is (docs/BEHAVIOUR.md 9, "Flapping"). The incident of its newest change carries it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unrest {
    /// Moments of the newest changes of the watch, whatever incident they were of, newest last (bounded).
    pub changes: Vec<Timestamp>,
    pub flapping: Option<Flapping>,
}

/// What of an incident the digest of warnings tells (docs/BEHAVIOUR.md 9, "Digest").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// The end of the period whose digest has news of it; none: all is told.
    pub due: Option<Timestamp>,
    /// Its opening was told in a digest.
    pub told: bool,
}

/// Another watch explains the incident, so that nobody is disturbed by it (docs/BEHAVIOUR.md 9, "Dependencies").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The watch that explains it.
    pub by: WatchId,
    /// When it is decided again; none: when the trouble of that watch is over.
    pub until: Option<Timestamp>,
}

/// Single changes are quiet until the watch is steady.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flapping {
    /// The first of the changes that made it so.
    pub since: Timestamp,
    /// Changes since then.
    pub count: u32,
    /// What weighs more than this ends it.
    pub severity: Severity,
    /// What was told last: none, that it is well.
    pub told: Option<Condition>,
}

/// Why an incident ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Recovered,
    /// The same watch fell into a worse condition.
    Became(Condition),
    Paused,
    NoLongerWatched,
    SettingsChanged,
    ByHand {
        by: Text,
        reason: Option<Text>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub id: IncidentId,
    pub watch: WatchId,
    /// The watch as it was when the incident opened (name, origin, notify).
    pub subject: Arc<Subject>,
    pub condition: Condition,
    pub severity: Severity,
    /// When the promise broke.
    pub opened_at: Timestamp,
    pub cause: Cause,
    pub task: Option<Text>,
    pub acknowledgement: Option<Acknowledgement>,
    pub resolved: Option<(Timestamp, Ending)>,
    /// How often it broke: 1, and 1 more for each relapse within `reopen`.
    pub occurrences: u32,
    /// Moments of the relapses, newest last (bounded).
    pub relapses: Vec<Timestamp>,
    /// Who was told of the opening: a resolve goes to them alone.
    pub told: Vec<ReceiverId>,
    /// Counts what machines were told of it.
    pub revision: u32,
    /// Whom to tell later, copied from the route when it opened; fail-over takes the next of it.
    pub chain: Vec<Step>,
    /// How many steps of the chain were told.
    pub steps_told: usize,
    pub next_step_at: Option<Timestamp>,
    /// When machines that were told of it hear of it again. People's repeats are their group's.
    pub repeat_at: Option<Timestamp>,
    /// A maintenance window muted it: decided again when that ends.
    pub maintenance_until: Option<Timestamp>,
    pub held: Option<Hold>,
    pub unrest: Option<Unrest>,
    pub digest: Option<Digest>,
}

/// One step of a route's chain: `then = [{ after = "15m", to = ["hook"] }]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Counted from the step before it, or from the opening.
    pub after: SignedDuration,
    pub to: Vec<ReceiverId>,
}

impl Incident {
    /// `open`, `acknowledged` or `resolved`.
    pub fn status(&self) -> &'static str {
        match (&self.resolved, &self.acknowledgement) {
            (Some(_), _) => "resolved",
            (None, Some(_)) => "acknowledged",
            (None, None) => "open",
        }
    }
}
