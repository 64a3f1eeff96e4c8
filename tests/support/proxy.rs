//! A TCP proxy on loopback that can go half-open, cut and delay: "packets dropped" without root.

use std::{net::Ipv4Addr, net::TcpListener, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use super::{free_port, server::Background, wait};

/// What the proxy does with the bytes between the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Connections are accepted and stay up, nothing is forwarded; what was held back goes on when it passes
    /// again, as TCP's retransmissions would.
    HalfOpen,
    /// Every piece waits this long.
    Delay(Duration),
    /// New connections are closed at once; old ones are cut.
    Drop,
}

#[derive(Clone, Copy)]
struct Rule {
    mode: Mode,
    /// Grows at each cut; a connection ends when it differs from what it began with.
    cuts: u64,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    rule: watch::Sender<Rule>,
    _running: Background,
}

impl Proxy {
    /// Forwards from a port of its own to this port of loopback.
    pub(crate) fn start(target: u16) -> Self {
        let port = free_port();
        let (rule, watched) = watch::channel(Rule { mode: Mode::Pass, cuts: 0 });
        let running = Background::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is ours");
        let listener = running.adopt(listener);
        running.spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                open.spawn(carry(client, target, watched.clone()));
                while open.try_join_next().is_some() {}
            }
        });
        Self { port, rule, _running: running }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.rule.send_modify(|rule| {
            rule.mode = mode;
            rule.cuts += u64::from(mode == Mode::Drop);
        });
    }

    /// Cuts what is open; the mode stays.
    pub(crate) fn cut(&self) {
        self.rule.send_modify(|rule| rule.cuts += 1);
    }
}

async fn carry(client: TcpStream, target: u16, rule: watch::Receiver<Rule>) {
    let began = *rule.borrow();
    if began.mode == Mode::Drop {
        return;
    }
    tokio::select! {
        () = connect(client, target, rule.clone()) => {}
        () = until_cut(began.cuts, rule) => {}
    }
}

async fn connect(client: TcpStream, target: u16, mut rule: watch::Receiver<Rule>) {
    // A half-open network would not reach the target either.
    if rule.wait_for(|it| it.mode != Mode::HalfOpen).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = forward(from_client, to_server, rule.clone()) => {}
        () = forward(from_server, to_client, rule) => {}
    }
}

async fn until_cut(began: u64, mut rule: watch::Receiver<Rule>) {
    // An error means that the proxy is gone, which cuts the connection too.
    let _ = rule.wait_for(|it| it.cuts != began).await;
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut rule: watch::Receiver<Rule>,
) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let Ok(mode) = rule.wait_for(|it| it.mode != Mode::HalfOpen).await.map(|it| it.mode) else {
            return;
        };
        if let Mode::Delay(length) = mode {
            wait::pause(length).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
    // The other side may have closed while the network was half-open: it does not learn of it either.
    let _ = rule.wait_for(|it| it.mode != Mode::HalfOpen).await;
}
