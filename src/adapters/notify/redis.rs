//! Redis: every incident published on the channels that the fleet already reads
//! (docs/reference/formats.md, "What atalaya publishes on Redis").

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::timeout};

use super::{BadSettings, Kind, incident, not_for_this};
use crate::{
    domain::delivery::{Body, Delivery, Event},
    ports::{
        Pending,
        notifier::{Attempt, Context, Notifier},
    },
};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for the answer to a publication; what makes a half-open connection known.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

pub const KIND: Kind = Kind {
    name: "redis",
    about: "the channels <prefix>:alerts and <prefix>:incidents of a Redis",
    human: false,
    attempt_max: Duration::from_secs(CONNECT_TIMEOUT.as_secs() + RESPONSE_TIMEOUT.as_secs()),
};

#[derive(Debug, Clone)]
pub struct Settings {
    /// May hold a password.
    pub url: SecretString,
    /// `binaryrogue` in the compatibility profile.
    pub prefix: String,
}

/// Holds one connection of its own, made at the first message and again after any failure. (The crate's
/// connection manager gives up after six tries and wakes on a command alone; this needs neither.)
pub struct Redis {
    client: Client,
    alerts: String,
    incidents: String,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// Asks nothing of the network.
///
/// # Errors
/// The address cannot be understood, or the prefix cannot be a part of a channel's name.
pub fn new(settings: &Settings) -> Result<Redis, BadSettings> {
    let prefix = &settings.prefix;
    if prefix.is_empty() || prefix.chars().any(|it| it.is_whitespace() || it.is_control()) {
        return Err(BadSettings::Prefix(prefix.clone()));
    }
    Ok(Redis {
        client: Client::open(settings.url.expose_secret()).map_err(BadSettings::Redis)?,
        alerts: format!("{prefix}:alerts"),
        incidents: format!("{prefix}:incidents"),
        connection: Mutex::new(None),
    })
}

impl Notifier for Redis {
    fn send<'a>(&'a self, delivery: &'a Delivery, _: &'a Context) -> Pending<'a, Attempt> {
        Box::pin(async move {
            let Body::Event(event) = &delivery.body else { return not_for_this() };
            let incident = match incident(event) {
                Ok(incident) => incident,
                Err(refused) => return refused,
            };
            let both = (alert(delivery, event), details(delivery, event, &incident));
            // Those who wait for one another's connection attempts are bounded as a whole.
            let why = match timeout(KIND.attempt_max, self.publish(&both.0, &both.1)).await {
                Ok(Ok(())) => return Attempt::Accepted { reference: None },
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            Attempt::Again { after: None, why: format!("cannot publish on Redis: {why}") }
        })
    }
}

impl Redis {
    /// Both or neither, so that a second attempt doubles nothing.
    async fn publish(&self, alert: &str, details: &str) -> Result<(), RedisError> {
        let mut connection = self.connection().await?;
        let mut both = redis::pipe();
        both.atomic().publish(&self.alerts, alert).ignore();
        both.publish(&self.incidents, details).ignore();
        let published = both.query_async(&mut connection).await;
        if published.is_err() {
            *self.connection.lock().await = None;
        }
        published
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

fn alert(delivery: &Delivery, event: &Event) -> String {
    json!({
        "level": delivery.severity.word(),
        "source": event.source,
        "message": event.message,
        "timestamp": format!("{:.3}", delivery.created_at),
    })
    .to_string()
}

fn details(delivery: &Delivery, event: &Event, incident: &Value) -> String {
    json!({
        "incident_id": delivery.incidents.first().map(|it| it.0),
        "severity": delivery.severity.word(),
        "status": event.status,
        "details": incident,
    })
    .to_string()
}
