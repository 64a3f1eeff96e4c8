//! Verb status: what is in trouble first, then what is well, counted, then atalaya itself.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Refusal, agents::rank, incidents::IncidentView};
use crate::{
    actors::{
        signs::Given,
        tower::{Part, Seen},
    },
    domain::{
        id::Kind,
        incident::{Incident, Severity},
        text::Text,
        watch::agent::Verdict,
    },
};

#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {}

/// So many agents have this verdict (`idle` are counted beside `up`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    pub verdict: String,
    pub count: usize,
}

/// A source, a receiver, the registry or the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartView {
    pub watch: String,
    /// The condition it is in; none: well.
    pub trouble: Option<String>,
    pub since: Timestamp,
    /// The error as an operator reads it.
    pub detail: String,
    /// Receivers: deliveries not yet sent.
    pub owed: Option<usize>,
}

/// A sign of life of our own: the dead-man ping, the beat on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignView {
    /// Its watch is `self/<name>`.
    pub name: String,
    /// When somebody took it last; none: not in this run.
    pub taken_at: Option<Timestamp>,
    /// Nobody has taken it since then.
    pub failing_since: Option<Timestamp>,
    /// And why.
    pub detail: String,
}

impl SignView {
    fn of((name, given): (&&'static str, &Given)) -> Self {
        let failing = given.failing.as_ref();
        Self {
            name: (*name).to_owned(),
            taken_at: given.taken_at,
            failing_since: failing.map(|it| it.0),
            detail: failing.map(|it| it.1.as_str().to_owned()).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreView {
    pub kind: String,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusView {
    pub node: String,
    pub version: String,
    /// It judges: facts restored, actors at work.
    pub ready: bool,
    pub now: Timestamp,
    pub started_at: Timestamp,
    pub registry_read_at: Timestamp,
    /// Open incidents, worst first.
    pub troubles: Vec<IncidentView>,
    /// Why they are not known: the store cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub troubles_unknown: Option<String>,
    /// Agents in all.
    pub agents: usize,
    /// The same by verdict, those that are well first.
    pub verdicts: Vec<Count>,
    /// Ids that pinged and are not watched.
    pub unknown: usize,
    pub parts: Vec<PartView>,
    /// Given only while atalaya finds itself well.
    #[serde(default)]
    pub signs: Vec<SignView>,
    pub store: StoreView,
    /// Actors that were restarted since the start.
    pub restarts: u64,
    /// Payloads that named no agent or an impossible one.
    pub refused_beats: u64,
    /// `[delivery] dry_run`: receivers are sent nothing but test messages.
    #[serde(default)]
    pub dry_run: bool,
    /// systemd starts it again when it was not told for so long that all is well; none: nobody does.
    #[serde(default)]
    pub watchdog_seconds: Option<u64>,
}

impl StatusView {
    /// A critical incident is open, acknowledged or not.
    pub fn is_bad_news(&self) -> bool {
        self.troubles_unknown.is_some()
            || self.troubles.iter().any(|it| it.is_open() && it.is_critical())
    }
}

/// Worst first: severity, then condition, then the oldest.
pub(super) fn worst_first(incidents: &mut [Incident]) {
    let weight = |it: Severity| match it {
        Severity::Critical => 0,
        Severity::Warning => 1,
        Severity::Info => 2,
    };
    incidents.sort_by_key(|it| (weight(it.severity), it.condition.rank(), it.opened_at, it.id));
}

/// Counts by verdict, in the order in which a reader asks: well, then worse and worse.
pub(super) fn count(shown: impl Iterator<Item = (Verdict, bool)>) -> Vec<Count> {
    let mut counts: Vec<(u8, &'static str, usize)> = Vec::new();
    for (verdict, idle) in shown {
        let word = if idle && verdict == Verdict::Up { "idle" } else { verdict.word() };
        match counts.iter_mut().find(|(_, known, _)| *known == word) {
            Some((_, _, count)) => *count += 1,
            None => counts.push((u8::MAX - rank(verdict), word, 1)),
        }
    }
    counts.sort_by_key(|(rank, word, _)| (*rank, *word == "idle"));
    counts.into_iter().map(|(_, word, count)| Count { verdict: word.to_owned(), count }).collect()
}

impl PartView {
    pub fn of(part: &Part, owed: Option<usize>) -> Self {
        Self {
            watch: part.watch.to_string(),
            trouble: part.trouble.map(|it| it.word().to_owned()),
            since: part.since,
            detail: part.detail.as_str().to_owned(),
            owed,
        }
    }
}

impl Controller {
    pub(super) async fn status(&self) -> Result<StatusView, Refusal> {
        let now = self.tower.now();
        let health = self.tower.health();
        // Who asks while the store is in trouble wants to know what can be known.
        let (mut open, unknown_why) = match self.open_incidents(None).await {
            Ok(open) => (open, None),
            Err(refusal) => (Vec::new(), Some(refusal.text)),
        };
        worst_first(&mut open);
        let watches = self.tower.watches();
        Ok(StatusView {
            node: health.node.as_str().to_owned(),
            version: health.version.to_owned(),
            ready: health.ready,
            now,
            started_at: health.started_at,
            registry_read_at: health.registry_read_at,
            troubles: open.iter().map(IncidentView::of).collect(),
            troubles_unknown: unknown_why,
            agents: watches.len(),
            verdicts: count(watches.iter().map(|Seen::Agent(it)| it.spec.shown(&it.state, now))),
            unknown: self.tower.unknown().len(),
            parts: self.part_views(),
            signs: health.signs.iter().map(SignView::of).collect(),
            store: StoreView {
                kind: self.tower.store().kind().to_owned(),
                bytes: self.tower.store().size().await.map_or(0, |it| it.bytes),
            },
            restarts: health.restarts,
            refused_beats: health.refused_beats,
            dry_run: health.rehearses,
            watchdog_seconds: health.watchdog.map(|it| it.as_secs()),
        })
    }

    pub(super) fn part_views(&self) -> Vec<PartView> {
        let health = self.tower.health();
        let view = |part: &Part| {
            let owed = health.owed.iter().find(|(receiver, _)| receiver.watch() == part.watch);
            let none = (part.watch.kind == Kind::Receiver).then_some(0);
            PartView::of(part, owed.map(|(_, count)| *count).or(none))
        };
        let mut parts = self.tower.parts();
        // The board learns of a receiver when something was sent to it; until then it may be owed a lot.
        for receiver in &(self.settings)().receivers {
            let watch = receiver.id.watch();
            if !parts.iter().any(|it| it.watch == watch) {
                let detail = Text::clean("", 1);
                parts.push(Part { watch, trouble: None, since: health.started_at, detail });
            }
        }
        parts.iter().map(view).collect()
    }
}
