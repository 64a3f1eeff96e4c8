//! Daemon: from checked settings to a running tree, and its orderly end.

use std::{
    convert::Infallible,
    fs::DirBuilder,
    io::{self, Write as _},
    net::TcpListener,
    os::unix::fs::DirBuilderExt,
    path::Path,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::http::HeaderMap;
use jiff::Timestamp;
use ractor::ActorRef;
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use super::{
    build, faces,
    files::Files,
    house::{Ground, prepare, raise, take_down},
    presses,
};
use crate::{
    actors::{
        context::{Shared, Timing},
        edges::Edge,
        incident_manager, outbox, panics,
        registry::KEPT,
        root::{self, Parts},
        tower::Tower,
    },
    adapters::{
        clock::MachineClock,
        lock::{LifeLock, LockError},
        service_manager::Systemd,
        store::SqliteStore,
    },
    config::{RegistryFiles, settings::Daemon},
    control::{Caller, Controller, Face, Scope},
    domain::{id::SourceId, restart::Intensity, text::Text},
    edges::{
        http::{
            HttpState, Readiness, api,
            door::{Limits, Tokens},
        },
        telegram::{self, TelegramEdge},
    },
    ports::{
        chain,
        clock::Clock,
        registry::{Read, Registry as _},
        service_manager::ServiceManager,
        store::{Fault, SharedStore, Store as _},
    },
    wire,
};

/// Requests a second that HTTP takes before it answers 429; some ten times what 10,000 agents send that
/// beat every 10 s.
const REQUESTS_PER_SECOND_MAX: u32 = 200_000;
/// Bodies of `/api/v1/beats` read at once, 4 MiB at most each.
const BODIES_MAX: usize = 32;
/// A tree that does not judge by then is told of; the start waits on.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a stop waits for each of the two that owe something (docs/BEHAVIOUR.md 11).
const DRAIN_WITHIN: Duration = Duration::from_millis(800);
/// Another instance holds the state folder (docs/BEHAVIOUR.md 11; EX_TEMPFAIL of sysexits.h).
pub const HELD: u8 = 75;
/// The tree's core kept failing (EX_SOFTWARE).
const GAVE_UP: u8 = 70;

/// Why the daemon did not start, in words, with the exit code.
#[derive(Debug)]
pub struct NotStarted {
    pub code: u8,
    pub text: String,
}

impl NotStarted {
    fn new(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }
}

/// What the daemon is started with.
pub struct Start {
    pub daemon: Daemon,
    pub registry_files: RegistryFiles,
    /// The files as they are shown; empty: built-in settings.
    pub files: Vec<std::path::PathBuf>,
    /// The program's path as it was called: hints can be pasted.
    pub program: String,
}

/// Runs until it is told to stop. Returns the exit code: 0 after SIGTERM or SIGINT.
///
/// # Errors
/// When it could not start; nothing was changed then.
pub fn run(start: Start) -> Result<u8, NotStarted> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let state_dir = &start.daemon.node.state_dir;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    made.map_err(|error| {
        NotStarted::new(format!(
            "cannot make the state folder {}: {error}\n  mend: [node] state_dir, or its owner",
            state_dir.display()
        ))
    })?;
    let _lock = LifeLock::acquire(state_dir).map_err(|error| match error {
        held @ LockError::Held { .. } => NotStarted { code: HELD, text: held.to_string() },
        failed @ LockError::Failed { .. } => NotStarted::new(chain(&failed)),
    })?;
    let listener = listen(&start.daemon)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| NotStarted::new(format!("cannot start the runtime: {error}")))?;
    let code = runtime.block_on(serve(start, listener));
    // Transactions on their own threads have committed by now; what is left is idle.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

fn listen(daemon: &Daemon) -> Result<TcpListener, NotStarted> {
    let bind = daemon.http.bind;
    TcpListener::bind(bind)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| {
            let taken = error.kind() == io::ErrorKind::AddrInUse;
            let what =
                if taken { "another program listens there".into() } else { error.to_string() };
            NotStarted::new(format!(
                "cannot listen on {bind}: {what}\n  mend: [http] bind, or end what is there"
            ))
        })
}

