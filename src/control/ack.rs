//! Verb ack: a person has it. No repeats, no escalation, until recovery or the limit (8 h).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal, words};
use crate::domain::{desk::Ask, text::Text};

/// A reason is kept cut to so many characters.
pub const REASON_MAX: usize = 200;

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Incident numbers (412 or '#412') or watches (mary, agent/mary), which mean all that is open of them
    #[arg(required = true, value_name = "INCIDENT|WATCH")]
    pub targets: Vec<String>,
    /// For how long: 90s, 5m, 1h 30m; 8h where nothing is said
    #[arg(long = "for", value_name = "DURATION")]
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub for_: Option<String>,
    /// Why, for those who look later
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Controller {
    pub(super) async fn ack(&self, it: Ack, by: &Text) -> Result<Done, Refusal> {
        let for_ = it.for_.as_deref().map(words::parse_length).transpose();
        let incidents = self.find_incidents(&it.targets).await?;
        self.ask(Ask::Acknowledge {
            incidents: incidents.iter().map(|it| it.id).collect(),
            for_: for_.map_err(Refusal::wrong_use)?,
            by: by.clone(),
            reason: reason(it.reason.as_deref()),
        })
        .await
    }
}

pub(super) fn reason(typed: Option<&str>) -> Option<Text> {
    typed.map(|it| Text::clean(it, REASON_MAX)).filter(|it| !it.is_empty())
}
