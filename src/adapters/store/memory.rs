//! Memory: a store that lives as long as its process, with the semantics of the real ones, and with faults
//! on demand. For tests and the simulation.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    REFERENCES_MAX, Retention,
    fence::{Fences, Pass},
    memory_rows::Rows,
};
use crate::{
    domain::{
        decision::Decision,
        delivery::{Delivery, State},
        desk,
        history::History,
        id::{DeliveryId, GroupId, IncidentId, ReceiverId, WatchId},
        incident::Incident,
        write::FlipRecord,
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
    fences: Fences,
    fail_next: usize,
    refuse: Option<Fault>,
    delay: Duration,
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
                .map(|it| match run.fences.pass(&it)? {
                    Pass::Stands => Ok(()),
                    Pass::Apply => {
                        rows.apply_all(it.writes.clone())?;
                        run.fences.stands(&it);
                        Ok(())
                    }
                })
                .collect();
            rows.life_stamp = Some(at);
            Ok(results)
        })
    }

    fn open(&self) -> Pending<'_, Result<Opened, StoreError>> {
        self.read(|rows| Opened {
            life_stamp: rows.life_stamp,
            last_epoch: rows.last_epoch(),
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
    ) -> Pending<'_, Result<Vec<(Delivery, Timestamp)>, StoreError>> {
        self.read(move |rows| {
            let all = rows.deliveries.values();
            all.filter(|(it, _)| it.incidents.contains(&incident)).cloned().collect()
        })
    }

    fn rehearsed(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Pending<'_, Result<Vec<Delivery>, StoreError>> {
        self.read(move |rows| {
            let rehearsed = rows
                .deliveries
                .values()
                .filter(|(it, changed_at)| it.state == State::Rehearsed && since <= *changed_at);
            let rehearsed: Vec<&Delivery> = rehearsed.map(|(it, _)| it).collect();
            rehearsed[rehearsed.len().saturating_sub(limit)..].iter().copied().cloned().collect()
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

    fn history(&self, since: Timestamp) -> Pending<'_, Result<History, StoreError>> {
        let beats_max = self.retention.beats_max;
        self.read(move |rows| rows.history(since, beats_max))
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
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        adapters::{
            clock::MachineClock,
            store::{
                contract::{self, Bench, commit},
                contract_samples::at,
            },
        },
        domain::write::Write,
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
