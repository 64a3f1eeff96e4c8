//! Flapping: a watch that changes too often is told of once, then its single changes stay quiet until it
//! is steady (docs/BEHAVIOUR.md 9, "Flapping"). The incident of the newest change carries what is known of it.

use jiff::{SignedDuration, Timestamp};

use super::{
    Desk,
    batch::{Batch, Ruled},
    later,
    tell::Muted,
};
use crate::domain::{
    alert::{
        Reason,
        dedup::{self, Opens, Ruling},
        wording,
    },
    decision::Stage,
    id::{GroupId, IncidentId, Origin, ReceiverId},
    incident::{Flapping, Incident, Severity, Unrest},
    watch::{Cause, Flip},
};

/// So many changes within so long are flapping.
const CHANGES: usize = 6;
const WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// A verdict that held so long, and twice the timeout of its watch, is steady.
pub(super) const STEADY_MIN: SignedDuration = SignedDuration::from_mins(10);
/// What holds a day is steady, however long the timeout: nothing must be remembered for longer.
pub(super) const STEADY_MAX: SignedDuration = SignedDuration::from_hours(24);

/// The unrest of a watch on its way to the incident of the newest change.
pub(super) struct Carried {
    unrest: Unrest,
    /// Who carried it until now.
    from: Option<IncidentId>,
    /// It is flapping by this change.
    begins: bool,
}

/// How long a verdict must hold.
fn holds(incident: &Incident) -> SignedDuration {
    let timeout = incident.subject.timeout.unwrap_or_default();
    timeout.saturating_mul(2).clamp(STEADY_MIN, STEADY_MAX)
}

/// When a flapping watch is steady, if nothing changes until then.
pub fn steady_at(incident: &Incident) -> Option<Timestamp> {
    let unrest = incident.unrest.as_ref().filter(|it| it.flapping.is_some())?;
    unrest.changes.last().map(|it| later(*it, holds(incident)))
}

impl Desk {
    /// Counts a change of the watch; none where the flip changes nothing. Whoever pauses or removes a watch
    /// ends its unrest.
    pub(super) fn take_unrest(
        &mut self,
        flip: &Flip,
        ruling: &Ruling,
        batch: &mut Batch,
    ) -> Option<Carried> {
        if matches!(flip.cause, Cause::Paused { .. } | Cause::Removed) {
            self.drop_unrest(flip, batch);
            return None;
        }
        let opens = matches!(ruling.opens, Opens::Again(_) | Opens::New(_));
        if !opens && ruling.ends.is_empty() {
            return None;
        }
        let from = self.carriers(flip).into_iter().next_back();
        let old = from.and_then(|it| self.books.incident_mut(it));
        let settled = old.as_ref().and_then(|it| steady_at(it)).is_some_and(|it| it <= flip.at);
        let mut unrest = old.and_then(|it| it.unrest.take()).unwrap_or_default();
        batch.incidents.extend(from);
        let condition = flip.to.condition();
        let severity = condition.map(|it| flip.subject.severity_of(it));
        let rises = unrest.flapping.as_ref().is_some_and(|it| Some(it.severity) < severity);
        if settled || rises {
            unrest = Unrest::default();
        }
        if let (true, Some(id)) = (rises, from) {
            self.decide_flapping(id, "flapping ended", "rise in severity: told at once", batch);
        }
        unrest.changes.push(flip.at);
        if CHANGES < unrest.changes.len() {
            unrest.changes.remove(0);
        }
        if let Some(flapping) = &mut unrest.flapping {
            flapping.count = flapping.count.saturating_add(1);
            return Some(Carried { unrest, from, begins: false });
        }
        unrest.changes.retain(|it| flip.at.duration_since(*it) <= WITHIN);
        let begins = unrest.changes.len() == CHANGES;
        if let (true, Some(since)) = (begins, unrest.changes.first().copied()) {
            let over = ruling.ends.iter().filter_map(|it| self.books.incident(it.0));
            let severity = over.map(|it| it.severity).chain(severity).max();
            unrest.flapping = Some(Flapping {
                since,
                count: u32::try_from(CHANGES).unwrap_or(u32::MAX),
                severity: severity.unwrap_or(Severity::Critical),
                told: condition,
            });
        }
        Some(Carried { unrest, from, begins })
    }

