//! Daemon: atalaya.toml, merged, becomes checked settings. It answers for everything that is wrong
//! and gives settings all the same, so that the registry is checked in the same run.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, tz::TimeZone};
use secrecy::{ExposeSecret, SecretString};

use super::{
    document::{Step, steps},
    layers::Layers,
    raw,
    report::{Finding, Place, hide_marked},
    settings::{
        Daemon, Deadman, Delivery, Http, Log, LogFormat, Node, Profile, Redis, Store, Subscription,
        Telegram,
    },
    values::{self, Ground},
};
use crate::domain::{id::Name, text::Text};

const NAME_CHARACTERS_MAX: usize = 40;
/// How often `[deadman]` is asked, where nothing else is said: what who offers this takes for a short period.
const DEADMAN_EVERY: SignedDuration = SignedDuration::from_mins(1);
const BIND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7717);

type Refused = (String, String);

/// Checks what the layers gave; `host_name` names a node that is not named.
pub(crate) fn check(
    raw: &raw::Daemon,
    layers: &Layers,
    ground: &Ground,
    host_name: &str,
    findings: &mut Vec<Finding>,
) -> Daemon {
    let mut check = Check { layers, ground, findings };
    let node = check.node(raw.node.as_ref(), host_name);
    let http = check.http(raw.http.as_ref(), &node);
    let store = check.store(raw.store.as_ref(), &node);
    let redis = check.redis(raw.redis.as_ref());
    let telegram = check.telegram(raw.telegram.as_ref());
    let delivery = check.delivery(raw.delivery.as_ref());
    let heartbeat_map = check.heartbeat_map(raw.heartbeat_map.as_ref());
    let deadman = check.deadman(raw.deadman.as_ref());
    let log = log(raw.log.as_ref());
    Daemon { node, http, store, redis, telegram, delivery, heartbeat_map, deadman, log }
}

struct Check<'a> {
    layers: &'a Layers,
    ground: &'a Ground,
    findings: &'a mut Vec<Finding>,
}

