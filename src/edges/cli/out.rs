//! Out: the only place that writes to the terminal. A reader that went away (`| head`) is no error.

use std::io::{self, Write as _};

use super::Ended;

/// Prints what a call had to say.
pub(super) fn write(ended: &Ended) {
    let said = io::stdout().lock().write_all(&ended.out);
    let complained = io::stderr().lock().write_all(ended.errors.as_bytes());
    // Nobody is left to be told of a failed write.
    drop((said, complained));
}

/// Says one line at once, of a call that goes on.
pub(super) fn remark(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