    /// The incidents that carry the unrest of what the flip speaks of, oldest first.
    fn carriers(&self, flip: &Flip) -> Vec<IncidentId> {
        let known = self.books.of_watch(&flip.subject.watch);
        let carriers = known.filter(|it| it.unrest.is_some() && dedup::governs(flip, it.condition));
        carriers.map(|it| it.id).collect()
    }

    fn drop_unrest(&mut self, flip: &Flip, batch: &mut Batch) {
        for id in self.carriers(flip) {
            let Some(incident) = self.books.incident_mut(id) else { continue };
            let unrest = incident.unrest.take();
            batch.incidents.insert(id);
            if unrest.is_some_and(|it| it.flapping.is_some()) {
                self.decide_flapping(id, "flapping ended", &wording::rule(&flip.cause), batch);
                for group in self.books.groups_of(id) {
                    batch.edit(group.id);
                }
            }
        }
    }

    /// Gives the unrest of a watch to the incident of its newest change, with the messages that tell of it.
    pub(super) fn hand_on(&mut self, id: IncidentId, carried: Option<&Carried>, batch: &mut Batch) {
        let Some(Carried { unrest, from, begins }) = carried else { return };
        batch.incidents.insert(id);
        if let Some(incident) = self.books.incident_mut(id) {
            incident.unrest = Some(unrest.clone());
        }
        let Some(from) = from.filter(|it| *it != id && !begins && unrest.flapping.is_some()) else {
            return;
        };
        let told = self.books.incident(from).map(|it| it.told.clone()).unwrap_or_default();
        for receiver in told {
            let Some(group) = self.books.group_with(from, &receiver) else { continue };
            if self.books.group_with(id, &receiver) != Some(group) {
                self.books.join(id, group);
            }
            if let Some(incident) = self.books.incident_mut(id)
                && !incident.told.contains(&receiver)
            {
                incident.told.push(receiver);
            }
        }
    }

    /// After a change was taken in: says once that the watch is flapping, or why this change stays quiet.
    pub(super) fn changed(&mut self, id: IncidentId, carried: &Carried, batch: &mut Batch) {
        let Some(over) = self.books.incident(id).map(|it| it.resolved.is_some()) else { return };
        if over {
            self.hand_on(id, Some(carried), batch);
        }
        if carried.begins {
            self.begin_flapping(id, batch);
        } else if over
            && let Some(muted) = self.books.incident(id).and_then(|it| self.flapping_mutes(it))
        {
            self.decide_flapping(id, "held", &muted.rule, batch);
        }
    }

    /// What is muted by anything else says nothing of flapping either: the next change asks again.
    fn begin_flapping(&mut self, id: IncidentId, batch: &mut Batch) {
        let by_itself = |it: &Muted| matches!(it.stage, Stage::Flapping | Stage::Acknowledge);
        if self.muted(id, batch).is_some_and(|it| !by_itself(&it)) {
            if let Some(incident) = self.books.incident_mut(id)
                && let Some(unrest) = &mut incident.unrest
            {
                unrest.flapping = None;
            }
            return;
        }
        let rule = format!("{CHANGES} changes within {}", wording::written(WITHIN));
        self.decide_flapping(id, "flapping", &rule, batch);
        let Some(incident) = self.books.incident(id) else { return };
        let routed = self.routed(incident);
        if routed.to.is_empty() {
            self.decide_flapping(id, "not told", routed.rule, batch);
        }
        let humans: Vec<ReceiverId> =
            self.settings.receivers.iter().filter(|it| it.human).map(|it| it.id.clone()).collect();
        for (receiver, origin) in routed.to.iter().filter(|it| humans.contains(&it.0)) {
            self.ring_flapping(id, receiver, origin, batch);
        }
    }

    /// Programs make no sound, and count on hearing each change.
    pub(super) fn tell_machines(&mut self, id: IncidentId, reason: &Reason, batch: &mut Batch) {
        let Some(incident) = self.books.incident(id) else { return };
        let routed = self.routed(incident);
        let machines: Vec<ReceiverId> =
            self.settings.receivers.iter().filter(|it| !it.human).map(|it| it.id.clone()).collect();
        for (receiver, origin) in routed.to.iter().filter(|it| machines.contains(&it.0)) {
            self.tell_one(id, receiver, reason, &reason.rule(), origin, batch);
        }
    }

