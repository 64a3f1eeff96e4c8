//! What time and failure make due: repeats, steps of the chain, ends of acknowledgements and silences,
//! and the next receiver where one did not take a message.

use jiff::Timestamp;

use super::{
    Desk, Undelivered,
    batch::{Batch, Ruled},
    books::Due,
    flap::steady_at,
    later,
};
use crate::domain::{
    alert::Reason,
    decision::Stage,
    id::{GroupId, IncidentId, Origin, ReceiverId},
    silence::{Silence, Target},
    write::Write,
};

impl Desk {
    /// Does what time has made due: repeats, chain steps, ends of acknowledgements and silences.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Write> {
        let mut writes = self.pass(now);
        // What is over and was still owed a message can be forgotten only once that is written.
        if self.deadline().is_some_and(|it| it <= now) {
            writes.extend(self.pass(now));
        }
        writes
    }

    fn pass(&mut self, now: Timestamp) -> Vec<Write> {
        let mut batch = Batch::new(now);
        for due in self.books.due(now) {
            match due {
                Due::Silence(id) => self.end_silence(id, &mut batch),
                Due::Incident(id) => self.tick_incident(id, &mut batch),
                Due::Group(id) => self.tick_group(id, &mut batch),
            }
        }
        self.close(batch)
    }

    /// When [`Desk::tick`] has something to do, if ever.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.books.deadline()
    }

    /// Windows may have come, gone or moved: what one held is decided again at the next tick.
    pub(super) fn decide_maintenance_anew(&mut self) {
        let held = self.books.incidents().filter(|it| it.maintenance_until.is_some());
        for id in held.map(|it| it.id).collect::<Vec<_>>() {
            if let Some(incident) = self.books.incident_mut(id) {
                incident.maintenance_until = Some(Timestamp::MIN);
            }
        }
    }

    fn tick_incident(&mut self, id: IncidentId, batch: &mut Batch) {
        let now = batch.now;
        let Some(incident) = self.books.incident_mut(id) else { return };
        if steady_at(incident).is_some_and(|it| it <= now) {
            self.become_steady(id, batch);
            return;
        }
        if incident.digest.and_then(|it| it.due).is_some_and(|it| it <= now) {
            batch.digest.insert(id);
        }
        if incident.resolved.is_some() {
            if batch.digest.contains(&id) {
                return;
            }
            self.forget(id, batch);
            return;
        }
        batch.incidents.insert(id);
        if let Some(held) = incident.acknowledgement.take_if(|it| it.until <= now) {
            let reason = Reason::Unacknowledged { by: held.by, released: false };
            self.tell(id, &reason, batch);
            return;
        }
        if let Some(held) = incident.held.clone()
            && held.until.is_some_and(|it| it <= now)
        {
            self.tell(id, &Reason::HoldEnded { by: held.by }, batch);
            return;
        }
        if incident.maintenance_until.take_if(|it| *it <= now).is_some() {
            self.tell(id, &Reason::MaintenanceEnded, batch);
            return;
        }
        let (step, repeat) = (incident.next_step_at, incident.repeat_at);
        if step.is_some_and(|it| it <= now) && !self.hold(id, batch) {
            self.escalate(id, batch);
        }
        if repeat.is_some_and(|it| it <= now) {
            self.repeat_to_machines(id, batch);
        }
    }

    fn escalate(&mut self, id: IncidentId, batch: &mut Batch) {
        let Some(to) = self.next_step(id) else {
            // A chain that has come to its end; a clock left standing in the past would ring for ever.
            self.arm_step(id, batch);
            return;
        };
        let origin = self.origin_of_chain(id);
        let rule = Reason::Escalated.rule();
        for receiver in to {
            self.tell_one(id, &receiver, &Reason::Escalated, &rule, &origin, batch);
        }
        self.arm_step(id, batch);
    }

    /// Takes the next step of the chain.
    fn next_step(&mut self, id: IncidentId) -> Option<Vec<ReceiverId>> {
        let incident = self.books.incident_mut(id)?;
        let to = incident.chain.get(incident.steps_told)?.to.clone();
        incident.steps_told += 1;
        Some(to)
    }

    /// The route that still has this chain; else the chain lives on in the incident alone.
    fn origin_of_chain(&self, id: IncidentId) -> Origin {
        let copied = Origin::Default("chain copied at the opening");
        let Some(incident) = self.books.incident(id) else { return copied };
        let routed = self.routed(incident);
        if routed.then == incident.chain { routed.origin } else { copied }
    }

    fn repeat_to_machines(&mut self, id: IncidentId, batch: &mut Batch) {
        if self.hold(id, batch) {
            return;
        }
        let Some(incident) = self.books.incident(id) else { return };
        let machines: Vec<(ReceiverId, Origin)> = self
            .settings
            .receivers
            .iter()
            .filter(|it| !it.human && incident.told.contains(&it.id))
            .map(|it| (it.id.clone(), it.origin.clone()))
            .collect();
        if machines.is_empty()
            && let Some(incident) = self.books.incident_mut(id)
        {
            incident.repeat_at = None;
        }
        let rule = Reason::Repeated.rule();
        for (receiver, origin) in machines {
            self.tell_one(id, &receiver, &Reason::Repeated, &rule, &origin, batch);
        }
    }

    fn tick_group(&mut self, id: GroupId, batch: &mut Batch) {
        if self.books.known_members(id) == 0 {
            batch.rows.extend(self.books.close(id).map(|it| Write::Group(Box::new(it))));
            return;
        }
        let Some(group) = self.books.group_mut(id) else { return };
        if batch.now < later(group.rang_at, self.settings.repeat) {
            return;
        }
        group.rang_at = batch.now;
        let receiver = group.receiver.clone();
        batch.groups.entry(id).or_default();
        let open: Vec<IncidentId> = self
            .books
            .members(id)
            .iter()
            .filter(|it| it.resolved.is_none())
            .map(|it| it.id)
            .collect();
        for member in open {
            if self.hold(member, batch) {
                continue;
            }
            batch.ring(id, &Reason::Repeated);
            let Some(incident) = self.books.incident(member) else { continue };
            let ruled = Ruled {
                watch: &incident.watch,
                incident: Some(member),
                stage: Stage::Repeat,
                origin: Origin::Default("repeat"),
                receiver: Some(&receiver),
            };
            batch.decide(ruled, "told", &Reason::Repeated.rule());
        }
    }

    /// Ends a silence; what it muted and is still so is decided again.
    pub(super) fn end_silence(&mut self, id: u64, batch: &mut Batch) {
        let Some(silence) = self.silences.remove(id) else { return };
        self.books.set_alarm(Due::Silence(id), None);
        batch.silences.remove(&id);
        batch.rows.push(Write::SilenceEnded { id, at: batch.now });
        for incident in self.open_under(&silence.target) {
            self.tell(incident, &Reason::SilenceEnded { id }, batch);
        }
    }

    pub(super) fn open_under(&self, target: &Target) -> Vec<IncidentId> {
        match target {
            Target::Watch(watch) => {
                let of_watch = self.books.of_watch(watch);
                of_watch.filter(|it| it.resolved.is_none()).map(|it| it.id).collect()
            }
            Target::Pattern(_) | Target::Group(_) => {
                let open = self.books.incidents().filter(|it| it.resolved.is_none());
                open.filter(|it| target.matches(&it.subject)).map(|it| it.id).collect()
            }
        }
    }

    pub(super) fn begin_silence(&mut self, silence: Silence, batch: &mut Batch) {
        let (id, until) = (silence.id, silence.until);
        for incident in self.open_under(&silence.target) {
            self.seal(incident, batch);
        }
        self.silences.insert(silence);
        self.books.set_alarm(Due::Silence(id), Some(until));
        batch.silences.insert(id);
    }

    /// A receiver refused for good, or nobody accepted a critical delivery for 2 m: the next step of the
    /// chain at once, else one receiver that was not told yet, a human one first.
    pub fn undelivered(&mut self, report: &Undelivered, now: Timestamp) -> Vec<Write> {
        let mut batch = Batch::new(now);
        for id in &report.incidents {
            self.fail_over(*id, report, &mut batch);
        }
        self.close(batch)
    }

    fn fail_over(&mut self, id: IncidentId, report: &Undelivered, batch: &mut Batch) {
        let Some(incident) = self.books.incident(id) else { return };
        let (watch, over) = (incident.watch.clone(), incident.resolved.is_some());
        let ruled = |receiver| Ruled {
            watch: &watch,
            incident: Some(id),
            stage: Stage::Delivery,
            origin: Origin::Default("fail-over"),
            receiver,
        };
        batch.decide(ruled(Some(&report.receiver)), "not delivered", report.why.as_str());
        if over {
            batch.decide(ruled(None), "not told", "it is over: nobody else is disturbed");
            return;
        }
        if self.hold(id, batch) {
            return;
        }
        let step = self.next_step(id);
        if step.is_some() {
            self.arm_step(id, batch);
        }
        let from = report.receiver.clone();
        let untold = self.untold(id);
        let to: Vec<ReceiverId> = step
            .unwrap_or_default()
            .into_iter()
            .filter(|it| *it != from && self.settings.receivers.iter().any(|of| of.id == *it))
            .collect();
        let to = if to.is_empty() { untold.into_iter().collect() } else { to };
        batch.incidents.insert(id);
        if to.is_empty() {
            batch.decide(ruled(None), "not told", "every receiver was told or tried");
        }
        let reason = Reason::FailedOver { from, why: report.why.clone() };
        for receiver in to {
            let origin = Origin::Default("fail-over");
            self.tell_one(id, &receiver, &reason, &reason.rule(), &origin, batch);
        }
    }

    /// A receiver that was not told of the incident; never the one that the trouble is about.
    fn untold(&self, id: IncidentId) -> Option<ReceiverId> {
        let incident = self.books.incident(id)?;
        let others = self.settings.receivers.iter();
        let mut others: Vec<_> = others
            .filter(|it| !incident.told.contains(&it.id) && it.id.watch() != incident.watch)
            .collect();
        others.sort_by_key(|it| !it.human);
        others.first().map(|it| it.id.clone())
    }
}
