//! Composition root: configuration → running tree → stop.

pub mod build;
pub mod daemon;
mod doctor;
pub mod faces;
pub mod files;
pub mod first_words;
pub mod house;
pub mod local;
pub mod logging;
mod once;
pub mod presses;

use std::process::ExitCode;

use crate::edges::cli;

/// Does what the command line asks.
pub fn main() -> ExitCode {
    cli::main(std::env::args_os(), &local::Here::of_process())
}
