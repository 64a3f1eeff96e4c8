//! Verb why: the chain of decisions about a watch, who was told and with what success, and what
//! happens next. Each link names its rule and where that rule stands.

use jiff::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Controller, Refusal,
    agents::Agent,
    incidents::IncidentView,
    next::{self, NextView},
    target::{Found, Typed, no_incident, typed},
    words,
};
use crate::{
    actors::tower::Part,
    domain::{
        decision::Decision,
        delivery::{Body, Delivery},
        id::{IncidentId, WatchId},
        incident::Incident,
        silence::Silences,
    },
    ports::store::IncidentFilter,
};

/// Links of the chain that one answer holds, newest kept.
const LINKS_MAX: usize = 200;

/// Without a number, deliveries of so many of the newest incidents are shown.
const INCIDENTS_MAX: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// A watch (mary, agent/mary) or an incident (412, '#412')
    #[arg(value_name = "WATCH|INCIDENT")]
    pub target: String,
}

/// One link: who decided what, by which rule, and where that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkView {
    pub at: Timestamp,
    /// `verdict`, `incident`, `route`, `silence`, `group`, …
    pub stage: String,
    pub outcome: String,
    pub rule: String,
    /// `registry.toml:42`, or the default that decided.
    pub origin: String,
    pub receiver: Option<String>,
    pub incident: Option<u64>,
}

impl LinkView {
    pub fn of(decision: &Decision) -> Self {
        Self {
            at: decision.at,
            stage: decision.stage.word().to_owned(),
            outcome: decision.outcome.as_str().to_owned(),
            rule: decision.rule.as_str().to_owned(),
            origin: decision.origin.to_string(),
            receiver: decision.receiver.as_ref().map(ToString::to_string),
            incident: decision.incident.map(|it| it.0),
        }
    }
}

/// One message owed to one receiver, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryView {
    pub id: u64,
    pub receiver: String,
    /// `new` (rings), `quiet` (new, makes no sound), `edit`, or what a machine is told: `opened`, …
    pub kind: String,
    /// `pending`, `sending`, `sent`, `failed`, `superseded`, `rehearsed` (dry run: not sent).
    pub state: String,
    pub attempts: u32,
    pub created_at: Timestamp,
    /// Since when it is in its state: for `sent`, when it was.
    pub changed_at: Timestamp,
    pub next_at: Timestamp,
    pub error: Option<String>,
    /// How many incidents the message tells of.
    pub incidents: usize,
    pub failed_over: bool,
}

