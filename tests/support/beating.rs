//! Agents that beat in the background: what else happens must not disturb them.

use std::{collections::BTreeSet, time::Duration};

use super::{client, daemon::Daemon, server::Background, wait};

/// Pings of these agents over HTTP, one round after another. Ends when dropped.
pub(crate) struct Beating {
    _rounds: Background,
    names: tokio::sync::watch::Sender<BTreeSet<String>>,
}

impl Beating {
    pub(crate) fn start<'a>(
        daemon: &Daemon,
        names: impl IntoIterator<Item = &'a str>,
        every: Duration,
    ) -> Self {
        let base = daemon.url("/ping/");
        let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
        let (sender, receiver) = tokio::sync::watch::channel(names);
        let rounds = Background::new();
        rounds.spawn(async move {
            let client = client();
            loop {
                let names = receiver.borrow().clone();
                for name in names {
                    // A daemon that is away hears nothing; the agents beat on.
                    let _ = client.get(format!("{base}{name}")).send().await;
                }
                wait::pause(every).await;
            }
        });
        Self { _rounds: rounds, names: sender }
    }

    /// This one beats no more.
    pub(crate) fn silence(&self, name: &str) {
        self.names.send_modify(|it| {
            it.remove(name);
        });
    }

    /// This one beats too.
    pub(crate) fn add(&self, name: &str) {
        self.names.send_modify(|it| {
            it.insert(name.to_owned());
        });
    }
}
