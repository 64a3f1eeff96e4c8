//! The binary: calls the composition root; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    atalaya::app::main()
}
