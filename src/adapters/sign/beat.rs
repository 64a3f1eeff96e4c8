//! Beat: our own, on the channel on which the agents of the profile `binaryrogue` beat
//! (docs/reference/formats.md, "What atalaya publishes on Redis").

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use serde_json::json;

use crate::{
    adapters::redis::Held,
    ports::{Pending, clock::Clock, sign::Sign},
};

pub use crate::adapters::redis::BadAddress;

/// Its part is `self/beat`.
pub const NAME: &str = "beat";

#[derive(Debug)]
pub struct Settings {
    /// May hold a password.
    pub url: SecretString,
    /// Before `:heartbeats`.
    pub prefix: String,
    /// As whom we beat.
    pub own_id: String,
    pub every: Duration,
}

pub struct Beat {
    held: Held,
    channel: String,
    own_id: String,
    every: Duration,
    clock: Arc<dyn Clock>,
}

impl Beat {
    /// Asks nothing of the network.
    ///
    /// # Errors
    /// The address cannot be understood.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, BadAddress> {
        let Settings { url, prefix, own_id, every } = settings;
        let channel = format!("{prefix}:heartbeats");
        Ok(Self { held: Held::new(&url)?, channel, own_id, every, clock })
    }
}

impl Sign for Beat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn every(&self) -> Duration {
        self.every
    }

    fn give(&self) -> Pending<'_, Result<(), String>> {
        Box::pin(async move {
            let beat = json!({
                "agent_id": self.own_id,
                "status": "alive",
                // The wall clock: others compare it with theirs.
                "timestamp": format!("{:.3}", self.clock.wall()),
            });
            let mut publish = ::redis::pipe();
            publish.publish(&self.channel, beat.to_string()).ignore();
            let published = self.held.ask(&publish).await;
            published.map_err(|error| format!("cannot publish on {}: {error}", self.channel))
        })
    }
}
