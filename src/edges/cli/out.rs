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

/// Prints one line at once, of a call that goes on.
///
/// # Errors
/// When nobody reads it any more.
pub(super) fn line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}

/// Says one line at once, of a call that goes on, beside what it prints.
pub(super) fn remark(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
