//! Verb resume: judges paused agents again, from now on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal};
use crate::domain::text::Text;

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Agents (mary, agent/mary), patterns (worker-*) or groups (group/coding)
    #[arg(required = true, value_name = "AGENT|PATTERN|GROUP")]
    pub targets: Vec<String>,
}

impl Controller {
    pub(super) async fn resume(&self, it: Resume, by: &Text) -> Result<Done, Refusal> {
        let agents = self.find_agents(&it.targets)?;
        let known = self.tower.resume(agents, by.clone()).await?;
        Ok(Done { done: known.iter().map(|watch| format!("{watch} resumed")).collect() })
    }
}
