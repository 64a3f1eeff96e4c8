//! Beat: one sign of life, as the door understood it, whatever is watched.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{id::SourceId, text::Text};

/// Beats that wait for a verdict; beyond that the newest replaces the one before it.
pub const PENDING_MAX: usize = 64;

/// What it says of itself, as the door understood it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Report {
    /// Only that it lives (no status, or one that says nothing else: `ok`, `alive`).
    #[default]
    Alive,
    Working,
    /// Stops the progress clock until it says another word of its work; `Alive` and `Success` are none.
    Idle,
    /// It waits for a person: all clocks stop until it says another word of its work.
    NeedsInput,
    /// `degraded`, `error`, `critical`: its own word.
    Degraded(Text),
    /// `stopping`: silence is expected.
    Stopping,
    /// A run began (`/start`): ends an overrun, not a failure.
    Start,
    /// A run or a step ended well (`/ping/x`, `/0`): ends a failure; with a run id an overrun too.
    Success,
    /// `/fail`, or an exit code other than 0.
    Fail {
        exit: Option<u8>,
    },
    /// `/log`: proves life, changes nothing else.
    Log,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A number that only grows; a smaller one than before is a restart of the agent and counts as progress.
    Count(u64),
    /// Opaque: a change is progress, the same again counts for `loop_after`.
    Digest(Arc<str>),
}

/// What a beat says of the lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Busy {
    /// Nothing was said: the lease stays.
    #[default]
    Keep,
    /// `"busy": null`
    End,
    Until {
        op: Text,
        for_: SignedDuration,
    },
}

/// One sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// When it counts: the time of receipt; for a polled source the stamp that changed, clamped to now.
    pub at: Timestamp,
    pub source: SourceId,
    pub report: Report,
    /// What the sender's clock said; recorded, shown as skew beyond 30 s, decides nothing.
    pub claimed: Option<Timestamp>,
    pub seq: Option<u64>,
    /// None: nothing said. `Some(None)`: no task any more.
    pub task: Option<Option<Text>>,
    pub progress: Option<Progress>,
    pub busy: Busy,
    /// JSON object as text, 8 KiB at most; replaces the one before.
    pub metadata: Option<Arc<str>>,
    /// Which run (`rid`) of a start/success/fail ping.
    pub run: Option<Arc<str>>,
    /// The payload, or a field of it, could not be read: counted. What could be read holds.
    pub malformed: bool,
}

impl Beat {
    /// A plain sign of life.
    pub fn plain(at: Timestamp, source: SourceId) -> Self {
        Self {
            at,
            source,
            report: Report::Alive,
            claimed: None,
            seq: None,
            task: None,
            progress: None,
            busy: Busy::Keep,
            metadata: None,
            run: None,
            malformed: false,
        }
    }

    /// A sign of life of which nothing could be read.
    pub fn unreadable(at: Timestamp, source: SourceId) -> Self {
        Self { report: Report::Log, malformed: true, ..Self::plain(at, source) }
    }
}

/// Beyond the bound the newest takes the place of the one before it, but never of the only word of a failure.
pub(super) fn push_pending(pending: &mut Vec<Beat>, beat: Beat) {
    if pending.len() < PENDING_MAX {
        pending.push(beat);
        return;
    }
    let spare = pending.iter().rposition(|it| !matches!(it.report, Report::Fail { .. }));
    if let Some(place) = spare {
        pending.remove(place);
        pending.push(beat);
    } else if let Some(newest) = pending.last_mut() {
        *newest = beat;
    }
}
