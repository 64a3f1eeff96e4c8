//! Receivers and routes: who can be reached, and who is told of what.

use jiff::SignedDuration;
use std::collections::{BTreeSet, HashMap};

use secrecy::SecretString;

use super::{
    document::{Step, steps},
    raw,
    registry::{File, Fixed, lacking, severity},
    report::{Finding, Level},
    settings::{Receiver, Template, Way},
    targets,
    values::{self, from_to, words},
    walk::nearest,
};
use crate::domain::{
    alert::route,
    id::{Name, Origin, ReceiverId},
    incident::{Severity, Step as Later},
};

/// The receiver that `[telegram]` of atalaya.toml is.
const TELEGRAM: &str = "telegram";
const ROUTES_MAX: usize = 1_000;

/// All receivers, and all ids that entries claim: a broken entry is told once, where it stands.
pub(crate) struct Receivers {
    pub(crate) list: Vec<Receiver>,
    claimed: HashMap<String, Origin>,
}

impl Receivers {
    pub(crate) fn of_desk(&self) -> Vec<route::Receiver> {
        let seen = |it: &Receiver| route::Receiver {
            id: it.id.clone(),
            human: it.human,
            origin: it.origin.clone(),
        };
        self.list.iter().map(seen).collect()
    }

    /// The receivers that a list names; each that is not known is a finding.
    pub(crate) fn named(
        &self,
        fixed: &Fixed,
        file: &File,
        at: &[Step<'_>],
        names: &[String],
        findings: &mut Vec<Finding>,
    ) -> Vec<ReceiverId> {
        if names.is_empty() {
            let help = "name a receiver, or take the key away";
            let place = file.document.value(at);
            findings.push(Finding::error(place, "an empty list tells nobody", help));
        }
        for (number, name) in
            names.iter().enumerate().filter(|(_, it)| !self.claimed.contains_key(*it))
        {
            let place = file.document.value(&[at, &[Step::At(number)]].concat());
            if name == TELEGRAM {
                let Some(level) = lacking(fixed) else { continue };
                let message =
                    "no receiver \"telegram\": [telegram] has no token and chat".to_owned();
                let help = "set TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID".to_owned();
                findings.push(Finding { level, message, place, help });
                continue;
            }
            let shown: String = name.chars().take(40).collect();
            let mut known: Vec<&str> = self.claimed.keys().map(String::as_str).collect();
            known.sort_unstable();
            let message = format!("no receiver {shown:?}");
            findings.push(Finding::error(place, message, nearest(name, known.into_iter())));
        }
        let mut ids: Vec<ReceiverId> = Vec::new();
        for name in names {
            if !ids.iter().any(|it| *it.0 == **name) {
                ids.push(ReceiverId::new(name));
            }
        }
        ids
    }
}

/// Checks `[[receiver]]` of all files.
pub(crate) fn check(fixed: &Fixed, files: &[File], findings: &mut Vec<Finding>) -> Receivers {
    let mut receivers = Receivers { list: Vec::new(), claimed: HashMap::new() };
    if let Some(telegram) = &fixed.daemon.telegram
        && let Some(chat) = telegram.chat
    {
        let origin = Origin::Default("[telegram] of atalaya.toml");
        receivers.claimed.insert(TELEGRAM.into(), origin.clone());
        let (token, api_url) = (telegram.token.clone(), telegram.api_url.clone());
        let way = Way::Telegram { token, api_url, chat, thread: None };
        receivers.list.push(Receiver { id: ReceiverId::new(TELEGRAM), human: true, origin, way });
    }
    for file in files {
        for (index, raw) in file.raw.receiver.iter().flatten().enumerate() {
            let mut entry = Entry { fixed, file, index, findings };
            let Some(id) = raw.id.as_deref().and_then(|it| entry.id(it, &receivers)) else {
                continue;
            };
            let origin = file.origin(&steps!["receiver", index]);
            receivers.claimed.insert(id.as_str().to_owned(), origin.clone());
            if let Some(way) = entry.way(raw) {
                let human = matches!(way, Way::Telegram { .. });
                receivers.list.push(Receiver {
                    id: ReceiverId::new(id.as_str()),
                    human,
                    origin,
                    way,
                });
            }
        }
    }
    receivers
}

/// One `[[receiver]]`.
struct Entry<'a> {
    fixed: &'a Fixed,
    file: &'a File,
    index: usize,
    findings: &'a mut Vec<Finding>,
}

