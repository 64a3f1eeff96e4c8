//! History: what the store keeps of a time, so that it can be judged again under another registry.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    id::WatchId,
    silence::Silence,
    watch::agent::Notable,
    write::{Facts, FlipRecord},
};

/// Since when beats are kept: a small value of the store, written once.
pub const KEPT_SINCE: &str = "beats_kept_since";

/// A kept beat of a watch, its sources by name: their numbers hold for one run.
#[derive(Debug, Clone, PartialEq)]
pub struct BeatRecord {
    pub watch: WatchId,
    pub beat: Notable<Arc<str>>,
}

/// A time in which we could not hear, were away included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deafness {
    /// None: our own scheduler stood still so shortly that deadlines merely moved.
    pub source: Option<Arc<str>>,
    pub since: Timestamp,
    /// None while it lasts; of an earlier run: until the next one of the same source.
    pub until: Option<Timestamp>,
}

/// One row of history.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    Beat(BeatRecord),
    /// Insert or replace, by source and beginning.
    Deafness(Deafness),
}

/// All that the store knows of a time.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// From when on it is whole: as asked, or since beats are kept.
    pub since: Timestamp,
    /// The newest commit: nothing is known of what came later.
    pub until: Timestamp,
    /// By their time, the newest of each watch before `since` included.
    pub beats: Vec<BeatRecord>,
    /// By their beginning; what ended before `since` is left out.
    pub deafness: Vec<Deafness>,
    /// By their time.
    pub flips: Vec<FlipRecord>,
    /// As they are at the end.
    pub facts: Vec<Facts>,
    /// With the moment of their end, also those that ended before their time.
    pub silences: Vec<(Silence, Option<Timestamp>)>,
}
