//! Settings: what the checked files say to the parts of the program, as plain data.

use std::{net::SocketAddr, path::PathBuf};

use jiff::{SignedDuration, tz::TimeZone};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::domain::{
    id::{Origin, ReceiverId, SourceId},
    text::Text,
};

/// atalaya.toml, merged with its layers and checked.
#[derive(Debug, Clone)]
pub struct Daemon {
    pub node: Node,
    pub http: Http,
    pub store: Store,
    /// None: no `url`.
    pub redis: Option<Redis>,
    /// None: no token.
    pub telegram: Option<Telegram>,
    pub delivery: Delivery,
    /// The file that is kept for other programs; none: none.
    pub heartbeat_map: Option<PathBuf>,
    /// None: nobody is told when this machine dies.
    pub deadman: Option<Deadman>,
    pub log: Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Zero: no digest.
    pub digest_every: SignedDuration,
    /// Nothing is sent but test messages.
    pub dry_run: bool,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub name: Text,
    pub timezone: TimeZone,
    pub state_dir: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Http {
    pub bind: SocketAddr,
    /// Without a slash at its end.
    pub public_url: Option<String>,
    pub socket: PathBuf,
    pub socket_group: Option<String>,
    /// Every request over TCP must show it; none: reading and pinging are free (loopback only), acting is not
    /// possible over TCP.
    pub token: Option<SecretString>,
    pub behind_proxy: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The SQLite database.
    pub path: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Redis {
    pub url: SecretString,
    pub profiles: Vec<Profile>,
    pub subscriptions: Vec<Subscription>,
    /// How often the hashes of the profile `binaryrogue` are read; none: no such profile.
    pub poll_every: Option<SignedDuration>,
    /// `binaryrogue`: first part of the profile's channels and hashes.
    pub prefix: String,
    /// As whom atalaya beats; nobody's agent.
    pub own_id: String,
    /// How often it beats; none: never.
    pub beat_every: Option<SignedDuration>,
}

/// `[deadman]`: where a request goes while all is well.
#[derive(Debug, Clone)]
pub struct Deadman {
    /// A secret too: whoever knows it can keep the watch "alive".
    pub url: SecretString,
    pub every: SignedDuration,
    /// POST, else GET.
    pub post: bool,
}

/// A system that users already run; its channels and payloads are the adapter's
/// (docs/reference/formats.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    Binaryrogue,
    HeartbeatMap,
}

/// `[[redis.source]]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// A channel, or a pattern as `PSUBSCRIBE` takes it.
    pub pattern: String,
    /// `*`: what the one star of the pattern matched; else a JSON pointer into the payload.
    pub agent_from: String,
}

#[derive(Debug, Clone)]
pub struct Telegram {
    pub token: SecretString,
    /// None: the bot tells nobody by itself.
    pub chat: Option<i64>,
    /// Who may press buttons.
    pub allowed_users: Vec<i64>,
    /// Without a slash at its end.
    pub api_url: String,
    /// Whether this process polls for button presses.
    pub listen: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`.
    pub level: &'static str,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Auto,
    Pretty,
    Json,
}

/// One source that is switched on: its place in the table and the name of its watch `source/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceEntry {
    pub id: SourceId,
    pub name: &'static str,
}

impl Daemon {
    /// All sources that are switched on: `http` always, `redis` where it has a url, `redis-poll` where
    /// hashes are polled; the ids are the places in this list.
    pub fn sources(&self) -> Vec<SourceEntry> {
        let redis = self.redis.as_ref();
        let names = [
            Some("http"),
            redis.map(|_| "redis"),
            redis.and_then(|it| it.poll_every).map(|_| "redis-poll"),
        ];
        (0..)
            .zip(names.into_iter().flatten())
            .map(|(at, name)| SourceEntry { id: SourceId(at), name })
            .collect()
    }
}

/// One receiver, ready to be built.
#[derive(Debug, Clone)]
pub struct Receiver {
    pub id: ReceiverId,
    /// A chat is human; a webhook, a channel and a log are machines (docs/BEHAVIOUR.md 1).
    pub human: bool,
    pub origin: Origin,
    pub way: Way,
}

/// How a receiver is reached.
#[derive(Debug, Clone)]
pub enum Way {
    Telegram {
        token: SecretString,
        api_url: String,
        chat: i64,
        thread: Option<i32>,
    },
    Webhook {
        /// A secret too: Slack and Discord put their key into it.
        url: SecretString,
        secret: Option<SecretString>,
        template: Template,
        headers: Vec<(String, SecretString)>,
    },
    /// Alerts on `<prefix>:alerts`, incidents on `<prefix>:incidents`.
    Redis {
        url: SecretString,
        prefix: String,
    },
    /// Lines of JSON; none: standard output.
    Log {
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    Atalaya,
    Slack,
    Discord,
}

impl Receiver {
    /// A digest of all its settings, secrets too: equal digests mean that the old one can be kept.
    pub fn fingerprint(&self) -> String {
        let parts: Vec<String> = match &self.way {
            Way::Telegram { token, api_url, chat, thread } => {
                vec![token.expose_secret().into(), api_url.clone(), format!("{chat} {thread:?}")]
            }
            Way::Webhook { url, secret, template, headers } => {
                let secret = secret.as_ref().map(ExposeSecret::expose_secret);
                let mut parts =
                    vec![url.expose_secret().to_owned(), format!("{secret:?} {template:?}")];
                parts.extend(
                    headers
                        .iter()
                        .flat_map(|(name, value)| [name.clone(), value.expose_secret().to_owned()]),
                );
                parts
            }
            Way::Redis { url, prefix } => vec![url.expose_secret().to_owned(), prefix.clone()],
            Way::Log { file } => vec![format!("{file:?}")],
        };
        let kind = match self.way {
            Way::Telegram { .. } => "telegram",
            Way::Webhook { .. } => "webhook",
            Way::Redis { .. } => "redis",
            Way::Log { .. } => "log",
        };
        digest([kind, &self.id.0].into_iter().chain(parts.iter().map(String::as_str)))
    }
}

/// SHA-256 over the parts, each with its length, in hexadecimal.
pub(crate) fn digest<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
