//! Service manager: who started us and wants to know how we are (systemd, or nobody).

use std::time::Duration;

pub trait ServiceManager: Send + Sync + 'static {
    /// It serves and judges.
    fn ready(&self);

    /// A person had the registry read anew; `ready` follows when that is done.
    fn reloading(&self);

    /// Feeds the watchdog: the core has answered.
    fn feed(&self);

    /// One line for `systemctl status`.
    fn status(&self, line: &str);

    fn stopping(&self);

    /// How often the watchdog wants to be fed, if there is one.
    fn watchdog(&self) -> Option<Duration>;
}
