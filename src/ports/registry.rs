//! Registry: where the wanted state is read, and who reaches people by it.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;

use super::{Pending, notifier::Notifier};
use crate::domain::{
    id::{Name, ReceiverId},
    registry::Wanted,
};

/// A receiver ready to send. Equal `fingerprint`s mean equal settings: the old one is kept.
#[derive(Clone)]
pub struct ReadyReceiver {
    pub id: ReceiverId,
    pub human: bool,
    /// Deliveries in flight at once: 1 for a human receiver, 8 for a machine (docs/BEHAVIOUR.md 9).
    pub at_once: usize,
    /// An attempt is cut off after this; longer than the notifier's own time-outs, or what was accepted
    /// would be sent twice.
    pub attempt_max: Duration,
    pub fingerprint: String,
    /// The Telegram chat that it writes to: the buttons under its messages are heard.
    pub chat: Option<i64>,
    pub notifier: Arc<dyn Notifier>,
    /// Dry run: it is sent nothing but test messages.
    pub rehearses: bool,
}

/// What one reading gave.
#[derive(Clone)]
pub struct Read {
    pub wanted: Arc<Wanted>,
    pub receivers: Vec<ReadyReceiver>,
    /// All files as one text: kept in the store as the last good registry.
    pub text: String,
    /// Agents whose beats must show a token.
    pub agent_tokens: Vec<(Name, SecretString)>,
}

/// Why to look at the files again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// They may have changed.
    Look,
    /// A person wants them read, changed or not: what they name (a secret's file) may have changed.
    Read,
}

/// Why the files were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The whole report as `atalaya check` prints it.
    pub report: String,
    /// The same in one line, for an incident.
    pub brief: String,
}

impl Unreadable {
    /// What one line says whole.
    pub fn one(why: impl Into<String>) -> Self {
        let brief: String = why.into();
        Self { report: format!("error: {brief}"), brief }
    }
}

pub trait Registry: Send + Sync + 'static {
    /// Reads and checks the files as they are now.
    fn read(&self) -> Result<Read, Unreadable>;

    /// Checks a text that was kept earlier by [`Read::text`].
    fn read_kept(&self, text: &str) -> Result<Read, Unreadable>;

    /// A digest of the files' present content; differs when anything was written.
    fn fingerprint(&self) -> String;

    /// Resolves when a file may have changed (inotify), when a person calls (SIGHUP), or at the latest after
    /// half a second: not every file system tells.
    fn called(&self) -> Pending<'_, Call>;

    /// This reading is in force from now on: whose beats need a token follows it.
    fn adopted(&self, read: &Read);
}
