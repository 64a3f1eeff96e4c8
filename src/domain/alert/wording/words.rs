//! Words: names, times and durations as people read them (docs/BEHAVIOUR.md 9), and each
//! condition's phrases.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::domain::{
    text::Text,
    watch::{Cause, Condition},
};

/// A name or a task in a message: so many characters at most (docs/BEHAVIOUR.md 9).
const NAME_CHARACTERS_MAX: usize = 40;
/// An error in a message: what fits a phone's screen.
const FAULT_CHARACTERS_MAX: usize = 300;

/// Text from outside, isolated so that its direction cannot turn the line around.
pub(super) fn isolated(text: &Text) -> String {
    format!("\u{2068}{}\u{2069}", Text::clean(text.as_str(), NAME_CHARACTERS_MAX))
}

pub(super) fn fault(text: &Text) -> String {
    Text::clean(text.as_str(), FAULT_CHARACTERS_MAX).to_string()
}

/// Local time to the minute; with the date only when that is not today.
pub fn clock(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    local(at, now, zone, "%H:%M")
}

/// Local time to the second.
pub(super) fn clock_seconds(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    local(at, now, zone, "%H:%M:%S")
}

fn local(at: Timestamp, now: Timestamp, zone: &TimeZone, format: &str) -> String {
    let (then, today) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    if then.date() == today.date() {
        return then.strftime(format).to_string();
    }
    then.strftime(&format!("%-d %b {format}")).to_string()
}

/// `6 min 12 s`: two units at most, the greatest first.
pub fn spoken(for_: SignedDuration) -> String {
    let seconds = for_.as_secs().max(0);
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let first = units.iter().position(|(_, size)| *size <= seconds).unwrap_or(units.len() - 1);
    let mut left = seconds;
    let mut said = Vec::new();
    for (word, size) in units.iter().skip(first).take(2) {
        let count = left / size;
        left %= size;
        if 0 < count || said.is_empty() {
            said.push(format!("{count} {word}"));
        }
    }
    said.join(" ")
}

/// `90s`, `5m`, `1h 30m`: as the settings write it, so that it can be found there.
pub fn written(for_: SignedDuration) -> String {
    let (seconds, millis) = (for_.as_secs().max(0), for_.subsec_millis());
    if millis != 0 {
        return format!("{}ms", for_.as_millis());
    }
    if seconds < 120 {
        return format!("{seconds}s");
    }
    let parts = [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60)];
    let parts = parts.into_iter().chain([("s", seconds % 60)]).filter(|(_, count)| *count != 0);
    parts.map(|(word, count)| format!("{count}{word}")).collect::<Vec<_>>().join(" ")
}

/// The rule that a cause stands for: `silence > 90s`.
pub fn rule(cause: &Cause) -> String {
    match cause {
        Cause::Silence { last: Some(_), limit } => format!("silence > {}", written(*limit)),
        Cause::Silence { last: None, limit } => format!("never heard within {}", written(*limit)),
        Cause::Beat => "heard".into(),
        Cause::Said { status, exit: None } => format!("it said {status}"),
        Cause::Said { exit: Some(exit), .. } => format!("exit {exit}"),
        Cause::NoProgress { limit, .. } => format!("no progress > {}", written(*limit)),
        Cause::Repeats { count } => format!("the same step {count} times"),
        Cause::Unanswered { limit, .. } => format!("waits for a person > {}", written(*limit)),
        Cause::Lease { op, .. } => format!("{op} ran past its time"),
        Cause::Paused { by } => format!("paused by {by}"),
        Cause::Resumed { by } => format!("resumed by {by}"),
        Cause::SettingsChanged => "settings changed".into(),
        Cause::Restated => "its watch said again how it is".into(),
        Cause::Removed => "no longer watched".into(),
        Cause::Hearing => "the sources by which it is heard".into(),
        Cause::Fault(text) => text.to_string(),
        Cause::Merged { count } => format!("{count} changes at once"),
    }
}

/// How a message says that it is so: (one, many).
pub(super) fn is(condition: Condition) -> (&'static str, &'static str) {
    match condition {
        Condition::Down => ("is down", "are down"),
        Condition::Failed => ("has failed", "have failed"),
        Condition::Overrun => ("is over its time", "are over their time"),
        Condition::Stalled => ("is stalled", "are stalled"),
        Condition::Looping => ("is looping", "are looping"),
        Condition::Degraded => ("is degraded", "are degraded"),
        Condition::NeedsInput => ("asks you", "ask you"),
        Condition::Blind => ("cannot be heard", "cannot be heard"),
        Condition::Unwatched => ("is watched by nobody", "are watched by nobody"),
        Condition::Refused => ("was refused", "were refused"),
        Condition::Held => ("is held", "are held"),
        Condition::Unwritable => ("cannot be written", "cannot be written"),
        Condition::Undeliverable => ("takes no messages", "take no messages"),
        Condition::SetAside => ("was set aside", "were set aside"),
        Condition::Overdue => ("was not done in time", "were not done in time"),
        Condition::Test => ("is tested", "are tested"),
    }
}

/// How a message says what it was, before a duration: `down 6 min 12 s`.
pub(super) fn was(condition: Condition) -> &'static str {
    match condition {
        Condition::Overrun => "over its time",
        Condition::Unwatched => "watched by nobody",
        Condition::Blind => "deaf",
        Condition::SetAside => "set aside",
        Condition::NeedsInput => "waited",
        Condition::Down
        | Condition::Failed
        | Condition::Stalled
        | Condition::Looping
        | Condition::Degraded
        | Condition::Refused
        | Condition::Held
        | Condition::Unwritable
        | Condition::Undeliverable
        | Condition::Overdue
        | Condition::Test => condition.word(),
    }
}

/// What a trouble of atalaya itself means for the reader.
pub(super) fn means(condition: Condition) -> Option<&'static str> {
    match condition {
        Condition::Blind => Some(
            "Who is heard by it alone: their clocks stand still. None is called down, and a true fall goes unseen",
        ),
        Condition::Unwatched => {
            Some("Its watch keeps failing. What is open stays open; I try again every 5 min")
        }
        Condition::Refused => Some("Nothing was changed: the last good one stays in force"),
        Condition::Held => Some("Nothing was changed. If you mean it: atalaya apply"),
        Condition::Unwritable => {
            Some("I keep judging and telling; after a crash some of it may be told twice")
        }
        Condition::Undeliverable => Some("What it should have told goes to the next receiver"),
        Condition::SetAside => Some("Its row is kept, but no longer read"),
        Condition::Overdue => Some("That is a defect of mine. I have done it now, late"),
        Condition::Down
        | Condition::Failed
        | Condition::Overrun
        | Condition::Stalled
        | Condition::Looping
        | Condition::Degraded
        | Condition::NeedsInput
        | Condition::Test => None,
    }
}
