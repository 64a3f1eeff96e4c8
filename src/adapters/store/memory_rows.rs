//! Memory, the rows: what a disk would hold, and what the writes make of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{ROW_BYTES_MAX, Retention};
use crate::{
    domain::{
        alert::group::Group,
        decision::Decision,
        delivery::{Delivery, State},
        desk,
        history::{BeatRecord, Deafness, Entry, History, KEPT_SINCE},
        id::{DeliveryId, GroupId, IncidentId, WatchId},
        incident::Incident,
        silence::Silence,
        watch::Condition,
        write::{Facts, FlipRecord, Outcome, Write},
    },
    ports::store::Refused,
};

/// What a disk would hold.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) life_stamp: Option<Timestamp>,
    pub(super) facts: BTreeMap<WatchId, Facts>,
    beats: Vec<BeatRecord>,
    newest_beat: HashMap<WatchId, Timestamp>,
    /// By source and beginning.
    deafness: BTreeMap<(Option<Arc<str>>, Timestamp), Deafness>,
    pub(super) flips: Vec<FlipRecord>,
    /// The newest flip of each watch, by commit.
    pub(super) seen: HashMap<WatchId, (u64, u64)>,
    pub(super) incidents: BTreeMap<IncidentId, Incident>,
    pub(super) open: HashMap<(WatchId, Condition), IncidentId>,
    pub(super) set_aside: HashSet<IncidentId>,
    pub(super) garbled: HashSet<IncidentId>,
    pub(super) decisions: Vec<Decision>,
    /// With the moment of their last change.
    pub(super) deliveries: BTreeMap<DeliveryId, (Delivery, Timestamp)>,
    pub(super) keys: HashMap<String, DeliveryId>,
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) references: BTreeMap<GroupId, String>,
    /// With the moment of their end.
    pub(super) silences: BTreeMap<u64, (Silence, Option<Timestamp>)>,
    pub(super) meta: HashMap<String, String>,
}

impl Rows {
    /// Applies all or nothing: what may be refused is looked at before anything is touched.
    pub(super) fn apply_all(&mut self, writes: Vec<Write>) -> Result<(), Refused> {
        self.check(&writes).map_err(Refused::Row)?;
        for write in writes {
            self.apply(write);
        }
        Ok(())
    }

