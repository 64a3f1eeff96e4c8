//! Receivers made real. A new one is a file that exports `KIND`, a line `pub mod`, and a line in [`KINDS`].

use std::time::Duration;

use serde_json::Value;

use crate::{
    adapters::redis::BadAddress, domain::delivery::Event, ports::notifier::Attempt,
    wire::telegram::BadBot,
};

mod html;
pub mod log;
pub mod redis;
pub mod rehearsal;
pub mod telegram;
pub mod webhook;

/// What can be named as `type` of a receiver.
pub const KINDS: &[Kind] = &[telegram::KIND, webhook::KIND, redis::KIND, log::KIND];

/// One type of receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    /// One line for help, reference docs and "unknown type, known are …".
    pub about: &'static str,
    /// People read it: messages are grouped and edited. A machine gets every incident singly.
    pub human: bool,
    /// No attempt takes longer by the notifier's own time-outs. Whoever bounds an attempt waits longer than
    /// this: an attempt that is cut off after it was accepted is sent twice.
    pub attempt_max: Duration,
}

impl Kind {
    /// How many deliveries may be under way at one receiver (docs/BEHAVIOUR.md 9).
    pub const fn at_once(self) -> usize {
        if self.human { 1 } else { 8 }
    }
}

/// Why a notifier cannot be made of its settings. None of them prints a secret.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    #[error(transparent)]
    Bot(#[from] BadBot),
    #[error("the webhook's address must begin with http:// or https://")]
    Webhook,
    #[error("header {0:?} has a name or a value that HTTP does not allow")]
    Header(String),
    #[error(transparent)]
    Redis(#[from] BadAddress),
    #[error(
        "the prefix {0:?} of the Redis channels is empty or holds a space or a control character"
    )]
    Prefix(String),
}

/// The incident of a machine's message, as JSON. The only place that knows how an [`Event`] carries it.
fn incident(event: &Event) -> Result<Value, Attempt> {
    serde_json::from_str(&event.incident).map_err(|error| Attempt::Refused {
        why: format!("the row holds no readable incident: {error}"),
    })
}

/// A row that this receiver cannot take: a human's for a machine or the reverse.
fn not_for_this() -> Attempt {
    Attempt::Refused { why: "the row was made for another kind of receiver".to_owned() }
}

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|it| [DIGITS[usize::from(it >> 4)], DIGITS[usize::from(it & 15)]])
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests;
