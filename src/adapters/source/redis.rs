//! Redis pub/sub: beats on channels and patterns, and the proof that we still hear them.
//!
//! ```text
//!  connect ─▶ subscribe ─▶ echo ─▶ proved ─▶ beats … echo … beats
//!     ▲                      │ none within 2 s, connection gone, more than we can read
//!     └────── 500 ms ◀── blind
//! ```
//!
//! A connection that fails in any way is dropped and made anew, subscriptions and all; it is never mended.
//! The client's own reconnecting manager is not used: it gives up after six tries and then stays deaf, cannot
//! say why it does not connect, and ignores a resubscription that was refused.
//!
//! The proof is our own message on a private channel of the same connection: Redis handles one connection in
//! order, so when it comes back, all that was published before it has come too.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use ::redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind,
    RedisError, Value,
    aio::{MultiplexedConnection, SendError},
};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep, timeout},
};
use uuid::Uuid;

use super::{
    Hearing, PROOF_IDLE, PROOF_WITHIN, RETRY_AFTER, chain,
    channels::{self, AgentFrom, Pattern, Profile},
    due,
};
use crate::{
    domain::id::{Name, SourceId},
    ports::{
        Pending, beats,
        clock::Clock,
        source::{Ear, Source, SourceEnded},
    },
    wire::beats::{PAYLOAD_BYTES_MAX, RawBeat, Unreadable, read, read_with_pointer},
};

/// Its watch is `source/redis`.
pub const NAME: &str = "redis";

/// Messages that wait to be read. A beat takes about 100 ns, so a full queue means that we did not run;
/// what comes beyond it is lost, and that is blindness.
const WAITING_MAX: usize = 16_384;

/// Messages that are read before the clocks are looked at again.
const READ_AT_ONCE: usize = 512;

/// What to listen to, and as whom.
#[derive(Debug, Clone)]
pub struct Settings {
    pub url: SecretString,
    pub profiles: Vec<Profile>,
    /// Before the channels of the `binaryrogue` profile.
    pub prefix: String,
    /// More channels and patterns, looked at before those of the profiles.
    pub patterns: Vec<Pattern>,
    /// The name under which atalaya itself beats on this bus: ignored here.
    pub own_id: String,
    /// Begins the name of the private channel that our own echo takes: `atalaya:echo`.
    pub echo_channel: String,
}

/// The subscriber. One connection at a time.
pub struct Redis {
    hearing: Hearing,
    settings: Settings,
    patterns: Vec<Pattern>,
    echo_channel: String,
    nonce: AtomicU64,
    /// PUBLISH, or our private channel, is not permitted: a PING stands in for the echo.
    ping_only: AtomicBool,
}

impl fmt::Debug for Redis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Redis").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What the connection brings.
enum Push {
    Message(Message),
    Gone,
}

struct Message {
    /// The subscription that brought it: a channel or a pattern.
    by: Vec<u8>,
    channel: Vec<u8>,
    payload: Payload,
}

enum Payload {
    Whole(Vec<u8>),
    /// Too long to be read, so it was not kept: its length.
    Long(usize),
}

/// One connection with its subscriptions.
struct Session {
    connection: MultiplexedConnection,
    pushes: mpsc::Receiver<Push>,
    /// Something was lost because the queue was full.
    lost: Arc<AtomicBool>,
}

/// The proof: when the next one is due, and the one that is under way.
struct Echo<'a> {
    due: Pending<'a, ()>,
    request: Pending<'a, Result<(), RedisError>>,
    unanswered: bool,
    /// When it was asked for, and the nonce that comes back.
    asked: Option<(Timestamp, String)>,
    overdue: Pin<Box<Sleep>>,
}

