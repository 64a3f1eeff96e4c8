//! Store: what survives the process. One writer (the Recorder) commits; reading is free for all.

use std::sync::Arc;

use jiff::Timestamp;

use super::Pending;
use crate::domain::{
    decision::Decision,
    delivery::Delivery,
    desk,
    history::History,
    id::{DeliveryId, IncidentId, ReceiverId, WatchId},
    incident::Incident,
    write::{Facts, FlipRecord, Write},
};

/// A transaction: all of it or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Who writes, with the incarnation that it had: after a restart of the writer, older ones are refused.
    pub writer: &'static str,
    pub incarnation: u64,
    /// Counts the commits of an incarnation, from 1: one that already stands is not applied again, so a
    /// writer that never heard the answer may send it once more.
    pub sequence: u64,
    pub writes: Vec<Write>,
}

/// Why one commit of a batch was refused; the others of the batch stand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the writer {writer} was replaced (incarnation {incarnation}, {newest} is at work)")]
    Fenced { writer: &'static str, incarnation: u64, newest: u64 },
    /// An invariant of the store (a second open incident of one watch and condition) or a row too large.
    #[error("the store refused a row: {0}")]
    Row(String),
}

/// Why the store as a whole did not work, in words an operator can act on.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation}: {plain}")]
pub struct StoreError {
    pub operation: &'static str,
    /// `the disk of /var/lib/atalaya is full`, `the file is read-only`, `the file is damaged`, …
    pub plain: String,
    pub kind: Fault,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Full,
    ReadOnly,
    Damaged,
    /// Written by a newer atalaya.
    NewerSchema,
    Busy,
    Other,
}

/// What was there at start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opened {
    /// The newest commit of the last run, if any: since then we saw nothing.
    pub life_stamp: Option<Timestamp>,
    /// The newest epoch of any flip or facts: what comes now is later, whatever the wall clock says.
    pub last_epoch: u64,
    pub facts: Vec<Facts>,
    /// Rows of facts that cannot be read, by name and with the reason: those watches begin anew.
    pub unreadable: Vec<String>,
}

/// Which incidents to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// Resolved ones too.
    pub all: bool,
    pub watch: Option<WatchId>,
    pub id: Option<IncidentId>,
    /// Newest first, so many at most.
    pub limit: usize,
}

/// Sizes for `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    pub bytes: u64,
}

pub trait Store: Send + Sync + 'static {
    /// `sqlite`, `memory`.
    fn kind(&self) -> &'static str;

    /// Group commit: applies each commit in order, all in one durable transaction; a refused one leaves no
    /// trace and does not harm the others. `at` becomes the life-stamp. With no commits it stamps only.
    /// When this returns `Ok`, what stands is on the disk; where nothing but facts or the stamp was written,
    /// it survives the process, and the power from the next other commit on.
    ///
    /// Writers are told apart by name; they count from anew with each process.
    ///
    /// # Errors
    /// When the store did not work: nothing of the batch stands.
    fn commit(
        &self,
        commits: Vec<Commit>,
        at: Timestamp,
    ) -> Pending<'_, Result<Vec<Result<(), Refused>>, StoreError>>;

    /// What the tree needs before it starts.
    fn open(&self) -> Pending<'_, Result<Opened, StoreError>>;

    /// What the desk held; incidents resolved after `reopen_after` included. An incident's row that cannot be
    /// read is set aside (kept, named in the list) and does not stop the rest.
    fn desk(
        &self,
        reopen_after: Timestamp,
    ) -> Pending<'_, Result<(desk::Restored, Vec<String>), StoreError>>;

    /// Rows of a receiver that are pending or were being sent, oldest first. A row that cannot be read is
    /// given up (kept as failed) and does not stop the rest.
    fn owed(
        &self,
        receiver: Option<ReceiverId>,
        limit: usize,
    ) -> Pending<'_, Result<Vec<Delivery>, StoreError>>;

    /// How a human receiver names the newest message of each group: all that are not closed, and the newest
    /// of the closed, whose message is still edited when its members recover.
    fn references(
        &self,
    ) -> Pending<'_, Result<Vec<(crate::domain::id::GroupId, String)>, StoreError>>;

    fn delivery(&self, id: DeliveryId) -> Pending<'_, Result<Option<Delivery>, StoreError>>;

    fn incidents(&self, filter: IncidentFilter) -> Pending<'_, Result<Vec<Incident>, StoreError>>;

    /// Decisions about a watch (or one incident), oldest first, the newest `limit`.
    fn decisions(
        &self,
        watch: WatchId,
        incident: Option<IncidentId>,
        limit: usize,
    ) -> Pending<'_, Result<Vec<Decision>, StoreError>>;

    /// Deliveries that tell of an incident, oldest first, each with the moment at which it came into its state.
    fn deliveries_of(
        &self,
        incident: IncidentId,
    ) -> Pending<'_, Result<Vec<(Delivery, Timestamp)>, StoreError>>;

    /// What a dry run would have sent since then, oldest first, the newest `limit`.
    fn rehearsed(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Pending<'_, Result<Vec<Delivery>, StoreError>>;

    fn flips(
        &self,
        watch: WatchId,
        since: Timestamp,
        limit: usize,
    ) -> Pending<'_, Result<Vec<FlipRecord>, StoreError>>;

    /// All that is known of the time since then, to judge it again. What cannot be read is left out.
    fn history(&self, since: Timestamp) -> Pending<'_, Result<History, StoreError>>;

    fn meta(&self, key: &str) -> Pending<'_, Result<Option<String>, StoreError>>;

    fn size(&self) -> Pending<'_, Result<Size, StoreError>>;

    /// Deletes what is older than its keeping time, in slices that block no commit for long; returns the rows
    /// deleted. Open incidents, owed deliveries and present facts are never touched.
    fn prune(&self, now: Timestamp) -> Pending<'_, Result<u64, StoreError>>;
}

/// A store as it is shared.
pub type SharedStore = Arc<dyn Store>;
