//! Service manager: systemd over its notify socket. Without one, nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::ports::service_manager::ServiceManager;

pub struct Systemd;

impl Systemd {
    fn say(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

impl ServiceManager for Systemd {
    fn ready(&self) {
        Self::say(&[NotifyState::Ready]);
    }

    fn reloading(&self) {
        // Without the moment, systemd from 253 on takes the reload for failed.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => Self::say(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the service manager could not be told"),
        }
    }

    fn feed(&self) {
        Self::say(&[NotifyState::Watchdog]);
    }

    fn status(&self, line: &str) {
        Self::say(&[NotifyState::Status(line)]);
    }

    fn stopping(&self) {
        Self::say(&[NotifyState::Stopping]);
    }

    fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}
