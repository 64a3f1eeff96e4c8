//! Batch: what one step of the desk changed, gathered so that each row is written once and each
//! message rendered once, as it stands at the end.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::{Desk, books::Due, later};
use crate::domain::{
    alert::{
        Reason,
        wording::{self, Scene},
    },
    decision::{Decision, Stage},
    delivery::{Body, Delivery, Message, State},
    id::{DeliveryId, GroupId, IncidentId, Origin, ReceiverId, WatchId},
    incident::{Incident, Severity},
    text::Text,
    watch::Condition,
    write::Write,
};

/// A rule or an outcome in a decision.
const RULE_CHARACTERS_MAX: usize = 200;

/// What happened to a group's message.
#[derive(Debug, Default)]
pub(super) struct Touch {
    /// The first reason wins: all that happened in one step is one message.
    pub(super) ring: Option<Reason>,
    pub(super) edit: bool,
    /// A person had it: recovery also comes as a silent reply.
    pub(super) reply: bool,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) now: Timestamp,
    pub(super) rows: Vec<Write>,
    pub(super) incidents: BTreeSet<IncidentId>,
    pub(super) groups: BTreeMap<GroupId, Touch>,
    pub(super) silences: BTreeSet<u64>,
    /// Incidents of which the digest is due.
    pub(super) digest: BTreeSet<IncidentId>,
    /// Watches of which a worse verdict may be on its way.
    pub(super) doubtful: HashSet<WatchId>,
}

/// One link of the chain of reasons, without its words.
pub(super) struct Ruled<'a> {
    pub(super) watch: &'a WatchId,
    pub(super) incident: Option<IncidentId>,
    pub(super) stage: Stage,
    pub(super) origin: Origin,
    pub(super) receiver: Option<&'a ReceiverId>,
}

impl Batch {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            rows: Vec::new(),
            incidents: BTreeSet::new(),
            groups: BTreeMap::new(),
            silences: BTreeSet::new(),
            digest: BTreeSet::new(),
            doubtful: HashSet::new(),
        }
    }

    pub(super) fn decide(&mut self, ruled: Ruled<'_>, outcome: &str, rule: &str) {
        self.rows.push(Write::Decision(Box::new(Decision {
            at: self.now,
            watch: ruled.watch.clone(),
            incident: ruled.incident,
            stage: ruled.stage,
            outcome: Text::clean(outcome, RULE_CHARACTERS_MAX),
            rule: Text::clean(rule, RULE_CHARACTERS_MAX),
            origin: ruled.origin,
            receiver: ruled.receiver.cloned(),
        })));
    }

    pub(super) fn edit(&mut self, group: GroupId) {
        self.groups.entry(group).or_default().edit = true;
    }

    pub(super) fn ring(&mut self, group: GroupId, reason: &Reason) {
        self.groups.entry(group).or_default().ring.get_or_insert_with(|| reason.clone());
    }
}

/// What a row is about, whoever gets it.
pub(super) struct Owed {
    pub(super) key: String,
    pub(super) receiver: ReceiverId,
    pub(super) group: Option<GroupId>,
    pub(super) incidents: Vec<IncidentId>,
    pub(super) condition: Condition,
    pub(super) severity: Severity,
    pub(super) revision: u32,
    pub(super) body: Body,
}

impl Desk {
    /// Writes what the batch changed: incidents first, so that what ended makes room for what opened.
    pub(super) fn close(&mut self, mut batch: Batch) -> Vec<Write> {
        self.send_digest(&mut batch);
        let mut writes = Vec::with_capacity(batch.rows.len() + batch.incidents.len() + 8);
        for id in &batch.incidents {
            self.books.wind_incident(*id, self.settings.reopen);
            writes.extend(self.books.incident(*id).map(|it| Write::Incident(Box::new(it.clone()))));
        }
        for (id, touch) in std::mem::take(&mut batch.groups) {
            self.send_group(id, &touch, &mut batch);
            self.books.wind_group(id, self.settings.repeat);
            writes.extend(self.books.group(id).map(|it| Write::Group(Box::new(it.clone()))));
        }
        for id in &batch.silences {
            writes.extend(self.silences.get(*id).map(|it| Write::Silence(Box::new(it.clone()))));
        }
        writes.append(&mut batch.rows);
        writes
    }

