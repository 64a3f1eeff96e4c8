//! Beats: what a payload says, as the domain understands it. The one place where text of the wire
//! becomes a [`Beat`], for every source and every edge.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    domain::{
        id::SourceId,
        text::Text,
        watch::beat::{Beat, Busy, Progress, Report},
    },
    wire::beats::{RawBeat, RawBusy, RawProgress, Status},
};

/// Longest task, operation or status word that is kept, in characters.
pub const TASK_CHARACTERS_MAX: usize = 200;

/// A beat that was heard at `at` over `source`. One with a field that could not be used is marked as
/// malformed and keeps what could be read.
pub fn beat(raw: RawBeat, at: Timestamp, source: SourceId) -> Beat {
    Beat {
        report: report(raw.status),
        claimed: raw.timestamp,
        seq: raw.seq,
        task: raw.task.map(|said| said.as_deref().map(clean).filter(|it| !it.is_empty())),
        progress: raw.progress.map(|it| match it {
            RawProgress::Count(count) => Progress::Count(count),
            RawProgress::Digest(digest) => Progress::Digest(Arc::from(digest)),
        }),
        busy: match raw.busy {
            RawBusy::Unsaid => Busy::Keep,
            RawBusy::End => Busy::End,
            RawBusy::For { op, length } => Busy::Until { op: clean(&op), for_: length },
        },
        metadata: raw.metadata.map(Arc::from),
        malformed: raw.fault.is_some(),
        ..Beat::plain(at, source)
    }
}

/// A payload that says nothing we can read: a pulse and nothing else.
pub fn pulse(at: Timestamp, source: SourceId) -> Beat {
    Beat::unreadable(at, source)
}

fn report(status: Option<Status>) -> Report {
    match status {
        None | Some(Status::Alive) => Report::Alive,
        Some(Status::Working) => Report::Working,
        Some(Status::Idle) => Report::Idle,
        Some(Status::Degraded(word)) => Report::Degraded(clean(&word)),
        Some(Status::Stopping) => Report::Stopping,
        Some(Status::NeedsInput) => Report::NeedsInput,
    }
}

fn clean(text: &str) -> Text {
    Text::clean(text, TASK_CHARACTERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn what_an_agent_writes_is_bounded_and_cleaned() {
        let payload = format!(
            r#"{{"status":"error","task":"a\u202eb{}","progress":"d","busy":{{"op":"x\ny","for":60}},"seq":-1}}"#,
            "c".repeat(400)
        );
        let raw = wire::beats::read(payload.as_bytes()).unwrap();
        let beat = beat(raw, Timestamp::UNIX_EPOCH, SourceId(3));
        assert_eq!(beat.report, Report::Degraded(Text::clean("error", 9)));
        let task = beat.task.unwrap().unwrap();
        assert!(task.as_str().starts_with("abccc"));
        assert_eq!(task.as_str().chars().count(), TASK_CHARACTERS_MAX);
        let Busy::Until { op, for_ } = beat.busy else { panic!("{:?}", beat.busy) };
        assert_eq!((op.as_str(), for_.as_secs()), ("x y", 60));
        assert!(beat.malformed, "seq was not usable");
        assert_eq!(beat.progress, Some(Progress::Digest("d".into())));
    }
}
