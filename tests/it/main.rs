//! The whole process: the real binary against real servers and strict fakes, one file per story.

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod away;
mod blind;
mod clocks;
mod command_line;
mod demo;
mod doctor;
mod door;
mod edits;
mod exec;
mod fleet;
mod harness;
mod heard;
mod heartbeat_map;
mod once;
mod settings;
mod signs;
mod snippets;
mod store;
mod telling;
