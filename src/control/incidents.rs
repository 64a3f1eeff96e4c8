//! Verb incidents: what is open, or what ever was.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Refusal, words};
use crate::{
    domain::{
        alert::{event, wording},
        delivery::{Body, Delivery},
        id::IncidentId,
        incident::Incident,
    },
    ports::store::IncidentFilter,
};

/// So many are listed where nobody says.
const LIMIT: usize = 100;

/// How far back `would_tell` looks where nobody says: a week's trial beside another system.
const WOULD_TELL_SINCE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Rows of a dry run that are read at once, the newest.
const REHEARSED_MAX: usize = 50_000;

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
    /// Only what opened within this: 90s, 5m, 12h, 7d
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What a dry run (dry_run of atalaya.toml) would have told since then (7d), resolved or not
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub would_tell: bool,
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
    /// The watch that explains it: nobody is disturbed meanwhile.
    pub held_by: Option<String>,
    /// When that is decided again; none while the trouble of that watch lasts.
    pub held_until: Option<Timestamp>,
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
    /// What a dry run would have sent of it, oldest first; asked for by `would_tell` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub would_tell: Vec<WouldTell>,
}

/// A message that a dry run did not send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WouldTell {
    pub at: Timestamp,
    pub receiver: String,
    /// It would have made a sound, or is an event for a program.
    pub rings: bool,
    /// The first line of the message.
    pub text: String,
}

impl WouldTell {
    fn of(row: &Delivery) -> Self {
        let text = match &row.body {
            Body::New { message, .. } | Body::Edit { message } => wording::first_line(message),
            Body::Event(event) => format!("{}: {}", event.event, event.message),
        };
        let rings = matches!(row.body, Body::New { rings: true, .. } | Body::Event(_));
        Self {
            at: row.next_at.max(row.created_at),
            receiver: row.receiver.to_string(),
            rings,
            text,
        }
    }
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
            held_by: incident.held.as_ref().map(|it| it.by.to_string()),
            held_until: incident.held.as_ref().and_then(|it| it.until),
            ending: incident.resolved.as_ref().map(|(_, ending)| event::ended(ending)),
            told: incident.told.iter().map(ToString::to_string).collect(),
            next_step_at: incident.next_step_at.filter(|_| incident.resolved.is_none()),
            repeat_at: incident.repeat_at.filter(|_| incident.resolved.is_none()),
            origin: incident.subject.origin.to_string(),
            would_tell: Vec::new(),
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
        let since = it.since.as_deref().map(words::parse_length).transpose();
        let since = since.map_err(Refusal::wrong_use)?;
        let ago = |length| self.tower.now().checked_sub(length).unwrap_or(Timestamp::MIN);
        let all = it.all || it.would_tell;
        // What is picked from is read whole: the newest few may not be among those that are meant.
        let read = if it.would_tell || since.is_some() { LIMIT_MAX } else { limit };
        let filter = IncidentFilter { all, watch, id: None, limit: read };
        let mut found = self.tower.store().incidents(filter).await?;
        let mut views: Vec<IncidentView> = if it.would_tell {
            let rows = self.rehearsed(ago(since.unwrap_or(WOULD_TELL_SINCE))).await?;
            found.retain(|it| rows.contains_key(&it.id));
            let told = |it: &Incident| rows.get(&it.id).cloned().unwrap_or_default();
            found
                .iter()
                .map(|it| IncidentView { would_tell: told(it), ..IncidentView::of(it) })
                .collect()
        } else {
            let since = since.map_or(Timestamp::MIN, ago);
            found.retain(|it| since <= it.opened_at);
            found.iter().map(IncidentView::of).collect()
        };
        views.truncate(limit);
        Ok(views)
    }

    /// What would have been sent since then, by incident.
    async fn rehearsed(
        &self,
        since: Timestamp,
    ) -> Result<HashMap<IncidentId, Vec<WouldTell>>, Refusal> {
        let mut by_incident: HashMap<IncidentId, Vec<WouldTell>> = HashMap::new();
        for row in self.tower.store().rehearsed(since, REHEARSED_MAX).await? {
            for incident in &row.incidents {
                by_incident.entry(*incident).or_default().push(WouldTell::of(&row));
            }
        }
        Ok(by_incident)
    }
}