impl Echo<'_> {
    fn due_now() -> Self {
        Self {
            due: Box::pin(std::future::ready(())),
            request: Box::pin(std::future::pending()),
            unanswered: false,
            asked: None,
            overdue: Box::pin(sleep(PROOF_WITHIN)),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

impl Redis {
    /// Does nothing yet; `run` connects. The name of the echo channel is drawn here.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let patterns = channels::all(&settings.patterns, &settings.profiles, &settings.prefix);
        Self {
            hearing: Hearing::new(NAME, clock),
            echo_channel: format!("{}:{}", settings.echo_channel, Uuid::new_v4()),
            settings,
            patterns,
            nonce: AtomicU64::new(0),
            ping_only: AtomicBool::new(false),
        }
    }

    async fn connect(&self, client: &Client) -> Result<Session, String> {
        let (queue, pushes) = mpsc::channel(WAITING_MAX);
        let lost = Arc::new(AtomicBool::new(false));
        let overflow = Arc::clone(&lost);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PROOF_WITHIN))
            .set_response_timeout(Some(PROOF_WITHIN))
            .set_push_sender(move |info| {
                let Some(push) = understand(info) else { return Ok(()) };
                queue.try_send(push).map_err(|_| {
                    overflow.store(true, Relaxed);
                    SendError
                })
            });
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        // The client's own time-outs cover each step; this one covers whatever they do not.
        let connection = timeout(PROOF_WITHIN * 2, connecting)
            .await
            .map_err(|_| "cannot connect: no answer".to_owned())?
            .map_err(|error| format!("cannot connect: {}", chain(&error)))?;
        let mut session = Session { connection, pushes, lost };
        self.subscribe(&mut session.connection).await?;
        Ok(session)
    }

    async fn subscribe(&self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        for pattern in &self.patterns {
            let name = pattern.pattern.as_str();
            let done = if pattern.is_glob() {
                connection.psubscribe(name).await
            } else {
                connection.subscribe(name).await
            };
            done.map_err(|error| format!("cannot subscribe to {name}: {}", chain(&error)))?;
        }
        match connection.subscribe(self.echo_channel.as_str()).await {
            Err(error) if forbidden(&error) => self.fall_back_to_ping(&error),
            Err(error) => return Err(format!("cannot subscribe to our echo: {}", chain(&error))),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Listens until the connection can no longer be trusted; answers why.
    async fn listen(&self, session: Session, ear: &dyn Ear, id: SourceId) -> String {
        let Session { connection, mut pushes, lost } = session;
        let mut batch = Vec::with_capacity(READ_AT_ONCE);
        let mut echo = Echo::due_now();
        loop {
            // Order matters: a late echo is none, and what came before an answer is heard before it.
            tokio::select! { biased;
                () = &mut echo.overdue, if echo.asked.is_some() => {
                    return format!("no echo within {} s", PROOF_WITHIN.as_secs());
                }
                count = pushes.recv_many(&mut batch, READ_AT_ONCE) => {
                    if count == 0 || self.take(&mut batch, &mut echo, ear, id) == Go::Stop {
                        return "the connection was closed".to_owned();
                    }
                    if lost.load(Relaxed) {
                        return format!("more than {WAITING_MAX} messages came at once");
                    }
                }
                answer = &mut echo.request, if echo.unanswered => {
                    while let Ok(push) = pushes.try_recv() {
                        batch.push(push);
                    }
                    if self.take(&mut batch, &mut echo, ear, id) == Go::Stop {
                        return "the connection was closed".to_owned();
                    }
                    if let Err(error) = self.answered(answer, &mut echo, ear, id) {
                        return format!("cannot send our echo: {}", chain(&error));
                    }
                }
                () = &mut echo.due, if echo.asked.is_none() && !echo.unanswered => {
                    let nonce = self.nonce.fetch_add(1, Relaxed).to_string();
                    echo.asked = Some((self.hearing.clock.now(), nonce.clone()));
                    echo.request = Box::pin(self.ask(connection.clone(), nonce));
                    echo.unanswered = true;
                    echo.overdue.set(sleep(PROOF_WITHIN));
                }
            }
        }
    }

    fn take<'a>(
        &'a self,
        batch: &mut Vec<Push>,
        echo: &mut Echo<'a>,
        ear: &'a dyn Ear,
        id: SourceId,
    ) -> Go {
        for push in batch.drain(..) {
            match push {
                Push::Gone => return Go::Stop,
                Push::Message(message) if message.by == self.echo_channel.as_bytes() => {
                    if let Some((at, _)) = echo.asked.take_if(|(_, nonce)| message.says(nonce)) {
                        self.hearing.proved(ear, id, at);
                        echo.due = Box::pin(due(ear, id, PROOF_IDLE));
                    }
                }
                Push::Message(message) => self.hear(&message, ear, id),
            }
        }
        Go::On
    }

    /// The answer to PUBLISH proves nothing, the message itself does; the answer to PING has to do.
    fn answered<'a>(
        &'a self,
        answer: Result<(), RedisError>,
        echo: &mut Echo<'a>,
        ear: &'a dyn Ear,
        id: SourceId,
    ) -> Result<(), RedisError> {
        echo.unanswered = false;
        let pinged = self.ping_only.load(Relaxed);
        match answer {
            Ok(()) if pinged => {
                if let Some((at, _)) = echo.asked.take() {
                    self.hearing.proved(ear, id, at);
                    echo.due = Box::pin(due(ear, id, PROOF_IDLE));
                }
            }
            Ok(()) => {}
            Err(error) if forbidden(&error) && !pinged => {
                self.fall_back_to_ping(&error);
                *echo = Echo::due_now();
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn ask(
        &self,
        mut connection: MultiplexedConnection,
        nonce: String,
    ) -> Result<(), RedisError> {
        let command = if self.ping_only.load(Relaxed) {
            ::redis::cmd("PING")
        } else {
            let mut publish = ::redis::cmd("PUBLISH");
            publish.arg(self.echo_channel.as_str()).arg(nonce);
            publish
        };
        command.exec_async(&mut connection).await
    }

    fn fall_back_to_ping(&self, error: &RedisError) {
        if !self.ping_only.swap(true, Relaxed) {
            let why = chain(error);
            tracing::warn!(
                source = NAME,
                why,
                "no echo is permitted: a PING proves the connection, but not that messages are delivered"
            );
        }
    }

    /// Brings one message to the ear. Whatever it holds, it proves life of the agent that its channel names.
    fn hear(&self, message: &Message, ear: &dyn Ear, id: SourceId) {
        let channel = String::from_utf8_lossy(&message.channel);
        // A wide pattern brings the echoes too, ours and those of other instances.
        if channel.starts_with(&self.settings.echo_channel) {
            return;
        }
        let Some(pattern) = channels::taker(&self.patterns, &message.by, &channel) else { return };
        let read = message.read(&pattern.agent_from);
        let named = match (&pattern.agent_from, &read) {
            (AgentFrom::Star, _) => pattern.star(&channel).map(ToOwned::to_owned),
            (AgentFrom::Payload | AgentFrom::Pointer(_), Ok(raw)) => raw.agent.clone(),
            (AgentFrom::Payload | AgentFrom::Pointer(_), Err(why)) => {
                return ear.refused(id, &why.to_string());
            }
        };
        let Some(named) = named else { return ear.refused(id, "the payload names no agent") };
        if named == self.settings.own_id {
            return;
        }
        let name: Name = match named.parse() {
            Ok(name) => name,
            Err(why) => return ear.refused(id, &format!("{why}")),
        };
        let now = self.hearing.clock.now();
        let beat = match read {
            Ok(raw) => beats::beat(raw, now, id),
            Err(_) => beats::pulse(now, id),
        };
        // What became of it the ear has counted; on a bus there is nobody to answer.
        let _ = ear.beat(&name, beat);
    }
}

impl Source for Redis {
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
            loop {
                let why = match self.connect(&client).await {
                    Ok(session) => self.listen(session, &*ear, id).await,
                    Err(why) => why,
                };
                self.hearing.blind(&*ear, id, &why);
                sleep(RETRY_AFTER).await;
            }
        })
    }
}

