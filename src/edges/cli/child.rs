//! Child: a command that runs in our place. It has our terminal and our input, gets the signals that are meant for
//! it, and how it ends is how we end.
//!
//! ```text
//!  child ─pipe─▶ 64 KiB, counted ─▶ our standard output     (what is not counted it writes itself)
//!  signal ─▶ us ─▶ child             the child's end ─▶ what it had written is passed on ─▶ our end
//! ```

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    future::poll_fn,
    io::{self, ErrorKind, IsTerminal as _, PipeReader, PipeWriter, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{Command, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::fstat,
    io::ioctl_fionread,
    process::{Pid, Signal, getpgid, getpgrp, kill_process},
    termios::tcgetpgrp,
};
use tokio::{
    signal::unix::{Signal as Stream, SignalKind, signal},
    task::JoinHandle,
};

/// What is passed on at once: the whole of a usual pipe.
const BUFFER_BYTES: usize = 64 * 1024;

/// What whoever ends us sends; the command is to hear it.
const FORWARDED: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// Shells say so of a command that is not there, and of one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// A shell adds this to the number of the signal that ended a command.
const BY_SIGNAL: i32 = 128;

/// Which of its output is counted on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Nothing,
    /// What goes to a file or a pipe: a terminal stays the command's own.
    Files,
    Everything,
}

/// Why it does not run, with the code that shells give.
#[derive(Debug)]
pub(super) struct NotRun {
    pub(super) code: u8,
    pub(super) why: String,
}

/// A command at work.
pub(super) struct Child {
    process: tokio::process::Child,
    signals: Signals,
    passing: Vec<JoinHandle<()>>,
    /// Dropped when it has ended: those who pass its output on hear of it.
    alive: PipeWriter,
    /// Bytes that it has written, as far as they are counted; none: nothing is.
    pub(super) written: Option<Arc<AtomicU64>>,
}

