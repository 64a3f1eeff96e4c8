//! How flapping is worded: that it keeps falling, and that it is steady again.

use super::{
    Scene, bold, buttons, footer, spoken, standing, text,
    words::{isolated, was},
};
use crate::domain::{
    delivery::{Button, Message},
    incident::{Flapping, Incident, Unrest},
    watch::Condition,
};

/// What a verdict is called in a sentence about changes.
fn verdict(condition: Option<Condition>) -> &'static str {
    condition.map_or("up", was)
}

/// The message of a watch of which all members are, while it is flapping.
pub(super) fn flapping(scene: &Scene<'_>, open: &[&Incident]) -> Option<Message> {
    let (it, unrest, flapping) = scene.members.iter().find_map(|it| {
        let unrest = it.unrest.as_ref()?;
        Some((*it, unrest, unrest.flapping.as_ref()?))
    })?;
    if scene.members.iter().any(|of| of.watch != it.watch) {
        return None;
    }
    let mut lines = vec![vec![text("I stay quiet about single changes until it is steady")]];
    if !open.is_empty() {
        lines.extend(standing(&Scene { repeats_at: None, ..scene.clone() }, open));
    }
    Some(Message {
        glyph: "🔁",
        headline: vec![
            bold(format!("{} keeps falling", isolated(&it.subject.name))),
            text(changes(unrest, flapping, open)),
        ],
        lines,
        quote: Vec::new(),
        footer: footer(scene),
        buttons: match open {
            [] => vec![Button::Why],
            open => buttons(scene, open),
        },
    })
}

/// `: 6 changes in 41 min, now up`.
fn changes(unrest: &Unrest, flapping: &Flapping, open: &[&Incident]) -> String {
    let last = unrest.changes.last().copied().unwrap_or(flapping.since);
    let span = spoken(last.duration_since(flapping.since));
    let now = verdict(open.first().map(|it| it.condition));
    format!(": {} changes in {span}, now {now}", flapping.count)
}

/// The message of a watch that was flapping and is well.
pub(super) fn steady(
    scene: &Scene<'_>,
    since: jiff::Timestamp,
    told: Option<Condition>,
) -> Message {
    let name = scene.members.first().map(|it| isolated(&it.subject.name)).unwrap_or_default();
    let up = spoken(scene.now.duration_since(since));
    Message {
        glyph: "🔁",
        headline: vec![
            bold(format!("{name} is steady again")),
            text(format!(": up for {up} (last told: {})", verdict(told))),
        ],
        lines: Vec::new(),
        quote: Vec::new(),
        footer: footer(scene),
        buttons: vec![Button::Why],
    }
}

/// Why a trouble rings that is no longer flapping.
pub(super) fn settled(
    scene: &Scene<'_>,
    since: jiff::Timestamp,
    told: Option<Condition>,
) -> String {
    let lasted = spoken(scene.now.duration_since(since));
    format!("It kept changing and has been so for {lasted} now (last told: {})", verdict(told))
}
