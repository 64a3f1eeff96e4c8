//! Notifier: one way to reach someone. It sends what it is given, once, and says what came of it;
//! retrying, merging and pacing are the outbox's.

use jiff::SignedDuration;

use super::Pending;
use crate::domain::delivery::Delivery;

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// Accepted. With how the receiver names the message, where it does.
    Accepted { reference: Option<String> },
    /// Try again, not before `after` where the receiver says so (Telegram's `retry_after`).
    Again { after: Option<SignedDuration>, why: String },
    /// The message that was to be edited is gone: send it anew.
    Gone,
    /// Refused for good: blocked, bad token, unknown chat.
    Refused { why: String },
}

/// What the notifier needs beside the row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// The group's newest message: what is edited or replied to.
    pub reference: Option<String>,
}

pub trait Notifier: Send + Sync + 'static {
    /// One attempt; the caller bounds it by a time-out and counts a time-out as [`Attempt::Again`].
    fn send<'a>(&'a self, delivery: &'a Delivery, context: &'a Context) -> Pending<'a, Attempt>;
}
