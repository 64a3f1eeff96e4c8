//! Ears: what is known of each source (could we hear?), shared by all watches. Outlives every actor.
//! The rules are `domain::hearing`'s; here is the table, who waits for a proof, and the notice of
//! time in which we did not run.

use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::context::lock;
use crate::domain::{
    hearing::{Hearing, Source},
    id::{Kind, SourceId, WatchId},
};

/// A gap of our own scheduler up to this is no gap (docs/BEHAVIOUR.md 4).
const GAP_MIN: SignedDuration = SignedDuration::from_secs(2);
/// Beyond this a gap is time in which we did not run: all sources were deaf.
const GAP_MAX: SignedDuration = SignedDuration::from_secs(10);

/// One source beside its hearing: who waits for it, what people were told of it.
#[derive(Default)]
struct Desk {
    /// A watch wants a proof later than this.
    wanted_after: Option<Timestamp>,
    /// It works again since then, after a blindness that was told.
    returned_at: Option<Timestamp>,
    told_blind: bool,
    /// It was proven at least once in this run.
    heard: bool,
}

struct Tick {
    last: Timestamp,
    suspended: SignedDuration,
}

pub struct Ears {
    names: Vec<Arc<str>>,
    hearing: RwLock<Arc<Hearing>>,
    desks: Vec<Mutex<Desk>>,
    notifies: Vec<Notify>,
    /// Grows when a source goes blind or returns: sweepers then wake all of their watches.
    version: AtomicU64,
    tick: Mutex<Tick>,
}

/// What a notice of time found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    None,
    /// Deadlines were shifted by this.
    Shifted(SignedDuration),
    /// We did not run for this long: all sources have to prove themselves anew.
    Deaf(SignedDuration),
}

impl Ears {
    /// All sources begin deaf since `absent_since` (the last life-stamp; now on a first start) and hear
    /// from their first proof on.
    pub fn new(
        names: &[&str],
        absent_since: Timestamp,
        now: Timestamp,
        suspended: SignedDuration,
    ) -> Self {
        let sources = names.iter().map(|_| Source::new(absent_since)).collect();
        Self {
            names: names.iter().map(|it| Arc::from(*it)).collect(),
            hearing: RwLock::new(Arc::new(Hearing { sources, shifts: Vec::new() })),
            desks: names.iter().map(|_| Mutex::default()).collect(),
            notifies: names.iter().map(|_| Notify::new()).collect(),
            version: AtomicU64::new(0),
            tick: Mutex::new(Tick { last: now, suspended }),
        }
    }

