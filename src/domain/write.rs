//! Write: what the core wants stored. A commit is a list of them, all or none.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    alert::group::Group,
    decision::Decision,
    delivery::{Delivery, State},
    history::Entry,
    id::{DeliveryId, GroupId, IncidentId, WatchId},
    incident::Incident,
    silence::Silence,
    text::Text,
    watch::{self, Verdict},
};

/// What is known of a watch, as it survives the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub watch: WatchId,
    pub epoch: u64,
    /// The newest flip that was committed.
    pub n: u64,
    pub state: Arc<watch::State>,
    /// Nobody declared it: what a restart has of it is all there is.
    pub self_registered: bool,
    /// When the registry dropped it: kept for 24 h, then deleted.
    pub removed_at: Option<Timestamp>,
}

/// A flip as history keeps it: for `why`, uptime and reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlipRecord {
    pub watch: WatchId,
    pub epoch: u64,
    pub n: u64,
    pub from: Verdict,
    pub to: Verdict,
    pub at: Timestamp,
    /// When it was committed: the difference is our delay.
    pub noticed_at: Timestamp,
}

/// How a delivery ended up, after an attempt or a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub delivery: DeliveryId,
    pub state: State,
    pub attempts: u32,
    pub next_at: Timestamp,
    pub at: Timestamp,
    pub error: Option<Text>,
    pub reference: Option<String>,
    pub failed_over: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Insert or replace, by watch. A watch that was removed stays so in the same epoch.
    Facts(Box<Facts>),
    /// What is kept of beats and of our hearing; an entry that is there already is left as it is.
    History(Box<Entry>),
    Flip(FlipRecord),
    /// Insert or replace, by id. A second unresolved one for (watch, condition) is refused by a unique index.
    Incident(Box<Incident>),
    Decision(Box<Decision>),
    /// Insert; a key that exists already is left as it is.
    Delivery(Box<Delivery>),
    Outcome(Box<Outcome>),
    Group(Box<Group>),
    /// How a human receiver names the newest message of a group.
    Reference {
        group: GroupId,
        reference: String,
    },
    /// A row that crashed its reader: kept, no longer loaded.
    SetAside {
        incident: IncidentId,
    },
    Silence(Box<Silence>),
    SilenceEnded {
        id: u64,
        at: Timestamp,
    },
    /// A small named value: the last good registry, Telegram's offset.
    Meta {
        key: String,
        value: String,
    },
}
