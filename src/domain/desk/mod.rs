//! Desk: all open incidents and what is owed of them. Flips, requests and time go in, writes come
//! out; the IncidentManager commits them in one transaction and adopts nothing by itself.

//!
//! ```text
//! flips · ask · tick · undelivered ─▶ Batch (what changed) ─▶ one write per row, one message per group
//! ```

mod ask;
mod batch;
mod books;
mod tell;
mod time;

use std::{collections::HashMap, sync::Arc};

use batch::{Batch, Ruled};
use books::Books;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    alert::{
        Reason,
        dedup::{self, Opens},
        event,
        group::Group,
        route::{Receiver, Route, route},
        wording,
    },
    decision::Stage,
    id::{DeliveryId, IncidentId, Origin, ReceiverId, WatchId},
    incident::{Ending, Incident},
    silence::{Silence, Silences, Target},
    text::Text,
    watch::{Condition, Flip},
    write::{FlipRecord, Write},
};

/// What the configuration says about telling.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Every message names its node.
    pub node: Text,
    /// People read local time.
    pub timezone: TimeZone,
    pub receivers: Vec<Receiver>,
    pub routes: Vec<Route>,
    /// A relapse within this reopens the same incident (10 m).
    pub reopen: SignedDuration,
    /// An open message rings again after this (4 h).
    pub repeat: SignedDuration,
    /// How long an acknowledgement holds where nobody says (8 h).
    pub acknowledge_for: SignedDuration,
    /// Members that come within this join a message by editing it (30 s).
    pub join_within: SignedDuration,
    /// Lifetimes of deliveries (24 h, 2 h).
    pub critical_lifetime: SignedDuration,
    pub warning_lifetime: SignedDuration,
}

/// What the store kept of a desk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// Unresolved ones, and those resolved within `reopen`.
    pub incidents: Vec<Incident>,
    /// Those that are not closed.
    pub groups: Vec<Group>,
    pub silences: Vec<Silence>,
    /// The newest committed flip of each watch: (epoch, n).
    pub seen: HashMap<WatchId, (u64, u64)>,
    /// Highest ids ever used.
    pub last_incident: u64,
    pub last_group: u64,
    pub last_delivery: u64,
    pub last_silence: u64,
}

/// A request of a person or a program, already permitted by the edge.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    Acknowledge {
        incidents: Vec<IncidentId>,
        for_: Option<SignedDuration>,
        by: Text,
        reason: Option<Text>,
    },
    Release {
        incidents: Vec<IncidentId>,
        by: Text,
    },
    /// Refused while the watch still says so.
    Resolve {
        incident: IncidentId,
        by: Text,
        reason: Option<Text>,
        says: Option<Condition>,
    },
    Silence {
        targets: Vec<Target>,
        for_: SignedDuration,
        by: Text,
        reason: Option<Text>,
    },
    Unsilence {
        id: u64,
        by: Text,
    },
    /// A test message that takes the real path.
    Test {
        receiver: ReceiverId,
        by: Text,
    },
}

/// What came of a request, in words for the person who asked; `Err` says why not and what instead.
pub type Answer = Result<String, String>;

/// What a receiver did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    pub delivery: DeliveryId,
    pub receiver: ReceiverId,
    pub incidents: Vec<IncidentId>,
    pub why: Text,
}

/// Relapses of one incident that are remembered by their moment.
const RELAPSES_MAX: usize = 20;

/// Highest numbers ever given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Last {
    incident: u64,
    group: u64,
    delivery: u64,
    silence: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Desk {
    settings: Arc<Settings>,
    books: Books,
    silences: Silences,
    seen: HashMap<WatchId, (u64, u64)>,
    last: Last,
}

impl Desk {
    /// Builds the desk from what the store kept. It equals the one that wrote it.
    pub fn restore(settings: Arc<Settings>, restored: Restored) -> Self {
        let mut silences = Silences::default();
        for silence in restored.silences {
            silences.insert(silence);
        }
        let mut desk = Self {
            settings,
            books: Books::restore(restored.incidents, restored.groups),
            silences,
            seen: restored.seen,
            last: Last {
                incident: restored.last_incident,
                group: restored.last_group,
                delivery: restored.last_delivery,
                silence: restored.last_silence,
            },
        };
        desk.wind_all();
        desk
    }

