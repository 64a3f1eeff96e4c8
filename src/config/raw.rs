//! Raw: both files as people write them. The doc comments are the published JSON Schema
//! (`atalaya schema`), and the schema drives [`super::walk`], so a key stands here once.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

/// A duration in words: `90s`, `5m`, `1h 30m`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("format" = "duration-words", "examples" = ["90s", "5m", "1h 30m"]))]
pub(crate) struct Words(pub(crate) String);

/// atalaya.toml: the daemon. Any key may also be given as `ATALAYA__SECTION__KEY`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "atalaya.toml")]
pub(crate) struct Daemon {
    pub(crate) node: Option<Node>,
    pub(crate) http: Option<Http>,
    pub(crate) store: Option<Store>,
    pub(crate) redis: Option<Redis>,
    pub(crate) telegram: Option<Telegram>,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) heartbeat_map: Option<HeartbeatMap>,
    pub(crate) deadman: Option<Deadman>,
    pub(crate) log: Option<Log>,
}

/// Who this atalaya is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    /// Named in every message. Default: the host name.
    pub(crate) name: Option<String>,
    /// IANA name, for what people read, such as `Europe/Madrid`. Default: the machine's.
    pub(crate) timezone: Option<String>,
    /// Folder of the database and the socket. Default: `./var`.
    pub(crate) state_dir: Option<String>,
}

/// Where it is spoken to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// Address and port. Default: `127.0.0.1:7717`. Beyond loopback a token and `behind_proxy` are needed.
    pub(crate) bind: Option<String>,
    /// Where people reach it from outside.
    pub(crate) public_url: Option<String>,
    /// Unix socket of the command line. Default: `atalaya.sock` in `state_dir`.
    pub(crate) socket: Option<String>,
    /// Group that may use the socket (0660). Default: nobody else (0600).
    pub(crate) socket_group: Option<String>,
    /// What every request over TCP must show. Without it, nothing over TCP may act.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) token: Option<SecretString>,
    /// File that holds the token.
    pub(crate) token_file: Option<String>,
    /// A proxy in front of it speaks TLS. Default: false.
    pub(crate) behind_proxy: Option<bool>,
}

/// Where it remembers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    /// `sqlite:` and a path. Default: `atalaya.db` in `state_dir`.
    pub(crate) url: Option<String>,
}

/// The Redis on which agents beat.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redis {
    /// `redis://`, `rediss://` (TLS) or `unix://`; needed for the rest of the section to count.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) url: Option<SecretString>,
    /// Systems whose channels are listened to. Default, where no `source` is given: both.
    pub(crate) profiles: Option<Vec<Profile>>,
    /// Further channels.
    pub(crate) source: Option<Vec<Source>>,
    /// How often the hashes `<prefix>:agents:{id}` of the profile `binaryrogue` are read. Default: `5s`.
    pub(crate) poll_every: Option<Words>,
    /// First part of the channels and hashes of the profile `binaryrogue`. Default: `binaryrogue`.
    pub(crate) prefix: Option<String>,
    /// How often atalaya itself beats on `<prefix>:heartbeats` while all is well, where the profile `binaryrogue` is
    /// listened to; `0s`: never. Default: `30s`.
    pub(crate) beat_every: Option<Words>,
    /// Under which id; a beat of that id is never taken for an agent's. Default: `atalaya`.
    pub(crate) beat_as: Option<String>,
}

/// A system that users already run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    Binaryrogue,
    HeartbeatMap,
}

/// One subscription: a channel or a pattern, and where its messages name the agent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// Channels by pattern, as `PSUBSCRIBE` takes it.
    pub(crate) pattern: Option<String>,
    /// One channel.
    pub(crate) channel: Option<String>,
    /// `*`: what the star of the pattern matched; or a JSON pointer such as `/agent_id`.
    #[schemars(required)]
    pub(crate) agent_from: Option<String>,
}

/// The bot that tells people.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Telegram {
    /// Chat that is told, by its number.
    pub(crate) chat: Option<i64>,
    /// Who may press buttons, by number. Default: the person of a private chat.
    pub(crate) allowed_users: Option<Vec<i64>>,
    /// The bot's token; better in TELEGRAM_BOT_TOKEN or `token_file`.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) token: Option<SecretString>,
    /// File that holds the bot's token.
    pub(crate) token_file: Option<String>,
    /// Default: `https://api.telegram.org`.
    pub(crate) api_url: Option<String>,
    /// Whether this atalaya reads the buttons; one poller per token. Default: true.
    pub(crate) listen: Option<bool>,
}

/// How people are told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delivery {
    /// Warnings that no route names are told together once in this, without a sound; `0s`: never. Default: `30m`.
    pub(crate) digest_every: Option<Words>,
    /// Nothing is sent but test messages; `atalaya incidents --would-tell` lists the rest. Default: false.
    pub(crate) dry_run: Option<bool>,
}

