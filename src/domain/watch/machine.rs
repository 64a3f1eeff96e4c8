//! Machine: the one shape of every watch, as closed enums over the kinds. What runs the machines (slots, the
//! watch actor, the store) knows these alone; what is particular to a kind is asked of the kind.
//!
//! ```text
//!  Spec (registry) ─┐
//!  State (facts) ───┼─▶ on(signal, hearing, now) ─▶ State, Effects (changes of verdict, proof wanted)
//!  Signal ──────────┘
//! ```

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Cause, Verdict, agent, beat::Beat};
use crate::domain::{hearing::Hearing, id::SourceId, text::Text};

/// What a machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    Beat(Beat),
    Pause {
        by: Text,
    },
    Resume {
        by: Text,
    },
    /// The Spec was swapped; a resolve that it causes reads "settings changed", and `down` comes
    /// not before reload + interval + 5 s.
    Reloaded,
    /// Nothing happened except time (or the hearing changed).
    Tick,
}

/// One change of verdict, before it is numbered by the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub from: Verdict,
    pub to: Verdict,
    pub at: Timestamp,
    pub cause: Cause,
}

/// What follows from a signal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    pub changes: Vec<Change>,
    /// A verdict hangs on these sources proving that they could hear after this moment.
    pub need: Option<(Timestamp, Vec<SourceId>)>,
}

/// Why nobody can say how a watch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It was never heard since it is watched.
    NeverHeard,
    /// The sources by which it is heard do not work.
    Deaf,
    /// It has been silent for longer than it may be, and nobody listened all that time.
    NobodyListened,
}

/// What a run that ends soon can say of a watch: a verdict where the facts support one; else that it is not known,
/// which is not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knowledge {
    pub said: Result<Verdict, Unknown>,
    /// Waiting some seconds longer adds nothing: it was heard, or had its time to be.
    pub settled: bool,
}

/// Whether the actor has anything to decide after a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    No,
    Yes,
}

/// What the registry promises about one watch. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    Agent(Arc<agent::Spec>),
}

/// The facts of one watch; everything else is derived. Lives in its slot, is stored as it is.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Agent(agent::State),
}

impl From<agent::Spec> for Spec {
    fn from(spec: agent::Spec) -> Self {
        Self::Agent(Arc::new(spec))
    }
}

impl From<agent::State> for State {
    fn from(state: agent::State) -> Self {
        Self::Agent(state)
    }
}

impl Spec {
    /// The facts of a watch that begins now and was never heard.
    pub fn begin(&self, now: Timestamp) -> State {
        match self {
            Self::Agent(_) => agent::State::new(now).into(),
        }
    }

    /// What history keeps of a beat that is about to be taken in.
    pub fn notable(&self, state: &State, beat: &Beat) -> Option<agent::Notable> {
        match (self, state) {
            (Self::Agent(spec), State::Agent(state)) => spec.notable(state, beat),
        }
    }

    /// A source's half, under the slot's lock: takes a beat in. What may change the verdict waits for the actor.
    pub fn hear(&self, state: &mut State, beat: Beat, hearing: &Hearing) -> Wake {
        match (self, state) {
            (Self::Agent(spec), State::Agent(state)) => spec.hear(state, beat, hearing),
        }
    }

    /// The actor's half: settles what waits and the time up to `now`, then reads `signal`. Pure: same inputs, same
    /// outputs; inserting a `Tick` anywhere never changes the story.
    ///
    /// Before a new Spec takes the place of the old one, the shell sends a `Tick` to the old one;
    /// `Reloaded` goes to the new one before anything else does.
    pub fn on(
        &self,
        state: &State,
        signal: Signal,
        hearing: &Hearing,
        now: Timestamp,
    ) -> (State, Effects) {
        match (self, state) {
            (Self::Agent(spec), State::Agent(state)) => {
                let (state, effects) = spec.on(state, signal, hearing, now);
                (state.into(), effects)
            }
        }
    }

    /// How often it beats, where that is known.
    pub fn interval(&self) -> Option<SignedDuration> {
        match self {
            Self::Agent(spec) => Some(spec.interval),
        }
    }
}

impl State {
    /// What was said last.
    pub fn said(&self) -> Verdict {
        match self {
            Self::Agent(state) => Verdict::Agent(state.said),
        }
    }

    /// Since when that holds.
    pub fn said_since(&self) -> Timestamp {
        match self {
            Self::Agent(state) => state.said_since,
        }
    }

    /// The next moment at which the verdict changes by itself: what the sweeper compares.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Agent(state) => state.deadline,
        }
    }

    /// What it is doing, where it tells.
    pub fn task(&self) -> Option<&Text> {
        match self {
            Self::Agent(state) => state.task.as_ref(),
        }
    }

    /// Over which source its last beat came.
    pub fn last_source(&self) -> Option<SourceId> {
        match self {
            Self::Agent(state) => state.heard.first().map(|it| it.source),
        }
    }

    /// What is kept when the facts are suspected of crashing their actor. The rest is learnt anew.
    #[must_use]
    pub fn fresh(&self, now: Timestamp) -> Self {
        match self {
            Self::Agent(state) => state.fresh(now).into(),
        }
    }

    /// A watch that comes back: what it is like is known, that it lives it has to show anew.
    #[must_use]
    pub fn returned(&self, now: Timestamp) -> Self {
        match self {
            Self::Agent(state) => state.returned(now).into(),
        }
    }
}
