//! Files: the registry as it stands on the disk, watched for changes.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

use super::build;
use crate::{
    config::{Registry as Checked, RegistryFiles, Report},
    edges::http::door::Tokens,
    ports::{
        Pending, chain,
        registry::{Call, Read, Registry, Unreadable},
    },
};

/// The files are looked at this often, whatever the file system tells: it is silent about network mounts,
/// and about a folder that was put in the place of the watched one. A save is acted on within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub struct Files {
    registry: RegistryFiles,
    client: reqwest::Client,
    /// `[delivery] dry_run`: receivers are sent nothing.
    dry_run: bool,
    /// Pings of an agent may need its token: taken over with each reading that is adopted.
    tokens: Arc<Tokens>,
    token_for_all: Option<secrecy::SecretString>,
    told: Arc<Notify>,
    hangup: tokio::sync::Mutex<Signal>,
    watcher: Mutex<Watched>,
}

/// The folders that inotify watches; a folder that appears later is added.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    folders: Vec<PathBuf>,
}

impl Files {
    /// # Errors
    /// When the signal handler for SIGHUP cannot be installed.
    pub fn new(
        files: RegistryFiles,
        client: reqwest::Client,
        dry_run: bool,
        tokens: Arc<Tokens>,
        token_for_all: Option<secrecy::SecretString>,
    ) -> std::io::Result<Self> {
        let told = Arc::new(Notify::new());
        let teller = Arc::clone(&told);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Our own reading is an access too: told of it, we would read for ever.
            if event.map_or(true, |it| !it.kind.is_access()) {
                teller.notify_one();
            }
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "the file system does not tell of changes; files are looked at every half second");
        }
        let files = Self {
            registry: files,
            client,
            dry_run,
            tokens,
            token_for_all,
            told,
            hangup: tokio::sync::Mutex::new(signal(SignalKind::hangup())?),
            watcher: Mutex::new(Watched { watcher: watcher.ok(), folders: Vec::new() }),
        };
        files.watch_folders();
        Ok(files)
    }

    /// Watches folders, not files: an editor that renames would leave us with the old file.
    fn watch_folders(&self) {
        let mut watched = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in self.registry.folders() {
            if watched.folders.contains(&folder) {
                continue;
            }
            let Some(watcher) = &mut watched.watcher else { return };
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => watched.folders.push(folder),
                Err(error) => {
                    tracing::debug!(folder = %folder.display(), %error, "folder is not watched");
                }
            }
        }
    }

    fn ready(&self, checked: Result<Checked, Report>) -> Result<Read, Unreadable> {
        let checked = checked
            .map_err(|report| Unreadable { brief: report.brief(), report: report.to_string() })?;
        let receivers = build::receivers(&checked.receivers, &self.client, self.dry_run)
            .map_err(|error| Unreadable::one(chain(&error)))?;
        let agent_tokens = checked.agent_tokens.into_iter().collect();
        Ok(Read { wanted: checked.wanted, receivers, text: checked.text, agent_tokens })
    }
}

impl Registry for Files {
    fn read(&self) -> Result<Read, Unreadable> {
        self.ready(self.registry.read())
    }

    fn read_kept(&self, text: &str) -> Result<Read, Unreadable> {
        self.ready(self.registry.read_kept(text))
    }

    fn fingerprint(&self) -> String {
        self.registry.fingerprint()
    }

    fn called(&self) -> Pending<'_, Call> {
        Box::pin(async move {
            self.watch_folders();
            let mut hangup = self.hangup.lock().await;
            tokio::select! {
                () = self.told.notified() => Call::Look,
                _ = hangup.recv() => {
                    tracing::info!("told to read the registry (SIGHUP)");
                    Call::Read
                }
                () = tokio::time::sleep(LOOK_EVERY) => Call::Look,
            }
        })
    }

    fn adopted(&self, read: &Read) {
        let agents = read.agent_tokens.iter().map(|(name, token)| (name.clone(), token));
        self.tokens.replace(self.token_for_all.as_ref(), agents);
    }
}
