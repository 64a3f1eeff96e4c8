//! Detector: how long a silence is too long. `fixed` knows the timeout alone; `adaptive` is a phi
//! accrual detector (Hayashibara et al., 2004): phi(t) = -log10 P(an interval is longer than t),
//! with intervals taken as normal with the mean and deviation that were seen (docs/BEHAVIOUR.md 3).

use jiff::SignedDuration;

/// How silence is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The timeout, nothing else.
    Fixed,
    /// Phi accrual over the last 200 intervals; never later than the timeout.
    Adaptive,
}

/// From so many samples on the rhythm is believed.
pub const SAMPLES_MIN: u32 = 20;
/// Beyond so many samples old ones fade: each new one then weighs 1/200.
pub const SAMPLES_MAX: u32 = 200;
/// Intervals kept for the picture.
pub const RECENT_MAX: usize = 12;

/// Phi 8 in deviations beyond the mean: the z with P(Z > z) = 10^-8 for a standard normal Z. As the
/// threshold is fixed, the silence at which it is crossed is exact, and no tail need be computed.
const DEVIATIONS_AT_PHI_8: f64 = 5.612_001_244_174_789;
/// A rhythm more regular than a tenth of its mean is not believed.
const DEVIATION_MIN: f64 = 0.1;

/// What the detector remembers of the intervals between beats.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rhythm {
    /// Samples taken, 200 at most (then old ones fade).
    pub count: u32,
    /// Seconds.
    pub mean: f64,
    /// Seconds squared.
    pub variance: f64,
    /// The longest interval that was taken as a sample, seconds.
    pub longest: f64,
    /// The last intervals in seconds, oldest first, for the picture; 12 at most.
    pub recent: Vec<f32>,
}

impl Rhythm {
    /// Takes an interval between two beats; one that is not positive is no sample. Up to 200 samples
    /// mean and variance are exact, from there on they fade exponentially.
    pub fn take(&mut self, interval: SignedDuration) {
        let seconds = interval.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        self.count = self.count.saturating_add(1).min(SAMPLES_MAX);
        let weight = 1.0 / f64::from(self.count);
        let delta = seconds - self.mean;
        self.mean += delta * weight;
        self.variance = (1.0 - weight) * (self.variance + delta * delta * weight);
        self.longest = self.longest.max(seconds);
        if self.recent.len() < RECENT_MAX {
            self.recent.reserve_exact(RECENT_MAX - self.recent.len());
        } else {
            self.recent.drain(..=self.recent.len() - RECENT_MAX);
        }
        #[expect(clippy::cast_possible_truncation, reason = "a picture needs no more precision")]
        self.recent.push(seconds as f32);
    }
}

impl Kind {
    /// The longest silence that is still alive: strictly more is `down`. Adaptive: phi 8, but not before
    /// 2 × max(`interval`, mean) and never after `timeout`.
    pub fn limit(
        self,
        rhythm: &Rhythm,
        interval: SignedDuration,
        timeout: SignedDuration,
    ) -> SignedDuration {
        match self {
            Self::Fixed => timeout,
            Self::Adaptive if rhythm.count < SAMPLES_MIN => timeout,
            Self::Adaptive => {
                let deviation = rhythm.variance.max(0.0).sqrt().max(rhythm.mean * DEVIATION_MIN);
                let phi_8 = rhythm.mean + deviation * DEVIATIONS_AT_PHI_8;
                let floor = 2.0 * rhythm.mean.max(interval.as_secs_f64());
                // Facts come back from a store: what is no number falls back to the timeout.
                SignedDuration::try_from_secs_f64(phi_8.max(floor))
                    .map_or(timeout, |limit| limit.min(timeout))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(intervals: &[f64], samples: usize, limit_secs: f64) {
        let mut rhythm = Rhythm::default();
        for interval in intervals.iter().cycle().take(samples) {
            rhythm.take(SignedDuration::from_secs_f64(*interval));
        }
        let seconds = SignedDuration::from_secs;
        let limit = Kind::Adaptive.limit(&rhythm, seconds(30), seconds(90)).as_secs_f64();
        assert!((limit - limit_secs).abs() < 0.05, "{intervals:?} × {samples}: {limit}");
        assert_eq!(Kind::Fixed.limit(&rhythm, seconds(30), seconds(90)), seconds(90));
    }

    #[test]
    fn a_regular_rhythm_is_told_early_and_none_later_than_the_timeout() {
        check(&[30.0], 19, 90.0);
        check(&[30.0], 20, 60.0);
        check(&[30.0], 1_000, 60.0);
        check(&[1.0], 200, 60.0); // not before twice the interval that was promised
        check(&[25.0, 35.0], 200, 60.0); // 30 + 5.612 × 5 = 58.06
        check(&[24.0, 36.0], 200, 63.67); // 30 + 5.612 × 6
        check(&[5.0, 55.0], 200, 90.0);
        check(&[40.0], 200, 80.0); // twice the mean
        check(&[0.0, -5.0], 200, 90.0);
    }

    #[test]
    fn a_new_rhythm_is_learnt_and_the_old_one_fades() {
        let mut rhythm = Rhythm::default();
        let seconds = SignedDuration::from_secs;
        for interval in [[30; 500], [10; 500], [10; 500], [10; 500]].concat() {
            rhythm.take(seconds(interval));
        }
        assert_eq!((rhythm.count, rhythm.recent.len()), (SAMPLES_MAX, RECENT_MAX));
        assert!((rhythm.mean - 10.0).abs() < 0.1 && rhythm.variance < 0.5, "{rhythm:?}");
        assert!((rhythm.longest - 30.0).abs() < 1e-9);
        let limit = Kind::Adaptive.limit(&rhythm, seconds(10), seconds(90));
        assert_eq!(limit.as_secs(), 20);
    }

    #[test]
    fn nonsense_from_a_store_falls_back_to_the_timeout() {
        for (mean, variance) in [(f64::NAN, f64::NAN), (f64::INFINITY, 1.0), (1e300, 1e300)] {
            let rhythm = Rhythm { count: 200, mean, variance, ..Rhythm::default() };
            let seconds = SignedDuration::from_secs;
            let limit = Kind::Adaptive.limit(&rhythm, seconds(30), seconds(90));
            assert!(seconds(60) <= limit && limit <= seconds(90), "{limit:?}");
        }
    }

    /// P(Z > z) by the continued fraction of the tail, which is exact to all digits from z = 3 on.
    #[test]
    fn phi_is_8_where_the_constant_says() {
        let z = DEVIATIONS_AT_PHI_8;
        let fraction = (1..=200).rev().fold(z, |below, k| z + f64::from(k) / below);
        let tail = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() / fraction;
        assert!((-tail.log10() - 8.0).abs() < 1e-9, "{tail:e}");
    }
}
