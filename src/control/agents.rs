//! Verb agents: all agents as they are now, or the ids that pinged and are not watched.

use std::{collections::HashMap, fmt::Write as _};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Refusal, Reply};
use crate::{
    actors::tower::{Seen, Sight, Unknown},
    domain::{
        alert::wording::written,
        id::{IncidentId, Name, WatchId},
        incident::Incident,
        watch::{
            agent::{self, Verdict},
            beat::Progress,
        },
    },
};

#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Agents {
    /// Ids that pinged and are not watched
    #[arg(long)]
    pub unknown: bool,
    /// The unknown ids as entries for registry.toml
    #[arg(long, requires = "unknown")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub toml: bool,
    /// Agents of this group alone
    #[arg(long, value_name = "NAME", conflicts_with = "unknown")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// An agent as it is now.
pub(super) type Agent = Sight<agent::Spec, agent::State>;

/// How far the work is: a number that grows, or an opaque digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ProgressView {
    Count(u64),
    Digest(String),
}

/// One agent (docs/BEHAVIOUR.md 12). Times are UTC, durations are written `90s`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentView {
    pub id: String,
    /// Name for people.
    pub name: String,
    pub verdict: String,
    /// Since when the verdict holds.
    pub since: Timestamp,
    pub last_beat: Option<Timestamp>,
    pub progress: Option<ProgressView>,
    /// What it says that it does.
    pub task: Option<String>,
    /// The newest JSON object that it sent.
    pub metadata: Option<serde_json::Value>,
    /// It says that it has nothing to do; beside `up`.
    pub idle: bool,
    pub aliases: Vec<String>,
    /// What it belongs to, where the registry says so.
    #[serde(default)]
    pub group: Option<String>,
    /// Without an entry of its own: it pinged and was taken in.
    pub self_registered: bool,
    /// Source of the last beat.
    pub source: Option<String>,
    pub beats: u64,
    /// Beats whose payload could not be read.
    pub malformed: u64,
    pub seq: Option<u64>,
    pub progress_at: Option<Timestamp>,
    pub interval: String,
    pub timeout: String,
    /// When the verdict changes by itself, if nothing is heard.
    pub deadline: Option<Timestamp>,
    /// Its worst open incident.
    pub incident: Option<u64>,
    /// Its actor keeps failing: nobody watches it.
    pub quarantined_since: Option<Timestamp>,
    /// File and line that declare it.
    pub origin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnknownView {
    pub id: String,
    pub beats: u64,
    pub last_beat: Timestamp,
}

/// Unknown ids as text that can be put into the registry as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DraftView {
    pub toml: String,
}

impl DraftView {
    fn of(unknown: &[Unknown]) -> Self {
        let mut toml = String::new();
        for it in unknown {
            let (name, beats, last) = (&it.name, it.beats, it.last);
            // A name holds nothing that would have to be escaped. Writing into a `String` cannot fail.
            let _ = write!(
                toml,
                "[[agent]]\nid = \"{name}\"    # {beats} beats, the last {last:.0}\n\n"
            );
        }
        Self { toml }
    }
}

impl AgentView {
    /// `shown` is what [`agent::Spec::shown`] says at the moment of looking.
    pub fn of(
        seen: &Agent,
        shown: (Verdict, bool),
        sources: &[String],
        incident: Option<IncidentId>,
    ) -> Self {
        let Sight { subject, spec, state, epoch: _, actor_starts: _, quarantined_since } = seen;
        let newest = state.heard.iter().max_by_key(|it| it.last);
        Self {
            id: subject.watch.name.to_string(),
            name: subject.name.as_str().to_owned(),
            verdict: shown.0.word().to_owned(),
            since: since(spec, state, shown.0),
            last_beat: state.last,
            progress: state.progress.as_ref().map(|it| match it {
                Progress::Count(count) => ProgressView::Count(*count),
                Progress::Digest(digest) => ProgressView::Digest(digest.to_string()),
            }),
            task: state.task.as_ref().map(|it| it.as_str().to_owned()),
            metadata: state.metadata.as_deref().and_then(|it| serde_json::from_str(it).ok()),
            idle: shown.1,
            aliases: subject.aliases.iter().map(ToString::to_string).collect(),
            group: subject.group.as_ref().map(ToString::to_string),
            self_registered: subject.self_registered,
            source: newest.and_then(|it| sources.get(usize::from(it.source.0)).cloned()),
            beats: state.beats,
            malformed: state.malformed,
            seq: state.seq,
            progress_at: state.progress_at,
            interval: written(spec.interval),
            timeout: written(spec.timeout),
            deadline: state.deadline,
            incident: incident.map(|it| it.0),
            quarantined_since: *quarantined_since,
            origin: subject.origin.to_string(),
        }
    }
}

