//! Books: the incidents and groups that a desk holds, with the indexes that find them. Everything
//! but the rows themselves is derived, so that a restored desk equals the one that wrote.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::{
    flap::{STEADY_MIN, steady_at},
    later,
};
use crate::domain::{
    alert::group::Group,
    id::{GroupId, IncidentId, ReceiverId, WatchId},
    incident::{Ending, Hold, Incident},
    watch::Condition,
};

/// What time may make due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Due {
    Silence(u64),
    Incident(IncidentId),
    Group(GroupId),
}

/// Members of a group that the desk still knows, and those of them that are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    known: usize,
    open: usize,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Books {
    incidents: BTreeMap<IncidentId, Incident>,
    groups: BTreeMap<GroupId, Group>,
    of_watch: HashMap<WatchId, BTreeSet<IncidentId>>,
    /// Incidents that a watch explains.
    held: HashMap<WatchId, BTreeSet<IncidentId>>,
    groups_of: HashMap<IncidentId, BTreeSet<GroupId>>,
    counts: HashMap<GroupId, Count>,
    /// Groups that take in new members; the newest is used.
    joinable: BTreeMap<(ReceiverId, Condition), BTreeSet<GroupId>>,
    alarms: BTreeSet<(Timestamp, Due)>,
    alarm_of: HashMap<Due, Timestamp>,
}

impl Books {
    pub(super) fn restore(incidents: Vec<Incident>, groups: Vec<Group>) -> Self {
        let mut books = Self::default();
        for incident in incidents {
            books.add(incident);
        }
        for group in groups {
            for member in &group.members {
                if let Some(incident) = books.incidents.get(member) {
                    let open = usize::from(incident.resolved.is_none());
                    let count = books.counts.entry(group.id).or_default();
                    *count = Count { known: count.known + 1, open: count.open + open };
                    books.groups_of.entry(*member).or_default().insert(group.id);
                }
            }
            let id = group.id;
            books.groups.insert(id, group);
            books.counts.entry(id).or_default();
            books.index_joinable(id);
        }
        books
    }

    pub(super) fn incident(&self, id: IncidentId) -> Option<&Incident> {
        self.incidents.get(&id)
    }

    /// For changes that no index knows of; ends and returns go through [`Books::end`] and [`Books::reopen`].
    pub(super) fn incident_mut(&mut self, id: IncidentId) -> Option<&mut Incident> {
        self.incidents.get_mut(&id)
    }

    pub(super) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    pub(super) fn of_watch(&self, watch: &WatchId) -> impl Iterator<Item = &Incident> {
        let ids = self.of_watch.get(watch).into_iter().flatten();
        ids.filter_map(|id| self.incidents.get(id))
    }

