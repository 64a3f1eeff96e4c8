//! Slots: the table of all slots, by name for sources and by shard for sweepers.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;

use super::slot::{Beginning, ShardPoint, Slot};
use crate::domain::{
    id::{Name, WatchId},
    watch::{Flip, Subject},
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
    self_registered: HashSet<WatchId>,
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
            if self_registered_max <= table.self_registered.len() {
                return None;
            }
            table.self_registered.insert(watch.clone());
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
        table.self_registered.remove(watch);
        // Its flip first: without one it would be forgotten by the next acknowledgement.
        let flips = slot.retire(now);
        table.retired.push(Arc::clone(&slot));
        drop(table);
        Some((slot, flips))
    }

    /// What it is called may have changed with the registry: names are looked up anew. Whoever is declared now makes
    /// room for another that registers itself; whose entry is gone counts among those.
    pub fn rename(&self, slot: &Arc<Slot>, subject: &Subject) {
        let mut table = self.write();
        if subject.self_registered {
            table.self_registered.insert(slot.watch.clone());
        } else {
            table.self_registered.remove(&slot.watch);
        }
        table.by_name.retain(|name, it| !Arc::ptr_eq(it, slot) || **name == *slot.watch.name);
        for alias in &subject.aliases {
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

#[cfg(test)]
mod tests {
    use std::thread;

    use jiff::SignedDuration;

    use super::*;
    use crate::domain::{
        detector,
        id::Origin,
        text::Text,
        watch::agent::{self, Spec, State},
    };

    fn stranger(name: &str) -> Beginning {
        let second = SignedDuration::from_secs(1);
        Beginning {
            subject: Arc::new(Subject {
                watch: name.parse().expect("a good name"),
                name: Text::clean(name, 40),
                origin: Origin::Default("test"),
                notify: Vec::new(),
                severity: Vec::new(),
                self_registered: true,
                timeout: None,
                aliases: Vec::new(),
                group: None,
            }),
            spec: Spec {
                interval: second,
                timeout: second,
                first_beat_within: second,
                stall_after: None,
                loop_after: None,
                lease_max: second,
                leave_max: second,
                needs_input: None,
                beats: agent::Beats::Steady,
                detector: detector::Kind::Fixed,
                enabled: Arc::from([]),
            }
            .into(),
            state: State::new(Timestamp::UNIX_EPOCH).into(),
            epoch: 1,
            n: 0,
        }
    }

    fn declared(name: &str) -> Beginning {
        let begin = stranger(name);
        let subject = Subject { self_registered: false, ..Subject::clone(&begin.subject) };
        Beginning { subject: Arc::new(subject), ..begin }
    }

    #[test]
    fn one_that_is_declared_later_makes_room_for_another_that_registers_itself() {
        let slots = Slots::new(1);
        let (mary, _) = slots.insert(stranger("mary"), 1).expect("there is room");
        assert!(slots.insert(stranger("lisa"), 1).is_none(), "one at most");
        let subject = Subject { self_registered: false, ..Subject::clone(&mary.subject()) };
        slots.rename(&mary, &subject);
        assert!(slots.insert(stranger("lisa"), 1).is_some());
        slots.remove(&mary.watch, Timestamp::UNIX_EPOCH);
        assert!(slots.insert(stranger("nova"), 1).is_none(), "who left was not one of them");
        let (paula, _) = slots.insert(declared("paula"), 1).expect("entries have no bound");
        let subject = Subject { self_registered: true, ..Subject::clone(&paula.subject()) };
        slots.rename(&paula, &subject);
        assert!(slots.insert(stranger("nova"), 2).is_none(), "whose entry is gone is one of them");
    }

    #[test]
    fn an_acknowledgement_meanwhile_loses_no_last_flip() {
        const COUNT: usize = 2_000;
        let slots = Slots::new(1);
        let watches: Vec<WatchId> = (0..COUNT)
            .filter_map(|it| slots.insert(stranger(&format!("a{it}")), usize::MAX))
            .map(|(slot, _)| slot.watch.clone())
            .collect();
        let other: WatchId = "agent/other".parse().expect("a good id");
        thread::scope(|scope| {
            let removing = scope.spawn(|| {
                for watch in &watches {
                    slots.remove(watch, Timestamp::UNIX_EPOCH);
                }
            });
            while !removing.is_finished() {
                slots.acknowledge(&other, 1, 1);
            }
        });
        assert_eq!(slots.retired_flips().len(), COUNT);
    }
}
