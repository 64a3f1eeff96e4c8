//! Settings at the door: layers, clocks, secrets, warnings, reading again; and that nothing makes it panic.

#[path = "config/agents.rs"]
mod agents;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use atalaya::config::{
    self, Environment, Flag, Loaded, Reading, Sources,
    settings::{LogFormat, Profile},
};
use atalaya::domain::{
    registry::Watched,
    watch::{Spec, agent},
};
use jiff::SignedDuration;
use secrecy::ExposeSecret;

/// A folder with these files and these variables.
fn read(files: &[(&str, &str)], variables: &[(&str, &str)], offline: bool) -> Reading {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("the folder");
        fs::write(&path, text).expect("the file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }
    let variables = [("HOME", "/nowhere")].iter().chain(variables).copied();
    config::read(&Sources {
        config: Some("config/atalaya.toml".into()),
        registry: Some("config/registry.toml".into()),
        environment: Environment::new(variables, "tower-1"),
        cwd: folder.path().to_owned(),
        offline,
        ..Sources::default()
    })
}

/// Both files, either of which may be empty, and variables; it must be accepted.
fn load(daemon: &str, registry: &str, variables: &[(&str, &str)]) -> Loaded {
    let files = [("config/atalaya.toml", daemon), ("config/registry.toml", registry)];
    let Reading { daemon, registry, registry_files, files, report } =
        read(&files, variables, false);
    assert!(!report.has_errors(), "{report}");
    let (daemon, registry) = (daemon.expect("settings"), registry.expect("a registry"));
    Loaded { daemon, registry, registry_files, files, warnings: report.findings }
}

fn of_agent(watched: &Watched) -> &agent::Spec {
    let Spec::Agent(spec) = &watched.spec;
    spec
}

/// The whole report of both files and variables.
fn said(daemon: &str, registry: &str, variables: &[(&str, &str)]) -> String {
    let files = [("config/atalaya.toml", daemon), ("config/registry.toml", registry)];
    read(&files, variables, false).report.to_string()
}

/// A file of the repository as the one or the other, beside the shipped counterpart.
fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[test]
fn each_layer_rules_over_the_one_below() {
    let variable = ("ATALAYA__HTTP__BIND", "127.0.0.1:3");
    let bind = |files: &[(&str, &str)], variables: &[(&str, &str)], flags: Vec<Flag>| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("config")).expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("the file");
        }
        let environment = Environment::new(variables.iter().copied(), "tower-1");
        let cwd = folder.path().to_owned();
        let loaded = config::load(&Sources { flags, environment, cwd, ..Sources::default() });
        loaded.expect("it is accepted").daemon.http.bind.port()
    };
    let file = ("config/atalaya.toml", "[http]\nbind = \"127.0.0.1:1\"\n");
    let dotenv = (".env", "ATALAYA__HTTP__BIND=127.0.0.1:2\n");
    let beside = ("config/.env", "ATALAYA__HTTP__BIND=127.0.0.1:22\n");
    let flag = Flag { name: "--bind".into(), key: "http.bind".into(), value: "127.0.0.1:4".into() };
    assert_eq!(bind(&[], &[], vec![]), 7717);
    assert_eq!(bind(&[file], &[], vec![]), 1);
    assert_eq!(bind(&[file, dotenv], &[], vec![]), 2);
    assert_eq!(bind(&[file, dotenv, beside], &[], vec![]), 22);
    assert_eq!(bind(&[file, dotenv], &[variable], vec![]), 3);
    assert_eq!(bind(&[file, dotenv], &[variable], vec![flag]), 4);
}

