//! Beats as agents write them in JSON (docs/BEHAVIOUR.md 12; docs/reference/formats.md,
//! "Heartbeats"): our own shape, the heartbeat map's flat object, and the envelope of
//! `agents:heartbeat`. One reader for all of them; what it cannot use it leaves out and says so,
//! since whatever arrives proves life.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::timestamps;

/// Longest payload that is read, in bytes; a longer one is a pulse and nothing else.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// Longest metadata, in bytes of compact JSON (docs/BEHAVIOUR.md 3).
pub const METADATA_BYTES_MAX: usize = 8 * 1024;

/// Longest digest that is kept as it is, in bytes; of a longer one its SHA-256 is kept.
pub const DIGEST_BYTES_MAX: usize = 128;

/// Longest `busy.for` that is read. Far beyond any `lease_max`, and safe to add to any present time.
pub const BUSY_MAX: SignedDuration = SignedDuration::from_hours(24 * 366);

/// Fields that mean something; in a flat payload all others are metadata.
const KNOWN: [&str; 10] = [
    "agent",
    "agent_id",
    "status",
    "timestamp",
    "seq",
    "task",
    "current_task",
    "progress",
    "busy",
    "metadata",
];

/// One beat as it was written. Text is as long and as wild as the sender made it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RawBeat {
    /// `agent` or `agent_id`, unchecked.
    pub agent: Option<String>,
    pub status: Option<Status>,
    pub timestamp: Option<Timestamp>,
    pub seq: Option<u64>,
    /// None: not said. `Some(None)`: no task any more.
    pub task: Option<Option<String>>,
    pub progress: Option<RawProgress>,
    pub busy: RawBusy,
    /// Compact JSON object of at most [`METADATA_BYTES_MAX`].
    pub metadata: Option<String>,
    /// The first field that could not be used; the others stand.
    pub fault: Option<Fault>,
}

/// What the status words mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Alive,
    Working,
    Idle,
    /// With the word that was used.
    Degraded(String),
    Stopping,
    NeedsInput,
}

/// How far the work is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawProgress {
    Count(u64),
    /// At most [`DIGEST_BYTES_MAX`] bytes.
    Digest(String),
}

/// What is said of a long step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RawBusy {
    #[default]
    Unsaid,
    /// `"busy": null`
    End,
    For {
        op: String,
        length: SignedDuration,
    },
}

/// Why a field was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub field: &'static str,
    pub why: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.field, self.why)
    }
}

/// Why a payload as a whole says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    Long(usize),
    /// Also JSON that is nested too deeply.
    NotJson,
    NotObject,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long(bytes) => {
                write!(out, "the payload has {bytes} bytes, {PAYLOAD_BYTES_MAX} at most")
            }
            Self::NotJson => out.write_str("the payload is not JSON, or nested too deeply"),
            Self::NotObject => out.write_str("the payload is not a JSON object"),
        }
    }
}

/// Reads one beat.
pub fn read(payload: &[u8]) -> Result<RawBeat, Unreadable> {
    parse(payload).map(from_object)
}

/// Reads one beat whose agent stands where `pointer` (RFC 6901) says, and nowhere else.
pub fn read_with_pointer(payload: &[u8], pointer: &str) -> Result<RawBeat, Unreadable> {
    let object = Value::Object(parse(payload)?);
    let agent = object.pointer(pointer).and_then(id);
    let Value::Object(object) = object else { return Err(Unreadable::NotObject) };
    Ok(RawBeat { agent, ..from_object(object) })
}

/// What a status word means; None for a word that nobody knows.
pub fn status(word: &str) -> Option<Status> {
    match word.trim().to_ascii_lowercase().as_str() {
        "ok" | "alive" | "online" | "running" | "healthy" | "up" | "active" => Some(Status::Alive),
        "working" | "busy" => Some(Status::Working),
        "idle" => Some(Status::Idle),
        "needs_input" => Some(Status::NeedsInput),
        "degraded" | "error" | "critical" | "warning" => {
            Some(Status::Degraded(word.trim().to_owned()))
        }
        "stopping" | "stopped" | "shutting_down" => Some(Status::Stopping),
        _ => None,
    }
}

