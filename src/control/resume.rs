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
        let known = self.tower.resume(agents, by.clone()).await?;
        Ok(Done { done: known.iter().map(|watch| format!("{watch} resumed")).collect() })
    }
}
