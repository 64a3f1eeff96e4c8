//! Verb show: one watch or one incident, with all that is known of it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Controller, Refusal,
    agents::{Agent, AgentView, worst},
    incidents::IncidentView,
    next::{self, NextView},
    silences::SilenceView,
    status::PartView,
    target::{Found, Typed, no_incident, typed},
    why::{DeliveryView, LinkView},
};
use crate::domain::{
    alert::{route, wording::written},
    delivery::Delivery,
    desk::Settings,
    id::{IncidentId, WatchId},
    incident::Incident,
    watch::{Condition, Subject},
};

/// Decisions about one incident that are shown.
const LINKS_MAX: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// A watch (mary, agent/mary, source/redis) or an incident (412, '#412')
    #[arg(value_name = "WATCH|INCIDENT")]
    pub target: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ShowView {
    Agent(Box<AgentDetail>),
    Part(PartDetail),
    Incident(Box<IncidentDetail>),
}

/// A declared long step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseView {
    pub op: String,
    pub until: Timestamp,
}

/// The intervals between beats, in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RhythmView {
    /// The last ones, oldest first.
    pub recent_seconds: Vec<f32>,
    pub usual_seconds: f64,
    pub longest_seconds: f64,
    pub count: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentDetail {
    #[serde(flatten)]
    pub agent: AgentView,
    pub watched_since: Timestamp,
    /// How often its actor was started in this run: 1 unless it failed. An edit of the registry that
    /// leaves the agent as it is does not move it.
    pub actor_starts: u64,
    pub first_beat_within: String,
    /// `steady`; `on_activity`: it is expected to beat from `working` to `idle` alone.
    #[serde(default)]
    pub beats_expected: String,
    /// How long it may wait for a person until people are told.
    #[serde(default)]
    pub needs_input: Option<String>,
    /// Since when it waits for a person.
    #[serde(default)]
    pub asked_at: Option<Timestamp>,
    pub stall_after: Option<String>,
    pub loop_after: Option<u32>,
    pub lease: Option<LeaseView>,
    pub rhythm: RhythmView,
    /// The sender's clock minus ours, in seconds; shown beyond 30 s.
    pub skew_seconds: Option<i64>,
    /// Unresolved incidents, worst first.
    pub open: Vec<IncidentView>,
    pub told: Vec<DeliveryView>,
    /// Who hears of a critical trouble of it, step by step.
    pub would_tell: Vec<StepView>,
    /// Watches whose trouble explains its own.
    pub depends_on: Vec<String>,
    pub silences: Vec<SilenceView>,
    pub next: Vec<NextView>,
}

