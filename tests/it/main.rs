//! The whole process: the real binary against real servers and strict fakes, one file per story.

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod command_line;
mod edits;
mod harness;
mod settings;
mod store;
