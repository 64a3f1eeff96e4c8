//! Verb release: gives an acknowledged incident back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal};
use crate::domain::{desk::Ask, text::Text};

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Incident numbers (412 or '#412') or watches (mary, agent/mary)
    #[arg(required = true, value_name = "INCIDENT|WATCH")]
    pub targets: Vec<String>,
}

impl Controller {
    pub(super) async fn release(&self, it: Release, by: &Text) -> Result<Done, Refusal> {
        let incidents = self.find_incidents(&it.targets).await?;
        let incidents = incidents.iter().map(|it| it.id).collect();
        self.ask(Ask::Release { incidents, by: by.clone() }).await
    }
}
