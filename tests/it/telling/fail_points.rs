//! Killed by itself at each named place on the way from a beat to a message, in the midst of a storm, and started
//! again: each receiver was told each outage once and in order. A message comes twice only where the death fell into
//! its sending.

use std::{
    os::unix::process::ExitStatusExt as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use atalaya::ports::fail_points::{Point, VARIABLE};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::{ELSEWHERE, Scene, crashes::Draws, plain, with_hook};
use crate::support::{
    client, daemon::Daemon, redis::Redis, server::Background, telegram::FakeTelegram, wait,
    webhook::Webhook,
};

/// Who says that it is in trouble, and how often it is.
const TALKING: usize = 9;
const TALKING_FALLS: usize = 2;
/// Who falls silent, once: that takes its timeout.
const SILENT: usize = 3;
const SILENT_KEYS: &str = "interval = \"1s\"\ntimeout = \"3s\"";
const TALKING_KEYS: &str = "severity = { degraded = \"critical\" }";
/// A message that came so close to a death may have been unrecorded by then.
const UNRECORDED: Duration = Duration::from_secs(2);
const OVER_WITHIN: Duration = Duration::from_secs(45);
const SIGKILL: i32 = 9;

/// An agent as it truly is, with a chat of its own, so that nothing it is told of stands in one message with another.
struct Agent {
    name: String,
    chat: i64,
    goes_silent: bool,
    /// Into trouble and out of it again.
    changes: usize,
    changes_max: usize,
}

impl Agent {
    fn new(place: usize) -> Self {
        let goes_silent = TALKING <= place;
        Self {
            name: format!("w{place}"),
            chat: 5000 + i64::try_from(place).expect("it is small"),
            goes_silent,
            changes: 0,
            changes_max: 2 * if goes_silent { 1 } else { TALKING_FALLS },
        }
    }

    fn is_in_trouble(&self) -> bool {
        self.changes % 2 == 1
    }

    fn entry(&self) -> String {
        let Self { name, chat, .. } = self;
        let keys = if self.goes_silent { SILENT_KEYS } else { TALKING_KEYS };
        format!(
            "[[receiver]]\nid = \"chat-{name}\"\ntelegram = {{ chat = {chat} }}\n[[agent]]\nid = \"{name}\"\n\
             notify = [\"chat-{name}\", \"hook\", \"bus\"]\n{keys}\n"
        )
    }
}

/// One word of a receiver's about one agent.
#[derive(Debug, Clone, PartialEq)]
struct Word {
    at: Instant,
    in_trouble: bool,
    /// What is the same in two copies of it.
    key: String,
}

/// Takes down what is published about incidents.
struct Ear {
    _rounds: Background,
    heard: Arc<Mutex<Vec<(Instant, Value)>>>,
}

impl Ear {
    async fn open(redis: &Redis) -> Self {
        let client = ::redis::Client::open(redis.url()).expect("a URL");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (rounds, kept) = (Background::new(), Arc::clone(&heard));
        rounds.spawn(async move {
            let mut bus = client.get_async_pubsub().await.expect("a connection");
            bus.subscribe("binaryrogue:incidents").await.expect("a subscription");
            let mut messages = bus.on_message();
            while let Some(message) = messages.next().await {
                let payload: String = message.get_payload().expect("text");
                let value = serde_json::from_str(&payload).expect("JSON");
                kept.lock().expect("nobody panics with it in hand").push((wait::now(), value));
            }
        });
        redis.heard(super::SOON).await;
        Self { _rounds: rounds, heard }
    }

    fn words(&self, agent: &Agent) -> Vec<Word> {
        let watch = format!("agent/{}", agent.name);
        let heard = self.heard.lock().expect("nobody panics with it in hand");
        let about = heard.iter().filter(|(_, it)| it["details"]["watch"] == *watch);
        about
            .map(|(at, it)| Word {
                at: *at,
                in_trouble: it["status"] == "open",
                key: format!("{}/{}", it["incident_id"], it["details"]["revision"]),
            })
            .collect()
    }
}

fn words_of_hook(hook: &Webhook, agent: &Agent) -> Vec<Word> {
    let watch = format!("agent/{}", agent.name);
    let about = hook.deliveries().into_iter().filter(|it| it.incident("watch") == watch);
    about
        .map(|it| Word {
            at: it.at,
            in_trouble: it.event() == "opened",
            key: it.json()["idempotency_key"].to_string(),
        })
        .collect()
}

/// A message that was sent or whose edit changed what it says.
fn words_of_chat(phone: &FakeTelegram, agent: &Agent) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for call in phone.calls().iter().filter(|it| it.chat == Some(agent.chat)) {
        let is_edit = call.method == "editmessagetext";
        if !is_edit && call.method != "sendmessage" {
            continue;
        }
        let word = Word {
            at: call.at,
            in_trouble: !plain(&call.text).starts_with('✅'),
            key: call.message_id.expect("a message").to_string(),
        };
        let said = words.iter().rev().find(|it| it.key == word.key).map(|it| it.in_trouble);
        if said != Some(word.in_trouble) {
            words.push(word);
        }
    }
    words
}