impl Entry<'_> {
    fn report(&mut self, level: Level, keys: &[&str], message: String, help: &str) {
        let mut at = steps!["receiver", self.index].to_vec();
        at.extend(keys.iter().map(|it| Step::Key(it)));
        let place = self.file.document.value(&at);
        self.findings.push(Finding { level, message, place, help: help.to_owned() });
    }

    fn error(&mut self, keys: &[&str], message: String, help: &str) {
        self.report(Level::Error, keys, message, help);
    }

    fn id(&mut self, text: &str, receivers: &Receivers) -> Option<Name> {
        match text.parse::<Name>() {
            Err(why) => {
                let shown: String = text.chars().take(40).collect();
                let help = "letters, digits and . _ : @ - , a letter or digit first";
                self.error(&["id"], format!("{shown:?} is no id: {why}"), help);
                None
            }
            Ok(name) => match receivers.claimed.get(name.as_str()) {
                Some(origin) => {
                    let help = format!("{origin} has it already");
                    self.error(&["id"], format!("receiver `{name}` is declared twice"), &help);
                    None
                }
                None => Some(name),
            },
        }
    }

    fn way(&mut self, raw: &raw::Receiver) -> Option<Way> {
        let written: Vec<&str> = ["telegram", "webhook", "redis", "log"]
            .into_iter()
            .filter(|it| self.file.document.has_at(&steps!["receiver", self.index, *it]))
            .collect();
        if written.len() != 1 {
            let message = match written.as_slice() {
                [] => "a receiver needs one of `telegram`, `webhook`, `redis`, `log`".into(),
                many => format!("a receiver is one thing, this one is {}", many.join(" and ")),
            };
            let help = "such as webhook = { url = \"http://127.0.0.1:9999/alerts\" }";
            self.error(&written.get(1).map_or(vec![], |it| vec![*it]), message, help);
            return None;
        }
        if let Some(chat) = &raw.telegram {
            return self.telegram(chat);
        }
        if let Some(webhook) = &raw.webhook {
            return self.webhook(webhook);
        }
        if let Some(channels) = &raw.redis {
            return self.redis(channels);
        }
        let log = raw.log.as_ref()?;
        Some(Way::Log { file: log.file.as_ref().map(Into::into) })
    }

    fn telegram(&mut self, raw: &raw::Chat) -> Option<Way> {
        let chat = raw.chat?;
        let Some(telegram) = &self.fixed.daemon.telegram else {
            if let Some(level) = lacking(self.fixed) {
                let message = "this chat has no bot: [telegram] has no token".to_owned();
                self.report(level, &["telegram"], message, "set TELEGRAM_BOT_TOKEN");
            }
            return None;
        };
        let (token, api_url) = (telegram.token.clone(), telegram.api_url.clone());
        Some(Way::Telegram { token, api_url, chat, thread: raw.thread })
    }

    fn webhook(&mut self, raw: &raw::Webhook) -> Option<Way> {
        let url = raw.url.as_deref()?;
        if let Err((what, help)) = values::http_url(url) {
            self.error(&["webhook", "url"], format!("`url` {what}"), &help);
        }
        let (file, index) = (self.file, self.index);
        let place = || {
            let key = if raw.secret_file.is_some() { "secret_file" } else { "secret" };
            file.document.value(&steps!["receiver", index, "webhook", key])
        };
        let given = values::Given {
            key: "secret",
            inline: raw.secret.as_ref(),
            file: raw.secret_file.as_deref(),
            place: &place,
            credential: None,
        };
        let secret = self.fixed.ground.secret(&given, self.findings);
        let mut headers = Vec::new();
        for (name, value) in raw.headers.iter().flatten() {
            if !is_header(name, value) {
                let help = "such as headers = { Authorization = \"Bearer …\" }";
                let shown: String = name.chars().take(40).collect();
                // The line of a header may show its value.
                self.error(&["webhook"], format!("{shown:?} is no header"), help);
            }
            headers.push((name.clone(), value.clone()));
        }
        let template = match raw.template {
            Some(raw::Template::Atalaya) | None => Template::Atalaya,
            Some(raw::Template::Slack) => Template::Slack,
            Some(raw::Template::Discord) => Template::Discord,
        };
        Some(Way::Webhook { url: SecretString::from(url), secret, template, headers })
    }

    fn redis(&mut self, raw: &raw::Channels) -> Option<Way> {
        let Some(redis) = &self.fixed.daemon.redis else {
            if let Some(level) = lacking(self.fixed) {
                let message = "this receiver has no Redis: [redis] has no url".to_owned();
                self.report(level, &["redis"], message, "set REDIS_URL, or url in [redis]");
            }
            return None;
        };
        let prefix = raw.prefix.clone().unwrap_or_else(|| redis.prefix.clone());
        if let Err(why) = prefix.parse::<Name>() {
            let help = "such as prefix = \"binaryrogue\"";
            self.error(&["redis", "prefix"], format!("`prefix`: {why}"), help);
        }
        Some(Way::Redis { url: redis.url.clone(), prefix })
    }
}

fn is_header(name: &str, value: &SecretString) -> bool {
    use secrecy::ExposeSecret;
    !name.is_empty()
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
        && value.expose_secret().bytes().all(|it| (b' '..=b'~').contains(&it))
}

