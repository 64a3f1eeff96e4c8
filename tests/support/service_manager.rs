//! The far end of `$NOTIFY_SOCKET`, as systemd has it: keeps what it is told, line by line.

use std::{os::unix::net::UnixDatagram, path::Path, sync::Mutex, time::Duration};

use super::wait;

/// Ends with its owner.
pub(crate) struct ServiceManager {
    socket: UnixDatagram,
    lines: Mutex<Vec<String>>,
}

impl ServiceManager {
    /// Listens at `path`, which `$NOTIFY_SOCKET` is to name.
    pub(crate) fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket can be bound");
        socket.set_nonblocking(true).expect("a socket can be made non-blocking");
        Self { socket, lines: Mutex::default() }
    }

    /// Everything that was said so far, a line each.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut lines = self.lines.lock().expect("nobody panics with the lines in hand");
        let mut datagram = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines.clone()
    }

    /// How often exactly this was said.
    pub(crate) fn count(&self, line: &str) -> usize {
        self.told().iter().filter(|it| *it == line).count()
    }

    /// Waits for the line that holds all these words; fails the test with what was said.
    pub(crate) async fn hears(&self, deadline: Duration, words: &[&str]) -> String {
        let found = wait::within(deadline, async || {
            self.told().into_iter().find(|line| words.iter().all(|it| line.contains(it)))
        });
        found.await.unwrap_or_else(|| panic!("never said {words:?}: {:?}", self.told()))
    }
}
