//! Configuration: two files and what stands above them, checked at the door. All mistakes of all files
//! come at once, each with its place and how to mend it.
//!
//! ```text
//! defaults < atalaya.toml < .env < environment < flags ──layers──▶ raw::Daemon ──daemon──▶ Daemon ─┐
//! registry.toml, registry.d/*.toml ──walk by the schema──▶ raw::Registry ──registry──▶ Registry ◀──┘
//!                                        └──────── findings ────────┴──▶ Report
//! ```

mod agents;
mod daemon;
mod dependencies;
mod document;
mod environment;
mod layers;
mod locate;
mod maintenance;
mod raw;
mod receivers;
mod registry;
mod report;
pub mod settings;
mod shape;
mod targets;
mod values;
mod walk;

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use self::{
    document::{Document, steps},
    environment::Variable,
    registry::Fixed,
    values::Ground,
};
pub use self::{
    environment::Environment,
    layers::Flag,
    registry::Registry,
    report::{Finding, Level, Place, Report},
    settings::Daemon,
};

/// The registry of a start without files.
const BUILT_IN_REGISTRY: &str = "auto_register = true\n";
const BUILT_IN: &str = "built-in settings";

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`; else ATALAYA_CONFIG, else the standard places.
    pub config: Option<PathBuf>,
    /// `--registry`, a file or a folder; else ATALAYA_REGISTRY, else beside the daemon's file.
    pub registry: Option<PathBuf>,
    pub flags: Vec<Flag>,
    pub environment: Environment,
    /// What relative paths are relative to.
    pub cwd: PathBuf,
    /// `check --offline`: absent secrets only warn.
    pub offline: bool,
}

/// What was read of both files, each for itself: a bad registry does not keep the daemon from starting.
#[derive(Debug)]
pub struct Reading {
    pub daemon: Result<Daemon, Report>,
    pub registry: Result<Registry, Report>,
    pub registry_files: RegistryFiles,
    /// The files that were read, as they are shown; empty: built-in settings.
    pub files: Vec<PathBuf>,
    /// Everything that was found, errors and warnings of both.
    pub report: Report,
}

/// Settings without an error.
#[derive(Debug)]
pub struct Loaded {
    pub daemon: Daemon,
    pub registry: Registry,
    pub registry_files: RegistryFiles,
    pub files: Vec<PathBuf>,
    pub warnings: Vec<Finding>,
}

/// Reads everything; the error is the whole report.
pub fn load(sources: &Sources) -> Result<Loaded, Report> {
    let Reading { daemon, registry, registry_files, files, report } = read(sources);
    match (daemon, registry) {
        (Ok(daemon), Ok(registry)) => {
            Ok(Loaded { daemon, registry, registry_files, files, warnings: report.findings })
        }
        (Err(_), _) | (_, Err(_)) => Err(report),
    }
}

/// Reads everything that can be read.
pub fn read(sources: &Sources) -> Reading {
    let mut findings = Vec::new();
    let found = locate::locate(sources);
    let environment = sources.environment.variables();
    let home = sources.environment.get("HOME");
    let dotenv: Vec<Variable> = found
        .dotenv
        .iter()
        .filter_map(|path| Some((path, locate::read(&sources.cwd, path, &mut findings)?)))
        .collect::<Vec<_>>()
        .into_iter()
        .flat_map(|(path, text)| environment::dotenv(path, text, home, &mut findings))
        .collect();
    let file = found.config.as_ref().and_then(|path| {
        let text = locate::read(&sources.cwd, path, &mut findings)?;
        Some(Document::parse(&path.display().to_string(), text, &mut findings))
    });
    let clocks = layers::clocks([&dotenv, &environment], &mut findings);
    let (raw, layers) = layers::merge(file, &dotenv, &environment, &sources.flags, &mut findings);
    let ground = Ground {
        cwd: sources.cwd.clone(),
        credentials: (sources.environment.path("CREDENTIALS_DIRECTORY"))
            .map(|it| sources.cwd.join(it)),
        offline: sources.offline,
    };
    let host_name = &sources.environment.host_name;
    let daemon = daemon::check(&raw, &layers, &ground, host_name, &mut findings);
    let daemon_report = Report::new(findings.clone());
    let fixed = Fixed { daemon, unsure: daemon_report.has_errors(), clocks, ground };
    let registry_files = RegistryFiles { fixed, shown: found.registry.clone() };
    let (registry, files_of_registry) = registry_files.check(&mut findings);
    if let Ok(registry) = &registry {
        findings.extend(bot_without_chat(&registry_files.fixed.daemon, registry, &layers));
    }
    let daemon = if daemon_report.has_errors() {
        Err(daemon_report)
    } else {
        Ok(registry_files.fixed.daemon.clone())
    };
    let files = found.config.into_iter().chain(files_of_registry).chain(found.dotenv).collect();
    Reading { daemon, registry, registry_files, files, report: Report::new(findings) }
}

/// A bot that has nobody to talk to.
fn bot_without_chat(
    daemon: &Daemon,
    registry: &Registry,
    layers: &layers::Layers,
) -> Option<Finding> {
    let telegram = daemon.telegram.as_ref()?;
    let human = registry.receivers.iter().any(|it| it.human);
    (telegram.chat.is_none() && !human).then(|| {
        let message = "the bot has a token but no chat: nobody is told over Telegram";
        let place = layers.place(&steps!["telegram", "token"]);
        Finding::warning(place, message, "set chat in [telegram], or TELEGRAM_CHAT_ID")
    })
}

/// JSON Schemas (draft 2020-12) of atalaya.toml and registry.toml.
pub fn schema() -> (Json, Json) {
    (shape::schema::<raw::Daemon>(), shape::schema::<raw::Registry>())
}

/// The registry's files, with the daemon's settings that they are checked against: read again at every
/// save, while the daemon's settings hold for the whole run.
#[derive(Debug, Clone)]
pub struct RegistryFiles {
    fixed: Fixed,
    /// None: built-in.
    shown: Option<PathBuf>,
}

impl RegistryFiles {
    /// The same daemon with another registry: a draft.
    #[must_use]
    pub fn with(&self, registry: &Path) -> Self {
        Self { fixed: self.fixed.clone(), shown: Some(registry.to_owned()) }
    }

    /// Reads and checks the files as they are now.
    pub fn read(&self) -> Result<Registry, Report> {
        self.check(&mut Vec::new()).0
    }

    /// Checks a text that [`Registry::text`] gave earlier.
    pub fn read_kept(&self, text: &str) -> Result<Registry, Report> {
        match serde_json::from_str(text) {
            Ok(texts) => self.check_texts(texts, &mut Vec::new()),
            Err(error) => {
                let place = Place::Named("the registry that was kept".into());
                let message = format!("cannot read it: {error}");
                Err(Report {
                    findings: vec![Finding::error(place, message, "save the registry anew")],
                })
            }
        }
    }

    /// A digest of the files' present content; differs when anything was written.
    pub fn fingerprint(&self) -> String {
        let (texts, _, findings) = self.texts();
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let parts = texts.iter().flat_map(|(path, text)| [path.as_str(), text.as_str()]);
        settings::digest(parts.chain(findings.iter().map(String::as_str)))
    }

    /// Folders in which a change may concern the registry; absolute where the working folder is.
    pub fn folders(&self) -> Vec<PathBuf> {
        let Some(shown) = &self.shown else { return Vec::new() };
        let at = self.fixed.ground.cwd.join(shown);
        if at.is_dir() {
            return vec![at];
        }
        let beside = at.with_extension("d");
        let parent = at.parent().map(Path::to_owned);
        parent.into_iter().chain(beside.is_dir().then_some(beside)).collect()
    }

    fn texts(&self) -> (Vec<(String, String)>, Vec<PathBuf>, Vec<Finding>) {
        let mut findings = Vec::new();
        let Some(shown) = &self.shown else {
            return (vec![(BUILT_IN.into(), BUILT_IN_REGISTRY.into())], Vec::new(), findings);
        };
        let cwd = &self.fixed.ground.cwd;
        let files = locate::registry_files(cwd, shown);
        let texts = files
            .iter()
            .filter_map(|file| {
                let text = locate::read(cwd, file, &mut findings)?;
                Some((file.display().to_string(), text))
            })
            .collect();
        (texts, files, findings)
    }

    fn check(&self, findings: &mut Vec<Finding>) -> (Result<Registry, Report>, Vec<PathBuf>) {
        let (texts, files, unreadable) = self.texts();
        if unreadable.is_empty() {
            return (self.check_texts(texts, findings), files);
        }
        // What can be read is checked all the same, so that its mistakes are told too.
        let mut own = unreadable;
        registry::check(&self.fixed, texts, &mut own);
        findings.extend(own.iter().cloned());
        (Err(Report::new(own)), files)
    }

    fn check_texts(
        &self,
        texts: Vec<(String, String)>,
        findings: &mut Vec<Finding>,
    ) -> Result<Registry, Report> {
        let first = findings.len();
        registry::check(&self.fixed, texts, findings)
            .ok_or_else(|| Report::new(findings[first..].to_vec()))
    }
}
