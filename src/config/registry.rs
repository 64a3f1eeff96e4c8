//! Registry: registry.toml and registry.d/*.toml, together, become what is wanted. Ids are unique over
//! all files; of a setting that stands in two of them, the later file (by name) rules.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use jiff::SignedDuration;
use secrecy::SecretString;

use super::{
    document::{Document, Step, steps},
    layers::Clocks,
    maintenance, raw,
    receivers::{self, Receivers},
    report::{Finding, Level, Place, Report, has_errors},
    settings::{Daemon, Receiver},
    shape::Shape,
    values::{self, Ground, Range, from_to, words},
    walk::{header, read, walk},
};
use crate::domain::{
    desk, detector,
    id::{Name, Origin, ReceiverId, SourceId, WatchId},
    incident::Severity,
    registry::{Agent, AutoRegister, Wanted},
    text::Text,
    watch::{Condition, Subject, agent},
};

const NAME_CHARACTERS_MAX: usize = 40;
const AUTO_REGISTER_MAX: usize = 1_000;

/// What the registry is checked against; it holds for one run of the process.
#[derive(Debug, Clone)]
pub(crate) struct Fixed {
    pub(crate) daemon: Daemon,
    /// The daemon's settings were refused: what they lack is no finding of the registry.
    pub(crate) unsure: bool,
    pub(crate) clocks: Clocks,
    pub(crate) ground: Ground,
}

/// The checked registry.
#[derive(Clone)]
pub struct Registry {
    pub wanted: Arc<Wanted>,
    /// In the order of the files; the one of `[telegram]` first.
    pub receivers: Vec<Receiver>,
    /// What the pings under these ids and aliases must show.
    pub agent_tokens: BTreeMap<Name, SecretString>,
    /// All files as one text, for [`super::RegistryFiles::read_kept`]. It holds the secrets that the
    /// files hold.
    pub text: String,
    /// Warnings alone.
    pub report: Report,
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text may hold secrets.
        let (wanted, receivers) = (&self.wanted, &self.receivers);
        out.debug_struct("Registry")
            .field("wanted", wanted)
            .field("receivers", receivers)
            .finish_non_exhaustive()
    }
}

/// One file of the registry.
pub(crate) struct File {
    pub(crate) document: Document,
    pub(crate) raw: raw::Registry,
    path: Arc<str>,
}

impl File {
    pub(crate) fn origin(&self, path: &[Step<'_>]) -> Origin {
        Origin::File { path: Arc::clone(&self.path), line: self.document.line(path) }
    }
}

/// Checks these files, (path as shown, text). All findings are added; none is returned where one is an error.
pub(crate) fn check(
    fixed: &Fixed,
    texts: Vec<(String, String)>,
    findings: &mut Vec<Finding>,
) -> Option<Registry> {
    let first = findings.len();
    let shape = Shape::of::<raw::Registry>();
    let text = serde_json::to_string(&texts).unwrap_or_default();
    let files: Vec<File> = texts
        .into_iter()
        .map(|(path, text)| {
            let document = Document::parse(&path, text, findings);
            let json = walk(&document, &shape, findings);
            let raw = read(json, |_| document.value(&[]), findings);
            File { path: path.into(), document, raw }
        })
        .collect();
    let receivers = receivers::check(fixed, &files, findings);
    let mut check = Check { fixed, files: &files, receivers: &receivers, findings };
    let defaults = check.defaults();
    let mut agent_tokens = BTreeMap::new();
    let agents = check.agents(&defaults, &mut agent_tokens);
    let auto_register = check.auto_register(&defaults);
    let desk = check.desk();
    if agents.is_empty() && auto_register.is_none() && check.findings.len() == first {
        let place =
            files.first().map_or(Place::Named("registry".into()), |it| it.document.value(&[]));
        let help = "add [[agent]], or auto_register = true";
        check.findings.push(Finding::warning(place, "nothing is watched", help));
    }
    if !has_errors(&findings[first..]) {
        receivers::warn(&files, &receivers, &desk.routes, findings);
    }
    let report = Report { findings: findings[first..].to_vec() };
    if report.has_errors() {
        return None;
    }
    let wanted = Arc::new(Wanted { agents, auto_register, desk: Arc::new(desk) });
    Some(Registry { wanted, receivers: receivers.list, agent_tokens, text, report })
}

struct Check<'a> {
    fixed: &'a Fixed,
    files: &'a [File],
    receivers: &'a Receivers,
    findings: &'a mut Vec<Finding>,
}

