//! Desk: all open incidents and what is owed of them. Flips, requests and time go in, writes come
//! out; the IncidentManager commits them in one transaction and adopts nothing by itself.

//!
//! ```text
//! flips · ask · tick · undelivered ─▶ Batch (what changed) ─▶ one write per row, one message per group
//! ```

mod ask;
mod audit;
mod batch;
mod books;
mod depend;
mod digest;
mod flap;
mod tell;
mod time;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

pub use audit::Missed;
use batch::{Batch, Ruled};
use books::Books;
use flap::Carried;
pub use flap::steady_at;

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
    dependency::Dependencies,
    id::{DeliveryId, IncidentId, Kind, Origin, ReceiverId, WatchId},
    incident::{Ending, Incident},
    maintenance::Window,
    silence::{Silence, Silences, Target},
    text::Text,
    watch::{Cause, Condition, Flip},
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
    /// Windows in which nothing of some watches rings.
    pub maintenance: Vec<Window>,
    /// Which watches explain the troubles of which others.
    pub dependencies: Dependencies,
    /// A relapse within this reopens the same incident (10 m).
    pub reopen: SignedDuration,
    /// An open message rings again after this (4 h).
    pub repeat: SignedDuration,
    /// How long an acknowledgement holds where nobody says (8 h).
    pub acknowledge_for: SignedDuration,
    /// Members that come within this join a message by editing it (30 s).
    pub join_within: SignedDuration,
    /// Warnings that no route names are told together once in this; zero: never (30 m).
    pub digest_every: SignedDuration,
    /// Lifetimes of deliveries (24 h, 2 h).
    pub critical_lifetime: SignedDuration,
    pub warning_lifetime: SignedDuration,
}

impl Settings {
    /// The numbers that hold where nothing else is said (docs/BEHAVIOUR.md 9 and 10): nobody to tell, and no digest.
    pub fn new(node: Text, timezone: TimeZone) -> Self {
        Self {
            node,
            timezone,
            receivers: Vec::new(),
            routes: Vec::new(),
            maintenance: Vec::new(),
            dependencies: Dependencies::default(),
            reopen: SignedDuration::from_mins(10),
            repeat: SignedDuration::from_hours(4),
            acknowledge_for: SignedDuration::from_hours(8),
            join_within: SignedDuration::from_secs(30),
            digest_every: SignedDuration::ZERO,
            critical_lifetime: SignedDuration::from_hours(24),
            warning_lifetime: SignedDuration::from_hours(2),
        }
    }