#[test]
fn the_names_of_other_systems_are_accepted() {
    let variables = [
        ("LUKA_REDIS_URL", "redis://127.0.0.1:1"),
        ("REDIS_URL", "redis://:hush@127.0.0.1:2"),
        ("TELEGRAM_TOKEN", "1:old"),
        ("TELEGRAM_BOT_TOKEN", "123456:hush"),
        ("TELEGRAM_USER_ID", "42"),
        ("HEARTBEAT_INTERVAL", "60"),
        ("TIMEOUT_THRESHOLD", "300"),
        ("ATALAYA__LOG__FORMAT", "json"),
        ("ATALAYA__REDIS__PROFILES", "heartbeat-map"),
        ("DATABASE_URL", "postgres://ignored"),
    ];
    let registry = "[defaults.agent]\ninterval = \"30s\"\n[[agent]]\nid = \"mary\"\n";
    let loaded = load("", registry, &variables);
    let redis = loaded.daemon.redis.as_ref().expect("redis");
    assert_eq!(redis.url.expose_secret(), "redis://:hush@127.0.0.1:2");
    assert_eq!(redis.profiles, [Profile::HeartbeatMap]);
    let telegram = loaded.daemon.telegram.as_ref().expect("a bot");
    assert_eq!(telegram.token.expose_secret(), "123456:hush");
    assert_eq!((telegram.chat, telegram.allowed_users.as_slice()), (Some(42), [42].as_slice()));
    assert_eq!(loaded.daemon.log.format, LogFormat::Json);
    let spec = of_agent(&loaded.registry.wanted.watches[0]);
    assert_eq!((spec.interval, spec.timeout), (seconds(60), seconds(300)));
    let names: Vec<&str> = loaded.daemon.sources().iter().map(|it| it.name).collect();
    assert_eq!(names, ["http", "redis"]);
    assert_eq!(spec.enabled.iter().map(|it| it.0).collect::<Vec<_>>(), [0, 1]);
    assert!(!format!("{loaded:?}").contains("hush"), "a secret is printed");
}

#[test]
fn a_bad_variable_is_told_by_name_value_and_range() {
    for (name, value, wanted) in [
        ("HEARTBEAT_INTERVAL", "0", "seconds, a whole number from 1 to 864000"),
        ("TIMEOUT_THRESHOLD", "soon", "seconds, a whole number from 3 to 2678400"),
        ("TELEGRAM_CHAT_ID", "@ana", "takes a whole number"),
        ("ATALAYA__LOG__LEVEL", "loud", "one of error, warn, info, debug, trace"),
        ("ATALAYA__HTTP__BIND", "7717", "`bind` takes an IP address and a port"),
        ("ATALAYA__HTTP__BNID", "x", "did you mean `ATALAYA__HTTP__BIND`?"),
        ("ATALAYA__TELEGRAM__LISTEN", "perhaps", "true or false"),
        ("REDIS_URL", "ftp://x", "takes a redis://"),
    ] {
        let said = said("", "", &[(name, value)]);
        assert!(said.contains(wanted), "{name}: {said}");
        assert!(said.contains(&format!("  environment: {name}={value}\n")), "{name}: {said}");
    }
    let said = said("", "", &[("TELEGRAM_BOT_TOKEN", "hush hush")]);
    assert!(said.contains("TELEGRAM_BOT_TOKEN=*********"), "{said}");
}

#[test]
fn a_line_of_dotenv_is_marked_like_any_other() {
    let files = [
        ("config/atalaya.toml", ""),
        ("config/registry.toml", "auto_register = true\n"),
        (".env", "# mine\nATALAYA__NODE__STATE_DIR=$HOME/var\nTIMEOUT_THRESHOLD=1\n"),
    ];
    let reading = read(&files, &[], false);
    let said = reading.report.to_string();
    assert!(said.contains("  .env:3:1\n3 | TIMEOUT_THRESHOLD=1\n"), "{said}");
    assert!(said.ends_with("1 error."), "{said}");
}

