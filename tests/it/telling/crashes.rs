//! SIGKILL under a storm, again and again: what a watch says is open, nothing else is, and whoever was owed a
//! message got it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Scene, agents, plain};
use crate::support::{client, telegram::Message, wait};

const ROUNDS: usize = 5;
/// A message may come twice only if the process died so soon after it was sent.
const UNRECORDED: Duration = Duration::from_secs(2);
const SETTLED: Duration = Duration::from_mins(1);

/// Numbers that look drawn and are the same in every run [Steele, Lea, Flood 2014: SplitMix64].
pub(super) struct Draws(pub(super) u64);

impl Draws {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (it ^ (it >> 31)) % limit
    }
}

/// The story: agents that fall and return, and the moments at which the process died.
struct Storm {
    scene: Scene,
    names: Vec<String>,
    /// Who was last said to be in trouble.
    fallen: BTreeSet<usize>,
    /// How often each has changed, and may: a sixth change within an hour is flapping.
    changed: BTreeMap<usize, usize>,
    changes_max: usize,
    kills: Vec<Instant>,
    draws: Draws,
}

impl Storm {
    /// Some fall, some return. The process may be dead, so whether it heard is not known.
    async fn stir(&mut self) {
        for _ in 0..12 {
            let one =
                usize::try_from(self.draws.below(self.names.len() as u64)).expect("it is small");
            let changes = self.changed.entry(one).or_default();
            if *changes == self.changes_max {
                continue;
            }
            *changes += 1;
            if !self.fallen.remove(&one) {
                self.fallen.insert(one);
            }
        }
        let _ = self.say().await;
    }

    /// Every agent says how it is; whether that was heard.
    async fn say(&self) -> bool {
        let beat = |(place, name): (usize, &String)| {
            let status = if self.fallen.contains(&place) { "error" } else { "ok" };
            json!({"agent": name, "status": status})
        };
        let beats: Vec<_> = self.names.iter().enumerate().map(beat).collect();
        let request = client().post(self.scene.daemon.url("/api/v1/beats")).json(&beats);
        request.send().await.is_ok_and(|it| it.status() == 200)
    }

    /// One life: changes pour in and the process dies somewhere between them.
    async fn round(&mut self) {
        let life = Duration::from_millis(150 + self.draws.below(900));
        let end = wait::now() + life;
        while wait::now() < end {
            self.stir().await;
            wait::pause(Duration::from_millis(self.draws.below(60))).await;
        }
        self.scene.daemon.kill9();
        self.kills.push(wait::now());
        self.scene.daemon.start().await;
        self.agrees().await;
    }

    /// Open is what a watch says, and nothing else.
    async fn agrees(&self) -> BTreeSet<String> {
        let what = "what is open is what the watches say";
        self.scene
            .daemon
            .wait_until(what, SETTLED, async || {
                let agents = self.scene.daemon.cli_json(&["agents"]).await;
                let agents = agents.as_array().expect("a list").iter();
                let says: BTreeSet<String> = agents
                    .filter(|it| it["verdict"] == "degraded")
                    .map(|it| format!("agent/{}", it["id"].as_str().unwrap_or_default()))
                    .collect();
                let open = self.scene.daemon.cli_json(&["incidents"]).await;
                let open = open.as_array().expect("a list").iter();
                let open: BTreeSet<String> = open
                    .filter_map(|it| it["watch"].as_str().map(str::to_owned))
                    .filter(|it| it.starts_with("agent/"))
                    .collect();
                (says == open).then_some(says)
            })
            .await
    }

    /// Every agent is heard, and all that follows from it is told.
    async fn settles(&self) {
        assert!(self.say().await, "a living daemon hears; its logs:\n{}", self.scene.daemon.logs());
        let expected: BTreeSet<String> =
            self.fallen.iter().map(|it| format!("agent/{}", self.names[*it])).collect();
        self.scene
            .daemon
            .wait_until("everyone's word is known", SETTLED, async || {
                (self.agrees().await == expected).then_some(())
            })
            .await;
        self.scene.delivered().await;
        self.judge_webhook(&expected);
        self.scene.phone.assert_nothing_refused();
    }

