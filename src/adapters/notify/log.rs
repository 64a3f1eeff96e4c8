//! Log: one line of JSON per event, at the end of a file, or in atalaya's own log.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{Access, access},
    io::Errno,
};
use serde_json::{Value, json};
use tokio::{fs::OpenOptions, io::AsyncWriteExt};

use super::{Kind, incident, not_for_this};
use crate::{
    domain::delivery::{Body, Delivery, Event},
    ports::{
        Pending,
        notifier::{Ailment, Attempt, Context, Notifier},
    },
};

pub const KIND: Kind = Kind {
    name: "log",
    about: "a file of one JSON line per event, or atalaya's own log",
    human: false,
    // A file has no time-out; a disk that hangs longer than this is gone.
    attempt_max: Duration::from_secs(5),
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Made with mode 0600 if it is not there. `None`: atalaya's own log, at level info.
    pub file: Option<PathBuf>,
}

#[derive(Debug)]
pub struct Log {
    file: Option<PathBuf>,
}

pub fn new(settings: Settings) -> Log {
    Log { file: settings.file }
}

impl Notifier for Log {
    fn send<'a>(&'a self, delivery: &'a Delivery, _: &'a Context) -> Pending<'a, Attempt> {
        Box::pin(async move {
            let Body::Event(event) = &delivery.body else { return not_for_this() };
            let incident = match incident(event) {
                Ok(incident) => incident,
                Err(refused) => return refused,
            };
            let Some(path) = &self.file else {
                tell(delivery, event);
                return Attempt::Accepted { reference: None };
            };
            match append(path, &line(delivery, event, &incident)).await {
                Ok(()) => Attempt::Accepted { reference: None },
                Err(error) => {
                    let why = format!("cannot write {}: {error}", path.display());
                    Attempt::Again { after: None, why }
                }
            }
        })
    }

    fn look(&self) -> Pending<'_, Result<String, Ailment>> {
        Box::pin(async move {
            let Some(path) = &self.file else { return Ok("atalaya's own log".to_owned()) };
            let file = path.display();
            let why = |error| format!("{file} cannot be written: {error}");
            // It is made at the first line; until then its folder counts.
            let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let place = if path.exists() { path } else { folder };
            match access(place, Access::WRITE_OK) {
                Ok(()) => Ok(format!("{file} can be written")),
                Err(error) if error == Errno::NOENT => {
                    Err(Ailment::new(why(error), format!("mkdir -p '{}'", place.display())))
                }
                Err(error) => {
                    let mend = format!("sudo chown \"$USER\" '{}'", place.display());
                    Err(Ailment::new(why(error), mend))
                }
            }
        })
    }
}

fn tell(delivery: &Delivery, event: &Event) {
    tracing::info!(
        event = event.event,
        incident = delivery.incidents.first().map(|it| it.0),
        severity = delivery.severity.word(),
        status = event.status,
        text = event.message,
        "incident told"
    );
}

fn line(delivery: &Delivery, event: &Event, incident: &Value) -> String {
    let line = json!({
        "at": format!("{:.3}", delivery.created_at),
        "event": event.event,
        "severity": delivery.severity.word(),
        "status": event.status,
        "message": event.message,
        "incident": incident,
        "idempotency_key": delivery.key,
    });
    format!("{line}\n")
}

/// Opened for each line, so that a file that was moved away by rotation is made anew; written at once, so that
/// lines of two events do not mix.
async fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).await?;
    file.write_all(line.as_bytes()).await?;
    file.flush().await
}
