//! What atalaya needs of the world. Each port has adapters that are real and one in memory, and one
//! contract suite that all of them pass.

pub mod beats;
pub mod clock;
pub mod fail_points;
pub mod hands;
pub mod notifier;
#[cfg(test)]
pub(crate) mod recording;
pub mod registry;
pub mod service_manager;
pub mod sign;
pub mod source;
pub mod store;

use std::{future::Future, pin::Pin};

/// A future behind a pointer: ports are used as trait objects.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An error with its causes in one line, for people: `could not commit: disk full: os error 28`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
