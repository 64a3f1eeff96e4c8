//! Memory: a store that lives as long as its process, with the semantics of the real ones, and with faults
//! on demand. For tests and the simulation.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{REFERENCES_MAX, ROW_BYTES_MAX, Retention};
use crate::{
    domain::{
        alert::group::Group,
        decision::Decision,
        delivery::{Delivery, State},
        desk,
        id::{DeliveryId, GroupId, IncidentId, ReceiverId, WatchId},
        incident::Incident,
        silence::Silence,
        watch::Condition,
        write::{Facts, FlipRecord, Outcome, Write},
    },
    ports::{
        Pending,
        store::{Commit, Fault, IncidentFilter, Opened, Refused, Size, Store, StoreError},
    },
};

/// The store in memory. Clones share what is in it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    rows: Arc<Mutex<Rows>>,
    run: Arc<Mutex<Run>>,
    retention: Retention,
}

/// What ends with the process.
#[derive(Debug, Default)]
struct Run {
    fences: HashMap<&'static str, u64>,
    fail_next: usize,
    refuse: Option<Fault>,
    delay: Duration,
}

/// What a disk would hold.
#[derive(Debug, Default)]
struct Rows {
    life_stamp: Option<Timestamp>,
    facts: BTreeMap<WatchId, Facts>,
    flips: Vec<FlipRecord>,
    /// The newest flip of each watch, by commit.
    seen: HashMap<WatchId, (u64, u64)>,
    incidents: BTreeMap<IncidentId, Incident>,
    open: HashMap<(WatchId, Condition), IncidentId>,
    set_aside: HashSet<IncidentId>,
    garbled: HashSet<IncidentId>,
    decisions: Vec<Decision>,
    /// With the moment of their last change.
    deliveries: BTreeMap<DeliveryId, (Delivery, Timestamp)>,
    keys: HashMap<String, DeliveryId>,
    groups: BTreeMap<GroupId, Group>,
    references: BTreeMap<GroupId, String>,
    /// With the moment of their end.
    silences: BTreeMap<u64, (Silence, Option<Timestamp>)>,
    meta: HashMap<String, String>,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`MemoryStore::new`], with other keeping times.
    pub fn with_retention(retention: Retention) -> Self {
        Self { retention, ..Self::default() }
    }

    /// The same rows as a new process finds them: writers count from anew, no fault is ordered.
    #[must_use]
    pub fn restarted(&self) -> Self {
        Self { rows: Arc::clone(&self.rows), run: Arc::default(), retention: self.retention }
    }

    /// The next `count` writes fail, each as a whole.
    pub fn fail_next(&self, count: usize) {
        lock(&self.run).fail_next = count;
    }

    /// Every write fails so, until it is taken back by `None`. Reading goes on.
    pub fn refuse_all(&self, fault: impl Into<Option<Fault>>) {
        lock(&self.run).refuse = fault.into();
    }

    /// Every write takes so long.
    pub fn delay(&self, delay: Duration) {
        lock(&self.run).delay = delay;
    }

    /// An incident's row cannot be read any more.
    pub fn garble(&self, incident: IncidentId) {
        lock(&self.rows).garbled.insert(incident);
    }

    /// Waits as ordered, then fails as ordered.
    async fn may_write(&self, operation: &'static str) -> Result<(), StoreError> {
        let delay = lock(&self.run).delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut run = lock(&self.run);
        if 0 < run.fail_next {
            run.fail_next -= 1;
            return Err(ordered(operation, Fault::Other));
        }
        run.refuse.map_or(Ok(()), |fault| Err(ordered(operation, fault)))
    }

    fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Rows) -> T + Send + 'static,
    ) -> Pending<'_, Result<T, StoreError>> {
        Box::pin(async move { Ok(look(&lock(&self.rows))) })
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ordered(operation: &'static str, kind: Fault) -> StoreError {
    StoreError { operation, plain: format!("a fault was ordered ({kind:?})"), kind, source: None }
}

