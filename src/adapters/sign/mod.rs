//! Signs of life made real. None is given by a timer: Pulse gives them, and only while all is well.

pub mod beat;
pub mod deadman;
