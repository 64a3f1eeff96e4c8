//! Sources made real.
