//! A house in memory: the real tree, a store in memory, a phone and a hook that remember what reached
//! them, agents that beat when told to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use jiff::{SignedDuration, tz::TimeZone};
use ractor::ActorRef;
use tokio::sync::Notify;

use super::world::{Bus, Calendar, Face, Paper, Pulsation, Sink, Watchdog};
use crate::{
    actors::{
        context::{Shared, Timing},
        edges::Edge,
        root::{self, Parts},
        tower::{Seen, Tower},
    },
    adapters::store::MemoryStore,
    app::house::{Ground, prepare, raise, take_down},
    domain::{
        alert::route::{Receiver, Route},
        desk, detector,
        id::{Name, Origin, ReceiverId, SourceId, WatchId},
        incident::Severity,
        registry::{Pattern, Wanted, Watched},
        restart::Intensity,
        text::Text,
        watch::{
            self, Subject,
            agent::{Beats, Spec},
            beat::Beat,
        },
        write::Facts,
    },
    ports::{
        clock::Clock,
        notifier::Notifier,
        registry::{Read, ReadyReceiver, Registry},
        service_manager::ServiceManager,
        sign::Sign,
        source::Source,
        store::{SharedStore, Store},
    },
};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct House {
    pub clock: Arc<dyn Clock>,
    pub store: Arc<MemoryStore>,
    pub phone: Arc<Sink>,
    pub hook: Arc<Sink>,
    pub bus: Arc<Bus>,
    pub paper: Arc<Paper>,
    pub context: Shared,
    pub tower: Tower,
    pub watchdog: Arc<Watchdog>,
    pub sign: Arc<Pulsation>,
    root: Option<ActorRef<root::Message>>,
    pub gave_up: Arc<Notify>,
    spec: Arc<Spec>,
    intensity: Intensity,
}

pub(super) const BUS: SourceId = SourceId(1);
pub(super) const HTTP: SourceId = SourceId(0);

/// 30 s beats, down after 90 s: the shipped defaults.
pub(super) fn spec() -> Spec {
    let seconds = SignedDuration::from_secs;
    Spec {
        interval: seconds(30),
        timeout: seconds(90),
        first_beat_within: seconds(120),
        stall_after: None,
        loop_after: None,
        lease_max: seconds(1800),
        leave_max: seconds(600),
        needs_input: None,
        beats: Beats::Steady,
        detector: detector::Kind::Fixed,
        enabled: Arc::from([HTTP, BUS]),
    }
}

pub(super) fn subject(name: &str) -> Subject {
    Subject::new(
        WatchId::agent(&name.parse().expect("a good name")),
        Text::clean(name, 40),
        Origin::File { path: Arc::from("registry.toml"), line: 7 },
    )
}

fn settings() -> desk::Settings {
    let receiver = |id: &str, human| Receiver {
        id: ReceiverId::new(id),
        human,
        origin: Origin::Default("test"),
    };
    desk::Settings {
        receivers: vec![receiver("phone", true), receiver("hook", false)],
        routes: vec![Route {
            severity: vec![Severity::Critical],
            matching: None,
            to: vec![ReceiverId::new("phone"), ReceiverId::new("hook")],
            then: Vec::new(),
            origin: Origin::File { path: Arc::from("registry.toml"), line: 42 },
        }],
        ..desk::Settings::new(Text::clean("tower-1", 40), TimeZone::UTC)
    }
}

impl House {
    /// A house that watches these agents, judging already.
    pub(super) async fn with(names: &[&str], spec: Spec) -> Self {
        quiet();
        // The chaos of a test is denser than any outage: Root is not to give up over it.
        let patient = Intensity { failures: 10_000, ..Intensity::default() };
        Self::borne(names, spec, patient).await
    }

