//! Stage: wording. What a person reads on a phone (docs/BEHAVIOUR.md 9): the first line alone says
//! who, what, since when; then what it means, what happens without you, what you can do.

mod digest;
mod flap;
mod words;

use jiff::Timestamp;

pub use digest::digest;
pub use words::{clock, rule, spoken, written};
use words::{clock_seconds, fault, is, isolated, means, was};

use super::Reason;
use crate::domain::{
    delivery::{Button, Message, Span},
    desk::Settings,
    id::{IncidentId, Kind, ReceiverId, WatchId},
    incident::{Ending, Incident, Severity},
    silence::Silence,
    text::Text,
    watch::{Cause, Condition},
};

/// Names that a message lists before it counts the rest.
const LISTED_MAX: usize = 5;

/// What one message of a group shows.
#[derive(Debug, Clone)]
pub struct Scene<'a> {
    pub settings: &'a Settings,
    /// Members in the order in which they joined; never empty.
    pub members: &'a [&'a Incident],
    /// Why it rings, when it does.
    pub reason: Option<&'a Reason>,
    /// The silence over the first open member.
    pub silence: Option<&'a Silence>,
    /// What the members explain: nobody is disturbed by these.
    pub holds: &'a [&'a Incident],
    /// When it rings again by itself.
    pub repeats_at: Option<Timestamp>,
    pub now: Timestamp,
}

/// The message of a group as it stands now.
pub fn message(scene: &Scene<'_>) -> Message {
    let open: Vec<&Incident> =
        scene.members.iter().copied().filter(|it| it.resolved.is_none()).collect();
    if let Some(message) = flap::flapping(scene, &open) {
        return message;
    }
    if let (true, Some(Reason::Steady { since, told })) = (open.is_empty(), scene.reason) {
        return flap::steady(scene, *since, *told);
    }
    let alone = scene.members.iter().all(|it| it.watch == scene.members[0].watch);
    let last = scene.members.iter().max_by_key(|it| it.resolved.as_ref().map(|it| it.0));
    match (open.as_slice(), last) {
        ([], Some(last)) if alone => over_one(scene, last),
        ([], _) => over_many(scene),
        ([only], _) if alone => open_one(scene, only),
        (open, _) => open_many(scene, open),
    }
}

/// A message as a machine or a log line shows it: the first line and who says so.
pub fn plain(message: &Message) -> String {
    format!("{} ({})", first_line(message), message.footer)
}

/// The first line alone, as plain text.
pub fn first_line(message: &Message) -> String {
    let headline: String = message.headline.iter().map(content).collect();
    headline.replace(['\u{2068}', '\u{2069}'], "")
}

/// The test message that a person asked for.
pub fn test(settings: &Settings, receiver: &ReceiverId, by: &Text) -> Message {
    Message {
        glyph: "🔔",
        headline: vec![
            bold("Test"),
            text(format!(": {} reaches you over {receiver}", settings.node)),
        ],
        lines: vec![vec![text(format!("Asked for by {}", isolated(by)))]],
        quote: Vec::new(),
        footer: settings.node.to_string(),
        buttons: vec![Button::GotIt],
    }
}

fn open_one(scene: &Scene<'_>, it: &Incident) -> Message {
    let mut lines = Vec::new();
    match (&it.cause, &it.task) {
        // What it asks stands in the first line.
        (Cause::Unanswered { since, .. }, Some(_)) => {
            let since = clock_seconds(*since, scene.now, &scene.settings.timezone);
            lines.push(vec![text(format!("Waits since {since}"))]);
        }
        (_, Some(task)) => lines.push(vec![text("Was doing: "), Span::Italic(isolated(task))]),
        (_, None) => {}
    }
    if let Cause::Fault(why) = &it.cause {
        lines.push(vec![Span::Code(fault(why))]);
    }
    lines.extend(means(it.condition).map(|it| vec![text(it)]));
    lines.extend(why_again(scene, it).map(|it| vec![text(it)]));
    lines.extend(holds(scene));
    lines.extend(standing(scene, &[it]));
    Message {
        glyph: glyph(it),
        headline: headline(scene, it),
        lines,
        quote: Vec::new(),
        footer: footer(scene),
        buttons: buttons(scene, &[it]),
    }
}

