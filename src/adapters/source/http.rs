//! HTTP as a source: its beats come in through the edge; what runs here is the proof that the edge can be
//! reached, a request of our own through our own listener on a connection of its own.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{Hearing, PROOF_IDLE, PROOF_WITHIN, RETRY_AFTER, due};
use crate::{
    domain::id::SourceId,
    ports::{
        Pending,
        clock::Clock,
        source::{Ear, Source, SourceEnded},
    },
    wire::echo,
};

/// Its watch is `source/http`.
pub const NAME: &str = "http";

/// Longest answer that is read, in bytes; ours has about 200.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Proves that beats can come in through the HTTP edge.
pub struct Http {
    hearing: Hearing,
    address: SocketAddr,
    /// How many requests the edge had turned away at our last look.
    turned_away: AtomicU64,
}

impl fmt::Debug for Http {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Http").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Http {
    /// `bound` is where the edge listens; an unspecified address is reached over loopback.
    pub fn new(bound: SocketAddr, clock: Arc<dyn Clock>) -> Self {
        let ip = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        let address = SocketAddr::new(ip, bound.port());
        Self { hearing: Hearing::new(NAME, clock), address, turned_away: AtomicU64::new(0) }
    }

    /// Asks once. Requests that were turned away since the last time were beats that we did not hear.
    async fn prove(&self) -> Result<(), String> {
        let nonce = Uuid::new_v4().to_string();
        let answer = timeout(PROOF_WITHIN, self.ask(&nonce))
            .await
            .map_err(|_| {
                format!("our own request was not answered within {} s", PROOF_WITHIN.as_secs())
            })?
            .map_err(|error| {
                format!("cannot reach our own listener at {}: {error}", self.address)
            })?;
        let turned_away = echo::read_answer(&answer, &nonce)
            .ok_or_else(|| format!("our own request was refused: {}", first_line(&answer)))?;
        let before = self.turned_away.swap(turned_away, Relaxed);
        if before < turned_away {
            return Err(format!("{} requests were turned away", turned_away - before));
        }
        Ok(())
    }

    async fn ask(&self, nonce: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(echo::request(self.address, nonce).as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Source for Http {
    fn name(&self) -> &str {
        NAME
    }

    fn run(&self, ear: Arc<dyn Ear>, id: SourceId) -> Pending<'_, SourceEnded> {
        Box::pin(async move {
            loop {
                let asked = self.hearing.clock.now();
                match self.prove().await {
                    Ok(()) => {
                        self.hearing.proved(&*ear, id, asked);
                        due(&*ear, id, PROOF_IDLE).await;
                    }
                    Err(why) => {
                        self.hearing.blind(&*ear, id, &why);
                        sleep(RETRY_AFTER).await;
                    }
                }
            }
        })
    }
}

fn first_line(answer: &str) -> &str {
    answer.lines().next().unwrap_or("an empty answer")
}