#[test]
fn redis_sources_are_read_and_numbered() {
    let daemon = r#"[redis]
url = "redis://127.0.0.1:6379/0"
source = [{ pattern = "a:*", agent_from = "*" }, { channel = "b", agent_from = "/agent/id" }]
profiles = ["binaryrogue"]
poll_every = "2s"
"#;
    let loaded = load(daemon, "auto_register = true", &[]);
    let redis = loaded.daemon.redis.as_ref().expect("redis");
    let read: Vec<_> = redis
        .subscriptions
        .iter()
        .map(|it| (it.pattern.as_str(), it.agent_from.as_str()))
        .collect();
    assert_eq!(read, [("a:*", "*"), ("b", "/agent/id")]);
    assert_eq!((redis.poll_every, redis.prefix.as_str()), (Some(seconds(2)), "binaryrogue"));
    let names: Vec<&str> = loaded.daemon.sources().iter().map(|it| it.name).collect();
    assert_eq!(names, ["http", "redis", "redis-poll"]);
}

#[test]
fn signs_of_life_are_read_and_our_own_id_is_nobodys() {
    let daemon = "[deadman]\nurl = \"https://hc.example/hush\"\nmethod = \"post\"\n\
        [redis]\nurl = \"redis://127.0.0.1\"\nbeat_every = \"5s\"\nbeat_as = \"atalaya-2\"\n";
    let loaded = load(daemon, "", &[]).daemon;
    let deadman = loaded.deadman.as_ref().expect("it has a url");
    assert_eq!((deadman.every, deadman.post), (seconds(60), true));
    let redis = loaded.redis.as_ref().expect("it has a url");
    assert_eq!((redis.own_id.as_str(), redis.beat_every), ("atalaya-2", Some(seconds(5))));
    assert!(!format!("{loaded:?}").contains("hush"), "a secret is printed");
    for (more, every) in
        [("", Some(30)), ("beat_every = \"0s\"", None), ("profiles = [\"heartbeat-map\"]", None)]
    {
        let daemon = format!("[redis]\nurl = \"redis://127.0.0.1\"\n{more}\n");
        let redis = load(&daemon, "", &[]).daemon.redis.expect("it has a url");
        assert_eq!(redis.beat_every, every.map(seconds), "{more}");
    }
    let said = said(daemon, "[[agent]]\nid = \"atalaya-2\"\n", &[]);
    assert!(
        said.contains("`atalaya-2` is atalaya itself: its beats on Redis are ignored"),
        "{said}"
    );
    load(daemon, "[[agent]]\nid = \"atalaya\"\n", &[]);
    for said in [
        self::said("", "", &[("ATALAYA__DEADMAN__URL", "hc.example/hush")]),
        self::said("deadman = { url = \"https://hc.example/hush\", evry = \"1m\" }\n", "", &[]),
    ] {
        assert!(said.contains("error") && !said.contains("hush"), "{said}");
    }
}

#[test]
fn secrets_come_from_files_and_from_systemd() {
    let files = [
        ("config/atalaya.toml", "[telegram]\nchat = 7\n[http]\ntoken_file = \"http.token\"\n"),
        ("config/registry.toml", "auto_register = true\n"),
        ("http.token", "hush\n"),
        ("credentials/telegram_token", "1:abc\n"),
    ];
    let reading = read(&files, &[("CREDENTIALS_DIRECTORY", "credentials")], false);
    assert_eq!(reading.report.to_string(), "");
    let daemon = reading.daemon.expect("settings");
    assert_eq!(daemon.http.token.expect("a token").expose_secret(), "hush");
    assert_eq!(daemon.telegram.expect("a bot").token.expose_secret(), "1:abc");
    assert!(reading.registry.expect("a registry").receivers[0].human);
}