/// Who, what, since when.
fn headline(scene: &Scene<'_>, it: &Incident) -> Vec<Span> {
    let again = if 1 < it.occurrences { " again" } else { "" };
    let (who, what) = match it.condition {
        Condition::Blind => (format!("Cannot hear over {}", it.watch.name), String::new()),
        Condition::Refused | Condition::Held => {
            (format!("A new {}", part(it)), format!(" {}", is(it.condition).0))
        }
        Condition::Unwritable => (format!("The {}", part(it)), format!(" {}", is(it.condition).0)),
        Condition::SetAside => ("A stored incident".into(), format!(" {}", is(it.condition).0)),
        Condition::Overdue => {
            ("A step of an escalation".into(), format!(" {}", is(it.condition).0))
        }
        Condition::Undeliverable => (it.watch.name.to_string(), format!(" {}", is(it.condition).0)),
        Condition::Down
        | Condition::Failed
        | Condition::Overrun
        | Condition::Stalled
        | Condition::Looping
        | Condition::Degraded
        | Condition::NeedsInput
        | Condition::Unwatched
        | Condition::Test => (isolated(&it.subject.name), format!(" {}", is(it.condition).0)),
    };
    let rest = match scene.reason {
        Some(Reason::Relapsed { after }) => format!(": {} after coming back", spoken(*after)),
        _ => since(scene, it),
    };
    vec![Span::Bold(format!("{who}{what}{again}")), text(rest)]
}

/// `registry`, `store`: the part of atalaya that a watch stands for.
fn part(it: &Incident) -> &str {
    &it.watch.name
}

/// Since when, as precisely as the cause knows.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other cause is dated by the verdict")]
fn since(scene: &Scene<'_>, it: &Incident) -> String {
    let at = |at| clock_seconds(at, scene.now, &scene.settings.timezone);
    let broke = at(broke_at(it));
    match &it.cause {
        Cause::Silence { last: Some(last), .. } => format!(": silent since {}", at(*last)),
        Cause::Silence { last: None, limit } => {
            format!(": never heard within {}, since {broke}", written(*limit))
        }
        Cause::Said { exit: Some(exit), .. } => format!(": exit {exit} at {broke}"),
        Cause::Said { status, exit: None } if !status.is_empty() => {
            format!(": it says {} since {broke}", isolated(status))
        }
        Cause::NoProgress { since, .. } => format!(": no progress since {}", at(*since)),
        Cause::Repeats { count } => format!(": the same step {count} times, since {broke}"),
        Cause::Unanswered { since, .. } => match &it.task {
            Some(task) => format!(": {}", isolated(task)),
            None => format!(" since {}", at(*since)),
        },
        Cause::Lease { op, until } => {
            format!(": {} was to end by {}", isolated(op), at(*until))
        }
        _ => format!(" since {broke}"),
    }
}

/// When it broke last.
fn broke_at(it: &Incident) -> Timestamp {
    it.relapses.last().copied().unwrap_or(it.opened_at)
}

