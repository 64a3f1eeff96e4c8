//! Decision: one link of the chain that `atalaya why` prints. Every "no" is stored with its rule.

use jiff::Timestamp;

use super::{
    id::{IncidentId, Origin, ReceiverId, WatchId},
    text::Text,
};

/// The stage of the pipeline that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Verdict,
    Incident,
    Route,
    Silence,
    Maintenance,
    /// A watch on which it depends explains it.
    Depend,
    Group,
    Repeat,
    Acknowledge,
    Flapping,
    Delivery,
    /// Somebody asked: pause, resolve, silence, apply.
    Command,
    /// The registry: held, refused, applied.
    Registry,
}

impl Stage {
    pub const ALL: [Self; 13] = [
        Self::Verdict,
        Self::Incident,
        Self::Route,
        Self::Silence,
        Self::Maintenance,
        Self::Depend,
        Self::Group,
        Self::Repeat,
        Self::Acknowledge,
        Self::Flapping,
        Self::Delivery,
        Self::Command,
        Self::Registry,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Incident => "incident",
            Self::Route => "route",
            Self::Silence => "silence",
            Self::Maintenance => "maintenance",
            Self::Depend => "depend",
            Self::Group => "group",
            Self::Repeat => "repeat",
            Self::Acknowledge => "acknowledge",
            Self::Flapping => "flapping",
            Self::Delivery => "delivery",
            Self::Command => "command",
            Self::Registry => "registry",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// Who decided what, by which rule, and where that rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub at: Timestamp,
    pub watch: WatchId,
    pub incident: Option<IncidentId>,
    pub stage: Stage,
    /// What came of it, in few words: `told`, `edited only`, `held`, `opened`, `up → down`.
    pub outcome: Text,
    /// The rule in words: `silence > 90s`, `joined a group within 30s`, `warning: goes to the log, no route names it`.
    pub rule: Text,
    pub origin: Origin,
    pub receiver: Option<ReceiverId>,
}
