//! Stage: who is to be told (behaviour.md 9, "Escalation"): the watch's own `notify`, else the first
//! route that matches, else every human receiver what is critical.

use crate::domain::{
    id::{Origin, ReceiverId},
    incident::{Severity, Step},
};

/// `[[route]]` of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Empty: critical alone.
    pub severity: Vec<Severity>,
    /// `kind/name` with `*`; none: every watch.
    pub pattern: Option<String>,
    pub to: Vec<ReceiverId>,
    pub then: Vec<Step>,
    pub origin: Origin,
}

/// A receiver as the desk sees it: whom it is, not how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    pub id: ReceiverId,
    /// A chat is human and gets groups; a webhook, channel or log is a machine and gets every incident singly.
    pub human: bool,
    pub origin: Origin,
}