/// Why a message comes that is not the first.
fn why_again(scene: &Scene<'_>, it: &Incident) -> Option<String> {
    let opened = clock(broke_at(it), scene.now, &scene.settings.timezone);
    let ordinal = match it.occurrences {
        2 => "Second time".to_owned(),
        3 => "Third time".to_owned(),
        many => format!("Time {many}"),
    };
    let first = clock(it.opened_at, scene.now, &scene.settings.timezone);
    match scene.reason? {
        Reason::Opened | Reason::Flapping => None,
        Reason::Steady { since, told } => Some(flap::settled(scene, *since, *told)),
        Reason::Relapsed { .. } => Some(format!("{ordinal} since {first}")),
        Reason::Rose => Some(format!("It is {} now", it.severity)),
        Reason::SilenceEnded { id } => Some(format!("Silence {id} has ended and it is still so")),
        Reason::MaintenanceEnded => Some("Maintenance has ended and it is still so".into()),
        Reason::HoldEnded { by } => Some(format!("{by} no longer explains it")),
        Reason::Unacknowledged { by, released: true } => {
            Some(format!("{} gave it back: nobody has it now", isolated(by)))
        }
        Reason::Unacknowledged { by, released: false } => {
            Some(format!("{} had it, and the time is over: nobody has it now", isolated(by)))
        }
        Reason::Repeated => Some(format!("Still so, since {opened}; nobody has it")),
        Reason::Escalated => Some(format!("Nobody has acknowledged it since {opened}")),
        Reason::FailedOver { from, why } => {
            Some(format!("You hear it because {from} did not take it: {}", fault(why)))
        }
    }
}

/// What nobody is disturbed by because this explains it.
fn holds(scene: &Scene<'_>) -> Option<Vec<Span>> {
    let count = scene.holds.len();
    let others = if count == 1 { "other" } else { "others" };
    let mut line = vec![text(format!("It holds {count} {others}: "))];
    line.extend(names(scene.holds));
    (0 < count).then_some(line)
}

/// Who has it, what is silent, and what happens without you.
fn standing(scene: &Scene<'_>, open: &[&Incident]) -> Vec<Vec<Span>> {
    let at = |at| clock(at, scene.now, &scene.settings.timezone);
    let held: Vec<_> = open.iter().filter_map(|it| it.acknowledgement.as_ref()).collect();
    let mut lines = Vec::new();
    if let Some(last) = held.last() {
        let what = match (held.len() == open.len(), open.len()) {
            (true, 1) => "it".into(),
            (true, _) => "them".into(),
            (false, _) => format!("{} of {}", held.len(), open.len()),
        };
        let (by, until) = (isolated(&last.by), at(last.until));
        lines.push(vec![text(format!(
            "👤 {by} has {what} until {until}: no repeats, no escalation"
        ))]);
    }
    if let Some(silence) = scene.silence {
        let (by, until) = (isolated(&silence.by), at(silence.until));
        lines.push(vec![text(format!("🔇 Silent until {until}, by {by}; recovery is told"))]);
    }
    if let Some(by) = explained(open) {
        lines.push(vec![text(format!("Quiet as long as {by} explains it"))]);
        return lines;
    }
    if held.len() == open.len() || scene.silence.is_some() {
        return lines;
    }
    let step = open
        .iter()
        .filter_map(|it| it.next_step_at.zip(it.chain.get(it.steps_told)))
        .min_by_key(|it| it.0);
    if let Some((then, step)) = step {
        let to: Vec<String> = step.to.iter().map(ToString::to_string).collect();
        lines.push(vec![text(format!(
            "Without you: {} hears of it at {}",
            to.join(", "),
            at(then)
        ))]);
    } else if let Some(again) = scene.repeats_at {
        lines.push(vec![text(format!("Without you: I ring again at {}", at(again)))]);
    }
    lines
}

/// The watch that explains all of them.
fn explained<'a>(open: &[&'a Incident]) -> Option<&'a WatchId> {
    let mut by = open.iter().map(|it| it.held.as_ref().map(|it| &it.by));
    let first = by.next()??;
    by.all(|it| it == Some(first)).then_some(first)
}

