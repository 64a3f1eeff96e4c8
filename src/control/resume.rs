//! Verb resume: judges paused agents again, from now on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal};
use crate::domain::text::Text;

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Agents (mary, agent/mary) or patterns (worker-*)
    #[arg(required = true, value_name = "AGENT|PATTERN")]
    pub targets: Vec<String>,
}

impl Controller {
    pub(super) async fn resume(&self, it: Resume, by: &Text) -> Result<Done, Refusal> {
        let agents = self.find_agents(&it.targets)?;
        let changed = self.tower.resume(agents.clone(), by.clone()).await?;
        let sentence = |watch| match changed.contains(watch) {
            true => format!("{watch} resumed"),
            false => format!("{watch} was not paused"),
        };
        Ok(Done { done: agents.iter().map(sentence).collect() })
    }
}