    /// Incidents that ended longer ago are never needed again.
    pub fn remembers(&self) -> SignedDuration {
        self.reopen.max(flap::STEADY_MAX)
    }
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
        let silences: Silences = restored.silences.into_iter().collect();
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
        desk.free_orphans();
        desk.wind_all();
        desk
    }

    /// Takes a new configuration; open incidents keep the chain that they were opened with.
    pub fn reload(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
        self.decide_maintenance_anew();
        self.decide_holds_anew();
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
    /// `doubtful` are parents whose own verdict may be on its way: what depends on them waits for it.
    pub fn flips(
        &mut self,
        flips: &[Flip],
        doubtful: HashSet<WatchId>,
        now: Timestamp,
    ) -> Vec<Write> {
        let mut batch = Batch { doubtful, ..Batch::new(now) };
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
        let carried = self.take_unrest(flip, &ruling, batch);
        for (id, ending) in ruling.ends {
            self.end(id, flip.at, ending, batch);
        }
        match ruling.opens {
            Opens::Nothing => {}
            Opens::Same(id) => self.update(id, flip, batch),
            Opens::Again(id) => self.relapse(id, flip, carried.as_ref(), batch),
            Opens::New(condition) => self.open(condition, flip, carried.as_ref(), batch),
        }
        if let (Some(carried), Some(id)) = (carried, about) {
            self.changed(id, &carried, batch);
        }
    }

    fn open(
        &mut self,
        condition: Condition,
        flip: &Flip,
        carried: Option<&Carried>,
        batch: &mut Batch,
    ) {
        self.last.incident += 1;
        let id = IncidentId(self.last.incident);
        let severity = flip.subject.severity_of(condition);
        let routed = route(&self.settings, &flip.subject, condition, severity);
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
            maintenance_until: None,
            held: None,
            unrest: None,
            digest: None,
        });
        self.hand_on(id, carried, batch);
        let own = flip.subject.severity.iter().any(|(it, _)| *it == condition);
        let (rule, origin) = if own {
            (format!("severity of {condition} for this watch"), flip.subject.origin.clone())
        } else {
            (format!("default for {condition}"), Origin::Default("severity"))
        };
        self.decide_incident(id, &format!("{id} opened {severity}"), &rule, origin, batch);
        self.tell(id, &Reason::Opened, batch);
        self.hold_children(id, batch);
    }

    fn relapse(
        &mut self,
        id: IncidentId,
        flip: &Flip,
        carried: Option<&Carried>,
        batch: &mut Batch,
    ) {
        let resolved = self.books.incident(id).and_then(|it| it.resolved.as_ref());
        let back_at = resolved.map_or(flip.at, |(at, _)| *at);
        self.books.reopen(id);
        self.hand_on(id, carried, batch);
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
        let (condition, severity) = (incident.condition, incident.severity);
        incident.chain = route(&self.settings, &flip.subject, condition, severity).then;
        incident.steps_told = 0;
        let times = incident.occurrences;
        if self.muted(id, batch).is_some_and(|it| it.stage != Stage::Flapping) {
            self.forget_machines(id);
        }
        let rule = format!("relapse within {}", wording::written(self.settings.reopen));
        let outcome = format!("{id} reopened, time {times}");
        self.decide_incident(id, &outcome, &rule, Origin::Default("reopen"), batch);
        let after = flip.at.duration_since(back_at);
        self.tell(id, &Reason::Relapsed { after }, batch);
        self.hold_children(id, batch);
    }

    /// Programs that heard the end and do not hear the relapse know of nothing that is open.
    fn forget_machines(&mut self, id: IncidentId) {
        let settings = Arc::clone(&self.settings);
        let human = |it: &ReceiverId| settings.receivers.iter().any(|of| of.human && of.id == *it);
        if let Some(incident) = self.books.incident_mut(id) {
            incident.told.retain(human);
        }
    }

    /// It is open already: only what it weighs, or the words of an error, may have changed.
    fn update(&mut self, id: IncidentId, flip: &Flip, batch: &mut Batch) {
        let Some(incident) = self.books.incident_mut(id) else { return };
        let severity = flip.subject.severity_of(incident.condition);
        let before = incident.severity;
        let reworded = matches!(flip.cause, Cause::Fault(_)) && incident.cause != flip.cause;
        if reworded {
            incident.cause = flip.cause.clone();
        }
        if severity == before {
            if reworded {
                self.show(id, "updated", batch);
            }
            return;
        }
        incident.severity = severity;
        if before < severity {
            incident.acknowledgement = None;
            if incident.steps_told == 0 {
                let condition = incident.condition;
                incident.chain = route(&self.settings, &flip.subject, condition, severity).then;
            }
        }
        let origin = flip.subject.origin.clone();
        let outcome = format!("{id} {before} → {severity}");
        self.decide_incident(id, &outcome, "the registry says so", origin, batch);
        if before < severity {
            self.rise(id, severity, batch);
            self.tell(id, &Reason::Rose, batch);
        } else {
            self.show(id, "updated", batch);
        }
        self.hold_children(id, batch);
    }

    /// Ends an incident; those who were told of it hear it, nobody else.
    fn end(&mut self, id: IncidentId, at: Timestamp, ending: Ending, batch: &mut Batch) {
        let untold = matches!(ending, Ending::Became(_));
        let rule = event::ended(&ending);
        self.set_hold(id, None, batch);
        self.books.end(id, at, ending);
        self.free_children(id, batch);
        let origin = Origin::Default("resolve");
        self.decide_incident(id, &format!("{id} resolved"), &rule, origin, batch);
        self.show(id, "resolved", batch);
        self.end_in_digest(id, batch);
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

    /// The worst unresolved incident that a watch stands for by its own verdict, if any. That nobody keeps
    /// the watch of an agent is its tower's to say, and hides nothing that the agent's verdict opened.
    pub fn open_of(&self, watch: &WatchId) -> Option<&Incident> {
        let own = |it: &&Incident| watch.kind != Kind::Agent || dedup::is_of_agents(it.condition);
        let open = self.books.of_watch(watch).filter(|it| it.resolved.is_none()).filter(own);
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
mod tests {
    //! Stories of the desk: each step is written as `second verb names`, each row that it owes as
    //! `receiver! headline` (rings), `receiver~ headline` (edit), `receiver. headline` (new without a sound)
    //! or `receiver event#incident` (machine). After each step the desk equals one restored from its writes.

    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::domain::maintenance::When;
    use crate::domain::{
        alert::wording::plain,
        decision::Decision,
        delivery::{Body, Delivery},
        id::GroupId,
        incident::{Severity, Step},
        watch::{Subject, Verdict, agent},
    };

    /// What the store would hold.
    #[derive(Default)]
    pub(super) struct Model {
        incidents: BTreeMap<IncidentId, Incident>,
        groups: BTreeMap<GroupId, Group>,
        silences: BTreeMap<u64, Silence>,
        seen: HashMap<WatchId, (u64, u64)>,
        last_delivery: u64,
        last_silence: u64,
        keys: HashSet<String>,
        decisions: Vec<Decision>,
        pub(super) deliveries: Vec<Delivery>,
    }

    impl Model {
        fn apply(&mut self, writes: &[Write]) {
            for write in writes {
                match write {
                    Write::Flip(it) => drop(self.seen.insert(it.watch.clone(), (it.epoch, it.n))),
                    Write::Incident(it) => drop(self.incidents.insert(it.id, (**it).clone())),
                    Write::Decision(it) => self.decisions.push((**it).clone()),
                    Write::Delivery(it) => {
                        assert!(self.keys.insert(it.key.clone()), "{} is owed twice", it.key);
                        self.last_delivery = self.last_delivery.max(it.id.0);
                        self.deliveries.push((**it).clone());
                    }
                    Write::Group(it) => drop(self.groups.insert(it.id, (**it).clone())),
                    Write::Silence(it) => {
                        self.last_silence = self.last_silence.max(it.id);
                        self.silences.insert(it.id, (**it).clone());
                    }
                    Write::SilenceEnded { id, .. } => drop(self.silences.remove(id)),
                    Write::Facts(_)
                    | Write::History(_)
                    | Write::Outcome(_)
                    | Write::Reference { .. }
                    | Write::SetAside { .. }
                    | Write::Meta { .. } => {
                        panic!("not the desk's to write: {write:?}")
                    }
                }
            }
            let open = self.incidents.values().filter(|it| it.resolved.is_none());
            let mut keys = HashSet::new();
            for it in open {
                assert!(keys.insert((it.watch.clone(), it.condition)), "two open: {it:?}");
            }
        }

        pub(in crate::domain::desk) fn restored(&self, known: &HashSet<IncidentId>) -> Restored {
            Restored {
                // The store loads what is open or resolved within `reopen`; the desk drops the rest at its next tick.
                incidents: self
                    .incidents
                    .values()
                    .filter(|it| known.contains(&it.id))
                    .cloned()
                    .collect(),
                groups: self.groups.values().filter(|it| !it.closed).cloned().collect(),
                silences: self.silences.values().cloned().collect(),
                seen: self.seen.clone(),
                last_incident: self.incidents.keys().last().map_or(0, |it| it.0),
                last_group: self.groups.keys().last().map_or(0, |it| it.0),
                last_delivery: self.last_delivery,
                last_silence: self.last_silence,
            }
        }
    }

    pub(super) struct Story {
        pub(super) desk: Desk,
        pub(super) model: Model,
        n: u64,
        /// Parents in doubt when the next flips are taken in.
        late: HashSet<WatchId>,
        answer: Answer,
    }

    pub(super) fn at(second: i64) -> Timestamp {
        let start: Timestamp = "2026-11-21T03:12:00Z".parse().unwrap();
        later(start, SignedDuration::from_secs(second))
    }

    pub(super) fn file(line: u32) -> Origin {
        Origin::File { path: "registry.toml".into(), line }
    }

    pub(super) fn text(it: &str) -> Text {
        Text::clean(it, 200)
    }

    pub(super) fn receiver(name: &str, human: bool, line: u32) -> Receiver {
        Receiver { id: ReceiverId::new(name), human, origin: file(line) }
    }

    fn route_to(names: &[&str], line: u32) -> Route {
        Route {
            severity: Vec::new(),
            matching: None,
            to: names.iter().map(|it| ReceiverId::new(it)).collect(),
            then: Vec::new(),
            origin: file(line),
        }
    }

    /// One phone and no routes, unless changed.
    pub(super) fn settings(change: impl FnOnce(&mut Settings)) -> Arc<Settings> {
        let mut settings = Settings {
            receivers: vec![receiver("phone", true, 40)],
            ..Settings::new(text("tower-1"), TimeZone::UTC)
        };
        change(&mut settings);
        Arc::new(settings)
    }

    pub(super) fn with_hook(settings: &mut Settings) {
        settings.receivers.push(receiver("hook", false, 45));
        settings.routes.push(route_to(&["phone", "hook"], 42));
    }

    fn target(text: &str) -> Target {
        match text.strip_prefix("group/") {
            Some(group) => Target::Group(group.parse().unwrap()),
            None => Target::Pattern(text.to_owned()),
        }
    }

    fn subject(name: &str) -> Arc<Subject> {
        let mut name_for_people = name.to_owned();
        name_for_people[..1].make_ascii_uppercase();
        let own = name.starts_with("own");
        Arc::new(Subject {
            watch: WatchId::agent(&name.parse().unwrap()),
            name: text(&name_for_people),
            origin: file(5),
            notify: if own { vec![ReceiverId::new("hook")] } else { Vec::new() },
            severity: match name {
                "soft" => vec![(Condition::Down, Severity::Warning)],
                "quiet" => vec![(Condition::Down, Severity::Info)],
                _ => Vec::new(),
            },
            self_registered: name.starts_with("auto"),
            timeout: (name == "slow").then(|| SignedDuration::from_mins(15)),
            aliases: Vec::new(),
            group: name.starts_with("coding").then(|| "coding".parse().unwrap()),
        })
    }

    impl Story {
        pub(in crate::domain::desk) fn new(settings: Arc<Settings>) -> Self {
            Self {
                desk: Desk::restore(settings, Restored::default()),
                model: Model::default(),
                n: 0,
                late: HashSet::new(),
                answer: Ok(String::new()),
            }
        }

        pub(in crate::domain::desk) fn flip(
            &mut self,
            name: &str,
            verb: &str,
            second: i64,
        ) -> Flip {
            self.n += 1;
            let limit = SignedDuration::from_secs(90);
            let by = text("Ana");
            let silence = Cause::Silence { last: Some(at(second - 90)), limit };
            let (verdict, cause) = match verb {
                "down" | "says_down" => (agent::Verdict::Down, silence),
                "failed" => {
                    (agent::Verdict::Failed, Cause::Said { status: text(""), exit: Some(3) })
                }
                "stalled" => {
                    (agent::Verdict::Stalled, Cause::NoProgress { since: at(second - 90), limit })
                }
                "degraded" => {
                    (agent::Verdict::Degraded, Cause::Said { status: text("degraded"), exit: None })
                }
                "asks" => {
                    (agent::Verdict::Unanswered, Cause::Unanswered { since: at(second), limit })
                }
                "blind" => (agent::Verdict::Blind, Cause::Hearing),
                "paused" => (agent::Verdict::Paused, Cause::Paused { by }),
                "gone" => (agent::Verdict::Up, Cause::Removed),
                "restated_up" => (agent::Verdict::Up, Cause::Restated),
                "changed" => (agent::Verdict::Up, Cause::SettingsChanged),
                _ => (agent::Verdict::Up, Cause::Beat),
            };
            let to = Verdict::Agent(verdict);
            let other = if verdict == agent::Verdict::Up {
                agent::Verdict::Down
            } else {
                agent::Verdict::Up
            };
            let from = if verb.starts_with("says") { to } else { Verdict::Agent(other) };
            let task = (verb == "down").then(|| text("billing"));
            Flip {
                subject: subject(name),
                epoch: 1,
                n: self.n,
                from,
                to,
                at: at(second),
                cause,
                task,
            }
        }

        /// Does one step and says what it owes.
        pub(in crate::domain::desk) fn step(&mut self, step: &str) -> Vec<Delivery> {
            let mut words = step.split_whitespace();
            let second: i64 = words.next().unwrap().parse().unwrap();
            let verb = words.next().unwrap();
            let names: Vec<&str> = words.collect();
            let now = at(second);
            let ids = || names.iter().filter_map(|it| it.parse().ok()).collect::<Vec<IncidentId>>();
            let by = text("Ana");
            let ask = match verb {
                "ack" => Some(Ask::Acknowledge { incidents: ids(), for_: None, by, reason: None }),
                "release" => Some(Ask::Release { incidents: ids(), by }),
                "resolve" => Some(Ask::Resolve {
                    incident: ids()[0],
                    by,
                    reason: None,
                    says: names.get(1).and_then(|it| Condition::from_word(it)),
                }),
                "silence" => Some(Ask::Silence {
                    targets: names.iter().map(|it| target(it)).collect(),
                    for_: SignedDuration::from_hours(1),
                    by,
                    reason: None,
                }),
                "unsilence" => Some(Ask::Unsilence { id: names[0].parse().unwrap(), by }),
                "test" => Some(Ask::Test { receiver: ReceiverId::new(names[0]), by }),
                _ => None,
            };
            let writes = if let Some(ask) = ask {
                let (answer, writes) = self.desk.ask(ask, now);
                self.answer = answer;
                writes
            } else if verb == "tick" {
                self.desk.tick(now)
            } else if verb == "late" {
                self.late.extend(names.iter().filter_map(|it| it.parse().ok()));
                Vec::new()
            } else if verb == "lost" {
                let (delivery, incidents) = (DeliveryId(0), ids());
                let (receiver, why) = (ReceiverId::new(names[0]), text("chat not found"));
                self.desk.undelivered(&Undelivered { delivery, receiver, incidents, why }, now)
            } else {
                let flips: Vec<Flip> = names.iter().map(|it| self.flip(it, verb, second)).collect();
                self.desk.flips(&flips, std::mem::take(&mut self.late), now)
            };
            self.model.apply(&writes);
            let known = self.desk.incidents().map(|it| it.id).collect();
            let restored =
                Desk::restore(Arc::clone(&self.desk.settings), self.model.restored(&known));
            assert_eq!(restored, self.desk, "after {step}");
            let owed = |it| if let Write::Delivery(it) = it { Some(*it) } else { None };
            writes.into_iter().filter_map(owed).collect()
        }

        /// The chain of reasons of a watch: `outcome | rule | origin`.
        pub(in crate::domain::desk) fn why(&self, name: &str) -> Vec<String> {
            let watch: WatchId = name.parse().unwrap();
            let of_watch = self.model.decisions.iter().filter(|it| it.watch == watch);
            of_watch.map(|it| format!("{} | {} | {}", it.outcome, it.rule, it.origin)).collect()
        }

        pub(in crate::domain::desk) fn open(&self) -> usize {
            self.desk.incidents().filter(|it| it.resolved.is_none()).count()
        }
    }

    pub(super) fn said(row: &Delivery) -> String {
        let headline = |message| {
            let line = plain(message);
            line.split(" (tower-1").next().unwrap_or_default().to_owned()
        };
        match &row.body {
            Body::New { message, rings: true } => {
                format!("{}! {}", row.receiver, headline(message))
            }
            Body::New { message, rings: false } => {
                format!("{}. {}", row.receiver, headline(message))
            }
            Body::Edit { message } => format!("{}~ {}", row.receiver, headline(message)),
            Body::Event(event) => {
                let id = row.incidents.first().map(ToString::to_string).unwrap_or_default();
                format!("{} {}{id}", row.receiver, event.event)
            }
        }
    }

    /// Plays the steps; every row that a step owes must be named, and no other.
    pub(super) fn check(settings: Arc<Settings>, steps: &[(&str, &str)]) -> Story {
        let mut story = Story::new(settings);
        for (step, owes) in steps {
            let rows: Vec<String> = story.step(step).iter().map(said).collect();
            assert_eq!(rows.join("; "), *owes, "at: {step}");
        }
        story
    }

    fn names(prefix: &str, count: usize) -> String {
        (1..=count).map(|it| format!("{prefix}{it}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_agent_falls_and_returns() {
        let story = check(
            settings(with_hook),
            &[
                ("0 down mary", "hook opened#1; phone! Mary is down: silent since 03:10:30"),
                (
                    "372 up mary",
                    "hook resolved#1; phone~ Mary is back: down 6 min 12 s, 03:12 to 03:18",
                ),
            ],
        );
        assert_eq!(
            story.why("mary"),
            [
                "up → down | silence > 90s | registry.toml:5",
                "#1 opened critical | default for down | default: severity",
                "told | first route that matches | registry.toml:42",
                "told | first route that matches | registry.toml:42",
                "down → up | heard | registry.toml:5",
                "#1 resolved | recovered | default: resolve",
                "edited only | resolved: makes no sound | default: who was told of the opening",
                "told | resolved | default: who was told of the opening",
            ]
        );
    }

    #[test]
    fn two_hundred_fall_together_and_one_message_tells_it() {
        let mut story = Story::new(settings(with_hook));
        let all = names("w", 200);
        let mut rang = 0;
        for (place, name) in all.split(' ').enumerate() {
            let rows = story.step(&format!("{} down {name}", place / 10));
            let phone: Vec<_> = rows.iter().filter(|it| &*it.receiver.0 == "phone").collect();
            assert_eq!((phone.len(), rows.len()), (1, 2), "{name}");
            rang += phone.iter().filter(|it| matches!(it.body, Body::New { .. })).count();
        }
        assert_eq!((rang, story.open()), (1, 200));
        for name in all.split(' ').skip(1) {
            let why = story.why(name).join("\n");
            assert!(why.contains("up → down | silence > 90s | registry.toml:5"), "{why}");
            assert!(
                why.contains("edited only | joined a group within 30s | registry.toml:42"),
                "{why}"
            );
        }
        let last = story.model.deliveries.iter().rfind(|it| it.group.is_some()).unwrap();
        assert_eq!(said(last), "phone~ 200 agents are down since 03:12 (W1 first)");
        assert_eq!(last.incidents.len(), 200);
        let rows = story.step(&format!("60 up {all}"));
        assert_eq!(rows.len(), 201);
        assert_eq!(said(rows.last().unwrap()), "phone~ 200 agents are back: down 03:12 to 03:13");
        assert_eq!(story.open(), 0);
    }

    #[test]
    fn one_call_makes_one_message_and_what_is_over_already_does_not_ring() {
        let story = check(
            settings(|_| ()),
            &[
                ("0 down a1 a2 a3", "phone! 3 agents are down since 03:12 (A1 first)"),
                ("0 up a1 a2 a3", "phone~ 3 agents are back: down 03:12 to 03:12"),
            ],
        );
        assert_eq!(story.open(), 0);
        let mut late = Story::new(settings(|_| ()));
        let flips = [late.flip("mary", "down", 0), late.flip("mary", "up", 20)];
        let writes = late.desk.flips(&flips, HashSet::new(), at(30));
        late.model.apply(&writes);
        let rows: Vec<String> = late.model.deliveries.iter().map(said).collect();
        assert_eq!(rows, ["phone. Mary is back: down 20 s, 03:12 to 03:12"]);
    }

    #[test]
    fn a_relapse_reopens_the_same_incident_and_rings() {
        let story = check(
            settings(with_hook),
            &[
                ("0 down mary", "hook opened#1; phone! Mary is down: silent since 03:10:30"),
                ("60 up mary", "hook resolved#1; phone~ Mary is back: down 1 min, 03:12 to 03:13"),
                (
                    "300 down mary",
                    "hook opened#1; phone! Mary is down again: 4 min after coming back",
                ),
                ("360 up mary", "hook resolved#1; phone~ Mary is back: down 1 min, 03:17 to 03:18"),
                ("961 down mary", "hook opened#2; phone! Mary is down: silent since 03:26:31"),
            ],
        );
        let first = &story.model.incidents[&IncidentId(1)];
        assert_eq!((first.occurrences, first.relapses.len()), (2, 1));
        // The message of old is gone for good once nobody in it can come back.
        let mut story = story;
        assert_eq!(story.step("970 tick").len(), 0);
        assert_eq!(story.desk.incidents().count(), 1);
        assert!(story.model.groups[&GroupId(1)].closed);
    }

    /// Six changes within five minutes; the sixth is that it is up.
    const RESTLESS: [(&str, &str); 6] = [
        ("0 down mary", "hook opened#1; phone! Mary is down: silent since 03:10:30"),
        ("60 up mary", "hook resolved#1; phone~ Mary is back: down 1 min, 03:12 to 03:13"),
        ("120 down mary", "hook opened#1; phone! Mary is down again: 1 min after coming back"),
        ("180 up mary", "hook resolved#1; phone~ Mary is back: down 1 min, 03:14 to 03:15"),
        ("240 down mary", "hook opened#1; phone! Mary is down again: 1 min after coming back"),
        ("300 up mary", "hook resolved#1; phone! Mary keeps falling: 6 changes in 5 min, now up"),
    ];

    #[test]
    fn what_keeps_falling_is_told_once_and_ends_steady() {
        let mut steps = RESTLESS.to_vec();
        steps.extend([
            (
                "360 down mary",
                "hook opened#1; phone~ Mary keeps falling: 7 changes in 6 min, now down",
            ),
            (
                "420 up mary",
                "hook resolved#1; phone~ Mary keeps falling: 8 changes in 7 min, now up",
            ),
            ("1019 tick", ""),
            ("1020 tick", "phone. Mary is steady again: up for 10 min (last told: up)"),
            ("1100 down mary", "hook opened#2; phone! Mary is down: silent since 03:28:50"),
        ]);
        let story = check(settings(with_hook), &steps);
        let quiet =
            "held | flapping since 03:12: quiet until a verdict holds 10m | default: flapping";
        let why = story.why("mary");
        assert_eq!(why.iter().filter(|it| *it == quiet).count(), 2, "{why:#?}");
        assert!(why.contains(&"flapping | 6 changes within 1h | default: flapping".into()));
        assert!(why.contains(&"steady | its verdict held 10m | default: flapping".into()));
    }

    #[test]
    fn what_keeps_falling_and_ends_dead_rings_again() {
        let mut steps = RESTLESS.to_vec();
        steps.extend([
            (
                "360 down mary",
                "hook opened#1; phone~ Mary keeps falling: 7 changes in 6 min, now down",
            ),
            ("960 tick", "hook updated#1; phone! Mary is down again: silent since 03:16:30"),
            (
                "2000 up mary",
                "hook resolved#1; phone~ Mary is back: down 27 min 20 s, 03:18 to 03:45",
            ),
        ]);
        let story = check(settings(with_hook), &steps);
        let row = story.model.deliveries.iter().rfind(|it| matches!(it.body, Body::New { .. }));
        let lines = format!("{:?}", row.unwrap().body.message().unwrap().lines);
        assert!(lines.contains("has been so for 10 min now (last told: up)"), "{lines}");
    }

    #[test]
    fn another_trouble_of_a_restless_watch_is_quiet_too_unless_it_is_worse() {
        let mut steps = RESTLESS.to_vec();
        steps.extend([
            ("360 stalled mary", "hook opened#2; phone~ Mary keeps falling: 7 changes in 6 min, now stalled"),
            ("400 down mary", "hook resolved#2; hook opened#1; phone~ Mary keeps falling: 8 changes in 6 min 40 s, now down"),
            ("440 paused mary", "hook resolved#1; phone~ Mary is paused: was down 40 s, 03:18 to 03:19"),
            ("441 down mary", "hook opened#3; phone! Mary is down: silent since 03:17:51"),
        ]);
        check(settings(with_hook), &steps);
        let story = check(
            settings(|_| ()),
            &[
                ("0 down soft", ""),
                ("10 up soft", ""),
                ("20 down soft", ""),
                ("30 up soft", ""),
                ("40 down soft", ""),
                ("50 up soft", ""),
                ("60 failed soft", "phone! Soft has failed: exit 3 at 03:13:00"),
            ],
        );
        let why = story.why("soft").join("\n");
        assert!(why.contains("flapping ended | rise in severity: told at once"), "{why}");
    }

    /// With a timeout of 15 min a verdict must hold for 30, longer than an incident can be reopened.
    #[test]
    fn a_slow_watch_is_quiet_for_twice_its_timeout() {
        let mut story = Story::new(settings(|_| ()));
        for (second, verb) in [(0, "down"), (60, "up"), (120, "down"), (180, "up"), (240, "down")] {
            story.step(&format!("{second} {verb} slow"));
        }
        let said_at = |story: &mut Story, step: &str| -> Vec<String> {
            story.step(step).iter().map(said).collect()
        };
        for (step, owes) in [
            ("300 up slow", Some("phone! Slow keeps falling: 6 changes in 5 min, now up")),
            ("1200 tick", None),
            (
                "1201 down slow",
                Some("phone~ Slow keeps falling: 7 changes in 20 min 1 s, now down"),
            ),
            ("3000 tick", None),
            ("3001 tick", Some("phone! Slow is down: silent since 03:30:31")),
        ] {
            assert_eq!(said_at(&mut story, step), owes.into_iter().collect::<Vec<_>>(), "{step}");
        }
    }

    /// One of three keeps falling: it gets a message of its own; silenced, it says nothing of it.
    #[test]
    fn flapping_leaves_the_message_of_the_others_and_heeds_a_silence() {
        let mut story = check(
            settings(|_| ()),
            &[("0 down a b", "phone! 2 agents are down since 03:12 (A first)")],
        );
        for (second, verb) in [(60, "up"), (120, "down"), (180, "up"), (240, "down")] {
            story.step(&format!("{second} {verb} a"));
        }
        let rows: Vec<_> = story.step("300 up a").iter().map(said).collect();
        assert_eq!(
            rows,
            ["phone~ B is down since 03:12", "phone! A keeps falling: 6 changes in 5 min, now up"]
        );
        let mut story = Story::new(settings(|_| ()));
        story.step("0 silence agent/a");
        for second in 0..10 {
            let verb = if second % 2 == 0 { "down" } else { "up" };
            assert_eq!(story.step(&format!("{} {verb} a", 10 + second)).len(), 0);
        }
        let rows: Vec<_> = story.step("30 unsilence 1").iter().map(said).collect();
        assert_eq!(rows, [""; 0]);
        let rows: Vec<_> = story.step("40 down a").iter().map(said).collect();
        assert_eq!(rows, ["phone! A keeps falling: 6 changes in 25 s, now down"]);
    }

    #[test]
    fn members_that_relapse_together_ring_once() {
        check(
            settings(|_| ()),
            &[
                ("0 down a b c", "phone! 3 agents are down since 03:12 (A first)"),
                ("60 up a b c", "phone~ 3 agents are back: down 03:12 to 03:13"),
                ("120 down a", "phone! A is down since 03:14"),
                ("121 down b", "phone~ 2 agents are down since 03:14 (A first)"),
                ("122 down d", "phone! 3 agents are down since 03:14 (A first)"),
            ],
        );
    }

    #[test]
    fn an_acknowledgement_holds_and_runs_out() {
        let story = check(
            settings(with_hook),
            &[
                ("0 down mary", "hook opened#1; phone! Mary is down: silent since 03:10:30"),
                ("60 ack 1", "hook acknowledged#1; phone~ Mary is down: silent since 03:10:30"),
                // Closed by the button: who comes now opens another message.
                ("61 down lisa", "hook opened#2; phone! Lisa is down: silent since 03:11:31"),
                ("62 up lisa", "hook resolved#2; phone~ Lisa is back: down 1 s, 03:13 to 03:13"),
                ("14401 tick", ""),
                ("28859 tick", ""),
                ("28860 tick", "hook updated#1; phone! Mary is down: silent since 03:10:30"),
                ("43260 tick", "hook repeated#1; phone! Mary is down: silent since 03:10:30"),
            ],
        );
        assert!(
            story.why("mary").iter().any(|it| it.starts_with("held | acknowledged by Ana until"))
        );
        let mut story = story;
        story.step("43300 ack 1");
        assert_eq!(story.answer, Ok("Ana has it until 23:13: #1 is acknowledged".into()));
        let rows = story.step("43400 up mary");
        let reply = rows.last().map(said).unwrap();
        assert!(reply.starts_with("phone. Mary is back: down 12 h 3 min"), "{reply}");
        assert_eq!(rows.len(), 3);
        story.step("43460 ack 1");
        assert_eq!(story.answer, Err("Over since 15:15".into()));
        story.step("43460 ack 99");
        assert_eq!(story.answer, Err("No incident #99 is open".into()));
    }

    #[test]
    fn who_gives_it_back_makes_it_ring() {
        check(
            settings(|_| ()),
            &[
                ("0 down mary", "phone! Mary is down: silent since 03:10:30"),
                ("60 ack 1", "phone~ Mary is down: silent since 03:10:30"),
                ("90 release 1", "phone! Mary is down: silent since 03:10:30"),
                ("91 release 1", ""),
            ],
        );
    }

    #[test]
    fn a_silence_mutes_and_what_is_still_so_rings_when_it_ends() {
        let story = check(
            settings(with_hook),
            &[
                ("0 silence agent/m*", ""),
                ("10 down mary", ""),
                ("20 down max", ""),
                ("30 up max", ""),
                ("3599 tick", ""),
                ("3600 tick", "hook opened#1; phone! Mary is down: silent since 03:10:40"),
                (
                    "3700 up mary",
                    "hook resolved#1; phone~ Mary is back: down 1 h 1 min, 03:12 to 04:13",
                ),
            ],
        );
        assert!(
            story.why("mary").contains(&"held | silenced by #1 of Ana | default: silence".into())
        );
        assert!(story.why("max").iter().any(|it| it.contains("nobody was told of the opening")));
        assert!(story.model.silences.is_empty());
    }

    #[test]
    fn a_silence_of_a_group_mutes_who_is_in_it_and_nobody_else() {
        let story = check(
            settings(|_| {}),
            &[
                ("0 down coding-1", "phone! Coding-1 is down: silent since 03:10:30"),
                ("10 silence group/coding", "phone~ Coding-1 is down: silent since 03:10:30"),
                ("20 down coding-2", ""),
                ("30 down mary", "phone! Mary is down: silent since 03:11:00"),
                (
                    "40 unsilence 1",
                    "phone! Coding-1 is down: silent since 03:10:30; \
                     phone~ 2 agents are down since 03:12 (Mary first)",
                ),
            ],
        );
        let said = "held | silenced by #1 of Ana | default: silence";
        assert!(story.why("coding-2").contains(&said.into()), "{:?}", story.why("coding-2"));
    }

    #[test]
    fn a_silence_over_told_trouble_edits_and_recovery_is_told() {
        let story = check(
            settings(with_hook),
            &[
                ("0 down mary", "hook opened#1; phone! Mary is down: silent since 03:10:30"),
                ("60 silence agent/mary", "phone~ Mary is down: silent since 03:10:30"),
                ("120 up mary", "hook resolved#1; phone~ Mary is back: down 2 min, 03:12 to 03:14"),
                ("180 down mary", "phone~ Mary is down again: silent since 03:13:30"),
                (
                    "200 unsilence 1",
                    "hook opened#1; phone! Mary is down again: silent since 03:13:30",
                ),
                ("201 unsilence 1", ""),
            ],
        );
        assert_eq!(story.answer, Err("there is no silence 1 that holds: see `silences`".into()));
    }

    #[test]
    fn a_worse_condition_closes_the_lesser_and_a_lesser_one_ends_the_worse() {
        let story = check(
            settings(|_| ()),
            &[
                ("0 stalled mary", "phone! Mary is stalled: no progress since 03:10:30"),
                (
                    "60 down mary",
                    "phone~ Mary is down now: was stalled 1 min, 03:12 to 03:13; \
                     phone! Mary is down: silent since 03:11:30",
                ),
                (
                    "120 failed mary",
                    "phone~ Mary is back: down 1 min, 03:13 to 03:14; \
                     phone! Mary has failed: exit 3 at 03:14:00",
                ),
                ("130 degraded mary", "phone~ Mary is back: failed 10 s, 03:14 to 03:14"),
            ],
        );
        assert!(story.why("mary").contains(&"#1 resolved | became down | default: resolve".into()));
        assert_eq!(
            story.desk.open_of(&"mary".parse().unwrap()).unwrap().condition,
            Condition::Degraded
        );
    }

    #[test]
    fn late_members_ring_until_it_is_a_crowd() {
        let mut story = check(
            settings(|_| ()),
            &[
                ("0 down a", "phone! A is down: silent since 03:10:30"),
                ("30 down b", "phone~ 2 agents are down since 03:12 (A first)"),
                ("40 down c", "phone! 3 agents are down since 03:12 (A first)"),
                ("50 down d", "phone! 4 agents are down since 03:12 (A first)"),
                ("60 down e", "phone~ 5 agents are down since 03:12 (A first)"),
            ],
        );
        let mut rang = Vec::new();
        for count in 6..=60 {
            let rows = story.step(&format!("{} down x{count}", 100 + count));
            assert_eq!(rows.len(), 1);
            if matches!(rows[0].body, Body::New { .. }) {
                rang.push(count);
            }
        }
        assert_eq!(rang, [40], "the last ring was at 4");
    }

    #[test]
    fn warnings_and_infos_go_to_the_log() {
        let story = check(
            settings(with_hook),
            &[
                ("0 degraded mary", ""),
                ("1 down soft", ""),
                ("2 down quiet", ""),
                ("3 up soft", ""),
            ],
        );
        let why = |name: &str| story.why(name).join("\n");
        assert!(why("mary").contains(
            "not told | warning: goes to the log, no route names it | default: severity warning"
        ));
        assert!(
            why("soft")
                .contains("#2 opened warning | severity of down for this watch | registry.toml:5")
        );
        assert!(why("quiet").contains("not told | info: goes to the log"));
        check(
            settings(|it| {
                it.receivers.push(receiver("hook", false, 45));
                let severity = vec![Severity::Warning];
                it.routes.push(Route { severity, ..route_to(&["hook"], 9) });
            }),
            &[
                ("0 degraded mary", "hook opened#1"),
                ("1 down lisa", "phone! Lisa is down: silent since 03:10:31"),
                // Its own `notify` replaces the routes.
                ("2 down own1", "hook opened#3"),
            ],
        );
    }

    fn with_digest(it: &mut Settings) {
        it.receivers.push(receiver("hook", false, 45));
        it.digest_every = SignedDuration::from_mins(30);
    }

    #[test]
    fn what_is_asked_of_people_rings_though_it_is_a_warning() {
        check(
            settings(with_digest),
            &[
                ("0 asks mary", "phone! Mary asks you since 03:12:00"),
                // Nor is it in the digest.
                ("1080 tick", ""),
                ("14400 tick", "phone! Mary asks you since 03:12:00"),
                ("14500 up mary", "phone~ Mary goes on: waited 4 h 1 min, 03:12 to 07:13"),
            ],
        );
        // Who is told of what is critical; a person of its own too.
        let routed = |to: &'static str, severity| {
            settings(|it| {
                with_digest(it);
                it.routes.push(Route { severity, ..route_to(&[to], 9) });
            })
        };
        for severity in [Vec::new(), vec![Severity::Warning], vec![Severity::Critical]] {
            check(routed("hook", severity), &[("0 asks mary", "hook opened#1")]);
        }
        check(
            routed("hook", vec![Severity::Info]),
            &[("0 asks mary", "phone! Mary asks you since 03:12:00")],
        );
        let mut own = Story::new(settings(with_digest));
        let notify = vec![ReceiverId::new("phone")];
        let subject = Arc::new(Subject { notify, ..(*subject("mary")).clone() });
        let flip = Flip { subject, ..own.flip("mary", "asks", 0) };
        let writes = own.desk.flips(&[flip], HashSet::new(), at(0));
        let rings = |it: &Write| matches!(it, Write::Delivery(it) if *it.receiver.0 == *"phone");
        assert!(writes.iter().any(rings), "{writes:?}");
    }

    /// The first period of the stories ends at 03:30, 1080 s after their beginning.
    #[test]
    fn warnings_of_a_period_are_one_silent_message() {
        let mut story = check(
            settings(with_digest),
            &[
                ("0 degraded mary", ""),
                ("10 down soft", ""),
                ("20 down lisa", "phone! Lisa is down: silent since 03:10:50"),
                ("70 up soft", ""),
                ("1079 tick", ""),
                ("1080 tick", "phone. Warnings 03:00 to 03:30: 2 new, 1 over"),
                // Nothing happened in the next.
                ("2880 tick", ""),
                ("2900 up mary", ""),
                ("4680 tick", "phone. Warnings 04:00 to 04:30: 1 over"),
                ("9000 tick", ""),
            ],
        );
        let first = story.model.deliveries.iter().find(|it| it.key.starts_with("digest")).unwrap();
        assert_eq!(first.incidents, [IncidentId(1), IncidentId(2)]);
        let line = |it: &Vec<_>| {
            let headline = it.clone();
            plain(&crate::domain::delivery::Message {
                headline,
                ..first.body.message().unwrap().clone()
            })
        };
        let lines: Vec<String> = first.body.message().unwrap().lines.iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "🟡 Mary is degraded: it says degraded since 03:12:00 (tower-1)",
                "✅ Soft is back: down 1 min, 03:12 to 03:13 (tower-1)",
            ]
        );
        let why = story.why("mary");
        for outcome in ["in the digest", "told in the digest"] {
            let rule = format!(
                "{outcome} | warning: no route names it, digest of 03:30 | default: digest_every"
            );
            assert!(why.contains(&rule), "{why:#?}");
        }
        assert_eq!(story.step("9100 tick"), []);
    }

    #[test]
    fn a_digest_leaves_out_what_is_silenced_or_became_worse() {
        check(
            settings(with_digest),
            &[
                ("0 degraded mary", ""),
                ("10 degraded lisa", ""),
                ("20 down lisa", "phone! Lisa is down: silent since 03:10:50"),
                ("30 silence agent/mary", ""),
                ("1080 tick", ""),
                // The silence ends at 04:12:30: decided again.
                ("3630 tick", ""),
                ("4680 tick", "phone. Warnings 04:00 to 04:30: 1 new"),
            ],
        );
        // A worse severity while silenced rings when the silence ends.
        let mut story = Story::new(settings(with_digest));
        story.step("0 silence agent/soft");
        assert_eq!(story.step("10 down soft"), []);
        let hard = Arc::new(Subject { severity: Vec::new(), ..(*subject("soft")).clone() });
        let flip = Flip { subject: hard, ..story.flip("soft", "says_down", 60) };
        let writes = story.desk.flips(&[flip], HashSet::new(), at(60));
        story.model.apply(&writes);
        assert_eq!(story.step("1080 tick"), []);
        let rows: Vec<_> = story.step("3600 tick").iter().map(said).collect();
        assert_eq!(rows, ["phone! Soft is down: silent since 03:10:40"]);
    }

    #[test]
    fn routes_choose_by_pattern_and_without_people_everyone_hears() {
        check(
            settings(|it| {
                it.receivers.push(receiver("second", true, 46));
                let matching = Some(Target::Pattern("agent/w-*".to_owned()));
                it.routes.push(Route { matching, ..route_to(&["second"], 9) });
                let matching = Some(Target::Group("coding".parse().unwrap()));
                it.routes.push(Route { matching, ..route_to(&["hook"], 12) });
                it.receivers.push(receiver("hook", false, 47));
            }),
            &[
                ("0 down w-1", "second! W-1 is down: silent since 03:10:30"),
                (
                    "1 down mary",
                    "second~ 2 agents are down since 03:12 (W-1 first); \
                     phone! Mary is down: silent since 03:10:31",
                ),
                ("2 down coding-1", "hook opened#3"),
            ],
        );
        let machines = || vec![receiver("hook", false, 1), receiver("bus", false, 2)];
        check(
            settings(|it| it.receivers = machines()),
            &[("0 down mary", "hook opened#1; bus opened#1")],
        );
        let story = check(settings(|it| it.receivers.clear()), &[("0 down mary", "")]);
        assert!(story.why("mary").iter().any(|it| it.contains("no receiver is set up")));
    }

    #[test]
    fn maintenance_mutes_and_what_is_still_so_at_its_end_rings() {
        let windowed = |until: i64| {
            settings(|it| {
                it.maintenance.push(Window {
                    target: Target::Pattern("agent/m*".to_owned()),
                    when: When::Once { from: at(0), until: at(until) },
                    reason: Some(text("weekly update")),
                    origin: Origin::File { path: "registry.toml".into(), line: 30 },
                });
            })
        };
        let story = check(
            windowed(3600),
            &[
                ("10 down mary", ""),
                ("20 down lisa", "phone! Lisa is down: silent since 03:10:50"),
                ("30 down max", ""),
                // Over before anybody was told: nobody hears of it.
                ("40 up max", ""),
                ("3599 tick", ""),
                // Lisa's message is of the same trouble: it rings anew with both.
                ("3600 tick", "phone! 2 agents are down since 03:12 (Lisa first)"),
            ],
        );
        assert!(story.why("mary").contains(
            &"held | maintenance until 04:12: weekly update | registry.toml:30".to_owned()
        ));
        // Told before the window; within it the chain and the repeats stand still.
        let mut late = windowed(40_000);
        let change = |it: &mut Settings| {
            with_chain(it);
            it.maintenance[0].when = When::Once { from: at(60), until: at(40_000) };
        };
        change(Arc::make_mut(&mut late));
        check(
            late,
            &[
                ("0 down mary", "phone! Mary is down: silent since 03:10:30"),
                ("900 tick", ""),
                ("14400 tick", ""),
                ("39999 tick", ""),
                ("40000 tick", "phone! Mary is down: silent since 03:10:30"),
                ("40900 tick", "hook opened#1"),
            ],
        );
    }

    fn with_chain(it: &mut Settings) {
        it.receivers.push(receiver("boss", true, 46));
        it.receivers.push(receiver("hook", false, 45));
        let step = |minutes, to| Step {
            after: SignedDuration::from_mins(minutes),
            to: vec![ReceiverId::new(to)],
        };
        it.routes.push(Route {
            then: vec![step(15, "hook"), step(30, "boss")],
            ..route_to(&["phone"], 9)
        });
    }

    #[test]
    fn the_chain_goes_on_until_someone_has_it() {
        let story = check(
            settings(with_chain),
            &[
                ("0 down mary", "phone! Mary is down: silent since 03:10:30"),
                ("899 tick", ""),
                ("900 tick", "hook opened#1"),
                ("2700 tick", "boss! Mary is down: silent since 03:10:30"),
                (
                    "2800 up mary",
                    "hook resolved#1; phone~ Mary is back: down 46 min 40 s, 03:12 to 03:58; boss~ Mary is back: down 46 min 40 s, 03:12 to 03:58",
                ),
            ],
        );
        let told = "told | not acknowledged: the next step of the chain | registry.toml:9";
        assert_eq!(story.why("mary").iter().filter(|it| *it == told).count(), 2);
        check(
            settings(with_chain),
            &[
                ("0 down mary", "phone! Mary is down: silent since 03:10:30"),
                ("60 ack 1", "phone~ Mary is down: silent since 03:10:30"),
                ("2700 tick", ""),
                // The limit: it goes on where it stood.
                ("28860 tick", "phone! Mary is down: silent since 03:10:30"),
                ("29760 tick", "hook opened#1"),
            ],
        );
    }

    #[test]
    fn a_step_that_was_not_done_is_found_done_and_named() {
        let mut story = check(
            settings(with_chain),
            &[("0 down mary", "phone! Mary is down: silent since 03:10:30")],
        );
        assert_eq!(story.desk.missed(at(899)), []);
        let first = Missed { incident: IncidentId(1), step: 1, due: Some(at(900)) };
        assert_eq!(story.desk.missed(at(960)), std::slice::from_ref(&first));
        let writes = story.desk.make_up(&[first], at(960));
        story.model.apply(&writes);
        assert_eq!(story.model.deliveries.last().map(said), Some("hook opened#1".into()));
        assert!(story.why("mary").contains(
            &"not done in time | step 1 of the chain: due at 2026-11-21T03:27:00Z | default: a defect of atalaya".into()
        ));
        assert_eq!(story.desk.missed(at(960)), []);
        // A chain that lost its clock: nothing would ever be due.
        story.model.incidents.values_mut().for_each(|it| it.next_step_at = None);
        let known = story.desk.incidents().map(|it| it.id).collect();
        story.desk = Desk::restore(Arc::clone(&story.desk.settings), story.model.restored(&known));
        let lost = Missed { incident: IncidentId(1), step: 2, due: None };
        assert_eq!(story.desk.missed(at(961)), [lost]);
        // Whoever silenced it wants none of its steps.
        story.step("962 silence agent/mary");
        assert_eq!(story.desk.missed(at(963)), []);
    }

    #[test]
    fn a_chain_that_is_shorter_than_its_clock_believes_stops_the_clock() {
        let mut story = Story::new(settings(with_chain));
        story.step("0 down mary");
        story.model.incidents.values_mut().for_each(|it| it.chain.clear());
        let known = story.desk.incidents().map(|it| it.id).collect();
        story.desk = Desk::restore(Arc::clone(&story.desk.settings), story.model.restored(&known));
        assert_eq!(story.desk.deadline(), Some(at(900)));
        assert!(story.step("900 tick").is_empty());
        assert_eq!(story.desk.deadline(), Some(at(4 * 3600)), "the repeat alone is left");
    }

    #[test]
    fn what_one_receiver_does_not_take_goes_to_the_next() {
        check(
            settings(with_chain),
            &[
                ("0 down mary lisa", "phone! 2 agents are down since 03:12 (Mary first)"),
                ("120 lost phone 1 2", "hook opened#1; hook opened#2"),
                ("121 lost hook 1", "boss! Mary is down: silent since 03:10:30"),
                ("122 lost boss 1", ""),
            ],
        );
        let story = check(
            settings(|it| {
                it.receivers.extend([receiver("hook", false, 45), receiver("ops", true, 46)]);
            }),
            &[
                ("0 down own1", "hook opened#1"),
                ("120 lost hook 1", "phone! Own1 is down: silent since 03:10:30"),
                (
                    "130 up own1",
                    "hook resolved#1; phone~ Own1 is back: down 2 min 10 s, 03:12 to 03:14",
                ),
                ("140 lost phone 1", ""),
            ],
        );
        assert!(
            story
                .why("own1")
                .contains(&"not delivered | chat not found | default: fail-over".into())
        );
    }

    #[test]
    fn a_blind_watch_neither_opens_nor_resolves_and_endings_are_named() {
        let story = check(
            settings(|_| ()),
            &[
                ("0 down mary", "phone! Mary is down: silent since 03:10:30"),
                ("10 blind mary", ""),
                ("60 paused mary", "phone~ Mary is paused: was down 1 min, 03:12 to 03:13"),
                // Resumed and down again: a new story.
                ("90 down mary", "phone! Mary is down: silent since 03:12:00"),
                ("95 gone mary", "phone~ Mary is no longer watched: was down 5 s, 03:13 to 03:13"),
                ("200 down lisa", "phone! Lisa is down: silent since 03:13:50"),
                (
                    "210 changed lisa",
                    "phone~ Lisa is well by its new settings: was down 10 s, 03:15 to 03:15",
                ),
            ],
        );
        let incidents = &story.model.incidents;
        let endings: Vec<_> =
            incidents.values().filter_map(|it| it.resolved.clone()).map(|it| it.1).collect();
        assert_eq!(endings, [Ending::Paused, Ending::NoLongerWatched, Ending::SettingsChanged]);
    }

    #[test]
    fn a_quarantined_watch_resolves_nothing_of_its_own() {
        let mut story = Story::new(settings(|_| ()));
        story.step("0 down mary");
        let unwatched = Some(Condition::Unwatched);
        for (second, trouble, why) in
            [(10, unwatched, "it panics"), (15, unwatched, "it panics again"), (20, None, "")]
        {
            let (to, cause) = (Verdict::Part(trouble), Cause::Fault(text(why)));
            let flip = Flip { to, cause, ..story.flip("mary", "down", second) };
            let writes = story.desk.flips(&[flip], HashSet::new(), at(second));
            story.model.apply(&writes);
            let open = story.desk.open_of(&"mary".parse().unwrap()).map(|it| it.condition);
            assert_eq!(open, Some(Condition::Down), "what it says itself");
        }
        let rows: Vec<_> = story.model.deliveries.iter().map(said).collect();
        assert_eq!(
            rows,
            [
                "phone! Mary is down: silent since 03:10:30",
                "phone! Mary is watched by nobody since 03:12:10",
                "phone~ Mary is watched by nobody since 03:12:10",
                "phone~ Mary is watched again: watched by nobody 10 s, 03:12 to 03:12",
            ]
        );
        assert_eq!(story.open(), 1);
        story.step("30 gone mary");
        assert_eq!(story.open(), 0);
    }

    /// Its condition is one that agents have too.
    #[test]
    fn a_part_that_was_degraded_is_well_again() {
        let mut story = Story::new(settings(|_| ()));
        let watch = WatchId::new(Kind::Myself, "telegram");
        let part = Arc::new(Subject { watch, ..Subject::clone(&subject("telegram")) });
        for (second, trouble, open) in [(10, Some(Condition::Degraded), 1), (20, None, 0)] {
            let (to, cause) = (Verdict::Part(trouble), Cause::Fault(text("no connection")));
            let subject = Arc::clone(&part);
            let flip = Flip { subject, to, cause, ..story.flip("telegram", "down", second) };
            let writes = story.desk.flips(&[flip], HashSet::new(), at(second));
            story.model.apply(&writes);
            assert_eq!(story.open(), open);
        }
    }

    #[test]
    fn a_restatement_repairs_and_a_flip_seen_is_dropped() {
        let mut story = check(
            settings(|_| ()),
            &[
                ("0 says_down mary", "phone! Mary is down: silent since 03:10:30"),
                ("10 says_down mary", ""),
                ("20 says_up mary", "phone~ Mary is back: down 20 s, 03:12 to 03:12"),
                ("30 says_up mary", ""),
                ("40 down lisa", "phone! Lisa is down: silent since 03:11:10"),
                ("50 restated_up lisa", "phone~ Lisa is back: down 10 s, 03:12 to 03:12"),
            ],
        );
        let ended = |it: &Incident| it.resolved.clone().map(|it| it.1);
        assert!(story.model.incidents.values().all(|it| ended(it) == Some(Ending::Recovered)));
        assert!(story.why("lisa").iter().any(|it| it.contains("said again how it is")));
        let decisions = story.model.decisions.len();
        let old = Flip {
            n: 1,
            from: Verdict::Agent(agent::Verdict::Up),
            ..story.flip("mary", "down", 40)
        };
        assert!(story.desk.has_seen(&old));
        assert_eq!(story.desk.flips(std::slice::from_ref(&old), HashSet::new(), at(40)), []);
        assert!(
            !story.desk.has_seen(&Flip { epoch: 2, ..old.clone() }),
            "another life of the watch"
        );
        assert!(!story.desk.has_seen(&Flip { n: 99, ..old }));
        assert_eq!(decisions, story.model.decisions.len());
    }

    #[test]
    fn resolving_by_hand_is_refused_while_the_watch_says_so() {
        let mut story = Story::new(settings(|_| ()));
        story.step("0 down mary");
        assert!(story.step("10 resolve 1 down").is_empty());
        assert_eq!(
            story.answer.clone().unwrap_err(),
            "agent/mary still says down: #1 ends when that does. Silence it or pause the watch instead"
        );
        let rows: Vec<_> = story.step("20 resolve 1").iter().map(said).collect();
        assert_eq!(rows, ["phone~ Mary: resolved by Ana, was down 20 s, 03:12 to 03:12"]);
        story.step("30 resolve 1");
        assert_eq!(story.answer, Err("Over since 03:12".into()));
    }

    #[test]
    fn severity_may_rise_while_it_is_open() {
        let mut story = Story::new(settings(with_hook));
        story.step("0 down soft");
        let hard = Arc::new(Subject { severity: Vec::new(), ..(*subject("soft")).clone() });
        let flip = Flip { subject: hard, ..story.flip("soft", "says_down", 60) };
        let writes = story.desk.flips(&[flip], HashSet::new(), at(60));
        story.model.apply(&writes);
        let rows: Vec<_> = story.model.deliveries.iter().map(said).collect();
        assert_eq!(rows, ["hook opened#1", "phone! Soft is down: silent since 03:10:30"]);
    }

    #[test]
    fn a_test_takes_the_real_path() {
        let mut story = check(
            settings(with_hook),
            &[
                ("0 test phone", "phone! Test: tower-1 reaches you over phone"),
                ("1 test hook", "hook test"),
            ],
        );
        story.step("2 test nobody");
        assert_eq!(story.answer, Err("There is no receiver nobody; known: phone, hook".into()));
    }

    /// Draws the next of a seeded sequence below `below`.
    fn draw(seed: &mut u64, below: usize) -> usize {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*seed >> 33).unwrap() % below
    }

    fn any_step(seed: &mut u64) -> String {
        let one = |seed: &mut u64, of: &[&str]| of[draw(seed, of.len())].to_owned();
        let verbs =
            ["down", "up", "up", "stalled", "degraded", "failed", "blind", "paused", "gone"];
        let says = ["changed", "says_down", "says_up"];
        let agents = ["a1", "a2", "b1", "own1", "soft", "quiet"];
        let number = 1 + draw(seed, 12);
        match draw(seed, 13) {
            0 => format!("ack {number} {}", number + 1),
            1 => format!("release {number}"),
            2 => format!("silence {}", one(seed, &["agent/a*", "agent/b1", "*"])),
            3 => format!("unsilence {}", 1 + draw(seed, 6)),
            4 | 5 => "tick".to_owned(),
            6 => format!("lost {} {number}", one(seed, &["phone", "hook", "boss"])),
            12 => format!("late {}", one(seed, &agents)),
            7 => format!("{} {}", one(seed, &says), one(seed, &agents)),
            _ => format!("{} {} {}", one(seed, &verbs), one(seed, &agents), one(seed, &agents)),
        }
    }

    /// Whatever happens: an incident is open if and only if the last verdict says so, what is stored
    /// equals what is held, one step is one message per group, and who was not told of what is open is muted.
    #[test]
    fn any_story_keeps_the_promises() {
        for first in 1..=40_u64 {
            let mut seed = first;
            let mut story = Story::new(settings(|it| {
                with_chain(it);
                it.digest_every = SignedDuration::from_mins(30);
                depend::tests::leaning("a1>b1 a2>a1,soft own1>soft")(it);
            }));
            let mut says: BTreeMap<String, Option<Condition>> = BTreeMap::new();
            let mut second = 0;
            for _ in 0..150 {
                second += [1_i64, 20, 300, 2_000][draw(&mut seed, 4)];
                let step = any_step(&mut seed);
                let rows = story.step(&format!("{second} {step}"));
                let mut words = step.split(' ');
                let verb = words.next().unwrap_or_default();
                let condition = match verb {
                    "ack" | "release" | "silence" | "unsilence" | "tick" | "lost" | "blind"
                    | "late" => None,
                    "says_down" => Some(Some(Condition::Down)),
                    other => Some(Condition::from_word(other)),
                };
                for name in words.filter(|_| condition.is_some()) {
                    says.insert(format!("agent/{name}"), condition.flatten());
                }
                for (watch, condition) in &says {
                    let open = story.desk.open_of(&watch.parse().unwrap()).map(|it| it.condition);
                    assert_eq!(open, *condition, "{watch}, seed {first}, {second} {step}");
                }
                let mut groups = BTreeMap::new();
                for row in
                    rows.iter().filter(|it| !matches!(it.body, Body::New { rings: false, .. }))
                {
                    let sent = row
                        .group
                        .map_or(0, |it| *groups.entry(it).and_modify(|it| *it += 1).or_insert(1));
                    assert!(sent < 2, "seed {first}, {second} {step}");
                }
                if verb == "tick" {
                    assert!(story.desk.deadline().is_none_or(|it| at(second) < it), "seed {first}");
                    assert_eq!(story.desk.missed(at(second)), [], "seed {first}, {second}");
                    for it in story.desk.incidents().filter(|it| it.resolved.is_none()) {
                        let muted = story.desk.muted(it.id, &Batch::new(at(second)));
                        let routed =
                            route(&story.desk.settings, &it.subject, it.condition, it.severity);
                        let told = !it.told.is_empty() || routed.to.is_empty();
                        assert!(told || muted.is_some(), "{it:?}, seed {first}, {second} {step}");
                    }
                }
            }
        }
    }

    #[test]
    fn ten_thousand_fall_at_once() {
        let mut story = Story::new(settings(with_hook));
        let all = names("w", 10_000);
        let down: Vec<Flip> = all.split(' ').map(|it| story.flip(it, "down", 0)).collect();
        let up: Vec<Flip> = all.split(' ').map(|it| story.flip(it, "up", 60)).collect();
        let opened = story.desk.flips(&down, HashSet::new(), at(0));
        assert!(story.desk.deadline().is_some());
        let nothing = story.desk.tick(at(30));
        let closed = story.desk.flips(&up, HashSet::new(), at(60));
        let rows = |writes: &[Write], name: &str| {
            let to = |it: &&Write| matches!(it, Write::Delivery(it) if &*it.receiver.0 == name);
            writes.iter().filter(to).count()
        };
        assert_eq!((rows(&opened, "phone"), rows(&opened, "hook")), (1, 10_000));
        assert_eq!((nothing.len(), rows(&closed, "phone"), story.open()), (0, 1, 0));
    }
}