fn open_many(scene: &Scene<'_>, open: &[&Incident]) -> Message {
    let (first, all) = (open[0], open.len());
    let (one, many) = is(first.condition);
    let what = if all == 1 {
        format!("{} {one}", isolated(&first.subject.name))
    } else if first.condition == Condition::Blind {
        format!("Cannot hear over {all} sources")
    } else {
        format!("{all} {} {many}", nouns(open))
    };
    let earliest = open.iter().map(|it| broke_at(it)).min().unwrap_or(scene.now);
    let first_of = match all {
        1 => String::new(),
        _ => format!(" ({} first)", isolated(&first.subject.name)),
    };
    let since = clock(earliest, scene.now, &scene.settings.timezone);
    let since = format!(" since {since}{first_of}");
    let mut lines = vec![names(open)];
    let back = scene.members.len() - all;
    if 0 < back {
        lines.push(vec![text(format!("{back} of {} over", scene.members.len()))]);
    }
    lines.extend(why_again(scene, first).map(|it| vec![text(it)]));
    lines.extend(holds(scene));
    lines.extend(standing(scene, open));
    Message {
        glyph: glyph(first),
        headline: vec![Span::Bold(what), text(since)],
        lines,
        quote: Vec::new(),
        footer: footer(scene),
        buttons: buttons(scene, open),
    }
}

/// The first five by name, the rest by number.
fn names(open: &[&Incident]) -> Vec<Span> {
    let listed: Vec<String> =
        open.iter().take(LISTED_MAX).map(|it| isolated(&it.subject.name)).collect();
    let mut line = vec![text(listed.join(", "))];
    if LISTED_MAX < open.len() {
        line.push(Span::Italic(format!(" and {} more", open.len() - LISTED_MAX)));
    }
    line
}

fn nouns(of: &[&Incident]) -> &'static str {
    let kind = of[0].watch.kind;
    match kind {
        _ if of.iter().any(|it| it.watch.kind != kind) => "watches",
        Kind::Agent => "agents",
        Kind::Source => "sources",
        Kind::Receiver => "receivers",
        Kind::Myself => "parts",
    }
}

fn over_one(scene: &Scene<'_>, it: &Incident) -> Message {
    let at = |at| clock(at, scene.now, &scene.settings.timezone);
    let (ended, ending) = it.resolved.clone().unwrap_or((scene.now, Ending::Recovered));
    let name = isolated(&it.subject.name);
    let lasted = spoken(ended.duration_since(broke_at(it)));
    let was = was(it.condition);
    let span = format!("{was} {lasted}, {} to {}", at(broke_at(it)), at(ended));
    let (glyph, what, rest) = match &ending {
        Ending::Recovered => ("✅", back(it), format!(": {span}")),
        Ending::Became(worse) => {
            ("⏸", format!("{name} {} now", is(*worse).0), format!(": was {span}"))
        }
        Ending::Paused => ("⏸", format!("{name} is paused"), format!(": was {span}")),
        Ending::NoLongerWatched => {
            ("⏸", format!("{name} is no longer watched"), format!(": was {span}"))
        }
        Ending::SettingsChanged => {
            ("✅", format!("{name} is well by its new settings"), format!(": was {span}"))
        }
        Ending::ByHand { by, .. } => {
            ("✅", format!("{name}: resolved by {}", isolated(by)), format!(", was {span}"))
        }
    };
    let mut lines = match &ending {
        Ending::ByHand { reason: Some(reason), .. } => vec![vec![text(fault(reason))]],
        Ending::ByHand { reason: None, .. }
        | Ending::Recovered
        | Ending::Became(_)
        | Ending::Paused
        | Ending::NoLongerWatched
        | Ending::SettingsChanged => Vec::new(),
    };
    lines.extend(still(scene));
    Message {
        glyph,
        headline: vec![Span::Bold(what), text(rest)],
        lines,
        quote: Vec::new(),
        footer: footer(scene),
        buttons: vec![Button::Why],
    }
}

/// What it held is not yet well, and is told when the time for that is over.
fn still(scene: &Scene<'_>) -> Option<Vec<Span>> {
    let until = scene.holds.iter().filter_map(|it| it.held.as_ref()?.until).min()?;
    let until = clock_seconds(until, scene.now, &scene.settings.timezone);
    let mut line = names(scene.holds);
    line.push(text(format!(": what is still so at {until} rings then")));
    Some(line)
}

