//! Panics: one short line each, ten a second at most, without backtraces. The default hook makes a storm
//! of failing actors fifty times slower (it resolves symbols for every one of them).

use std::{
    panic,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Lines a second; what is beyond is counted and said with the next line.
const LINES_PER_SECOND_MAX: u32 = 10;

#[cfg(not(panic = "unwind"))]
compile_error!("atalaya needs panic = \"unwind\": the tree restarts actors that panic");

/// Installs the hook for the whole process. `elapsed` is a monotonic time since some start.
pub fn install(elapsed: impl Fn() -> Duration + Send + Sync + 'static) {
    let budget = Mutex::new((Duration::ZERO, 0_u32));
    let unsaid = AtomicU64::new(0);
    panic::set_hook(Box::new(move |info| {
        let say = {
            let mut budget = super::context::lock(&budget);
            let now = elapsed();
            if Duration::from_secs(1) <= now.saturating_sub(budget.0) {
                *budget = (now, 0);
            }
            budget.1 += 1;
            budget.1 <= LINES_PER_SECOND_MAX
        };
        if say {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let what = info.payload_as_str().unwrap_or("no text");
            let unsaid = unsaid.swap(0, Ordering::Relaxed);
            tracing::error!(place, what, unsaid, "a panic was caught");
        } else {
            unsaid.fetch_add(1, Ordering::Relaxed);
        }
    }));
}