    pub fn hearing(&self) -> Arc<Hearing> {
        Arc::clone(&self.hearing.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn is_blind(&self, source: SourceId) -> bool {
        let hearing = self.hearing.read().unwrap_or_else(PoisonError::into_inner);
        hearing.sources.get(usize::from(source.0)).is_some_and(Source::is_blind)
    }

    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub fn watch_of(&self, source: SourceId) -> WatchId {
        let name = self.names.get(usize::from(source.0)).map_or("unknown", |it| it);
        WatchId::new(Kind::Source, name)
    }

    pub fn name_of(&self, source: SourceId) -> &str {
        self.names.get(usize::from(source.0)).map_or("unknown", |it| it)
    }

    pub fn sources(&self) -> impl Iterator<Item = SourceId> {
        (0..self.names.len()).filter_map(|it| u8::try_from(it).ok()).map(SourceId)
    }

    /// Records a proof. Returns whether the source was deaf until now, and whether people are to be
    /// told at once that it is well (its first word in this run).
    pub fn proved(&self, source: SourceId, at: Timestamp, now: Timestamp) -> (bool, bool) {
        let Some(desk) = self.desks.get(usize::from(source.0)) else { return (false, false) };
        let returned = self.change(|hearing| {
            let Some(known) = hearing.sources.get_mut(usize::from(source.0)) else { return false };
            let was_blind = known.is_blind();
            known.proved(at);
            was_blind && !known.is_blind()
        });
        let mut desk = lock(desk);
        if desk.wanted_after.is_some_and(|after| after < at) {
            desk.wanted_after = None;
        }
        if returned {
            self.version.fetch_add(1, Ordering::AcqRel);
            desk.returned_at = desk.told_blind.then_some(now);
        }
        let first = !desk.heard && !desk.told_blind;
        desk.heard = true;
        (returned, first)
    }

    /// Records that a source cannot hear and has not since `since`. Returns whether that is news.
    pub fn blind(&self, source: SourceId, since: Timestamp) -> bool {
        let Some(desk) = self.desks.get(usize::from(source.0)) else { return false };
        let news = self.change(|hearing| {
            let Some(known) = hearing.sources.get_mut(usize::from(source.0)) else { return false };
            let news = !known.is_blind();
            if news {
                known.blind(since);
            }
            news
        });
        if news {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        let mut desk = lock(desk);
        desk.returned_at = None;
        desk.told_blind = true;
        news
    }

    /// Sources that have worked for `settle` after a told blindness: long enough to call them well.
    pub fn settled(&self, now: Timestamp, settle: SignedDuration) -> Vec<SourceId> {
        self.sources()
            .filter(|source| {
                let mut desk = lock(&self.desks[usize::from(source.0)]);
                let settled = desk.returned_at.is_some_and(|it| settle <= now.duration_since(it));
                if settled {
                    (desk.returned_at, desk.told_blind) = (None, false);
                }
                settled
            })
            .collect()
    }

    /// A watch's verdict hangs on `source` proving itself later than `after`.
    pub fn want(&self, source: SourceId, after: Timestamp) {
        let place = usize::from(source.0);
        let (Some(desk), Some(notify)) = (self.desks.get(place), self.notifies.get(place)) else {
            return;
        };
        {
            let mut desk = lock(desk);
            desk.wanted_after = Some(desk.wanted_after.map_or(after, |known| known.max(after)));
        }
        notify.notify_one();
    }

    pub fn wanted_after(&self, source: SourceId) -> Option<Timestamp> {
        self.desks.get(usize::from(source.0)).and_then(|desk| lock(desk).wanted_after)
    }

    /// Resolves when somebody wants a proof of `source`.
    pub async fn wanted(&self, source: SourceId) {
        match self.notifies.get(usize::from(source.0)) {
            Some(notify) => {
                while self.wanted_after(source).is_none() {
                    notify.notified().await;
                }
            }
            None => std::future::pending().await,
        }
    }

    /// Notices time in which we did not run: called before anything is judged. Whoever calls first after
    /// a gap records it, so no verdict slips through between waking up and noticing.
    pub fn notice(&self, now: Timestamp, suspended: SignedDuration) -> Gap {
        let (since, gap) = {
            let mut tick = lock(&self.tick);
            let gap = now.duration_since(tick.last);
            let slept = suspended - tick.suspended;
            let since = tick.last;
            tick.last = tick.last.max(now);
            tick.suspended = suspended;
            (since, gap + slept)
        };
        if gap <= GAP_MIN {
            return Gap::None;
        }
        if gap <= GAP_MAX {
            self.change(|hearing| hearing.shift(now, gap));
            return Gap::Shifted(gap);
        }
        self.change(|hearing| {
            for source in &mut hearing.sources {
                if !source.is_blind() {
                    source.blind(since);
                }
            }
        });
        self.version.fetch_add(1, Ordering::AcqRel);
        for source in self.sources() {
            self.want(source, since);
        }
        Gap::Deaf(gap)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Hearing) -> T) -> T {
        let mut hearing = self.hearing.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut hearing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ears() -> Ears {
        Ears::new(&["http", "redis"], at(0), at(100), SignedDuration::ZERO)
    }

    #[test]
    fn a_source_hears_from_its_first_proof_on() {
        let ears = ears();
        assert!(ears.hearing().sources[0].is_blind());
        assert_eq!(ears.proved(SourceId(0), at(101), at(101)), (true, true));
        assert!(!ears.hearing().sources[0].is_blind());
        assert_eq!(ears.proved(SourceId(0), at(102), at(102)), (false, false));
    }

    #[test]
    fn a_told_blindness_ends_for_people_when_it_has_worked_for_a_while() {
        let (ears, settle) = (ears(), SignedDuration::from_secs(30));
        ears.proved(SourceId(1), at(101), at(101));
        assert!(ears.blind(SourceId(1), at(110)));
        assert!(!ears.blind(SourceId(1), at(111)));
        ears.proved(SourceId(1), at(120), at(120));
        assert!(ears.settled(at(149), settle).is_empty());
        ears.blind(SourceId(1), at(149));
        ears.proved(SourceId(1), at(155), at(155));
        assert!(ears.settled(at(160), settle).is_empty(), "it broke again: the clock begins anew");
        assert_eq!(ears.settled(at(185), settle), [SourceId(1)]);
        assert!(ears.settled(at(186), settle).is_empty());
    }

    #[test]
    fn time_in_which_we_did_not_run_is_deafness_and_a_short_gap_a_shift() {
        let (ears, none) = (ears(), SignedDuration::ZERO);
        ears.proved(SourceId(0), at(100), at(100));
        assert_eq!(ears.notice(at(101), none), Gap::None);
        assert_eq!(ears.notice(at(105), none), Gap::Shifted(SignedDuration::from_secs(4)));
        assert_eq!(ears.notice(at(705), none), Gap::Deaf(SignedDuration::from_secs(600)));
        assert!(ears.hearing().sources[0].is_blind());
        assert_eq!(ears.wanted_after(SourceId(0)), Some(at(105)));
        ears.proved(SourceId(0), at(706), at(706));
        assert_eq!(ears.wanted_after(SourceId(0)), None);
        let slept = SignedDuration::from_secs(3600);
        assert_eq!(ears.notice(at(706), slept), Gap::Deaf(slept + SignedDuration::from_secs(1)));
    }
}
