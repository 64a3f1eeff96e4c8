//! Verb pause: agents are no longer judged until they are resumed; their incidents close as paused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal};
use crate::domain::text::Text;

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Agents (mary, agent/mary) or patterns (worker-*)
    #[arg(required = true, value_name = "AGENT|PATTERN")]
    pub targets: Vec<String>,
}

impl Controller {
    pub(super) async fn pause(&self, it: Pause, by: &Text) -> Result<Done, Refusal> {
        let agents = self.find_agents(&it.targets)?;
        let changed = self.tower.pause(agents.clone(), by.clone()).await?;
        let sentence = |watch| match changed.contains(watch) {
            true => format!("{watch} paused"),
            false => format!("{watch} was paused already"),
        };
        Ok(Done { done: agents.iter().map(sentence).collect() })
    }
}