impl Child {
    /// Starts `command`, a program and its arguments, with `name` and `value` added to its environment. Within a
    /// runtime.
    pub(super) fn start(
        command: &[OsString],
        variable: (&str, &str),
        counted: Counted,
    ) -> Result<Self, NotRun> {
        let program = command.first().map_or(OsStr::new(""), OsString::as_os_str);
        let refused = |error: io::Error| NotRun {
            code: if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN },
            why: format!("cannot run {}: {error}", program.display()),
        };
        // Before it runs, so that no signal falls in between.
        let signals = Signals::of_process().map_err(refused)?;
        let (ended, alive) = io::pipe().map_err(refused)?;
        let mut process = Command::new(program);
        process.args(command.get(1..).unwrap_or_default()).env(variable.0, variable.1);
        let pipes = pipes(&mut process, counted).map_err(refused)?;
        // The command is dropped with its ends of the pipes: else they would never be seen to close.
        let process = tokio::process::Command::from(process).spawn().map_err(refused)?;
        let written = (!pipes.is_empty()).then(Arc::<AtomicU64>::default);
        let mut passing = Vec::new();
        for (from, to) in pipes {
            let ended = ended.try_clone().map_err(refused)?;
            let written = written.clone().unwrap_or_default();
            passing.push(tokio::task::spawn_blocking(move || pass_on(from, to, &ended, &written)));
        }
        Ok(Self { process, signals, passing, alive, written })
    }

    /// Waits for its end, handing on what signals come; returns the code to end with.
    pub(super) async fn ends(&mut self) -> u8 {
        loop {
            let signal = tokio::select! {
                status = self.process.wait() => return status.map_or(NOT_RUN, code),
                signal = self.signals.next() => signal,
            };
            let pid = self.process.id().and_then(|it| Pid::from_raw(i32::try_from(it).ok()?));
            if let Some(pid) = pid.filter(|pid| !terminal_told(signal, *pid)) {
                // It may have ended just now.
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Waits until what it had written is passed on, unless we are to end at once.
    pub(super) async fn passed_on(self) {
        let Self { passing, alive, mut signals, .. } = self;
        drop(alive);
        tokio::select! {
            _ = futures_util::future::join_all(passing) => {}
            _ = signals.next() => {}
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(BY_SIGNAL + status.signal()?));
    code.and_then(|it| u8::try_from(it).ok()).unwrap_or(u8::MAX)
}

/// Whether a terminal has sent this to the command itself: it tells all processes in its foreground, and many a
/// program takes a second interrupt for impatience.
fn terminal_told(signal: Signal, child: Pid) -> bool {
    let own = getpgrp();
    let in_foreground = || {
        let terminal = File::open("/dev/tty").ok()?;
        Some(tcgetpgrp(&terminal).ok()? == own && getpgid(Some(child)).ok()? == own)
    };
    matches!(signal, Signal::INT | Signal::QUIT) && in_foreground().unwrap_or_default()
}

/// The signals that are handed on.
struct Signals(Vec<(Signal, Stream)>);

impl Signals {
    /// What is ignored (`nohup`, a background job) stays so, for us and for the command.
    fn of_process() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored(&status);
        let heard = FORWARDED.into_iter().filter(|it| ignored >> (it.as_raw() - 1) & 1 == 0);
        let stream = |it: Signal| Ok((it, signal(SignalKind::from_raw(it.as_raw()))?));
        heard.map(stream).collect::<io::Result<_>>().map(Self)
    }

    async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.0 {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The mask of ignored signals in `/proc/self/status`: bit 0 is signal 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).unwrap_or_default()
}

/// Gives the command pipes for what is counted, and says where each leads. Where both of its outputs lead to one
/// place they share a pipe, so that their order stays.
fn pipes(command: &mut Command, counted: Counted) -> io::Result<Vec<(PipeReader, File)>> {
    let counts = |is_terminal: bool| match counted {
        Counted::Nothing => false,
        Counted::Files => !is_terminal,
        Counted::Everything => true,
    };
    let (out, errors) = (io::stdout(), io::stderr());
    let counts_out = counts(out.is_terminal());
    let counts_errors = counts(errors.is_terminal());
    let own = |it: BorrowedFd<'_>| it.try_clone_to_owned().map(File::from);
    let mut pipes = Vec::new();
    if counts_out {
        let (from, to) = io::pipe()?;
        if counts_errors && same_place(out.as_fd(), errors.as_fd()) {
            command.stdout(to.try_clone()?).stderr(to);
            return Ok(vec![(from, own(out.as_fd())?)]);
        }
        command.stdout(to);
        pipes.push((from, own(out.as_fd())?));
    }
    if counts_errors {
        let (from, to) = io::pipe()?;
        command.stderr(to);
        pipes.push((from, own(errors.as_fd())?));
    }
    Ok(pipes)
}

fn same_place(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let place = |it| fstat(it).map(|it| (it.st_dev, it.st_ino)).ok();
    place(one).is_some_and(|it| place(other) == Some(it))
}

/// Passes all on that the command writes, byte for byte, no faster than it is read. When the command has ended,
/// what is in the pipe is its last; what it left running may hold the pipe for ever, and is not waited for.
fn pass_on(mut from: PipeReader, mut to: File, ended: &PipeReader, written: &AtomicU64) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left: Option<u64> = None;
    loop {
        if left.is_none() && has_ended(&from, ended) {
            left = Some(ioctl_fionread(&from).unwrap_or_default());
        }
        let room = left.map_or(BUFFER_BYTES, |it| usize::try_from(it).unwrap_or(BUFFER_BYTES));
        let room = &mut buffer[..room.min(BUFFER_BYTES)];
        let read = match from.read(room) {
            // The end of the output, or of what was left.
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let bytes = u64::try_from(read).unwrap_or_default();
        written.fetch_add(bytes, Ordering::Relaxed);
        left = left.map(|it| it.saturating_sub(bytes));
        // Nobody reads any more: the command learns it, as it would from a pipe of its own.
        if write_all(&mut to, &buffer[..read]).is_err() {
            return;
        }
    }
}

/// Waits for output or for the command's end; whether it has ended.
fn has_ended(from: &PipeReader, ended: &PipeReader) -> bool {
    loop {
        let mut waiting = [PollFd::new(from, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        match poll(&mut waiting, None) {
            Ok(_) => return !waiting[1].revents().is_empty(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

/// Like `Write::write_all`, also where another program has set our output not to block.
fn write_all(to: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(taken) => bytes = &bytes[taken..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut waiting = [PollFd::new(to, PollFlags::OUT)];
                let _ = poll(&mut waiting, None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_as_shells_tell_them() {
        for (raw, said) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143)] {
            assert_eq!(code(ExitStatus::from_raw(raw)), said, "{raw}");
        }
    }

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\tx\nSigBlk:\tffff\nSigIgn:\t0000000000001001\nSigCgt:\t0";
        assert_eq!(ignored(status), 0x1001, "HUP and PIPE");
        assert_eq!(ignored(""), 0);
    }

    /// What comes out of the pipe, and how much was counted; `held` stays open at the other end.
    fn passed(wrote: &[u8], held: bool) -> (Vec<u8>, u64) {
        let (from, mut to) = io::pipe().expect("a pipe");
        let (ended, alive) = io::pipe().expect("a pipe");
        let mut file = tempfile::tempfile().expect("a file");
        let copy = file.try_clone().expect("a copy");
        to.write_all(wrote).expect("it fits the pipe");
        let held = held.then(|| to.try_clone().expect("a copy"));
        drop((to, alive));
        let written = AtomicU64::default();
        pass_on(from, copy, &ended, &written);
        drop(held);
        let mut read = Vec::new();
        io::Seek::rewind(&mut file).expect("a file can be read again");
        file.read_to_end(&mut read).expect("a file can be read");
        (read, written.into_inner())
    }

    #[test]
    fn the_last_output_passed_on_though_others_hold_the_pipe() {
        for held in [false, true] {
            assert_eq!(passed(b"last\xff\0words", held), (b"last\xff\0words".to_vec(), 11));
            assert_eq!(passed(b"", held), (Vec::new(), 0));
        }
    }
}
