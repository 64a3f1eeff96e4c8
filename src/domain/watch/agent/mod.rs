//! Agent: a process that beats, advances and may declare long steps. Three clocks: pulse, progress,
//! lease (docs/BEHAVIOUR.md 3).
//!
//! ```text
//!            beat                  silence longer than `timeout`, and we could hear after it
//!  Waiting ────────▶ Up (or what its facts say, worst first) ─────────────────────▶ Down
//!     ▲               ▲  │ every source that counts is blind                          │
//!     │               │  └──▶ Blind ──a beat, or hearing again──▶ what it was         │
//!     │               └────────────────────────── beat ──────────────────────────────┘
//!     └──Resume── Paused ◀──Pause── any
//! ```
//!
//! [`Spec::hear`] (in `facts`) takes a beat in under the slot's lock, [`Spec::on`] (in `judge`) decides.

mod facts;
mod judge;
mod knowledge;
mod notable;
#[cfg(test)]
mod people;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tower;

use std::sync::Arc;

pub use self::notable::{Before, Notable, STANDSTILL_PART};

use jiff::{SignedDuration, Timestamp};

use super::{
    Condition,
    beat::{Beat, Busy, Progress, Report, push_pending},
    machine::{Change, Effects, Knowledge, Signal, Unknown, Wake},
};
use crate::domain::{detector, id::SourceId, text::Text};

/// What the registry promises about one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub interval: SignedDuration,
    /// Silence strictly longer than this is `down`.
    pub timeout: SignedDuration,
    pub first_beat_within: SignedDuration,
    pub stall_after: Option<SignedDuration>,
    /// The same digest so many times is `looping`.
    pub loop_after: Option<u32>,
    pub lease_max: SignedDuration,
    pub leave_max: SignedDuration,
    /// It may wait for a person so long until people are told. None: never told.
    pub needs_input: Option<SignedDuration>,
    pub beats: Beats,
    pub detector: detector::Kind,
    /// All sources that are switched on: judges a watch that was never heard.
    pub enabled: Arc<[SourceId]>,
}

/// When it is expected to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beats {
    /// Always.
    Steady,
    /// While it acts: from a word of work (`working`, `start`, progress, a lease) to `idle`, `stopping` or the end of
    /// a run.
    OnActivity,
}

impl Beats {
    pub fn word(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::OnActivity => "on_activity",
        }
    }
}

/// Verdicts, worst first (docs/BEHAVIOUR.md 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Silent for longer than `timeout`, or never heard within `first_beat_within`.
    Down,
    /// It told of its own failure: `/fail`, or an exit code other than 0.
    Failed,
    /// A step that it declared (`busy`) lasts longer than it said.
    Overrun,
    /// It beats, and its progress stands still for longer than `stall_after`.
    Stalled,
    /// It told the same progress `loop_after` times in a row.
    Looping,
    /// It says so itself: status `degraded`, `error`, `critical` or `warning`.
    Degraded,
    /// It waits for a person for longer than `needs_input`.
    Unanswered,
    /// Silent for longer than one and a half intervals: shown, never an incident.
    Late,
    /// It beats as promised; shown as `idle` where it said so.
    Up,
    /// Watched and never heard, within `first_beat_within`.
    Waiting,
    /// It waits for a person: its clocks stand still.
    NeedsInput,
    /// It said that it stops: its silence is expected for `leave_max`.
    Leaving,
    /// A person paused it: it is not judged.
    Paused,
    /// None of the sources by which it is heard works: its clocks stand still.
    Blind,
}

impl Verdict {
    pub fn condition(self) -> Option<Condition> {
        match self {
            Self::Down => Some(Condition::Down),
            Self::Failed => Some(Condition::Failed),
            Self::Overrun => Some(Condition::Overrun),
            Self::Stalled => Some(Condition::Stalled),
            Self::Looping => Some(Condition::Looping),
            Self::Degraded => Some(Condition::Degraded),
            Self::Unanswered => Some(Condition::NeedsInput),
            Self::Late
            | Self::Up
            | Self::Waiting
            | Self::NeedsInput
            | Self::Leaving
            | Self::Paused
            | Self::Blind => None,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Failed => "failed",
            Self::Overrun => "overrun",
            Self::Stalled => "stalled",
            Self::Looping => "looping",
            Self::Degraded => "degraded",
            // One word for people, whether they have been told of it or not.
            Self::Unanswered | Self::NeedsInput => "needs_input",
            Self::Late => "late",
            Self::Up => "up",
            Self::Waiting => "waiting",
            Self::Leaving => "leaving",
            Self::Paused => "paused",
            Self::Blind => "blind",
        }
    }
}

/// How often beats come over one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub source: SourceId,
    pub last: Timestamp,
    /// It brought two beats at most `timeout` apart: it counts beside the source of the last beat.
    pub steady: bool,
}

