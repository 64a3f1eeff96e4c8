//! Waiting on conditions, with deadlines. The only file of the tests that sleeps or reads a clock.

use std::time::{Duration, Instant};

/// Between two looks: well under the second that the promises are measured in.
const STEP: Duration = Duration::from_millis(20);

/// Now, for measuring a promise between two events that the fakes have dated.
#[expect(
    clippy::disallowed_methods,
    reason = "tests measure the real thing; the product takes time as an argument"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall clock in whole seconds since 1970, as the Bot API dates its messages.
#[expect(clippy::disallowed_methods, reason = "the fakes date their messages as the real ones do")]
pub(crate) fn epoch_seconds() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970");
    i64::try_from(since.as_secs()).expect("seconds fit")
}

/// What the wall clock showed at a moment, for comparing what the fakes have dated with what atalaya has.
#[expect(clippy::disallowed_methods, reason = "tests compare two clocks")]
pub(crate) fn wall(at: Instant) -> jiff::Timestamp {
    let ago = jiff::SignedDuration::try_from(at.elapsed()).expect("a test does not last for ages");
    jiff::Timestamp::now() - ago
}

/// Looks until `probe` gives something; fails the test with `what` after `deadline`.
pub(crate) async fn eventually<T>(
    deadline: Duration,
    what: &str,
    probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    match within(deadline, probe).await {
        Some(found) => found,
        None => panic!("not within {deadline:?}: {what}"),
    }
}

/// Looks until `probe` gives something, or `None` after `deadline`.
pub(crate) async fn within<T>(
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let end = now() + deadline;
    loop {
        if let Some(found) = probe().await {
            return Some(found);
        }
        if end <= now() {
            return None;
        }
        pause(STEP).await;
    }
}

/// Looks during the whole of `window` and fails the test as soon as `probe` gives something: for "nothing is told".
pub(crate) async fn never<T: std::fmt::Debug>(
    window: Duration,
    what: &str,
    probe: impl AsyncFnMut() -> Option<T>,
) {
    if let Some(found) = within(window, probe).await {
        panic!("{what}, yet: {found:?}");
    }
}

/// Lets an outage last. Not for hoping that something is done by then: that is what `eventually` is for.
pub(crate) async fn last(outage: Duration) {
    pause(outage).await;
}

pub(crate) async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}
