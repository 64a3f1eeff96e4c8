//! Lane: what is decided while the store refuses waits here and is told from memory. It is bounded by the messages
//! that it owes; where it grows full, what is critical goes first and the rest waits with its watches.

use std::sync::atomic::Ordering;

use super::{Running, UnderWay};
use crate::domain::{incident::Severity, watch::Flip};

/// Messages that may wait for the store, whatever they weigh (docs/BEHAVIOUR.md 11).
const MESSAGES_MAX: usize = 1_000;
/// Messages that may wait while only what is critical is let in.
const CRITICAL_MAX: usize = 20_000;
/// Rows of all kinds that wait as one transaction before the next begins.
const GATHERED_MAX: usize = 2_000;

/// What may be taken in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Everything,
    Critical,
    Nothing,
}

impl Room {
    /// Whether there is room for this change of verdict: a rise to what is critical, or the end of it.
    pub(super) fn has_place_for(self, flip: &Flip) -> bool {
        let mut troubles = flip.from.condition().into_iter().chain(flip.to.condition());
        match self {
            Self::Everything => true,
            Self::Critical => troubles.any(|it| flip.subject.severity_of(it) == Severity::Critical),
            Self::Nothing => false,
        }
    }
}

impl Running {
    /// While the store takes what it is given, one transaction at a time; while it refuses, what the lane bears.
    pub(super) fn room(&self) -> Room {
        if !self.refused {
            return if self.queue.is_empty() { Room::Everything } else { Room::Nothing };
        }
        match self.queue.iter().map(|it| it.owed).sum::<usize>() {
            0..MESSAGES_MAX => Room::Everything,
            MESSAGES_MAX..CRITICAL_MAX => Room::Critical,
            _ => Room::Nothing,
        }
    }

    /// Waits as a transaction of its own, or with the last that waits. The first is with the Recorder, and stays as
    /// it was sent.
    pub(super) fn enqueue(&mut self, next: UnderWay) {
        let waits = 1 < self.queue.len();
        let has_room =
            |it: &UnderWay| it.commit.writes.len() + next.commit.writes.len() <= GATHERED_MAX;
        match self.queue.back_mut().filter(|it| waits && has_room(it)) {
            Some(last) => {
                last.commit.writes.extend(next.commit.writes);
                last.watches.extend(next.watches);
                last.acknowledge.extend(next.acknowledge);
                last.replies.extend(next.replies);
                last.canary = next.canary.or(last.canary);
                last.owed += next.owed;
            }
            None => self.queue.push_back(next),
        }
    }

    /// Says how many verdicts wait here: they were taken in, and hold nobody's judging up.
    pub(super) fn publish_taken(&self) {
        let taken = self.queue.iter().map(|it| it.acknowledge.len()).sum();
        self.context.taken.store(taken, Ordering::Relaxed);
    }
}
