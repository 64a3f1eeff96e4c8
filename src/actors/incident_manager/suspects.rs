//! Suspects: what outlives a manager.

use std::collections::{HashMap, HashSet};

use crate::domain::{desk::Restored, id::WatchId, write::Write};

/// A watch whose flips killed the manager so often is set aside.
pub(super) const CRASHES_MAX: u32 = 3;

/// What outlives a manager: whose flips it was working on when it died, how often that has happened, and
/// the numbers it drew, which its successor must not draw again before the store has them.
#[derive(Debug, Default)]
pub struct Suspects {
    pub(super) at_work: Vec<WatchId>,
    pub(super) crashes: HashMap<WatchId, u32>,
    pub(super) drawn: Drawn,
}

/// The highest numbers ever drawn in this run.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    incident: u64,
    group: u64,
    delivery: u64,
    silence: u64,
}

impl Drawn {
    pub(super) fn note(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Incident(it) => self.incident = self.incident.max(it.id.0),
                Write::Group(it) => self.group = self.group.max(it.id.0),
                Write::Delivery(it) => self.delivery = self.delivery.max(it.id.0),
                Write::Silence(it) => self.silence = self.silence.max(it.id),
                Write::Facts(_)
                | Write::History(_)
                | Write::Flip(_)
                | Write::Decision(_)
                | Write::Outcome(_)
                | Write::Reference { .. }
                | Write::SetAside { .. }
                | Write::SilenceEnded { .. }
                | Write::Meta { .. } => {}
            }
        }
    }

    pub(super) fn raise(&self, restored: &mut Restored) {
        restored.last_incident = restored.last_incident.max(self.incident);
        restored.last_group = restored.last_group.max(self.group);
        restored.last_delivery = restored.last_delivery.max(self.delivery);
        restored.last_silence = restored.last_silence.max(self.silence);
    }
}

/// Counts a crash for everything that was at work; returns whose incidents are set aside.
pub(super) fn blame(suspects: &mut Suspects) -> HashSet<WatchId> {
    for watch in std::mem::take(&mut suspects.at_work) {
        *suspects.crashes.entry(watch).or_default() += 1;
    }
    suspects
        .crashes
        .iter()
        .filter(|(_, crashes)| CRASHES_MAX <= **crashes)
        .map(|(watch, _)| watch.clone())
        .collect()
}
