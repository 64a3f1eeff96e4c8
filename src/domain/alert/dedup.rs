//! Stage: whether a flip is the same trouble, a relapse or a new one, and which troubles it ends
//! (docs/BEHAVIOUR.md 9: the key is (watch, condition), unique while unresolved).

use jiff::SignedDuration;

use crate::domain::{
    id::{IncidentId, Kind},
    incident::{Ending, Incident},
    watch::{Cause, Condition, Flip},
};

/// What a flip does to the incidents of its watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    pub ends: Vec<(IncidentId, Ending)>,
    pub opens: Opens,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    Nothing,
    /// It is open already.
    Same(IncidentId),
    /// Resolved less than `reopen` ago: the same incident again.
    Again(IncidentId),
    New(Condition),
}

/// Judges `flip` against the `known` incidents of its watch, open ones and those that may come back.
/// A verdict that suspends never comes here.
pub fn rule<'a>(
    known: impl Iterator<Item = &'a Incident>,
    flip: &Flip,
    reopen: SignedDuration,
) -> Ruling {
    let wanted = flip.to.condition();
    let mut ruling = Ruling { ends: Vec::new(), opens: wanted.map_or(Opens::Nothing, Opens::New) };
    for incident in known.filter(|it| governs(flip, it.condition)) {
        let same = wanted == Some(incident.condition);
        match &incident.resolved {
            None if same => ruling.opens = Opens::Same(incident.id),
            None => ruling.ends.push((incident.id, ending(incident.condition, flip))),
            Some((at, ended)) if same && !matches!(ruling.opens, Opens::Same(_)) => {
                if comes_back(ended) && flip.at.duration_since(*at) <= reopen {
                    ruling.opens = Opens::Again(incident.id);
                }
            }
            Some(_) => {}
        }
    }
    ruling
}

/// What an agent says of itself and what its tower says of its watch (`unwatched`) end each their own
/// kind of trouble: a watch that nobody keeps resolves nothing. A part of atalaya has one voice. Whatever is
/// removed ends altogether.
pub fn governs(flip: &Flip, condition: Condition) -> bool {
    let one_voice = flip.subject.watch.kind != Kind::Agent;
    flip.cause == Cause::Removed || one_voice || is_of_agents(condition) != flip.to.is_of_part()
}

/// Whether agents say so of themselves; the rest is said by parts of atalaya.
pub fn is_of_agents(condition: Condition) -> bool {
    match condition {
        Condition::Down
        | Condition::Failed
        | Condition::Overrun
        | Condition::Stalled
        | Condition::Looping
        | Condition::Degraded
        | Condition::NeedsInput => true,
        Condition::Blind
        | Condition::Unwatched
        | Condition::Refused
        | Condition::Held
        | Condition::Unwritable
        | Condition::Undeliverable
        | Condition::SetAside
        | Condition::Overdue
        | Condition::Test => false,
    }
}

/// Whoever paused a watch or took it away ended the story; what comes after begins a new one.
fn comes_back(ended: &Ending) -> bool {
    match ended {
        Ending::Recovered | Ending::Became(_) | Ending::SettingsChanged | Ending::ByHand { .. } => {
            true
        }
        Ending::Paused | Ending::NoLongerWatched => false,
    }
}

/// A worse condition swallows the lesser; a lesser one after a worse means that the worse is over.
fn ending(condition: Condition, flip: &Flip) -> Ending {
    match (&flip.cause, flip.to.condition()) {
        (Cause::Paused { .. }, _) => Ending::Paused,
        (Cause::Removed, _) => Ending::NoLongerWatched,
        (_, Some(now)) if now.rank() < condition.rank() => Ending::Became(now),
        (Cause::SettingsChanged, _) => Ending::SettingsChanged,
        _ => Ending::Recovered,
    }
}