    /// One row, and a silent reply beside the edit when trouble that a person holds is over.
    fn send_group(&mut self, id: GroupId, touch: &Touch, batch: &mut Batch) {
        if !touch.edit && !touch.reply && touch.ring.is_none() {
            return;
        }
        let Some(group) = self.books.group(id) else { return };
        if self.books.known_members(id) == 0 || !self.has_receiver(&group.receiver) {
            return;
        }
        let (now, fresh) = (batch.now, group.revision == 0);
        let open = self.books.open_members(id);
        let spoken = touch.ring.as_ref().filter(|it| 0 < open || it.outlasts());
        let rings = spoken.is_some_and(|it| it.rings(open));
        if let Some(group) = self.books.group_mut(id) {
            if rings {
                group.rang_at = now;
            }
            if rings || group.is_young(self.settings.join_within, now) {
                group.members_at_ring = group.members.len();
            }
        }
        let mut message = self.render(id, spoken, now);
        if fresh && spoken.is_none() {
            message = message.told_late();
        }
        let body = if spoken.is_some() || fresh {
            Body::New { message: message.clone(), rings }
        } else {
            Body::Edit { message: message.clone() }
        };
        self.owe_group(id, body, batch);
        if touch.reply && !fresh && open == 0 {
            self.owe_group(id, Body::New { message, rings: false }, batch);
        }
    }

    fn render(&self, id: GroupId, reason: Option<&Reason>, now: Timestamp) -> Message {
        let members = self.books.members(id);
        let open = members.iter().find(|it| it.resolved.is_none());
        let holds = self.held_by(&members);
        let rang_at = self.books.group(id).map_or(now, |it| it.rang_at);
        wording::message(&Scene {
            settings: &self.settings,
            members: &members,
            reason,
            silence: open.and_then(|it| self.silences.over(&it.subject)),
            holds: &holds,
            repeats_at: Some(later(rang_at, self.settings.repeat)),
            now,
        })
    }

    fn owe_group(&mut self, id: GroupId, body: Body, batch: &mut Batch) {
        let members = self.books.members(id);
        let mut told: Vec<&Incident> =
            members.iter().copied().filter(|it| it.resolved.is_none()).collect();
        if told.is_empty() {
            told = members;
        }
        let severity = told.iter().map(|it| it.severity).max().unwrap_or(Severity::Warning);
        let incidents = told.iter().map(|it| it.id).collect();
        let Some(group) = self.books.group_mut(id) else { return };
        group.revision += 1;
        let owed = Owed {
            key: format!("g{}/{}/{}", id.0, group.receiver, group.revision),
            receiver: group.receiver.clone(),
            group: Some(id),
            incidents,
            condition: group.condition,
            severity,
            revision: group.revision,
            body,
        };
        self.owe(owed, batch);
    }

    /// A row of the outbox.
    pub(super) fn owe(&mut self, owed: Owed, batch: &mut Batch) {
        self.last.delivery += 1;
        batch.rows.push(Write::Delivery(Box::new(Delivery {
            id: DeliveryId(self.last.delivery),
            key: owed.key,
            receiver: owed.receiver,
            group: owed.group,
            incidents: owed.incidents,
            condition: owed.condition,
            severity: owed.severity,
            revision: owed.revision,
            body: owed.body,
            created_at: batch.now,
            state: State::Pending,
            attempts: 0,
            next_at: batch.now,
            deadline: later(batch.now, self.lifetime(owed.severity)),
            error: None,
            reference: None,
            failed_over: false,
        })));
    }

    fn has_receiver(&self, id: &ReceiverId) -> bool {
        self.settings.receivers.iter().any(|it| it.id == *id)
    }

    fn lifetime(&self, severity: Severity) -> SignedDuration {
        match severity {
            Severity::Critical => self.settings.critical_lifetime,
            Severity::Warning | Severity::Info => self.settings.warning_lifetime,
        }
    }

    /// Sets every alarm anew: after a restore, or when the settings moved them.
    pub(super) fn wind_all(&mut self) {
        let incidents: Vec<IncidentId> = self.books.incidents().map(|it| it.id).collect();
        for id in incidents {
            self.books.wind_incident(id, self.settings.reopen);
        }
        for id in self.books.group_ids() {
            self.books.wind_group(id, self.settings.repeat);
        }
        for silence in self.silences.iter() {
            self.books.set_alarm(Due::Silence(silence.id), Some(silence.until));
        }
    }
}