fn fence(run: &mut Run, commit: &Commit) -> Result<(), Refused> {
    let newest = run.fences.entry(commit.writer).or_insert(commit.incarnation);
    if commit.incarnation < *newest {
        return Err(Refused::Fenced {
            writer: commit.writer,
            incarnation: commit.incarnation,
            newest: *newest,
        });
    }
    *newest = commit.incarnation;
    Ok(())
}

impl Rows {
    /// Applies all or nothing: what may be refused is looked at before anything is touched.
    fn apply_all(&mut self, writes: Vec<Write>) -> Result<(), Refused> {
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
            Write::Facts(it) => {
                self.facts.insert(it.watch.clone(), *it);
            }
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

    fn set_aside(&mut self, incident: IncidentId) {
        self.set_aside.insert(incident);
        self.open.retain(|_, it| *it != incident);
    }

    fn known(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.incidents.values().filter(|it| !self.set_aside.contains(&it.id))
    }

    fn desk(&mut self, reopen_after: Timestamp) -> (desk::Restored, Vec<String>) {
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

    fn prune(&mut self, retention: &Retention, now: Timestamp) -> u64 {
        let before = |keep: SignedDuration| now.checked_sub(keep).unwrap_or(Timestamp::MIN);
        let rows = self.count();
        drop_old(
            &mut self.decisions,
            |it| it.at,
            before(retention.history),
            retention.decisions_max,
        );
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

/// The newest `limit`, oldest first; rows of one moment in the order of their commits.
fn newest<T: Clone>(
    rows: impl Iterator<Item = T>,
    at: fn(&T) -> Timestamp,
    limit: usize,
) -> Vec<T> {
    let mut found: Vec<T> = rows.collect();
    found.sort_by_key(at);
    found.split_off(found.len().saturating_sub(limit))
}

impl Store for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn commit(
        &self,
        commits: Vec<Commit>,
        at: Timestamp,
    ) -> Pending<'_, Result<Vec<Result<(), Refused>>, StoreError>> {
        Box::pin(async move {
            self.may_write("commit").await?;
            let (mut rows, mut run) = (lock(&self.rows), lock(&self.run));
            let results = commits
                .into_iter()
                .map(|it| fence(&mut run, &it).and_then(|()| rows.apply_all(it.writes)))
                .collect();
            rows.life_stamp = Some(at);
            Ok(results)
        })
    }

    fn open(&self) -> Pending<'_, Result<Opened, StoreError>> {
        self.read(|rows| Opened {
            life_stamp: rows.life_stamp,
            facts: rows.facts.values().cloned().collect(),
            unreadable: Vec::new(),
        })
    }

    fn desk(
        &self,
        reopen_after: Timestamp,
    ) -> Pending<'_, Result<(desk::Restored, Vec<String>), StoreError>> {
        Box::pin(async move { Ok(lock(&self.rows).desk(reopen_after)) })
    }