impl DeliveryView {
    /// `changed_at` is the moment at which it came into its state.
    pub fn of((delivery, changed_at): &(Delivery, Timestamp)) -> Self {
        Self {
            id: delivery.id.0,
            receiver: delivery.receiver.to_string(),
            kind: match &delivery.body {
                Body::New { rings: true, .. } => "new",
                Body::New { rings: false, .. } => "quiet",
                Body::Edit { .. } => "edit",
                Body::Event(event) => event.event,
            }
            .to_owned(),
            state: delivery.state.word().to_owned(),
            attempts: delivery.attempts,
            created_at: delivery.created_at,
            changed_at: *changed_at,
            next_at: delivery.next_at,
            error: delivery.error.as_ref().map(|it| it.as_str().to_owned()),
            incidents: delivery.incidents.len(),
            failed_over: delivery.failed_over,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyView {
    pub watch: String,
    pub name: String,
    /// What it says now; `not watched` when it is gone.
    pub verdict: String,
    pub since: Option<Timestamp>,
    /// File and line that declare it.
    pub origin: Option<String>,
    /// Oldest first.
    pub chain: Vec<LinkView>,
    /// Incidents that the chain is about, newest first.
    pub incidents: Vec<IncidentView>,
    /// Oldest first.
    pub deliveries: Vec<DeliveryView>,
    pub next: Vec<NextView>,
}

impl WhyView {
    /// As plain text for a chat: the first line alone suffices, and the newest links stay when it is
    /// cut to `characters_max`.
    pub fn plain(&self, zone: &TimeZone, now: Timestamp, characters_max: usize) -> String {
        let since = self
            .since
            .map(|at| format!(" since {}", words::clock(at, zone, now)))
            .unwrap_or_default();
        let head = format!("{} is {}{since}", self.name, self.verdict);
        let mut tail: Vec<String> = Vec::new();
        for next in &self.next {
            let when = next.at.map(|at| format!("{} ", words::minute(at, zone, now)));
            tail.push(format!("Next: {}{}", when.unwrap_or_default(), next.what));
        }
        let mut left = characters_max
            .saturating_sub(head.chars().count() + 3)
            .saturating_sub(tail.iter().map(|it| it.chars().count() + 1).sum());
        let mut chain: Vec<String> = Vec::new();
        for link in self.chain.iter().rev() {
            let line = plain_link(link, zone, now);
            let Some(rest) = left.checked_sub(line.chars().count() + 1) else {
                chain.push("…".to_owned());
                break;
            };
            left = rest;
            chain.push(line);
        }
        chain.reverse();
        let lines: Vec<String> = std::iter::once(head).chain(chain).chain(tail).collect();
        lines.join("\n").chars().take(characters_max).collect()
    }
}

fn plain_link(link: &LinkView, zone: &TimeZone, now: Timestamp) -> String {
    let who = link.receiver.as_deref().unwrap_or(&link.stage);
    let at = words::clock(link.at, zone, now);
    format!("{at} {who}: {} ({}; {})", link.outcome, link.rule, link.origin)
}

/// Whom the question is about.
struct Asked {
    watch: WatchId,
    incident: Option<IncidentId>,
}

impl Controller {
    pub(super) async fn why(&self, it: &Why) -> Result<WhyView, Refusal> {
        let asked = self.asked(&it.target).await?;
        self.why_of(asked).await
    }

    pub(super) async fn why_incident(&self, incident: &Incident) -> Result<WhyView, Refusal> {
        let incident_id = Some(incident.id);
        self.why_of(Asked { watch: incident.watch.clone(), incident: incident_id }).await
    }

    async fn asked(&self, target: &str) -> Result<Asked, Refusal> {
        let number = match typed(target) {
            Typed::Incident(id) => Some(id),
            Typed::Number(id) => self.tower.watch(target).is_none().then_some(id),
            Typed::Name => None,
        };
        if let Some(id) = number {
            let incident = self.incident(id).await?.ok_or_else(|| no_incident(id))?;
            return Ok(Asked { watch: incident.watch, incident: Some(id) });
        }
        match self.find(target) {
            Ok(found) => Ok(Asked { watch: found.watch().clone(), incident: None }),
            // A watch that is gone may still have a story.
            Err(refusal) => match target.parse::<WatchId>() {
                Ok(watch) if !self.decisions(&watch, None, 1).await?.is_empty() => {
                    Ok(Asked { watch, incident: None })
                }
                Ok(_) | Err(_) => Err(refusal),
            },
        }
    }

    async fn decisions(
        &self,
        watch: &WatchId,
        incident: Option<IncidentId>,
        limit: usize,
    ) -> Result<Vec<Decision>, Refusal> {
        Ok(self.tower.store().decisions(watch.clone(), incident, limit).await?)
    }

    async fn why_of(&self, asked: Asked) -> Result<WhyView, Refusal> {
        let store = self.tower.store();
        let filter = match asked.incident {
            Some(_) => IncidentFilter { all: true, id: asked.incident, watch: None, limit: 1 },
            None => IncidentFilter {
                all: true,
                id: None,
                watch: Some(asked.watch.clone()),
                limit: INCIDENTS_MAX,
            },
        };
        let incidents = store.incidents(filter).await?;
        let decisions = self.decisions(&asked.watch, asked.incident, LINKS_MAX).await?;
        let found = self.find(&asked.watch.to_string()).ok();
        let mut view = WhyView::begin(&asked.watch, found.as_ref().map(|it| self.standing(it)));
        view.chain = decisions.iter().map(LinkView::of).collect();
        if let Some(Found::Agent(seen)) = &found
            && asked.incident.is_none()
        {
            view.chain.extend(last_beat(seen, &self.sources));
        }
        view.chain.sort_by_key(|it| it.at);
        let silences = self.silences_now().await?.into_iter().collect();
        for incident in &incidents {
            let told = store.deliveries_of(incident.id).await?;
            view.next.extend(self.next_of(incident, &told, &silences));
            view.deliveries.extend(told.iter().map(DeliveryView::of));
        }
        view.deliveries.sort_by_key(|it| it.id);
        view.deliveries.dedup_by_key(|it| it.id);
        view.incidents = incidents.iter().map(IncidentView::of).collect();
        Ok(view)
    }

    /// What is to come of an incident of which these deliveries tell.
    pub(super) fn next_of(
        &self,
        incident: &Incident,
        told: &[(Delivery, Timestamp)],
        silences: &Silences,
    ) -> Vec<NextView> {
        let around = next::Circumstances {
            now: self.tower.now(),
            repeat: (self.settings)().repeat,
            silence: silences.over(&incident.subject),
        };
        let deliveries: Vec<Delivery> = told.iter().map(|(it, _)| it.clone()).collect();
        next::of_incident(incident, &deliveries, around)
    }

    /// What the watch says now.
    fn standing(&self, found: &Found) -> Standing {
        match found {
            Found::Agent(seen) => {
                let shown = seen.spec.shown(&seen.state, self.tower.now()).0;
                Standing {
                    name: seen.subject.name.as_str().to_owned(),
                    verdict: shown.word().to_owned(),
                    since: seen.state.said_since,
                    origin: Some(seen.subject.origin.to_string()),
                    next: vec![next::of_agent(seen, shown)],
                }
            }
            Found::Part(part) => Standing::part(part),
        }
    }
}

/// The present half of the answer.
struct Standing {
    name: String,
    verdict: String,
    since: Timestamp,
    origin: Option<String>,
    next: Vec<NextView>,
}

impl Standing {
    fn part(part: &Part) -> Self {
        Self {
            name: part.watch.to_string(),
            verdict: part.trouble.map_or("up", |it| it.word()).to_owned(),
            since: part.since,
            origin: None,
            next: Vec::new(),
        }
    }
}

impl WhyView {
    fn begin(watch: &WatchId, standing: Option<Standing>) -> Self {
        let mut view = Self {
            watch: watch.to_string(),
            name: watch.to_string(),
            verdict: "not watched".to_owned(),
            since: None,
            origin: None,
            chain: Vec::new(),
            incidents: Vec::new(),
            deliveries: Vec::new(),
            next: Vec::new(),
        };
        if let Some(standing) = standing {
            view.name = standing.name;
            view.verdict = standing.verdict;
            view.since = Some(standing.since);
            view.origin = standing.origin;
            view.next = standing.next;
        }
        view
    }
}

/// The last sign of life, as the first thing that a reader doubts.
fn last_beat(seen: &Agent, sources: &[String]) -> Option<LinkView> {
    let newest = seen.state.heard.iter().max_by_key(|it| it.last)?;
    let over = sources.get(usize::from(newest.source.0)).map_or("an unknown source", |it| it);
    let seq = seen.state.seq.map(|it| format!(", seq {it}")).unwrap_or_default();
    Some(LinkView {
        at: seen.state.last?,
        stage: "beat".to_owned(),
        outcome: format!("over {over}{seq}"),
        rule: format!("the last of {}", seen.state.beats),
        origin: seen.subject.origin.to_string(),
        receiver: None,
        incident: None,
    })
}
