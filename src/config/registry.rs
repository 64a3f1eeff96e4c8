//! Registry: registry.toml and registry.d/*.toml, together, become what is wanted. Ids are unique over
//! all files; of a setting that stands in two of them, the later file (by name) rules.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::SignedDuration;
use secrecy::SecretString;

use super::{
    agents::Declared,
    dependencies,
    document::{Document, Step, steps},
    layers::Clocks,
    maintenance, raw,
    receivers::{self, Receivers},
    report::{Finding, Level, Place, Report, has_errors},
    settings::{Daemon, Receiver},
    shape::Shape,
    targets,
    values::{self, Ground, Range, from_to, words},
    walk::{header, read, walk},
};
use crate::domain::{
    desk, detector,
    id::{Name, Origin, SourceId},
    incident::Severity,
    registry::{Pattern, Wanted},
    watch::agent,
};

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
    let Declared { agents: watches, patterns, tokens: agent_tokens } = check.agents(&defaults);
    let auto_register = check.auto_register(&defaults);
    let undeclared_max = check.last(|it| it.auto_register_max.as_ref());
    let undeclared_max = undeclared_max.map_or(AUTO_REGISTER_MAX, |(_, max)| *max);
    let mut desk = check.desk();
    desk.dependencies = dependencies::check(fixed, &files, (&watches, &patterns), check.findings);
    if watches.is_empty()
        && patterns.is_empty()
        && auto_register.is_none()
        && check.findings.len() == first
    {
        let place =
            files.first().map_or(Place::Named("registry".into()), |it| it.document.value(&[]));
        let help = "add [[agent]], or auto_register = true";
        check.findings.push(Finding::warning(place, "nothing is watched", help));
    }
    let desk = Arc::new(desk);
    let wanted = Arc::new(Wanted { watches, patterns, auto_register, undeclared_max, desk });
    if !has_errors(&findings[first..]) {
        receivers::warn(&files, &receivers, &wanted.desk.routes, findings);
        targets::warn(&files, &wanted.groups(), findings);
    }
    let report = Report { findings: findings[first..].to_vec() };
    if report.has_errors() {
        return None;
    }
    Some(Registry { wanted, receivers: receivers.list, agent_tokens, text, report })
}

/// The registry under check.
pub(super) struct Check<'a> {
    pub(super) fixed: &'a Fixed,
    pub(super) files: &'a [File],
    pub(super) receivers: &'a Receivers,
    pub(super) findings: &'a mut Vec<Finding>,
}

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
            needs_input: None,
            beats: agent::Beats::Steady,
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
    pub(super) fn spec(
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
        let needs_input =
            self.duration(file, at, "needs_input", clocks.needs_input.as_ref(), from_to(0, 168));
        spec.needs_input = needs_input.or(spec.needs_input);
        spec.beats = match clocks.beats {
            Some(raw::Beats::Steady) => agent::Beats::Steady,
            Some(raw::Beats::OnActivity) => agent::Beats::OnActivity,
            None => spec.beats,
        };
        spec.detector = match clocks.detector {
            Some(raw::Detector::Fixed) => detector::Kind::Fixed,
            Some(raw::Detector::Adaptive) => detector::Kind::Adaptive,
            None => spec.detector,
        };
        spec
    }

    fn auto_register(&self, defaults: &agent::Spec) -> Option<Pattern> {
        let (file, wanted) = self.last(|it| it.auto_register.as_ref())?;
        wanted.then(|| Pattern {
            id: "*".into(),
            group: None,
            notify: Vec::new(),
            severity: Vec::new(),
            spec: Arc::new(defaults.clone()),
            origin: file.origin(&steps!["auto_register"]),
        })
    }

    fn desk(&mut self) -> desk::Settings {
        let node = &self.fixed.daemon.node;
        let mut settings = desk::Settings {
            receivers: self.receivers.of_desk(),
            routes: receivers::routes(self.fixed, self.files, self.receivers, self.findings),
            maintenance: maintenance::windows(self.fixed, self.files, self.findings),
            digest_every: self.fixed.daemon.delivery.digest_every,
            ..desk::Settings::new(node.name.clone(), node.timezone.clone())
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
