//! Sources made real, and what they share: when to prove that we can hear, and how to tell it.
//!
//! ```text
//!          proof asked for ─▶ came back within 2 s ─▶ proved(when asked) ─┐
//!             ▲                └ did not, or the way broke ─▶ blind(since the last proof)
//!             └── 50 ms, then 10 s or as soon as a watch wants one ◀──────┘
//! ```

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    domain::id::SourceId,
    ports::{clock::Clock, source::Ear},
};

pub mod channels;
pub mod http;
pub mod redis;
pub mod redis_poll;

/// The next proof comes no sooner than this after the last (docs/BEHAVIOUR.md 4).
const PROOF_GAP: Duration = Duration::from_millis(50);

/// How often an idle source proves itself (docs/BEHAVIOUR.md 4).
const PROOF_IDLE: Duration = Duration::from_secs(10);

/// A proof that takes longer is none, also when messages still flow: a source that lags is deaf
/// (docs/BEHAVIOUR.md 4).
const PROOF_WITHIN: Duration = Duration::from_secs(2);

/// Wait before a broken source tries again. Short, since all this time its watches are not judged.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Resolves when the next proof is due: no watch waits longer than [`PROOF_GAP`] for it to be asked for.
async fn due(ear: &dyn Ear, id: SourceId, idle: Duration) {
    tokio::time::sleep(PROOF_GAP).await;
    tokio::select! {
        () = tokio::time::sleep(idle.saturating_sub(PROOF_GAP)) => {}
        () = ear.wanted(id) => {}
    }
}

/// What a source last knew of its own hearing. Lives as long as the source, so that a restart of its actor
/// does not shorten a blindness.
struct Hearing {
    clock: Arc<dyn Clock>,
    name: &'static str,
    known: Mutex<Known>,
}

struct Known {
    proof: Timestamp,
    hears: Option<bool>,
}

impl Hearing {
    fn new(name: &'static str, clock: Arc<dyn Clock>) -> Self {
        let known = Mutex::new(Known { proof: clock.now(), hears: None });
        Self { clock, name, known }
    }

    fn proved(&self, ear: &dyn Ear, id: SourceId, at: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.proof = known.proof.max(at);
        if known.hears.replace(true) != Some(true) {
            tracing::info!(source = self.name, "source hears");
        }
        ear.proved(id, at);
    }

    /// Said again at each failed try: the ear may have forgotten.
    fn blind(&self, ear: &dyn Ear, id: SourceId, why: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.hears.replace(false) != Some(false) {
            tracing::warn!(source = self.name, why, "source is blind");
        }
        ear.blind(id, known.proof, why);
    }
}

/// An error and its causes on one line, each said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