    /// Takes a new configuration; open incidents keep the chain that they were opened with.
    pub fn reload(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
        self.wind_all();
    }

    /// Whether this flip (or a newer one of the same epoch) was already taken in.
    pub fn has_seen(&self, flip: &Flip) -> bool {
        self.seen
            .get(&flip.subject.watch)
            .is_some_and(|(epoch, n)| *epoch == flip.epoch && flip.n <= *n)
    }

    /// Takes in flips in their order: opens, reopens, worsens, resolves; writes what is owed and why not.
    /// One call makes at most one row per group and receiver, however many flips it takes (a silent
    /// reply beside it when a person held what is over now). A flip that was seen is dropped, unless it
    /// restates (`from` equals `to`): then it opens what should be open and ends what should not.
    pub fn flips(&mut self, flips: &[Flip], now: Timestamp) -> Vec<Write> {
        let mut batch = Batch::new(now);
        for flip in flips {
            self.flip(flip, &mut batch);
        }
        self.close(batch)
    }

    fn flip(&mut self, flip: &Flip, batch: &mut Batch) {
        let restates = flip.from == flip.to;
        let watch = &flip.subject.watch;
        if !self.has_seen(flip) {
            self.seen.insert(watch.clone(), (flip.epoch, flip.n));
            batch.rows.push(Write::Flip(FlipRecord {
                watch: watch.clone(),
                epoch: flip.epoch,
                n: flip.n,
                from: flip.from,
                to: flip.to,
                at: flip.at,
                noticed_at: batch.now,
            }));
        } else if !restates {
            return;
        }
        if flip.to.suspends() {
            decide_verdict(flip, None, "cannot hear: nothing opens, nothing ends", batch);
            return;
        }
        let ruling = dedup::rule(self.books.of_watch(watch), flip, self.settings.reopen);
        let about = match ruling.opens {
            Opens::Nothing => ruling.ends.first().map(|it| it.0),
            Opens::Same(id) | Opens::Again(id) => Some(id),
            Opens::New(_) => Some(IncidentId(self.last.incident + 1)),
        };
        let same = matches!(ruling.opens, Opens::Nothing | Opens::Same(_));
        if !restates || !ruling.ends.is_empty() || !same {
            decide_verdict(flip, about, &wording::rule(&flip.cause), batch);
        }
        for (id, ending) in ruling.ends {
            self.end(id, flip.at, ending, batch);
        }
        match ruling.opens {
            Opens::Nothing => {}
            Opens::Same(id) => self.update(id, flip, batch),
            Opens::Again(id) => self.relapse(id, flip, batch),
            Opens::New(condition) => self.open(condition, flip, batch),
        }
    }

    fn open(&mut self, condition: Condition, flip: &Flip, batch: &mut Batch) {
        self.last.incident += 1;
        let id = IncidentId(self.last.incident);
        let severity = flip.subject.severity_of(condition);
        let routed = route(&self.settings, &flip.subject, severity);
        self.books.add(Incident {
            id,
            watch: flip.subject.watch.clone(),
            subject: Arc::clone(&flip.subject),
            condition,
            severity,
            opened_at: flip.at,
            cause: flip.cause.clone(),
            task: flip.task.clone(),
            acknowledgement: None,
            resolved: None,
            occurrences: 1,
            relapses: Vec::new(),
            told: Vec::new(),
            revision: 0,
            chain: routed.then,
            steps_told: 0,
            next_step_at: None,
            repeat_at: None,
        });
        let own = flip.subject.severity.iter().any(|(it, _)| *it == condition);
        let (rule, origin) = if own {
            (format!("severity of {condition} for this watch"), flip.subject.origin.clone())
        } else {
            (format!("default for {condition}"), Origin::Default("severity"))
        };
        self.decide_incident(id, &format!("{id} opened {severity}"), &rule, origin, batch);
        self.tell(id, &Reason::Opened, batch);
    }