    /// A house whose Root bears so many failures.
    pub(super) async fn borne(names: &[&str], spec: Spec, intensity: Intensity) -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock: Arc<dyn Clock> = Arc::new(Calendar::new());
        Self::on(store, names, spec, Arc::default(), Arc::default(), intensity, clock).await
    }

    pub(super) async fn many(count: usize) -> Self {
        let names: Vec<String> = (0..count).map(|it| format!("a{it}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Self::with(&names, spec()).await
    }

    async fn on(
        store: Arc<MemoryStore>,
        names: &[&str],
        spec: Spec,
        phone: Arc<Sink>,
        hook: Arc<Sink>,
        intensity: Intensity,
        clock: Arc<dyn Clock>,
    ) -> Self {
        for sink in [&phone, &hook] {
            *lock(&sink.clock) = Some(Arc::clone(&clock));
        }
        let spec = Arc::new(spec);
        let read = read_of(names, &spec, &phone, &hook);
        let bus =
            |name| Arc::new(Bus { name, works: AtomicBool::new(true), clock: Arc::clone(&clock) });
        let (http, redis) = (bus("http"), bus("redis"));
        let paper = Arc::new(Paper {
            read: Mutex::new(Ok(read.clone())),
            version: Mutex::default(),
            changed: Notify::new(),
        });
        let shared: SharedStore = Arc::clone(&store) as SharedStore;
        let ground = Ground {
            clock: Arc::clone(&clock),
            store: shared,
            read,
            sources: vec!["http".to_owned(), "redis".to_owned()],
            timing: Timing::default(),
            watchdog: None,
            sends: true,
        };
        let context = prepare(ground).await.expect("the store in memory opens");
        let gave_up = Arc::new(Notify::new());
        let watchdog = Arc::new(Watchdog::default());
        let sign = Arc::new(Pulsation::default());
        let parts = Parts {
            context: Arc::clone(&context),
            sources: Arc::from([
                Arc::clone(&http) as Arc<dyn Source>,
                Arc::clone(&redis) as Arc<dyn Source>,
            ]),
            edges: Arc::from([Arc::new(Face) as Arc<dyn Edge>]),
            registry: Arc::clone(&paper) as Arc<dyn Registry>,
            manager: Arc::clone(&watchdog) as Arc<dyn ServiceManager>,
            signs: Arc::from([Arc::clone(&sign) as Arc<dyn Sign>]),
            intensity,
            gave_up: Arc::clone(&gave_up),
        };
        let root = raise(parts).await.expect("root starts");
        let tower = Tower::new(Arc::clone(&context));
        let house = Self {
            clock,
            store,
            phone,
            hook,
            bus: redis,
            paper,
            context,
            tower,
            watchdog,
            sign,
            root: Some(root),
            gave_up,
            spec,
            intensity,
        };
        house.pass(0.05).await;
        house
    }

    /// As after SIGKILL: nothing is said goodbye to; a new house on the same store, after `away`.
    pub(super) async fn crash_and_return(self, away: Duration) -> Self {
        let wanted = self.context.wanted();
        let names: Vec<&str> = wanted.watches.iter().map(|it| &*it.subject.watch.name).collect();
        self.crash_and_find(away, &names).await
    }

    /// The same, and the registry was edited meanwhile: these are declared now.
    pub(super) async fn crash_and_find(mut self, away: Duration, names: &[&str]) -> Self {
        if let Some(root) = self.root.take() {
            root.kill();
            let _ = root.wait(None).await;
        }
        tokio::time::sleep(away).await;
        let store = Arc::new(self.store.restarted());
        let spec = Spec::clone(&self.spec);
        let (phone, hook) = (Arc::clone(&self.phone), Arc::clone(&self.hook));
        Self::on(store, names, spec, phone, hook, self.intensity, self.clock).await
    }

    pub(super) async fn stop(mut self) {
        if let Some(root) = self.root.take() {
            take_down(&self.context, root).await;
        }
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    pub(super) fn beat(&self, name: &str) {
        self.beat_over(name, BUS);
    }

    pub(super) fn beat_over(&self, name: &str, source: SourceId) {
        self.say(name, Beat::plain(self.clock.now(), source));
    }

    pub(super) fn say(&self, name: &str, beat: Beat) {
        let name: Name = name.parse().expect("a good name");
        self.tower.ear().beat(&name, beat);
    }

    /// Beats of all these every 30 s, for so long.
    pub(super) async fn beats_for(&self, names: &[String], seconds: u64) {
        let mut passed = 0;
        while passed < seconds {
            for name in names {
                self.beat(name);
            }
            let step = 30.min(seconds - passed);
            tokio::time::sleep(Duration::from_secs(step)).await;
            passed += step;
        }
    }

    pub(super) fn verdict(&self, name: &str) -> &'static str {
        let Seen::Agent(seen) = self.tower.watch(name).expect("it is watched");
        seen.state.said.word()
    }

    pub(super) fn registry(&self, names: &[&str], spec: &Spec) -> Read {
        read_of(names, &Arc::new(spec.clone()), &self.phone, &self.hook)
    }

    /// Open incidents by watch and condition, from the store.
    pub(super) async fn open(&self) -> Vec<String> {
        let filter = crate::ports::store::IncidentFilter { limit: 100_000, ..Default::default() };
        let incidents = self.tower.store().incidents(filter).await.expect("the store reads");
        let mut open: Vec<String> =
            incidents.iter().map(|it| format!("{} {}", it.watch, it.condition)).collect();
        open.sort();
        open
    }

    /// Facts as a restart would find them, of watches that were removed or of those that were not.
    pub(super) async fn kept(&self, removed: bool) -> Vec<Facts> {
        let opened = self.store.open().await.expect("the store reads");
        opened.facts.into_iter().filter(|it| it.removed_at.is_some() == removed).collect()
    }

    /// Waits (in virtual time) until `done`, for `seconds` at most.
    pub(super) async fn until(&self, seconds: u64, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..seconds * 20 {
            if done(self) {
                return;
            }
            self.pass(0.05).await;
        }
        panic!("{what} did not come about within {seconds} s: {:?}", self.phone.texts());
    }

    /// Invariant 8: an open incident exists exactly where a watch's last verdict says so.
    pub(super) async fn assert_book_equals_verdicts(&self) {
        let mut wanted: Vec<String> = self
            .tower
            .watches()
            .iter()
            .flat_map(|it| {
                let Seen::Agent(it) = it;
                let own = it.state.said.condition();
                let aside =
                    it.quarantined_since.map(|_| crate::domain::watch::Condition::Unwatched);
                own.into_iter()
                    .chain(aside)
                    .map(|condition| format!("{} {condition}", it.subject.watch))
                    .collect::<Vec<_>>()
            })
            .collect();
        for part in self.tower.parts() {
            wanted.extend(part.trouble.map(|condition| format!("{} {condition}", part.watch)));
        }
        wanted.sort();
        assert_eq!(self.open().await, wanted);
    }
}

/// A registry of these agents, all alike.
pub(super) fn wanted(names: &[&str], spec: &Arc<Spec>) -> Wanted {
    let watched = |name: &&str| Watched {
        subject: Arc::new(subject(name)),
        spec: watch::Spec::Agent(Arc::clone(spec)),
    };
    Wanted {
        watches: names.iter().map(watched).collect(),
        patterns: Vec::new(),
        auto_register: Some(Pattern {
            id: "*".into(),
            group: None,
            notify: Vec::new(),
            severity: Vec::new(),
            spec: Arc::clone(spec),
            origin: Origin::File { path: Arc::from("registry.toml"), line: 2 },
        }),
        undeclared_max: 1_000,
        desk: Arc::new(settings()),
    }
}

fn read_of(names: &[&str], spec: &Arc<Spec>, phone: &Arc<Sink>, hook: &Arc<Sink>) -> Read {
    let ready = |id: &str, human, sink: &Arc<Sink>| ReadyReceiver {
        id: ReceiverId::new(id),
        human,
        at_once: if human { 1 } else { 8 },
        attempt_max: Duration::from_secs(25),
        fingerprint: id.to_owned(),
        chat: None,
        notifier: Arc::clone(sink) as Arc<dyn Notifier>,
        rehearses: false,
    };
    Read {
        wanted: Arc::new(wanted(names, spec)),
        receivers: vec![ready("phone", true, phone), ready("hook", false, hook)],
        text: names.join("\n"),
        agent_tokens: Vec::new(),
    }
}

/// Counts per text.
pub(super) fn tally(texts: &[String]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for text in texts {
        *counts.entry(text.clone()).or_default() += 1;
    }
    counts
}

/// Panics that a test ordered print nothing: thousands of backtraces would be most of its time.
fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload_as_str().is_some_and(|it| it.starts_with("chaos:")) {
                usual(info);
            }
        }));
    });
}
