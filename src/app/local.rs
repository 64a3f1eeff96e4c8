//! Local: what the command line does without a daemon, done with the configuration.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::SignedDuration;

use super::{
    daemon::{self, Start},
    doctor, logging,
};
use crate::{
    adapters::store::read_history,
    config::{self, Environment, Place, Report, Sources},
    domain::{history::History, registry::Wanted},
    edges::cli::local::{
        Checked, Examined, Files, Finding, Local, NotStarted, Once, Reach, Seen, Which,
    },
    ports::chain,
    wire,
};

/// The process as it was called.
pub struct Here {
    environment: Environment,
    cwd: PathBuf,
    program: String,
}

impl Here {
    /// Reads the environment, once.
    pub fn of_process() -> Self {
        let program = std::env::args_os().next();
        Self {
            environment: Environment::of_process(),
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            program: program
                .map_or_else(|| "atalaya".to_owned(), |it| it.to_string_lossy().into_owned()),
        }
    }

    fn sources(&self, files: &Files, offline: bool) -> Sources {
        Sources {
            config: files.config.clone(),
            registry: files.registry.clone(),
            flags: Vec::new(),
            environment: self.environment.clone(),
            cwd: self.cwd.clone(),
            offline,
        }
    }

    fn start(&self, files: &Files) -> Result<Start, NotStarted> {
        let reading = config::read(&self.sources(files, false));
        let daemon = reading.daemon.map_err(|report| {
            let text = report.to_string();
            NotStarted { code: 2, text: text.trim_start_matches("error: ").to_owned() }
        })?;
        logging::install(&daemon.log, self.environment.get("JOURNAL_STREAM").is_some());
        for finding in &reading.report.findings {
            match finding.level {
                config::Level::Warning => tracing::warn!("{finding}"),
                // The tree tells of a bad registry: the last good one may be in force.
                config::Level::Error => {}
            }
        }
        Ok(Start {
            daemon,
            registry_files: reading.registry_files,
            files: reading.files,
            program: self.program.clone(),
        })
    }
}

fn found(finding: config::Finding) -> Finding {
    let (place, line, column) = match finding.place {
        Place::File { path, line, column, .. } => (path, Some(line), Some(column)),
        Place::Named(place) => (place, None, None),
    };
    let level = match finding.level {
        config::Level::Error => "error",
        config::Level::Warning => "warning",
    };
    Finding { level, message: finding.message, place, line, column, help: finding.help }
}

impl Local for Here {
    fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).map(ToOwned::to_owned)
    }

    fn run(&self, files: &Files) -> Result<u8, NotStarted> {
        daemon::run(&self.start(files)?)
    }

    fn once(&self, files: &Files, once: Once) -> Result<Seen, NotStarted> {
        daemon::once(&self.start(files)?, once)
    }

    fn check(&self, files: &Files, offline: bool) -> Checked {
        let reading = config::read(&self.sources(files, offline));
        Checked {
            ok: !reading.report.has_errors(),
            files: reading.files.iter().map(|it| it.display().to_string()).collect(),
            text: reading.report.to_string(),
            findings: reading.report.findings.into_iter().map(found).collect(),
        }
    }

    fn examine(&self, files: &Files) -> Vec<Examined> {
        doctor::examine(config::read(&self.sources(files, false)), &self.program)
    }

    fn wanted(&self, files: &Files) -> Result<Wanted, String> {
        let reading = config::read(&self.sources(files, false));
        let registry = reading.registry.map_err(|report: Report| report.to_string())?;
        Ok(Wanted::clone(&registry.wanted))
    }

    fn history(
        &self,
        config: Option<&Path>,
        length: SignedDuration,
    ) -> Result<(History, Vec<Arc<str>>), String> {
        let files = Files { config: config.map(Path::to_owned), registry: None };
        let reading = config::read(&self.sources(&files, true));
        let daemon = reading.daemon.map_err(|report| report.to_string())?;
        let path = &daemon.store.path;
        if !path.exists() {
            return Err(format!(
                "there is no store at {}: no daemon of this configuration ran yet (--config names another)",
                path.display()
            ));
        }
        let history = read_history(path, length).map_err(|error| chain(&error))?;
        Ok((history, daemon.sources().iter().map(|it| Arc::from(it.name)).collect()))
    }

    fn schema(&self, which: Which) -> String {
        let (daemon, registry) = config::schema();
        let schema = match which {
            Which::Daemon => daemon,
            Which::Registry => registry,
            Which::HeartbeatMap => wire::heartbeat_map::schema(),
        };
        format!("{schema:#}\n")
    }

    fn reach(&self, config: Option<&Path>) -> Result<Option<Reach>, String> {
        let files = Files { config: config.map(Path::to_owned), registry: None };
        let reading = config::read(&self.sources(&files, true));
        if reading.files.is_empty() && config.is_none() {
            return Ok(None);
        }
        let daemon = reading.daemon.map_err(|report| report.to_string())?;
        Ok(Some(Reach {
            socket: Some(daemon.http.socket),
            bind: Some(daemon.http.bind.to_string()),
            token: daemon.http.token,
        }))
    }
}
