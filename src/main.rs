//! The binary: parses the arguments and calls the composition root; nothing else.

use std::{path::Path, process::ExitCode};

use atalaya::{
    domain::registry::Wanted,
    edges::cli::{
        self,
        local::{Checked, Files, Local, Reach, Which},
    },
};

fn main() -> ExitCode {
    cli::main(std::env::args_os(), &Afar)
}

/// Asks daemons and is none: the composition root takes this place.
struct Afar;

const NONE: &str = "error: this build asks daemons and is none";

impl Local for Afar {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn run(&self, _: &Files) -> u8 {
        2
    }

    fn check(&self, _: &Files, _: bool, _: bool) -> Checked {
        Checked { text: NONE.to_owned(), ok: false }
    }

    fn wanted(&self, _: &Files) -> Result<Wanted, String> {
        Err(NONE.to_owned())
    }

    fn schema(&self, _: Which) -> String {
        NONE.to_owned()
    }

    fn reach(&self, _: Option<&Path>) -> Result<Option<Reach>, String> {
        Ok(None)
    }
}
