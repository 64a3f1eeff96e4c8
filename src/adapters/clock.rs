//! Clock: the machine's, the only file that looks at it.

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;

use crate::ports::clock::Clock;

/// Suspensions are told in steps of this: two clocks are read one after the other, and what lies
/// between the readings is no suspension.
const SUSPENDED_STEP: SignedDuration = SignedDuration::from_millis(100);

/// The clock of this machine. Counts from the wall time at its making by tokio's monotonic clock, so that
/// it never jumps, and stands still where tokio's time is paused.
#[derive(Debug)]
pub struct MachineClock {
    started_wall: Timestamp,
    started: Instant,
    suspended_before: SignedDuration,
}

impl MachineClock {
    pub fn new() -> Self {
        Self {
            started_wall: wall(),
            started: monotonic(),
            suspended_before: suspended_since_boot(),
        }
    }
}

impl Default for MachineClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let elapsed = monotonic().duration_since(self.started);
        SignedDuration::try_from(elapsed)
            .ok()
            .and_then(|elapsed| self.started_wall.checked_add(elapsed).ok())
            .unwrap_or(Timestamp::MAX)
    }

    fn wall(&self) -> Timestamp {
        wall()
    }

    fn suspended(&self) -> SignedDuration {
        let slept = suspended_since_boot() - self.suspended_before;
        let steps = slept.as_millis() / SUSPENDED_STEP.as_millis();
        SUSPENDED_STEP * i32::try_from(steps.max(0)).unwrap_or(i32::MAX)
    }
}

#[expect(clippy::disallowed_methods, reason = "here, and nowhere else, the machine is asked")]
fn wall() -> Timestamp {
    Timestamp::now()
}

#[expect(clippy::disallowed_methods, reason = "here, and nowhere else, the machine is asked")]
fn monotonic() -> Instant {
    Instant::now()
}

/// `CLOCK_BOOTTIME` runs on while the machine sleeps, `CLOCK_MONOTONIC` does not.
fn suspended_since_boot() -> SignedDuration {
    let boot = span(clock_gettime(ClockId::Boottime));
    let awake = span(clock_gettime(ClockId::Monotonic));
    boot - awake
}

fn span(time: Timespec) -> SignedDuration {
    // The kernel keeps the nanoseconds below 1,000,000,000, which an i32 holds.
    SignedDuration::new(time.tv_sec, i32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_moves_by_the_runtime_alone_and_an_awake_machine_was_not_suspended() {
        let clock = MachineClock::new();
        let begin = clock.now();
        assert_eq!(clock.now(), begin);
        tokio::time::advance(Duration::from_mins(10)).await;
        assert_eq!(clock.now(), begin + SignedDuration::from_mins(10));
        assert_eq!(clock.suspended(), SignedDuration::ZERO);
        assert!(clock.wall() < begin + SignedDuration::from_mins(5), "the wall is the machine's");
    }
}
