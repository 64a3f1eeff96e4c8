//! Verb silences: what is muted, by whom, until when, and how much it muted.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Refusal};
use crate::domain::silence::Silence;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Silences {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SilenceView {
    pub id: u64,
    /// `kind/name`, a pattern, or `group/name`.
    pub target: String,
    pub by: String,
    pub reason: Option<String>,
    pub from: Timestamp,
    pub until: Timestamp,
    /// Messages that it muted.
    pub muted: u64,
}

impl SilenceView {
    pub fn of(silence: &Silence) -> Self {
        Self {
            id: silence.id,
            target: silence.target.to_string(),
            by: silence.by.as_str().to_owned(),
            reason: silence.reason.as_ref().map(|it| it.as_str().to_owned()),
            from: silence.from,
            until: silence.until,
            muted: silence.muted,
        }
    }
}

impl Controller {
    pub(super) async fn silences(&self) -> Result<Vec<SilenceView>, Refusal> {
        Ok(self.silences_now().await?.iter().map(SilenceView::of).collect())
    }

    /// Those that hold at this moment.
    pub(super) async fn silences_now(&self) -> Result<Vec<Silence>, Refusal> {
        let now = self.tower.now();
        let (restored, _) = self.tower.store().desk(now).await?;
        Ok(restored.silences.into_iter().filter(|it| now < it.until).collect())
    }
}
