//! Heartbeat map: one JSON file with the status of all agents, as the system of that name writes it
//! (docs/reference/formats.md, "Heartbeat map"). The doc comments are its published JSON Schema.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map as Object, Value};

/// Begins the name of the channel on which an agent of that system beats.
const CHANNEL_PREFIX: &str = "agents:heartbeat:";

/// The status of all agents at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "Heartbeat map")]
pub struct HeartbeatMap {
    /// When this was written, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub timestamp: Stamp,
    /// By id.
    pub agents: BTreeMap<String, Agent>,
    /// One for each agent that is down now.
    pub alerts: Vec<Alert>,
    pub summary: Summary,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Agent {
    pub id: String,
    /// Name for people.
    pub name: String,
    pub status: Status,
    /// When the last beat arrived, UTC; null: never heard.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_heartbeat: Option<Stamp>,
    /// Whole seconds since then.
    pub seconds_since_heartbeat: Option<u64>,
    /// Where that system's agents beat on Redis, whatever way this one was heard.
    pub channel: String,
    /// What it belongs to, where it belongs to something. That system does not know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The newest that it sent.
    pub metadata: Object<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It beats, whatever else is wrong with it.
    Online,
    /// It is silent for too long, or said that it stops.
    Offline,
    /// Nobody can tell: never heard yet, paused, or nothing can be heard.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Alert {
    pub agent_id: String,
    pub agent_name: String,
    /// Since its last beat; of one that was never heard, since it counts as down.
    pub seconds_offline: u64,
    /// Since when it counts as down, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub alert_time: Stamp,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Summary {
    pub total_agents: usize,
    pub online_agents: usize,
    pub offline_agents: usize,
    pub unknown_agents: usize,
}

/// A moment, written to the millisecond: `2025-11-08T09:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(pub Timestamp);

impl Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0))
    }
}

/// What is known of one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub id: String,
    pub name: String,
    pub status: Status,
    pub last: Option<Timestamp>,
    /// Since when it counts as down, if it does.
    pub down_since: Option<Timestamp>,
    pub group: Option<String>,
    pub metadata: Object<String, Value>,
}

impl HeartbeatMap {
    pub fn of(known: impl IntoIterator<Item = Known>, now: Timestamp) -> Self {
        let (mut agents, mut alerts) = (BTreeMap::new(), Vec::new());
        let mut summary = Summary::default();
        for it in known {
            summary.total_agents += 1;
            match it.status {
                Status::Online => summary.online_agents += 1,
                Status::Offline => summary.offline_agents += 1,
                Status::Unknown => summary.unknown_agents += 1,
            }
            alerts.extend(it.down_since.map(|since| alert(&it, since, now)));
            agents.insert(it.id.clone(), agent(it, now));
        }
        alerts.sort_by(|one: &Alert, other| one.agent_id.cmp(&other.agent_id));
        Self { timestamp: Stamp(now), agents, alerts, summary }
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never, for what this type can hold.
    pub fn text(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

fn agent(it: Known, now: Timestamp) -> Agent {
    Agent {
        channel: format!("{CHANNEL_PREFIX}{}", it.id),
        id: it.id,
        name: it.name,
        group: it.group,
        status: it.status,
        last_heartbeat: it.last.map(Stamp),
        seconds_since_heartbeat: it.last.map(|last| seconds(last, now)),
        metadata: it.metadata,
    }
}

fn alert(it: &Known, since: Timestamp, now: Timestamp) -> Alert {
    let seconds_offline = seconds(it.last.unwrap_or(since), now);
    Alert {
        agent_id: it.id.clone(),
        agent_name: it.name.clone(),
        seconds_offline,
        alert_time: Stamp(since),
        message: format!("Agent {} offline for {seconds_offline}s", it.name),
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or_default()
}

/// The JSON Schema of the file, draft 2020-12.
pub fn schema() -> Value {
    schemars::schema_for!(HeartbeatMap).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_762_592_400 + second).expect("a moment")
    }

    fn known(id: &str, status: Status, last: Option<i64>, down_since: Option<i64>) -> Known {
        let name = id[..1].to_uppercase() + &id[1..];
        let (last, down_since) = (last.map(at), down_since.map(at));
        let metadata = Object::new();
        Known { id: id.to_owned(), name, status, last, down_since, group: None, metadata }
    }

    #[test]
    fn it_is_written_as_that_system_writes_it() {
        let mut mary = known("mary", Status::Online, Some(-30), None);
        mary.group = Some("coding".to_owned());
        mary.metadata.insert("signals_sent".to_owned(), 42.into());
        let map = HeartbeatMap::of(
            [mary, known("paula", Status::Offline, Some(-900), Some(-600))],
            at(0),
        );
        let text = r#"{
  "timestamp": "2025-11-08T09:00:00.000Z",
  "agents": {
    "mary": {
      "id": "mary",
      "name": "Mary",
      "status": "online",
      "last_heartbeat": "2025-11-08T08:59:30.000Z",
      "seconds_since_heartbeat": 30,
      "channel": "agents:heartbeat:mary",
      "group": "coding",
      "metadata": {
        "signals_sent": 42
      }
    },
    "paula": {
      "id": "paula",
      "name": "Paula",
      "status": "offline",
      "last_heartbeat": "2025-11-08T08:45:00.000Z",
      "seconds_since_heartbeat": 900,
      "channel": "agents:heartbeat:paula",
      "metadata": {}
    }
  },
  "alerts": [
    {
      "agent_id": "paula",
      "agent_name": "Paula",
      "seconds_offline": 900,
      "alert_time": "2025-11-08T08:50:00.000Z",
      "message": "Agent Paula offline for 900s"
    }
  ],
  "summary": {
    "total_agents": 2,
    "online_agents": 1,
    "offline_agents": 1,
    "unknown_agents": 0
  }
}
"#;
        assert_eq!(map.text().expect("JSON"), text);
    }

    #[test]
    fn whoever_was_never_heard_has_no_time_of_it() {
        let all = [
            known("nova", Status::Offline, None, Some(-5)),
            known("lisa", Status::Unknown, None, None),
            // A beat that was dated a moment ahead.
            known("mary", Status::Online, Some(3), None),
        ];
        let map = HeartbeatMap::of(all, at(0));
        assert_eq!(map.agents["nova"].last_heartbeat, None);
        assert_eq!(map.agents["mary"].seconds_since_heartbeat, Some(0));
        assert_eq!(map.alerts.len(), 1);
        assert_eq!(map.alerts[0].message, "Agent Nova offline for 5s");
        let Summary { total_agents, online_agents, offline_agents, unknown_agents } = map.summary;
        assert_eq!((total_agents, online_agents, offline_agents, unknown_agents), (3, 1, 1, 1));
        let validator = jsonschema::validator_for(&schema()).expect("a schema");
        let written = serde_json::to_value(&map).expect("JSON");
        assert!(validator.is_valid(&written), "{written}");
        assert!(schema()["$schema"].as_str().is_some_and(|it| it.contains("2020-12")));
    }
}
