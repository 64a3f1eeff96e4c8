//! Lists: agents, unknown ids, silences, and the answer to a ping.

use super::{Scene, faint, mood, plain};
use crate::{
    control::{
        agents::{AgentView, DraftView, ProgressView, UnknownView},
        ping::PingView,
        silences::SilenceView,
    },
    edges::cli::terminal::{Mood, Table},
};

/// Where the group stands, if anybody has one: after the agent.
const GROUP_COLUMN: usize = 2;

/// A digest is shown cut to so many characters.
const DIGEST_MAX: usize = 12;

pub(super) fn agents(list: &[AgentView], scene: &Scene) -> String {
    if list.is_empty() {
        return format!("no agent is watched yet. A first beat: {} ping mary", scene.program);
    }
    let mut table = Table::default();
    let head = ["", "agent", "verdict", "for", "last beat", "progress", "doing"];
    let mut head: Vec<_> = head.iter().map(|it| faint(*it)).collect();
    // A column for those who have groups.
    let grouped = list.iter().any(|it| it.group.is_some());
    if grouped {
        head.insert(GROUP_COLUMN, faint("group"));
    }
    table.row(head);
    for agent in list {
        let word = if agent.idle && agent.verdict == "up" { "idle" } else { &agent.verdict };
        let glyph = match mood(word) {
            Mood::Bad => scene.mark("critical"),
            Mood::Warning => scene.mark("warning"),
            Mood::Good => (Mood::Good, scene.terminal.glyph("✓").to_owned()),
            Mood::Plain | Mood::Faint | Mood::Strong => scene.mark("info"),
        };
        let word = match agent.quarantined_since {
            Some(_) => (Mood::Bad, "unwatched".to_owned()),
            None => (mood(word), word.to_owned()),
        };
        let mut row = vec![
            glyph,
            plain(&agent.id),
            word,
            plain(scene.age(agent.since)),
            plain(
                agent.last_beat.map_or("never".to_owned(), |at| format!("{} ago", scene.age(at))),
            ),
            plain(agent.progress.as_ref().map(progress).unwrap_or_default()),
            plain(agent.task.clone().unwrap_or_default()),
        ];
        if grouped {
            row.insert(GROUP_COLUMN, plain(agent.group.clone().unwrap_or_default()));
        }
        table.row(row);
    }
    table.lines(scene.terminal, 2).join("\n")
}

pub(super) fn progress(progress: &ProgressView) -> String {
    match progress {
        ProgressView::Count(count) => count.to_string(),
        ProgressView::Digest(digest) => {
            let digest = crate::domain::text::Text::clean(digest, DIGEST_MAX);
            digest.as_str().to_owned()
        }
    }
}

pub(super) fn unknown(list: &[UnknownView], scene: &Scene) -> String {
    if list.is_empty() {
        return "every id that pinged is watched".to_owned();
    }
    let mut table = Table::default();
    for unknown in list {
        table.row(vec![
            plain(&unknown.id),
            plain(crate::control::words::counted(
                usize::try_from(unknown.beats).unwrap_or(usize::MAX),
                "beat",
            )),
            plain(format!("last {} ago", scene.age(unknown.last_beat))),
        ]);
    }
    table.lines(scene.terminal, 2).join("\n")
}

pub(super) fn draft(view: &DraftView) -> String {
    if view.toml.is_empty() {
        return "# every id that pinged is watched".to_owned();
    }
    view.toml.trim_end().to_owned()
}

pub(super) fn silences(list: &[SilenceView], scene: &Scene) -> String {
    if list.is_empty() {
        return format!(
            "nothing is silenced. To silence: {} silence WATCH 1h REASON",
            scene.program
        );
    }
    let mut table = Table::default();
    for silence in list {
        table.row(vec![
            plain(silence.id.to_string()),
            plain(&silence.target),
            plain(format!("until {}", scene.minute(silence.until))),
            plain(format!("by {}", silence.by)),
            plain(format!("{} muted", silence.muted)),
            faint(silence.reason.clone().unwrap_or_default()),
        ]);
    }
    let mut lines = table.lines(scene.terminal, 2);
    lines.push(format!("To end one: {} unsilence ID", scene.program));
    lines.join("\n")
}

pub(super) fn ping(view: &PingView, scene: &Scene) -> String {
    let agent = format!("agent/{}", view.agent);
    match view.took.as_str() {
        "taken" => format!("{agent} heard"),
        "registered" => {
            format!(
                "{agent} heard for the first time: watched from now on ({} show {agent})",
                scene.program
            )
        }
        "full" => format!(
            "{agent} is not watched: as many agents as auto_register_max have registered themselves"
        ),
        _ => format!("{agent} is not watched: add it to the registry, or set auto_register = true"),
    }
}
