//! Redis: one connection that is held for publishing, made at the first message and again after any failure.
//! (The crate's connection manager gives up after six tries and wakes on a command alone; this needs neither.)

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError, aio::MultiplexedConnection};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

/// Longest wait for a connection.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for the answer to a publication; what makes a half-open connection known.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The address is a secret, so the error does not repeat it.
#[derive(Debug, thiserror::Error)]
#[error("cannot understand the address of Redis")]
pub struct BadAddress(#[source] RedisError);

pub(super) struct Held {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Held {
    /// Asks nothing of the network.
    pub(super) fn new(url: &SecretString) -> Result<Self, BadAddress> {
        let client = Client::open(url.expose_secret()).map_err(BadAddress)?;
        Ok(Self { client, connection: Mutex::new(None) })
    }

    /// Sends commands whose answers say nothing; a connection on which that failed is not used again.
    pub(super) async fn ask(&self, commands: &Pipeline) -> Result<(), RedisError> {
        let mut connection = self.connection().await?;
        let asked = commands.query_async(&mut connection).await;
        if asked.is_err() {
            *self.connection.lock().await = None;
        }
        asked
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref() {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(held.insert(made).clone())
    }
}