/// A file with the status of all agents, for other programs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeartbeatMap {
    /// The file; its folder must be there. Written on change, and every 60 s.
    #[schemars(required)]
    pub(crate) path: Option<String>,
}

/// Who tells you when this machine died: a request to an address of yours, only while all is well.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deadman {
    /// `http://` or `https://`; whoever runs it tells you when no request comes.
    #[schemars(required, with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) url: Option<SecretString>,
    /// How often. Default: `1m`.
    pub(crate) every: Option<Words>,
    /// Default: `get`.
    pub(crate) method: Option<Method>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    Get,
    Post,
}

/// What it says of itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// Default: `info`.
    pub(crate) level: Option<Level>,
    /// `auto`: pretty on a terminal, json elsewhere.
    pub(crate) format: Option<Format>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Auto,
    Pretty,
    Json,
}

/// registry.toml: what is watched, and who is told. Saved, it is followed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "registry.toml")]
pub(crate) struct Registry {
    /// Whatever pings is watched. Default: false.
    pub(crate) auto_register: Option<bool>,
    /// So many without an entry of their own at most, those of patterns too. Default: 1000.
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) auto_register_max: Option<usize>,
    pub(crate) defaults: Option<Defaults>,
    pub(crate) agent: Option<Vec<Agent>>,
    pub(crate) route: Option<Vec<Route>>,
    pub(crate) receiver: Option<Vec<Receiver>>,
    pub(crate) maintenance: Option<Vec<Maintenance>>,
}

/// What holds where an entry says nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Defaults {
    pub(crate) agent: Option<Clocks>,
    pub(crate) incident: Option<Incidents>,
}

/// What is promised of an agent.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clocks {
    /// How often it beats. Default: a third of `timeout`, `30s` at most.
    pub(crate) interval: Option<Words>,
    /// Silence strictly longer than this is `down`. Default: 3 × `interval`.
    pub(crate) timeout: Option<Words>,
    /// How long the first beat may take. Default: `2m`.
    pub(crate) first_beat_within: Option<Words>,
    /// No progress for so long is `stalled`. Default: off.
    pub(crate) stall_after: Option<Words>,
    /// The same progress so many times is `looping`. Default: off.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub(crate) loop_after: Option<u32>,
    /// `fixed`: the timeout alone; `adaptive`: learns the beat's rhythm, never later than the timeout.
    pub(crate) detector: Option<Detector>,
    /// The longest step that an agent may declare. Default: `30m`.
    pub(crate) lease_max: Option<Words>,
    /// How long it may be away after it said that it stops. Default: `10m`.
    pub(crate) leave_max: Option<Words>,
    /// It may wait so long for a person (status `needs_input`) until people are told. Default: they are not.
    pub(crate) needs_input: Option<Words>,
    /// `steady`: it beats always; `on_activity`: from `working` to `idle` alone, as hooks do. Default: `steady`.
    pub(crate) beats: Option<Beats>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Beats {
    Steady,
    OnActivity,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Detector {
    Fixed,
    Adaptive,
}

/// How open trouble is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Incidents {
    /// A relapse within this reopens the same incident. Default: `10m`.
    pub(crate) reopen: Option<Words>,
    /// An open message rings again after this. Default: `4h`.
    pub(crate) repeat: Option<Words>,
    /// How long an acknowledgement holds. Default: `8h`.
    pub(crate) acknowledge_for: Option<Words>,
    /// What falls within this joins one message. Default: `30s`.
    pub(crate) join_within: Option<Words>,
}

/// One agent that is watched, or all whose ids match a pattern.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agent {
    /// How it names itself: letters, digits and . _ : @ - ; with `*` in it: all that match, each from its first beat on.
    #[schemars(required)]
    pub(crate) id: Option<String>,
    /// Name for people. Default: the id.
    pub(crate) name: Option<String>,
    /// Further ids by which it goes.
    pub(crate) aliases: Option<Vec<String>>,
    /// What it belongs to. `group/NAME` is what routes, maintenance, `silence` and `pause` call all of a group.
    pub(crate) group: Option<String>,
    /// How often it beats. Default: a third of `timeout`, `30s` at most.
    pub(crate) interval: Option<Words>,
    /// Silence strictly longer than this is `down`. Default: 3 × `interval`.
    pub(crate) timeout: Option<Words>,
    /// How long the first beat may take.
    pub(crate) first_beat_within: Option<Words>,
    /// No progress for so long is `stalled`.
    pub(crate) stall_after: Option<Words>,
    /// The same progress so many times is `looping`.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub(crate) loop_after: Option<u32>,
    /// `fixed`: the timeout alone; `adaptive`: learns the beat's rhythm.
    pub(crate) detector: Option<Detector>,
    /// The longest step that it may declare.
    pub(crate) lease_max: Option<Words>,
    /// How long it may be away after it said that it stops.
    pub(crate) leave_max: Option<Words>,
    /// Agents and sources whose trouble explains its own: `mary`, `source/redis`.
    pub(crate) depends_on: Option<Vec<String>>,
    /// It may wait so long for a person (status `needs_input`) until people are told.
    pub(crate) needs_input: Option<Words>,
    /// `steady`: it beats always; `on_activity`: from `working` to `idle` alone, as hooks do.
    pub(crate) beats: Option<Beats>,
    /// Receivers of its own, in place of the routes.
    pub(crate) notify: Option<Vec<String>>,
    /// What its troubles weigh, where that differs: `{ degraded = "critical" }`.
    pub(crate) severity: Option<Severities>,
    /// What its pings must show.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) token: Option<SecretString>,
    /// File that holds it.
    pub(crate) token_file: Option<String>,
}