#[test]
fn a_secret_that_everybody_reads_is_a_warning_and_an_absent_one_is_an_error_only_online() {
    let daemon = "[http]\ntoken_file = \"http.token\"\n";
    let registry = ("config/registry.toml", "auto_register = true\n");
    let absent = [("config/atalaya.toml", daemon), registry];
    assert!(read(&absent, &[], false).daemon.is_err());
    let offline = read(&absent, &[], true);
    assert!(offline.daemon.is_ok());
    assert!(offline.report.to_string().ends_with("1 warning."), "{}", offline.report);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = folder.path().join("token");
    fs::write(&token, "hush").expect("the file");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).expect("its mode");
    let daemon = format!("[http]\ntoken_file = {token:?}\n");
    let loaded = load(&daemon, registry.1, &[]);
    assert!(loaded.warnings[0].message.contains("everybody"), "{:?}", loaded.warnings);
}

#[test]
fn what_can_never_ring_is_a_warning() {
    for (daemon, registry, warning) in [
        (
            // A person is told what no route matches; a machine beside one is not.
            "[telegram]\ntoken = \"1:a\"\nchat = 5\n",
            "[[receiver]]\nid = \"x\"\nlog = {}\n[[agent]]\nid = \"a\"\n",
            "no route names receiver \"x\"",
        ),
        (
            "",
            "auto_register = true\n[[receiver]]\nid = \"x\"\nlog = {}\n[[route]]\nto = [\"x\"]\n[[route]]\nmatch = \"agent/a\"\nto = [\"x\"]\n",
            "this route is never reached",
        ),
        ("", "auto_register = false\n", "nothing is watched"),
        (
            "",
            "[[agent]]\nid = \"c-*\"\ngroup = \"coding\"\n[[maintenance]]\nwatch = \"group/codign\"\ncron = \"@daily\"\nfor = \"1h\"\n",
            "no agent is in group",
        ),
        ("[telegram]\ntoken = \"1:a\"\n", "auto_register = true\n", "a token but no chat"),
        ("[telegram]\nchat = 5\n", "auto_register = true\n", "`chat` has no bot"),
        ("[redis]\nprofiles = []\n", "auto_register = true\n", "[redis] has no `url`"),
    ] {
        let loaded = load(daemon, registry, &[]);
        assert_eq!(loaded.warnings.len(), 1, "{warning}: {:?}", loaded.warnings);
        assert!(loaded.warnings[0].message.contains(warning), "{:?}", loaded.warnings);
    }
}

#[test]
fn all_files_are_reported_at_once_and_a_bad_registry_leaves_the_daemon_alone() {
    let files = [
        ("config/atalaya.toml", "[node]\nnmae = \"x\"\n"),
        ("config/registry.toml", "[[agent]\n"),
        ("config/registry.d/20-b.toml", "[[agent]]\nid = \"mary\"\n"),
        ("config/registry.d/10-a.toml", "[[agent]]\nid = \"mary\"\nname = 3\n"),
    ];
    let said = read(&files, &[], false).report.to_string();
    for place in [
        "atalaya.toml:2:1",
        "registry.toml:1:",
        "registry.d/10-a.toml:3:8",
        "registry.d/20-b.toml:2:6",
    ] {
        assert!(said.contains(place), "{place}: {said}");
    }
    assert!(said.ends_with("4 errors."), "{said}");
    let reading = read(&[("config/atalaya.toml", ""), files[1]], &[], false);
    assert!(reading.daemon.is_ok() && reading.registry.is_err());
}

