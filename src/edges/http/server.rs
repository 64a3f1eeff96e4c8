//! Servers: the router over TCP and over a Unix socket, with as many connections as we can afford.

use std::{
    future::Future,
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, serve::Listener};
use rustix::fs::Mode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{HttpState, door::TurnedAway, router};

/// Connections that wait to be accepted on the Unix socket.
const BACKLOG: u32 = 128;

/// Wait after a failed accept: the cause, too many open files, does not pass at once.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Serves beats, health and `api` over TCP until `shutdown` resolves; open requests are then answered first. Beyond
/// `connections_max` new ones wait, and so does our own proof.
pub async fn serve_tcp(
    listener: TcpListener,
    state: HttpState,
    api: Router,
    connections_max: usize,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = router(state.clone(), api);
    serve(listener, router, state, connections_max, shutdown).await
}

/// The same over a Unix socket, where beats need no token.
pub async fn serve_unix(
    listener: UnixListener,
    state: HttpState,
    api: Router,
    connections_max: usize,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let state = state.trusted();
    let router = router(state.clone(), api);
    serve(listener, router, state, connections_max, shutdown).await
}

async fn serve<L: Accept>(
    listener: L,
    router: Router,
    state: HttpState,
    connections_max: usize,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(connections_max));
    let bounded = Bounded { listener, state, room };
    axum::serve(bounded, router).with_graceful_shutdown(shutdown).await
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

/// A listener that holds at most so many connections, and tells when none can be accepted.
struct Bounded<L> {
    listener: L,
    state: HttpState,
    room: Arc<Semaphore>,
}

impl<L: Accept> Listener for Bounded<L> {
    type Io = Held<L::Stream>;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, ()) {
        // The semaphore is never closed; without a permit a connection would only not be counted.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok(stream) => return (Held { stream, _permit: permit }, ()),
                Err(error) if of_one_connection(&error) => {}
                Err(_) => {
                    self.state.turn_away(self.state.now(), TurnedAway::Descriptors);
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
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

/// A connection and its place among those that we can afford.
struct Held<S> {
    stream: S,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
