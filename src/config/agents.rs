//! Agents: `[[agent]]` of all files becomes checked agents, and patterns for those that nobody can name one by one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use secrecy::SecretString;

use super::{
    document::{Step, steps},
    raw,
    registry::{Check, File, severity},
    report::Finding,
    values,
};
use crate::domain::{
    id::{BadName, Name, ReceiverId, WatchId},
    incident::Severity,
    registry::{Pattern, Watched},
    text::Text,
    watch::{Condition, Subject, agent},
};

const NAME_CHARACTERS_MAX: usize = 40;
/// Each is asked for every name that is not declared.
const PATTERNS_MAX: usize = 1_000;
const ID_HELP: &str = "letters, digits and . _ : @ - , a letter or digit first";

/// What the entries declare.
#[derive(Default)]
pub(super) struct Declared {
    /// In the order of the files.
    pub(super) agents: Vec<Watched>,
    /// The longest literal first; of two alike, as they stand in the files.
    pub(super) patterns: Vec<Pattern>,
    /// What the pings under these ids and aliases must show.
    pub(super) tokens: BTreeMap<Name, SecretString>,
}

/// Where an id was first used.
type Used<'a> = HashMap<&'a str, (&'a File, u32)>;

impl<'a> Check<'a> {
    pub(super) fn agents(&mut self, defaults: &agent::Spec) -> Declared {
        let mut used = Used::new();
        let mut declared = Declared::default();
        for file in self.files {
            for (index, raw) in file.raw.agent.iter().flatten().enumerate() {
                let Some(id) = raw.id.as_deref() else { continue };
                if id.contains('*') {
                    if declared.patterns.len() == PATTERNS_MAX {
                        let message = format!("more than {PATTERNS_MAX} patterns");
                        let place = file.document.value(&steps!["agent", index, "id"]);
                        let help = "one that matches more serves them all";
                        self.findings.push(Finding::error(place, message, help));
                        return declared;
                    }
                    declared.patterns.extend(self.pattern(file, index, raw, defaults, &mut used));
                } else {
                    self.agent(file, index, raw, defaults, &mut used, &mut declared);
                }
            }
        }
        let literal = |it: &Pattern| it.id.bytes().filter(|it| *it != b'*').count();
        declared.patterns.sort_by_key(|it| std::cmp::Reverse(literal(it)));
        declared
    }

    fn agent(
        &mut self,
        file: &'a File,
        index: usize,
        raw: &'a raw::Agent,
        defaults: &agent::Spec,
        used: &mut Used<'a>,
        declared: &mut Declared,
    ) {
        let Some(id) = raw.id.as_deref() else { return };
        let Some(id) = self.name(file, &steps!["agent", index, "id"], id, used) else { return };
        let mut aliases = Vec::new();
        for (number, alias) in raw.aliases.iter().flatten().enumerate() {
            let at = steps!["agent", index, "aliases", number];
            aliases.extend(self.name(file, &at, alias, used));
        }
        let at = steps!["agent", index];
        if let Some(token) = self.token(file, index, raw) {
            // An alias is another way to the same door.
            let names = aliases.iter().chain([&id]).cloned();
            declared.tokens.extend(names.map(|it| (it, token.clone())));
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
            group: self.group(file, index, raw),
        };
        declared.agents.push(Watched { subject: Arc::new(subject), spec: spec.into() });
    }

    /// An entry for all agents whose ids match.
    fn pattern(
        &mut self,
        file: &'a File,
        index: usize,
        raw: &'a raw::Agent,
        defaults: &agent::Spec,
        used: &mut Used<'a>,
    ) -> Option<Pattern> {
        let id = raw.id.as_deref()?;
        let at = steps!["agent", index, "id"];
        if let Err(why) = id.replace('*', "x").parse::<Name>() {
            let message = format!("no id looks like {:?}: {why}", shortened(id));
            self.findings.push(Finding::error(file.document.value(&at), message, ID_HELP));
            return None;
        }
        // What belongs to one agent cannot belong to many.
        for (key, given, help) in [
            ("name", raw.name.is_some(), "each goes by its id; give this one an entry of its own"),
            ("aliases", raw.aliases.is_some(), "give the agent that has them an entry of its own"),
            ("token", raw.token.is_some(), "give the agent that has it an entry of its own"),
            (
                "token_file",
                raw.token_file.is_some(),
                "give the agent that has it an entry of its own",
            ),
        ] {
            if given {
                let place = file.document.value(&steps!["agent", index, key]);
                let message = format!("`{key}` is of one agent, and {:?} is many", shortened(id));
                self.findings.push(Finding::error(place, message, help));
            }
        }
        if !self.is_unused(file, &at, id, used) {
            return None;
        }
        let at = steps!["agent", index];
        Some(Pattern {
            id: id.into(),
            group: self.group(file, index, raw),
            notify: self.notify(file, index, raw),
            severity: raw.severity.as_ref().map(severities).unwrap_or_default(),
            spec: Arc::new(self.spec(file, &at, &clocks(raw), defaults)),
            origin: file.origin(&at),
        })
    }

    /// An id or alias, checked and not yet used.
    fn name(
        &mut self,
        file: &'a File,
        at: &[Step<'_>],
        text: &'a str,
        used: &mut Used<'a>,
    ) -> Option<Name> {
        match text.parse::<Name>() {
            Ok(name) => self.is_unused(file, at, text, used).then_some(name),
            Err(why) => {
                let message = format!("{:?} is no id: {why}", shortened(text));
                let help =
                    if text.contains('*') { "only an `id` may be a pattern" } else { ID_HELP };
                self.findings.push(Finding::error(file.document.value(at), message, help));
                None
            }
        }
    }

    fn is_unused(
        &mut self,
        file: &'a File,
        at: &[Step<'_>],
        text: &'a str,
        used: &mut Used<'a>,
    ) -> bool {
        if self.fixed.daemon.redis.as_ref().is_some_and(|it| it.own_id == text) {
            let message = format!("`{text}` is atalaya itself: its beats on Redis are ignored");
            let help = "another id, or another `beat_as` in [redis] of atalaya.toml";
            self.findings.push(Finding::error(file.document.value(at), message, help));
            return false;
        }
        if let Some((other, line)) = used.get(text) {
            let message = format!("`{text}` is used twice");
            let help = format!("it stands at {}:{line} already", other.document.path);
            self.findings.push(Finding::error(file.document.value(at), message, help));
            return false;
        }
        used.insert(text, (file, file.document.line(at)));
        true
    }

    fn group(&mut self, file: &File, index: usize, raw: &raw::Agent) -> Option<Name> {
        match raw.group.as_deref()?.parse() {
            Ok(group) => Some(group),
            Err(why) => {
                let why: BadName = why;
                let place = file.document.value(&steps!["agent", index, "group"]);
                self.findings.push(Finding::error(place, format!("`group`: {why}"), ID_HELP));
                None
            }
        }
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
}

fn shortened(text: &str) -> String {
    text.chars().take(NAME_CHARACTERS_MAX).collect()
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
        needs_input: raw.needs_input.clone(),
        beats: raw.beats,
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
        (Condition::NeedsInput, raw.needs_input),
    ];
    given.into_iter().filter_map(|(condition, it)| Some((condition, severity(it?)))).collect()
}
