//! Verb resolve: closes an incident by hand, unless its watch still says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal, ack, target::Found};
use crate::domain::{desk::Ask, incident::Incident, text::Text, watch::Condition};

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// Incident numbers (412 or '#412') or watches (mary, agent/mary)
    #[arg(required = true, value_name = "INCIDENT|WATCH")]
    pub targets: Vec<String>,
    /// Why, for those who look later
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Controller {
    pub(super) async fn resolve(&self, it: Resolve, by: &Text) -> Result<Done, Refusal> {
        let mut done = Vec::new();
        let mut refused = Vec::new();
        for incident in self.find_incidents(&it.targets).await? {
            let ask = Ask::Resolve {
                incident: incident.id,
                by: by.clone(),
                reason: ack::reason(it.reason.as_deref()),
                says: self.still_says(&incident),
            };
            match self.tower.ask(ask).await? {
                Ok(sentence) => done.push(sentence),
                Err(sentence) => refused.push(sentence),
            }
        }
        if refused.is_empty() {
            return Ok(Done { done });
        }
        refused.splice(0..0, done);
        Err(Refusal::refused(refused.join("\n")))
    }

    /// What the watch of an incident says now; nothing, if it is watched no more.
    pub(super) fn still_says(&self, incident: &Incident) -> Option<Condition> {
        match self.find(&incident.watch.to_string()).ok()? {
            Found::Part(part) => part.trouble,
            Found::Agent(seen) if incident.condition == Condition::Unwatched => {
                seen.quarantined_since.map(|_| Condition::Unwatched)
            }
            Found::Agent(seen) => seen.state.said.condition(),
        }
    }
}
