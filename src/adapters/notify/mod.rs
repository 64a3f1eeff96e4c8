//! Receivers made real.
