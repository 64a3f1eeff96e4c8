//! Stage: which message of a human receiver an incident belongs to (behaviour.md 9, "Grouping").

use jiff::Timestamp;

use crate::domain::{
    id::{GroupId, IncidentId, ReceiverId},
    watch::Condition,
};

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
