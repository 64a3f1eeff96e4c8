//! Audit: book and slots are compared, and where they differ the watch is asked again.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use ractor::ActorRef;

use super::{Message, Running, lane::Room};
use crate::domain::{
    desk::Missed,
    id::{Kind, WatchId},
    incident::Incident,
    watch::{Cause, Condition, Flip, Verdict},
};

/// Watches compared per slice, so that nothing else waits long.
const AUDIT_SLICE: usize = 1_000;

impl Running {
    /// Level-triggered: asks for the verdict again only where slot and book differ and nothing waits.
    pub(super) fn audit(&mut self, myself: &ActorRef<Message>, from: usize) {
        let Some(desk) = &self.desk else { return };
        let slots = self.context.slots.all();
        for slot in slots.iter().skip(from).take(AUDIT_SLICE) {
            let (verdict, waits) = slot.verdict();
            if waits || verdict.suspends() || self.set_aside.contains(&slot.watch) {
                continue;
            }
            let open = desk.open_of(&slot.watch).map(|it| it.condition);
            if open != verdict.condition() {
                self.context.tell(slot.restate());
            }
        }
        if from + AUDIT_SLICE < slots.len() {
            // `cast` to oneself cannot fail while one handles a message.
            let _ = myself.cast(Message::Audit(from + AUDIT_SLICE));
            return;
        }
        self.end_unwatched();
        self.audit_chains(myself);
        let audit = Duration::try_from(self.context.timing.audit).unwrap_or_default();
        myself.send_after(audit, || Message::Audit(0));
    }

    /// Tells of steps that were due at the last audit and are not done, and does them. Time in which we did not
    /// run makes nobody late: there is a whole period of running between two audits.
    fn audit_chains(&mut self, myself: &ActorRef<Message>) {
        let now = self.context.clock.now();
        // What waits for a commit is no step forgotten.
        if !self.loaded || self.room() == Room::Nothing {
            return;
        }
        let Some(desk) = &mut self.desk else { return };
        let due: HashSet<Missed> = desk.missed(now).into_iter().collect();
        let mut missed: Vec<Missed> = due.intersection(&self.due).cloned().collect();
        missed.sort_by_key(|it| it.incident);
        self.due = due;
        let watch = WatchId::new(Kind::Myself, "escalation");
        let why = missed.first().map(|it| {
            let more = match missed.len() {
                1 => String::new(),
                many => format!("; {} more", many - 1),
            };
            let due = it.due.map_or("lost its clock".to_owned(), |at| format!("was due at {at}"));
            format!("step {} of {} {due}{more}", it.step, it.incident)
        });
        if let Some(why) = &why {
            tracing::error!(why, "a step of an escalation was not done in time");
            let writes = desk.make_up(&missed, now);
            self.commit(myself, writes, Vec::new(), Vec::new());
        }
        let trouble = why.as_deref().map(|it| (Condition::Overdue, it));
        if trouble.is_some() || self.context.board.trouble(&watch) != Some(None) {
            self.context.tell(self.context.board.set(&watch, trouble, now));
        }
    }

    /// Open incidents of what is no longer in the configuration end as such.
    fn end_unwatched(&mut self) {
        let Some(desk) = &self.desk else { return };
        let context = &self.context;
        let now = context.clock.now();
        let sources: HashSet<WatchId> =
            context.ears.sources().map(|it| context.ears.watch_of(it)).collect();
        let gone: Vec<Flip> = desk
            .incidents()
            .filter(|it| it.resolved.is_none())
            .filter(|it| match it.watch.kind {
                Kind::Agent => context.slots.by_watch(&it.watch).is_none(),
                Kind::Source => !sources.contains(&it.watch),
                Kind::Receiver => {
                    !context.receivers().iter().any(|known| known.id.watch() == it.watch)
                }
                Kind::Myself => false,
            })
            .map(|it| removal(it, now))
            .collect();
        self.flips.extend(gone);
    }
}

fn removal(incident: &Incident, now: Timestamp) -> Flip {
    let verdict = |condition| match (incident.watch.kind, incident.condition) {
        (Kind::Agent, trouble) if trouble != Condition::Unwatched => Verdict::unknown(Kind::Agent),
        (Kind::Agent | Kind::Source | Kind::Receiver | Kind::Myself, _) => Verdict::Part(condition),
    };
    Flip {
        subject: Arc::clone(&incident.subject),
        // A life of its own, later than any that was: what is gone says nothing more.
        epoch: u64::try_from(now.as_microsecond()).unwrap_or(u64::MAX),
        n: 1,
        from: verdict(Some(incident.condition)),
        to: verdict(None),
        at: now,
        cause: Cause::Removed,
        task: None,
    }
}
