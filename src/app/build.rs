//! Build: checked settings become adapters.

use std::{sync::Arc, time::Duration};

use reqwest::Url;
use secrecy::ExposeSecret;

use crate::{
    adapters::{
        notify::{self, BadSettings},
        sign::{
            beat::{self, Beat},
            deadman::{self, Deadman},
        },
        source::{
            channels::{Pattern, Profile},
            http::Http,
            redis::{self, Redis},
            redis_poll::{self, RedisPoll},
        },
    },
    config::settings::{self, Daemon, Receiver, Template, Way},
    ports::{
        clock::Clock, notifier::Notifier, registry::ReadyReceiver, sign::Sign, source::Source,
    },
};

/// Begins the name of the private channel on which our own echo comes back.
const ECHO_CHANNEL: &str = "atalaya:echo";
/// On top of a notifier's own time-outs, before the outbox cuts an attempt off.
const ATTEMPT_MARGIN: Duration = Duration::from_secs(2);

/// Why a part cannot be built from settings that were checked: what the check cannot see.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot build receiver `{id}`")]
    Receiver { id: String, source: BadSettings },
    #[error("receiver `{id}` has no usable address")]
    Address { id: String },
    #[error("[deadman] url has no usable address")]
    Deadman,
    #[error("cannot beat on Redis")]
    Beat {
        #[source]
        why: beat::BadAddress,
    },
    #[error("cannot subscribe to `{pattern}`: {why}")]
    Pattern { pattern: String, why: String },
}

/// All sources that are switched on, in the order of [`Daemon::sources`].
///
/// # Errors
/// When a channel pattern is none.
pub fn sources(
    daemon: &Daemon,
    bound: std::net::SocketAddr,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Arc<dyn Source>>, BuildError> {
    let mut sources: Vec<Arc<dyn Source>> = vec![Arc::new(Http::new(bound, Arc::clone(clock)))];
    let Some(settings) = &daemon.redis else { return Ok(sources) };
    let patterns = settings
        .subscriptions
        .iter()
        .map(|it| {
            Pattern::new(&it.pattern, &it.agent_from).map_err(|error| BuildError::Pattern {
                pattern: it.pattern.clone(),
                why: error.to_string(),
            })
        })
        .collect::<Result<_, _>>()?;
    let profiles = settings.profiles.iter().map(|it| match it {
        settings::Profile::Binaryrogue => Profile::BinaryRogue,
        settings::Profile::HeartbeatMap => Profile::HeartbeatMap,
    });
    let redis = redis::Settings {
        url: settings.url.clone(),
        profiles: profiles.collect(),
        prefix: settings.prefix.clone(),
        patterns,
        own_id: settings.own_id.clone(),
        echo_channel: ECHO_CHANNEL.to_owned(),
    };
    sources.push(Arc::new(Redis::new(redis, Arc::clone(clock))));
    if let Some(poll_every) = settings.poll_every {
        let poll = redis_poll::Settings {
            url: settings.url.clone(),
            prefix: settings.prefix.clone(),
            poll_every: Duration::try_from(poll_every).unwrap_or(Duration::from_secs(30)),
        };
        sources.push(Arc::new(RedisPoll::new(poll, Arc::clone(clock))));
    }
    Ok(sources)
}

/// Our own signs of life, as far as they are configured.
///
/// # Errors
/// When one has an address that cannot be used.
pub fn signs(
    daemon: &Daemon,
    client: &reqwest::Client,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Arc<dyn Sign>>, BuildError> {
    // Checked: longer than a second, shorter than a day.
    let period = |it| Duration::try_from(it).unwrap_or(Duration::from_mins(1));
    let mut signs: Vec<Arc<dyn Sign>> = Vec::new();
    if let Some(settings) = &daemon.deadman {
        let url = Url::parse(settings.url.expose_secret()).map_err(|_| BuildError::Deadman)?;
        let settings =
            deadman::Settings { url, post: settings.post, every: period(settings.every) };
        signs.push(Arc::new(Deadman::new(settings, client.clone())));
    }
    if let Some(redis) = &daemon.redis
        && let Some(every) = redis.beat_every
    {
        let settings = beat::Settings {
            url: redis.url.clone(),
            prefix: redis.prefix.clone(),
            own_id: redis.own_id.clone(),
            every: period(every),
        };
        let beat = Beat::new(settings, Arc::clone(clock));
        signs.push(Arc::new(beat.map_err(|why| BuildError::Beat { why })?));
    }
    Ok(signs)
}

/// Receivers ready to send; with `dry_run` (`[delivery]`) to be written down what they would be sent.
///
/// # Errors
/// When one has an address or a header that cannot be used.
pub fn receivers(
    all: &[Receiver],
    client: &reqwest::Client,
    dry_run: bool,
) -> Result<Vec<ReadyReceiver>, BuildError> {
    let ready = all.iter().map(|it| receiver(it, client));
    ready.map(|it| it.map(|it| if dry_run { rehearsing(it) } else { it })).collect()
}

/// The same receiver, sent nothing but test messages.
fn rehearsing(ready: ReadyReceiver) -> ReadyReceiver {
    let notifier = Arc::new(notify::rehearsal::Rehearsal::of(ready.notifier));
    ReadyReceiver { notifier, rehearses: true, ..ready }
}

fn receiver(receiver: &Receiver, client: &reqwest::Client) -> Result<ReadyReceiver, BuildError> {
    let id = receiver.id.to_string();
    let address = |text: &str| Url::parse(text).map_err(|_| BuildError::Address { id: id.clone() });
    let bad = |source| BuildError::Receiver { id: id.clone(), source };
    let (kind, notifier): (&str, Arc<dyn Notifier>) = match &receiver.way {
        Way::Telegram { token, api_url, chat, thread } => {
            let settings = notify::telegram::Settings {
                token: token.clone(),
                api_url: address(api_url)?,
                chat: *chat,
                thread: *thread,
            };
            let telegram = notify::telegram::new(settings, client.clone()).map_err(bad)?;
            ("telegram", Arc::new(telegram))
        }
        Way::Webhook { url, secret, template, headers } => {
            let settings = notify::webhook::Settings {
                url: address(url.expose_secret())?,
                secret: secret.clone(),
                template: match template {
                    Template::Atalaya => notify::webhook::Template::Atalaya,
                    Template::Slack => notify::webhook::Template::Slack,
                    Template::Discord => notify::webhook::Template::Discord,
                },
                headers: headers.clone(),
            };
            let webhook = notify::webhook::new(settings, client.clone()).map_err(bad)?;
            ("webhook", Arc::new(webhook))
        }
        Way::Redis { url, prefix } => {
            let settings = notify::redis::Settings { url: url.clone(), prefix: prefix.clone() };
            ("redis", Arc::new(notify::redis::new(&settings).map_err(bad)?))
        }
        Way::Log { file } => {
            let settings = notify::log::Settings { file: file.clone() };
            ("log", Arc::new(notify::log::new(settings)))
        }
    };
    let kind = notify::KINDS.iter().find(|it| it.name == kind);
    let attempt_max = kind.map_or(Duration::from_secs(30), |it| it.attempt_max);
    Ok(ReadyReceiver {
        id: receiver.id.clone(),
        human: receiver.human,
        at_once: kind.map_or(1, |it| it.at_once()),
        attempt_max: attempt_max + ATTEMPT_MARGIN,
        fingerprint: receiver.fingerprint(),
        chat: match &receiver.way {
            Way::Telegram { chat, .. } => Some(*chat),
            Way::Webhook { .. } | Way::Redis { .. } | Way::Log { .. } => None,
        },
        notifier,
        rehearses: false,
    })
}
