//! Lock: one atalaya per state folder.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// Held as long as this lives; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct LifeLock {
    _file: File,
}

/// Why the folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another atalaya{} works with {}: stop it first, or set another state_dir",
        .pid.map_or_else(String::new, |pid| format!(" (pid {pid})")), .folder.display())]
    Held { folder: PathBuf, pid: Option<u32> },
    #[error("could not lock the state folder {}", .folder.display())]
    Failed {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl LifeLock {
    /// Locks `folder` (made where it is missing) by the file `lock` in it, which holds our pid.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be written.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Failed { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join("lock"))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(LockError::Held { folder: folder.to_owned(), pid: holder(&mut file) });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        // The pid is for people: on a full disk the lock holds without it.
        let _ = write_pid(&mut file);
        Ok(Self { _file: file })
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_with_the_pid_of_the_first_until_that_ends() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let first = LifeLock::acquire(&state).unwrap();
        let refused = LifeLock::acquire(&state).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains(&format!("(pid {})", std::process::id())), "{said}");
        assert!(said.contains(&*state.to_string_lossy()), "{said}");
        drop(first);
        LifeLock::acquire(&state).unwrap();
    }

    #[test]
    fn the_lock_is_seen_by_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let lock = LifeLock::acquire(folder.path()).unwrap();
        let free = || {
            std::process::Command::new("flock")
                .arg("--nonblock")
                .arg(folder.path().join("lock"))
                .arg("true")
                .status()
                .expect("flock of util-linux is there")
                .success()
        };
        assert!(!free());
        drop(lock);
        assert!(free());
    }
}
