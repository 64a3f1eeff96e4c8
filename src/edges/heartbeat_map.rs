//! Heartbeat map: the file of that name, kept up to date for whoever reads it. Written beside its place and then
//! renamed, so that a reader has the whole of one or of another.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map as Object, Value};

use crate::{
    control::{Controller, agents::AgentView},
    domain::watch::agent::Verdict,
    wire::heartbeat_map::{HeartbeatMap, Known, Status},
};

/// A change is written within this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Written so often at least: how fresh it is can be told by its `timestamp`.
const WRITE_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// What could not be written is tried again after this.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// What it was like when it was last written, or tried.
#[derive(Debug, Clone, Copy)]
struct Tried {
    at: Timestamp,
    mark: u64,
    well: bool,
}

/// Keeps the file for as long as it is polled; `health` is told how each writing went.
pub async fn keep(
    controller: &Controller,
    path: &Path,
    health: impl Fn(Result<(), &str>),
) -> std::convert::Infallible {
    let mut last: Option<Tried> = None;
    loop {
        let (mark, now) = (controller.fleet_mark(), controller.now());
        if is_due(last, mark, now) {
            let map = HeartbeatMap::of(controller.fleet().into_iter().map(known), now);
            let written = write(path.to_owned(), map).await;
            health(written.as_ref().copied().map_err(String::as_str));
            last = Some(Tried { at: now, mark, well: written.is_ok() });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn is_due(last: Option<Tried>, mark: u64, now: Timestamp) -> bool {
    last.is_none_or(|last| {
        let age = now.duration_since(last.at);
        if last.well { last.mark != mark || WRITE_EVERY <= age } else { AGAIN_AFTER <= age }
    })
}

fn known((verdict, view): (Verdict, AgentView)) -> Known {
    let metadata = match view.metadata {
        Some(Value::Object(metadata)) => metadata,
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        )
        | None => Object::new(),
    };
    Known {
        id: view.id,
        name: view.name,
        status: status(verdict),
        last: view.last_beat,
        down_since: (verdict == Verdict::Down).then_some(view.since),
        group: view.group,
        metadata,
    }
}

fn status(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Up
        | Verdict::Late
        | Verdict::Failed
        | Verdict::Overrun
        | Verdict::Stalled
        | Verdict::Looping
        | Verdict::Degraded
        | Verdict::Unanswered
        | Verdict::NeedsInput => Status::Online,
        Verdict::Down | Verdict::Leaving => Status::Offline,
        Verdict::Waiting | Verdict::Paused | Verdict::Blind => Status::Unknown,
    }
}

/// On a thread of its own: the place may hang.
async fn write(path: PathBuf, map: HeartbeatMap) -> Result<(), String> {
    let shown = path.display().to_string();
    let written = tokio::task::spawn_blocking(move || put(&path, &map.text()?)).await;
    let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
    written.map_err(|error| format!("cannot write {shown}: {error}"))
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let new = path.with_file_name(name);
    // Left by a crash; made anew, it is ours, whoever else may write here.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
    let placed = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_data())
        .and_then(|()| fs::rename(&new, path));
    if placed.is_err() {
        // What is left of it helps nobody.
        let _ = fs::remove_file(&new);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_on_change_and_once_a_minute_and_tried_again() {
        let at = |second| Timestamp::from_second(second).expect("a moment");
        let tried = |well| Some(Tried { at: at(100), mark: 7, well });
        for (last, mark, second, due) in [
            (None, 7, 100, true),
            (tried(true), 7, 101, false),
            (tried(true), 8, 101, true),
            (tried(true), 7, 159, false),
            (tried(true), 7, 160, true),
            (tried(false), 8, 104, false),
            (tried(false), 7, 105, true),
        ] {
            assert_eq!(is_due(last, mark, at(second)), due, "{last:?} {mark} {second}");
        }
    }

    #[test]
    fn a_reader_finds_the_whole_of_one_or_of_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("map.json");
        let held = |text: &str| {
            put(&path, text).expect("it can be written");
            fs::File::open(&path).expect("it is there")
        };
        let first = held("first");
        fs::write(folder.path().join(".map.json.new"), "left by a crash").expect("a file");
        let second = held("second, and longer");
        for (file, text) in [(first, "first"), (second, "second, and longer")] {
            assert_eq!(io::read_to_string(file).expect("text"), text);
        }
        let names = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(names, 1, "nothing is left beside it");
        assert!(put(&folder.path().join("none/map.json"), "").is_err());
        fs::create_dir_all(folder.path().join("taken/x")).expect("a folder");
        assert!(put(&folder.path().join("taken"), "").is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "nor then");
    }
}