#[test]
fn the_registry_is_read_again_kept_and_drafted_with_the_daemons_settings() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write =
        |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("the file");
    write("registry.toml", "[[agent]]\nid = \"mary\"\n");
    let loaded = config::load(&Sources {
        registry: Some("registry.toml".into()),
        environment: Environment::new([("REDIS_URL", "redis://127.0.0.1")], "tower-1"),
        cwd: folder.path().to_owned(),
        ..Sources::default()
    })
    .expect("it is accepted");
    let files = &loaded.registry_files;
    assert_eq!(files.folders(), [folder.path()]);
    let before = files.fingerprint();
    assert_eq!(files.fingerprint(), before);

    write("registry.toml", "[[agent]]\nid = \"lisa\"\n");
    assert_ne!(files.fingerprint(), before);
    let changed = files.read().expect("it is accepted");
    assert_eq!(changed.wanted.watches[0].subject.watch.to_string(), "agent/lisa");
    assert_eq!(of_agent(&changed.wanted.watches[0]).enabled.len(), 3);

    write("registry.toml", "[[agent]]\n");
    assert!(files.read().expect_err("it is refused").to_string().contains("needs `id`"));
    let kept = files.read_kept(&changed.text).expect("it was accepted before");
    assert_eq!(kept.wanted, changed.wanted);
    assert!(files.read_kept("{").is_err());

    write("draft.toml", "[[agent]]\nid = \"nova\"\n");
    let draft = files.with(Path::new("draft.toml")).read().expect("it is accepted");
    assert_eq!(draft.wanted.watches[0].subject.origin.to_string(), "draft.toml:1");
}

#[test]
fn a_file_that_is_absent_or_not_text_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("registry.toml"), b"# caf\xe9\n").expect("the file");
    let reading = config::read(&Sources {
        config: Some("nowhere.toml".into()),
        registry: Some("registry.toml".into()),
        cwd: folder.path().to_owned(),
        ..Sources::default()
    });
    let said = reading.report.to_string();
    assert!(said.contains("cannot open nowhere.toml"), "{said}");
    assert!(said.contains("  registry.toml:1:6\n"), "{said}");
}

#[test]
fn ten_thousand_agents_are_read_in_one_pass() {
    let agent = |it| {
        format!(
            "[[agent]]\nid = \"worker-{it}\"\naliases = [\"w{it}\"]\ntimeout = \"2m\"\nnotify = [\"x\"]\n\n"
        )
    };
    let text = (0..10_000).map(agent).collect::<Vec<_>>().concat();
    let loaded = load("", &format!("[[receiver]]\nid = \"x\"\nlog = {{}}\n{text}"), &[]);
    assert_eq!(loaded.registry.wanted.watches.len(), 10_000);
    let last = &loaded.registry.wanted.watches[9_999].subject.origin;
    assert_eq!(last.to_string(), format!("config/registry.toml:{}", 4 + 9_999 * 6));
}

/// Texts that look like settings, for what no example thought of.
fn like_settings() -> impl proptest::strategy::Strategy<Value = String> {
    let word = proptest::sample::select(vec![
        "[[agent]]",
        "[agent]",
        "[[route]]",
        "[[receiver]]",
        "[redis]",
        "[telegram]",
        "[http]",
        "id",
        "to",
        "interval",
        "timeout",
        "webhook",
        "then",
        "match",
        "token",
        "=",
        " ",
        "\n",
        "\"mary\"",
        "\"30s\"",
        "30",
        "[",
        "]",
        "{",
        "}",
        ",",
        "true",
        "\"",
        "'",
        "url",
        "é",
        "\t",
        "\u{202e}",
        "x.y",
        "1979-05-27",
    ]);
    proptest::strategy::Strategy::prop_map(proptest::collection::vec(word, 0..40), |it| it.concat())
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_that_stands_in_a_file_makes_it_panic(settings in like_settings(), bytes: Vec<u8>) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (config, registry) in [(settings.as_bytes(), bytes.as_slice()), (bytes.as_slice(), settings.as_bytes())] {
            fs::write(folder.path().join("atalaya.toml"), config).expect("the file");
            fs::write(folder.path().join("registry.toml"), registry).expect("the file");
            fs::write(folder.path().join(".env"), registry).expect("the file");
            let reading = config::read(&Sources {
                config: Some("atalaya.toml".into()),
                cwd: folder.path().to_owned(),
                ..Sources::default()
            });
            let said = reading.report.to_string();
            proptest::prop_assert_eq!(reading.report.has_errors(), said.contains("error: "));
        }
    }
}
