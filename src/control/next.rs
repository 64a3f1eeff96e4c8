//! Next: what happens to a watch without anybody's doing, and when. The `now` lines of `why` and `show`.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agents::Agent;
use crate::domain::{
    delivery::{Body, Delivery, State},
    desk::steady_at,
    incident::Incident,
    silence::Silence,
    watch::agent::{Beats, Verdict},
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
pub fn of_agent(seen: &Agent, shown: Verdict) -> NextView {
    if seen.quarantined_since.is_some() {
        return NextView::when("tried again within 5m, or at once by `retry`");
    }
    let deadline = |what: &str| NextView { at: seen.state.deadline, what: what.to_owned() };
    match shown {
        Verdict::Up | Verdict::Late => deadline(breaks(seen)),
        Verdict::NeedsInput if seen.state.deadline.is_some() => {
            deadline("people are told that it waits, unless it goes on")
        }
        Verdict::NeedsInput => NextView::when("up when it goes on; until then its clocks stand"),
        Verdict::Unanswered => NextView::when("up when it goes on"),
        Verdict::Waiting if seen.state.deadline.is_none() => {
            NextView::when("nothing until it is heard")
        }
        Verdict::Waiting => deadline("down unless it is heard"),
        Verdict::Leaving if seen.state.deadline.is_none() => {
            NextView::when("nothing until it is heard again")
        }
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
fn breaks(seen: &Agent) -> &'static str {
    let (spec, state) = (&seen.spec, &seen.state);
    let lease = state.lease.as_ref().map(|it| it.until);
    let stall = spec
        .stall_after
        .zip(state.progress_at)
        .and_then(|(limit, since)| since.saturating_add(limit).ok());
    match state.deadline {
        None if spec.beats == Beats::OnActivity => "nothing until it works again",
        None => "stays so",
        Some(at) if lease == Some(at) => "overrun unless it advances",
        Some(at) if stall == Some(at) => "stalled unless it advances",
        Some(_) => "down unless it beats",
    }
}

/// What holds around an incident.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    pub now: Timestamp,
    /// How long an open message stays quiet.
    pub repeat: SignedDuration,
    /// The one that holds longest over its watch.
    pub silence: Option<&'a Silence>,
}

/// When an open incident is told again, and to whom.
pub fn of_incident(
    incident: &Incident,
    deliveries: &[Delivery],
    around: Circumstances<'_>,
) -> Vec<NextView> {
    if incident.resolved.is_some() {
        return Vec::new();
    }
    let owed = deliveries.iter().filter_map(|it| retried(it, around.now));
    let mut next: Vec<NextView> = owed.collect();
    if let Some(held) = &incident.acknowledgement {
        let what = format!("{} has {} until then; afterwards it rings again", held.by, incident.id);
        next.push(NextView::at(held.until, what));
        return next;
    }
    if let Some(until) = incident.maintenance_until {
        next.push(NextView::at(until, "maintenance ends; what is still so then rings"));
        return next;
    }
    if let Some(hold) = &incident.held {
        let what = format!("no longer held for {}; what is still so then rings", hold.by);
        next.push(NextView { at: hold.until, what });
    }
    if let Some(silence) = around.silence {
        let what =
            format!("silence {} of {} ends; what is still so then rings", silence.id, silence.by);
        next.push(NextView::at(silence.until, what));
    }
    if incident.held.is_some() || around.silence.is_some() {
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
    if let Some(at) = rang.and_then(|it| it.saturating_add(around.repeat).ok()) {
        next.push(NextView::at(at, "rings again, unless acknowledged; or on a relapse or a rise"));
    }
    if let Some(at) = incident.repeat_at {
        next.push(NextView::at(at, "programs are told again, unless acknowledged"));
    }
    next
}

fn retried(delivery: &Delivery, now: Timestamp) -> Option<NextView> {
    let why = || delivery.error.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
    let receiver = &delivery.receiver;
    match delivery.state {
        State::Pending if 0 < delivery.attempts => {
            Some(NextView::at(delivery.next_at, format!("{receiver} is tried again{}", why())))
        }
        // Its moment has come: it waits for its turn.
        State::Pending | State::Sending if delivery.next_at <= now => {
            Some(NextView::when(format!("{receiver} is told, after what was before it")))
        }
        State::Pending | State::Sending => {
            Some(NextView::at(delivery.next_at, format!("{receiver} is told")))
        }
        State::Sent | State::Failed | State::Superseded | State::Rehearsed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::tests::{at, delivery, incident, seen, text},
        domain::{
            incident::{Acknowledgement, Digest, Ending, Flapping, Hold, Severity, Unrest},
            silence::Target,
        },
    };

    fn around(silence: Option<&Silence>) -> Circumstances<'_> {
        Circumstances { now: at("03:14:00"), repeat: SignedDuration::from_hours(4), silence }
    }

    #[test]
    fn what_comes_next_names_its_moment() {
        let said = |incident: &Incident, rows: &[Delivery]| -> Vec<String> {
            let next = of_incident(incident, rows, around(None));
            let time = |at: Timestamp| at.strftime("%H:%M").to_string();
            next.iter()
                .map(|it| format!("{} {}", it.at.map(time).unwrap_or_default(), it.what))
                .collect()
        };
        let rang = delivery(Vec::new());
        assert_eq!(
            said(&incident(412), std::slice::from_ref(&rang)),
            [
                "03:28 tells hook, unless acknowledged",
                "07:13 rings again, unless acknowledged; or on a relapse or a rise",
                "07:13 programs are told again, unless acknowledged",
            ]
        );
        let mut restless = incident(412);
        (restless.next_step_at, restless.chain) = (None, Vec::new());
        restless.digest = Some(Digest { due: Some(at("03:30:00")), told: false });
        restless.unrest = Some(Unrest {
            changes: vec![at("03:15:00")],
            flapping: Some(Flapping {
                since: at("03:00:00"),
                count: 6,
                severity: Severity::Warning,
                told: None,
            }),
        });
        assert_eq!(
            said(&restless, std::slice::from_ref(&rang)),
            [
                "03:30 people hear of it in the digest of warnings",
                "03:25 told again if nothing changes until then: it keeps changing",
            ]
        );
        let mut stuck = rang;
        stuck.state = State::Pending;
        stuck.attempts = 3;
        stuck.next_at = at("03:15:00");
        stuck.error = Some(text("connection refused"));
        let mut held = incident(412);
        held.acknowledgement = Some(Acknowledgement {
            by: text("Ana"),
            reason: None,
            at: at("03:20:00"),
            until: at("11:20:00"),
        });
        assert_eq!(
            said(&held, &[stuck]),
            [
                "03:15 telegram is tried again: connection refused",
                "11:20 Ana has #412 until then; afterwards it rings again",
            ]
        );
        held.acknowledgement = None;
        held.held = Some(Hold { by: "db".parse().expect("a watch"), until: Some(at("03:42:00")) });
        assert_eq!(
            said(&held, &[]),
            ["03:42 no longer held for agent/db; what is still so then rings"]
        );
        held.resolved = Some((at("03:41:00"), Ending::Recovered));
        assert_eq!(said(&held, &[]), Vec::<String>::new());
    }

    #[test]
    fn what_a_silence_mutes_rings_at_its_end_and_what_is_due_waits_for_its_turn() {
        let silence = Silence {
            id: 7,
            target: Target::Watch("mary".parse().expect("a watch")),
            by: text("Ana"),
            reason: None,
            from: at("03:00:00"),
            until: at("04:00:00"),
            muted: 1,
        };
        let mut owed = delivery(Vec::new());
        (owed.state, owed.attempts, owed.next_at) = (State::Pending, 0, at("03:13:59"));
        let next: Vec<_> = of_incident(&incident(412), &[owed], around(Some(&silence)))
            .into_iter()
            .map(|it| (it.at, it.what))
            .collect();
        let ends = "silence 7 of Ana ends; what is still so then rings";
        let waits = "telegram is told, after what was before it";
        assert_eq!(next, [(None, waits.to_owned()), (Some(at("04:00:00")), ends.to_owned())]);
    }

    #[test]
    fn an_agents_clocks_say_which_runs_out_first() {
        let mut seen = seen();
        seen.state.deadline = Some(at("03:39:50"));
        assert_eq!(of_agent(&seen, Verdict::Up).what, "stalled unless it advances");
        seen.state.deadline = Some(at("03:13:34.118"));
        assert_eq!(of_agent(&seen, Verdict::Up).what, "down unless it beats");
        assert_eq!(of_agent(&seen, Verdict::Blind).at, None);
        seen.quarantined_since = Some(at("03:00:00"));
        assert!(of_agent(&seen, Verdict::Up).what.contains("retry"));
    }
}
