//! Slots: the table of all slots, by name for sources and by shard for sweepers.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;

use super::slot::{Beginning, ShardPoint, Slot};
use crate::domain::{
    id::{Name, WatchId},
    watch::Flip,
};

/// Watches per shard up to which one shard suffices (docs/ARCHITECTURE.md, "The tree").
const WATCHES_PER_SHARD: usize = 5_000;
/// Shards at the most.
const SHARDS_MAX: usize = 16;

/// The table of all slots: by name for sources, by shard for sweepers.
pub struct Slots {
    points: Vec<Arc<ShardPoint>>,
    table: RwLock<Table>,
    next_shard: AtomicUsize,
}

#[derive(Default)]
struct Table {
    /// Ids and aliases of agents.
    by_name: HashMap<Arc<str>, Arc<Slot>>,
    by_watch: HashMap<WatchId, Arc<Slot>>,
    shards: Vec<Vec<Arc<Slot>>>,
    /// Ended watches whose last flips wait for the IncidentManager.
    retired: Vec<Arc<Slot>>,
    self_registered: usize,
}

impl Slots {
    /// A table for about so many watches: one shard below 5,000.
    pub fn new(expected: usize) -> Self {
        let shards = (expected / WATCHES_PER_SHARD + 1).min(SHARDS_MAX);
        Self {
            points: (0..shards).map(|_| Arc::default()).collect(),
            table: RwLock::new(Table { shards: vec![Vec::new(); shards], ..Table::default() }),
            next_shard: AtomicUsize::new(0),
        }
    }

    pub fn points(&self) -> &[Arc<ShardPoint>] {
        &self.points
    }

    /// Wakes all sweepers: the hearing changed, or a proof came.
    pub fn poke_all(&self) {
        for point in &self.points {
            point.poke();
        }
    }

    pub fn by_name(&self, name: &str) -> Option<Arc<Slot>> {
        self.read().by_name.get(name).cloned()
    }

    pub fn by_watch(&self, watch: &WatchId) -> Option<Arc<Slot>> {
        self.read().by_watch.get(watch).cloned()
    }

    /// Adds a watch, unless the name is taken: then the slot that has it. A self-registered one counts
    /// against `self_registered_max`; none when that is reached.
    pub fn insert(
        &self,
        begin: Beginning,
        self_registered_max: usize,
    ) -> Option<(Arc<Slot>, bool)> {
        let mut table = self.write();
        let watch = begin.subject.watch.clone();
        if let Some(known) = table.by_watch.get(&watch) {
            return Some((Arc::clone(known), false));
        }
        if begin.subject.self_registered {
            if self_registered_max <= table.self_registered {
                return None;
            }
            table.self_registered += 1;
        }
        let shard = self.next_shard.fetch_add(1, Ordering::Relaxed) % self.points.len();
        let aliases: Vec<Arc<str>> =
            begin.subject.aliases.iter().map(|it| Arc::from(it.as_str())).collect();
        let point = Arc::clone(&self.points[shard]);
        let slot = Arc::new(Slot::new(begin, shard, point));
        for alias in aliases {
            table.by_name.entry(alias).or_insert_with(|| Arc::clone(&slot));
        }
        table.by_name.insert(Arc::clone(&watch.name), Arc::clone(&slot));
        table.by_watch.insert(watch, Arc::clone(&slot));
        table.shards[shard].push(Arc::clone(&slot));
        Some((slot, true))
    }

    /// Takes a watch out; returns its last flip, which stays until it is acknowledged.
    pub fn remove(&self, watch: &WatchId, now: Timestamp) -> Option<(Arc<Slot>, Vec<Flip>)> {
        let mut table = self.write();
        let slot = table.by_watch.remove(watch)?;
        table.by_name.retain(|_, it| !Arc::ptr_eq(it, &slot));
        table.shards[slot.shard].retain(|it| !Arc::ptr_eq(it, &slot));
        if slot.subject().self_registered {
            table.self_registered = table.self_registered.saturating_sub(1);
        }
        table.retired.push(Arc::clone(&slot));
        drop(table);
        let flips = slot.retire(now);
        Some((slot, flips))
    }

    /// Aliases may have changed with the registry: names are looked up anew.
    pub fn rename(&self, slot: &Arc<Slot>, aliases: &[Name]) {
        let mut table = self.write();
        table.by_name.retain(|name, it| !Arc::ptr_eq(it, slot) || **name == *slot.watch.name);
        for alias in aliases {
            table.by_name.entry(Arc::from(alias.as_str())).or_insert_with(|| Arc::clone(slot));
        }
    }

    pub fn all(&self) -> Vec<Arc<Slot>> {
        self.read().shards.iter().flatten().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.read().by_watch.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn shard(&self, shard: usize) -> Vec<Arc<Slot>> {
        self.read().shards.get(shard).cloned().unwrap_or_default()
    }

    /// Acknowledges a flip wherever its slot is, and forgets ended watches that have none left.
    pub fn acknowledge(&self, watch: &WatchId, epoch: u64, n: u64) {
        if let Some(slot) = self.by_watch(watch) {
            slot.acknowledge(epoch, n);
        }
        if self.read().retired.is_empty() {
            return;
        }
        let mut table = self.write();
        table.retired.retain(|slot| {
            if slot.watch == *watch {
                slot.acknowledge(epoch, n);
            }
            slot.verdict().1
        });
    }

    /// Flips of ended watches that wait for the IncidentManager.
    pub fn retired_flips(&self) -> Vec<Flip> {
        self.read().retired.iter().flat_map(|it| it.unacknowledged()).collect()
    }

    /// Every name by which an agent may be polled.
    pub fn names(&self) -> Vec<Name> {
        self.read().by_name.keys().filter_map(|it| it.parse().ok()).collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}
