//! The door: pings and beats in every form that is allowed, and everything else refused or bounded, and counted.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Answer, client, daemon::Daemon, redis::Redis, views::time, wait};

const SOON: Duration = Duration::from_secs(20);
const RID: &str = "123e4567-e89b-12d3-a456-426614174000";

async fn ask(daemon: &Daemon, method: Method, path: &str) -> Answer {
    daemon.send(client().request(method, daemon.url(path))).await
}

/// A request line as it stands: clients tidy `..` away before they send.
async fn raw(daemon: &Daemon, path: &str) -> u16 {
    let mut stream =
        tokio::net::TcpStream::connect(("127.0.0.1", daemon.port)).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.unwrap_or_else(|| panic!("{path}: {answer:?}"))
}

async fn refused_beats(daemon: &Daemon) -> u64 {
    let status = daemon.cli_json(&["status"]).await;
    status["refused_beats"].as_u64().unwrap_or_else(|| panic!("no count in {status}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ping_api_answers_as_cron_users_know_it() {
    let daemon = Daemon::setup().start().await;
    let check = async |method: Method, path: &str, status: u16, body: &str| {
        let answer = ask(&daemon, method.clone(), path).await;
        assert_eq!((answer.status, answer.body.trim()), (status, body), "{method} {path}");
        assert_eq!(answer.headers["ping-body-limit"], "100000", "{method} {path}");
    };
    check(Method::GET, "/ping/mary", 201, "Created").await;
    check(Method::GET, "/ping/mary", 200, "OK").await;
    check(Method::HEAD, "/ping/mary", 200, "").await;
    check(Method::POST, "/ping/mary", 200, "OK").await;
    check(Method::HEAD, "/ping/lisa", 201, "").await;
    check(Method::POST, "/ping/paula?create=1", 201, "Created").await;
    check(Method::GET, "/ping/paula?create=1", 200, "OK").await;
    for action in ["start", "fail", "log", "0", "1", "127", "255"] {
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let body = if method == Method::HEAD { "" } else { "OK" };
            check(method, &format!("/ping/mary/{action}?rid={RID}"), 200, body).await;
        }
    }
    check(Method::GET, "/ping/mary?rid=nightly", 400, "rid is not a UUID").await;
    let known = "no such ping: known are /start, /fail, /log and an exit code from /0 to /255";
    for unknown in ["256", "-1", "stop", "00000000000000000000256"] {
        check(Method::GET, &format!("/ping/mary/{unknown}"), 404, known).await;
    }
    assert_eq!(ask(&daemon, Method::DELETE, "/ping/mary").await.status, 405);
    assert_eq!(daemon.cli_json(&["agents"]).await.as_array().map(Vec::len), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_at_once_and_holds_until_a_good_beat() {
    let daemon = Daemon::setup().start().await;
    for (bad, good) in [("fail", ""), ("1", "/0"), ("255", ""), ("137", "/0")] {
        daemon.ping("mary").await;
        daemon.all_are("up", &["mary"], SOON).await;
        let before = wait::wall(wait::now());
        daemon.ping(&format!("mary/{bad}")).await;
        let after = wait::wall(wait::now());
        let (failed, _) = daemon.incident("agent/mary", "open", SOON).await;
        assert_eq!(
            (&failed["condition"], &failed["severity"]),
            (&json!("failed"), &json!("critical"))
        );
        let since = time(&daemon.seen("mary").await.expect("she is watched"), "since");
        assert!(before <= since && since <= after, "{bad}: at once, not {since}");
        // A life sign and the begin of a run mend nothing.
        for neutral in ["mary/log", "mary/start"] {
            daemon.ping(neutral).await;
        }
        daemon.all_are("failed", &["mary"], SOON).await;
        daemon.ping(&format!("mary{good}")).await;
        daemon.incident("agent/mary", "resolved", SOON).await;
        daemon.all_are("up", &["mary"], SOON).await;
    }
    let incidents = daemon.incidents_of("agent/mary").await;
    assert_eq!(incidents.len(), 1, "relapses within ten minutes: {incidents:#?}");
    assert_eq!(incidents[0]["occurrences"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_none_are_refused_and_counted() {
    let daemon = Daemon::setup().start().await;
    let long = "x".repeat(129);
    let paths = [
        "--help",
        "-v",
        "../x",
        "..",
        "%2e%2e",
        "%2e%2e%2fx",
        "%2e%2e/fail",
        ".hidden",
        "a%2fb",
        "a%00b",
        "a%0ab",
        "a%20b",
        "%3Cb%3E",
        "caf%C3%A9",
        "%E2%80%AEyram",
        "a%zz",
        &long,
    ];
    for path in paths {
        assert_eq!(raw(&daemon, &format!("/ping/{path}")).await, 400, "{path}");
    }
    assert_eq!(refused_beats(&daemon).await, paths.len() as u64);
    let ids = ["--help", "../x", "a b", "", "<b>", "a\u{0}b", "é", &long];
    for id in ids {
        let answer = daemon.post("/api/v1/beats", &json!({"agent": id})).await;
        assert_eq!(answer.status, 400, "{id}: {answer:?}");
    }
    assert_eq!(refused_beats(&daemon).await, (paths.len() + ids.len()) as u64);
    assert_eq!(daemon.cli_json(&["agents"]).await, json!([]), "nobody came in");
    // And what looks odd but is a name.
    for name in ["a", "0", "agent:002", "a@b-c_d.e", &"x".repeat(128)] {
        assert_eq!(daemon.ping(name).await.status, 201, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_agents_are_counted_up_to_a_bound() {
    let daemon = Daemon::setup().registry("[[agent]]\nid = \"mary\"\n").start().await;
    for path in ["/ping/ghost", "/ping/ghost/fail", "/ping/ghost?create=1"] {
        let answer = daemon.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("auto_register"), "it says what to do: {answer:?}");
    }
    let unknown = daemon.cli_json(&["agents", "--unknown"]).await;
    assert_eq!(
        (&unknown[0]["id"], &unknown[0]["beats"]),
        (&json!("ghost"), &json!(3)),
        "{unknown}"
    );
    let strangers: Vec<Value> = (0..1_000).map(|it| json!({"agent": format!("s{it}")})).collect();
    let answers = daemon.beat(&Value::Array(strangers)).await.json();
    assert!(
        answers.as_array().expect("a list").iter().all(|it| it["took"] == "unknown"),
        "{answers}"
    );
    let unknown = daemon.cli_json(&["agents", "--unknown"]).await;
    assert_eq!(unknown.as_array().map(Vec::len), Some(256));

    // Where they may register, there is a bound too.
    daemon
        .write_registry("auto_register = true\nauto_register_max = 5\n[[agent]]\nid = \"mary\"\n");
    daemon
        .wait_until("the registry is taken", SOON, async || {
            (daemon.get("/ping/first").await.status == 201).then_some(())
        })
        .await;
    let many: Vec<Value> = (0..20).map(|it| json!({"agent": format!("n{it}")})).collect();
    let answers = daemon.beat(&Value::Array(many)).await.json();
    let count = |word: &str| {
        answers.as_array().map(|all| all.iter().filter(|it| it["took"] == word).count())
    };
    assert_eq!((count("registered"), count("full")), (Some(4), Some(16)), "{answers}");
    let full = daemon.get("/ping/one-more").await;
    assert_eq!(full.status, 404);
    assert!(full.body.contains("auto_register_max"), "{full:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_beats_at_once_are_answered_each() {
    let registry = "[[agent]]\nid = \"mary\"\nfirst_beat_within = \"1m\"\n";
    let daemon = Daemon::setup().registry(registry).start().await;
    let mut list: Vec<Value> = (0..10_000).map(|it| json!({"agent": "mary", "seq": it})).collect();
    list[17] = json!({"agent": "--help"});
    list[18] = json!(5);
    list[19] = json!({"seq": 1});
    list[20] = json!({"agent": "ghost"});
    let answer = daemon.beat(&Value::Array(list.clone())).await.json();
    let answers = answer.as_array().expect("a list");
    assert_eq!(answers.len(), 10_000);
    for (place, answer) in answers.iter().enumerate() {
        let took = match place {
            17..20 => "malformed",
            20 => "unknown",
            _ => "taken",
        };
        assert_eq!(answer["took"], took, "{place}: {answer}");
    }
    assert_eq!(refused_beats(&daemon).await, 3);
    daemon.shows("mary", "the last of them", |it| it["seq"] == 9_999).await;
    list.push(json!({"agent": "mary", "seq": 10_000}));
    let refused = daemon.post("/api/v1/beats", &Value::Array(list)).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.body.contains("10000"), "{refused:?}");
    let mary = daemon.seen("mary").await.expect("she is watched");
    assert_eq!(mary["seq"], 9_999, "of a list that is refused nothing is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_beat_carries_is_bounded() {
    let daemon = Daemon::setup().start().await;
    let model = json!({"model": "x"});
    daemon.beat(&json!({"agent": "mary", "metadata": model})).await;
    let nine = json!({"agent": "mary", "seq": 7, "metadata": {"x": "y".repeat(9 * 1024)}});
    let answer = daemon.beat(&nine).await.json();
    assert_eq!(
        (&answer["took"], &answer["error"]),
        (&json!("taken"), &json!("metadata: is longer than 8 KiB"))
    );
    let mary = daemon.shows("mary", "the rest stands", |it| it["seq"] == 7).await;
    assert_eq!(mary["metadata"], model, "what is too long replaces nothing");

    let post = async |body: String| {
        let request =
            client().post(daemon.url("/api/v1/beats")).header("content-type", "application/json");
        daemon.send(request.body(body)).await
    };
    let deep =
        format!(r#"{{"agent":"mary","metadata":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for body in [deep, "{".into(), "[1,".into(), String::new(), "null".into()] {
        let start: String = body.chars().take(40).collect();
        assert_eq!(post(body).await.status, 400, "{start}");
    }
    assert_eq!(post(format!(r#"{{"agent":"{}"}}"#, "y".repeat(5 * 1024 * 1024))).await.status, 413);
    let mary = daemon.seen("mary").await.expect("she is watched");
    assert_eq!((&mary["metadata"], &mary["beats"]), (&model, &json!(2)), "none of them is a beat");

    // A ping's body is its log: 100 kB of anything are taken.
    let log = client().post(daemon.url("/ping/mary/log")).body(vec![0xff; 100_000]);
    assert_eq!(daemon.send(log).await.status, 200);
    let task = "t".repeat(5_000);
    daemon.beat(&json!({"agent": "mary", "task": task})).await;
    let mary = daemon.shows("mary", "a task", |it| it["task"].is_string()).await;
    assert!(mary["task"].as_str().is_some_and(|it| it.len() < 1_000), "{mary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_bus_proves_life_and_nothing_else() {
    let redis = Redis::start().await;
    let daemon = Daemon::setup()
        .config(&format!("[redis]\nurl = \"{}\"\n", redis.url()))
        .registry("[[agent]]\nid = \"mary\"\nfirst_beat_within = \"1m\"\n")
        .start()
        .await;
    let good = r#"{"status":"ok","model":"x"}"#;
    redis.publish_heard("agents:heartbeat:mary", good, SOON).await;
    let (deep, long) = ("[".repeat(50_000), "x".repeat(100_000));
    let garbage = [
        "",
        "PING",
        "\"ok\"",
        "[1]",
        "{\"status\":",
        "\u{1}\u{fffd}",
        deep.as_str(),
        long.as_str(),
    ];
    for (count, payload) in (1..).zip(garbage) {
        redis.publish("agents:heartbeat:mary", payload);
        let heard = |it: &Value| it["beats"] == count + 1;
        let seen = daemon.shows("mary", "the garbage is heard", heard).await;
        assert_eq!(seen["malformed"], count, "{payload:.40}: {seen}");
        assert_eq!(
            (&seen["verdict"], &seen["metadata"]),
            (&json!("up"), &json!({"model": "x"})),
            "{payload:.40}"
        );
    }

    // Where the payload names the agent, garbage names nobody: refused and counted.
    let before = refused_beats(&daemon).await;
    for (channel, payload) in [
        ("binaryrogue:heartbeats", "garbage"),
        ("binaryrogue:heartbeats", r#"{"agent_id":"../x"}"#),
        ("binaryrogue:heartbeats", r#"{"status":"ok"}"#),
        ("agents:heartbeat", r#"{"data":{}}"#),
        ("agents:heartbeat:--help", "{}"),
        ("agents:heartbeat:", "{}"),
    ] {
        redis.publish(channel, payload);
    }
    daemon
        .wait_until("all are counted", SOON, async || {
            (refused_beats(&daemon).await == before + 6).then_some(())
        })
        .await;
    // Our own beat is nobody's, and a stranger is counted.
    redis.publish("binaryrogue:heartbeats", r#"{"agent_id":"atalaya"}"#);
    redis.publish("binaryrogue:heartbeats", r#"{"agent_id":"ghost"}"#);
    daemon
        .wait_until("the stranger is counted", SOON, async || {
            let unknown = daemon.cli_json(&["agents", "--unknown"]).await;
            (unknown.as_array()?.len() == 1 && unknown[0]["id"] == "ghost").then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_the_doors_that_they_are_for() {
    let registry = "auto_register = true\n[[agent]]\nid = \"mary\"\naliases = [\"002\"]\ntoken = \"hers\"\n[[agent]]\nid = \"lisa\"\n";
    let daemon = Daemon::setup().registry(registry).start().await;
    check_tokens(
        &daemon,
        &[
            ("mary", None, 401),
            ("mary", Some("wrong"), 401),
            ("mary", Some("hers"), 200),
            ("002", None, 401),
            ("002", Some("hers"), 200),
            ("lisa", None, 200),
            ("stray", None, 201),
        ],
    )
    .await;
    let beats = json!([{"agent": "mary"}, {"agent": "lisa"}]);
    let answers = daemon.beat(&beats).await.json();
    assert_eq!((&answers[0]["took"], &answers[1]["took"]), (&json!("refused"), &json!("taken")));

    let daemon = Daemon::setup().http("token = \"of-all\"").registry(registry).start().await;
    check_tokens(
        &daemon,
        &[
            ("mary", None, 401),
            ("mary", Some("hers"), 200),
            ("mary", Some("of-all"), 200),
            ("lisa", None, 401),
            ("lisa", Some("hers"), 401),
            ("lisa", Some("of-all"), 200),
            ("stray", None, 401),
        ],
    )
    .await;
    daemon
        .wait_until("four beats; the socket needs no token", SOON, async || {
            daemon.agent("lisa").await.filter(|it| it["beats"] == 4)
        })
        .await;
    assert_eq!(daemon.get("/api/v1/agents").await.status, 403, "nor is anything shown");
}

/// Each with the token in every way that it may be given: header, bearer, query, and a beat.
async fn check_tokens(daemon: &Daemon, cases: &[(&str, Option<&str>, u16)]) {
    for (agent, token, expected) in cases {
        let ping = || client().get(daemon.url(&format!("/ping/{agent}")));
        let beat = || client().post(daemon.url("/api/v1/beats")).json(&json!({"agent": agent}));
        let Some(token) = token else {
            for request in [ping(), beat()] {
                let status = daemon.send(request).await.status;
                let once_in = status == 200 && *expected == 201;
                assert!(status == *expected || once_in, "{agent} without a token: {status}");
            }
            continue;
        };
        let in_query = client().get(daemon.url(&format!("/ping/{agent}?token={token}")));
        for request in [
            ping().header("x-atalaya-token", *token),
            ping().bearer_auth(token),
            in_query,
            beat().bearer_auth(token),
        ] {
            assert_eq!(daemon.send(request).await.status, *expected, "{agent} with {token}");
        }
    }
}
