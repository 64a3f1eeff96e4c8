//! Could we hear? Silence is evidence only while the sources of a watch work (behaviour.md 4).
//!
//! ```text
//!            proof: our own echo came back, or anything was heard
//!  Working(proved_at) ──no echo within 2 s, connection lost──▶ Blind(since = last proof)
//!        ▲                                                          │
//!        └───────────────── an echo or a message came ──────────────┘   (period kept: since, until)
//! ```

use jiff::{SignedDuration, Timestamp};

use super::id::SourceId;

/// Periods of blindness that a source remembers; older ones matter to no live deadline.
pub const PERIODS_MAX: usize = 16;

/// A time in which a source could not hear. `until` is none while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub since: Timestamp,
    pub until: Option<Timestamp>,
}

/// What is known of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The last moment up to which we are sure to have heard all that was said.
    pub proved_at: Timestamp,
    /// Oldest first, at most [`PERIODS_MAX`]; only the last may be open.
    pub periods: Vec<Period>,
}

/// All sources, by [`SourceId`]: what the machines are shown. Cheap to clone behind an `Arc`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hearing {
    pub sources: Vec<Source>,
    /// Shifts of every deadline by gaps of our own scheduler of 2 to 10 s: (when it ended, how long).
    pub shifts: Vec<(Timestamp, SignedDuration)>,
}

/// Whether silence up to a deadline is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// We could hear after the deadline: the silence is real.
    Proven,
    /// Ask these sources for a proof later than the deadline, and look again when they answer.
    Needed(Vec<SourceId>),
    /// None of the sources works.
    Blind,
}
