//! Composition root: configuration → running tree → stop.

pub mod house;
