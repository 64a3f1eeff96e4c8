//! A small disk of its own that can be filled and made read-only. Needs root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::skip;

/// A mounted tmpfs; goes with its owner.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Of 2 MiB, at `at`, or `None` after saying loudly why `test` is skipped.
    pub(crate) fn mount(test: &str, at: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip(test, "mounting a disk needs root");
            return None;
        }
        fs::create_dir_all(at).expect("the folder can be made");
        let disk = Self(at.to_owned());
        if !disk.run("mount", &["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"]) {
            skip(test, "no disk can be mounted here");
            return None;
        }
        Some(disk)
    }

    pub(crate) fn fill(&self) {
        let filled = fs::write(self.ballast(), vec![0; 4 << 20]);
        assert!(filled.is_err(), "the disk is full");
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.ballast()).expect("it was filled before");
    }

    /// Nobody may have a file of it open for writing.
    pub(crate) fn make_read_only(&self) {
        assert!(self.run("mount", &["-o", "remount,ro"]), "it can be made read-only");
    }

    pub(crate) fn make_writable(&self) {
        assert!(self.run("mount", &["-o", "remount,rw"]), "it can be made writable");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn run(&self, program: &str, words: &[&str]) -> bool {
        let mut command = Command::new(program);
        command.args(words).arg(&self.0).stdin(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|it| it.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a daemon may still have files of it open.
        self.run("umount", &["-l"]);
    }
}
