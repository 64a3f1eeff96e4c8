//! Redis: every incident published on the channels that the fleet already reads
//! (docs/reference/formats.md, "What atalaya publishes on Redis").

use std::time::Duration;

use ::redis::RedisError;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{BadSettings, Kind, incident, not_for_this};
use crate::{
    adapters::redis::{CONNECT_TIMEOUT, Held, RESPONSE_TIMEOUT},
    domain::delivery::{Body, Delivery, Event},
    ports::{
        Pending,
        notifier::{Ailment, Attempt, Context, Notifier},
    },
};

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

pub struct Redis {
    held: Held,
    alerts: String,
    incidents: String,
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
        held: Held::new(&settings.url)?,
        alerts: format!("{prefix}:alerts"),
        incidents: format!("{prefix}:incidents"),
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

    fn look(&self) -> Pending<'_, Result<String, Ailment>> {
        Box::pin(async move {
            let mut ping = ::redis::pipe();
            let asked = self.held.ask(ping.cmd("PING").ignore()).await;
            let mend = "start Redis, or mend its url; then: redis-cli -u \"$REDIS_URL\" ping";
            asked
                .map(|()| "answers PING".to_owned())
                .map_err(|error| Ailment::new(format!("no answer: {error}"), mend))
        })
    }
}

impl Redis {
    /// Both or neither, so that a second attempt doubles nothing.
    async fn publish(&self, alert: &str, details: &str) -> Result<(), RedisError> {
        let mut both = ::redis::pipe();
        both.atomic().publish(&self.alerts, alert).ignore();
        both.publish(&self.incidents, details).ignore();
        self.held.ask(&both).await
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
