//! What is watched: the closed enums over the kinds, and the one output of every machine, a [`Flip`].

pub mod agent;
pub mod beat;
mod machine;

use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};

pub use machine::{Change, Effects, Knowledge, Signal, Spec, State, Unknown, Wake};

use super::{
    id::{Kind, Name, Origin, ReceiverId, WatchId},
    incident::Severity,
    text::Text,
};

/// The class of trouble that a verdict stands for; an incident is open per (watch, condition).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    /// Silent for longer than was promised.
    Down,
    /// It told of its own failure: `/fail`, or an exit code other than 0.
    Failed,
    /// A lease or a run ended without progress.
    Overrun,
    /// It beats and does not advance.
    Stalled,
    /// It repeats the same step.
    Looping,
    /// It says so itself.
    Degraded,
    /// It waits for a person for longer than it may.
    NeedsInput,
    /// A source by which we cannot hear.
    Blind,
    /// A watch whose actor keeps failing: nobody watches it.
    Unwatched,
    /// A configuration that was refused.
    Refused,
    /// An edit that would remove much, held until `atalaya apply`.
    Held,
    /// The store cannot be written.
    Unwritable,
    /// A receiver that refuses our messages for good.
    Undeliverable,
    /// An incident's row that cannot be read, set aside.
    SetAside,
    /// A step of an escalation that was due and was not done.
    Overdue,
    /// A test message that a person asked for.
    Test,
}

impl Condition {
    pub const ALL: [Self; 16] = [
        Self::Down,
        Self::Failed,
        Self::Overrun,
        Self::Stalled,
        Self::Looping,
        Self::Degraded,
        Self::NeedsInput,
        Self::Blind,
        Self::Unwatched,
        Self::Refused,
        Self::Held,
        Self::Unwritable,
        Self::Undeliverable,
        Self::SetAside,
        Self::Overdue,
        Self::Test,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Failed => "failed",
            Self::Overrun => "overrun",
            Self::Stalled => "stalled",
            Self::Looping => "looping",
            Self::Degraded => "degraded",
            Self::NeedsInput => "needs_input",
            Self::Blind => "blind",
            Self::Unwatched => "unwatched",
            Self::Refused => "refused",
            Self::Held => "held",
            Self::Unwritable => "unwritable",
            Self::Undeliverable => "undeliverable",
            Self::SetAside => "set_aside",
            Self::Overdue => "overdue",
            Self::Test => "test",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }

    /// What it weighs where the registry says nothing (docs/BEHAVIOUR.md 9, "Severity").
    pub fn severity(self) -> Severity {
        match self {
            Self::Down
            | Self::Failed
            | Self::Overrun
            | Self::Stalled
            | Self::Looping
            | Self::Blind
            | Self::Unwatched
            | Self::Unwritable
            | Self::Undeliverable
            | Self::SetAside
            | Self::Overdue => Severity::Critical,
            Self::Degraded | Self::NeedsInput | Self::Refused | Self::Held => Severity::Warning,
            Self::Test => Severity::Info,
        }
    }

    /// Whether a watch in this trouble explains the troubles of those that depend on it
    /// (docs/BEHAVIOUR.md 9, "Dependencies").
    pub fn explains(self) -> bool {
        match self {
            Self::Down | Self::Failed | Self::Blind => true,
            Self::Overrun
            | Self::Stalled
            | Self::Looping
            | Self::Degraded
            | Self::NeedsInput
            | Self::Unwatched
            | Self::Refused
            | Self::Held
            | Self::Unwritable
            | Self::Undeliverable
            | Self::SetAside
            | Self::Overdue
            | Self::Test => false,
        }
    }

    /// Whether people are told at once though it is a warning: somebody waits for them.
    pub fn is_asked_of_people(self) -> bool {
        self == Self::NeedsInput
    }