/// `late` is derived from the clock, so nobody wrote down when it began: silence over 1.5 × interval.
fn since(spec: &agent::Spec, state: &agent::State, shown: Verdict) -> Timestamp {
    match (shown, state.last) {
        (Verdict::Late, Some(last)) if state.said != Verdict::Late => {
            last.saturating_add(spec.interval / 2 * 3).unwrap_or(last)
        }
        _ => state.said_since,
    }
}

/// Worst first, then by name: the order of lists.
pub(super) fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Down => 0,
        Verdict::Failed => 1,
        Verdict::Overrun => 2,
        Verdict::Stalled => 3,
        Verdict::Looping => 4,
        Verdict::Degraded => 5,
        Verdict::Unanswered => 6,
        Verdict::NeedsInput => 7,
        Verdict::Late => 8,
        Verdict::Blind => 9,
        Verdict::Waiting => 10,
        Verdict::Leaving => 11,
        Verdict::Paused => 12,
        Verdict::Up => 13,
    }
}

/// The worst open incident of each watch.
pub(super) fn worst(open: &[Incident]) -> HashMap<WatchId, IncidentId> {
    let mut worst: HashMap<WatchId, &Incident> = HashMap::new();
    for incident in open {
        let known = worst.entry(incident.watch.clone()).or_insert(incident);
        if incident.condition.rank() < known.condition.rank() {
            *known = incident;
        }
    }
    worst.into_iter().map(|(watch, incident)| (watch, incident.id)).collect()
}

impl Controller {
    pub(super) async fn list_agents(&self, it: &Agents) -> Result<Reply, Refusal> {
        match (it.unknown, it.toml, &it.group) {
            (true, true, None) => Ok(Reply::Draft(DraftView::of(&self.tower.unknown()))),
            (true, false, None) => Ok(Reply::Unknown(self.unknown_agents())),
            (false, false, group) => {
                let group = group.as_deref().map(|it| self.group(it)).transpose()?;
                Ok(Reply::Agents(self.agents(group.as_ref()).await?))
            }
            (false, true, _) => Err(Refusal::wrong_use("toml is of unknown ids alone")),
            (true, _, Some(_)) => Err(Refusal::wrong_use("unknown ids are in no group")),
        }
    }

    async fn agents(&self, group: Option<&Name>) -> Result<Vec<AgentView>, Refusal> {
        // What the watches say needs no store.
        let open = self.open_incidents(None).await.unwrap_or_default();
        let mut rows = self.rows(&worst(&open));
        rows.retain(|(_, it)| group.is_none_or(|name| it.group.as_deref() == Some(name.as_str())));
        rows.sort_by(|(left, a), (right, b)| (rank(*left), &a.id).cmp(&(rank(*right), &b.id)));
        Ok(rows.into_iter().map(|(_, view)| view).collect())
    }

    fn rows(&self, incidents: &HashMap<WatchId, IncidentId>) -> Vec<(Verdict, AgentView)> {
        let now = self.tower.now();
        let row = |seen: &Seen| {
            let Seen::Agent(seen) = seen;
            let shown = seen.spec.shown(&seen.state, now);
            let incident = incidents.get(&seen.subject.watch).copied();
            (shown.0, AgentView::of(seen, shown, &self.sources, incident))
        };
        self.tower.watches().iter().map(row).collect()
    }

    /// All agents as they are watched now, in no order and without their incidents: no store is asked.
    pub fn fleet(&self) -> Vec<(Verdict, AgentView)> {
        self.rows(&HashMap::new())
    }

    /// Changes when an agent comes or goes, has another name or another verdict. `late` is no verdict of its own.
    pub fn fleet_mark(&self) -> u64 {
        self.tower.mark()
    }

    fn unknown_agents(&self) -> Vec<UnknownView> {
        let view = |it: Unknown| UnknownView {
            id: it.name.to_string(),
            beats: it.beats,
            last_beat: it.last,
        };
        self.tower.unknown().into_iter().map(view).collect()
    }
}