async fn serve(start: Start, listener: TcpListener) -> Result<u8, NotStarted> {
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::new());
    let begun = clock.now();
    let panics_clock = Arc::clone(&clock);
    panics::install(move || {
        Duration::try_from(panics_clock.now().duration_since(begun)).unwrap_or_default()
    });
    let store = open_store(&start.daemon.store.path, clock.wall()).await;
    let tokens = Arc::new(Tokens::default());
    let client = wire::http::client()
        .map_err(|error| NotStarted::new(format!("cannot build the HTTP client: {error}")))?;
    let files = Files::new(
        start.registry_files.clone(),
        client.clone(),
        start.daemon.delivery.dry_run,
        Arc::clone(&tokens),
        start.daemon.http.token.clone(),
    )
    .map_err(|error| NotStarted::new(format!("cannot watch for signals: {error}")))?;
    let read = first_reading(&files, &store).await?;
    files.adopted(&read);
    let manager: Arc<dyn ServiceManager> = Arc::new(Systemd);
    let ground = Ground {
        clock: Arc::clone(&clock),
        store,
        read,
        sources: start.daemon.sources().iter().map(|it| it.name.to_owned()).collect(),
        timing: Timing::default(),
        watchdog: manager.watchdog(),
    };
    let context = prepare(ground).await.map_err(|error| NotStarted::new(chain(&error)))?;
    let bound = listener.local_addr().unwrap_or(start.daemon.http.bind);
    let sources = build::sources(&start.daemon, bound, &clock)
        .map_err(|error| NotStarted::new(chain(&error)))?;
    let gave_up = Arc::new(Notify::new());
    let signs = build::signs(&start.daemon, &client, &clock)
        .map_err(|error| NotStarted::new(chain(&error)))?;
    let parts = Parts {
        context: Arc::clone(&context),
        sources: sources.into(),
        edges: edges(&start.daemon, &context, listener, &tokens, client)?.into(),
        registry: Arc::new(files),
        manager: Arc::clone(&manager),
        signs: signs.into(),
        intensity: Intensity::default(),
        gave_up: Arc::clone(&gave_up),
    };
    let root = raise(parts).await.map_err(|error| NotStarted::new(chain(&error)))?;
    let words = super::first_words::words(&start, bound, &context);
    let code = live(&context, manager.as_ref(), &gave_up, &words).await?;
    end(&context, root, manager.as_ref()).await;
    // The socket would tell the next command that somebody is there.
    let _ = std::fs::remove_file(&start.daemon.http.socket);
    Ok(code)
}

/// The store. A damaged file is kept under another name and a new one begun: a watch that does not start
/// because of its own memory is no watch.
async fn open_store(path: &Path, now: Timestamp) -> SharedStore {
    let store = SqliteStore::new(path);
    let damaged = match store.open().await {
        Err(error) if error.kind == Fault::Damaged => error,
        Ok(_) | Err(_) => return Arc::new(store),
    };
    let aside = format!("damaged-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    for suffix in ["", "-wal", "-shm"] {
        let mut from = path.as_os_str().to_owned();
        from.push(suffix);
        let mut to = path.as_os_str().to_owned();
        to.push(format!(".{aside}{suffix}"));
        if let Err(error) = std::fs::rename(&from, &to)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, "the damaged store cannot be set aside");
        }
    }
    tracing::error!(
        error = chain(&damaged),
        kept_as = format!("{}.{aside}", path.display()),
        "the store is damaged: it is kept under another name and a new one is begun"
    );
    Arc::new(SqliteStore::new(path))
}

/// The files, or the last good registry where they are bad: that is told as an incident by the tree.
async fn first_reading(files: &Files, store: &SharedStore) -> Result<Read, NotStarted> {
    let report = match files.read() {
        Ok(read) => return Ok(read),
        Err(unreadable) => unreadable.report,
    };
    let kept = store.meta(KEPT).await.ok().flatten();
    if let Some(read) = kept.and_then(|text| files.read_kept(&text).ok()) {
        tracing::error!("the registry is bad; the last good one is in force until it is mended");
        return Ok(read);
    }
    let report = report.trim_start_matches("error: ");
    let text = format!("{report}\nno good registry was kept of an earlier run");
    Err(NotStarted { code: 2, text })
}

