//! Daemon: from checked settings to a running tree, and its orderly end.

use std::{
    convert::Infallible,
    fs::DirBuilder,
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
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
    once, presses,
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
        cli::local::{NotStarted, Once, Seen},
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

impl NotStarted {
    pub(super) fn new(text: impl Into<String>) -> Self {
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
pub fn run(start: &Start) -> Result<u8, NotStarted> {
    alone(start, async |listener| {
        let manner = Manner { sends: true, buttons: true };
        let house = put_up(start, listener, manner).await?;
        let words = super::first_words::words(start, house.bound, &house.context);
        let code = live(&house, &words).await?;
        end(house, start).await;
        // A reader of a pipe may have gone.
        let _ = writeln!(io::stderr(), "atalaya stopped; what it knows is stored");
        Ok(code)
    })
}

/// Runs until it knows how it stands, or for as long as `once` says, and ends. Returns what it saw.
///
/// # Errors
/// When it could not start, or was told to stop before it had judged.
pub fn once(start: &Start, once: Once) -> Result<Seen, NotStarted> {
    alone(start, async |listener| {
        // A bot has one poller, and a run that ends soon is not it.
        let manner = Manner { sends: once.notify, buttons: false };
        let house = put_up(start, listener, manner).await?;
        let seen = tokio::select! {
            seen = once::watch(&house, once) => Ok(seen),
            ended = told_to_end(&house.gave_up) => ended.and_then(|code| {
                let text = "it was told to end, and cannot say how it stands".to_owned();
                Err(NotStarted { code: code.max(1), text })
            }),
        };
        end(house, start).await;
        seen
    })
}

/// With the state folder for this process alone, a listener and a runtime.
fn alone<T>(
    start: &Start,
    serve: impl AsyncFnOnce(TcpListener) -> Result<T, NotStarted>,
) -> Result<T, NotStarted> {
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
    let served = runtime.block_on(serve(listener));
    // Transactions on their own threads have committed by now; what is left is idle.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
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

/// What a run does beside judging.
#[derive(Clone, Copy)]
struct Manner {
    /// Receivers are sent what they are owed, and signs of life are given.
    sends: bool,
    /// The bot's buttons are heard.
    buttons: bool,
}

/// A tree that stands, and what one needs to live in it.
pub(super) struct House {
    pub(super) context: Shared,
    pub(super) controller: Controller,
    /// When this run began.
    pub(super) began: Timestamp,
    root: ActorRef<root::Message>,
    manager: Arc<dyn ServiceManager>,
    gave_up: Arc<Notify>,
    bound: SocketAddr,
}

async fn put_up(start: &Start, listener: TcpListener, manner: Manner) -> Result<House, NotStarted> {
    let Start { daemon, registry_files, .. } = start;
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::new());
    let began = clock.now();
    let panics_clock = Arc::clone(&clock);
    panics::install(move || {
        Duration::try_from(panics_clock.now().duration_since(began)).unwrap_or_default()
    });
    let built = |error: build::BuildError| NotStarted::new(chain(&error));
    let store = open_store(&daemon.store.path, clock.wall()).await;
    let tokens = Arc::new(Tokens::default());
    let client = wire::http::client()
        .map_err(|error| NotStarted::new(format!("cannot build the HTTP client: {error}")))?;
    let (dry_run, token) = (daemon.delivery.dry_run, daemon.http.token.clone());
    let door = Arc::clone(&tokens);
    let files = Files::new(registry_files.clone(), client.clone(), dry_run, door, token)
        .map_err(|error| NotStarted::new(format!("cannot watch for signals: {error}")))?;
    let read = first_reading(&files, &store).await?;
    files.adopted(&read);
    let manager: Arc<dyn ServiceManager> = Arc::new(Systemd);
    let ground = Ground {
        clock: Arc::clone(&clock),
        store,
        read,
        sources: daemon.sources().iter().map(|it| it.name.to_owned()).collect(),
        timing: Timing::default(),
        watchdog: manager.watchdog(),
        sends: manner.sends,
    };
    let context = prepare(ground).await.map_err(|error| NotStarted::new(chain(&error)))?;
    let bound = listener.local_addr().unwrap_or(daemon.http.bind);
    let sources = build::sources(daemon, bound, &clock).map_err(built)?;
    let signs = if manner.sends { build::signs(daemon, &client, &clock) } else { Ok(Vec::new()) };
    let controller = controller(daemon, &context);
    let mut edges = edges(daemon, &context, &controller, listener, &tokens)?;
    if manner.buttons {
        edges.extend(buttons(daemon, &context, &controller, client)?);
    }
    let gave_up = Arc::new(Notify::new());
    let parts = Parts {
        context: Arc::clone(&context),
        sources: sources.into(),
        edges: edges.into(),
        registry: Arc::new(files),
        manager: Arc::clone(&manager),
        signs: signs.map_err(built)?.into(),
        intensity: Intensity::default(),
        gave_up: Arc::clone(&gave_up),
    };
    let root = raise(parts).await.map_err(|error| NotStarted::new(chain(&error)))?;
    Ok(House { context, controller, began, root, manager, gave_up, bound })
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

fn controller(daemon: &Daemon, context: &Shared) -> Controller {
    let wanted = Arc::clone(context);
    let names: Vec<String> = daemon.sources().iter().map(|it| it.name.to_owned()).collect();
    Controller::new(
        Tower::new(Arc::clone(context)),
        Arc::new(move || Arc::clone(&wanted.wanted().desk)),
        names.into(),
    )
}

fn edges(
    daemon: &Daemon,
    context: &Shared,
    controller: &Controller,
    listener: TcpListener,
    tokens: &Arc<Tokens>,
) -> Result<Vec<Arc<dyn Edge>>, NotStarted> {
    let readiness = Arc::clone(context);
    let state = HttpState::new(crate::edges::http::Parts {
        ear: Tower::new(Arc::clone(context)).ear(),
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
    Ok(edges)
}

/// The ear for the bot's buttons, where it is switched on.
fn buttons(
    daemon: &Daemon,
    context: &Shared,
    controller: &Controller,
    client: reqwest::Client,
) -> Result<Option<Arc<dyn Edge>>, NotStarted> {
    let Some(settings) = daemon.telegram.as_ref().filter(|it| it.listen) else { return Ok(None) };
    let url = reqwest::Url::parse(&settings.api_url)
        .map_err(|error| NotStarted::new(format!("[telegram] api_url: {error}")))?;
    let bot = wire::telegram::Api::new(client, url, settings.token.clone())
        .map_err(|error| NotStarted::new(format!("[telegram] {error}")))?;
    let who = telegram::Settings {
        users: settings.allowed_users.iter().filter_map(|it| u64::try_from(*it).ok()).collect(),
    };
    let desk = Arc::new(presses::Desk::new(controller.clone(), Arc::clone(context)));
    Ok(Some(Arc::new(faces::Buttons(Arc::new(TelegramEdge::new(bot, who, desk))))))
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

pub(super) async fn judges(context: &Shared) {
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
async fn live(house: &House, first_words: &str) -> Result<u8, NotStarted> {
    let live = async {
        judges(&house.context).await;
        house.manager.ready();
        // Under systemd, or with nobody at the other end, there is nobody to tell.
        let _ = io::stdout().write_all(first_words.as_bytes());
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        never = live => match never {},
        code = told_to_end(&house.gave_up) => code,
    }
}

/// Resolves with the exit code when a signal ends it, or Root gives up.
async fn told_to_end(gave_up: &Notify) -> Result<u8, NotStarted> {
    let failed = |error: io::Error| NotStarted::new(format!("cannot watch for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(tokio::select! {
        _ = terminate.recv() => 0,
        _ = interrupt.recv() => 0,
        () = gave_up.notified() => GAVE_UP,
    })
}

async fn end(house: House, start: &Start) {
    let House { context, root, manager, .. } = house;
    manager.stopping();
    manager.status("stopping: what it knows is being stored");
    // First what is known is stored, then what is in flight: a message that was accepted is not sent again.
    if let Some(incidents) = context.at.manager.get() {
        let _ = incidents.call(incident_manager::Message::Drain, Some(DRAIN_WITHIN)).await;
    }
    if let Some(outbox) = context.at.outbox.get() {
        let _ = outbox.call(outbox::Message::Drain, Some(DRAIN_WITHIN)).await;
    }
    take_down(&context, root).await;
    // The socket would tell the next command that somebody is there.
    let _ = std::fs::remove_file(&start.daemon.http.socket);
}
