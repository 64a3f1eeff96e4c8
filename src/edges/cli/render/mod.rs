//! Render: views as people read them on a terminal: local time, two units of duration, columns.

mod incidents;
mod lists;
pub(super) mod once;
mod show;
mod status;
mod summary;
mod why;

use jiff::{Timestamp, tz::TimeZone};

pub(super) use self::status::keeps_running;
use super::terminal::{Mood, Terminal};
use crate::control::{Reply, once::OnceView, words};

/// Where and when a view is read.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) node: String,
    /// The daemon's clock and zone: it said both with its answer.
    pub(super) now: Timestamp,
    pub(super) zone: TimeZone,
    /// The program's path as it was called.
    pub(super) program: String,
    pub(super) terminal: Terminal,
}

impl Scene {
    pub(super) fn clock(&self, at: Timestamp) -> String {
        words::clock(at, &self.zone, self.now)
    }

    fn minute(&self, at: Timestamp) -> String {
        words::minute(at, &self.zone, self.now)
    }

    fn precise(&self, at: Timestamp) -> String {
        words::precise(at, &self.zone, self.now)
    }

    fn age(&self, since: Timestamp) -> String {
        words::age(self.now.duration_since(since))
    }

    pub(super) fn paint(&self, mood: Mood, text: &str) -> String {
        self.terminal.paint(mood, text)
    }

    /// The glyph before a line about something of this severity.
    pub(super) fn mark(&self, severity: &str) -> (Mood, String) {
        let (mood, glyph) = match severity {
            "critical" => (Mood::Bad, "✗"),
            "warning" => (Mood::Warning, "!"),
            _ => (Mood::Faint, "·"),
        };
        (mood, self.terminal.glyph(glyph).to_owned())
    }
}

/// The whole text of an answer.
pub(super) fn reply(reply: &Reply, scene: &Scene) -> String {
    let text = match reply {
        Reply::Status(view) => status::text(view, scene),
        Reply::Agents(list) => lists::agents(list, scene),
        Reply::Unknown(list) => lists::unknown(list, scene),
        Reply::Draft(view) => lists::draft(view),
        Reply::Show(view) => show::text(view, scene),
        Reply::Incidents(list) => incidents::text(list, scene),
        Reply::Silences(list) => lists::silences(list, scene),
        Reply::Why(view) => why::text(view, scene),
        Reply::Ping(view) => lists::ping(view, scene),
        Reply::Done(done) => done.done.join("\n"),
    };
    scene.terminal.fit(&text)
}

/// What a run that ends found, for a terminal.
pub(super) fn once(view: &OnceView, scene: &Scene) -> String {
    scene.terminal.fit(&once::text(view, scene))
}

/// The same as Markdown.
pub(super) fn summary(view: &OnceView, scene: &Scene) -> String {
    summary::text(view, scene)
}

/// How a verdict or condition is coloured.
fn mood(word: &str) -> Mood {
    match word {
        "up" | "ok" => Mood::Good,
        "unknown" | "late" | "degraded" | "needs_input" | "blind" | "waiting" | "refused"
        | "held" => Mood::Warning,
        "idle" | "leaving" | "paused" | "info" => Mood::Faint,
        "test" => Mood::Plain,
        _ => Mood::Bad,
    }
}

fn plain(text: impl Into<String>) -> (Mood, String) {
    (Mood::Plain, text.into())
}

fn faint(text: impl Into<String>) -> (Mood, String) {
    (Mood::Faint, text.into())
}

#[cfg(test)]
pub(super) mod tests;