impl Message {
    fn read(&self, agent_from: &AgentFrom) -> Result<RawBeat, Unreadable> {
        match (&self.payload, agent_from) {
            (Payload::Long(bytes), _) => Err(Unreadable::Long(*bytes)),
            (Payload::Whole(bytes), AgentFrom::Pointer(pointer)) => {
                read_with_pointer(bytes, pointer)
            }
            (Payload::Whole(bytes), AgentFrom::Payload | AgentFrom::Star) => read(bytes),
        }
    }

    fn says(&self, nonce: &str) -> bool {
        matches!(&self.payload, Payload::Whole(bytes) if bytes == nonce.as_bytes())
    }
}

/// A client that speaks RESP3, in which messages and answers share one connection. The URL is a secret, so an error
/// does not repeat it.
pub(super) fn client(url: &SecretString) -> Result<Client, String> {
    let bad = |error: RedisError| format!("cannot read the redis url: {}", error.category());
    let info = url.expose_secret().into_connection_info().map_err(bad)?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(settings)).map_err(bad)
}

fn forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// Takes a push apart without copying it. Runs inside the client, so it must be quick.
fn understand(info: PushInfo) -> Option<Push> {
    if info.kind == PushKind::Disconnection {
        return Some(Push::Gone);
    }
    let by_pattern = info.kind == PushKind::PMessage;
    if !by_pattern && info.kind != PushKind::Message {
        return None;
    }
    let mut parts = info.data.into_iter();
    let by = bytes(parts.next()?)?;
    let channel = if by_pattern { bytes(parts.next()?)? } else { by.clone() };
    let payload = match bytes(parts.next()?)? {
        long if PAYLOAD_BYTES_MAX < long.len() => Payload::Long(long.len()),
        whole => Payload::Whole(whole),
    };
    Some(Push::Message(Message { by, channel, payload }))
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}
