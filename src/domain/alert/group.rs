//! Stage: which message of a human receiver an incident belongs to
//! (docs/BEHAVIOUR.md 9, "Grouping").

use jiff::{SignedDuration, Timestamp};

use super::Reason;
use crate::domain::{
    id::{GroupId, IncidentId, ReceiverId},
    incident::Severity,
    watch::Condition,
};

/// From so many members on, a late one rings only when the group has grown tenfold
/// (docs/BEHAVIOUR.md 9, "What rings").
const CROWD_MIN: usize = 5;
const CROWD_GROWTH: usize = 10;

/// Whether a change of a group makes a sound, with the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Voice {
    Ring(String),
    Edit(String),
}

/// One message to one human receiver, growing and changing by edits. A new message (relapse, rise,
/// repeat, …) is a new revision of the same group and a reply to the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: GroupId,
    pub receiver: ReceiverId,
    pub condition: Condition,
    /// In the order in which they joined.
    pub members: Vec<IncidentId>,
    pub opened_at: Timestamp,
    /// Grows with each row owed for it.
    pub revision: u32,
    /// When a message of it last rang: the clock of the repeats.
    pub rang_at: Timestamp,
    /// How many members it had when it last rang, those of its first 30 s included.
    pub members_at_ring: usize,
    /// A button was pressed: who comes later opens a new group, its own members still edit this one.
    pub sealed: bool,
    /// All members ended too long ago to come back: nothing changes it any more. Not loaded at a start.
    pub closed: bool,
}

impl Group {
    /// For an incident that is its newest member, already counted.
    pub fn joined(&self, severity: Severity, within: SignedDuration, now: Timestamp) -> Voice {
        let size = self.members.len();
        if self.is_young(within, now) {
            return Voice::Edit(format!("joined a group within {}s", within.as_secs()));
        }
        if severity != Severity::Critical {
            return Voice::Edit(format!("joined a group, {severity}: does not ring"));
        }
        if size < CROWD_MIN {
            return Voice::Ring(format!("joined a group after {}s: rings", within.as_secs()));
        }
        let next = self.members_at_ring * CROWD_GROWTH;
        if next <= size {
            Voice::Ring(format!("the group grew tenfold to {size}: rings"))
        } else {
            Voice::Edit(format!("joined a group of {size}: the next ring is at {next}"))
        }
    }

    /// For an incident that it holds already. Members that relapse together ring once.
    pub fn again(&self, reason: &Reason, within: SignedDuration, now: Timestamp) -> Voice {
        let storm = matches!(reason, Reason::Relapsed { .. }) && 1 < self.members.len();
        if storm && now.duration_since(self.rang_at) <= within {
            return Voice::Edit(format!("relapsed within {}s of the last ring", within.as_secs()));
        }
        Voice::Ring(reason.rule())
    }

    /// Whether who comes now belongs to the opening.
    pub fn is_young(&self, within: SignedDuration, now: Timestamp) -> bool {
        now.duration_since(self.opened_at) <= within
    }
}
