//! Verb unsilence: ends a silence now.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal};
use crate::domain::{desk::Ask, text::Text};

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unsilence {
    /// Number of the silence, as `silences` lists it
    pub id: u64,
}

impl Controller {
    pub(super) async fn unsilence(&self, it: &Unsilence, by: &Text) -> Result<Done, Refusal> {
        self.ask(Ask::Unsilence { id: it.id, by: by.clone() }).await
    }
}
