//! Incidents: one line each.

use super::{Scene, faint, mood, plain, status::note};
use crate::{
    control::{
        incidents::{IncidentView, WouldTell},
        words,
    },
    edges::cli::terminal::Table,
};

pub(super) fn text(list: &[IncidentView], scene: &Scene) -> String {
    if list.is_empty() {
        return format!(
            "{} no incident is open. All that were: {} incidents --all",
            scene.terminal.glyph("✓"),
            scene.program
        );
    }
    let mut shown = Vec::new();
    for (incident, line) in list.iter().zip(lines(list, scene)) {
        shown.push(line);
        shown.extend(incident.would_tell.iter().map(|it| would_tell(it, scene)));
    }
    shown.join("\n")
}

/// A message that a dry run did not send, under its incident.
fn would_tell(it: &WouldTell, scene: &Scene) -> String {
    let how = if it.rings { "would tell" } else { "would edit" };
    format!("      {}  {how} {}: {}", scene.clock(it.at), it.receiver, it.text)
}

pub(super) fn lines(list: &[IncidentView], scene: &Scene) -> Vec<String> {
    let mut table = Table::default();
    for incident in list {
        let mark = if incident.is_open() {
            scene.mark(&incident.severity)
        } else {
            faint(scene.terminal.glyph("✓"))
        };
        table.row(vec![
            mark,
            plain(format!("#{}", incident.id)),
            plain(&incident.watch),
            (mood(&incident.condition), incident.condition.clone()),
            faint(&incident.severity),
            plain(format!("since {}", scene.clock(incident.opened_at))),
            plain(lasted(incident, scene)),
            plain(ending(incident, scene)),
        ]);
    }
    table.lines(scene.terminal, 2)
}

fn lasted(incident: &IncidentView, scene: &Scene) -> String {
    let until = incident.resolved_at.unwrap_or(scene.now);
    words::age(until.duration_since(incident.opened_at))
}

fn ending(incident: &IncidentView, scene: &Scene) -> String {
    let what = incident.ending.clone().unwrap_or_else(|| note(incident, scene));
    match incident.occurrences {
        0 | 1 => what,
        times => format!("{what}; {times} times"),
    }
}
