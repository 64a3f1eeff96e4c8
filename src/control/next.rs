//! Next: what happens to a watch without anybody's doing, and when. The `now` lines of `why` and `show`.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actors::tower::Seen,
    domain::{
        delivery::{Body, Delivery, State},
        desk::steady_at,
        incident::Incident,
        watch::agent::Verdict,
    },
};

/// One thing that is to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextView {
    /// None: when something else happens, which `what` names.
    pub at: Option<Timestamp>,
    pub what: String,
}

impl NextView {
    fn at(at: Timestamp, what: impl Into<String>) -> Self {
        Self { at: Some(at), what: what.into() }
    }

    fn when(what: impl Into<String>) -> Self {
        Self { at: None, what: what.into() }
    }
}

/// What an agent's own clocks will say.
pub fn of_agent(seen: &Seen, shown: Verdict) -> NextView {
    if seen.quarantined_since.is_some() {
        return NextView::when("tried again within 5m, or at once by `retry`");
    }
    let deadline = |what: &str| NextView { at: seen.state.deadline, what: what.to_owned() };
    match shown {
        Verdict::Up | Verdict::Late => deadline(breaks(seen)),
        Verdict::Waiting => deadline("down unless it is heard"),
        Verdict::Leaving => deadline("down unless it is heard or paused"),
        Verdict::Paused => NextView::when("nothing until it is resumed"),
        Verdict::Blind => NextView::when("its clock stands still until we can hear again"),
        Verdict::Down => NextView::when("up with its next beat"),
        Verdict::Failed => NextView::when("up with its next good beat"),
        Verdict::Overrun | Verdict::Stalled | Verdict::Looping => {
            NextView::when("up when it advances")
        }
        Verdict::Degraded => NextView::when("up when it says so"),
    }
}

/// Which of the three clocks runs out first.
fn breaks(seen: &Seen) -> &'static str {
    let (spec, state) = (&seen.spec, &seen.state);
    let lease = state.lease.as_ref().map(|it| it.until);
    let stall = spec
        .stall_after
        .zip(state.progress_at)
        .and_then(|(limit, since)| since.saturating_add(limit).ok());
    match state.deadline {
        None => "stays so",
        Some(at) if lease == Some(at) => "overrun unless it advances",
        Some(at) if stall == Some(at) => "stalled unless it advances",
        Some(_) => "down unless it beats",
    }
}

/// When an open incident is told again, and to whom.
/// `repeat` is how long an open message stays quiet.
pub fn of_incident(
    incident: &Incident,
    deliveries: &[Delivery],
    repeat: SignedDuration,
) -> Vec<NextView> {
    if incident.resolved.is_some() {
        return Vec::new();
    }
    let mut next: Vec<NextView> = deliveries.iter().filter_map(retried).collect();
    if let Some(held) = &incident.acknowledgement {
        let what = format!("{} has {} until then; afterwards it rings again", held.by, incident.id);
        next.push(NextView::at(held.until, what));
        return next;
    }
    if let Some(until) = incident.maintenance_until {
        next.push(NextView::at(until, "maintenance ends; what is still so then rings"));
        return next;
    }
    if let (Some(at), Some(step)) = (incident.next_step_at, incident.chain.get(incident.steps_told))
    {
        let to: Vec<String> = step.to.iter().map(ToString::to_string).collect();
        next.push(NextView::at(at, format!("tells {}, unless acknowledged", to.join(", "))));
    }
    if let Some(at) = incident.digest.and_then(|it| it.due) {
        next.push(NextView::at(at, "people hear of it in the digest of warnings"));
    }
    if let Some(at) = steady_at(incident) {
        next.push(NextView::at(at, "told again if nothing changes until then: it keeps changing"));
        return next;
    }
    let rings = |it: &&Delivery| matches!(it.body, Body::New { rings: true, .. });
    let rang = deliveries.iter().filter(rings).map(|it| it.created_at).max();
    if let Some(at) = rang.and_then(|it| it.saturating_add(repeat).ok()) {
        next.push(NextView::at(at, "rings again, unless acknowledged; or on a relapse or a rise"));
    }
    if let Some(at) = incident.repeat_at {
        next.push(NextView::at(at, "programs are told again, unless acknowledged"));
    }
    next
}

fn retried(delivery: &Delivery) -> Option<NextView> {
    let why = || delivery.error.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
    match delivery.state {
        State::Pending if 0 < delivery.attempts => {
            let what = format!("{} is tried again{}", delivery.receiver, why());
            Some(NextView::at(delivery.next_at, what))
        }
        State::Pending | State::Sending => {
            Some(NextView::at(delivery.next_at, format!("{} is told", delivery.receiver)))
        }
        State::Sent | State::Failed | State::Superseded | State::Rehearsed => None,
    }
}
