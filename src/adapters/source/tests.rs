//! Sources against real servers that are killed, stopped and absent, with an ear that writes down what it hears.

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use ::redis::aio::MultiplexedConnection;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::{
    channels::{Pattern, Profile},
    http::Http,
    redis::{self, Redis},
    redis_poll::{self, RedisPoll},
};
use crate::{
    domain::id::SourceId,
    ports::{
        recording::{Heard, Machine, Recording},
        source::{Source, SourceEnded},
    },
    wire::echo,
};

const ID: SourceId = SourceId(2);

/// A Redis of our own, killed with the test.
struct Server {
    port: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Server {
    fn begin(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: tests/run installs it");
        Self { port, child, _folder: folder }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn connection(&self) -> MultiplexedConnection {
        let client = ::redis::Client::open(url(self.port)).unwrap();
        for _ in 0..1_000 {
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server did not come up on port {}", self.port);
    }

    async fn run(&self, words: &[&[u8]]) {
        let mut connection = self.connection().await;
        let mut command = ::redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.exec_async(&mut connection).await.unwrap();
    }

    async fn publish(&self, channel: &str, payload: &[u8]) {
        self.run(&[b"PUBLISH", channel.as_bytes(), payload]).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/")
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn subscriber(url: &str) -> Redis {
    Redis::new(settings(url), Arc::new(Machine))
}

fn settings(url: &str) -> redis::Settings {
    redis::Settings {
        url: SecretString::from(url),
        profiles: vec![Profile::BinaryRogue, Profile::HeartbeatMap],
        prefix: "binaryrogue".to_owned(),
        patterns: vec![
            Pattern::new("fleet:*", "/who/id").unwrap(),
            // Also brings our own echo, which is no beat.
            Pattern::new("atalaya:*", "/agent").unwrap(),
        ],
        own_id: "atalaya".to_owned(),
        echo_channel: "atalaya:echo".to_owned(),
    }
}

/// A source at work; it ends with the test.
fn begin(source: impl Source, ear: &Arc<Recording>) -> JoinSet<SourceEnded> {
    let (mut tasks, ear) = (JoinSet::new(), Arc::clone(ear));
    tasks.spawn(async move { source.run(ear, ID).await });
    tasks
}

fn proved(heard: &[Heard]) -> bool {
    heard.iter().any(|it| matches!(it, Heard::Proved(_)))
}

fn blind(why: &str) -> impl Fn(&[Heard]) -> bool {
    move |heard| heard.iter().any(|it| matches!(it, Heard::Blind(_, said) if said.contains(why)))
}

/// Whether the last word on the source is a proof.
fn hears(heard: &[Heard]) -> bool {
    let last = heard.iter().rev().find(|it| matches!(it, Heard::Proved(_) | Heard::Blind(..)));
    matches!(last, Some(Heard::Proved(_)))
}

#[tokio::test]
async fn beats_come_by_channel_and_by_payload_and_garbage_proves_life() {
    let server = Server::begin(free_port());
    server.connection().await;
    let ear = Recording::watching(&[]);
    let _source = begin(subscriber(&url(server.port)), &ear);
    ear.until("a proof", 0, proved).await;
    let long = format!(r#"{{"agent":"x","y":"{}"}}"#, "z".repeat(70_000));
    let envelope =
        br#"{"channel":"agents:heartbeat","data":{"agent_id":"002","status":"working"}}"#;
    let messages: [(&str, &[u8]); 11] = [
        ("agents:heartbeat:mary", br#"{"status":"ok","model":"m"}"#),
        ("agents:heartbeat:mary", b"\xff\x00 not json"),
        ("agents:heartbeat:mary", long.as_bytes()),
        ("agents:heartbeat:--help", b"{}"),
        ("binaryrogue:heartbeats", br#"{"agent_id":"scout","status":"idle"}"#),
        ("binaryrogue:heartbeats", br#"{"agent_id":"atalaya","status":"alive"}"#),
        ("binaryrogue:heartbeats", br#"{"status":"alive"}"#),
        ("binaryrogue:heartbeats", b"garbage"),
        ("agents:heartbeat", envelope),
        ("fleet:west:7", br#"{"who":{"id":"seven"}}"#),
        ("agents:heartbeat:last", b"{}"),
    ];
    for (channel, payload) in messages {
        server.publish(channel, payload).await;
    }
    ear.until("the last beat", 0, |heard| {
        heard.iter().any(|it| matches!(it, Heard::Beat(name, _) if name.as_str() == "last"))
    })
    .await;
    assert_eq!(
        ear.beats(),
        [
            "mary Alive",
            "mary Log malformed",
            "mary Log malformed",
            "scout Idle",
            "002 Working",
            "seven Alive",
            "last Alive",
        ]
    );
    let refused = ear.heard().into_iter().filter_map(|it| match it {
        Heard::Refused(why) => Some(why),
        Heard::Beat(..) | Heard::Proved(_) | Heard::Blind(..) => None,
    });
    let refused: Vec<String> = refused.collect();
    let [help, nobody, garbage] = &refused[..] else { panic!("{refused:?}") };
    assert!(help.contains("begins with '-'") && nobody.contains("names no agent"));
    assert!(garbage.contains("not JSON"));
}

#[tokio::test]
async fn a_watch_that_waits_gets_its_proof_at_once() {
    let server = Server::begin(free_port());
    server.connection().await;
    let ear = Recording::watching(&[]);
    let _source = begin(subscriber(&url(server.port)), &ear);
    let mut from = ear.until("the first proof", 0, proved).await;
    for _ in 0..20 {
        let asked = jiff_now();
        ear.ask();
        // 20 proofs in turn would take 200 s if each waited for the idle one.
        from = ear
            .until("a proof of what was said before it was asked for", from, |heard| {
                heard.iter().any(|it| matches!(it, Heard::Proved(at) if asked <= *at))
            })
            .await;
    }
}

#[tokio::test]
async fn redis_killed_and_back_is_a_blindness_that_ends() {
    let server = Server::begin(free_port());
    let port = server.port;
    server.connection().await;
    let ear = Recording::watching(&[]);
    let _source = begin(subscriber(&url(port)), &ear);
    let from = ear.until("a proof", 0, proved).await;
    let Some(Heard::Proved(proof)) =
        ear.heard().into_iter().rfind(|it| matches!(it, Heard::Proved(_)))
    else {
        panic!("no proof")
    };
    drop(server);
    ear.until("the loss", from, blind("connection was closed")).await;
    let from = ear.until("why it stays so", from, blind("cannot connect")).await;
    let since = ear.heard().into_iter().filter_map(|it| match it {
        Heard::Blind(since, _) => Some(since),
        Heard::Beat(..) | Heard::Refused(_) | Heard::Proved(_) => None,
    });
    assert!(since.into_iter().all(|it| it == proof), "blind since the last proof");
    let server = Server::begin(port);
    let from = ear.until("a proof after the return", from, hears).await;
    server.publish("agents:heartbeat:mary", b"{}").await;
    ear.until("a beat after the return", from, |heard| {
        heard.iter().any(|it| matches!(it, Heard::Beat(..)))
    })
    .await;
}

#[tokio::test]
async fn a_half_open_connection_is_noticed_and_made_anew() {
    let server = Server::begin(free_port());
    server.connection().await;
    let ear = Recording::watching(&[]);
    let _source = begin(subscriber(&url(server.port)), &ear);
    let from = ear.until("a proof", 0, proved).await;
    server.signal(Signal::STOP);
    ear.ask();
    let from = ear.until("no echo", from, blind("echo")).await;
    let from = ear.until("no new connection", from, blind("cannot")).await;
    assert!(!ear.heard()[from..].iter().any(|it| matches!(it, Heard::Proved(_))));
    server.signal(Signal::CONT);
    ear.until("a proof", from, hears).await;
}

#[tokio::test]
async fn redis_may_be_absent_at_the_start() {
    let port = free_port();
    let ear = Recording::watching(&[]);
    let _source = begin(subscriber(&url(port)), &ear);
    let from = ear.until("two failed tries", 0, |heard| 2 <= heard.len()).await;
    assert!(!proved(&ear.heard()));
    let _server = Server::begin(port);
    ear.until("a proof", from, hears).await;
}

#[tokio::test]
async fn where_no_echo_is_permitted_a_ping_stands_in() {
    // What is subscribed to, and no other channel.
    let channels = "resetchannels &agents:heartbeat &agents:heartbeat:* &binaryrogue:heartbeats &fleet:* &atalaya:*";
    for rights in ["-publish &*", channels] {
        let server = Server::begin(free_port());
        let words = ["ACL", "SETUSER", "watcher", "reset", "on", ">pw", "+@all"];
        let words: Vec<&[u8]> =
            words.into_iter().chain(rights.split(' ')).map(str::as_bytes).collect();
        server.run(&words).await;
        let ear = Recording::watching(&[]);
        let url = format!("redis://watcher:pw@127.0.0.1:{}", server.port);
        let settings =
            redis::Settings { echo_channel: "private:echo".to_owned(), ..settings(&url) };
        let _source = begin(Redis::new(settings, Arc::new(Machine)), &ear);
        let from = ear.until("a proof", 0, proved).await;
        ear.ask();
        let from = ear.until("another proof", from, proved).await;
        server.publish("agents:heartbeat:mary", b"{}").await;
        ear.until("a beat", from, |heard| !heard.is_empty()).await;
        assert_eq!(ear.beats(), ["mary Alive"], "{rights}");
        let mut connection = server.connection().await;
        let mut info = ::redis::cmd("INFO");
        let info: String = info.arg("commandstats").query_async(&mut connection).await.unwrap();
        assert!(info.contains("cmdstat_ping"), "{rights}: {info}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_without_the_url() {
    let server = Server::begin(free_port());
    server.connection().await;
    let ear = Recording::watching(&[]);
    let _source =
        begin(subscriber(&format!("redis://eve:hunter2@127.0.0.1:{}", server.port)), &ear);
    ear.until("the refusal", 0, blind("cannot connect")).await;
    assert!(!format!("{:?}", ear.heard()).contains("hunter2"));
    let ended = subscriber("nonsense hunter2").run(Arc::clone(&ear) as _, ID).await;
    assert!(!ended.0.contains("hunter2") && ended.0.contains("redis url"), "{ended:?}");
}

#[tokio::test]
async fn a_polled_stamp_is_a_beat_only_when_it_changes() {
    let server = Server::begin(free_port());
    let key: &[u8] = b"binaryrogue:agents:mary";
    let old: &[u8] = b"2025-11-08T09:00:00.123456";
    server
        .run(&[b"HSET", key, b"status", b"alive", b"last_seen", old, b"uptime_seconds", b"7"])
        .await;
    server.run(&[b"SET", b"binaryrogue:agents:odd", b"no hash"]).await;
    server.run(&[b"HSET", b"binaryrogue:agents:vague", b"last_seen", b"just now"]).await;
    let ear = Recording::watching(&["mary", "never", "odd", "vague"]);
    let settings = redis_poll::Settings {
        url: SecretString::from(url(server.port)),
        prefix: "binaryrogue".to_owned(),
        poll_every: Duration::from_secs(30),
    };
    let _source = begin(RedisPoll::new(settings, Arc::new(Machine)), &ear);
    let mut from = ear.until("the first round", 0, proved).await;
    for _ in 0..3 {
        ear.ask();
        from = ear.until("a round at once", from, proved).await;
    }
    let beats = |ear: &Recording| {
        let stamp = |heard| match heard {
            Heard::Beat(_, beat) => Some((beat.at, beat.metadata, beat.malformed)),
            Heard::Refused(_) | Heard::Proved(_) | Heard::Blind(..) => None,
        };
        ear.heard().into_iter().filter_map(stamp).collect::<Vec<_>>()
    };
    let first = (
        "2025-11-08T09:00:00.123456Z".parse().unwrap(),
        Some(r#"{"uptime_seconds":"7"}"#.into()),
        false,
    );
    assert_eq!(beats(&ear), [first], "a stamp that stands still keeps nobody alive");
    assert!(ear.heard().iter().any(|it| matches!(it, Heard::Refused(why) if why.contains("odd"))));

    server.run(&[b"HSET", key, b"last_seen", b"4102444800"]).await;
    server.run(&[b"HSET", b"binaryrogue:agents:vague", b"last_seen", b"a while ago"]).await;
    ear.ask();
    from = ear.until("the changed stamps", from, proved).await;
    let beats = beats(&ear);
    let [_, future, vague] = &beats[..] else { panic!("{beats:?}") };
    assert!(future.0 <= jiff_now(), "a stamp of the future is clamped");
    assert!(vague.2, "a change of what is no time is a pulse");
    drop(server);
    ear.ask();
    ear.until("the loss", from, blind("cannot")).await;
}

#[tokio::test]
async fn http_is_proved_through_the_listener_itself() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ear = Recording::watching(&[]);
    let mut server = JoinSet::new();
    server.spawn(answer(listener, 0));
    let _source = begin(Http::new(address, Arc::new(Machine)), &ear);
    let from = ear.until("a proof", 0, proved).await;
    ear.ask();
    let from = ear.until("another", from, proved).await;

    server.shutdown().await;
    ear.ask();
    let from = ear.until("refused", from, blind("cannot reach our own listener")).await;
    let listener = TcpListener::bind(address).await.unwrap();
    server.spawn(answer(listener, 3));
    let from =
        ear.until("beats were turned away", from, blind("3 requests were turned away")).await;
    let from = ear.until("a proof once none is", from, hears).await;

    server.shutdown().await;
    let listener = TcpListener::bind(address).await.unwrap();
    ear.ask();
    ear.until("nobody answers", from, blind("not answered within 2 s")).await;
    drop(listener);
}

/// Answers as the edge does.
async fn answer(listener: TcpListener, turned_away: u64) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap_or_default();
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        let nonce = request.lines().find_map(|line| line.strip_prefix("x-atalaya-echo: "));
        let (nonce, header) = (nonce.unwrap_or_default(), echo::TURNED_AWAY_HEADER);
        let head = format!(
            "HTTP/1.1 200 OK\r\nx-atalaya-echo: {nonce}\r\n{header}: {turned_away}\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes()).await;
    }
}

fn jiff_now() -> Timestamp {
    use crate::ports::clock::Clock;
    Machine.now()
}
