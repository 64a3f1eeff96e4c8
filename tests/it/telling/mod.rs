//! Telling: from an incident to what people and programs were told, as the far ends themselves kept it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    daemon::{Daemon, Setup},
    telegram::{FakeTelegram, Message},
    wait,
    webhook::Webhook,
};

mod buttons;
mod crashes;
#[cfg(feature = "fail-points")]
mod fail_points;
mod messages;
mod outages;
mod receivers;
mod rehearsal;
mod storm;

/// How long a story waits for what must come: other builds may hold both cores.
const SOON: Duration = Duration::from_secs(30);
/// How long "nothing more comes" is watched for.
const QUIET: Duration = Duration::from_millis(1500);
const SECRET: &str = "between us";

/// Two far ends and the daemon between.
struct Scene {
    daemon: Daemon,
    phone: FakeTelegram,
    hook: Webhook,
}

impl Scene {
    /// Watches what `registry` names; `hook` is a receiver of it.
    async fn start(registry: &str) -> Self {
        let (phone, hook) = (FakeTelegram::start().await, Webhook::start().await);
        let setup = Daemon::setup().telegram(&phone, "");
        let daemon = with_hook(setup, &hook, registry).start().await;
        Self { daemon, phone, hook }
    }

    async fn fail(&self, agent: &str) {
        self.daemon.ping(&format!("{agent}/fail")).await;
    }

    async fn back(&self, agent: &str) {
        self.daemon.ping(agent).await;
    }

    /// Waits for a message whose text holds all of `words`.
    async fn shows(&self, words: &[&str]) -> Message {
        let what = format!("a message that says {words:?}");
        let says = |it: &Message| words.iter().all(|word| plain(&it.text).contains(word));
        let found =
            wait::within(SOON, async || self.phone.messages().into_iter().find(&says)).await;
        found.unwrap_or_else(|| panic!("{what}; {}\n{}", self.phone.story(), self.daemon.logs()))
    }

    /// Waits until nobody is owed anything.
    async fn delivered(&self) {
        delivered(&self.daemon).await;
    }

    /// The incidents of one agent, newest first.
    async fn incidents_of(&self, agent: &str) -> Vec<Value> {
        let watch = format!("agent/{agent}");
        self.daemon.incidents().await.into_iter().filter(|it| it["watch"] == watch).collect()
    }

    /// Waits until the newest incident of an agent has this status.
    async fn status(&self, agent: &str, status: &str) -> Value {
        let what = format!("{agent} has an incident that is {status}");
        self.daemon
            .wait_until(&what, SOON, async || {
                let newest = self.incidents_of(agent).await.into_iter().next()?;
                (newest["status"] == status).then_some(newest)
            })
            .await
    }
}

/// The registry with a receiver `hook` in it.
fn with_hook(setup: Setup, hook: &Webhook, registry: &str) -> Setup {
    let receiver = format!(
        "\n[[receiver]]\nid = \"hook\"\nwebhook = {{ url = \"{}\", secret = \"{SECRET}\" }}\n",
        hook.url()
    );
    setup.registry(&format!("{registry}{receiver}"))
}

/// What is not about agents goes to a file: on a machine whose cores are taken, a source may be deaf for a moment, and
/// no story here is about that.
const ELSEWHERE: &str = "[[route]]\nto = [\"elsewhere\"]\n[[receiver]]\nid = \"elsewhere\"\n\
                         log = { file = \"elsewhere.jsonl\" }\n";

/// A route by which both hear everything critical of agents, and these agents with these keys.
fn agents<'a>(names: impl IntoIterator<Item = &'a str>, keys: &str) -> String {
    let route =
        format!("[[route]]\nmatch = \"agent/*\"\nto = [\"telegram\", \"hook\"]\n{ELSEWHERE}");
    names.into_iter().fold(route, |text, name| {
        format!("{text}\n[[agent]]\nid = \"{name}\"\nname = \"{}\"\n{keys}\n", title(name))
    })
}

/// As people call it: `Mary`.
fn title(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}

/// A text without its tags, and without the marks that isolate what came from outside.
fn plain(text: &str) -> String {
    let text = text.replace(['\u{2068}', '\u{2069}'], "");
    ["<b>", "</b>", "<i>", "</i>"].iter().fold(text, |text, tag| text.replace(tag, ""))
}

/// One beat of each in one request, with the same fields.
async fn beat_all(daemon: &Daemon, names: &[String], fields: &Value) {
    let beat = |name: &String| {
        let mut beat = fields.clone();
        beat["agent"] = json!(name);
        beat
    };
    let beats: Vec<Value> = names.iter().map(beat).collect();
    let answer = daemon.post("/api/v1/beats", &Value::Array(beats)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Lets the agents beat as long as the story lasts.
async fn while_beating<T>(
    daemon: &Daemon,
    names: &[String],
    fields: &Value,
    story: impl Future<Output = T>,
) -> T {
    let beating = async {
        loop {
            beat_all(daemon, names, fields).await;
            wait::pause(Duration::from_millis(250)).await;
        }
    };
    tokio::select! {
        told = story => told,
        () = beating => unreachable!("they beat for ever"),
    }
}

async fn delivered(daemon: &Daemon) {
    daemon
        .wait_until("nobody is owed anything", SOON, async || {
            let status = daemon.cli_json(&["status"]).await;
            let parts = status["parts"].as_array()?;
            let owed: u64 = parts.iter().filter_map(|it| it["owed"].as_u64()).sum();
            (owed == 0).then_some(())
        })
        .await;
}