    pub(super) fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    pub(super) fn group_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(&id)
    }

    pub(super) fn group_ids(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    /// Members that the desk still knows, in the order in which they joined.
    pub(super) fn members(&self, id: GroupId) -> Vec<&Incident> {
        let members = self.groups.get(&id).into_iter().flat_map(|it| &it.members);
        members.filter_map(|it| self.incidents.get(it)).collect()
    }

    pub(super) fn open_members(&self, id: GroupId) -> usize {
        self.counts.get(&id).map_or(0, |it| it.open)
    }

    pub(super) fn known_members(&self, id: GroupId) -> usize {
        self.counts.get(&id).map_or(0, |it| it.known)
    }

    pub(super) fn groups_of(&self, id: IncidentId) -> impl Iterator<Item = &Group> {
        let ids = self.groups_of.get(&id).into_iter().flatten();
        ids.filter_map(|it| self.groups.get(it))
    }

    /// The newest group of a receiver that holds the incident.
    pub(super) fn group_with(&self, id: IncidentId, receiver: &ReceiverId) -> Option<GroupId> {
        self.groups_of(id).filter(|it| it.receiver == *receiver).map(|it| it.id).max()
    }

    pub(super) fn joinable(&self, receiver: &ReceiverId, condition: Condition) -> Option<GroupId> {
        self.joinable.get(&(receiver.clone(), condition))?.last().copied()
    }

    pub(super) fn add(&mut self, incident: Incident) {
        self.of_watch.entry(incident.watch.clone()).or_default().insert(incident.id);
        if let Some(hold) = &incident.held {
            self.held.entry(hold.by.clone()).or_default().insert(incident.id);
        }
        self.incidents.insert(incident.id, incident);
    }

    pub(super) fn add_group(&mut self, group: Group) {
        self.counts.insert(group.id, Count::default());
        self.groups.insert(group.id, group);
    }

    /// Makes an incident a member of a group.
    pub(super) fn join(&mut self, incident: IncidentId, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let open = self.incidents.get(&incident).is_some_and(|it| it.resolved.is_none());
        group.members.push(incident);
        self.groups_of.entry(incident).or_default().insert(id);
        let count = self.counts.entry(id).or_default();
        *count = Count { known: count.known + 1, open: count.open + usize::from(open) };
        self.index_joinable(id);
    }

    pub(super) fn seal(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.sealed = true;
        }
        self.index_joinable(id);
    }

    pub(super) fn end(&mut self, id: IncidentId, at: Timestamp, ending: Ending) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        incident.resolved = Some((at, ending));
        incident.next_step_at = None;
        incident.repeat_at = None;
        incident.maintenance_until = None;
        self.recount(id, |open| open.saturating_sub(1));
    }

    /// Incidents that this watch explains.
    pub(super) fn held_by(&self, watch: &WatchId) -> impl Iterator<Item = &Incident> {
        let ids = self.held.get(watch).into_iter().flatten();
        ids.filter_map(|id| self.incidents.get(id))
    }

    /// Sets what explains an incident; returns what did before.
    pub(super) fn set_hold(&mut self, id: IncidentId, hold: Option<Hold>) -> Option<Hold> {
        let incident = self.incidents.get_mut(&id)?;
        let before = std::mem::replace(&mut incident.held, hold.clone());
        if let Some(Hold { by, .. }) = &before
            && let Some(ids) = self.held.get_mut(by)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.held.remove(by);
            }
        }
        if let Some(Hold { by, .. }) = hold {
            self.held.entry(by).or_default().insert(id);
        }
        before
    }

    pub(super) fn reopen(&mut self, id: IncidentId) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        incident.resolved = None;
        self.recount(id, |open| open + 1);
    }

    /// Drops an incident that cannot come back; returns its groups.
    pub(super) fn forget(&mut self, id: IncidentId) -> Vec<GroupId> {
        let Some(incident) = self.incidents.remove(&id) else { return Vec::new() };
        if let Some(ids) = self.of_watch.get_mut(&incident.watch) {
            ids.remove(&id);
            if ids.is_empty() {
                self.of_watch.remove(&incident.watch);
            }
        }
        self.set_alarm(Due::Incident(id), None);
        let groups: Vec<GroupId> = self.groups_of.remove(&id).into_iter().flatten().collect();
        for group in &groups {
            let count = self.counts.entry(*group).or_default();
            count.known = count.known.saturating_sub(1);
        }
        groups
    }

    /// Drops a group of which no member is known any more, closed.
    pub(super) fn close(&mut self, id: GroupId) -> Option<Group> {
        let group = self.groups.remove(&id)?;
        self.counts.remove(&id);
        self.set_alarm(Due::Group(id), None);
        Some(Group { closed: true, ..group })
    }

    fn recount(&mut self, id: IncidentId, change: impl Fn(usize) -> usize) {
        let groups: Vec<GroupId> = self.groups_of.get(&id).into_iter().flatten().copied().collect();
        for group in groups {
            let count = self.counts.entry(group).or_default();
            count.open = change(count.open);
            self.index_joinable(group);
        }
    }

    fn index_joinable(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else { return };
        let key = (group.receiver.clone(), group.condition);
        if !group.sealed && 0 < self.counts.get(&id).map_or(0, |it| it.open) {
            self.joinable.entry(key).or_default().insert(id);
        } else if let Some(ids) = self.joinable.get_mut(&key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.joinable.remove(&key);
            }
        }
    }

    // Alarms

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// All that is due, silences first.
    pub(super) fn due(&self, now: Timestamp) -> Vec<Due> {
        let mut due: Vec<Due> =
            self.alarms.iter().take_while(|(at, _)| *at <= now).map(|(_, due)| *due).collect();
        due.sort_unstable();
        due
    }

    pub(super) fn set_alarm(&mut self, due: Due, at: Option<Timestamp>) {
        if let Some(old) = self.alarm_of.remove(&due) {
            self.alarms.remove(&(old, due));
        }
        if let Some(at) = at {
            self.alarm_of.insert(due, at);
            self.alarms.insert((at, due));
        }
    }

    pub(super) fn wind_incident(&mut self, id: IncidentId, reopen: SignedDuration) {
        let at = self.incidents.get(&id).and_then(|it| {
            let soon = [steady_at(it), it.digest.and_then(|it| it.due)];
            let soon = soon.into_iter().flatten().min();
            if let Some((at, _)) = &it.resolved {
                return soon.or(Some(later(*at, reopen.max(STEADY_MIN))));
            }
            let acknowledged = it.acknowledgement.as_ref().map(|it| it.until);
            let held = it.held.as_ref().and_then(|it| it.until);
            let muted = [acknowledged, it.maintenance_until, held];
            let clocks = muted.into_iter().chain([it.next_step_at, it.repeat_at, soon]);
            clocks.flatten().min()
        });
        self.set_alarm(Due::Incident(id), at);
    }

    pub(super) fn wind_group(&mut self, id: GroupId, repeat: SignedDuration) {
        let at = self.groups.get(&id).and_then(|group| {
            let count = self.counts.get(&id).copied().unwrap_or_default();
            match (count.known, count.open) {
                (0, _) => Some(Timestamp::MIN),
                (_, 0) => None,
                _ => Some(later(group.rang_at, repeat)),
            }
        });
        self.set_alarm(Due::Group(id), at);
    }
}