/// The facts of one agent; everything else is derived. Lives in its slot, is stored as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Since when it is watched: the clock of the first beat.
    pub watched_since: Timestamp,
    pub last: Option<Timestamp>,
    /// Per source, newest first; bounded by the number of sources.
    pub heard: Vec<Heard>,
    pub rhythm: detector::Rhythm,
    pub report: Report,
    pub reported_at: Option<Timestamp>,
    pub task: Option<Text>,
    pub progress: Option<Progress>,
    pub progress_at: Option<Timestamp>,
    /// From when the progress clock counts: the last progress, or the first beat, the end of idleness, of a
    /// lease, of waiting or of an outage; moved by the time in which we could not hear. None: it stands.
    pub working_since: Option<Timestamp>,
    /// Since when it waits for a person, if it does.
    pub asked: Option<Asked>,
    /// How often in a row the present digest was told, 1 for once.
    pub repeats: u32,
    /// The declared step: what, until when; and whether a new one may be granted.
    pub lease: Option<Lease>,
    pub lease_spent: bool,
    pub metadata: Option<Arc<str>>,
    pub seq: Option<u64>,
    /// Sender's clock minus ours at the last beat that carried one.
    pub skew: Option<SignedDuration>,
    pub malformed: u64,
    pub beats: u64,
    pub paused: bool,
    /// Promises that are broken now; the worst is the verdict.
    pub broken: Broken,
    /// `down` comes not before this (a reload moved the deadline).
    pub not_before: Option<Timestamp>,
    /// Beats that the actor has yet to judge, oldest first; bounded by `PENDING_MAX`.
    pub pending: Vec<Beat>,
    /// What was said last, and since when it holds.
    pub said: Verdict,
    pub said_since: Timestamp,
    /// The next moment at which this changes by itself: what the sweeper compares.
    pub deadline: Option<Timestamp>,
}

/// Since when which promise is broken. Kept as facts, so that what was once proven stands until it is mended,
/// whatever becomes of the hearing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Broken {
    pub down: Option<Timestamp>,
    pub failed: Option<Timestamp>,
    pub overrun: Option<Timestamp>,
    pub stalled: Option<Timestamp>,
    pub unanswered: Option<Timestamp>,
}

/// It waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub at: Timestamp,
    /// What its clock was given for the time in which we could not hear.
    pub deaf: SignedDuration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub op: Text,
    pub until: Timestamp,
}

impl State {
    /// A watch that begins now and was never heard.
    pub fn new(now: Timestamp) -> Self {
        Self {
            watched_since: now,
            last: None,
            heard: Vec::new(),
            rhythm: detector::Rhythm::default(),
            report: Report::Alive,
            reported_at: None,
            task: None,
            progress: None,
            progress_at: None,
            working_since: None,
            asked: None,
            repeats: 0,
            lease: None,
            lease_spent: false,
            metadata: None,
            seq: None,
            skew: None,
            malformed: 0,
            beats: 0,
            paused: false,
            broken: Broken::default(),
            not_before: None,
            pending: Vec::new(),
            said: Verdict::Waiting,
            said_since: now,
            deadline: None,
        }
    }

    /// What is kept when the facts are suspected of crashing their actor (from the third quick failure
    /// on): the last beat and its source, what was said, and whether it is paused. The rest is learnt anew.
    #[must_use]
    pub fn fresh(&self, now: Timestamp) -> Self {
        let holds = |verdict| (self.said == verdict).then_some(self.said_since);
        let asks = matches!(self.said, Verdict::NeedsInput | Verdict::Unanswered);
        let report = match (self.said == Verdict::Leaving, asks) {
            (true, _) => Report::Stopping,
            (false, true) => Report::NeedsInput,
            (false, false) => Report::Alive,
        };
        Self {
            last: self.last,
            heard: self.heard.first().copied().into_iter().collect(),
            paused: self.paused,
            report,
            // Whose clock stood is not known to work.
            working_since: self.working_since.map(|_| now),
            asked: asks.then_some(Asked { at: self.said_since, deaf: SignedDuration::ZERO }),
            broken: Broken {
                down: holds(Verdict::Down),
                failed: holds(Verdict::Failed),
                overrun: holds(Verdict::Overrun),
                stalled: holds(Verdict::Stalled),
                unanswered: holds(Verdict::Unanswered),
            },
            said: self.said,
            said_since: self.said_since,
            // The next look sets the true one.
            deadline: Some(now),
            ..Self::new(self.watched_since)
        }
    }

    /// A watch that comes back: what it is like is known, that it lives it has to show anew.
    #[must_use]
    pub fn returned(&self, now: Timestamp) -> Self {
        Self {
            rhythm: self.rhythm.clone(),
            progress: self.progress.clone(),
            task: self.task.clone(),
            metadata: self.metadata.clone(),
            seq: self.seq,
            beats: self.beats,
            malformed: self.malformed,
            paused: self.paused,
            ..Self::new(now)
        }
    }
}