/// The story: the fleet, what it is told to, and the death.
struct Storm {
    scene: Scene,
    bus: Ear,
    agents: Vec<Agent>,
    death: Option<Instant>,
    draws: Draws,
}

impl Storm {
    async fn start(redis: &Redis, point: Point, passes: u64) -> Self {
        let (phone, hook) = (FakeTelegram::start().await, Webhook::start().await);
        let agents: Vec<Agent> = (0..TALKING + SILENT).map(Agent::new).collect();
        let mut registry = ELSEWHERE.to_owned() + "[[receiver]]\nid = \"bus\"\nredis = {}\n";
        for agent in &agents {
            phone.add_chat(agent.chat);
            registry += &agent.entry();
        }
        let setup = Daemon::setup().telegram(&phone, "");
        let setup = setup.config(&format!("[redis]\nurl = \"{}\"\n", redis.url()));
        let mut daemon = with_hook(setup, &hook, &registry).write();
        daemon.only_next_start_with(VARIABLE, &format!("{point:?}:{passes}"));
        daemon.start().await;
        let bus = Ear::open(redis).await;
        let scene = Scene { daemon, phone, hook };
        Self { scene, bus, agents, death: None, draws: Draws(2026) }
    }

    /// What each receiver was told of an agent so far.
    fn words(&self, agent: &Agent) -> [(&'static str, Vec<Word>); 3] {
        [
            ("the phone", words_of_chat(&self.scene.phone, agent)),
            ("the webhook", words_of_hook(&self.scene.hook, agent)),
            ("the bus", self.bus.words(agent)),
        ]
    }

    /// Whether every receiver knows how it stands.
    fn is_told(&self, agent: &Agent) -> bool {
        self.words(agent).iter().all(|(_, words)| {
            let last = words.last().is_some_and(|it| it.in_trouble);
            last == agent.is_in_trouble()
        })
    }

    /// Every agent changes as soon as all know of its last change, a moment sooner or later; true when all is over.
    fn change(&mut self) -> bool {
        let told: Vec<bool> = self.agents.iter().map(|it| self.is_told(it)).collect();
        // The first beats are on the disk by then: who is silent is not one that never beat.
        let all_stand = self.agents.iter().zip(&told).any(|(it, told)| 0 < it.changes && *told);
        let mut is_over = true;
        for (agent, told) in self.agents.iter_mut().zip(told) {
            let may_change = agent.changes < agent.changes_max;
            is_over &= told && !may_change;
            let waits = agent.goes_silent && !all_stand;
            if told && may_change && !waits && self.draws.below(4) == 0 {
                agent.changes += 1;
            }
        }
        is_over
    }

    /// Whoever is not silent says how it is. The process may be dead: then nobody hears it.
    async fn say(&self) {
        let speaks = |it: &&Agent| !(it.goes_silent && it.is_in_trouble());
        let beats: Vec<Value> = (self.agents.iter().filter(speaks))
            .map(|it| {
                let status = if it.is_in_trouble() { "error" } else { "ok" };
                json!({"agent": it.name, "status": status})
            })
            .collect();
        let _ = client().post(self.scene.daemon.url("/api/v1/beats")).json(&beats).send().await;
    }

    async fn rage(&mut self, point: Point) {
        let end = wait::now() + OVER_WITHIN;
        self.say().await;
        while !self.change() {
            assert!(wait::now() < end, "{}", self.story("it does not come to its end"));
            self.say().await;
            if let Some(status) = self.scene.daemon.exited() {
                assert_eq!(status.signal(), Some(SIGKILL), "{}", self.story("it ended"));
                self.death = Some(wait::now());
                self.scene.daemon.start().await;
            }
            wait::pause(Duration::from_millis(20)).await;
        }
        assert!(self.death.is_some(), "{point:?} was not passed so often");
        self.scene.delivered().await;
    }

    fn judge(&self) {
        self.scene.phone.assert_nothing_refused();
        for agent in &self.agents {
            for (receiver, words) in self.words(agent) {
                if let Err(why) = judge(agent, &words, self.death) {
                    let said = format!("{receiver} was told of {}: {why}: {words:#?}", agent.name);
                    panic!("{}", self.story(&said));
                }
            }
        }
    }

    fn story(&self, what: &str) -> String {
        let Scene { daemon, phone, .. } = &self.scene;
        format!("{what}; dead at {:?}\n{}\n{}", self.death, phone.story(), daemon.logs())
    }
}

/// Trouble and its end in turns, each once: none lost, none invented, in order. Two copies only of what was told when
/// the process died.
fn judge(agent: &Agent, words: &[Word], death: Option<Instant>) -> Result<(), String> {
    let mut once: Vec<&Word> = Vec::new();
    let mut doubles = 0;
    for word in words {
        let Some(last) = once.last().filter(|it| it.in_trouble == word.in_trouble) else {
            once.push(word);
            continue;
        };
        let apart = |death: Instant| death.max(last.at) - death.min(last.at);
        if death.is_none_or(|it| UNRECORDED < apart(it)) {
            return Err("twice, and it was not being sent when the process died".to_owned());
        }
        doubles += 1;
    }
    if 1 < doubles {
        return Err("one death doubles one message".to_owned());
    }
    let turns: Vec<bool> = once.iter().map(|it| it.in_trouble).collect();
    let truth: Vec<bool> = (0..agent.changes).map(|it| it % 2 == 0).collect();
    if turns != truth {
        return Err(format!("it was {truth:?}"));
    }
    Ok(())
}

async fn killed_at(point: Point, passes: u64) {
    let redis = Redis::start().await;
    let mut storm = Storm::start(&redis, point, passes).await;
    storm.rage(point).await;
    storm.judge();
}

/// One test per point, with the pass at which it kills: in the midst of the storm.
macro_rules! killed {
    ($($name:ident: $point:ident, $passes:literal;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                killed_at(Point::$point, $passes).await;
            }
        )*

        /// A point without a line here does not compile.
        const _: fn(Point) = |it| match it {
            $(Point::$point => {})*
        };
    };
}