/// What the troubles of an agent weigh.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Severities {
    pub(crate) down: Option<Severity>,
    pub(crate) failed: Option<Severity>,
    pub(crate) overrun: Option<Severity>,
    pub(crate) stalled: Option<Severity>,
    pub(crate) looping: Option<Severity>,
    pub(crate) degraded: Option<Severity>,
    pub(crate) needs_input: Option<Severity>,
}

/// Critical rings; a warning reaches whom a route names for it; info goes to the log alone.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Critical,
    Warning,
    Info,
}

/// Who is told of what; the first that matches rules.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// Default: critical alone. What is info goes to the log, whatever stands here.
    pub(crate) severity: Option<Vec<Severity>>,
    /// `kind/name` with `*`, such as `agent/worker-*`, or `group/NAME`. Default: every watch.
    #[serde(rename = "match")]
    pub(crate) pattern: Option<String>,
    /// Receivers, by id.
    #[schemars(required)]
    pub(crate) to: Option<Vec<String>>,
    /// Who is told later, unless somebody acknowledged.
    pub(crate) then: Option<Vec<Step>>,
}

/// A window in which nothing of some watches rings: once (`from` and `until`), or by `cron` and `for`.
/// What is still so at its end is told then.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Maintenance {
    /// `kind/name`, with `*` where many are meant, such as `agent/worker-*`, or `group/NAME`; `*` is everything.
    #[schemars(required)]
    pub(crate) watch: Option<String>,
    /// Begins at this moment, RFC 3339.
    pub(crate) from: Option<String>,
    /// Ends at this moment, RFC 3339.
    pub(crate) until: Option<String>,
    /// Begins at each moment that this expression names: `0 2 * * SUN`.
    pub(crate) cron: Option<String>,
    /// How long each window lasts.
    #[serde(rename = "for")]
    pub(crate) for_: Option<Words>,
    /// IANA name, for `cron`. Default: `[node] timezone`.
    pub(crate) timezone: Option<String>,
    /// For those who ask why nothing rang.
    pub(crate) reason: Option<String>,
}

/// One step of an escalation.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// So long after the opening.
    #[schemars(required)]
    pub(crate) after: Option<Words>,
    /// Receivers, by id.
    #[schemars(required)]
    pub(crate) to: Option<Vec<String>>,
}

/// A way to reach someone: an id and exactly one of `telegram`, `webhook`, `redis`, `log`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receiver {
    /// How routes name it.
    #[schemars(required)]
    pub(crate) id: Option<String>,
    pub(crate) telegram: Option<Chat>,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) redis: Option<Channels>,
    pub(crate) log: Option<LogFile>,
}

/// A Telegram chat, over the bot of `[telegram]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chat {
    /// By its number.
    #[schemars(required)]
    pub(crate) chat: Option<i64>,
    /// Thread of a chat with topics.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(crate) thread: Option<i32>,
}

/// A program that is posted JSON.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// `http://` or `https://`.
    #[schemars(required)]
    pub(crate) url: Option<String>,
    /// Key of the signature in `X-Atalaya-Signature`.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) secret: Option<SecretString>,
    /// File that holds it.
    pub(crate) secret_file: Option<String>,
    /// Shape of the body. Default: `atalaya`.
    pub(crate) template: Option<Template>,
    /// Further headers.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) headers: Option<BTreeMap<String, SecretString>>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Template {
    Atalaya,
    Slack,
    Discord,
}

/// Channels on the Redis of `[redis]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channels {
    /// Publishes on `<prefix>:alerts` and `<prefix>:incidents`. Default: the prefix of `[redis]`.
    pub(crate) prefix: Option<String>,
}

/// Lines of JSON.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogFile {
    /// Appended to. Default: standard output.
    pub(crate) file: Option<String>,
}
