//! The whole process: the real binary against real servers and strict fakes, one file per story.

#[path = "../support/mod.rs"]
mod support;

mod away;
mod blind;
mod clocks;
mod door;
mod harness;
mod heard;
mod snippets;
