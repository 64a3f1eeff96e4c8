//! Settings as a person meets them: check, plan, schema, the first start, the shipped files.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::support::{client, daemon::Daemon, free_port, wait};

const SOON: Duration = Duration::from_secs(20);

const FIVE_MISTAKES: &str = r#"auto_regster = true
[[agent]]
id = "mary"
timeout = "soon"
[[agent]]
id = "mary"
[[agent]]
id = "lisa"
detector = "fxied"
[[route]]
match = "agent/*"
to = "telegram"
"#;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A copy of the shipped `config/*.toml`, as a clone has them.
fn shipped(daemon: &Daemon) {
    for name in ["atalaya.toml", "registry.toml"] {
        let to = daemon.path("config").join(name);
        fs::copy(repository().join("config").join(name), to).expect("they are shipped");
    }
}

/// The agents' entry that the two plans change.
fn entry(id: &str, timeout: &str) -> String {
    format!("[[agent]]\nid = \"{id}\"\ninterval = \"500ms\"\ntimeout = \"{timeout}\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_is_well_and_every_mistake_at_once() {
    let daemon = Daemon::setup().registry(&entry("mary", "5s")).write();
    let said = daemon.cli(&["check"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stdout.contains("registry.toml: no mistakes"), "{said:?}");

    daemon.write_registry(FIVE_MISTAKES);
    let said = daemon.cli(&["check"]).await;
    assert_eq!(said.status, Some(1), "{said:?}");
    let carets = said.stdout.lines().filter(|it| it.contains(" | ") && it.contains('^')).count();
    assert_eq!(carets, 5, "{}", said.stdout);
    for words in [
        "did you mean `auto_register`?",
        "such as \"90s\"",
        "\"mary\"",
        "did you mean `fixed`?",
        "[\"telegram\"]",
        "5 errors.",
    ] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    let found = daemon.cli_json(&["check"]).await;
    assert_eq!(found["ok"], false);
    let findings = found["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 5, "{found}");
    assert_eq!((&findings[0]["line"], &findings[0]["level"]), (&json!(1), &json!("error")));
    assert!(findings.iter().all(|it| it["column"].is_u64() && it["help"] != ""), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_offline_only_warns_of_a_secret_that_is_elsewhere() {
    let hook = "[[receiver]]\nid = \"hook\"\nwebhook = { url = \"http://127.0.0.1:9/x\", secret_file = \"./absent.secret\" }\n";
    let daemon = Daemon::setup().registry(hook).write();
    let said = daemon.cli(&["check"]).await;
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(said.stdout.contains("absent.secret") && said.stdout.contains("error:"), "{said:?}");
    let said = daemon.cli(&["check", "--offline"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stdout.contains("absent.secret") && said.stdout.contains("warning:"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_check_says_that_the_daemon_keeps_running_on_what_it_has() {
    let daemon = Daemon::setup().registry(&entry("mary", "5s")).start().await;
    daemon.write_registry("auto_regster = true\n");
    let said = daemon.cli(&["check"]).await;
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(said.stdout.contains("tower-test keeps running on its registry of "), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_reads_a_draft_against_the_running_daemon_or_the_files() {
    let standing = [entry("mary", "1m"), entry("lisa", "1m"), entry("paula", "1m")].concat();
    let mut daemon = Daemon::setup().registry(&standing).write();
    let draft = [entry("mary", "1500ms"), entry("lisa", "1m"), entry("nova", "1m")].concat();
    fs::write(daemon.path("draft.toml"), draft).expect("written");

    let said = daemon.cli(&["plan", "--registry", "draft.toml"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stdout.starts_with("against the registry on disk: no daemon answers"), "{said:?}");
    for words in
        ["+ agent/nova", "~ agent/mary", "timeout 60s → 1500ms", "- agent/paula", "= 1 unchanged"]
    {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }

    daemon.start().await;
    daemon.ping("mary").await;
    // Longer than the draft allows.
    wait::last(Duration::from_secs(2)).await;
    let said = daemon.cli(&["plan", "--registry", "draft.toml"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stdout.starts_with("against tower-test, registry of "), "{said:?}");
    assert!(said.stdout.contains("after apply unless it beats"), "{said:?}");
    assert!(said.stdout.contains("Apply: mv draft.toml "), "{said:?}");
    let plan = daemon.cli_json(&["plan", "--registry", "draft.toml"]).await;
    assert_eq!((plan["unchanged"].as_u64(), &plan["held"]), (Some(1), &json!(false)), "{plan}");
    assert_eq!(plan["changes"].as_array().map(Vec::len), Some(3), "{plan}");
    let agents = daemon.cli_json(&["agents"]).await;
    assert_eq!(agents.as_array().map(Vec::len), Some(3), "a plan changes nothing");

    fs::write(daemon.path("draft.toml"), FIVE_MISTAKES).expect("written");
    let said = daemon.cli(&["plan", "--registry", "draft.toml"]).await;
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(
        said.stderr.contains("draft.toml:1:1") && said.stderr.contains("5 errors."),
        "{said:?}"
    );
    let said = daemon.cli(&["plan"]).await;
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(said.stderr.contains("plan --registry draft.toml"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_accept_the_shipped_files_and_refuse_what_check_refuses() {
    let daemon = Daemon::setup().write();
    for (which, name, bad) in [
        ("daemon", "atalaya.toml", "[node]\nnaem = \"x\"\n"),
        ("registry", "registry.toml", "auto_regster = true\n"),
    ] {
        let said = daemon.cli(&["schema", which]).await;
        assert_eq!(said.status, Some(0), "{said:?}");
        let schema: Value = serde_json::from_str(&said.stdout).expect("JSON");
        let schema = jsonschema::validator_for(&schema).expect("a schema");
        let text = fs::read_to_string(repository().join("config").join(name)).expect("shipped");
        let of = |text: &str| {
            let table: toml_edit::DocumentMut = text.parse().expect("TOML");
            toml_edit::de::from_document::<Value>(table).expect("as JSON")
        };
        assert!(schema.is_valid(&of(&text)), "{name} as it is shipped");
        assert!(!schema.is_valid(&of(bad)), "{bad}");
    }
    assert_eq!(daemon.cli(&["schema", "regsitry"]).await.status, Some(2));
}

/// Runs every hint of the first words, by a shell, as a person who pastes it.
async fn run_hints(daemon: &Daemon, words: &str) {
    let hints: Vec<&str> = words
        .lines()
        .skip_while(|it| !it.trim_start().starts_with("first beat"))
        .take_while(|it| !it.is_empty())
        .map(|it| it.split_once("  ").map_or(it, |(_, rest)| rest))
        .filter_map(|it| it.trim_start().split_once("  "))
        .map(|(_, hint)| hint.trim())
        .collect();
    assert!(3 <= hints.len(), "{words}");
    // The demo has stories of its own.
    for hint in hints.into_iter().filter(|it| !it.ends_with(" demo")) {
        let hint = &hint.replace("COMMAND", "true");
        let output = tokio::process::Command::new("sh")
            .args(["-c", hint])
            .current_dir(daemon.path("."))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .output()
            .await
            .expect("a shell");
        assert!(output.status.success(), "{hint}: {output:?}");
    }
}

/// Starts in a folder without the harness's flags; returns what it printed once it judges.
async fn first_start(daemon: &Daemon, port: u16) -> (tokio::process::Child, String) {
    let out = fs::File::create(daemon.path("first.out")).expect("a file");
    let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_atalaya"))
        .arg("run")
        .current_dir(daemon.path("."))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("ATALAYA__HTTP__BIND", format!("127.0.0.1:{port}"))
        .stdout(out)
        .stderr(fs::File::create(daemon.path("first.err")).expect("a file"))
        .kill_on_drop(true)
        .spawn()
        .expect("cargo has built the binary");
    let words = wait::eventually(SOON, "it says where things are", async || {
        let words = fs::read_to_string(daemon.path("first.out")).ok()?;
        words.contains("first beat").then_some(words)
    })
    .await;
    let ready = client().get(format!("http://127.0.0.1:{port}/readyz")).send().await;
    assert_eq!(ready.expect("it listens").status(), 200);
    (child, words)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_without_files_says_where_things_are_and_its_hints_work() {
    let daemon = Daemon::setup().write();
    fs::remove_dir_all(daemon.path("config")).expect("no files");
    let port = free_port();
    let (_child, words) = first_start(&daemon, port).await;
    for line in [
        "built-in settings",
        "no files  ./config, ~/.config/atalaya, /etc/atalaya",
        "./var/atalaya.db",
        "watching  itself, and whatever pings it",
        "telling   this terminal only",
    ] {
        assert!(words.contains(line), "{line}: {words}");
    }
    assert!(words.contains(&format!("http://127.0.0.1:{port}")), "{words}");
    run_hints(&daemon, &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_files_run_as_they_stand() {
    let daemon = Daemon::setup().write();
    shipped(&daemon);
    let (_child, words) = first_start(&daemon, free_port()).await;
    let first = words.lines().next().expect("a line");
    assert!(first.ends_with("config/atalaya.toml, config/registry.toml"), "{first}");
    assert!(words.contains("itself, and whatever pings it"), "{words}");
    run_hints(&daemon, &words).await;
    let errors = fs::read_to_string(daemon.path("first.err")).expect("its log");
    assert!(!errors.contains("WARN") && !errors.contains("ERROR"), "{errors}");
    assert!(daemon.path("var/atalaya.db").exists(), "state lies in ./var");
}
