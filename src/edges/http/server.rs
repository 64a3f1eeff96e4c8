//! Servers: the router over TCP and over a Unix socket, with as many connections as we can afford.

use std::{
    convert::Infallible,
    future::Future,
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::{
    fs::Mode,
    process::{Resource, getrlimit},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::{HttpState, door::TurnedAway, router};

/// Connections that wait to be accepted on the Unix socket.
const BACKLOG: u32 = 128;

/// Wait after a failed accept: the cause, too many open files, does not pass at once.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// An idle connection, or one whose head does not come to its end, is closed after this. Agents that beat less
/// often connect anew.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Connections open at once, each a few kilobytes, where descriptors are plenty.
const CONNECTIONS_MAX: usize = 10_000;

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Beyond these new ones wait, and so does our own proof.
    pub connections: usize,
    /// A connection that sends no whole head for this long is closed.
    pub head_within: Duration,
}

impl Room {
    /// For strangers: at most half of the descriptors, so that store, bus and receivers keep theirs.
    pub fn of_network() -> Self {
        Self::of(2)
    }

    /// For this machine's own: at most a quarter of them.
    pub fn of_machine() -> Self {
        Self::of(4)
    }

    fn of(share: u64) -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let affordable = usize::try_from(descriptors / share).unwrap_or(usize::MAX);
        Self { connections: affordable.clamp(1, CONNECTIONS_MAX), head_within: HEAD_WITHIN }
    }
}

/// Serves beats, health and `api` over TCP for as long as it is polled; dropping it closes what is open.
pub async fn serve_tcp(
    listener: TcpListener,
    state: HttpState,
    api: Router,
    room: Room,
) -> Infallible {
    let router = router(state.clone(), api);
    serve(listener, &router, &state, room).await
}

/// The same over a Unix socket, where beats need no token.
pub async fn serve_unix(
    listener: UnixListener,
    state: HttpState,
    api: Router,
    room: Room,
) -> Infallible {
    let state = state.trusted();
    let router = router(state.clone(), api);
    serve(listener, &router, &state, room).await
}

async fn serve<L: Accept>(
    listener: L,
    router: &Router,
    state: &HttpState,
    room: Room,
) -> Infallible {
    let permits = Arc::new(Semaphore::new(room.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(room.head_within);
    let mut open = JoinSet::new();
    loop {
        // The semaphore is never closed; without a permit a connection would only not be counted.
        let permit = Arc::clone(&permits).acquire_owned().await.ok();
        let stream = accept(&listener, state).await;
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        open.spawn(async move {
            // How one connection ends is its client's affair.
            let _ = connection.await;
            drop(permit);
        });
        while open.try_join_next().is_some() {}
    }
}

/// The next connection. That none can be accepted is told, and tried again.
async fn accept<L: Accept>(listener: &L, state: &HttpState) -> L::Stream {
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            Err(error) if of_one_connection(&error) => {}
            Err(_) => {
                state.turn_away(state.now(), TurnedAway::Descriptors);
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Why a Unix socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("another process answers on {}", .0.display())]
    Taken(PathBuf),
    #[error("{} is in the way and is no socket", .0.display())]
    NotSocket(PathBuf),
    #[error("cannot make the socket {}", path.display())]
    Make { path: PathBuf, source: io::Error },
}

/// Makes the socket file with mode 0600, or 0660 for `group`. It has its mode from its first moment. A file that an
/// earlier process left is removed only if nobody answers on it.
pub async fn bind_unix(path: &Path, group: Option<u32>) -> Result<UnixListener, SocketError> {
    let failed = |source: io::Error| SocketError::Make { path: path.to_owned(), source };
    match tokio::fs::symlink_metadata(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotSocket(path.to_owned()));
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tokio::fs::remove_file(path).await.map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
            Ok(_) => return Err(SocketError::Taken(path.to_owned())),
        },
    }
    let socket = UnixSocket::new_stream().map_err(failed)?;
    // Linux gives the file the mode that the socket has when it is bound, so nobody slips in before.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
    socket.bind(path).map_err(failed)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(failed)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o660)).map_err(failed)?;
    }
    socket.listen(BACKLOG).map_err(failed)
}

/// What TCP and Unix listeners have in common.
trait Accept: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // Answers are small; waiting to fill a packet would only delay them.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
    }
}

fn of_one_connection(error: &io::Error) -> bool {
    [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::InvalidInput,
    ]
    .contains(&error.kind())
}
