//! Verb silence: nothing of a watch or a pattern rings for a while.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal, ack, words};
use crate::domain::{desk::Ask, silence::Target, text::Text};

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// A watch (mary, agent/mary), a pattern (agent/worker-*) or a group (group/coding); '*' is everything
    #[arg(value_name = "WATCH|PATTERN|GROUP")]
    pub target: String,
    /// For how long: 90s, 5m, 1h 30m, 2d
    #[arg(value_name = "DURATION")]
    #[serde(rename = "for")]
    pub for_: String,
    /// Why, for those who look later
    #[arg(value_name = "REASON", num_args = 0..)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reason: Vec<String>,
}

impl Controller {
    pub(super) async fn silence(&self, it: Silence, by: &Text) -> Result<Done, Refusal> {
        let for_ = words::parse_length(&it.for_).map_err(Refusal::wrong_use)?;
        let target = match self.many(&it.target)? {
            Some(target) => target,
            // A silence on a mistyped name would mute nothing and say that it does.
            None => Target::Watch(self.find(&it.target)?.watch().clone()),
        };
        let reason = ack::reason(Some(&it.reason.join(" ")));
        self.ask(Ask::Silence { targets: vec![target], for_, by: by.clone(), reason }).await
    }
}