/// A step of the chain: at once (no `after`), or after so long without an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    pub after: Option<String>,
    pub to: Vec<String>,
    /// File and line of the route.
    pub origin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartDetail {
    #[serde(flatten)]
    pub part: PartView,
    pub open: Vec<IncidentView>,
    pub told: Vec<DeliveryView>,
    pub next: Vec<NextView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentDetail {
    #[serde(flatten)]
    pub incident: IncidentView,
    pub relapses: Vec<Timestamp>,
    pub chain: Vec<LinkView>,
    /// `told` names who heard; these are the messages.
    pub deliveries: Vec<DeliveryView>,
    pub next: Vec<NextView>,
}

/// What the store and the settings add to what a slot knows.
struct Around {
    open: Vec<Incident>,
    deliveries: Vec<(Delivery, Timestamp)>,
    next: Vec<NextView>,
}

impl Controller {
    pub(super) async fn show(&self, it: &Show) -> Result<ShowView, Refusal> {
        let number = match typed(&it.target) {
            Typed::Incident(id) => Some(id),
            Typed::Number(id) => self.tower.watch(&it.target).is_none().then_some(id),
            Typed::Name => None,
        };
        if let Some(id) = number {
            return Ok(ShowView::Incident(Box::new(self.show_incident(id).await?)));
        }
        let found = self.find(&it.target)?;
        let around = self.around(&found).await?;
        let told = around.deliveries.iter().map(DeliveryView::of).collect();
        let open: Vec<IncidentView> = around.open.iter().map(IncidentView::of).collect();
        match found {
            Found::Agent(seen) => {
                let silences = self.silences_now().await?;
                let silences = silences.iter().filter(|it| it.target.matches(&seen.subject));
                let silences = silences.map(SilenceView::of).collect();
                let incident = worst(&around.open).get(&seen.subject.watch).copied();
                let mut detail = self.agent_detail(&seen, incident);
                detail.next.extend(around.next);
                let detail = AgentDetail { open, told, silences, ..detail };
                Ok(ShowView::Agent(Box::new(detail)))
            }
            Found::Part(part) => {
                let parts = self.part_views().into_iter();
                let name = part.watch.to_string();
                let known = parts.into_iter().find(|it| it.watch == name);
                let part = known.unwrap_or_else(|| PartView::of(&part, None));
                Ok(ShowView::Part(PartDetail { part, open, told, next: around.next }))
            }
        }
    }

    async fn around(&self, found: &Found) -> Result<Around, Refusal> {
        let mut open = self.open_incidents(Some(found.watch().clone())).await?;
        super::status::worst_first(&mut open);
        let mut deliveries = Vec::new();
        let mut next = Vec::new();
        let silences = self.silences_now().await?.into_iter().collect();
        for incident in &open {
            let told = self.tower.store().deliveries_of(incident.id).await?;
            next.extend(self.next_of(incident, &told, &silences));
            deliveries.extend(told);
        }
        deliveries.sort_by_key(|(it, _)| it.id);
        deliveries.dedup_by_key(|(it, _)| it.id);
        Ok(Around { open, deliveries, next })
    }

    async fn show_incident(&self, id: IncidentId) -> Result<IncidentDetail, Refusal> {
        let incident = self.incident(id).await?.ok_or_else(|| no_incident(id))?;
        let store = self.tower.store();
        let decisions = store.decisions(incident.watch.clone(), Some(id), LINKS_MAX).await?;
        let deliveries = store.deliveries_of(id).await?;
        let silences = self.silences_now().await?.into_iter().collect();
        Ok(IncidentDetail {
            next: self.next_of(&incident, &deliveries, &silences),
            relapses: incident.relapses.clone(),
            chain: decisions.iter().map(LinkView::of).collect(),
            deliveries: deliveries.iter().map(DeliveryView::of).collect(),
            incident: IncidentView::of(&incident),
        })
    }

    fn agent_detail(&self, seen: &Agent, incident: Option<IncidentId>) -> AgentDetail {
        let (spec, state) = (&seen.spec, &seen.state);
        let shown = spec.shown(state, self.tower.now());
        let condition = shown.0.condition().unwrap_or(Condition::Down);
        AgentDetail {
            agent: AgentView::of(seen, shown, &self.sources, incident),
            watched_since: state.watched_since,
            actor_starts: seen.actor_starts,
            first_beat_within: written(spec.first_beat_within),
            beats_expected: spec.beats.word().to_owned(),
            needs_input: spec.needs_input.map(written),
            asked_at: state.asked.map(|it| it.at),
            stall_after: spec.stall_after.map(written),
            loop_after: spec.loop_after,
            lease: state
                .lease
                .as_ref()
                .map(|it| LeaseView { op: it.op.as_str().to_owned(), until: it.until }),
            rhythm: RhythmView {
                recent_seconds: state.rhythm.recent.clone(),
                usual_seconds: state.rhythm.mean,
                longest_seconds: state.rhythm.longest,
                count: state.rhythm.count,
            },
            skew_seconds: state.skew.map(|it| it.as_secs()),
            open: Vec::new(),
            told: Vec::new(),
            would_tell: would_tell(&(self.settings)(), &seen.subject, condition),
            depends_on: depends_on(&(self.settings)(), &seen.subject.watch),
            silences: Vec::new(),
            next: vec![next::of_agent(seen, shown.0)],
        }
    }
}

fn depends_on(settings: &Settings, watch: &WatchId) -> Vec<String> {
    let parents = settings.dependencies.of(watch);
    parents.map(|it| it.on.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// Whom the desk would tell, step by step.
pub fn would_tell(settings: &Settings, subject: &Subject, condition: Condition) -> Vec<StepView> {
    let routed = route::route(settings, subject, condition, subject.severity_of(condition));
    let Some((_, origin)) = routed.to.first() else { return Vec::new() };
    let first = StepView {
        after: None,
        to: routed.to.iter().map(|(receiver, _)| receiver.to_string()).collect(),
        origin: origin.to_string(),
    };
    let then = routed.then.iter().map(|it| StepView {
        after: Some(written(it.after)),
        to: it.to.iter().map(ToString::to_string).collect(),
        origin: origin.to_string(),
    });
    std::iter::once(first).chain(then).collect()
}