/// Where an id was first used.
type Used<'a> = HashMap<Name, (&'a File, u32)>;

impl<'a> Check<'a> {
    /// The last file that gives this, and its value.
    fn last<Value>(
        &self,
        get: impl Fn(&'a raw::Registry) -> Option<&'a Value>,
    ) -> Option<(&'a File, &'a Value)> {
        self.files.iter().rev().find_map(|file| Some((file, get(&file.raw)?)))
    }

    fn duration(
        &mut self,
        file: &File,
        at: &[Step<'_>],
        key: &str,
        given: Option<&raw::Words>,
        range: Range,
    ) -> Option<SignedDuration> {
        match values::duration(&given?.0, range) {
            Ok(duration) => Some(duration),
            Err((what, help)) => {
                let at = [at, &[Step::Key(key)]].concat();
                let table = header(&file.document, &at[..at.len() - 1]);
                let message = format!("`{key}` in {table} {what}");
                self.findings.push(Finding::error(file.document.value(&at), message, help));
                None
            }
        }
    }

    /// `[defaults.agent]`: built-in values, then each file's, then the variables.
    fn defaults(&mut self) -> agent::Spec {
        let sources = self.fixed.daemon.sources();
        let mut spec = agent::Spec {
            interval: SignedDuration::from_secs(30),
            timeout: SignedDuration::from_secs(90),
            first_beat_within: SignedDuration::from_secs(120),
            stall_after: None,
            loop_after: None,
            lease_max: SignedDuration::from_mins(30),
            leave_max: SignedDuration::from_mins(10),
            detector: detector::Kind::Fixed,
            enabled: sources.iter().map(|it| it.id).collect::<Arc<[SourceId]>>(),
        };
        for file in self.files {
            if let Some(clocks) = file.raw.defaults.as_ref().and_then(|it| it.agent.as_ref()) {
                spec = self.spec(file, &steps!["defaults", "agent"], clocks, &spec);
            }
        }
        let Clocks { interval, timeout } = &self.fixed.clocks;
        if let Some((interval, timeout)) =
            both(interval.as_ref().map(|it| it.value), timeout.as_ref().map(|it| it.value))
        {
            (spec.interval, spec.timeout) = (interval, timeout);
            if let (Some(given), Some((message, help))) =
                (&self.fixed.clocks.timeout, too_short(interval, timeout))
            {
                self.findings.push(Finding::error(given.place.clone(), message, help));
            }
        }
        spec
    }

    /// An entry's clocks over the defaults.
    fn spec(
        &mut self,
        file: &File,
        at: &[Step<'_>],
        clocks: &raw::Clocks,
        defaults: &agent::Spec,
    ) -> agent::Spec {
        let mut spec = defaults.clone();
        let given = [
            self.duration(file, at, "interval", clocks.interval.as_ref(), from_to(100, 240)),
            self.duration(file, at, "timeout", clocks.timeout.as_ref(), from_to(300, 744)),
        ];
        if let Some((interval, timeout)) = both(given[0], given[1]) {
            (spec.interval, spec.timeout) = (interval, timeout);
            if let Some((message, help)) = too_short(interval, timeout) {
                let place = file.document.value(&[at, &[Step::Key("timeout")]].concat());
                self.findings.push(Finding::error(place, message, help));
            }
        }
        let week = from_to(100, 168);
        let mut set = |key, words: &Option<raw::Words>, range, slot: &mut SignedDuration| {
            if let Some(duration) = self.duration(file, at, key, words.as_ref(), range) {
                *slot = duration;
            }
        };
        set("first_beat_within", &clocks.first_beat_within, week, &mut spec.first_beat_within);
        set("lease_max", &clocks.lease_max, from_to(100, 168), &mut spec.lease_max);
        set("leave_max", &clocks.leave_max, week, &mut spec.leave_max);
        let stall =
            self.duration(file, at, "stall_after", clocks.stall_after.as_ref(), from_to(100, 744));
        spec.stall_after = stall.or(spec.stall_after);
        spec.loop_after = clocks.loop_after.or(spec.loop_after);
        spec.detector = match clocks.detector {
            Some(raw::Detector::Fixed) => detector::Kind::Fixed,
            Some(raw::Detector::Adaptive) => detector::Kind::Adaptive,
            None => spec.detector,
        };
        spec
    }

    fn agents(
        &mut self,
        defaults: &agent::Spec,
        tokens: &mut BTreeMap<Name, SecretString>,
    ) -> Vec<Agent> {
        let mut used = Used::new();
        let mut agents = Vec::new();
        for file in self.files {
            for (index, raw) in file.raw.agent.iter().flatten().enumerate() {
                let Some(id) = &raw.id else { continue };
                let Some(id) = self.name(file, &steps!["agent", index, "id"], id, &mut used) else {
                    continue;
                };
                let mut aliases = Vec::new();
                for (number, alias) in raw.aliases.iter().flatten().enumerate() {
                    let at = steps!["agent", index, "aliases", number];
                    aliases.extend(self.name(file, &at, alias, &mut used));
                }
                let at = steps!["agent", index];
                if let Some(token) = self.token(file, index, raw) {
                    // An alias is another way to the same door.
                    let names = aliases.iter().chain([&id]).cloned();
                    tokens.extend(names.map(|it| (it, token.clone())));
                }
                let spec = self.spec(file, &at, &clocks(raw), defaults);
                let people = raw.name.as_deref().map(|it| Text::clean(it, NAME_CHARACTERS_MAX));
                let subject = Subject {
                    watch: WatchId::agent(&id),
                    name: people
                        .filter(|it| !it.is_empty())
                        .unwrap_or_else(|| Text::clean(id.as_str(), NAME_CHARACTERS_MAX)),
                    origin: file.origin(&at),
                    notify: self.notify(file, index, raw),
                    severity: raw.severity.as_ref().map(severities).unwrap_or_default(),
                    self_registered: false,
                    timeout: Some(spec.timeout),
                    aliases,
                };
                agents.push(Agent { subject: Arc::new(subject), spec: Arc::new(spec) });
            }
        }
        agents
    }

    /// An id or alias, checked and not yet used.
    fn name(
        &mut self,
        file: &'a File,
        at: &[Step<'_>],
        text: &str,
        used: &mut Used<'a>,
    ) -> Option<Name> {
        let name = match text.parse::<Name>() {
            Ok(name) => name,
            Err(why) => {
                let shown: String = text.chars().take(NAME_CHARACTERS_MAX).collect();
                let help = if text.contains('*') {
                    "one entry for many agents is not built yet: name each, or set auto_register"
                } else {
                    "letters, digits and . _ : @ - , a letter or digit first"
                };
                let message = format!("{shown:?} is no id: {why}");
                self.findings.push(Finding::error(file.document.value(at), message, help));
                return None;
            }
        };
        let line = file.document.line(at);
        if let Some((other, line)) = used.get(&name) {
            let message = format!("`{name}` is used twice");
            let help = format!("it stands at {}:{line} already", other.document.path);
            self.findings.push(Finding::error(file.document.value(at), message, help));
            return None;
        }
        used.insert(name.clone(), (file, line));
        Some(name)
    }

    fn notify(&mut self, file: &File, index: usize, raw: &raw::Agent) -> Vec<ReceiverId> {
        let Some(notify) = &raw.notify else { return Vec::new() };
        let at = steps!["agent", index, "notify"];
        self.receivers.named(self.fixed, file, &at, notify, self.findings)
    }

    fn token(&mut self, file: &File, index: usize, raw: &raw::Agent) -> Option<SecretString> {
        let place = || {
            let key = if raw.token_file.is_some() { "token_file" } else { "token" };
            file.document.value(&steps!["agent", index, key])
        };
        let given = values::Given {
            key: "token",
            inline: raw.token.as_ref(),
            file: raw.token_file.as_deref(),
            place: &place,
            credential: None,
        };
        self.fixed.ground.secret(&given, self.findings)
    }

    fn auto_register(&mut self, defaults: &agent::Spec) -> Option<AutoRegister> {
        let (file, wanted) = self.last(|it| it.auto_register.as_ref())?;
        let max = self.last(|it| it.auto_register_max.as_ref());
        wanted.then(|| AutoRegister {
            max: max.map_or(AUTO_REGISTER_MAX, |(_, max)| *max),
            spec: Arc::new(defaults.clone()),
            origin: file.origin(&steps!["auto_register"]),
        })
    }

    fn desk(&mut self) -> desk::Settings {
        let node = &self.fixed.daemon.node;
        let mut settings = desk::Settings {
            node: node.name.clone(),
            timezone: node.timezone.clone(),
            receivers: self.receivers.of_desk(),
            routes: receivers::routes(self.fixed, self.files, self.receivers, self.findings),
            maintenance: maintenance::windows(self.fixed, self.files, self.findings),
            reopen: SignedDuration::from_mins(10),
            repeat: SignedDuration::from_hours(4),
            acknowledge_for: SignedDuration::from_hours(8),
            join_within: SignedDuration::from_secs(30),
            digest_every: self.fixed.daemon.delivery.digest_every,
            critical_lifetime: SignedDuration::from_hours(24),
            warning_lifetime: SignedDuration::from_hours(2),
        };
        for file in self.files {
            let Some(raw) = file.raw.defaults.as_ref().and_then(|it| it.incident.as_ref()) else {
                continue;
            };
            let at = steps!["defaults", "incident"];
            let mut set = |key, words: &Option<raw::Words>, range, slot: &mut SignedDuration| {
                if let Some(duration) = self.duration(file, &at, key, words.as_ref(), range) {
                    *slot = duration;
                }
            };
            set("reopen", &raw.reopen, from_to(0, 168), &mut settings.reopen);
            set("repeat", &raw.repeat, from_to(1_000, 744), &mut settings.repeat);
            set(
                "acknowledge_for",
                &raw.acknowledge_for,
                from_to(1_000, 744),
                &mut settings.acknowledge_for,
            );
            set("join_within", &raw.join_within, from_to(0, 1), &mut settings.join_within);
        }
        settings
    }
}

/// Interval and timeout, either of which gives the other (docs/BEHAVIOUR.md 3): three intervals; a
/// third of the timeout, 30 s at most.
fn both(
    interval: Option<SignedDuration>,
    timeout: Option<SignedDuration>,
) -> Option<(SignedDuration, SignedDuration)> {
    match (interval, timeout) {
        (Some(interval), Some(timeout)) => Some((interval, timeout)),
        (Some(interval), None) => Some((interval, interval * 3)),
        (None, Some(timeout)) => Some(((timeout / 3).min(SignedDuration::from_secs(30)), timeout)),
        (None, None) => None,
    }
}

/// A timeout is at least 3 × the interval up to 5 m, above that the interval and 1 m
/// (docs/BEHAVIOUR.md 3).
fn too_short(interval: SignedDuration, timeout: SignedDuration) -> Option<(String, String)> {
    let minute = SignedDuration::from_mins(1);
    let (least, rule) = if interval <= minute * 5 {
        (interval * 3, "3 × it")
    } else {
        (interval + minute, "1m more")
    };
    (timeout < least).then(|| {
        let (interval, timeout) = (words(interval), words(timeout));
        let message =
            format!("`timeout` {timeout} is too short for `interval` {interval}: at least {rule}");
        (message, format!("write \"{}\" or more", words(least)))
    })
}

fn clocks(raw: &raw::Agent) -> raw::Clocks {
    raw::Clocks {
        interval: raw.interval.clone(),
        timeout: raw.timeout.clone(),
        first_beat_within: raw.first_beat_within.clone(),
        stall_after: raw.stall_after.clone(),
        loop_after: raw.loop_after,
        detector: raw.detector,
        lease_max: raw.lease_max.clone(),
        leave_max: raw.leave_max.clone(),
    }
}

fn severities(raw: &raw::Severities) -> Vec<(Condition, Severity)> {
    let given = [
        (Condition::Down, raw.down),
        (Condition::Failed, raw.failed),
        (Condition::Overrun, raw.overrun),
        (Condition::Stalled, raw.stalled),
        (Condition::Looping, raw.looping),
        (Condition::Degraded, raw.degraded),
    ];
    given.into_iter().filter_map(|(condition, it)| Some((condition, severity(it?)))).collect()
}

pub(crate) fn severity(raw: raw::Severity) -> Severity {
    match raw {
        raw::Severity::Critical => Severity::Critical,
        raw::Severity::Warning => Severity::Warning,
        raw::Severity::Info => Severity::Info,
    }
}

/// A level that depends on whether the daemon's settings are known at all.
pub(crate) fn lacking(fixed: &Fixed) -> Option<Level> {
    (!fixed.unsure).then(|| fixed.ground.absent())
}
