//! Doctor: looks at all that needs no daemon: files, store, disk, each receiver and Redis, the clock. Nobody is told
//! anything, nothing is changed.

use std::{path::Path, time::Duration};

use futures_util::future::join_all;
use tokio::process::Command;

use super::build;
use crate::{
    adapters::{clock::MachineClock, notify, store},
    config::{
        self, Reading,
        settings::{Daemon, Receiver},
    },
    edges::cli::local::Examined,
    ports::{chain, clock::Clock as _, notifier::Ailment, registry::ReadyReceiver, store::Fault},
    wire,
};

/// Longer than any receiver's own time-outs for one request and its connection.
const LOOK_WITHIN: Duration = Duration::from_secs(25);

/// systemd answers at once, or not at all.
const CLOCK_WITHIN: Duration = Duration::from_secs(2);

/// Mistakes that are named here; `check` has them all.
const FINDINGS_SHOWN_MAX: usize = 3;

/// With less than this a store that grows by megabytes a day is full within weeks.
const FREE_BYTES_FEW: u64 = 1 << 30;
/// With less than this one bad night fills the disk.
const FREE_BYTES_BAD: u64 = 100 << 20;

/// Everything that was looked at, `files` first.
pub(super) fn examine(reading: Reading, program: &str) -> Vec<Examined> {
    let mut found = vec![files(&reading, program)];
    let Ok(daemon) = reading.daemon else { return found };
    found.push(store(&daemon.store.path));
    found.extend(disk(&daemon.store.path));
    found.extend(deadman(&daemon));
    // Of a registry that cannot be read nothing is known; `files` says so.
    let receivers = reading.registry.ok().map(|it| it.receivers);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => found.extend(runtime.block_on(ways(&daemon, receivers.as_deref()))),
        Err(error) => {
            let text = format!("starting the runtime: {error}");
            found.push(Examined::problem("receivers", text, "ulimit -a"));
        }
    }
    found
}

fn files(reading: &Reading, program: &str) -> Examined {
    let shown: Vec<String> = reading.files.iter().map(|it| it.display().to_string()).collect();
    let text =
        if shown.is_empty() { "none: built-in settings".to_owned() } else { shown.join(", ") };
    let report = &reading.report;
    if report.findings.is_empty() {
        return Examined::well("files", text);
    }
    let mut lines = vec![text, report.count()];
    lines.extend(report.findings.iter().take(FINDINGS_SHOWN_MAX).map(config::Finding::brief));
    let (text, mend) = (lines.join("\n"), format!("{program} check"));
    if report.has_errors() {
        return Examined::problem("files", text, mend);
    }
    Examined::warning("files", text, mend)
}

fn store(path: &Path) -> Examined {
    let file = path.display();
    let error = match store::look(path) {
        Ok(Some(bytes)) => {
            return Examined::well(
                "store",
                format!("sqlite {file}, whole and writable, {}", size(bytes)),
            );
        }
        Ok(None) => {
            return Examined::well("store", format!("sqlite {file}, made at the first start"));
        }
        Err(error) => error,
    };
    let folder = path.parent().unwrap_or(Path::new(".")).display();
    let mend = match error.kind {
        Fault::Full => format!("df -h '{folder}'"),
        Fault::ReadOnly => format!("sudo chown -R \"$USER\" '{folder}'"),
        Fault::Damaged => format!("mv '{file}' '{file}.damaged'"),
        Fault::Busy => format!("fuser -v '{file}'"),
        Fault::NewerSchema | Fault::Other => format!("ls -l '{file}'; another: [store] url"),
    };
    Examined::problem("store", chain(&error), mend)
}

/// Only what is in want of room.
fn disk(path: &Path) -> Option<Examined> {
    let free = store::free_bytes(path)?;
    let text = || format!("{} free where the store is", size(free));
    let mend = || format!("df -h '{}'", path.parent().unwrap_or(Path::new(".")).display());
    match free {
        0..FREE_BYTES_BAD => Some(Examined::problem("disk", text(), mend())),
        FREE_BYTES_BAD..FREE_BYTES_FEW => Some(Examined::warning("disk", text(), mend())),
        _ => None,
    }
}

