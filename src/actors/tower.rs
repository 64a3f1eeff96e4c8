//! Tower: the one handle by which the floors above ask the tree. Reading is from slots and store and
//! waits for no actor; asking goes to the actor concerned, with a time-out.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    domain::{
        desk::{Answer, Ask},
        id::{ReceiverId, WatchId},
        text::Text,
        watch::{Condition, Subject, agent},
    },
    ports::{source::Ear, store::SharedStore},
};

/// One watch as it is now.
#[derive(Debug, Clone)]
pub struct Seen {
    pub subject: Arc<Subject>,
    pub spec: Arc<agent::Spec>,
    pub state: agent::State,
    pub epoch: u64,
    /// Its actor keeps failing and was set aside: since when.
    pub quarantined_since: Option<Timestamp>,
}

/// A part of atalaya that can be in trouble: sources, receivers, the registry, the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub watch: WatchId,
    /// None: well.
    pub trouble: Option<Condition>,
    pub since: Timestamp,
    /// The error as an operator reads it.
    pub detail: Text,
}

/// An id that pinged and is not watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Unknown {
    pub name: String,
    pub beats: u64,
    pub last: Timestamp,
}

/// What the daemon says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// It judges: facts restored, actors at work.
    pub ready: bool,
    pub started_at: Timestamp,
    pub version: &'static str,
    pub node: Text,
    pub registry_read_at: Timestamp,
    /// Deliveries not yet sent, per receiver.
    pub owed: Vec<(ReceiverId, usize)>,
    pub restarts: u64,
    pub refused_beats: u64,
}

/// The tree did not answer in time; it is named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} did not answer within 5 s; it is being restarted, try again")]
pub struct Unanswered(pub &'static str);

#[derive(Clone)]
pub struct Tower {}

impl Tower {
    pub fn now(&self) -> Timestamp {
        unimplemented!()
    }

    pub fn watches(&self) -> Vec<Seen> {
        unimplemented!()
    }

    /// By id or alias of an agent, or `kind/name`.
    pub fn watch(&self, name: &str) -> Option<Seen> {
        let _ = name;
        unimplemented!()
    }

    pub fn parts(&self) -> Vec<Part> {
        unimplemented!()
    }

    pub fn unknown(&self) -> Vec<Unknown> {
        unimplemented!()
    }

    pub fn health(&self) -> Health {
        unimplemented!()
    }

    pub fn ear(&self) -> Arc<dyn Ear> {
        unimplemented!()
    }

    pub fn store(&self) -> &SharedStore {
        unimplemented!()
    }

    /// Asks the IncidentManager; when it has answered, what it did is committed.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, Unanswered> {
        let _ = ask;
        unimplemented!()
    }

    /// Ends or resumes the watching of agents. Returns the watches that changed.
    pub async fn pause(&self, watches: Vec<WatchId>, by: Text) -> Result<Vec<WatchId>, Unanswered> {
        let _ = (watches, by);
        unimplemented!()
    }

    pub async fn resume(
        &self,
        watches: Vec<WatchId>,
        by: Text,
    ) -> Result<Vec<WatchId>, Unanswered> {
        let _ = (watches, by);
        unimplemented!()
    }

    /// Drops an agent that registered itself; one that the registry declares is refused (`Err` says so).
    pub async fn forget(&self, watch: WatchId, by: Text) -> Result<Answer, Unanswered> {
        let _ = (watch, by);
        unimplemented!()
    }

    /// A half-open try of a quarantined watch now.
    pub async fn retry(&self, watch: WatchId) -> Result<Answer, Unanswered> {
        let _ = watch;
        unimplemented!()
    }

    /// Applies an edit that was held because it removes much.
    pub async fn apply(&self, by: Text) -> Result<Answer, Unanswered> {
        let _ = by;
        unimplemented!()
    }
}