    /// Worst first: a watch in a worse condition closes its lesser incident as `became …`.
    pub fn rank(self) -> u8 {
        match self {
            Self::Unwatched => 0,
            Self::Down => 1,
            Self::Failed => 2,
            Self::Overrun => 3,
            Self::Stalled => 4,
            Self::Looping => 5,
            Self::Blind => 6,
            Self::Unwritable => 7,
            Self::Undeliverable => 8,
            Self::SetAside => 9,
            Self::Overdue => 10,
            Self::Refused => 11,
            Self::Held => 12,
            Self::Degraded => 13,
            Self::NeedsInput => 14,
            Self::Test => 15,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

/// What a watch says of its subject: a closed enum per kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Agent(agent::Verdict),
    /// A part of atalaya itself (source, receiver, registry, store): well, or in this trouble.
    Part(Option<Condition>),
}

impl Verdict {
    /// What is said of a watch of this kind when nothing is known of it: never heard, or no longer watched.
    pub fn unknown(kind: Kind) -> Self {
        match kind {
            Kind::Agent => Self::Agent(agent::Verdict::Waiting),
            Kind::Source | Kind::Receiver | Kind::Myself => Self::Part(None),
        }
    }

    /// The trouble it stands for, if any.
    pub fn condition(self) -> Option<Condition> {
        match self {
            Self::Agent(verdict) => verdict.condition(),
            Self::Part(condition) => condition,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Agent(verdict) => verdict.word(),
            Self::Part(Some(condition)) => condition.word(),
            Self::Part(None) => "up",
        }
    }

    /// Whether it is about a part of atalaya (its watch of something too), not about what people have watched.
    pub fn is_of_part(self) -> bool {
        match self {
            Self::Agent(_) => false,
            Self::Part(_) => true,
        }
    }

    /// Whether open incidents of the watch say nothing about this verdict and stay as they are: we
    /// could not hear, so nothing opens and nothing resolves (docs/BEHAVIOUR.md 4).
    pub fn suspends(self) -> bool {
        matches!(self, Self::Agent(agent::Verdict::Blind))
    }
}

/// Why a verdict changed; `why` and the messages word it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Silent since `last` (none: never heard), for longer than `limit`.
    Silence {
        last: Option<Timestamp>,
        limit: SignedDuration,
    },
    /// It was heard.
    Beat,
    /// It said so: a status, a `/fail`, an exit code, with its words.
    Said {
        status: Text,
        exit: Option<u8>,
    },
    /// No progress since; with the limit that it broke.
    NoProgress {
        since: Timestamp,
        limit: SignedDuration,
    },
    /// The same progress so many times.
    Repeats {
        count: u32,
    },
    /// It has waited for a person since then, for longer than `limit`.
    Unanswered {
        since: Timestamp,
        limit: SignedDuration,
    },
    /// A declared step (`op`) that should have ended by then.
    Lease {
        op: Text,
        until: Timestamp,
    },
    Paused {
        by: Text,
    },
    Resumed {
        by: Text,
    },
    /// The registry changed and the verdict with it.
    SettingsChanged,
    /// Said again because the book of incidents held something else: how it came about is not known.
    Restated,
    /// It was taken out of the registry, or forgotten.
    Removed,
    /// The sources by which it is heard cannot hear, or can again.
    Hearing,
    /// A part of atalaya; the text is the error as an operator reads it.
    Fault(Text),
    /// More flips than could be kept while nobody acknowledged: this one stands for so many.
    Merged {
        count: u32,
    },
}

/// What the desk must know of a watch to tell of it. Shared, swapped whole when the registry changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub watch: WatchId,
    /// Name for people; the id where none is given.
    pub name: Text,
    /// Where the registry declares it; for `why`.
    pub origin: Origin,
    /// Receivers of its own, which replace the routes; empty: the routes decide.
    pub notify: Vec<ReceiverId>,
    pub severity: Vec<(Condition, Severity)>,
    /// It registered itself: its messages carry `[Forget]`.
    pub self_registered: bool,
    /// Silence for longer than this is `down`; a part of atalaya has none.
    pub timeout: Option<SignedDuration>,
    /// Further ids by which it goes; shown, and found by the search of names.
    pub aliases: Vec<Name>,
    /// What it belongs to: shown, and named by routes, silences and maintenance as `group/NAME`.
    pub group: Option<Name>,
}

impl Subject {
    /// Of which nothing is said but who it is and where that is written.
    pub fn new(watch: WatchId, name: Text, origin: Origin) -> Self {
        Self {
            watch,
            name,
            origin,
            notify: Vec::new(),
            severity: Vec::new(),
            self_registered: false,
            timeout: None,
            aliases: Vec::new(),
            group: None,
        }
    }

    /// Of a part of atalaya itself: a source, a receiver, the registry, the store.
    pub fn of_part(watch: &WatchId) -> Self {
        let name = Text::clean(&watch.to_string(), 60);
        Self::new(watch.clone(), name, Origin::Default("a part of atalaya"))
    }

    /// The severity of `condition` for this watch and where that is written.
    pub fn severity_of(&self, condition: Condition) -> Severity {
        self.severity
            .iter()
            .find(|(it, _)| *it == condition)
            .map_or_else(|| condition.severity(), |(_, severity)| *severity)
    }
}

/// A change of verdict, dated when the promise broke or was kept again, never when it was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flip {
    pub subject: Arc<Subject>,
    /// Which life of the watch: drawn anew when it is forgotten and comes back.
    pub epoch: u64,
    /// Counts the flips of an epoch, from 1.
    pub n: u64,
    pub from: Verdict,
    pub to: Verdict,
    pub at: Timestamp,
    pub cause: Cause,
    /// What it was doing, where it told.
    pub task: Option<Text>,
}
