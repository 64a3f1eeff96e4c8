//! Status: trouble first, one line each, then counts of what is well.

use super::{Scene, mood, plain};
use crate::{
    control::{
        incidents::IncidentView,
        status::{PartView, SignView, StatusView},
    },
    domain::text::Text,
    edges::cli::terminal::{Mood, Table},
};

/// Troubles that are listed singly; the rest is counted.
const TROUBLES_MAX: usize = 20;

/// Characters of a cause in a list; `show` and `why` have it whole.
const NOTE_SHOWN_MAX: usize = 60;

/// Where the clock stands in the first line.
const CLOCK_COLUMN: usize = 66;

pub(super) fn text(view: &StatusView, scene: &Scene) -> String {
    let up = scene.age(view.started_at);
    let head = format!("{}   atalaya {}   up {up}", view.node, view.version);
    let room = CLOCK_COLUMN.saturating_sub(head.chars().count()).max(3);
    let clock = scene.clock(view.now);
    let mut lines =
        vec![format!("{}{}{clock}", scene.paint(Mood::Strong, &head), " ".repeat(room))];
    if !view.ready {
        lines.push(scene.paint(Mood::Warning, "starting: it does not judge yet"));
    }
    if let Some(why) = &view.troubles_unknown {
        let glyph = scene.terminal.glyph("✗");
        lines.push(scene.paint(Mood::Bad, &format!("{glyph} incidents are not known: {why}")));
    } else {
        lines.extend(troubles(&view.troubles, scene));
    }
    lines.push(String::new());
    lines.extend(counts(view, scene));
    lines.join("\n")
}

fn troubles(troubles: &[IncidentView], scene: &Scene) -> Vec<String> {
    if troubles.is_empty() {
        let glyph = scene.terminal.glyph("✓");
        return vec![scene.paint(Mood::Good, &format!("{glyph} nothing is in trouble"))];
    }
    let mut table = Table::default();
    for trouble in troubles.iter().take(TROUBLES_MAX) {
        table.row(vec![
            scene.mark(&trouble.severity),
            plain(&trouble.watch),
            (mood(&trouble.condition), trouble.condition.clone()),
            plain(scene.age(trouble.broke_at)),
            plain(note(trouble, scene)),
            plain(format!("#{}", trouble.id)),
        ]);
    }
    let mut lines = table.lines(scene.terminal, 2);
    if let Some(more) = troubles.len().checked_sub(TROUBLES_MAX).filter(|it| 0 < *it) {
        lines.push(format!("  and {more} more: {} incidents", scene.program));
    }
    lines
}

/// Who has it or what explains it, else why it is.
pub(super) fn note(incident: &IncidentView, scene: &Scene) -> String {
    match (&incident.acknowledged_by, incident.acknowledged_until) {
        (Some(by), Some(until)) => format!("{by} has it until {}", scene.minute(until)),
        _ if let Some(by) = &incident.held_by => format!("held by {by}"),
        _ => Text::clean(&incident.cause, NOTE_SHOWN_MAX).to_string(),
    }
}

fn counts(view: &StatusView, scene: &Scene) -> Vec<String> {
    let mut table = Table::default();
    let mut line = |label: &str, text: String| table.row(vec![plain(label), plain(text)]);
    let counts: Vec<String> = view
        .verdicts
        .iter()
        .map(|it| scene.paint(mood(&it.verdict), &format!("{} {}", it.count, it.verdict)))
        .collect();
    let total = format!("{:<4}", view.agents);
    line("agents", format!("{total}{}", counts.join("  ")).trim_end().to_owned());
    let of_kind = |kind: &str| {
        let parts = view.parts.iter().filter(|it| it.watch.starts_with(kind));
        parts.map(|it| part(it, scene)).collect::<Vec<_>>().join("  ")
    };
    line("sources", of_kind("source/"));
    let receivers = of_kind("receiver/");
    let nobody = || "none: nobody is told but this terminal's log".to_owned();
    line("receivers", if receivers.is_empty() { nobody() } else { receivers });
    if view.dry_run {
        let look = format!("{} incidents --would-tell", scene.program);
        line("dry run", format!("they are sent nothing; what they would be: {look}"));
    }
    let registry = view.parts.iter().find(|it| it.watch == "self/registry");
    let trouble = registry.and_then(|it| it.trouble.as_ref());
    let trouble = trouble.map(|it| format!(", an edit is {it}")).unwrap_or_default();
    line("registry", format!("of {}{trouble}", scene.clock(view.registry_read_at)));
    let store = view.parts.iter().find(|it| it.watch == "self/store");
    let trouble = store.filter(|it| it.trouble.is_some());
    let trouble = trouble.map(|it| format!(", NOT WRITABLE: {}", it.detail)).unwrap_or_default();
    line("store", format!("{}, {}{trouble}", view.store.kind, size(view.store.bytes)));
    if !view.signs.is_empty() {
        let signs = view.signs.iter().map(|it| sign(it, scene));
        line("signs", signs.collect::<Vec<_>>().join("  "));
    }
    if 0 < view.unknown {
        let ids = crate::control::words::counted(view.unknown, "id");
        line("unknown", format!("{ids} not watched: {} agents --unknown", scene.program));
    }
    if 0 < view.refused_beats {
        line("refused", format!("{} beats that named no agent", view.refused_beats));
    }
    table.lines(scene.terminal, 3)
}

fn part(part: &PartView, scene: &Scene) -> String {
    let name = part.watch.split_once('/').map_or(part.watch.as_str(), |(_, name)| name);
    let state = match &part.trouble {
        Some(trouble) => {
            let text = format!("{trouble} {}", scene.age(part.since));
            scene.paint(mood(trouble), &text)
        }
        None => scene.paint(Mood::Good, "ok"),
    };
    match part.owed {
        Some(owed) => format!("{name} {state}, {owed} owed"),
        None => format!("{name} {state}"),
    }
}

fn sign(sign: &SignView, scene: &Scene) -> String {
    let state = match (sign.failing_since, sign.taken_at) {
        (Some(since), _) => {
            let why = Text::clean(&sign.detail, NOTE_SHOWN_MAX);
            scene.paint(Mood::Warning, &format!("failing {}: {why}", scene.age(since)))
        }
        (None, Some(at)) => format!("given {} ago", scene.age(at)),
        (None, None) => "not given yet".to_owned(),
    };
    format!("{} {state}", sign.name)
}

#[expect(clippy::cast_precision_loss, reason = "a size for people, to two digits")]
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// The line under a failed `check`.
pub(in crate::edges::cli) fn keeps_running(view: &StatusView, scene: &Scene) -> String {
    let of = scene.clock(view.registry_read_at);
    format!("{} keeps running on its registry of {of}.", view.node)
}
