//! Hands: the only part that acts on the world. The room stands; services furnish it.

use super::Pending;
use crate::domain::id::WatchId;

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    Succeeded,
    Failed(String),
    NotPermitted(String),
}

pub trait Hands: Send + Sync + 'static {
    /// Restarts what carries `watch`; one at a time per subject.
    fn restart(&self, watch: &WatchId) -> Pending<'_, Done>;
}
