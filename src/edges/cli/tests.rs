//! Whole calls against a daemon that is played, over a real socket; and the API as programs see it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::HeaderMap;
use clap::CommandFactory as _;
use jiff::{SignedDuration, Zoned, tz::TimeZone};

use super::{
    Arguments, Ended, called, client,
    find::Address,
    local::{Checked, Examined, Files, Local, NotStarted, Once, Reach, Seen, Which},
    plan::tests::wanted,
    render::{
        once::tests::once_view,
        tests::{at, held, incident, mary, status, why},
    },
};
use crate::{
    control::{Caller, Command, Done, Face, Refusal, Reply, Scope, ping::PingView},
    domain::{
        detector::Rhythm,
        history::{BeatRecord, Deafness, History},
        id::{Kind, WatchId},
        registry::Wanted,
        text::Text,
        watch::{
            agent::{Before, Notable},
            beat::{Busy, Report},
        },
    },
    edges::http::api::{Answers, Vouch, routes, says_to_be},
};

#[test]
fn the_command_line_is_sound_and_documents_its_exit_codes() {
    let mut command = Arguments::command();
    command.clone().debug_assert();
    assert!(command.render_long_help().to_string().contains("3  no daemon answers"));
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_string_lossy().into_owned();
    assert_eq!(run(&["man", "--out", &out], &Played::default()), 0);
    let page = std::fs::read_to_string(folder.path().join("atalaya.1")).expect("the page");
    assert!(page.contains("not permitted") && page.contains("silence"), "{page}");
    assert!(folder.path().join("atalaya-why.1").exists());
}

/// What the composition root does, played.
#[derive(Default)]
struct Played {
    reach: Option<Reach>,
    broken: bool,
    variables: Vec<(&'static str, String)>,
    history: Option<(History, Vec<Arc<str>>)>,
}

impl Local for Played {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(known, _)| *known == name).map(|(_, it)| it.clone())
    }

    fn run(&self, files: &Files) -> Result<u8, NotStarted> {
        let taken = files.config == Some("taken.toml".into());
        let refused = || NotStarted { code: 75, text: "another atalaya works there".to_owned() };
        if taken { Err(refused()) } else { Ok(0) }
    }

    fn once(&self, files: &Files, once: Once) -> Result<Seen, NotStarted> {
        self.run(files)?;
        let mut view = once_view();
        // What was asked for is what is played.
        view.notified = once.notify;
        if once.as_soon_as_known {
            (view.well, view.unwell) = (true, Vec::new());
        }
        Ok(Seen { view, now: at("03:15:20").to_zoned(TimeZone::UTC) })
    }

    fn check(&self, _: &Files, offline: bool) -> Checked {
        Checked {
            ok: offline && !self.broken,
            files: Vec::new(),
            findings: Vec::new(),
            text: "1 error".to_owned(),
        }
    }

    fn examine(&self, _: &Files) -> Vec<Examined> {
        let mut found = vec![Examined::well("files", "config/atalaya.toml")];
        if self.broken {
            found.push(Examined::problem("store", "full", "df -h"));
        }
        found
    }

    fn wanted(&self, files: &Files) -> Result<Wanted, String> {
        match &files.registry {
            Some(draft) if draft.ends_with("bad.toml") => Err("1 error".to_owned()),
            Some(draft) if draft.ends_with("slow.toml") => {
                Ok(wanted(&[("mary", 9, 400), ("nova", 13, 400)]))
            }
            Some(_) | None => Ok(wanted(&[("mary", 9, 90)])),
        }
    }

    fn history(
        &self,
        _: Option<&Path>,
        _: SignedDuration,
    ) -> Result<(History, Vec<Arc<str>>), String> {
        self.history.clone().ok_or_else(|| "there is no store".to_owned())
    }

    fn schema(&self, _: Which) -> String {
        "{}".to_owned()
    }

    fn reach(&self, config: Option<&Path>) -> Result<Option<Reach>, String> {
        if self.broken && config.is_some() {
            return Err("the configuration cannot be read".to_owned());
        }
        Ok(self.reach.clone())
    }
}

