//! How often a child may fail before it is set aside, and how long to wait in between
//! (docs/BEHAVIOUR.md 11, "Parts that fail").
//!
//! ```text
//!  running ──failure──▶ wait (0, 20 ms, 40 ms … 30 s) ──▶ running ──60 s alive──▶ forgiven
//!                │ more than 6 in 10 s
//!                └──▶ quarantine ──every 5 min, or by command──▶ one try ──60 s alive──▶ forgiven
//! ```

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// The first wait after a restart at once; it doubles with every further failure.
const WAIT_FIRST: SignedDuration = SignedDuration::from_millis(20);
/// The longest wait between two starts.
pub const WAIT_MAX: SignedDuration = SignedDuration::from_secs(30);
/// More than so many failures within [`WINDOW`] is quarantine.
const FAILURES_MAX: usize = 6;
const WINDOW: SignedDuration = SignedDuration::from_secs(10);
/// A child that lived so long is forgiven.
pub const FORGIVEN_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// How often a child in quarantine is tried.
pub const HALF_OPEN_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// From this quick failure on, the facts are suspected: the child starts from fresh ones.
const FRESH_FROM: u32 = 3;

/// What may become of a child of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Watches, sources, notifiers, edges: set aside when it keeps failing.
    Quarantined,
    /// Singletons, shards, sweepers: always tried again.
    Endless,
}

/// What to do with a child that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    RestartAfter(SignedDuration),
    /// No actor; one try after [`HALF_OPEN_EVERY`] or by command.
    Quarantine,
}

/// How a child fared. Lives in its supervisor, bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    started: Option<Timestamp>,
    /// Failures inside the window, oldest first.
    recent: VecDeque<Timestamp>,
    /// Failures without a minute of life in between.
    quick: u32,
    quarantined: bool,
}

impl Record {
    /// It runs since `now`.
    pub fn started(&mut self, now: Timestamp) {
        self.started = Some(now);
    }

    /// Whether the next start is to begin from fresh facts: the old ones may be the poison.
    pub fn fresh_facts(&self) -> bool {
        FRESH_FROM <= self.quick
    }

    /// Whether it is set aside; a half-open try does not end that, a minute of life does.
    pub fn quarantined(&self, now: Timestamp) -> bool {
        self.quarantined && !self.forgiven(now)
    }

    fn forgiven(&self, now: Timestamp) -> bool {
        self.started.is_some_and(|since| FORGIVEN_AFTER <= now.duration_since(since))
    }
}

impl Patience {
    /// Judges a failure at `now`, also one of a start that did not succeed. `jitter` from 0 to 1 spreads
    /// the wait over its upper half.
    pub fn on_failure(self, record: &mut Record, now: Timestamp, jitter: f64) -> Verdict {
        if record.forgiven(now) {
            *record = Record::default();
        }
        record.started = None;
        record.quick = record.quick.saturating_add(1);
        keep_window(&mut record.recent, now, WINDOW, FAILURES_MAX);
        record.recent.push_back(now);
        let too_many = FAILURES_MAX < record.recent.len();
        match self {
            Self::Quarantined if record.quarantined || too_many => {
                record.quarantined = true;
                Verdict::Quarantine
            }
            Self::Quarantined | Self::Endless => Verdict::RestartAfter(wait(record.quick, jitter)),
        }
    }
}

/// How many failures of its singletons Root bears; beyond that the process exits and systemd starts it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    pub failures: usize,
    pub window: SignedDuration,
}

impl Default for Intensity {
    /// 10 in 60 s (docs/BEHAVIOUR.md 11, "Parts that fail").
    fn default() -> Self {
        Self { failures: 10, window: SignedDuration::from_secs(60) }
    }
}

/// What Root does after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    GoOn,
    GiveUp,
}

impl Intensity {
    /// Judges a failure of a singleton at `now`; `recent` holds those before it.
    pub fn on_failure(self, recent: &mut VecDeque<Timestamp>, now: Timestamp) -> Outcome {
        keep_window(recent, now, self.window, self.failures);
        recent.push_back(now);
        if self.failures < recent.len() { Outcome::GiveUp } else { Outcome::GoOn }
    }
}