    fn check(&self, writes: &[Write]) -> Result<(), String> {
        let mut open: HashMap<(&WatchId, Condition), Option<IncidentId>> = HashMap::new();
        let mut keys: HashMap<&str, DeliveryId> = HashMap::new();
        let mut ids: HashSet<DeliveryId> = HashSet::new();
        for write in writes {
            if let Write::Incident(incident) = write {
                let trouble = (&incident.watch, incident.condition);
                let holder = open.get(&trouble).copied().unwrap_or_else(|| {
                    self.open.get(&(incident.watch.clone(), incident.condition)).copied()
                });
                let is_ours = holder.is_none_or(|it| it == incident.id);
                let is_known = !self.set_aside.contains(&incident.id);
                if incident.resolved.is_none() && is_known {
                    if !is_ours {
                        return Err(format!("{} is {} already", trouble.0, trouble.1));
                    }
                    open.insert(trouble, Some(incident.id));
                } else if is_ours {
                    open.insert(trouble, None);
                }
            } else if let Write::Delivery(delivery) = write {
                let key = delivery.key.as_str();
                if self.keys.contains_key(key) || keys.contains_key(key) {
                    continue;
                }
                if self.deliveries.contains_key(&delivery.id) || !ids.insert(delivery.id) {
                    return Err(format!("delivery {} is there already", delivery.id.0));
                }
                keys.insert(key, delivery.id);
            } else if let Write::Meta { value, .. } = write
                && ROW_BYTES_MAX < value.len()
            {
                return Err(format!("the row has {} bytes", value.len()));
            }
        }
        Ok(())
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Facts(mut it) => {
                if let Some(known) = self.facts.get(&it.watch)
                    && known.epoch == it.epoch
                {
                    it.n = it.n.max(known.n);
                    it.removed_at = it.removed_at.or(known.removed_at);
                }
                self.facts.insert(it.watch.clone(), *it);
            }
            Write::History(it) => match *it {
                Entry::Beat(it) => self.beat(it),
                Entry::Deafness(it) => {
                    self.deafness.insert((it.source.clone(), it.since), it);
                }
            },
            Write::Flip(it) => self.flip(it),
            Write::Incident(it) => self.incident(*it),
            Write::Decision(it) => self.decisions.push(*it),
            Write::Delivery(it) => {
                if !self.keys.contains_key(&it.key) {
                    self.keys.insert(it.key.clone(), it.id);
                    let created_at = it.created_at;
                    self.deliveries.insert(it.id, (*it, created_at));
                }
            }
            Write::Outcome(it) => self.outcome(*it),
            Write::Group(it) => {
                self.groups.insert(it.id, *it);
            }
            Write::Reference { group, reference } => {
                self.references.insert(group, reference);
            }
            Write::SetAside { incident } => self.set_aside(incident),
            Write::Silence(it) => {
                let ended_at = self.silences.get(&it.id).and_then(|(_, ended_at)| *ended_at);
                self.silences.insert(it.id, (*it, ended_at));
            }
            Write::SilenceEnded { id, at } => {
                if let Some((_, ended_at)) = self.silences.get_mut(&id) {
                    ended_at.get_or_insert(at);
                }
            }
            Write::Meta { key, value } => {
                self.meta.insert(key, value);
            }
        }
    }

    pub(super) fn history(&self, since: Timestamp, beats_max: u64) -> History {
        let mut before: BTreeMap<&WatchId, &BeatRecord> = BTreeMap::new();
        for record in self.beats.iter().filter(|it| it.beat.at < since) {
            before.insert(&record.watch, record);
        }
        let within = self.beats.iter().filter(|it| since <= it.beat.at);
        let mut beats: Vec<BeatRecord> = before.into_values().chain(within).cloned().collect();
        beats.sort_by_key(|it| it.beat.at);
        let mut deafness: Vec<Deafness> = self
            .deafness
            .values()
            .filter(|it| it.until.is_none_or(|at| since <= at))
            .cloned()
            .collect();
        deafness.sort_by_key(|it| it.since);
        let mut flips: Vec<FlipRecord> =
            self.flips.iter().filter(|it| since <= it.at).cloned().collect();
        flips.sort_by_key(|it| it.at);
        let until = self.life_stamp.unwrap_or(since);
        let kept_since = self.meta.get(KEPT_SINCE).and_then(|it| it.parse().ok()).unwrap_or(until);
        let full = beats_max <= self.beats.len() as u64;
        let oldest = self.beats.first().filter(|_| full).map_or(Timestamp::MIN, |it| it.beat.at);
        History {
            since: since.max(kept_since).max(oldest),
            until,
            beats,
            deafness,
            flips,
            facts: self.facts.values().cloned().collect(),
            silences: self
                .silences
                .values()
                .filter(|(_, ended_at)| ended_at.is_none_or(|at| since <= at))
                .cloned()
                .collect(),
        }
    }

    pub(super) fn last_epoch(&self) -> u64 {
        let flips = self.flips.iter().map(|it| it.epoch);
        flips.chain(self.facts.values().map(|it| it.epoch)).max().unwrap_or(0)
    }

    fn beat(&mut self, record: BeatRecord) {
        let at = record.beat.at;
        let is_next = self.newest_beat.get(&record.watch).is_none_or(|newest| *newest < at);
        if is_next || !self.beats.contains(&record) {
            self.newest_beat.insert(record.watch.clone(), at);
            self.beats.push(record);
        }
    }

    fn flip(&mut self, flip: FlipRecord) {
        let is_same = |it: &FlipRecord| {
            (&it.watch, it.at, it.epoch, it.n) == (&flip.watch, flip.at, flip.epoch, flip.n)
        };
        let is_next = self
            .seen
            .get(&flip.watch)
            .is_some_and(|(epoch, n)| *epoch == flip.epoch && *n < flip.n);
        if is_next || !self.flips.iter().rev().any(is_same) {
            self.seen.insert(flip.watch.clone(), (flip.epoch, flip.n));
            self.flips.push(flip);
        }
    }

    fn incident(&mut self, incident: Incident) {
        let trouble = (incident.watch.clone(), incident.condition);
        if incident.resolved.is_none() && !self.set_aside.contains(&incident.id) {
            self.open.insert(trouble, incident.id);
        } else if self.open.get(&trouble) == Some(&incident.id) {
            self.open.remove(&trouble);
        }
        self.garbled.remove(&incident.id);
        self.incidents.insert(incident.id, incident);
    }

    fn outcome(&mut self, outcome: Outcome) {
        let Outcome { delivery, state, attempts, next_at, at, error, reference, failed_over } =
            outcome;
        if let Some((row, changed_at)) = self.deliveries.get_mut(&delivery) {
            *row =
                Delivery { state, attempts, next_at, error, reference, failed_over, ..row.clone() };
            *changed_at = at;
        }
    }

    pub(super) fn set_aside(&mut self, incident: IncidentId) {
        self.set_aside.insert(incident);
        self.open.retain(|_, it| *it != incident);
    }

    pub(super) fn known(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.incidents.values().filter(|it| !self.set_aside.contains(&it.id))
    }

    pub(super) fn desk(&mut self, reopen_after: Timestamp) -> (desk::Restored, Vec<String>) {
        let is_live =
            |it: &Incident| it.resolved.as_ref().is_none_or(|(at, _)| reopen_after <= *at);
        let unreadable: Vec<IncidentId> = self
            .known()
            .filter(|it| is_live(it) && self.garbled.contains(&it.id))
            .map(|it| it.id)
            .collect();
        for id in &unreadable {
            self.set_aside(*id);
        }
        let incidents: Vec<Incident> = self.known().filter(|it| is_live(it)).cloned().collect();
        let live: HashSet<IncidentId> = incidents.iter().map(|it| it.id).collect();
        let mut seen: HashMap<WatchId, (u64, u64)> =
            self.facts.values().map(|it| (it.watch.clone(), (it.epoch, it.n))).collect();
        seen.extend(self.seen.iter().map(|(watch, it)| (watch.clone(), *it)));
        let restored = desk::Restored {
            incidents,
            groups: self
                .groups
                .values()
                .filter(|it| !it.closed || it.members.iter().any(|member| live.contains(member)))
                .cloned()
                .collect(),
            silences: self
                .silences
                .values()
                .filter(|(_, ended_at)| ended_at.is_none())
                .map(|(silence, _)| silence.clone())
                .collect(),
            seen,
            last_incident: self.incidents.keys().last().map_or(0, |it| it.0),
            last_group: self.groups.keys().last().map_or(0, |it| it.0),
            last_delivery: self.deliveries.keys().last().map_or(0, |it| it.0),
            last_silence: self.silences.keys().last().copied().unwrap_or(0),
        };
        let names = unreadable.iter().map(|it| format!("incident {}: garbled", it.0)).collect();
        (restored, names)
    }

    pub(super) fn prune(&mut self, retention: &Retention, now: Timestamp) -> u64 {
        let before = |keep: SignedDuration| now.checked_sub(keep).unwrap_or(Timestamp::MIN);
        let rows = self.count();
        drop_old(
            &mut self.decisions,
            |it| it.at,
            before(retention.history),
            retention.decisions_max,
        );
        drop_old(&mut self.beats, |it| it.beat.at, before(retention.history), retention.beats_max);
        let old = before(retention.history);
        self.deafness.retain(|_, it| old <= it.until.unwrap_or(it.since));
        drop_old(&mut self.flips, |it| it.at, before(retention.history), retention.flips_max);
        let (over, last) = (before(retention.deliveries), self.deliveries.keys().last().copied());
        self.deliveries.retain(|id, (it, changed_at)| {
            matches!(it.state, State::Pending | State::Sending)
                || over <= *changed_at
                || Some(*id) == last
        });
        let deliveries = &self.deliveries;
        self.keys.retain(|_, id| deliveries.contains_key(id));
        let (old, last) = (before(retention.incidents), self.incidents.keys().last().copied());
        self.incidents.retain(|id, it| {
            it.resolved.as_ref().is_none_or(|(at, _)| old <= *at) || Some(*id) == last
        });
        let (incidents, last) = (&self.incidents, self.groups.keys().last().copied());
        let is_open = |id: &IncidentId| incidents.get(id).is_some_and(|it| it.resolved.is_none());
        self.groups.retain(|id, it| {
            !it.closed
                || over <= it.opened_at
                || Some(*id) == last
                || it.members.iter().any(is_open)
        });
        let groups = &self.groups;
        self.references.retain(|id, _| groups.contains_key(id) || last.is_none_or(|it| it <= *id));
        let last = self.silences.keys().last().copied();
        self.silences
            .retain(|id, (_, ended_at)| ended_at.is_none_or(|at| over <= at) || Some(*id) == last);
        let gone = before(retention.removed_facts);
        self.facts.retain(|_, it| it.removed_at.is_none_or(|at| gone <= at));
        rows - self.count()
    }

    /// Rows that pruning may delete.
    fn count(&self) -> u64 {
        let rows = self.decisions.len()
            + self.beats.len()
            + self.deafness.len()
            + self.flips.len()
            + self.deliveries.len()
            + self.incidents.len()
            + self.groups.len()
            + self.references.len()
            + self.silences.len()
            + self.facts.len();
        rows as u64
    }
}

fn drop_old<T>(rows: &mut Vec<T>, at: fn(&T) -> Timestamp, before: Timestamp, rows_max: u64) {
    let beyond = rows.len().saturating_sub(usize::try_from(rows_max).unwrap_or(usize::MAX));
    rows.drain(..beyond);
    rows.retain(|it| before <= at(it));
}
