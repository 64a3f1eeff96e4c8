//! Agents that beat in the background, all at one pace, until each of them is killed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use redis::{AsyncConnectionConfig, Client, Pipeline, aio::MultiplexedConnection};

use super::{server::Background, wait};

/// An agent gives up a beat that takes longer and sends the next one: it has better things to do.
const PATIENCE: Duration = Duration::from_millis(400);

/// The agents; all end with their owner.
pub(crate) struct Beats {
    alive: Arc<Mutex<BTreeSet<String>>>,
    _running: Background,
}

impl Beats {
    /// `GET /ping/{agent}` on this port of loopback.
    pub(crate) fn over_http(port: u16, agents: &[&str], every: Duration) -> Self {
        Self::start(agents, async move |alive| {
            let http = reqwest::Client::builder()
                .no_proxy()
                .tls_built_in_root_certs(false)
                .timeout(PATIENCE)
                .build()
                .expect("a plain client can be built");
            loop {
                let agents = alive.lock().expect("no beat panics").clone();
                let url = |agent: &String| format!("http://127.0.0.1:{port}/ping/{agent}");
                // Refused or unanswered, it is the listener's trouble.
                let _ = join_all(agents.iter().map(|it| http.get(url(it)).send())).await;
                wait::pause(every).await;
            }
        })
    }

    /// `PUBLISH agents:heartbeat:{agent}`, on a new connection whenever the old one fails.
    pub(crate) fn over_redis(url: &str, agents: &[&str], every: Duration) -> Self {
        let client = Client::open(url).expect("a URL");
        Self::start(agents, async move |alive| {
            let mut connection = None;
            loop {
                let agents = alive.lock().expect("no beat panics").clone();
                connection = publish(&client, connection, agents).await;
                wait::pause(every).await;
            }
        })
    }

    /// This agent beats no more. Returns when that was.
    #[track_caller]
    pub(crate) fn kill(&self, agent: &str) -> Instant {
        assert!(self.alive.lock().expect("no beat panics").remove(agent), "{agent} is alive");
        wait::now()
    }

    fn start<Loop>(agents: &[&str], beat: impl FnOnce(Arc<Mutex<BTreeSet<String>>>) -> Loop) -> Self
    where
        Loop: Future<Output = ()> + Send + 'static,
    {
        let alive = Arc::new(Mutex::new(agents.iter().map(ToString::to_string).collect()));
        let running = Background::new();
        running.spawn(beat(Arc::clone(&alive)));
        Self { alive, _running: running }
    }
}

/// One round. Returns the connection while it works.
async fn publish(
    client: &Client,
    connection: Option<MultiplexedConnection>,
    agents: BTreeSet<String>,
) -> Option<MultiplexedConnection> {
    let mut connection = if let Some(connection) = connection {
        connection
    } else {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        tokio::time::timeout(PATIENCE, connecting).await.ok()?.ok()?
    };
    let mut round = Pipeline::new();
    for agent in agents {
        round.publish(format!("agents:heartbeat:{agent}"), r#"{"status":"ok"}"#).ignore();
    }
    round.exec_async(&mut connection).await.is_ok().then_some(connection)
}