    fn relapse(&mut self, id: IncidentId, flip: &Flip, batch: &mut Batch) {
        let resolved = self.books.incident(id).and_then(|it| it.resolved.as_ref());
        let back_at = resolved.map_or(flip.at, |(at, _)| *at);
        self.books.reopen(id);
        let Some(incident) = self.books.incident_mut(id) else { return };
        incident.acknowledgement = None;
        incident.occurrences = incident.occurrences.saturating_add(1);
        if incident.relapses.len() == RELAPSES_MAX {
            incident.relapses.remove(0);
        }
        incident.relapses.push(flip.at);
        incident.cause = flip.cause.clone();
        incident.task.clone_from(&flip.task);
        incident.severity = flip.subject.severity_of(incident.condition);
        incident.chain = route(&self.settings, &flip.subject, incident.severity).then;
        incident.steps_told = 0;
        let times = incident.occurrences;
        if self.muted(id).is_some() {
            self.forget_machines(id);
        }
        let rule = format!("relapse within {}", wording::written(self.settings.reopen));
        let outcome = format!("{id} reopened, time {times}");
        self.decide_incident(id, &outcome, &rule, Origin::Default("reopen"), batch);
        let after = flip.at.duration_since(back_at);
        self.tell(id, &Reason::Relapsed { after }, batch);
    }

    /// Programs that heard the end and do not hear the relapse know of nothing that is open.
    fn forget_machines(&mut self, id: IncidentId) {
        let settings = Arc::clone(&self.settings);
        let human = |it: &ReceiverId| settings.receivers.iter().any(|of| of.human && of.id == *it);
        if let Some(incident) = self.books.incident_mut(id) {
            incident.told.retain(human);
        }
    }

    /// It is open already: only what it weighs may have changed.
    fn update(&mut self, id: IncidentId, flip: &Flip, batch: &mut Batch) {
        let Some(incident) = self.books.incident_mut(id) else { return };
        let severity = flip.subject.severity_of(incident.condition);
        let before = incident.severity;
        if severity == before {
            return;
        }
        incident.severity = severity;
        if before < severity {
            incident.acknowledgement = None;
            if incident.steps_told == 0 {
                incident.chain = route(&self.settings, &flip.subject, severity).then;
            }
        }
        let origin = flip.subject.origin.clone();
        let outcome = format!("{id} {before} → {severity}");
        self.decide_incident(id, &outcome, "the registry says so", origin, batch);
        if before < severity {
            self.tell(id, &Reason::Rose, batch);
        } else {
            self.show(id, "updated", batch);
        }
    }

    /// Ends an incident; those who were told of it hear it, nobody else.
    fn end(&mut self, id: IncidentId, at: Timestamp, ending: Ending, batch: &mut Batch) {
        let untold = matches!(ending, Ending::Became(_));
        let rule = event::ended(&ending);
        self.books.end(id, at, ending);
        let origin = Origin::Default("resolve");
        self.decide_incident(id, &format!("{id} resolved"), &rule, origin, batch);
        self.show(id, "resolved", batch);
        let Some(incident) = self.books.incident(id) else { return };
        if incident.acknowledgement.is_some() && !untold {
            for group in self.books.groups_of(id).map(|it| it.id) {
                batch.groups.entry(group).or_default().reply = true;
            }
        }
    }

    fn decide_incident(
        &self,
        id: IncidentId,
        outcome: &str,
        rule: &str,
        origin: Origin,
        batch: &mut Batch,
    ) {
        batch.incidents.insert(id);
        let Some(incident) = self.books.incident(id) else { return };
        let (watch, incident) = (&incident.watch, Some(id));
        let ruled = Ruled { watch, incident, stage: Stage::Incident, origin, receiver: None };
        batch.decide(ruled, outcome, rule);
    }

    /// Unresolved incidents and those that may still be reopened.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.books.incidents()
    }

    /// Silences that hold.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.iter()
    }

    /// The unresolved incident of a watch, if one is open (at most one per condition; the worst).
    pub fn open_of(&self, watch: &WatchId) -> Option<&Incident> {
        let open = self.books.of_watch(watch).filter(|it| it.resolved.is_none());
        open.min_by_key(|it| it.condition.rank())
    }
}

fn decide_verdict(flip: &Flip, incident: Option<IncidentId>, rule: &str, batch: &mut Batch) {
    let ruled = Ruled {
        watch: &flip.subject.watch,
        incident,
        stage: Stage::Verdict,
        origin: flip.subject.origin.clone(),
        receiver: None,
    };
    batch.decide(ruled, &format!("{} → {}", flip.from.word(), flip.to.word()), rule);
}

/// A moment after another; never beyond the end of time.
fn later(at: Timestamp, for_: SignedDuration) -> Timestamp {
    at.saturating_add(for_).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
