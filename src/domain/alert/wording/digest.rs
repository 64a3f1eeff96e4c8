//! How the digest is worded: each warning in the words of its own message, one line each.

use jiff::Timestamp;

use super::{Scene, bold, clock, message, text};
use crate::domain::{
    delivery::{Button, Message, Span},
    desk::Settings,
    incident::Incident,
};

/// Lines before the rest is counted: what fits a phone's screen.
const LINES_MAX: usize = 20;

/// Warnings of a period; each with whether its opening is news.
pub fn digest(
    settings: &Settings,
    told: &[(&Incident, bool)],
    period: (Timestamp, Timestamp),
    now: Timestamp,
) -> Message {
    let at = |at| clock(at, now, &settings.timezone);
    let new = told.iter().filter(|it| it.1).count();
    let over = told.iter().filter(|it| it.0.resolved.is_some()).count();
    let counts = [(new, "new"), (over, "over")];
    let counts: Vec<String> = counts
        .iter()
        .filter(|it| 0 < it.0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let line = |it: &Incident| {
        let told = message(&Scene {
            settings,
            members: &[it],
            reason: None,
            silence: None,
            holds: &[],
            repeats_at: None,
            now,
        });
        let mut line = vec![text(format!("{} ", told.glyph))];
        line.extend(told.headline.into_iter().map(|span| match span {
            Span::Bold(it) => Span::Plain(it),
            Span::Plain(_) | Span::Italic(_) | Span::Code(_) => span,
        }));
        line
    };
    let mut lines: Vec<Vec<Span>> = told.iter().take(LINES_MAX).map(|(it, _)| line(it)).collect();
    if LINES_MAX < told.len() {
        lines.push(vec![Span::Italic(format!("and {} more", told.len() - LINES_MAX))]);
    }
    Message {
        glyph: "🗂",
        headline: vec![
            bold(format!("Warnings {} to {}", at(period.0), at(period.1))),
            text(format!(": {}", counts.join(", "))),
        ],
        lines,
        quote: Vec::new(),
        footer: settings.node.to_string(),
        buttons: vec![Button::List],
    }
}
