//! Out: the only place that writes to the terminal. A reader that went away (`| head`) is no error.

use std::io::{self, Write as _};

/// To standard output, with a line break behind it.
pub(super) fn say(text: &str) {
    written(writeln!(io::stdout().lock(), "{}", text.trim_end_matches('\n')));
}

/// To standard output, as it is.
pub(super) fn raw(bytes: &[u8]) {
    written(io::stdout().lock().write_all(bytes));
}

/// To standard error: what went wrong.
pub(super) fn complain(text: &str) {
    written(writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n')));
}

/// Nobody is left to be told of a failed write.
fn written(result: io::Result<()>) {
    drop(result);
}
