//! Audit: whether each step of a chain that fell due was done. It judges by what an incident says, not by the
//! alarms that should have led to it: what is found here is a defect of ours, and is told as one.

use jiff::Timestamp;

use super::{
    Desk,
    batch::{Batch, Ruled},
};
use crate::domain::{
    decision::Stage,
    id::{IncidentId, Origin},
    incident::Incident,
    write::Write,
};

/// A step that should have been done by now, or has no moment at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Missed {
    pub incident: IncidentId,
    /// Its place in the chain, from 1.
    pub step: usize,
    /// When it was due; none: its clock was lost.
    pub due: Option<Timestamp>,
}

impl Desk {
    /// Steps that are due and not done. One that stands here twice, with time between in which we ran, was
    /// forgotten.
    pub fn missed(&self, now: Timestamp) -> Vec<Missed> {
        let open = self.books.incidents().filter(|it| it.steps_told < it.chain.len());
        let open = open.filter(|it| it.resolved.is_none());
        let missed = open.filter(|it| match it.next_step_at {
            Some(due) => due <= now,
            None => self.lost_its_clock(it, now),
        });
        missed
            .map(|it| Missed { incident: it.id, step: it.steps_told + 1, due: it.next_step_at })
            .collect()
    }

    /// Whoever was told first is told, and nothing holds the rest back.
    fn lost_its_clock(&self, it: &Incident, now: Timestamp) -> bool {
        let told = !it.told.is_empty() && !self.routed(it).to.is_empty();
        told && self.muted(it.id, &Batch::new(now)).is_none()
    }

    /// Does what was missed, late, and writes down that it was.
    pub fn make_up(&mut self, missed: &[Missed], now: Timestamp) -> Vec<Write> {
        let mut batch = Batch::new(now);
        for it in missed {
            let Some(incident) = self.books.incident_mut(it.incident) else { continue };
            incident.next_step_at = Some(now);
            let watch = incident.watch.clone();
            let due = it.due.map_or("its clock was lost".to_owned(), |at| format!("due at {at}"));
            let ruled = Ruled {
                watch: &watch,
                incident: Some(it.incident),
                stage: Stage::Route,
                origin: Origin::Default("a defect of atalaya"),
                receiver: None,
            };
            batch.incidents.insert(it.incident);
            batch.decide(
                ruled,
                "not done in time",
                &format!("step {} of the chain: {due}", it.step),
            );
        }
        let mut writes = self.close(batch);
        writes.extend(self.tick(now));
        writes
    }
}