killed! {
    killed_when_a_beat_is_heard: BeatHeard, 300;
    killed_when_a_deadline_is_found: DeadlineFound, 2;
    killed_when_a_watch_is_woken: WatchWoken, 120;
    killed_when_a_verdict_has_changed: VerdictChanged, 40;
    killed_when_flips_arrive: FlipsArrived, 55;
    killed_when_the_desk_has_decided: DeskDecided, 22;
    killed_when_a_commit_is_sent: CommitSent, 25;
    killed_when_the_recorder_has_taken_commits: CommitTaken, 45;
    killed_in_an_open_transaction: TransactionOpen, 46;
    killed_right_behind_a_transaction: TransactionDone, 47;
    killed_when_the_recorder_has_its_answer: CommitAnswered, 48;
    killed_when_the_manager_has_its_answer: CommitStands, 24;
    killed_when_the_outbox_is_told: OutboxTold, 23;
    killed_when_flips_are_acknowledged: FlipsAcknowledged, 26;
    killed_when_the_outbox_has_taken_rows: RowsTaken, 14;
    killed_when_a_row_is_dispatched: RowDispatched, 40;
    killed_when_an_attempt_begins: AttemptBegun, 45;
    killed_when_a_receiver_has_answered: AttemptAnswered, 50;
    killed_when_the_outbox_knows_of_an_attempt: AttemptJudged, 55;
    killed_when_an_outcome_stands: OutcomeStands, 30;
}

/// What a receiver was told of an agent that fell and returned, second by second of a life that ended at the third.
fn check(told: &[(u64, bool)], expected: Result<(), &str>) {
    let agent = Agent { changes: 2, ..Agent::new(0) };
    let began = wait::now();
    let words = told.iter().map(|(second, in_trouble)| Word {
        at: began + Duration::from_secs(*second),
        in_trouble: *in_trouble,
        key: String::new(),
    });
    let said = judge(&agent, &words.collect::<Vec<_>>(), Some(began + Duration::from_secs(3)));
    assert_eq!(said, expected.map_err(str::to_owned));
}

#[test]
fn the_judge_of_the_deaths_objects() {
    let truth = "it was [true, false]";
    check(&[(2, true), (5, false)], Ok(()));
    check(&[(2, true), (4, true), (5, false)], Ok(()));
    check(&[(2, true)], Err(truth));
    check(&[(5, false)], Err(truth));
    check(&[(2, false), (5, true)], Err(truth));
    check(&[(2, true), (5, false), (6, true)], Err(truth));
    check(
        &[(0, true), (4, true), (5, false)],
        Err("twice, and it was not being sent when the process died"),
    );
    check(&[(2, true), (3, true), (4, true), (5, false)], Err("one death doubles one message"));
}
