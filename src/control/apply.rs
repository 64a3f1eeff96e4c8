//! Verb apply: lets an edit of the registry through that is held because it removes much.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal};
use crate::domain::text::Text;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {}

impl Controller {
    pub(super) async fn apply(&self, by: &Text) -> Result<Done, Refusal> {
        self.tower.apply(by.clone()).await?.map(Done::one).map_err(Refusal::refused)
    }
}
