//! Notifier: one way to reach someone. It sends what it is given, once, and says what came of it;
//! retrying, merging and pacing are the outbox's.

use super::Pending;
pub use crate::domain::delivery::Attempt;
use crate::domain::delivery::Delivery;

/// What the notifier needs beside the row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// The group's newest message: what is edited or replied to.
    pub reference: Option<String>,
}

/// Why a way does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ailment {
    /// In words, without secrets.
    pub why: String,
    /// What to do; a command where there is one.
    pub mend: String,
}

impl Ailment {
    pub fn new(why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { why: why.into(), mend: mend.into() }
    }
}

pub trait Notifier: Send + Sync + 'static {
    /// One attempt; the caller bounds it by a time-out and counts a time-out as [`Attempt::Again`].
    fn send<'a>(&'a self, delivery: &'a Delivery, context: &'a Context) -> Pending<'a, Attempt>;

    /// Looks whether the way is open, without telling anybody anything; what was found, in few words without
    /// secrets. The caller bounds it by a time-out.
    fn look(&self) -> Pending<'_, Result<String, Ailment>>;
}
