//! Doubt: parents of whom a worse verdict may be on its way. The desk knows verdicts alone, so their slots are
//! asked before it takes flips in.

use std::collections::HashSet;

use super::Running;
use crate::domain::{
    id::{Kind, WatchId},
    watch::{Condition, Flip, Spec, State, agent::Verdict},
};

impl Running {
    /// Parents of what fails in these flips that are late, or in trouble that the desk may not know yet.
    pub(super) fn doubtful(&self, flips: &[Flip]) -> HashSet<WatchId> {
        let Some(desk) = &self.desk else { return HashSet::new() };
        desk.doubtful_parents(flips, |it| self.is_doubtful(it))
    }

    fn is_doubtful(&self, watch: &WatchId) -> bool {
        let context = &self.context;
        match watch.kind {
            Kind::Agent => context.slots.by_watch(watch).is_some_and(|slot| {
                let view = slot.view();
                let (Spec::Agent(spec), State::Agent(state)) = (view.spec, view.state);
                let (shown, _) = spec.shown(&state, context.clock.now());
                shown == Verdict::Late || shown.condition().is_some_and(Condition::explains)
            }),
            Kind::Source | Kind::Receiver | Kind::Myself => {
                context.board.trouble(watch).flatten().is_some_and(Condition::explains)
            }
        }
    }
}