/// Drops failures that the window has left behind, and the oldest beyond `max`.
fn keep_window(
    recent: &mut VecDeque<Timestamp>,
    now: Timestamp,
    window: SignedDuration,
    max: usize,
) {
    recent.retain(|failure| now.duration_since(*failure) < window);
    while max < recent.len() {
        recent.pop_front();
    }
}

fn wait(quick: u32, jitter: f64) -> SignedDuration {
    if quick <= 1 {
        return SignedDuration::ZERO;
    }
    let doublings = (quick - 2).min(16); // 20 ms × 2^16 is far beyond the longest wait
    let full = WAIT_FIRST.saturating_mul(1 << doublings).min(WAIT_MAX).as_secs_f64();
    let spread = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
    SignedDuration::try_from_secs_f64(full * (0.5 + 0.5 * spread)).unwrap_or(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `fail@0` fails at that millisecond, `start@5` runs from then on; the verdicts in milliseconds,
    /// `Q` for quarantine, `*` where the next start begins from fresh facts.
    #[track_caller]
    fn check(patience: Patience, script: &str, expected: &str) {
        let mut record = Record::default();
        let mut said = Vec::new();
        for word in script.split(' ') {
            let (name, at) = word.split_once('@').unwrap();
            let now = Timestamp::from_millisecond(at.parse().unwrap()).unwrap();
            match name {
                "start" => record.started(now),
                "fail" => {
                    let fresh = |record: &Record| if record.fresh_facts() { "*" } else { "" };
                    said.push(match patience.on_failure(&mut record, now, 1.0) {
                        Verdict::RestartAfter(wait) => {
                            format!("{}{}", wait.as_millis(), fresh(&record))
                        }
                        Verdict::Quarantine => "Q".to_owned(),
                    });
                }
                other => panic!("unknown word {other}"),
            }
        }
        assert_eq!(said.join(" "), expected, "{script}");
    }

    #[test]
    fn at_once_then_twice_as_long_then_quarantine() {
        use Patience::{Endless, Quarantined};
        let storm = "fail@0 fail@1 fail@2 fail@3 fail@4 fail@5 fail@6";
        check(Quarantined, storm, "0 20 40* 80* 160* 320* Q");
        check(Endless, storm, "0 20 40* 80* 160* 320* 640*");
        check(Quarantined, "start@0 fail@5 start@6 fail@60006 start@60007 fail@60008", "0 0 20");
        check(Quarantined, "fail@0 start@1 fail@60000", "0 20");
        let slow =
            "fail@0 fail@9000 fail@18000 fail@27000 fail@36000 fail@45000 fail@54000 fail@63000";
        check(Quarantined, slow, "0 20 40* 80* 160* 320* 640* 1280*");
    }

    #[test]
    fn a_half_open_try_that_fails_is_quarantine_again_and_a_minute_of_life_ends_it() {
        let storm = "fail@0 fail@1 fail@2 fail@3 fail@4 fail@5 fail@6";
        let quarantine = "0 20 40* 80* 160* 320* Q";
        let again = format!("{storm} start@300000 fail@301000");
        check(Patience::Quarantined, &again, &format!("{quarantine} Q"));
        let mended = format!("{storm} start@300000 fail@360000");
        check(Patience::Quarantined, &mended, &format!("{quarantine} 0"));
    }

    #[test]
    fn the_wait_never_exceeds_half_a_minute_whatever_the_jitter() {
        for jitter in [0.0, 0.3, 1.0, -5.0, 7.0, f64::NAN, f64::INFINITY] {
            for quick in [1, 2, 3, 12, 100, u32::MAX] {
                let wait = wait(quick, jitter);
                assert!(
                    SignedDuration::ZERO <= wait && wait <= WAIT_MAX,
                    "{quick} {jitter}: {wait}"
                );
            }
        }
        assert_eq!(wait(100, 0.0), WAIT_MAX / 2);
    }

    #[test]
    fn root_bears_ten_failures_in_a_minute() {
        let second = |at| Timestamp::from_second(at).unwrap();
        let mut recent = VecDeque::new();
        for at in 0..10 {
            assert_eq!(Intensity::default().on_failure(&mut recent, second(at)), Outcome::GoOn);
        }
        let mut later = recent.clone();
        assert_eq!(Intensity::default().on_failure(&mut recent, second(59)), Outcome::GiveUp);
        assert_eq!(Intensity::default().on_failure(&mut later, second(60)), Outcome::GoOn);
    }
}
