//! Verb retry: a half-open try of a quarantined watch now, instead of within 5 minutes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal};

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// A watch that was set aside because its actor kept failing
    pub watch: String,
}

impl Controller {
    pub(super) async fn retry(&self, it: &Retry) -> Result<Done, Refusal> {
        let watch = self.find(&it.watch)?.watch().clone();
        self.tower.retry(watch).await?.map(Done::one).map_err(Refusal::refused)
    }
}
