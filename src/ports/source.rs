//! Source: a way by which signs of life reach us, and the ear that takes them.

use std::sync::Arc;

use jiff::Timestamp;

use super::Pending;
use crate::domain::{
    id::{Name, SourceId},
    watch::beat::Beat,
};

/// What became of one beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// A watch took it.
    Taken,
    /// It is watched from now on: it registered itself.
    Registered,
    /// Nobody watches it and `auto_register` is off: counted, listed.
    Unknown,
    /// `auto_register_max` is reached: counted, listed.
    Full,
}

/// Where sources bring what they hear, without waiting. Held by slots outside the actors, so that a
/// beat is taken while any actor restarts.
pub trait Ear: Send + Sync + 'static {
    /// Takes a beat for the agent that goes by `name` (id, alias, pattern, else it may register itself).
    fn beat(&self, name: &Name, beat: Beat) -> Took;

    /// A payload that names no agent or an impossible one: counted, with the reason.
    fn refused(&self, source: SourceId, why: &str);

    /// We are sure to have heard all that was said over `source` up to `at`: an echo sent at `at` came back.
    /// Ends a blindness.
    fn proved(&self, source: SourceId, at: Timestamp);

    /// The source cannot hear, and has not since `since` (its last proof); `why` is told to people.
    fn blind(&self, source: SourceId, since: Timestamp, why: &str);

    /// Whether a watch waits for a proof later than some moment: then the source proves itself soon, the
    /// next no sooner than 50 ms after the last.
    fn wants_proof(&self, source: SourceId) -> Option<Timestamp>;

    /// Resolves when [`Ear::wants_proof`] has become true for the source.
    fn wanted(&self, source: SourceId) -> Pending<'_, ()>;

    /// Ids that a polled source is to look at: every watched agent's id and aliases.
    fn names(&self) -> Vec<Name>;
}

/// A source at work. `run` returns only when it failed; the tree starts it again with backoff.
pub trait Source: Send + Sync + 'static {
    /// `redis`, `http`: the name of its watch `source/…`.
    fn name(&self) -> &str;

    fn run(&self, ear: Arc<dyn Ear>, id: SourceId) -> Pending<'_, SourceEnded>;
}

/// Why a source stopped, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEnded(pub String);