fn edges(
    daemon: &Daemon,
    context: &Shared,
    listener: TcpListener,
    tokens: &Arc<Tokens>,
    client: reqwest::Client,
) -> Result<Vec<Arc<dyn Edge>>, NotStarted> {
    let tower = Tower::new(Arc::clone(context));
    let wanted = Arc::clone(context);
    let names: Vec<String> = daemon.sources().iter().map(|it| it.name.to_owned()).collect();
    let controller = Controller::new(
        tower.clone(),
        Arc::new(move || Arc::clone(&wanted.wanted().desk)),
        names.into(),
    );
    let readiness = Arc::clone(context);
    let state = HttpState::new(crate::edges::http::Parts {
        ear: tower.ear(),
        clock: Arc::clone(&context.clock),
        source: SourceId(0),
        tokens: Arc::clone(tokens),
        limits: Arc::new(Limits::new(REQUESTS_PER_SECOND_MAX, BODIES_MAX)),
        ready: Arc::new(move || ready(&readiness)),
    });
    let (door, has_token) = (Arc::clone(tokens), daemon.http.token.is_some());
    let over_tcp = api::routes(
        controller.clone(),
        Arc::new(move |headers: &HeaderMap| caller(&door, has_token, headers)),
    );
    let over_socket = api::routes(
        controller.clone(),
        Arc::new(|headers: &HeaderMap| Caller {
            name: api::says_to_be(headers).unwrap_or_else(|| Text::clean("someone", 40)),
            via: Face::Socket,
            may: Scope::Act,
        }),
    );
    let group = daemon.http.socket_group.as_deref().map(group_id).transpose()?;
    let socket = daemon.http.socket.clone();
    let mut edges: Vec<Arc<dyn Edge>> = vec![
        Arc::new(faces::Tcp { listener, state: state.clone(), api: over_tcp }),
        Arc::new(faces::Socket { path: socket, group, state, api: over_socket }),
    ];
    if let Some(path) = daemon.heartbeat_map.clone() {
        let (controller, context) = (controller.clone(), Arc::clone(context));
        edges.push(Arc::new(faces::MapFile { path, controller, context }));
    }
    if let Some(settings) = daemon.telegram.as_ref().filter(|it| it.listen) {
        let url = reqwest::Url::parse(&settings.api_url)
            .map_err(|error| NotStarted::new(format!("[telegram] api_url: {error}")))?;
        let bot = wire::telegram::Api::new(client, url, settings.token.clone())
            .map_err(|error| NotStarted::new(format!("[telegram] {error}")))?;
        let who = telegram::Settings {
            users: settings.allowed_users.iter().filter_map(|it| u64::try_from(*it).ok()).collect(),
        };
        let desk = Arc::new(presses::Desk::new(controller, Arc::clone(context)));
        edges.push(Arc::new(faces::Buttons(Arc::new(TelegramEdge::new(bot, who, desk)))));
    }
    Ok(edges)
}

/// Over TCP: with a token everything; without one, where none is configured, reading and pinging.
fn caller(tokens: &Tokens, has_token: bool, headers: &HeaderMap) -> Caller {
    let holds = has_token && tokens.holds_key(headers);
    Caller {
        name: Text::clean(if holds { "token" } else { "http" }, 40),
        via: Face::Http,
        may: if holds {
            Scope::Act
        } else if has_token {
            Scope::None
        } else {
            Scope::Ping
        },
    }
}

fn group_id(name: &str) -> Result<u32, NotStarted> {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let found = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| {
        NotStarted::new(format!("[http] socket_group: this machine has no group `{name}`"))
    })
}

fn ready(context: &Shared) -> Readiness {
    let judging = context.ready.load(Ordering::Acquire);
    let parts: Vec<_> = context
        .board
        .parts()
        .iter()
        .map(|part| {
            json!({
                "part": part.watch.to_string(),
                "trouble": part.trouble.map(crate::domain::watch::Condition::word),
                "detail": part.detail.as_str(),
            })
        })
        .collect();
    Readiness { judging, body: json!({ "judging": judging, "parts": parts }) }
}

async fn judges(context: &Shared) {
    let mut overdue = pin!(tokio::time::sleep(READY_WITHIN));
    let mut told = false;
    while !context.ready.load(Ordering::Acquire) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(2)) => {}
            () = &mut overdue, if !told => {
                told = true;
                tracing::error!("the tree does not judge yet, 30 s after the start");
            }
        }
    }
}

/// Until a signal ends it, or Root gives up. It is ready when it judges, and not before.
async fn live(
    context: &Shared,
    manager: &dyn ServiceManager,
    gave_up: &Notify,
    first_words: &str,
) -> Result<u8, NotStarted> {
    let failed = |error: io::Error| NotStarted::new(format!("cannot watch for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let live = async {
        judges(context).await;
        manager.ready();
        // Under systemd, or with nobody at the other end, there is nobody to tell.
        let _ = io::stdout().write_all(first_words.as_bytes());
        std::future::pending::<Infallible>().await
    };
    Ok(tokio::select! {
        never = live => match never {},
        _ = terminate.recv() => 0,
        _ = interrupt.recv() => 0,
        () = gave_up.notified() => GAVE_UP,
    })
}

async fn end(context: &Shared, root: ActorRef<root::Message>, manager: &dyn ServiceManager) {
    manager.stopping();
    manager.status("stopping: what it knows is being stored");
    // First what is known is stored, then what is in flight: a message that was accepted is not sent again.
    if let Some(incidents) = context.at.manager.get() {
        let _ = incidents.call(incident_manager::Message::Drain, Some(DRAIN_WITHIN)).await;
    }
    if let Some(outbox) = context.at.outbox.get() {
        let _ = outbox.call(outbox::Message::Drain, Some(DRAIN_WITHIN)).await;
    }
    take_down(context, root).await;
    // A reader of a pipe may have gone.
    let _ = writeln!(io::stderr(), "atalaya stopped; what it knows is stored");
}