/// serde_json refuses more than 128 levels, so nothing below recurses further.
fn parse(payload: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    if PAYLOAD_BYTES_MAX < payload.len() {
        return Err(Unreadable::Long(payload.len()));
    }
    match serde_json::from_slice(payload) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        ) => Err(Unreadable::NotObject),
        Err(_) => Err(Unreadable::NotJson),
    }
}

fn from_object(object: Map<String, Value>) -> RawBeat {
    let mut object = open_envelope(object);
    let mut beat = RawBeat::default();
    let mut fault = None;
    let mut strange_word = false;
    let mut blame = |field, why| fault = fault.or(Some(Fault { field, why }));

    beat.agent = said(&object, "agent").or_else(|| said(&object, "agent_id")).and_then(id);
    if let Some(value) = said(&object, "status") {
        match value.as_str() {
            // An unknown word proves life like any other; it stays visible among the metadata.
            Some(word) => {
                beat.status = status(word);
                strange_word = beat.status.is_none();
            }
            None => blame("status", "is not text"),
        }
    }
    if let Some(value) = said(&object, "timestamp") {
        beat.timestamp = timestamps::read_json(value);
        if beat.timestamp.is_none() {
            blame("timestamp", "is no time that we can read");
        }
    }
    if let Some(value) = said(&object, "seq") {
        beat.seq = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        if beat.seq.is_none() {
            blame("seq", "is not a whole number from 0");
        }
    }
    match object.get("task").or_else(|| object.get("current_task")) {
        None => {}
        Some(Value::Null) => beat.task = Some(None),
        Some(Value::String(task)) => {
            beat.task = Some(Some(task.clone()).filter(|it| !it.trim().is_empty()));
        }
        Some(_) => blame("task", "is not text"),
    }
    if let Some(value) = said(&object, "progress") {
        beat.progress = progress(value);
        if beat.progress.is_none() {
            blame("progress", "is neither a number from 0 nor text");
        }
    }
    match object.get("busy").map(busy) {
        None => {}
        Some(Ok(read)) => beat.busy = read,
        Some(Err(why)) => blame("busy", why),
    }
    match metadata(&mut object, strange_word) {
        Ok(text) => beat.metadata = text,
        Err(why) => blame("metadata", why),
    }
    beat.fault = fault;
    beat
}

/// `{"channel","timestamp","data":{…}}`: the beat is inside, the time may stand outside.
fn open_envelope(mut object: Map<String, Value>) -> Map<String, Value> {
    let bare = !object.contains_key("agent") && !object.contains_key("agent_id");
    if !bare || !object.get("data").is_some_and(Value::is_object) {
        return object;
    }
    let Some(Value::Object(mut inner)) = object.remove("data") else { return object };
    if let Some(timestamp) = object.remove("timestamp") {
        inner.entry("timestamp").or_insert(timestamp);
    }
    inner
}

/// A field that is there and not null.
fn said<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    object.get(field).filter(|value| !value.is_null())
}

/// Ids are text; some agents write `2` for `"2"`.
fn id(value: &Value) -> Option<String> {
    value.as_str().map(ToOwned::to_owned).or_else(|| value.as_u64().map(|it| it.to_string()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "floored, finite and not negative; beyond u64 it saturates"
)]
fn progress(value: &Value) -> Option<RawProgress> {
    if let Some(text) = value.as_str() {
        return Some(RawProgress::Digest(digest(text)));
    }
    let count = value.as_u64().or_else(|| {
        value.as_f64().filter(|it| it.is_finite() && 0.0 <= *it).map(|it| it.floor() as u64)
    });
    count.map(RawProgress::Count)
}

/// Cutting a long digest could make two of them equal, so it is hashed.
fn digest(text: &str) -> String {
    if text.len() <= DIGEST_BYTES_MAX {
        return text.to_owned();
    }
    Sha256::digest(text.as_bytes()).iter().fold("sha256:".to_owned(), |mut hex, byte| {
        for nibble in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        hex
    })
}

fn busy(value: &Value) -> Result<RawBusy, &'static str> {
    if value.is_null() {
        return Ok(RawBusy::End);
    }
    let object = value.as_object().ok_or("is neither null nor {\"op\", \"for\"}")?;
    let said = object.get("for").ok_or("says not how long: \"for\" is missing")?;
    let length = said
        .as_str()
        .map_or_else(|| said.as_f64().and_then(seconds), length)
        .filter(SignedDuration::is_positive)
        .ok_or("\"for\" is neither a duration like \"15m\" nor seconds above 0")?;
    let op = object.get("op").and_then(Value::as_str).unwrap_or("busy").to_owned();
    Ok(RawBusy::For { op, length: length.min(BUSY_MAX) })
}

