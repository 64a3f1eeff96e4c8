//! Telling: carries an incident's change to its receivers, or writes down why not.

use jiff::Timestamp;

use super::{
    Desk,
    batch::{Batch, Owed, Ruled},
    later,
};
use crate::domain::{
    alert::{
        Reason, event,
        group::{Group, Voice},
        route::{Routed, route},
        wording::{self, Scene},
    },
    decision::Stage,
    delivery::Body,
    id::{GroupId, IncidentId, Origin, ReceiverId},
    incident::{Hold, Incident},
    maintenance::over,
    write::Write,
};

/// Why nobody may be disturbed by an incident now.
pub(super) struct Muted {
    pub(super) stage: Stage,
    pub(super) rule: String,
    pub(super) origin: Origin,
    pub(super) silence: Option<u64>,
    /// The end of a maintenance window.
    pub(super) until: Option<Timestamp>,
    /// The watch that explains it.
    pub(super) hold: Option<Hold>,
}

impl Desk {
    /// Decides an open incident as if it opened now: who hears of it, in which message, with a sound or not.
    pub(super) fn tell(&mut self, id: IncidentId, reason: &Reason, batch: &mut Batch) {
        batch.incidents.insert(id);
        if let Some(stage) = self.mute(id, batch) {
            for group in self.books.groups_of(id) {
                batch.edit(group.id);
            }
            if stage == Stage::Flapping {
                self.tell_machines(id, reason, batch);
            }
            return;
        }
        let Some(incident) = self.books.incident(id) else { return };
        let routed = self.routed(incident);
        if routed.to.is_empty() {
            if self.digest_instead(id, batch) {
                return;
            }
            let Some(incident) = self.books.incident(id) else { return };
            let (watch, incident) = (&incident.watch, Some(id));
            let origin = routed.origin;
            let ruled = Ruled { watch, incident, stage: Stage::Route, origin, receiver: None };
            batch.decide(ruled, "not told", routed.rule);
            return;
        }
        self.out_of_digest(id);
        for (receiver, origin) in &routed.to {
            let opened = *reason == Reason::Opened;
            let rule = if opened { routed.rule.to_owned() } else { reason.rule() };
            self.tell_one(id, receiver, reason, &rule, origin, batch);
        }
        self.arm_step(id, batch);
    }

    /// Who hears of an incident as it weighs now.
    pub(super) fn routed(&self, incident: &Incident) -> Routed {
        route(&self.settings, &incident.subject, incident.condition, incident.severity)
    }

    /// Sets the clock of the chain's next step.
    pub(super) fn arm_step(&mut self, id: IncidentId, batch: &Batch) {
        if let Some(incident) = self.books.incident_mut(id) {
            let step = incident.chain.get(incident.steps_told);
            incident.next_step_at = step.map(|it| later(batch.now, it.after));
        }
    }

    /// Whether something mutes the incident; if so that is stored and counted, and its clocks stop until
    /// what mutes it ends.
    pub(super) fn hold(&mut self, id: IncidentId, batch: &mut Batch) -> bool {
        self.mute(id, batch).is_some()
    }

    /// The same; with what mutes it.
    fn mute(&mut self, id: IncidentId, batch: &mut Batch) -> Option<Stage> {
        let muted = self.muted(id, batch);
        self.set_hold(id, muted.as_ref().and_then(|it| it.hold.clone()), batch);
        let muted = muted?;
        if let Some(silence) = muted.silence.and_then(|it| self.silences.get_mut(it)) {
            silence.muted += 1;
            batch.silences.insert(silence.id);
        }
        let incident = self.books.incident_mut(id)?;
        incident.next_step_at = None;
        incident.repeat_at = None;
        incident.maintenance_until = muted.until;
        let (watch, incident) = (&incident.watch, Some(id));
        let Muted { stage, rule, origin, .. } = muted;
        batch.incidents.insert(id);
        batch.decide(Ruled { watch, incident, stage, origin, receiver: None }, "held", &rule);
        Some(stage)
    }