/// Checks `[[route]]` of all files, in their order.
pub(crate) fn routes(
    fixed: &Fixed,
    files: &[File],
    receivers: &Receivers,
    findings: &mut Vec<Finding>,
) -> Vec<route::Route> {
    let mut routes: Vec<route::Route> = Vec::new();
    for file in files {
        for (index, raw) in file.raw.route.iter().flatten().enumerate() {
            let at = steps!["route", index];
            if routes.len() == ROUTES_MAX {
                let message = format!("more than {ROUTES_MAX} routes");
                findings.push(Finding::error(
                    file.document.value(&at),
                    message,
                    "match groups of watches",
                ));
                return routes;
            }
            let Some(to) = &raw.to else { continue };
            let at_to = steps!["route", index, "to"];
            let route = route::Route {
                severity: raw.severity.iter().flatten().map(|it| severity(*it)).collect(),
                matching: raw.pattern.as_deref().and_then(|it| {
                    let at = steps!["route", index, "match"];
                    targets::target(file, &at, "match", it, findings)
                }),
                to: receivers.named(fixed, file, &at_to, to, findings),
                then: later(fixed, file, index, raw, receivers, findings),
                origin: file.origin(&at),
            };
            routes.push(route);
        }
    }
    routes
}

fn later(
    fixed: &Fixed,
    file: &File,
    index: usize,
    raw: &raw::Route,
    receivers: &Receivers,
    findings: &mut Vec<Finding>,
) -> Vec<Later> {
    // As written: so long after the opening. The desk counts each step from the one before it.
    let mut steps: Vec<Later> = Vec::new();
    let mut before = SignedDuration::ZERO;
    for (number, step) in raw.then.iter().flatten().enumerate() {
        let (Some(after), Some(to)) = (&step.after, &step.to) else { continue };
        let at = steps!["route", index, "then", number, "to"];
        let to = receivers.named(fixed, file, &at, to, findings);
        let at = steps!["route", index, "then", number, "after"];
        match values::duration(&after.0, from_to(100, 168)) {
            Err((what, help)) => {
                let place = file.document.value(&at);
                findings.push(Finding::error(place, format!("`after` {what}"), help));
            }
            Ok(after) => {
                if after <= before {
                    let message = "each step must come after the one before it";
                    let help = format!("write more than \"{}\"", words(before));
                    findings.push(Finding::error(file.document.value(&at), message, help));
                }
                steps.push(Later { after: after - before, to });
                before = after;
            }
        }
    }
    steps
}

/// Whether all that `later` matches is taken by `earlier`.
fn covers(earlier: &route::Route, later: &route::Route) -> bool {
    let of = |route: &route::Route| -> BTreeSet<Severity> {
        if route.severity.is_empty() {
            [Severity::Critical].into()
        } else {
            route.severity.iter().copied().collect()
        }
    };
    let matching = earlier.matching.is_none() || earlier.matching == later.matching;
    matching && of(earlier).is_superset(&of(later))
}

/// Warns of routes that are never reached and of receivers that nothing would ever reach.
pub(crate) fn warn(
    files: &[File],
    receivers: &Receivers,
    routes: &[route::Route],
    findings: &mut Vec<Finding>,
) {
    let written = files.iter().flat_map(|file| {
        let indices = 0..file.raw.route.iter().flatten().count();
        indices.map(move |index| file.document.value(&steps!["route", index]))
    });
    for (number, (place, route)) in written.zip(routes).enumerate() {
        if let Some(earlier) = routes.iter().take(number).find(|it| covers(it, route)) {
            let help = format!("{} takes all of it", earlier.origin);
            findings.push(Finding::warning(place, "this route is never reached", help));
        }
    }
    unnamed(files, receivers, routes, findings);
}

/// Warns of receivers that nothing would ever reach.
fn unnamed(
    files: &[File],
    receivers: &Receivers,
    routes: &[route::Route],
    findings: &mut Vec<Finding>,
) {
    let by_routes = routes
        .iter()
        .flat_map(|it| it.to.iter().chain(it.then.iter().flat_map(|step| &step.to)))
        .map(|it| &*it.0);
    let agents = files.iter().flat_map(|it| it.raw.agent.iter().flatten());
    let by_agents = agents.flat_map(|it| it.notify.iter().flatten()).map(String::as_str);
    let named: BTreeSet<&str> = by_routes.chain(by_agents).collect();
    // Where no route matches, every human receiver gets what is critical.
    let all_taken = routes.iter().any(|it| {
        it.matching.is_none()
            && (it.severity.is_empty() || it.severity.contains(&Severity::Critical))
    });
    for file in files {
        for (index, raw) in file.raw.receiver.iter().flatten().enumerate() {
            let Some(id) = raw.id.as_deref().filter(|it| !named.contains(it)) else { continue };
            let Some(receiver) = receivers.list.iter().find(|it| *it.id.0 == *id) else { continue };
            let any_human = receivers.list.iter().any(|it| it.human);
            // Without a person to tell, what no route matches goes to every machine.
            if all_taken || (!receiver.human && any_human) {
                let place = file.document.value(&steps!["receiver", index, "id"]);
                let message = format!("no route names receiver \"{id}\": it is never told");
                let help = format!("add [[route]] with to = [\"{id}\"]");
                findings.push(Finding::warning(place, message, help));
            }
        }
    }
}
