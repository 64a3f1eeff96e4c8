//! What an incident's change tells to whom: the stages in the order in which they speak.
//!
//! ```text
//! flip ─▶ dedup (same trouble, a relapse, or new?) ─▶ route (who?) ─▶ group (which message, does it ring?)
//!      ─▶ wording (what a person reads) · event (what a program reads)
//! ```

pub mod dedup;
pub mod event;
pub mod group;
pub mod route;
pub mod wording;

use jiff::{SignedDuration, Timestamp};

use super::{
    id::{ReceiverId, WatchId},
    text::Text,
    watch::Condition,
};

/// Why a receiver hears of an incident: what makes a message ring
/// (docs/BEHAVIOUR.md 9, "What rings").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Opened,
    /// It broke again, so long after it had come back.
    Relapsed {
        after: SignedDuration,
    },
    /// It weighs more than it did.
    Rose,
    /// A silence ended while the trouble is still there.
    SilenceEnded {
        id: u64,
    },
    /// A maintenance window ended while the trouble is still there.
    MaintenanceEnded,
    /// What this watch explained stands by itself now, and is still so.
    HoldEnded {
        by: WatchId,
    },
    /// An acknowledgement reached its limit, or its author gave it back.
    Unacknowledged {
        by: Text,
        released: bool,
    },
    Repeated,
    /// The next step of the chain: nobody had acknowledged.
    Escalated,
    /// It changes so often that single changes stay quiet from now on.
    Flapping,
    /// It kept changing, and has been as it is now for long enough.
    Steady {
        since: Timestamp,
        /// What was told last: none, that it is well.
        told: Option<Condition>,
    },
    /// Another receiver did not take it.
    FailedOver {
        from: ReceiverId,
        why: Text,
    },
}

impl Reason {
    /// Whether it is told even of what is over.
    pub fn outlasts(&self) -> bool {
        matches!(self, Self::Flapping | Self::Steady { .. })
    }

    /// Whether a message with so many open members rings for it; that all is well makes no sound.
    pub fn rings(&self, open: usize) -> bool {
        0 < open || matches!(self, Self::Flapping)
    }

    /// The rule, as `why` names it.
    pub fn rule(&self) -> String {
        match self {
            Self::Opened => "opened".into(),
            Self::Relapsed { .. } => "relapse: rings".into(),
            Self::Rose => "rise in severity: rings".into(),
            Self::SilenceEnded { id } => format!("silence {id} ended and it is still so: rings"),
            Self::MaintenanceEnded => "maintenance ended and it is still so: rings".into(),
            Self::HoldEnded { by } => format!("{by} no longer explains it: rings"),
            Self::Unacknowledged { by, released: true } => format!("{by} gave it back: rings"),
            Self::Unacknowledged { by, released: false } => {
                format!("the acknowledgement of {by} ended and it is still so: rings")
            }
            Self::Repeated => "repeat: rings".into(),
            Self::Escalated => "not acknowledged: the next step of the chain".into(),
            Self::Flapping => "flapping: rings once, single changes are quiet".into(),
            Self::Steady { .. } => "steady again: decided as if it opened now".into(),
            Self::FailedOver { from, why } => format!("{from} did not take it: {why}"),
        }
    }
}
