//! Desk: all open incidents and what is owed of them. Flips, requests and time go in, writes come
//! out; the IncidentManager commits them in one transaction and adopts nothing by itself.

use std::{collections::HashMap, sync::Arc};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    alert::{
        group::Group,
        route::{Receiver, Route},
    },
    id::{DeliveryId, IncidentId, ReceiverId, WatchId},
    incident::Incident,
    silence::{Silence, Target},
    text::Text,
    watch::{Condition, Flip},
    write::Write,
};

/// What the configuration says about telling.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Every message names its node.
    pub node: Text,
    /// People read local time.
    pub timezone: TimeZone,
    pub receivers: Vec<Receiver>,
    pub routes: Vec<Route>,
    /// A relapse within this reopens the same incident (10 m).
    pub reopen: SignedDuration,
    /// An open message rings again after this (4 h).
    pub repeat: SignedDuration,
    /// How long an acknowledgement holds where nobody says (8 h).
    pub acknowledge_for: SignedDuration,
    /// Members that come within this join a message by editing it (30 s).
    pub join_within: SignedDuration,
    /// Lifetimes of deliveries (24 h, 2 h).
    pub critical_lifetime: SignedDuration,
    pub warning_lifetime: SignedDuration,
}

/// What the store kept of a desk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// Unresolved ones, and those resolved within `reopen`.
    pub incidents: Vec<Incident>,
    /// Those that are not closed.
    pub groups: Vec<Group>,
    pub silences: Vec<Silence>,
    /// The newest committed flip of each watch: (epoch, n).
    pub seen: HashMap<WatchId, (u64, u64)>,
    /// Highest ids ever used.
    pub last_incident: u64,
    pub last_group: u64,
    pub last_delivery: u64,
    pub last_silence: u64,
}

/// A request of a person or a program, already permitted by the edge.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    Acknowledge {
        incidents: Vec<IncidentId>,
        for_: Option<SignedDuration>,
        by: Text,
        reason: Option<Text>,
    },
    Release {
        incidents: Vec<IncidentId>,
        by: Text,
    },
    /// Refused while the watch still says so.
    Resolve {
        incident: IncidentId,
        by: Text,
        reason: Option<Text>,
        says: Option<Condition>,
    },
    Silence {
        targets: Vec<Target>,
        for_: SignedDuration,
        by: Text,
        reason: Option<Text>,
    },
    Unsilence {
        id: u64,
        by: Text,
    },
    /// A test message that takes the real path.
    Test {
        receiver: ReceiverId,
        by: Text,
    },
}

/// What came of a request, in words for the person who asked; `Err` says why not and what instead.
pub type Answer = Result<String, String>;

/// What a receiver did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    pub delivery: DeliveryId,
    pub receiver: ReceiverId,
    pub incidents: Vec<IncidentId>,
    pub why: Text,
}

#[derive(Debug, Clone)]
pub struct Desk {
    settings: Arc<Settings>,
}

impl Desk {
    /// Builds the desk from what the store kept.
    pub fn restore(settings: Arc<Settings>, restored: Restored) -> Self {
        let _ = restored;
        Self { settings }
    }

    /// Takes a new configuration; open incidents keep the chain that they were opened with.
    pub fn reload(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Whether this flip (or a newer one of the same epoch) was already taken in.
    pub fn has_seen(&self, flip: &Flip) -> bool {
        let _ = flip;
        unimplemented!()
    }

    /// Takes in flips in their order: opens, reopens, worsens, resolves; writes what is owed and why not.
    /// One call makes at most one row per group and receiver, however many flips it takes.
    pub fn flips(&mut self, flips: &[Flip], now: Timestamp) -> Vec<Write> {
        let _ = (flips, now);
        unimplemented!()
    }

    pub fn ask(&mut self, ask: Ask, now: Timestamp) -> (Answer, Vec<Write>) {
        let _ = (ask, now);
        unimplemented!()
    }

    /// A receiver refused for good, or nobody accepted a critical delivery for 2 m: the next of the chain.
    pub fn undelivered(&mut self, report: &Undelivered, now: Timestamp) -> Vec<Write> {
        let _ = (report, now);
        unimplemented!()
    }

    /// Does what time has made due: repeats, chain steps, ends of acknowledgements and silences.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Write> {
        let _ = now;
        unimplemented!()
    }

    /// When [`Desk::tick`] has something to do, if ever.
    pub fn deadline(&self) -> Option<Timestamp> {
        unimplemented!()
    }

    /// Unresolved incidents and those that may still be reopened.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        std::iter::empty()
    }

    /// The unresolved incident of a watch, if one is open (at most one per condition; the worst).
    pub fn open_of(&self, watch: &WatchId) -> Option<&Incident> {
        let _ = watch;
        unimplemented!()
    }
}
