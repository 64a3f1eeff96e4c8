//! Clock: the one `now` (docs/BEHAVIOUR.md 2, principle 9).

use jiff::{SignedDuration, Timestamp};

pub trait Clock: Send + Sync + 'static {
    /// Wall time at start plus the monotonic time since: never jumps. All verdicts use it.
    fn now(&self) -> Timestamp;

    /// The wall clock, which may jump: calendars and display only.
    fn wall(&self) -> Timestamp;

    /// How long the machine has been suspended since start. Grows by a suspension only.
    fn suspended(&self) -> SignedDuration;
}