    /// Per incident: no gap, opened and resolved in turns, the last one true; doubles only under one key.
    fn judge_webhook(&self, open: &BTreeSet<String>) {
        let mut told: BTreeMap<u64, BTreeMap<u64, (String, String, String)>> = BTreeMap::new();
        for delivery in self.scene.hook.deliveries() {
            let number = |field| delivery.incident(field).parse::<u64>().expect("a number");
            let (id, revision) = (number("id"), number("revision"));
            let key = delivery.json()["idempotency_key"].to_string();
            let row = (delivery.event(), delivery.incident("watch"), delivery.body.clone());
            let kept = told.entry(id).or_default().entry(revision).or_insert_with(|| row.clone());
            assert_eq!(*kept, row, "revision {revision} of #{id} under {key} is not one thing");
        }
        let mut said = BTreeSet::new();
        for (id, revisions) in &told {
            let numbers: Vec<u64> = revisions.keys().copied().collect();
            let whole: Vec<u64> = (1..=numbers.len() as u64).collect();
            assert_eq!(numbers, whole, "#{id}: something was lost");
            let events: Vec<&str> = revisions.values().map(|it| it.0.as_str()).collect();
            for (place, event) in events.iter().enumerate() {
                let turn = if place % 2 == 0 { "opened" } else { "resolved" };
                assert_eq!(*event, turn, "#{id}: {events:?}");
            }
            let (event, watch, _) = revisions.values().last().expect("there is one");
            if event == "opened" {
                said.insert(watch.clone());
            }
        }
        assert_eq!(said, *open, "what the webhook knows is the truth");
    }

    /// The messages that nothing replied to tell how it stands. One may be stale only if it was sent right before a
    /// death: then its number was never known, and it was sent again.
    fn judge_phone(&self, open: usize) {
        let messages = self.scene.phone.messages();
        let replied: BTreeSet<i64> = messages.iter().filter_map(|it| it.reply_to).collect();
        let leaves = messages.iter().filter(|it| !replied.contains(&it.id));
        let (lost, told): (Vec<_>, Vec<_>) = leaves.partition(|it| self.may_be_lost(it));
        let open_in = |all: &[&Message]| all.iter().map(|it| still_open(&it.text)).sum::<usize>();
        let (known, unknown) = (open_in(&told), open_in(&lost));
        assert!(
            lost.len() <= 2 * self.kills.len(),
            "too many doubles: {}",
            self.scene.phone.story()
        );
        let said = known..=known + unknown;
        assert!(
            said.contains(&open),
            "{open} are open, not {said:?}: {}",
            self.scene.phone.story()
        );
        self.scene.phone.assert_nothing_refused();
    }

    fn may_be_lost(&self, message: &Message) -> bool {
        self.kills.iter().any(|it| message.at <= *it && *it - message.at < UNRECORDED)
    }
}

/// How many open troubles a message tells of: the number before `agents`, or one.
fn still_open(text: &str) -> usize {
    let headline = plain(text.lines().next().unwrap_or_default());
    if headline.starts_with("✅") {
        return 0;
    }
    let words = headline.trim_start_matches("🔴 ");
    words.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(1)
}

/// So many agents, none of which changes more often than this.
async fn storm(count: usize, changes_max: usize) -> Storm {
    let names: Vec<String> = (1..=count).map(|it| format!("w{it}")).collect();
    let keys = "severity = { degraded = \"critical\" }";
    let scene = Scene::start(&agents(names.iter().map(String::as_str), keys)).await;
    let (fallen, changed, kills) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    Storm { scene, names, fallen, changed, changes_max, kills, draws: Draws(2026) }
}

/// One change of each is kept for the end, so that nobody flaps and people hear of every change.
#[tokio::test(flavor = "multi_thread")]
async fn killed_under_a_storm_again_and_again_it_loses_nothing() {
    let mut storm = storm(150, 4).await;
    for _ in 0..ROUNDS {
        storm.round().await;
        storm.settles().await;
        storm.judge_phone(storm.fallen.len());
    }
    storm.fallen.clear();
    storm.settles().await;
    storm.judge_phone(0);
}

/// Nearly all of them flap, of which people are spared the single changes; programs hear each.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_midst_of_flapping_it_loses_nothing_that_programs_hear() {
    let mut storm = storm(60, usize::MAX).await;
    for _ in 0..ROUNDS {
        storm.round().await;
        storm.settles().await;
    }
    storm.fallen.clear();
    storm.settles().await;
    let flapping = |it: &&Message| it.text.contains("keeps falling");
    assert_ne!(storm.scene.phone.messages().iter().filter(flapping).count(), 0);
}

#[cfg(not(feature = "fail-points"))]
#[test]
fn the_fail_points_are_skipped() {
    let why = "the binary has none; run `cargo nextest run --features fail-points`";
    crate::support::skip("killed at each of the fail points", why);
}
