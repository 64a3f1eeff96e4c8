//! The faces of HTTP through real sockets, with an ear that writes down what it hears.

use std::{convert::Infallible, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::Router;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinSet,
};

use super::{
    HttpState, Parts, Readiness,
    door::{Limits, Tokens},
    server::{self, Room},
};
use crate::{
    control::recording::{Heard, Machine, Recording},
    domain::id::SourceId,
};

/// Few connections, and a head takes as long as a slow machine needs.
const ROOM: Room = Room { connections: 100, head_within: Duration::from_mins(1) };

/// An edge at work. Dropping it ends its servers.
struct Edge {
    ear: Arc<Recording>,
    tokens: Arc<Tokens>,
    state: HttpState,
    address: SocketAddr,
    tasks: JoinSet<Infallible>,
}

impl Edge {
    async fn begin(ear: Arc<Recording>, per_second: u32) -> Self {
        let tokens = Arc::new(Tokens::default());
        let state = HttpState::new(Parts {
            ear: Arc::clone(&ear) as _,
            clock: Arc::new(Machine),
            source: SourceId(1),
            tokens: Arc::clone(&tokens),
            limits: Arc::new(Limits::new(per_second, 4)),
            ready: Arc::new(|| Readiness { judging: false, body: json!({"store": "broken"}) }),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve_tcp(listener, state.clone(), Router::new(), ROOM));
        Self { ear, tokens, state, address, tasks }
    }

    /// Sends one request; answers the status, the head and the body.
    async fn ask(&self, request: &str, body: &str) -> (u16, String, String) {
        exchange(TcpStream::connect(self.address).await.unwrap(), request, body).await
    }

    /// One line: status and body.
    async fn line(&self, request: &str, body: &str) -> String {
        let (status, _, body) = self.ask(request, body).await;
        format!("{status} {}", body.trim_end())
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
    body: &str,
) -> (u16, String, String) {
    let (line, headers) = request.split_once('\n').unwrap_or((request, ""));
    let headers = headers.replace('\n', "\r\n");
    let headers = if headers.is_empty() { headers } else { headers + "\r\n" };
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A refused body may close the connection before all of it is written.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn pings_are_answered_as_cron_users_know_it() {
    let edge = Edge::begin(Recording::watching(&["mary", "agent:002"]), 0).await;
    for (request, said) in [
        ("GET /ping/mary", "200 OK"),
        ("HEAD /ping/mary", "200 "),
        ("POST /ping/mary/start", "200 OK"),
        ("GET /ping/mary/fail", "200 OK"),
        ("GET /ping/mary/log", "200 OK"),
        ("GET /ping/mary/0", "200 OK"),
        ("GET /ping/mary/255", "200 OK"),
        ("GET /ping/agent%3A002", "200 OK"),
    ] {
        assert_eq!(edge.line(request, "").await, said, "{request}");
    }
    assert_eq!(
        edge.ear.beats(),
        [
            "mary Success",
            "mary Success",
            "mary Start",
            "mary Fail { exit: None }",
            "mary Log",
            "mary Success",
            "mary Fail { exit: Some(255) }",
            "agent:002 Success",
        ]
    );
    for (request, status, reason) in [
        ("GET /ping/mary/256", 404, "/255"),
        ("GET /ping/mary/stop", 404, "known are"),
        ("GET /ping/paula", 404, "auto_register"),
        ("GET /ping/paula?create=1", 404, "auto_register"),
        ("GET /ping/--help", 400, "begins with '-'"),
        ("GET /ping/..%2Fx", 400, "begins with '.'"),
        ("GET /ping/mary?rid=nightly", 400, "UUID"),
        ("DELETE /ping/mary", 405, ""),
        ("GET /nowhere", 404, "no such page"),
    ] {
        let (said, _, body) = edge.ask(request, "").await;
        assert!(said == status && body.contains(reason), "{request}: {said} {body}");
    }
    assert_eq!(edge.ear.heard().iter().filter(|it| matches!(it, Heard::Refused(_))).count(), 2);
}

#[tokio::test]
async fn a_ping_carries_its_run_and_may_have_a_body() {
    let edge = Edge::begin(Recording::watching(&["mary"]), 0).await;
    let request = "POST /ping/mary/start?rid=123E4567-e89b-12d3-a456-426614174000";
    let (status, head, _) = edge.ask(request, &"log line\n".repeat(20_000)).await;
    assert_eq!(status, 200);
    assert!(head.contains("ping-body-limit: 100000"), "{head}");
    let heard = edge.ear.heard();
    let [Heard::Beat(_, beat)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(beat.run.as_deref(), Some("123e4567-e89b-12d3-a456-426614174000"));
}

#[tokio::test]
async fn an_unknown_agent_registers_itself_where_it_may() {
    let edge = Edge::begin(Recording::with_auto_register(), 0).await;
    assert_eq!(edge.line("GET /ping/nova", "").await, "201 Created");
    assert_eq!(edge.line("GET /ping/nova", "").await, "200 OK");
    let beat = r#"{"agent":"vera"}"#;
    assert!(edge.line("POST /api/v1/beats", beat).await.starts_with("201 "));
}

#[tokio::test]
async fn each_beat_of_a_list_is_answered() {
    let edge = Edge::begin(Recording::watching(&["mary", "2"]), 0).await;
    let deep = format!(r#"{{"agent":"mary","metadata":{}{}}}"#, "[".repeat(300), "]".repeat(300));
    let list = format!(
        r#" [{{"agent":"mary","status":"working","progress":4}},{{"agent_id":2,"seq":-1}},{{"agent":"paula"}},{{"agent":"../x"}},7,{{}},{deep}]"#
    );
    let (status, _, body) = edge.ask("POST /api/v1/beats", &list).await;
    assert_eq!(status, 200);
    let answers: serde_json::Value = serde_json::from_str(&body).unwrap();
    let said: Vec<String> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let text = |field: &str| it[field].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", text("agent"), text("took"), text("error"))
        })
        .collect();
    assert_eq!(
        said,
        [
            "mary taken -",
            "2 taken seq: is not a whole number from 0",
            "paula unknown -",
            "- malformed the name begins with '.'; it must begin with a letter or a digit",
            "- malformed the payload is not a JSON object",
            "- malformed \"agent\" is missing",
            "- malformed the payload is not JSON, or nested too deeply",
        ]
    );
    assert_eq!(edge.ear.beats(), ["mary Working", "2 Alive malformed", "paula Alive"]);
}

#[tokio::test]
async fn a_body_that_is_no_beat_is_refused_and_told_how_to_mend() {
    let edge = Edge::begin(Recording::watching(&["mary"]), 0).await;
    let many = format!("[{}]", vec!["{}"; 10_001].join(","));
    let large = format!(r#"{{"agent":"mary","x":"{}"}}"#, "y".repeat(5 * 1024 * 1024));
    for (body, status, reason) in [
        ("", 400, "not JSON"),
        ("{", 400, "not JSON"),
        (r#"{"status":"ok"}"#, 400, "is missing"),
        ("[{]", 400, "not a list"),
        (&many, 400, "10001 beats"),
        (&large, 413, "4194304 bytes"),
    ] {
        let (said, head, answer) = edge.ask("POST /api/v1/beats", body).await;
        let start: String = body.chars().take(20).collect();
        assert!(said == status && answer.contains(reason), "{start}: {said} {answer}");
        assert!(head.contains("application/problem+json"), "{head}");
        assert!(answer.contains("mend"), "{answer}");
    }
    let one = edge.line("POST /api/v1/beats", r#"{"agent":"mary"}"#).await;
    assert_eq!(one, r#"200 {"agent":"mary","took":"taken"}"#);
    assert!(edge.line("POST /api/v1/beats", r#"{"agent":"eve"}"#).await.starts_with("404 "));
}

#[tokio::test]
async fn tokens_are_asked_for_over_tcp_and_not_over_the_socket() {
    let mut edge = Edge::begin(Recording::watching(&["mary", "paula"]), 0).await;
    let (all, own) = (SecretString::from("s3cret"), SecretString::from("m-only"));
    edge.tokens.replace(Some(&all), [("mary".parse().unwrap(), &own)]);
    for (request, status) in [
        ("GET /ping/mary", 401),
        ("GET /ping/mary?token=wrong", 401),
        ("GET /ping/mary?token=m-only", 200),
        ("GET /ping/paula?token=m-only", 401),
        ("GET /ping/paula?token=s3cret", 200),
        ("GET /ping/paula\nauthorization: bearer s3cret", 200),
        ("GET /ping/paula\nauthorization: Basic s3cret", 401),
        ("GET /ping/paula\nx-atalaya-token: s3cret", 200),
        ("GET /livez", 200),
        ("GET /readyz", 503),
    ] {
        assert_eq!(edge.ask(request, "").await.0, status, "{request}");
    }
    let list = r#"[{"agent":"mary"},{"agent":"paula"}]"#;
    let said = edge.line("POST /api/v1/beats\nx-atalaya-token: m-only", list).await;
    assert!(said.contains(r#""mary","took":"taken"#), "{said}");
    assert!(said.contains(r#""paula","took":"refused"#), "{said}");
    assert_eq!(edge.ask("POST /api/v1/beats", r#"{"agent":"mary"}"#).await.0, 401);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("atalaya.sock");
    let listener = server::bind_unix(&path, None).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    edge.tasks.spawn(server::serve_unix(listener, edge.state.clone(), Router::new(), ROOM));
    let stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(exchange(stream, "GET /ping/mary", "").await.0, 200);
}

#[tokio::test]
async fn a_socket_file_is_replaced_only_if_nobody_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("atalaya.sock");
    let first = server::bind_unix(&path, None).await.unwrap();
    let said = server::bind_unix(&path, None).await.unwrap_err().to_string();
    assert!(said.starts_with("another process answers"), "{said}");
    drop(first);
    let group = rustix::process::getgid().as_raw();
    let _second = server::bind_unix(&path, Some(group)).await.unwrap();
    assert_eq!(mode(&path), 0o660);
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "mine").unwrap();
    let said = server::bind_unix(&file, None).await.unwrap_err().to_string();
    assert!(said.ends_with("is no socket") && file.exists(), "{said}");
}

#[tokio::test]
async fn beyond_the_limit_requests_are_turned_away_and_the_source_is_blind() {
    let edge = Edge::begin(Recording::watching(&["mary"]), 1).await;
    let mut turned_away = 0;
    for _ in 0..20 {
        let (status, head, _) = edge.ask("GET /ping/mary", "").await;
        if status == 429 {
            assert!(head.contains("retry-after: 1"), "{head}");
            turned_away += 1;
        }
    }
    assert!(0 < turned_away, "20 at once are more than one a second");
    let blind = edge.ear.heard().into_iter().filter(|it| matches!(it, Heard::Blind(..)));
    assert_eq!(blind.count(), 1, "told once until a proof has passed");
}

/// One place, and whoever dribbles into it does not keep it.
#[tokio::test]
async fn a_head_that_does_not_end_is_given_up_and_its_place_is_free_again() {
    let mut edge = Edge::begin(Recording::watching(&["mary"]), 0).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("atalaya.sock");
    let listener = server::bind_unix(&path, None).await.unwrap();
    let room = Room { connections: 1, head_within: Duration::from_millis(200) };
    edge.tasks.spawn(server::serve_unix(listener, edge.state.clone(), Router::new(), room));
    let mut half = UnixStream::connect(&path).await.unwrap();
    half.write_all(b"GET /ping/mary HTTP/1.1\r\nhost:").await.unwrap();
    let silent = UnixStream::connect(&path).await.unwrap();
    let next = UnixStream::connect(&path).await.unwrap();
    assert_eq!(exchange(next, "GET /ping/mary", "").await.0, 200);
    let mut rest = Vec::new();
    let _ = half.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    drop(silent);
}

#[test]
fn connections_leave_descriptors_to_the_rest() {
    let soft = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let soft = soft.and_then(|it| usize::try_from(it).ok()).unwrap_or(usize::MAX);
    let (network, machine) = (Room::of_network().connections, Room::of_machine().connections);
    assert!(0 < machine && machine <= network && network <= 10_000);
    assert!(network + machine < soft, "{network} and {machine} of {soft}");
}

#[tokio::test]
async fn health_says_what_is_broken_and_a_stop_ends_the_server() {
    let mut edge = Edge::begin(Recording::watching(&[]), 0).await;
    assert_eq!(edge.line("GET /readyz", "").await, r#"503 {"store":"broken"}"#);
    let (_, head, body) = edge.ask("GET /livez\nx-atalaya-echo: n1", "").await;
    assert!(head.contains("x-atalaya-echo: n1") && head.contains("turned-away: 0"), "{head}");
    assert_eq!(body, "alive\n");
    let mut open = TcpStream::connect(edge.address).await.unwrap();
    edge.tasks.shutdown().await;
    assert!(matches!(open.read(&mut [0]).await, Ok(0) | Err(_)), "what was open is closed");
    assert!(TcpStream::connect(edge.address).await.is_err());
    assert!(edge.ear.heard().is_empty() && Timestamp::UNIX_EPOCH < edge.state.now());
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).unwrap().mode() & 0o777
}
