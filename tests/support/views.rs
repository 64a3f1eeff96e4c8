//! Reading what the API shows: by polling it fast, over HTTP, where a process per look would be too slow.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::{daemon::Daemon, wait};

const SOON: Duration = Duration::from_secs(20);

/// The time in this field; fails the test, with the whole, when it holds none.
#[track_caller]
pub(crate) fn time(view: &Value, field: &str) -> Timestamp {
    let text = view[field].as_str().unwrap_or_else(|| panic!("no {field} in {view}"));
    text.parse().unwrap_or_else(|why| panic!("{field}: {why} in {view}"))
}

/// Entries of a registry, one for each agent, with nothing but its id.
pub(crate) fn entries(agents: &[&str]) -> String {
    agents.iter().fold(String::new(), |text, id| text + "[[agent]]\nid = \"" + id + "\"\n")
}

/// How much later `later` was than `earlier`; zero when it was not.
pub(crate) fn later_by(later: Instant, earlier: Timestamp) -> Duration {
    Duration::try_from(wait::wall(later).duration_since(earlier)).unwrap_or_default()
}

impl Daemon {
    /// One agent of `GET /api/v1/agents`.
    pub(crate) async fn seen(&self, agent: &str) -> Option<Value> {
        self.items("/api/v1/agents").await.into_iter().find(|it| it["id"] == agent)
    }

    /// Waits until the agent is shown as `wanted` wants it: what it said is judged a moment after it was taken.
    pub(crate) async fn shows(
        &self,
        agent: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.wait_until(&format!("{agent} shows {what}"), SOON, async || {
            self.seen(agent).await.filter(&wanted)
        })
        .await
    }

    /// All incidents that ever were, the newest first.
    pub(crate) async fn all_incidents(&self) -> Vec<Value> {
        self.items("/api/v1/incidents?all=true").await
    }

    /// The incidents of one watch, the newest first.
    pub(crate) async fn incidents_of(&self, watch: &str) -> Vec<Value> {
        self.all_incidents().await.into_iter().filter(|it| it["watch"] == watch).collect()
    }

    /// Waits for the first incident of a watch with this status, and says when it was first seen.
    pub(crate) async fn incident(
        &self,
        watch: &str,
        status: &str,
        deadline: Duration,
    ) -> (Value, Instant) {
        self.wait_until(&format!("an incident of {watch} is {status}"), deadline, async || {
            let found = self.incidents_of(watch).await;
            let found = found.into_iter().find(|it| it["status"] == status)?;
            Some((found, wait::now()))
        })
        .await
    }

    /// Waits until all of these agents have this verdict.
    pub(crate) async fn all_are(&self, verdict: &str, agents: &[&str], deadline: Duration) {
        self.wait_until(&format!("{agents:?} are {verdict}"), deadline, async || {
            let seen = self.items("/api/v1/agents").await;
            let is = |agent: &&str| {
                seen.iter().any(|it| it["id"] == **agent && it["verdict"] == verdict)
            };
            agents.iter().all(is).then_some(())
        })
        .await;
    }

    async fn items(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path).await.json();
        answer["items"].as_array().unwrap_or_else(|| panic!("no items: {answer}")).clone()
    }
}
