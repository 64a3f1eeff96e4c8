//! Fail points: the places on the way from a beat to a message at which the process can be made to kill itself, to show
//! that nothing is lost there and nothing told twice. `ATALAYA_FAIL_POINT=FlipsArrived:12` ends it by SIGKILL when it
//! comes to that place for the twelfth time. Only with the feature `fail-points`, which no release can be built
//! with; without it a pass is nothing.

#[cfg(all(feature = "fail-points", not(debug_assertions)))]
compile_error!("fail points are for tests: a release must not hold them");

/// A place on the way, in the order in which a verdict passes them; each says what stands there and what does not.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "fail-points", derive(Debug))]
pub enum Point {
    /// A beat stands in its slot; nobody has judged it.
    BeatHeard,
    /// The sweeper found a deadline that has passed; nobody knows it yet.
    DeadlineFound,
    /// A watch was woken and has looked at nothing.
    WatchWoken,
    /// A verdict has changed: its flip stands in the slot alone.
    VerdictChanged,
    /// Flips have come to the IncidentManager.
    FlipsArrived,
    /// The desk has decided what follows from them; nothing is written.
    DeskDecided,
    /// The transaction is on its way to the Recorder.
    CommitSent,
    /// The Recorder has taken what waits into one transaction.
    CommitTaken,
    /// All rows are written, and not yet committed.
    TransactionOpen,
    /// The transaction is on the disk; nobody knows.
    TransactionDone,
    /// The Recorder knows; who asked for it does not.
    CommitAnswered,
    /// The IncidentManager knows; the outbox does not.
    CommitStands,
    /// The outbox was told; the flips are not acknowledged.
    OutboxTold,
    /// The flips are acknowledged.
    FlipsAcknowledged,
    /// The outbox has taken the rows in; none is due yet.
    RowsTaken,
    /// A row was handed to its notifier.
    RowDispatched,
    /// A notifier is about to send.
    AttemptBegun,
    /// The receiver has answered; only the notifier knows.
    AttemptAnswered,
    /// The outbox knows; what came of it is not written.
    AttemptJudged,
    /// What came of it is on the disk.
    OutcomeStands,
}

/// The process is at this place. It goes on, unless it was to die here.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub fn reached(_: Point) {}

#[cfg(feature = "fail-points")]
pub use self::armed::{VARIABLE, reached};

#[cfg(feature = "fail-points")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    /// Names the point and how often it is to be passed until the process dies: `FlipsArrived:12`.
    pub const VARIABLE: &str = "ATALAYA_FAIL_POINT";

    struct Armed {
        point: String,
        /// Passes that are still survived.
        left: AtomicU64,
    }

    #[expect(clippy::disallowed_methods, reason = "no setting of people: tests alone know of it")]
    fn armed() -> Option<Armed> {
        let said = std::env::var(VARIABLE).ok()?;
        let (point, passes) = said.split_once(':')?;
        let left = AtomicU64::new(passes.parse().ok()?);
        Some(Armed { point: point.to_owned(), left })
    }

    /// The process is at this place. It goes on, unless it was to die here.
    pub fn reached(point: Point) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let Some(armed) = ARMED.get_or_init(armed) else { return };
        if armed.point == format!("{point:?}") && armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Nothing is flushed, no destructor runs: as the kernel or a power cut would do it.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}
