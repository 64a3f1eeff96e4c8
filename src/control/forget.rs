//! Verb forget: drops an agent that registered itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal};
use crate::domain::text::Text;

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// The agent; one that the registry declares is refused
    pub agent: String,
}

impl Controller {
    pub(super) async fn forget(&self, it: &Forget, by: &Text) -> Result<Done, Refusal> {
        let watch = self.find_agent(&it.agent)?.subject.watch.clone();
        let answer = self.tower.forget(watch, by.clone()).await?;
        answer.map(Done::one).map_err(Refusal::refused)
    }
}