impl Check<'_> {
    fn error(&mut self, path: &[Step<'_>], message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding::error(self.layers.place(path), message, help));
    }

    fn warn(&mut self, path: &[Step<'_>], message: &str, help: &str) {
        self.findings.push(Finding::warning(self.layers.place(path), message, help));
    }

    /// What was read, or a finding: "`bind` takes …".
    fn take<Value>(&mut self, path: &[Step<'_>], read: Result<Value, Refused>) -> Option<Value> {
        let (what, help) = match read {
            Ok(value) => return Some(value),
            Err(refused) => refused,
        };
        let key = path
            .iter()
            .rev()
            .find_map(|it| if let Step::Key(key) = it { Some(*key) } else { None });
        self.error(path, format!("`{}` {what}", key.unwrap_or_default()), help);
        None
    }

    fn secret(
        &mut self,
        section: &str,
        inline: Option<&SecretString>,
        file: Option<&String>,
        credential: &str,
    ) -> Option<SecretString> {
        let layers = self.layers;
        let place = || -> Place {
            let key = if file.is_some() { "token_file" } else { "token" };
            layers.place(&steps![section, key])
        };
        let given = values::Given {
            key: "token",
            inline,
            file: file.map(String::as_str),
            place: &place,
            credential: Some(credential),
        };
        self.ground.secret(&given, self.findings)
    }

    fn node(&mut self, raw: Option<&raw::Node>, host_name: &str) -> Node {
        let given = raw.and_then(|it| it.name.as_deref());
        let mut name = Text::clean(given.unwrap_or(host_name), NAME_CHARACTERS_MAX);
        if name.is_empty() {
            if given.is_some() {
                self.error(
                    &steps!["node", "name"],
                    "`name` is empty",
                    "take it away: the host's name",
                );
            }
            name = Text::clean("atalaya", NAME_CHARACTERS_MAX);
        }
        let zone = raw.and_then(|it| it.timezone.as_deref());
        let timezone = zone
            .and_then(|zone| self.take(&steps!["node", "timezone"], values::timezone(zone)))
            .unwrap_or_else(TimeZone::system);
        let state_dir = raw.and_then(|it| it.state_dir.as_deref()).unwrap_or("./var");
        if state_dir.trim().is_empty() {
            self.error(&steps!["node", "state_dir"], "`state_dir` is empty", "such as \"./var\"");
        }
        Node { name, timezone, state_dir: PathBuf::from(state_dir) }
    }

    fn http(&mut self, raw: Option<&raw::Http>, node: &Node) -> Http {
        let fallback = raw::Http::default();
        let raw = raw.unwrap_or(&fallback);
        let bind = raw
            .bind
            .as_deref()
            .and_then(|bind| self.take(&steps!["http", "bind"], values::address(bind)));
        let public_url = raw
            .public_url
            .as_deref()
            .and_then(|url| self.take(&steps!["http", "public_url"], values::http_url(url)));
        let token = self.secret("http", raw.token.as_ref(), raw.token_file.as_ref(), "http_token");
        let behind_proxy = raw.behind_proxy.unwrap_or_default();
        let bind = bind.unwrap_or(BIND);
        let has_token = token.is_some() || raw.token.is_some() || raw.token_file.is_some();
        let may_be_reached = bind.ip().is_loopback() || (has_token && behind_proxy);
        if !may_be_reached {
            let missing = match (has_token, behind_proxy) {
                (false, false) => "token_file = \"…\" and behind_proxy = true",
                (false, true) => "token_file = \"…\"",
                (true, _) => "behind_proxy = true (a proxy in front of it must speak TLS)",
            };
            let message = format!(
                "`bind` {bind} lies beyond loopback: it needs a token, and a proxy for TLS"
            );
            self.error(&steps!["http", "bind"], message, format!("add {missing}"));
        }
        let socket = raw.socket.clone().map(PathBuf::from);
        Http {
            bind,
            public_url,
            socket: socket.unwrap_or_else(|| node.state_dir.join("atalaya.sock")),
            socket_group: raw.socket_group.clone().filter(|it| !it.is_empty()),
            token,
            behind_proxy,
        }
    }

    fn store(&mut self, raw: Option<&raw::Store>, node: &Node) -> Store {
        let url = raw.and_then(|it| it.url.as_deref());
        let path = url.and_then(|url| self.take(&steps!["store", "url"], sqlite(url)));
        Store { path: path.unwrap_or_else(|| node.state_dir.join("atalaya.db")) }
    }

    fn redis(&mut self, raw: Option<&raw::Redis>) -> Option<Redis> {
        let raw = raw?;
        let Some(url) = raw.url.clone() else {
            if self.layers.in_file("redis") {
                let help = "add url = \"redis://127.0.0.1:6379/0\", or set REDIS_URL";
                self.warn(&steps!["redis"], "[redis] has no `url`: nothing is heard over it", help);
            }
            return None;
        };
        self.take(&steps!["redis", "url"], values::redis_url(&url));
        let profiles = match (&raw.profiles, &raw.source) {
            (Some(profiles), _) => profiles.iter().map(|it| profile(*it)).collect(),
            (None, Some(_)) => Vec::new(),
            (None, None) => vec![Profile::Binaryrogue, Profile::HeartbeatMap],
        };
        let subscriptions: Vec<Subscription> = raw
            .source
            .iter()
            .flatten()
            .enumerate()
            .filter_map(|(index, source)| self.subscription(index, source))
            .collect();
        let prefix = raw.prefix.clone().unwrap_or_default();
        if let Err(why) = prefix.parse::<Name>() {
            self.error(
                &steps!["redis", "prefix"],
                format!("`prefix`: {why}"),
                "such as \"binaryrogue\"",
            );
        }
        let poll_every = raw.poll_every.as_ref().and_then(|words| {
            let read = values::duration(&words.0, values::from_to(100, 24));
            self.take(&steps!["redis", "poll_every"], read)
        });
        let poll_every = poll_every.filter(|_| profiles.contains(&Profile::Binaryrogue));
        if profiles.is_empty() && raw.source.iter().flatten().next().is_none() {
            let help = "add a source, or profiles = [\"binaryrogue\", \"heartbeat-map\"]";
            self.warn(&steps!["redis"], "[redis] listens to nothing", help);
        }
        let (own_id, beat_every) = self.beat(raw);
        let beat_every = beat_every.filter(|_| profiles.contains(&Profile::Binaryrogue));
        Some(Redis { url, profiles, subscriptions, poll_every, prefix, own_id, beat_every })
    }

    /// As whom atalaya itself beats on the bus, and how often.
    fn beat(&mut self, raw: &raw::Redis) -> (String, Option<SignedDuration>) {
        let own_id = raw.beat_as.clone().unwrap_or_default();
        if let Err(why) = own_id.parse::<Name>() {
            let message = format!("`beat_as`: {why}");
            self.error(&steps!["redis", "beat_as"], message, "such as \"atalaya-tower-1\"");
        }
        let every = raw.beat_every.as_ref().and_then(|words| {
            let read = values::duration(&words.0, values::from_to(0, 24));
            self.take(&steps!["redis", "beat_every"], read)
        });
        (own_id, every.filter(|it| !it.is_zero()))
    }

    fn subscription(&mut self, index: usize, raw: &raw::Source) -> Option<Subscription> {
        let at = steps!["redis", "source", index];
        let pattern = match (&raw.channel, &raw.pattern) {
            (Some(channel), None) if channel.contains(['*', '?', '[', '\\']) => {
                let at = steps!["redis", "source", index, "channel"];
                self.error(&at, "`channel` takes one name", format!("write pattern = {channel:?}"));
                return None;
            }
            (Some(one), None) | (None, Some(one)) if !one.trim().is_empty() => one.clone(),
            (None | Some(_), None | Some(_)) => {
                let message = "a source takes one of `channel` and `pattern`";
                self.error(&at, message, "such as pattern = \"agents:heartbeat:*\"");
                return None;
            }
        };
        let agent_from = raw.agent_from.clone()?;
        let at = steps!["redis", "source", index, "agent_from"];
        if agent_from == "*" && !has_one_star(&pattern) {
            let help = "such as pattern = \"agents:heartbeat:*\", or agent_from = \"/agent_id\"";
            let message = "`agent_from` \"*\" takes a pattern with one `*` and none of ? [ ] \\";
            self.error(&at, message, help);
            return None;
        }
        if agent_from != "*" && !agent_from.starts_with('/') {
            let message = "`agent_from` takes \"*\" or a JSON pointer";
            self.error(&at, message, "write \"*\", or \"/agent_id\"");
            return None;
        }
        Some(Subscription { pattern, agent_from })
    }

    fn delivery(&mut self, raw: Option<&raw::Delivery>) -> Delivery {
        let digest_every = raw.and_then(|it| it.digest_every.as_ref()).and_then(|words| {
            let read = values::duration(&words.0, values::from_to(0, 24));
            self.take(&steps!["delivery", "digest_every"], read)
        });
        let dry_run = raw.and_then(|it| it.dry_run).unwrap_or_default();
        Delivery { digest_every: digest_every.unwrap_or(SignedDuration::ZERO), dry_run }
    }

    fn heartbeat_map(&mut self, raw: Option<&raw::HeartbeatMap>) -> Option<PathBuf> {
        let path = raw?.path.as_deref()?;
        let is_file = !path.ends_with('/') && Path::new(path).file_name().is_some();
        let help = "such as \"./hub/agent_heartbeat.json\"";
        let read = if is_file {
            Ok(PathBuf::from(path))
        } else {
            Err(("names no file".to_owned(), help.to_owned()))
        };
        self.take(&steps!["heartbeat_map", "path"], read)
    }

    fn deadman(&mut self, raw: Option<&raw::Deadman>) -> Option<Deadman> {
        let raw = raw?;
        let every = raw.every.as_ref().and_then(|words| {
            let read = values::duration(&words.0, values::from_to(1_000, 24));
            self.take(&steps!["deadman", "every"], read)
        });
        let url = raw.url.as_ref()?;
        if let Err((what, _)) = values::http_url(url.expose_secret()) {
            let place = hide_marked(self.layers.place(&steps!["deadman", "url"]));
            let help = "such as \"https://hc-ping.com/your-uuid\"";
            self.findings.push(Finding::error(place, format!("`url` {what}"), help));
            return None;
        }
        Some(Deadman {
            url: url.clone(),
            every: every.unwrap_or(DEADMAN_EVERY),
            post: matches!(raw.method, Some(raw::Method::Post)),
        })
    }

    fn telegram(&mut self, raw: Option<&raw::Telegram>) -> Option<Telegram> {
        let raw = raw?;
        let api_url = raw.api_url.as_deref().unwrap_or_default();
        let api_url = self.take(&steps!["telegram", "api_url"], values::http_url(api_url));
        let token =
            self.secret("telegram", raw.token.as_ref(), raw.token_file.as_ref(), "telegram_token");
        let Some(token) = token else {
            if raw.chat.is_some() && raw.token.is_none() && raw.token_file.is_none() {
                let help = "set TELEGRAM_BOT_TOKEN, or token_file";
                self.warn(
                    &steps!["telegram", "chat"],
                    "`chat` has no bot: the token is missing",
                    help,
                );
            }
            return None;
        };
        if !is_bot_token(token.expose_secret()) {
            let place =
                steps!["telegram", if raw.token_file.is_some() { "token_file" } else { "token" }];
            self.error(
                &place,
                "the token is not that of a bot",
                "as @BotFather gives it: 123456:ABC-DEF",
            );
        }
        if raw.chat == Some(0) {
            self.error(
                &steps!["telegram", "chat"],
                "`chat` 0 is no chat",
                "the number of the chat",
            );
        }
        let person = raw.chat.filter(|it| 0 < *it);
        let allowed_users =
            raw.allowed_users.clone().unwrap_or_else(|| person.into_iter().collect());
        if raw.chat.is_some() && allowed_users.is_empty() && raw.allowed_users.is_none() {
            let help = "add allowed_users = [123456789]";
            self.warn(
                &steps!["telegram", "chat"],
                "a group chat in which nobody may press buttons",
                help,
            );
        }
        Some(Telegram {
            token,
            chat: raw.chat,
            allowed_users,
            api_url: api_url?,
            listen: raw.listen.unwrap_or(true),
        })
    }
}

fn sqlite(url: &str) -> Result<PathBuf, Refused> {
    let help = "write \"sqlite:./var/atalaya.db\"".to_owned();
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Err(("of [store]: PostgreSQL is not built yet".into(), help));
    }
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with("//") && !path.contains('?') => {
            Ok(PathBuf::from(path))
        }
        _ => Err(("of [store] takes sqlite: and a path".into(), help)),
    }
}

