//! Alarm: one pending wake-up per actor. Setting it anew ends the one before; it ends with its
//! actor. What it brings is a hint: whoever is woken looks at the clock
//! (docs/ARCHITECTURE.md, "Bird's eye").

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ractor::{ActorRef, Message, MessagingErr, concurrency::JoinHandle};

/// Never sooner than this: an actor that is woken by itself must let others speak.
const WAIT_MIN: Duration = Duration::from_millis(1);

type Timer<M> = JoinHandle<Result<(), MessagingErr<M>>>;

pub(crate) struct Alarm<M> {
    /// When it goes off, and the timer that does it.
    set: Option<(Timestamp, Timer<M>)>,
}

impl<M> Default for Alarm<M> {
    fn default() -> Self {
        Self { set: None }
    }
}

impl<M> Drop for Alarm<M> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<M> Alarm<M> {
    pub(crate) fn clear(&mut self) {
        if let Some((_, timer)) = self.set.take() {
            timer.abort();
        }
    }
}

impl<M: Message> Alarm<M> {
    /// Sends `message` to `myself` at `at`. An alarm for the same moment that has not gone off stays as it is.
    pub(crate) fn set(
        &mut self,
        myself: &ActorRef<M>,
        at: Timestamp,
        now: Timestamp,
        message: impl FnOnce() -> M + Send + 'static,
    ) {
        if self.set.as_ref().is_some_and(|(set, timer)| *set == at && !timer.is_finished()) {
            return;
        }
        self.clear();
        let wait = at.duration_since(now).max(SignedDuration::ZERO);
        let wait = Duration::try_from(wait).unwrap_or_default().max(WAIT_MIN);
        self.set = Some((at, myself.send_after(wait, message)));
    }
}
