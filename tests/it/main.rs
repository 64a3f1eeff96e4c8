//! The whole process: the real binary against real servers and strict fakes, one file per story.

#[path = "../support/mod.rs"]
mod support;

mod harness;
mod snippets;
mod telling;