/// What recovery is called.
fn back(it: &Incident) -> String {
    let name = isolated(&it.subject.name);
    match it.condition {
        Condition::Down | Condition::Failed => format!("{name} is back"),
        Condition::Overrun | Condition::Stalled | Condition::Looping => {
            format!("{name} advances again")
        }
        Condition::Degraded => format!("{name} is well again"),
        Condition::NeedsInput => format!("{name} goes on"),
        Condition::Blind => format!("Hearing again over {}", it.watch.name),
        Condition::Unwatched => format!("{name} is watched again"),
        Condition::Refused | Condition::Held => format!("The {} is in order", part(it)),
        Condition::Unwritable => format!("The {} can be written again", part(it)),
        Condition::Undeliverable => format!("{} takes messages again", it.watch.name),
        Condition::Overdue => "Escalations are in time again".into(),
        Condition::SetAside | Condition::Test => format!("{name} is over"),
    }
}

fn over_many(scene: &Scene<'_>) -> Message {
    let at = |at| clock(at, scene.now, &scene.settings.timezone);
    let all = scene.members;
    let first = all.iter().map(|it| broke_at(it)).min().unwrap_or(scene.now);
    let last = all.iter().filter_map(|it| it.resolved.as_ref()).map(|it| it.0).max();
    let recovered = |it: &&&Incident| {
        matches!(it.resolved, Some((_, Ending::Recovered | Ending::SettingsChanged)))
    };
    let well = all.iter().filter(recovered).count();
    let what = if well == all.len() {
        format!("{} {} are back", all.len(), nouns(all))
    } else {
        format!("{} {}: all over, {well} recovered", all.len(), nouns(all))
    };
    let word = was(all[0].condition);
    let rest = format!(": {word} {} to {}", at(first), at(last.unwrap_or(scene.now)));
    Message {
        glyph: "✅",
        headline: vec![Span::Bold(what), text(rest)],
        lines: vec![names(all)],
        quote: Vec::new(),
        footer: footer(scene),
        buttons: vec![Button::Why],
    }
}

fn glyph(it: &Incident) -> &'static str {
    match (it.condition, it.severity) {
        (Condition::Blind, _) => "⚪",
        (_, Severity::Critical) => "🔴",
        (_, Severity::Warning | Severity::Info) => "🟡",
    }
}

/// `tower-1 · #412 to #418`; what is no agent is named.
fn footer(scene: &Scene<'_>) -> String {
    let ids = || scene.members.iter().map(|it| it.id);
    let (low, high) = (ids().min(), ids().max());
    let (low, high) = (low.unwrap_or(IncidentId(0)), high.unwrap_or(IncidentId(0)));
    let node = &scene.settings.node;
    match scene.members {
        [only] if only.watch.kind == Kind::Agent => format!("{node} · {low}"),
        [only] => format!("{node} · {low} · {}", only.watch),
        _ => format!("{node} · {low} to {high}"),
    }
}

/// Only what works now.
fn buttons(scene: &Scene<'_>, open: &[&Incident]) -> Vec<Button> {
    let mut buttons = Vec::new();
    let free = open.iter().filter(|it| it.acknowledgement.is_none()).count();
    buttons.push(if free == 0 { Button::Release } else { Button::Acknowledge(free) });
    if scene.silence.is_none() {
        buttons.push(Button::SilenceOneHour);
    }
    if 1 < open.len() {
        buttons.push(Button::List);
    }
    buttons.push(Button::Why);
    if let [only] = open
        && only.subject.self_registered
    {
        buttons.push(Button::Forget);
    }
    buttons
}

fn bold(it: impl Into<String>) -> Span {
    Span::Bold(it.into())
}

fn text(it: impl Into<String>) -> Span {
    Span::Plain(it.into())
}

fn content(span: &Span) -> &str {
    match span {
        Span::Plain(it) | Span::Bold(it) | Span::Italic(it) | Span::Code(it) => it,
    }
}

#[cfg(test)]
mod tests;