#[test]
fn a_run_that_ends_says_by_its_code_how_it_found_things() {
    let words: [(&[&str], u8); 6] = [
        (&["run", "--once"], 0),
        (&["run", "--duration", "5s"], 1),
        (&["run", "--once", "--config", "taken.toml"], 75),
        (&["run", "--notify"], 2),
        (&["run", "--summary", "x"], 2),
        (&["run", "--duration", "5"], 2),
    ];
    for (words, code) in words {
        assert_eq!(run(words, &Played::default()), code, "{words:?}");
    }
}

#[test]
fn a_summary_replaces_the_file_that_was_named_and_is_added_to_that_of_a_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a summary");
    let played =
        Played { variables: vec![("GITHUB_STEP_SUMMARY", file("step"))], ..Played::default() };
    for _ in 0..2 {
        assert_eq!(run(&["run", "--once"], &played), 0);
        assert_eq!(run(&["run", "--duration", "5s", "--summary", &file("own")], &played), 1);
    }
    assert_eq!(read("step").matches("### ✅ tower").count(), 2);
    assert_eq!(read("own").matches("### ❌ tower").count(), 1);
    let nowhere = file("no/such/folder");
    let ended = ended(&["run", "--once", "--summary", &nowhere], &played);
    let (said, complaint) = texts(&ended);
    assert_eq!(ended.code, 1);
    assert!(said.contains("well") && complaint.contains("cannot be written to"), "{complaint}");
}

fn run(words: &[&str], local: &Played) -> u8 {
    ended(words, local).code
}

fn ended(words: &[&str], local: &Played) -> Ended {
    let words = std::iter::once(&"bin/atalaya").chain(words).map(OsString::from);
    called(&words.collect::<Vec<_>>(), local)
}

/// Standard output, then standard error.
fn texts(ended: &Ended) -> (String, &str) {
    (String::from_utf8_lossy(&ended.out).into_owned(), &ended.errors)
}

/// A daemon that knows Mary.
#[derive(Clone)]
struct Daemon;

impl Answers for Daemon {
    async fn run(&self, command: Command, caller: Caller) -> Result<Reply, Refusal> {
        caller.permits(command.needs())?;
        // The task gives way once, as a real one does.
        tokio::task::yield_now().await;
        match command {
            Command::Status(_) => Ok(Reply::Status(Box::new(status()))),
            Command::Agents(_) => Ok(Reply::Agents(vec![mary()])),
            Command::Incidents(asked) if asked.all => {
                Ok(Reply::Incidents(vec![incident(412, "agent/mary"), held()]))
            }
            Command::Incidents(_) => Ok(Reply::Incidents(vec![incident(412, "agent/mary")])),
            Command::Ack(_) => Ok(Reply::Done(Done { done: vec![caller.name.to_string()] })),
            Command::Why(asked) if asked.target == "agent/mary" => Ok(Reply::Why(Box::new(why()))),
            Command::Ping(ping) => {
                Ok(Reply::Ping(PingView { agent: ping.agent, took: "unknown".to_owned() }))
            }
            other @ (Command::Show(_)
            | Command::Why(_)
            | Command::Release(_)
            | Command::Resolve(_)
            | Command::Silence(_)
            | Command::Unsilence(_)
            | Command::Silences(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Forget(_)
            | Command::Notify(_)
            | Command::Apply(_)
            | Command::Retry(_)) => Err(Refusal::unknown(format!("{other:?}")).with_hint("agents")),
        }
    }

    fn here(&self) -> (String, Zoned) {
        ("tower-1 ☀".to_owned(), at("03:15:20").to_zoned(TimeZone::UTC))
    }
}

/// Serves the played daemon on a socket and on a port, in a thread of its own.
fn serve(folder: &Path, may: Scope) -> (PathBuf, String) {
    let socket = folder.join("atalaya.sock");
    let (path, (send, ready)) = (socket.clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let vouch = |via, may| -> Vouch {
                Arc::new(move |headers: &HeaderMap| {
                    let name = says_to_be(headers).unwrap_or_else(|| Text::clean("nobody", 40));
                    let given = headers.get("authorization").and_then(|it| it.to_str().ok());
                    let may = if given == Some("Bearer secret") { Scope::Act } else { may };
                    Caller { name, via, may }
                })
            };
            let local = tokio::net::UnixListener::bind(path).expect("a socket");
            let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            send.send(tcp.local_addr().expect("an address").to_string()).expect("a reader");
            let over_socket = routes(Daemon, vouch(Face::Socket, Scope::Act));
            let over_tcp = routes(Daemon, vouch(Face::Http, may));
            let (local, tcp) =
                tokio::join!(axum::serve(local, over_socket), axum::serve(tcp, over_tcp));
            local.and(tcp).expect("it serves");
        });
    });
    let address = ready.recv().expect("it listens");
    (socket, format!("http://{address}"))
}

