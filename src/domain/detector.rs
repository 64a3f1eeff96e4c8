//! Detector: how long a silence is too long.

/// How silence is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The timeout, nothing else.
    Fixed,
    /// Phi accrual over the last 200 intervals; never later than the timeout.
    Adaptive,
}

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
