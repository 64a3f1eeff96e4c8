//! Sign: a sign of life of our own, for whoever watches the watch: a dead-man ping, a beat on the bus.

use std::time::Duration;

use super::Pending;

pub trait Sign: Send + Sync + 'static {
    /// Its part is `self/<name>`.
    fn name(&self) -> &'static str;

    /// How often it is expected, at least.
    fn every(&self) -> Duration;

    /// Gives the sign once. `Err` says why nobody took it, without what is secret. The caller bounds the time.
    fn give(&self) -> Pending<'_, Result<(), String>>;
}
