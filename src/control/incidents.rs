//! Verb incidents: what is open, or what ever was.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Refusal};
use crate::{
    domain::{
        alert::{event, wording},
        incident::Incident,
    },
    ports::store::IncidentFilter,
};

/// So many are listed where nobody says.
const LIMIT: usize = 100;

/// So many are listed at most.
const LIMIT_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Incidents {
    /// Resolved ones too
    #[arg(long)]
    pub all: bool,
    /// Only those of one watch
    #[arg(long, value_name = "WATCH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<String>,
    /// So many at most, newest first: 100 where nothing is said
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// One incident (docs/BEHAVIOUR.md 12). Times are UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentView {
    pub id: u64,
    /// `kind/name`.
    pub watch: String,
    pub condition: String,
    pub severity: String,
    /// `open`, `acknowledged` or `resolved`.
    pub status: String,
    /// When the promise broke, not when it was noticed.
    pub opened_at: Timestamp,
    /// When it broke last: at the opening, or at the newest relapse.
    pub broke_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    /// 1, and 1 more for each relapse.
    pub occurrences: u32,
    /// Counts what programs were told of it.
    pub revision: u32,
    /// Name of the watch for people.
    pub name: String,
    /// Why, in a few words.
    pub cause: String,
    pub task: Option<String>,
    pub acknowledged_by: Option<String>,
    pub acknowledged_until: Option<Timestamp>,
    pub acknowledged_reason: Option<String>,
    /// How it ended, in a few words.
    pub ending: Option<String>,
    /// Receivers that were told of the opening.
    pub told: Vec<String>,
    /// When the next step of the route's chain is told.
    pub next_step_at: Option<Timestamp>,
    /// When programs that were told of it hear of it again.
    pub repeat_at: Option<Timestamp>,
    /// File and line that declare its watch.
    pub origin: String,
}

impl IncidentView {
    pub fn of(incident: &Incident) -> Self {
        let held = incident.acknowledgement.as_ref().filter(|_| incident.resolved.is_none());
        Self {
            id: incident.id.0,
            watch: incident.watch.to_string(),
            condition: incident.condition.word().to_owned(),
            severity: incident.severity.word().to_owned(),
            status: incident.status().to_owned(),
            opened_at: incident.opened_at,
            broke_at: incident.relapses.last().copied().unwrap_or(incident.opened_at),
            resolved_at: incident.resolved.as_ref().map(|(at, _)| *at),
            occurrences: incident.occurrences,
            revision: incident.revision,
            name: incident.subject.name.as_str().to_owned(),
            cause: wording::rule(&incident.cause),
            task: incident.task.as_ref().map(|it| it.as_str().to_owned()),
            acknowledged_by: held.map(|it| it.by.as_str().to_owned()),
            acknowledged_until: held.map(|it| it.until),
            acknowledged_reason: held
                .and_then(|it| it.reason.as_ref())
                .map(|it| it.as_str().to_owned()),
            ending: incident.resolved.as_ref().map(|(_, ending)| event::ended(ending)),
            told: incident.told.iter().map(ToString::to_string).collect(),
            next_step_at: incident.next_step_at.filter(|_| incident.resolved.is_none()),
            repeat_at: incident.repeat_at.filter(|_| incident.resolved.is_none()),
            origin: incident.subject.origin.to_string(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.resolved_at.is_none()
    }

    pub fn is_critical(&self) -> bool {
        self.severity == "critical"
    }
}

impl Controller {
    pub(super) async fn incidents(&self, it: &Incidents) -> Result<Vec<IncidentView>, Refusal> {
        let watch = match &it.watch {
            // History knows watches that are watched no more, so a name that is well formed will do.
            Some(typed) => Some(match self.find(typed) {
                Ok(found) => found.watch().clone(),
                Err(refusal) if it.all => typed.parse().map_err(|_| refusal)?,
                Err(refusal) => return Err(refusal),
            }),
            None => None,
        };
        let limit = it.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
        let filter = IncidentFilter { all: it.all, watch, id: None, limit };
        let found = self.tower.store().incidents(filter).await?;
        Ok(found.iter().map(IncidentView::of).collect())
    }
}
