//! Redis hashes, polled: `{prefix}:agents:{id}` with `status`, `last_seen`, `uptime_seconds`
//! (docs/reference/formats.md, "Heartbeats"). A beat is a *change* of `last_seen`, dated by it, the
//! first read too: the old stamp of a dead agent keeps nobody alive, however often it is read.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use ::redis::{AsyncConnectionConfig, Client, Pipeline, RedisResult, aio::MultiplexedConnection};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::time::{sleep, timeout};

use super::{Hearing, PROOF_WITHIN, RETRY_AFTER, chain, due, redis::client};
use crate::{
    domain::{
        id::{Name, SourceId},
        watch::beat::Beat,
    },
    ports::{
        Pending, beats,
        clock::Clock,
        source::{Ear, Source, SourceEnded},
    },
    wire::{
        beats::{RawBeat, status},
        timestamps,
    },
};

/// Its watch is `source/redis-poll`.
pub const NAME: &str = "redis-poll";

/// Hashes that are asked for in one round trip.
const CHUNK: usize = 500;

/// Longest field that is kept, in bytes: a stamp or a word is far shorter.
const FIELD_BYTES_MAX: usize = 256;

/// Which hashes to poll, and how often.
#[derive(Debug, Clone)]
pub struct Settings {
    pub url: SecretString,
    /// Before `:agents:{id}`.
    pub prefix: String,
    /// At the latest; a watch that waits for a proof is polled for at once.
    pub poll_every: Duration,
}

/// The poller.
pub struct RedisPoll {
    hearing: Hearing,
    settings: Settings,
}

impl fmt::Debug for RedisPoll {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RedisPoll").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The fields of one hash; None where it has none.
type Fields = (Option<String>, Option<String>, Option<String>);

impl RedisPoll {
    /// Does nothing yet; `run` connects.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self { hearing: Hearing::new(NAME, clock), settings }
    }

    /// Polls until the connection fails; answers why.
    async fn poll(&self, client: &Client, ear: &dyn Ear, id: SourceId, seen: &mut Seen) -> String {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PROOF_WITHIN))
            .set_response_timeout(Some(PROOF_WITHIN));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = match timeout(PROOF_WITHIN * 2, connecting).await {
            Err(_) => return "cannot connect: no answer".to_owned(),
            Ok(Err(error)) => return format!("cannot connect: {}", chain(&error)),
            Ok(Ok(connection)) => connection,
        };
        loop {
            let began = self.hearing.clock.now();
            if let Err(error) = self.round(&mut connection, ear, id, seen).await {
                return format!("cannot read the hashes: {}", chain(&error));
            }
            self.hearing.proved(ear, id, began);
            due(ear, id, self.settings.poll_every).await;
        }
    }

    async fn round(
        &self,
        connection: &mut MultiplexedConnection,
        ear: &dyn Ear,
        id: SourceId,
        seen: &mut Seen,
    ) -> RedisResult<()> {
        let names = ear.names();
        seen.keep_only(&names);
        for names in names.chunks(CHUNK) {
            let mut pipeline = Pipeline::with_capacity(names.len());
            // A key of another type is that agent's trouble alone.
            pipeline.ignore_errors();
            for name in names {
                let key = format!("{}:agents:{name}", self.settings.prefix);
                pipeline.cmd("HMGET").arg(key).arg(&["status", "last_seen", "uptime_seconds"]);
            }
            let answers: Vec<RedisResult<Fields>> = pipeline.query_async(connection).await?;
            let now = self.hearing.clock.now();
            for (name, answer) in names.iter().zip(answers) {
                match answer {
                    Ok(fields) => {
                        if let Some(beat) = seen.look(name, fields, now, id) {
                            let _ = ear.beat(name, beat);
                        }
                    }
                    Err(error) if error.is_unrecoverable_error() => return Err(error),
                    Err(error) => ear.refused(id, &format!("hash of {name}: {}", chain(&error))),
                }
            }
        }
        Ok(())
    }
}

impl Source for RedisPoll {
    fn name(&self) -> &str {
        NAME
    }

    fn run(&self, ear: Arc<dyn Ear>, id: SourceId) -> Pending<'_, SourceEnded> {
        Box::pin(async move {
            let client = match client(&self.settings.url) {
                Ok(client) => client,
                Err(why) => {
                    self.hearing.blind(&*ear, id, &why);
                    return SourceEnded(why);
                }
            };
            let mut seen = Seen::default();
            loop {
                let why = self.poll(&client, &*ear, id, &mut seen).await;
                self.hearing.blind(&*ear, id, &why);
                sleep(RETRY_AFTER).await;
            }
        })
    }
}

/// The stamps of the last round, as they were written.
#[derive(Default)]
struct Seen(HashMap<Name, String>);

impl Seen {
    fn keep_only(&mut self, names: &[Name]) {
        let names: HashSet<&Name> = names.iter().collect();
        self.0.retain(|name, _| names.contains(name));
    }

    /// A beat, if the stamp is not the one of the last round.
    fn look(
        &mut self,
        name: &Name,
        (word, stamp, uptime): Fields,
        now: Timestamp,
        source: SourceId,
    ) -> Option<Beat> {
        let stamp = stamp.filter(|it| it.len() <= FIELD_BYTES_MAX)?;
        let before = self.0.insert(name.clone(), stamp.clone());
        if before.as_ref() == Some(&stamp) {
            return None;
        }
        let Some(at) = timestamps::read(&stamp) else {
            // Text that is no time proves life only when we saw it change.
            return before.map(|_| beats::pulse(now, source));
        };
        let short = |text: Option<String>| text.filter(|it| it.len() <= FIELD_BYTES_MAX);
        let word = short(word);
        let raw = RawBeat {
            status: word.as_deref().and_then(status),
            metadata: metadata(word, short(uptime)),
            ..RawBeat::default()
        };
        Some(beats::beat(raw, at.min(now), source))
    }
}

fn metadata(word: Option<String>, uptime: Option<String>) -> Option<String> {
    let strange = word.filter(|it| status(it).is_none());
    let fields: Map<String, Value> = [("status", strange), ("uptime_seconds", uptime)]
        .into_iter()
        .filter_map(|(key, text)| Some((key.to_owned(), Value::String(text?))))
        .collect();
    (!fields.is_empty()).then(|| Value::Object(fields).to_string())
}
