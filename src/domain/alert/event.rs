//! Stage: what a program is posted: the incident as JSON, as `incidents --json` prints it
//! (docs/BEHAVIOUR.md 12).

use std::fmt::Write as _;

use super::wording;
use crate::domain::{
    delivery::Event,
    incident::{Ending, Incident},
    text::Text,
};

/// The event `event` (one of [`crate::domain::delivery::EVENTS`]) about an incident as it is now.
pub fn event(event: &'static str, incident: &Incident, message: String) -> Event {
    Event { event, incident: json(incident), status: incident.status(), message, source: "atalaya" }
}

/// One incident as a JSON object. Times are RFC 3339 in UTC.
pub fn json(incident: &Incident) -> String {
    let mut out = String::with_capacity(512);
    let resolved = incident.resolved.as_ref();
    let acknowledged = incident.acknowledgement.as_ref();
    let _ = write!(out, "{{\"id\":{}", incident.id.0);
    text(&mut out, "watch", Some(&incident.watch.to_string()));
    text(&mut out, "name", Some(incident.subject.name.as_str()));
    text(&mut out, "condition", Some(incident.condition.word()));
    text(&mut out, "severity", Some(incident.severity.word()));
    text(&mut out, "status", Some(incident.status()));
    text(&mut out, "opened_at", Some(&incident.opened_at.to_string()));
    text(&mut out, "resolved_at", resolved.map(|(at, _)| at.to_string()).as_deref());
    text(&mut out, "ending", resolved.map(|(_, ending)| ended(ending)).as_deref());
    let _ = write!(out, ",\"occurrences\":{}", incident.occurrences);
    text(&mut out, "cause", Some(&wording::rule(&incident.cause)));
    text(&mut out, "task", incident.task.as_ref().map(Text::as_str));
    text(&mut out, "acknowledged_by", acknowledged.map(|it| it.by.as_str()));
    text(&mut out, "acknowledged_until", acknowledged.map(|it| it.until.to_string()).as_deref());
    let _ = write!(out, ",\"revision\":{}}}", incident.revision);
    out
}

/// How it ended, in the words of docs/BEHAVIOUR.md 9.
pub fn ended(ending: &Ending) -> String {
    match ending {
        Ending::Recovered => "recovered".into(),
        Ending::Became(condition) => format!("became {condition}"),
        Ending::Paused => "paused".into(),
        Ending::NoLongerWatched => "no longer watched".into(),
        Ending::SettingsChanged => "settings changed".into(),
        Ending::ByHand { by, reason: None } => format!("resolved by {by}"),
        Ending::ByHand { by, reason: Some(reason) } => format!("resolved by {by}: {reason}"),
    }
}

/// A member of the object that is not the first; none is `null`.
fn text(out: &mut String, key: &str, value: Option<&str>) {
    let _ = write!(out, ",\"{key}\":");
    let Some(value) = value else {
        out.push_str("null");
        return;
    };
    out.push('"');
    for it in value.chars() {
        match it {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            it if it.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(it));
            }
            it => out.push(it),
        }
    }
    out.push('"');
}

/// A test message for a machine.
pub fn test(message: String) -> Event {
    Event { event: "test", incident: "null".into(), status: "test", message, source: "atalaya" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_json_wants_them() {
        let mut out = String::new();
        text(&mut out, "a", Some("q\" b\\ n\n e\u{1b} ü"));
        assert_eq!(out, r#","a":"q\" b\\ n\u000a e\u001b ü""#);
    }
}