#[test]
fn calls_end_with_the_code_that_scripts_rely_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (socket, url) = serve(folder.path(), Scope::Ping);
    let nowhere = folder.path().join("nothing.sock").to_string_lossy().into_owned();
    let socket_text = socket.to_string_lossy().into_owned();
    let played = Played::default();
    let over = |words: &[&str], code: u8| {
        let words: Vec<&str> = ["--socket", &socket_text].iter().chain(words).copied().collect();
        assert_eq!(run(&words, &played), code, "{words:?}");
    };
    over(&["agents"], 0);
    over(&["agents", "--json"], 0);
    over(&["why", "agent/mary"], 0);
    over(&["ack", "#412"], 0);
    over(&["status"], 1);
    over(&["ping", "ghost"], 1);
    over(&["show", "nobody"], 2);
    over(&["show", "nobody", "--json"], 2);
    over(&["plan", "--registry", "draft.toml"], 0);
    over(&["plan", "--registry", "bad.toml"], 1);
    over(&["check"], 1);
    let shown = ended(&["show", "nobody", "--socket", &socket_text], &played);
    let (out, errors) = texts(&shown);
    assert!(out.is_empty() && errors.ends_with("\ntry: bin/atalaya agents\n"), "{errors}");
    let shown = ended(&["show", "nobody", "--json", "--socket", &socket_text], &played);
    assert!(texts(&shown).0.contains(r#""class":"unknown""#));
    let listed = ended(&["agents", "--json", "--socket", &socket_text], &played);
    assert!(texts(&listed).0.starts_with(r#"[{"id":"mary","name":"Mary","verdict":"down""#));
    let checked = ended(&["check", "--socket", &socket_text], &played);
    let kept = "1 error\ntower-1 keeps running on its registry of 02:10:31.\n";
    assert_eq!(texts(&checked).0, kept);
    assert_eq!(run(&["incidents", "--url", &url], &played), 0);
    assert_eq!(run(&["ack", "#412", "--url", &url], &played), 4, "acting over TCP needs a token");
    assert_eq!(run(&["status", "--socket", &nowhere], &played), 3);
    // A token of the environment, or of the configuration whose address it is, lets in.
    let variables = vec![("ATALAYA_TOKEN", "secret".to_owned()), ("USER", "ana".to_owned())];
    let with_token = Played { variables, ..Played::default() };
    let done = ended(&["ack", "#412", "--url", &url], &with_token);
    assert_eq!((done.code, texts(&done).0.as_str()), (0, "ana\n"));
    let bind = url.strip_prefix("http://").map(str::to_owned);
    let reach = |bind| Reach { socket: None, bind, token: Some("secret".to_owned().into()) };
    let own = Played { reach: Some(reach(bind)), ..Played::default() };
    assert_eq!(run(&["ack", "#412", "--config", "a.toml"], &own), 0);
    let other = Played { reach: Some(reach(None)), ..Played::default() };
    assert_eq!(run(&["ack", "#412", "--url", &url], &other), 4, "it is another's token");
    for (words, code) in [
        (&["check", "--offline"][..], 0),
        (&["schema", "registry"], 0),
        (&["completions", "bash"], 0),
        (&["--version"], 0),
        (&["plan"], 2),
        (&["fly"], 2),
        (&[], 2),
        (&["run"], 0),
        (&["run", "--config", "taken.toml"], 75),
    ] {
        assert_eq!(run(words, &played), code, "{words:?}");
    }
    // Found by its configuration; and a configuration that cannot be read is not guessed around.
    let reach = Reach { socket: Some(socket), ..Reach::default() };
    let found = Played { reach: Some(reach), ..Played::default() };
    assert_eq!(run(&["agents", "--config", "a.toml"], &found), 0);
    let broken = Played { broken: true, ..Played::default() };
    assert_eq!(run(&["agents", "--config", "a.toml"], &broken), 2);
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn the_first_place_that_answers_is_asked_and_all_that_was_tried_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (socket, url) = serve(folder.path(), Scope::Act);
    let command: Command =
        serde_json::from_str(r##"{"command":"ack","targets":["#412"]}"##).expect("json");
    let place = |address| client::Place { address, token: None };
    let gone = || place(Address::Socket(folder.path().join("gone.sock")));
    let places = [gone(), place(Address::Socket(socket)), place(Address::Url(url))];
    let answered = block(client::ask(&places, Some("ana"), &command)).expect("an answer");
    assert_eq!(answered.node, "tower-1 ☀");
    assert_eq!(answered.now.timestamp(), at("03:15:20"));
    assert_eq!(answered.result.expect("done"), r#"{"done":["ana"]}"#);

    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        Address::Url(format!("http://{}", listener.local_addr().expect("an address")))
    };
    let told = block(client::ask(&[gone(), place(closed)], None, &command))
        .expect_err("nobody")
        .to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "no daemon answers; tried");
    assert!(lines[1].contains("gone.sock: No such file"), "{told}");
    assert!(lines[2].contains("127.0.0.1") && lines[2].contains("refused"), "{told}");
}

#[test]
fn the_api_lists_under_items_and_refuses_as_problem_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, url) = serve(folder.path(), Scope::Read);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let get = |path: &str| {
        let request = client.get(format!("{url}/api/v1/{path}"));
        async move {
            let response = request.send().await.expect("an answer");
            let kind = response.headers()["content-type"].to_str().expect("a type").to_owned();
            let status = response.status().as_u16();
            let body: serde_json::Value = response.json().await.expect("json");
            (status, kind, body)
        }
    };
    block(async {
        let (status, kind, body) = get("agents").await;
        assert_eq!((status, kind.as_str()), (200, "application/json"));
        assert_eq!(body["items"][0]["id"], "mary");
        assert_eq!(get("incidents").await.2["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(get("incidents?all=1").await.2["items"].as_array().map(Vec::len), Some(2));
        assert_eq!(get("why/agent/mary").await.2["watch"], "agent/mary");
        assert_eq!(get("status").await.2["node"], "tower-1");

        let (status, kind, body) = get("incidents/412").await;
        assert_eq!((status, kind.as_str()), (404, "application/problem+json"));
        assert_eq!(body["class"], "unknown");
        assert!(body["detail"].as_str().is_some_and(|it| it.contains("#412")), "{body}");
        let (_, _, body) = get("agents/mary").await;
        assert!(body["detail"].as_str().is_some_and(|it| it.contains("agent/mary")), "{body}");
        assert_eq!(get("incidents?limit=x").await.0, 400);
        assert_eq!(
            get("incidents?al=1").await.2["detail"],
            "unknown parameter \"al\"; known are all, watch, since, would_tell, limit"
        );

        let post = |kind: &'static str, body: &'static str| {
            client
                .post(format!("{url}/api/v1/command"))
                .header("content-type", kind)
                .body(body)
                .send()
        };
        let sent = post("application/json", r##"{"command":"ack","targets":["#1"]}"##).await;
        assert_eq!(sent.expect("an answer").status(), 403);
        let sent = post("text/plain", r#"{"command":"status"}"#).await;
        assert_eq!(sent.expect("an answer").status(), 400);
        let sent = post("application/json", "[[[").await;
        assert_eq!(sent.expect("an answer").status(), 400);
        let sent = post("application/json; charset=utf-8", r#"{"command":"status"}"#).await;
        assert_eq!(sent.expect("an answer").status(), 200);
    });
}

/// Mary was silent for five minutes, then for fifteen, and could not be heard for one.
fn a_week_of_mary() -> (History, Vec<Arc<str>>) {
    let over: Arc<str> = Arc::from("http");
    let beat = |moment: &str, last: Option<&str>| BeatRecord {
        watch: WatchId::new(Kind::Agent, "mary"),
        beat: Notable {
            at: at(moment),
            source: Arc::clone(&over),
            report: Report::Alive,
            busy: Busy::Keep,
            advanced: false,
            before: last.map(|last| Before {
                last: at(last),
                advanced: None,
                over: vec![Arc::clone(&over)],
                rhythm: Rhythm::default(),
            }),
        },
    };
    let history = History {
        since: at("00:00:00"),
        until: at("03:00:00"),
        beats: vec![
            beat("00:10:00", None),
            beat("01:05:00", Some("01:00:00")),
            beat("02:15:00", Some("02:00:00")),
            beat("02:59:50", Some("02:59:20")),
        ],
        deafness: vec![Deafness {
            source: Some(Arc::clone(&over)),
            since: at("02:59:00"),
            until: None,
        }],
        flips: Vec::new(),
        facts: Vec::new(),
        silences: Vec::new(),
    };
    (history, vec![over])
}

#[test]
fn replay_sets_both_registries_side_by_side_and_says_what_is_not_known() {
    let played = Played { history: Some(a_week_of_mary()), ..Played::default() };
    let replay = ["replay", "--registry", "slow.toml", "--since", "1d"];
    let (said, errors) = texts_of(&ended(&replay, &played));
    assert_eq!((said.trim(), errors.as_str()), (REPLAYED.trim(), ""), "\n{said}");
    let (said, _) = texts_of(&ended(&[&replay[..], &["--json"]].concat(), &played));
    let view: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(view["draft"]["pages"]["telegram"], 1, "{said}");
    assert_eq!(view["troubles"][0]["draft"], serde_json::Value::Null, "{said}");
    for (words, played, code, words_said) in [
        (&["replay"][..], &played, 2, "which draft? bin/atalaya replay --registry draft.toml"),
        (
            &["replay", "--registry", "slow.toml", "--since", "soon"],
            &played,
            2,
            "is not a duration",
        ),
        (&["replay", "--registry", "bad.toml"], &played, 1, "1 error"),
        (&["replay", "--registry", "slow.toml"], &Played::default(), 1, "there is no store"),
    ] {
        let ended = ended(words, played);
        assert_eq!(ended.code, code, "{words:?}");
        assert!(ended.errors.contains(words_said), "{words:?}: {}", ended.errors);
    }
}

const REPLAYED: &str = "
tower-1 from 00:00:00 to 03:00:00, judged by both registries

                     now      draft
troubles             2        1
pages to telegram    2        1
silence seen after   1m 30s   6m 40s
at the latest        1m 30s   6m 40s

agent/mary   down   01:00:00   after 1m 30s   -> not seen: back after 5m
agent/mary   down   02:00:00   after 1m 30s   -> after 6m 40s
= 0 troubles are seen alike by both

Not known: what came before; beats are kept for 3h
Not known: 1m in which http could not be heard, judged as such
Not known: anything of these agents: agent/nova
Not replayed: acknowledgements (what was held then rings and repeats here), and receivers that did not take a message
";

fn texts_of(ended: &Ended) -> (String, String) {
    let (said, errors) = texts(ended);
    (said, errors.to_owned())
}
