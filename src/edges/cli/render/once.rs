//! Once: what a run that ends found: trouble and what is unknown first, one line each, then whether all is well.

use std::collections::HashSet;

use super::{Scene, faint, mood, plain, status::note};
use crate::{
    control::{
        incidents::IncidentView,
        once::{OnceView, OnceWatch, UNKNOWN},
        words,
    },
    edges::cli::terminal::{Mood, Table},
};

/// Lines that are shown singly; the rest is counted.
const LINES_MAX: usize = 50;

pub(super) fn text(view: &OnceView, scene: &Scene) -> String {
    let watched = words::age(view.ended_at.duration_since(view.began_at));
    let head = format!("{}   atalaya {}   watched for {watched}", view.node, view.version);
    let mut lines =
        vec![format!("{}   {}", scene.paint(Mood::Strong, &head), scene.clock(view.ended_at))];
    let mut table = Table::default();
    let shown: Vec<&OnceWatch> = view.watches.iter().filter(|it| it.amiss).collect();
    for watch in shown.iter().take(LINES_MAX) {
        table.row(row(watch, view, scene));
    }
    for incident in of_parts(view) {
        table.row(vec![
            scene.mark(&incident.severity),
            plain(&incident.watch),
            (mood(&incident.condition), incident.condition.clone()),
            plain(scene.age(incident.broke_at)),
            plain(note(incident, scene)),
            plain(format!("#{}", incident.id)),
        ]);
    }
    lines.extend(table.lines(scene.terminal, 2));
    if let Some(more) = shown.len().checked_sub(LINES_MAX).filter(|it| 0 < *it) {
        lines.push(format!("   and {}", words::counted(more, "more watch")));
    }
    lines.push(format!("{}: {}", words::counted(view.watches.len(), "watch"), counts(view)));
    lines.extend(sent(view));
    lines.push(verdict(view, scene));
    lines.join("\n")
}

fn row(watch: &OnceWatch, view: &OnceView, scene: &Scene) -> Vec<(Mood, String)> {
    let incident = view.troubles.iter().find(|it| Some(it.id) == watch.incident);
    let mark = match incident {
        _ if watch.verdict == UNKNOWN => (Mood::Warning, "?".to_owned()),
        Some(incident) => scene.mark(&incident.severity),
        None => scene.mark("critical"),
    };
    vec![
        mark,
        plain(&watch.watch),
        (mood(&watch.verdict), watch.verdict.clone()),
        plain(watch.since.map(|it| scene.age(it)).unwrap_or_default()),
        plain(incident.map_or_else(|| watch.why.clone(), |it| note(it, scene))),
        incident.map_or_else(|| faint(""), |it| plain(format!("#{}", it.id))),
    ]
}

/// Troubles of atalaya's own parts.
pub(super) fn of_parts(view: &OnceView) -> impl Iterator<Item = &IncidentView> {
    let watched: HashSet<&str> = view.watches.iter().map(|it| it.watch.as_str()).collect();
    view.troubles.iter().filter(move |it| !watched.contains(it.watch.as_str()))
}

/// `4 up, 1 down`, worst first.
pub(super) fn counts(view: &OnceView) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for watch in &view.watches {
        match counts.iter_mut().find(|it| it.0 == watch.verdict) {
            Some((_, count)) => *count += 1,
            None => counts.push((&watch.verdict, 1)),
        }
    }
    let counts: Vec<String> =
        counts.into_iter().map(|(word, count)| format!("{count} {word}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

/// What became of the messages, where there is something to say.
pub(super) fn sent(view: &OnceView) -> Option<String> {
    let owed = words::counted(view.owed, "message");
    match (view.owed, view.notified) {
        (0, true) => Some("All messages were sent".to_owned()),
        (0, false) => None,
        (_, true) => Some(format!("{owed} could not be sent yet and stay owed")),
        (_, false) => Some(format!("Nothing was sent: {owed} stay owed; --notify sends")),
    }
}

fn verdict(view: &OnceView, scene: &Scene) -> String {
    if view.well {
        return scene.paint(Mood::Good, &format!("{} well", scene.terminal.glyph("✓")));
    }
    let why = view.unwell.join(", ");
    scene.paint(Mood::Bad, &format!("{} not well: {why}", scene.terminal.glyph("✗")))
}

#[cfg(test)]
pub(in crate::edges::cli) mod tests {
    use super::*;
    use crate::edges::cli::render::tests::{at, incident, scene};

    pub(in crate::edges::cli) fn once_view() -> OnceView {
        let watch = |name: &str, verdict: &str, number| OnceWatch {
            watch: format!("agent/{name}"),
            name: name.to_owned(),
            amiss: ["down", UNKNOWN].contains(&verdict),
            verdict: verdict.to_owned(),
            since: Some(at("03:13:34")).filter(|_| verdict != UNKNOWN),
            last_beat: Some(at("03:12:04")),
            task: None,
            why: if verdict == UNKNOWN { "never heard yet" } else { "" }.to_owned(),
            incident: number,
        };
        let mut ended = incident(409, "agent/paula");
        ended.resolved_at = Some(at("03:14:50"));
        let mut redis = incident(420, "source/redis");
        redis.condition = "blind".to_owned();
        redis.cause = "connection refused".to_owned();
        OnceView {
            node: "tower-1".to_owned(),
            version: "0.1.0".to_owned(),
            began_at: at("03:14:20"),
            ended_at: at("03:15:20"),
            well: false,
            unwell: vec!["1 watch is down".to_owned(), "1 watch is unknown".to_owned()],
            watches: vec![
                watch("mary", "down", Some(412)),
                watch("lisa", UNKNOWN, None),
                watch("nova", "late", None),
                watch("paula", "up", None),
            ],
            troubles: vec![incident(412, "agent/mary"), redis],
            ended: vec![ended],
            parts: Vec::new(),
            notified: false,
            owed: 2,
        }
    }

    #[test]
    fn trouble_and_what_is_unknown_come_first_and_the_last_line_says_it_all() {
        let said = text(&once_view(), &scene(true));
        assert_eq!(
            said,
            r"
tower-1   atalaya 0.1.0   watched for 1m   03:15:20
✗  agent/mary    down     1m 46s  silence > 90s       #412
?  agent/lisa    unknown          never heard yet
✗  source/redis  blind    1m 46s  connection refused  #420
4 watches: 1 down, 1 unknown, 1 late, 1 up
Nothing was sent: 2 messages stay owed; --notify sends
✗ not well: 1 watch is down, 1 watch is unknown
"
            .trim(),
            "\n{said}\n"
        );
        let well = OnceView {
            well: true,
            unwell: Vec::new(),
            watches: once_view().watches.split_off(2),
            troubles: Vec::new(),
            notified: true,
            owed: 0,
            ..once_view()
        };
        let said = text(&well, &scene(false));
        assert!(
            said.ends_with("\n2 watches: 1 late, 1 up\nAll messages were sent\n+ well"),
            "{said}"
        );
    }
}