    fn set_aside(&self, incident: IncidentId) -> Pending<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.may_write("set an incident aside").await?;
            lock(&self.rows).set_aside(incident);
            Ok(())
        })
    }

    fn owed(
        &self,
        receiver: Option<ReceiverId>,
        limit: usize,
    ) -> Pending<'_, Result<Vec<Delivery>, StoreError>> {
        self.read(move |rows| {
            rows.deliveries
                .values()
                .map(|(it, _)| it)
                .filter(|it| matches!(it.state, State::Pending | State::Sending))
                .filter(|it| receiver.as_ref().is_none_or(|receiver| it.receiver == *receiver))
                .take(limit)
                .cloned()
                .collect()
        })
    }

    fn references(&self) -> Pending<'_, Result<Vec<(GroupId, String)>, StoreError>> {
        self.read(|rows| {
            let newest = rows.references.iter().rev().take(REFERENCES_MAX);
            newest.map(|(group, reference)| (*group, reference.clone())).collect()
        })
    }

    fn delivery(&self, id: DeliveryId) -> Pending<'_, Result<Option<Delivery>, StoreError>> {
        self.read(move |rows| rows.deliveries.get(&id).map(|(it, _)| it.clone()))
    }

    fn incidents(&self, filter: IncidentFilter) -> Pending<'_, Result<Vec<Incident>, StoreError>> {
        self.read(move |rows| {
            rows.known()
                .rev()
                .filter(|it| filter.all || it.resolved.is_none())
                .filter(|it| filter.watch.as_ref().is_none_or(|watch| it.watch == *watch))
                .filter(|it| filter.id.is_none_or(|id| it.id == id))
                .filter(|it| !rows.garbled.contains(&it.id))
                .take(filter.limit)
                .cloned()
                .collect()
        })
    }

    fn decisions(
        &self,
        watch: WatchId,
        incident: Option<IncidentId>,
        limit: usize,
    ) -> Pending<'_, Result<Vec<Decision>, StoreError>> {
        self.read(move |rows| {
            let is_meant = |it: &&Decision| {
                it.watch == watch && (incident.is_none() || it.incident == incident)
            };
            newest(rows.decisions.iter().filter(is_meant).cloned(), |it| it.at, limit)
        })
    }

    fn deliveries_of(
        &self,
        incident: IncidentId,
    ) -> Pending<'_, Result<Vec<Delivery>, StoreError>> {
        self.read(move |rows| {
            let all = rows.deliveries.values().map(|(it, _)| it);
            all.filter(|it| it.incidents.contains(&incident)).cloned().collect()
        })
    }

    fn flips(
        &self,
        watch: WatchId,
        since: Timestamp,
        limit: usize,
    ) -> Pending<'_, Result<Vec<FlipRecord>, StoreError>> {
        self.read(move |rows| {
            let is_meant = |it: &&FlipRecord| it.watch == watch && since <= it.at;
            newest(rows.flips.iter().filter(is_meant).cloned(), |it| it.at, limit)
        })
    }

    fn meta(&self, key: &str) -> Pending<'_, Result<Option<String>, StoreError>> {
        let key = key.to_owned();
        self.read(move |rows| rows.meta.get(&key).cloned())
    }

    fn size(&self) -> Pending<'_, Result<Size, StoreError>> {
        self.read(|_| Size::default())
    }

    fn prune(&self, now: Timestamp) -> Pending<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            self.may_write("prune the store").await?;
            Ok(lock(&self.rows).prune(&self.retention, now))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adapters::{
            clock::MachineClock,
            store::contract::{self, Bench, at, commit},
        },
        ports::{clock::Clock, store::SharedStore},
    };

    struct Memory(MemoryStore);

    impl Bench for Memory {
        fn store(&self) -> SharedStore {
            Arc::new(self.0.clone())
        }

        fn restarted(&self) -> SharedStore {
            Arc::new(self.0.restarted())
        }

        fn garble(&self, incident: IncidentId) {
            self.0.garble(incident);
        }
    }

    contract::keeps_the_contract!(Memory(MemoryStore::with_retention(contract::retention())));

    #[tokio::test(start_paused = true)]
    async fn faults_come_as_ordered_and_leave_nothing_behind() {
        let store = MemoryStore::new();
        let write = || {
            store.commit(
                vec![commit(vec![Write::Meta { key: "k".into(), value: "v".into() }])],
                at(0),
            )
        };
        store.fail_next(1);
        assert_eq!(write().await.unwrap_err().kind, Fault::Other);
        store.refuse_all(Fault::Full);
        assert_eq!(write().await.unwrap_err().kind, Fault::Full);
        assert_eq!(store.meta("k").await.unwrap(), None);
        assert_eq!(store.open().await.unwrap().life_stamp, None);
        store.refuse_all(None);
        store.delay(Duration::from_secs(3));
        let clock = MachineClock::new();
        let begun = clock.now();
        assert_eq!(write().await.unwrap(), [Ok(())]);
        assert_eq!(clock.now().duration_since(begun), SignedDuration::from_secs(3));
    }
}