/// `90s`, `1h 30m`, or seconds as text.
fn length(text: &str) -> Option<SignedDuration> {
    match text.trim().parse::<f64>() {
        Ok(number) => seconds(number),
        Err(_) => text.trim().parse().ok(),
    }
}

fn seconds(number: f64) -> Option<SignedDuration> {
    SignedDuration::try_from_secs_f64(number).ok()
}

/// The `metadata` object, or, where there is none, all fields that nothing else uses. A status word that
/// nobody knows is one of them.
fn metadata(
    object: &mut Map<String, Value>,
    keep_status: bool,
) -> Result<Option<String>, &'static str> {
    let own = match object.remove("metadata") {
        Some(Value::Object(own)) => own,
        None | Some(Value::Null) => {
            object.retain(|key, _| {
                (keep_status && key == "status") || !KNOWN.contains(&key.as_str())
            });
            if object.is_empty() {
                return Ok(None);
            }
            std::mem::take(object)
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            return Err("is not an object");
        }
    };
    let text = Value::Object(own).to_string();
    if METADATA_BYTES_MAX < text.len() {
        return Err("is longer than 8 KiB");
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was read, as one line: only what was said.
    fn line(payload: &str) -> String {
        let beat = match read(payload.as_bytes()) {
            Ok(beat) => beat,
            Err(why) => return why.to_string(),
        };
        let mut said = Vec::new();
        said.extend(beat.agent);
        said.extend(beat.status.map(|it| format!("{it:?}")));
        said.extend(beat.timestamp.map(|it| format!("at {it}")));
        said.extend(beat.seq.map(|it| format!("seq {it}")));
        said.extend(beat.task.map(|it| format!("task {it:?}")));
        said.extend(beat.progress.map(|it| format!("{it:?}")));
        match beat.busy {
            RawBusy::Unsaid => {}
            RawBusy::End => said.push("busy ends".to_owned()),
            RawBusy::For { op, length } => said.push(format!("busy {op} {length:#}")),
        }
        said.extend(beat.metadata.map(|it| format!("meta {it}")));
        said.extend(beat.fault.map(|it| format!("! {it}")));
        said.join(", ")
    }

    fn check(stories: &[(&str, &str)]) {
        for (payload, said) in stories {
            assert_eq!(line(payload), *said, "{payload}");
        }
    }

    #[test]
    fn the_shapes_of_the_systems_that_beat() {
        check(&[
            (
                r#"{"agent_id":"mary","status":"alive","timestamp":1762592400}"#,
                "mary, Alive, at 2025-11-08T09:00:00Z",
            ),
            (
                r#"{"channel":"agents:heartbeat","timestamp":"2025-11-08T09:00:00","data":{"agent_id":"002","status":"working","current_task":"billing","progress":0.5}}"#,
                r#"002, Working, at 2025-11-08T09:00:00Z, task Some("billing"), Count(0)"#,
            ),
            (r#"{"status":"ok","model":"x","n":1}"#, r#"Alive, meta {"model":"x","n":1}"#),
            (
                r#"{"agent":"mary","status":"Idle","seq":7,"task":null,"progress":412,"busy":{"op":"build","for":"15m"},"metadata":{"a":[1]},"extra":1}"#,
                r#"mary, Idle, seq 7, task None, Count(412), busy build 15m, meta {"a":[1]}"#,
            ),
            ("{}", ""),
        ]);
    }

    #[test]
    fn status_words() {
        check(&[
            (r#"{"status":"SHUTTING_DOWN"}"#, "Stopping"),
            (r#"{"status":"Critical"}"#, r#"Degraded("Critical")"#),
            (r#"{"status":"busy"}"#, "Working"),
            (r#"{"status":"Needs_Input"}"#, "NeedsInput"),
            (r#"{"status":"pondering"}"#, r#"meta {"status":"pondering"}"#),
            (r#"{"status":null}"#, ""),
            (r#"{"status":5}"#, "! status: is not text"),
        ]);
    }

    #[test]
    fn fields_that_cannot_be_used_are_left_out_and_the_others_stand() {
        check(&[
            (
                r#"{"agent":2,"progress":true}"#,
                "2, ! progress: is neither a number from 0 nor text",
            ),
            (r#"{"progress":-1}"#, "! progress: is neither a number from 0 nor text"),
            (r#"{"progress":3.9}"#, "Count(3)"),
            (r#"{"progress":1e300}"#, "Count(18446744073709551615)"),
            (r#"{"progress":"step-4"}"#, r#"Digest("step-4")"#),
            (r#"{"timestamp":"noon","seq":1}"#, "seq 1, ! timestamp: is no time that we can read"),
            (r#"{"seq":"12"}"#, "seq 12"),
            (r#"{"busy":null}"#, "busy ends"),
            (r#"{"busy":{"for":90}}"#, "busy busy 1m 30s"),
            (r#"{"busy":{"op":"x","for":"90"}}"#, "busy x 1m 30s"),
            (r#"{"busy":{"op":"x","for":"1h 30m"}}"#, "busy x 1h 30m"),
            (r#"{"busy":{"op":"x","for":1e18}}"#, "busy x 8784h"),
            (
                r#"{"busy":{"op":"x","for":0}}"#,
                "! busy: \"for\" is neither a duration like \"15m\" nor seconds above 0",
            ),
            (r#"{"busy":{"op":"x"}}"#, "! busy: says not how long: \"for\" is missing"),
            (r#"{"busy":"15m"}"#, "! busy: is neither null nor {\"op\", \"for\"}"),
            (r#"{"metadata":[1],"seq":1}"#, "seq 1, ! metadata: is not an object"),
        ]);
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let wide =
            format!(r#"{{"agent":"m","seq":3,"metadata":{{"x":"{}"}}}}"#, "y".repeat(9 * 1024));
        assert_eq!(line(&wide), "m, seq 3, ! metadata: is longer than 8 KiB");
        let deep = format!(r#"{{"agent":"m","metadata":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
        assert_eq!(line(&deep), "the payload is not JSON, or nested too deeply");
        let long = format!(r#"{{"agent":"{}"}}"#, "y".repeat(PAYLOAD_BYTES_MAX));
        assert!(line(&long).contains("at most"));
        let step = format!(r#"{{"progress":"{}"}}"#, "y".repeat(500));
        let Ok(RawBeat { progress: Some(RawProgress::Digest(kept)), .. }) = read(step.as_bytes())
        else {
            panic!("no digest")
        };
        assert!(kept.starts_with("sha256:") && kept.len() <= DIGEST_BYTES_MAX);
    }

    #[test]
    fn garbage_is_told_apart() {
        check(&[
            ("", "the payload is not JSON, or nested too deeply"),
            ("PING", "the payload is not JSON, or nested too deeply"),
            ("\"ok\"", "the payload is not a JSON object"),
            ("[1]", "the payload is not a JSON object"),
            (r#"{"agent":"m""#, "the payload is not JSON, or nested too deeply"),
        ]);
    }

    #[test]
    fn a_pointer_says_where_the_agent_stands() {
        let read =
            |pointer| read_with_pointer(br#"{"who":{"id":"m"},"agent":"x"}"#, pointer).unwrap();
        assert_eq!(read("/who/id").agent.as_deref(), Some("m"));
        assert_eq!(read("/nobody").agent, None);
        assert_eq!(read("").agent, None);
    }

    proptest::proptest! {
        #[test]
        fn no_payload_makes_it_panic(bytes: Vec<u8>, text in r#"[{}\[\]":,a-z0-9.eE-]{0,60}"#) {
            let _ = (read(&bytes), read(text.as_bytes()), read_with_pointer(&bytes, "/a"));
        }

        #[test]
        fn no_field_makes_it_panic_or_grow(
            field in proptest::sample::select(&KNOWN[..]),
            value in r#"(-?[0-9]{1,25}(\.[0-9]{1,5})?(e[0-9]{1,3})?|"[^"\\]{0,300}"|null|\{\}|\[\])"#,
        ) {
            if let Ok(beat) = read(format!(r#"{{"{field}":{value},"busy":{{"for":{value}}}}}"#).as_bytes()) {
                let kept = beat.metadata.map_or(0, |it| it.len());
                proptest::prop_assert!(kept <= METADATA_BYTES_MAX);
            }
        }
    }
}