    pub(super) fn muted(&self, id: IncidentId, batch: &Batch) -> Option<Muted> {
        let (incident, now) = (self.books.incident(id)?, batch.now);
        if let Some(silence) = self.silences.over(&incident.subject) {
            return Some(Muted {
                stage: Stage::Silence,
                rule: format!("silenced by #{} of {}", silence.id, silence.by),
                origin: Origin::Default("silence"),
                silence: Some(silence.id),
                until: None,
                hold: None,
            });
        }
        if let Some((window, until)) = over(&self.settings.maintenance, &incident.subject, now) {
            let clock = wording::clock(until, now, &self.settings.timezone);
            let reason = window.reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
            return Some(Muted {
                stage: Stage::Maintenance,
                rule: format!("maintenance until {clock}{reason}"),
                origin: window.origin.clone(),
                silence: None,
                until: Some(until),
                hold: None,
            });
        }
        let Some(held) = &incident.acknowledgement else {
            let explained = self.parent_mutes(incident, batch);
            return explained.or_else(|| self.flapping_mutes(incident));
        };
        let until = wording::clock(held.until, held.at, &self.settings.timezone);
        Some(Muted {
            stage: Stage::Acknowledge,
            rule: format!("acknowledged by {} until {until}", held.by),
            origin: Origin::Default("acknowledgement"),
            silence: None,
            until: None,
            hold: None,
        })
    }

    /// One receiver. One that the settings no longer know hears nothing.
    pub(super) fn tell_one(
        &mut self,
        id: IncidentId,
        receiver: &ReceiverId,
        reason: &Reason,
        rule: &str,
        origin: &Origin,
        batch: &mut Batch,
    ) {
        let known = self.settings.receivers.iter().find(|it| it.id == *receiver);
        let Some(human) = known.map(|it| it.human) else {
            let Some(incident) = self.books.incident(id) else { return };
            let (watch, incident, origin) = (&incident.watch, Some(id), origin.clone());
            let ruled =
                Ruled { watch, incident, stage: stage(reason), origin, receiver: Some(receiver) };
            batch.decide(ruled, "not told", "the registry has no such receiver any more");
            return;
        };
        let Some(incident) = self.books.incident_mut(id) else { return };
        let knows = incident.told.contains(receiver);
        if !knows {
            incident.told.push(receiver.clone());
        }
        let voice = if human {
            self.tell_human(id, receiver, reason, rule, batch)
        } else {
            self.tell_machine(id, receiver, reason, knows, batch);
            Voice::Ring(rule.to_owned())
        };
        let Some(incident) = self.books.incident(id) else { return };
        let (stage, outcome, rule) = match &voice {
            Voice::Ring(rule) => (stage(reason), "told", rule),
            Voice::Edit(rule) => (Stage::Group, "edited only", rule),
        };
        let (watch, incident, origin) = (&incident.watch, Some(id), origin.clone());
        let ruled = Ruled { watch, incident, stage, origin, receiver: Some(receiver) };
        batch.decide(ruled, outcome, rule);
    }

    fn tell_machine(
        &mut self,
        id: IncidentId,
        receiver: &ReceiverId,
        reason: &Reason,
        knows: bool,
        batch: &mut Batch,
    ) {
        let event = match reason {
            Reason::Opened | Reason::Relapsed { .. } => "opened",
            _ if !knows => "opened",
            Reason::Repeated => "repeated",
            Reason::Rose
            | Reason::Flapping
            | Reason::Steady { .. }
            | Reason::SilenceEnded { .. }
            | Reason::MaintenanceEnded
            | Reason::HoldEnded { .. }
            | Reason::Unacknowledged { .. }
            | Reason::Escalated
            | Reason::FailedOver { .. } => "updated",
        };
        let repeat_at = later(batch.now, self.settings.repeat);
        if let Some(incident) = self.books.incident_mut(id) {
            incident.repeat_at = Some(repeat_at);
        }
        self.post(id, receiver, event, Some(reason), batch);
    }

    /// One event to one machine: every change is a revision of its own.
    fn post(
        &mut self,
        id: IncidentId,
        receiver: &ReceiverId,
        event: &'static str,
        reason: Option<&Reason>,
        batch: &mut Batch,
    ) {
        let Some(incident) = self.books.incident_mut(id) else { return };
        incident.revision = incident.revision.saturating_add(1);
        let Some(incident) = self.books.incident(id) else { return };
        let message = wording::message(&Scene {
            settings: &self.settings,
            members: &[incident],
            reason,
            silence: None,
            holds: &[],
            repeats_at: None,
            now: batch.now,
        });
        let owed = Owed {
            key: format!("i{}/{receiver}/{}", id.0, incident.revision),
            receiver: receiver.clone(),
            group: None,
            incidents: vec![id],
            condition: incident.condition,
            severity: incident.severity,
            revision: incident.revision,
            body: Body::Event(event::event(event, incident, wording::plain(&message))),
        };
        batch.incidents.insert(id);
        self.owe(owed, batch);
    }

