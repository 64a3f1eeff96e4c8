//! Dead-man ping: a request to an address of the user's. Who runs that address tells him when none comes.

use std::{fmt, time::Duration};

use reqwest::{Client, Method, Url};

use crate::{
    ports::{Pending, sign::Sign},
    wire::http,
};

/// Its part is `self/deadman`.
pub const NAME: &str = "deadman";

pub struct Settings {
    /// The path is a secret with most who offer this: whoever knows it can keep the watch "alive".
    pub url: Url,
    pub post: bool,
    pub every: Duration,
}

impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings")
            .field("host", &self.url.host_str())
            .field("post", &self.post)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub struct Deadman {
    settings: Settings,
    client: Client,
}

impl Deadman {
    pub fn new(settings: Settings, client: Client) -> Self {
        Self { settings, client }
    }
}

impl Sign for Deadman {
    fn name(&self) -> &'static str {
        NAME
    }

    fn every(&self) -> Duration {
        self.settings.every
    }

    fn give(&self) -> Pending<'_, Result<(), String>> {
        Box::pin(async move {
            let method = if self.settings.post { Method::POST } else { Method::GET };
            let asked = self.client.request(method, self.settings.url.clone()).send().await;
            let status = asked.map_err(http::chain)?.status();
            if status.is_success() {
                return Ok(());
            }
            if status.is_redirection() {
                return Err(format!("it redirects ({status}): set `url` to where it is"));
            }
            Err(format!("it answers {status}"))
        })
    }
}
