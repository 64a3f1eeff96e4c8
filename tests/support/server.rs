//! A runtime and an HTTP server that die with their owner, connections included: what `tokio::spawn` leaves behind.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use axum::Router;
use tokio::runtime::{Builder, Runtime};

use super::{free_port, wait};

/// Tasks on a thread of their own, so that a busy test does not slow the fakes that judge it.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self(Some(runtime.expect("a runtime can be built")))
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime().spawn(task);
    }

    /// Makes `std` sockets into tokio's, which asks for the runtime that will drive them.
    pub(crate) fn adopt(&self, listener: TcpListener) -> tokio::net::TcpListener {
        let _inside = self.runtime().enter();
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        tokio::net::TcpListener::from_std(listener).expect("the runtime drives sockets")
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("taken on drop alone")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// An axum server on a port of its own that can refuse connections for a time.
pub(crate) struct Server {
    pub(crate) port: u16,
    router: Router,
    running: Option<Background>,
}

impl Server {
    pub(crate) async fn start(router: Router) -> Self {
        let mut server = Self { port: free_port(), router, running: None };
        server.start_again().await;
        server
    }

    /// Cuts every connection and refuses new ones.
    pub(crate) async fn stop(&mut self) {
        self.running = None;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        wait::eventually(Duration::from_secs(5), "the stopped server refuses", async || {
            TcpStream::connect(address).is_err().then_some(())
        })
        .await;
    }

    /// Serves again on the same port.
    pub(crate) async fn start_again(&mut self) {
        let address = (Ipv4Addr::LOCALHOST, self.port);
        let listener =
            wait::eventually(Duration::from_secs(5), "the port is free again", async || {
                TcpListener::bind(address).ok()
            })
            .await;
        let background = Background::new();
        let listener = background.adopt(listener);
        let router = self.router.clone();
        background.spawn(async move {
            axum::serve(listener, router).await.expect("axum serves until it is dropped");
        });
        self.running = Some(background);
    }
}

/// Ends the connection without an answer: unwinds out of the connection's task, past the panic hook.
pub(crate) fn close_connection() -> ! {
    std::panic::resume_unwind(Box::new("closed on purpose"))
}
