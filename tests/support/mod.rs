//! What the stories in `tests/it` stand on: the real daemon, real servers, strict fakes, and waiting on conditions.
#![expect(dead_code, reason = "a room of tools: each story takes what it needs")]

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    sync::Mutex,
    time::Duration,
};

use serde_json::Value;

pub(crate) mod beating;
pub(crate) mod beats;
pub(crate) mod daemon;
pub(crate) mod disk;
pub(crate) mod netns;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod service_manager;
pub(crate) mod telegram;
pub(crate) mod views;
pub(crate) mod wait;
pub(crate) mod webhook;

/// An HTTP answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON; fails the test, with the body, when it is none.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|why| panic!("no JSON ({why}): {}", self.body))
    }

    async fn read(answer: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Self { status, headers, body: answer.text().await? })
    }
}

/// A client that ignores proxies of the machine and gives up after 10 s.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_built_in_root_certs(false)
        .timeout(Duration::from_secs(10))
        .build()
        .expect("a plain client can be built")
}

/// Says loudly that a test cannot run here. The caller returns. Where `CI=true` it fails instead: an unproven
/// promise must not look kept.
#[expect(clippy::disallowed_methods, reason = "tests are told by the runner's environment")]
pub(crate) fn skip(name: &str, why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{name} cannot be skipped where CI=true: {why}"
    );
    eprintln!("SKIPPED {name}: {why}");
    // The runner hides what passing tests print; tests/run repeats this file at its end.
    if let Some(path) = std::env::var_os("ATALAYA_TEST_SKIPS") {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .expect("the list of skips can be written");
        writeln!(file, "{name}: {why}").expect("the list of skips can be written");
    }
}

/// A TCP port that no other test of this run holds, on any process, until this process ends. It lies below the
/// kernel's ephemeral range, so no outgoing connection takes it while its server is down.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("ports");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    // Neighbouring processes start far apart.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("it is below 12,000");
    let mut held = HELD.lock().expect("no test panics with the ports in hand");
    for step in 0..COUNT {
        let port = FIRST + (start.wrapping_mul(101) % COUNT + step) % COUNT;
        let lock = File::create(folder.join(port.to_string())).expect("a lock file can be made");
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(why)) => panic!("cannot lock port {port}: {why}"),
            Ok(()) => {}
        }
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            held.push(lock);
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT)
}