/// Whether it is pinged is the daemon's to say: a ping of ours would be a false one.
fn deadman(daemon: &Daemon) -> Option<Examined> {
    daemon.deadman.is_none().then(|| {
        let text = "nobody would tell you that this machine died";
        Examined::warning("deadman", text, "[deadman] url = \"https://hc-ping.com/your-uuid\"")
    })
}

/// What needs the network or another program, all at once.
async fn ways(daemon: &Daemon, receivers: Option<&[Receiver]>) -> Vec<Examined> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut found = Vec::new();
    if daemon.delivery.dry_run {
        let text = "dry run: receivers are sent nothing but test messages";
        found.push(Examined::warning("delivery", text, "[delivery] dry_run = false"));
    }
    found.extend(match receivers {
        Some(receivers) => all_receivers(receivers).await,
        None => Vec::new(),
    });
    found.extend(redis(daemon).await);
    found.push(clock().await);
    found
}

async fn all_receivers(receivers: &[Receiver]) -> Vec<Examined> {
    if receivers.is_empty() {
        let text = "none: nobody is told but this terminal's log";
        let mend = "echo 'TELEGRAM_BOT_TOKEN=…' >> .env; echo 'TELEGRAM_CHAT_ID=…' >> .env";
        return vec![Examined::warning("receivers", text, mend)];
    }
    // Those that a dry run holds are looked at as they are.
    let built = wire::http::client()
        .map_err(wire::http::chain)
        .and_then(|it| build::receivers(receivers, &it, false).map_err(|error| chain(&error)));
    match built {
        Ok(receivers) => join_all(receivers.iter().map(receiver)).await,
        Err(why) => vec![Examined::problem("receivers", why, "mend its [[receiver]]")],
    }
}

async fn receiver(ready: &ReadyReceiver) -> Examined {
    looked(ready.id.to_string(), ready.notifier.look()).await
}

/// The Redis that is listened to.
async fn redis(daemon: &Daemon) -> Option<Examined> {
    let settings = daemon.redis.as_ref()?;
    let settings =
        notify::redis::Settings { url: settings.url.clone(), prefix: settings.prefix.clone() };
    let part = "source/redis".to_owned();
    Some(match notify::redis::new(&settings) {
        Ok(redis) => looked(part, crate::ports::notifier::Notifier::look(&redis)).await,
        Err(error) => Examined::problem(part, chain(&error), "mend [redis] url, or REDIS_URL"),
    })
}

async fn looked(part: String, looking: impl Future<Output = Result<String, Ailment>>) -> Examined {
    let clock = MachineClock::new();
    let begun = clock.now();
    let found = tokio::time::timeout(LOOK_WITHIN, looking).await;
    let took = clock.now().duration_since(begun).as_millis();
    match found {
        Ok(Ok(text)) => Examined::well(part, format!("{text}, {took} ms")),
        Ok(Err(Ailment { why, mend })) => Examined::problem(part, why, mend),
        Err(_) => Examined::problem(
            part,
            format!("no answer within {} s", LOOK_WITHIN.as_secs()),
            "see whether a firewall swallows what is sent there",
        ),
    }
}

/// Where systemd knows whether the machine's clock is kept right, that is said.
async fn clock() -> Examined {
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .kill_on_drop(true)
        .output();
    let answer = tokio::time::timeout(CLOCK_WITHIN, asked).await;
    let answer = answer.ok().and_then(Result::ok).map(|it| it.stdout).unwrap_or_default();
    let now = MachineClock::new().wall().strftime("%F %T UTC");
    match String::from_utf8_lossy(&answer).trim() {
        "yes" => Examined::well("clock", format!("{now}, kept right over the network")),
        "no" => Examined::warning(
            "clock",
            format!("{now}, and nothing keeps it right: what is shown may be off"),
            "sudo timedatectl set-ntp true",
        ),
        _ => Examined::well("clock", format!("{now}; what keeps it right is not known here")),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}