fn has_one_star(pattern: &str) -> bool {
    pattern.matches('*').count() == 1 && !pattern.contains(['?', '[', ']', '\\'])
}

/// `digits:letters`; it becomes part of a URL.
fn is_bot_token(token: &str) -> bool {
    token.split_once(':').is_some_and(|(bot, key)| {
        !bot.is_empty()
            && bot.bytes().all(|it| it.is_ascii_digit())
            && !key.is_empty()
            && key.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it))
    })
}

fn profile(raw: raw::Profile) -> Profile {
    match raw {
        raw::Profile::Binaryrogue => Profile::Binaryrogue,
        raw::Profile::HeartbeatMap => Profile::HeartbeatMap,
    }
}

fn log(raw: Option<&raw::Log>) -> Log {
    let level = match raw.and_then(|it| it.level) {
        Some(raw::Level::Error) => "error",
        Some(raw::Level::Warn) => "warn",
        Some(raw::Level::Info) | None => "info",
        Some(raw::Level::Debug) => "debug",
        Some(raw::Level::Trace) => "trace",
    };
    let format = match raw.and_then(|it| it.format) {
        Some(raw::Format::Auto) | None => LogFormat::Auto,
        Some(raw::Format::Pretty) => LogFormat::Pretty,
        Some(raw::Format::Json) => LogFormat::Json,
    };
    Log { level, format }
}