    fn tell_human(
        &mut self,
        id: IncidentId,
        receiver: &ReceiverId,
        reason: &Reason,
        rule: &str,
        batch: &mut Batch,
    ) -> Voice {
        let Some(incident) = self.books.incident(id) else { return Voice::Edit(String::new()) };
        let (condition, severity) = (incident.condition, incident.severity);
        let within = self.settings.join_within;
        let (group, voice) = if let Some(mine) = self.books.group_with(id, receiver) {
            let voice = self.books.group(mine).map(|it| it.again(reason, within, batch.now));
            (mine, voice)
        } else if let Some(open) = self.books.joinable(receiver, condition) {
            self.books.join(id, open);
            (open, self.books.group(open).map(|it| it.joined(severity, within, batch.now)))
        } else {
            (self.open_group(id, receiver, batch), None)
        };
        let voice = voice.unwrap_or_else(|| Voice::Ring(rule.to_owned()));
        match &voice {
            Voice::Ring(_) => batch.ring(group, reason),
            Voice::Edit(_) => batch.edit(group),
        }
        voice
    }

    pub(super) fn open_group(
        &mut self,
        id: IncidentId,
        receiver: &ReceiverId,
        batch: &Batch,
    ) -> GroupId {
        self.last.group += 1;
        let group = GroupId(self.last.group);
        if let Some(incident) = self.books.incident(id) {
            self.books.add_group(Group {
                id: group,
                receiver: receiver.clone(),
                condition: incident.condition,
                members: Vec::new(),
                opened_at: batch.now,
                revision: 0,
                rang_at: batch.now,
                members_at_ring: 0,
                sealed: false,
                closed: false,
            });
            self.books.join(id, group);
        }
        group
    }

    /// Shows a change that makes no sound to those who were told of the incident: people see their
    /// message edited, machines get the event.
    pub(super) fn show(&mut self, id: IncidentId, event: &'static str, batch: &mut Batch) {
        batch.incidents.insert(id);
        for group in self.books.groups_of(id) {
            batch.edit(group.id);
        }
        let Some(incident) = self.books.incident(id) else { return };
        let (watch, told) = (incident.watch.clone(), incident.told.clone());
        let decide = |batch: &mut Batch, receiver, outcome, rule: &str| {
            let origin = Origin::Default("who was told of the opening");
            let stage = Stage::Group;
            batch.decide(
                Ruled { watch: &watch, incident: Some(id), stage, origin, receiver },
                outcome,
                rule,
            );
        };
        if told.is_empty() {
            decide(batch, None, "not told", "nobody was told of the opening");
        }
        let receivers = self.settings.clone();
        for receiver in receivers.receivers.iter().filter(|it| told.contains(&it.id)) {
            let rule = format!("{event}: makes no sound");
            if receiver.human {
                decide(batch, Some(&receiver.id), "edited only", &rule);
            } else {
                decide(batch, Some(&receiver.id), "told", event);
                self.post(id, &receiver.id, event, None, batch);
            }
        }
    }

    /// Every message of an incident changes at its next opportunity, and takes in nobody new.
    pub(super) fn seal(&mut self, id: IncidentId, batch: &mut Batch) {
        let groups: Vec<GroupId> = self.books.groups_of(id).map(|it| it.id).collect();
        for group in groups {
            self.books.seal(group);
            batch.edit(group);
        }
    }

    /// Drops an incident that can no longer come back, and the groups that held nobody else.
    pub(super) fn forget(&mut self, id: IncidentId, batch: &mut Batch) {
        for group in self.books.forget(id) {
            if self.books.known_members(group) == 0 {
                batch.rows.extend(self.books.close(group).map(|it| Write::Group(Box::new(it))));
            }
        }
    }
}

/// Which stage speaks, by the reason.
fn stage(reason: &Reason) -> Stage {
    match reason {
        Reason::Opened | Reason::Relapsed { .. } | Reason::Rose | Reason::Escalated => Stage::Route,
        Reason::SilenceEnded { .. } => Stage::Silence,
        Reason::MaintenanceEnded => Stage::Maintenance,
        Reason::HoldEnded { .. } => Stage::Depend,
        Reason::Unacknowledged { .. } => Stage::Acknowledge,
        Reason::Flapping | Reason::Steady { .. } => Stage::Flapping,
        Reason::Repeated => Stage::Repeat,
        Reason::FailedOver { .. } => Stage::Delivery,
    }
}