    fn ring_flapping(
        &mut self,
        id: IncidentId,
        receiver: &ReceiverId,
        origin: &Origin,
        batch: &mut Batch,
    ) {
        let group = self.own_group(id, receiver, batch);
        batch.groups.entry(group).or_default().ring = Some(Reason::Flapping);
        let Some(incident) = self.books.incident_mut(id) else { return };
        if !incident.told.contains(receiver) {
            incident.told.push(receiver.clone());
        }
        let (watch, incident, origin) = (&incident.watch, Some(id), origin.clone());
        let stage = Stage::Flapping;
        let ruled = Ruled { watch, incident, stage, origin, receiver: Some(receiver) };
        batch.decide(ruled, "told", &Reason::Flapping.rule());
    }

    /// A message of this watch alone, which nobody else joins.
    fn own_group(&mut self, id: IncidentId, receiver: &ReceiverId, batch: &Batch) -> GroupId {
        let watch = self.books.incident(id).map(|it| it.watch.clone());
        let alone = |it: &GroupId| {
            self.books.members(*it).iter().all(|of| Some(&of.watch) == watch.as_ref())
        };
        let known = self.books.group_with(id, receiver).filter(alone);
        let group = known.unwrap_or_else(|| self.open_group(id, receiver, batch));
        self.books.seal(group);
        group
    }

    /// Why a change of a flapping watch disturbs nobody.
    pub(super) fn flapping_mutes(&self, incident: &Incident) -> Option<Muted> {
        let flapping = incident.unrest.as_ref()?.flapping.as_ref()?;
        let now = incident.unrest.as_ref()?.changes.last().copied()?;
        let since = wording::clock(flapping.since, now, &self.settings.timezone);
        let steady = wording::written(holds(incident));
        Some(Muted {
            stage: Stage::Flapping,
            rule: format!("flapping since {since}: quiet until a verdict holds {steady}"),
            origin: Origin::Default("flapping"),
            silence: None,
            until: None,
            hold: None,
        })
    }

    /// An open incident weighs more than anything that made its watch flap.
    pub(super) fn rise(&mut self, id: IncidentId, severity: Severity, batch: &mut Batch) {
        let Some(incident) = self.books.incident_mut(id) else { return };
        let lesser = |it: &Unrest| it.flapping.as_ref().is_some_and(|it| it.severity < severity);
        if incident.unrest.as_ref().is_some_and(lesser) {
            incident.unrest = None;
            self.decide_flapping(id, "flapping ended", "rise in severity: told at once", batch);
        }
    }

    /// The watch has been as it is for long enough. What is still so is decided as if it opened now; that it
    /// is well is told without a sound.
    pub(super) fn become_steady(&mut self, id: IncidentId, batch: &mut Batch) {
        let Some(incident) = self.books.incident_mut(id) else { return };
        let (held, over) = (wording::written(holds(incident)), incident.resolved.is_some());
        let Some(unrest) = incident.unrest.take() else { return };
        let Some(flapping) = unrest.flapping else { return };
        let told = incident.told.clone();
        let since = unrest.changes.last().copied().unwrap_or(batch.now);
        let reason = Reason::Steady { since, told: flapping.told };
        batch.incidents.insert(id);
        self.decide_flapping(id, "steady", &format!("its verdict held {held}"), batch);
        if !over {
            self.tell(id, &reason, batch);
            return;
        }
        let muted = self.hold(id, batch);
        for receiver in told {
            let Some(group) = self.books.group_with(id, &receiver) else { continue };
            if muted {
                batch.edit(group);
            } else {
                batch.ring(group, &reason);
            }
        }
    }

    fn decide_flapping(&self, id: IncidentId, outcome: &str, rule: &str, batch: &mut Batch) {
        let Some(incident) = self.books.incident(id) else { return };
        let (watch, incident, origin) = (&incident.watch, Some(id), Origin::Default("flapping"));
        let stage = Stage::Flapping;
        batch.decide(Ruled { watch, incident, stage, origin, receiver: None }, outcome, rule);
    }
}
