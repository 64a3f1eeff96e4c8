//! The files that are shipped: accepted without a warning, and by their published schemas; each file of
//! config/bad is refused with the report that stands beside it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use atalaya::config::{self, Environment, Reading, Sources};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(REPOSITORY).join(folder)).expect("the folder");
    let mut files: Vec<PathBuf> = entries
        .map(|it| it.expect("an entry").path())
        .filter(|it| it.extension().is_some_and(|it| it == "toml"))
        .collect();
    files.sort();
    files
}

fn read_shipped(file: &Path, daemon: bool, variables: &[(&str, &str)]) -> Reading {
    let name = PathBuf::from(file.file_name().expect("a name"));
    let (config, registry) =
        if daemon { (name, "../registry.toml".into()) } else { ("../atalaya.toml".into(), name) };
    let variables = [("HOME", "/nowhere")].iter().chain(variables).copied();
    config::read(&Sources {
        config: Some(config),
        registry: Some(registry),
        environment: Environment::new(variables, "tower-1"),
        cwd: file.parent().expect("a folder").to_owned(),
        ..Sources::default()
    })
}

fn read_shipped_pair() -> Reading {
    config::read(&Sources {
        environment: Environment::new([("HOME", "/nowhere")], "tower-1"),
        cwd: REPOSITORY.into(),
        ..Sources::default()
    })
}

#[test]
fn each_bad_file_is_refused_with_the_report_beside_it() {
    let files = toml_files("config/bad");
    assert!(25 <= files.len(), "{} files", files.len());
    for file in files {
        let daemon = file.to_string_lossy().contains("-daemon-");
        let report = read_shipped(&file, daemon, &[]).report;
        assert!(report.has_errors(), "{} is accepted", file.display());
        assert!(!report.to_string().contains("hush"), "a secret is shown: {report}");
        let wanted = fs::read_to_string(file.with_extension("txt")).expect("a report beside it");
        assert_eq!(format!("{report}\n"), wanted, "{}", file.display());
    }
}

#[test]
fn five_mistakes_of_five_kinds_are_marked_in_one_run() {
    let file = Path::new(REPOSITORY).join("config/bad/03-registry-five-mistakes.toml");
    let report = read_shipped(&file, false, &[]).report.to_string();
    let carets = report.lines().filter(|it| it.contains("| ") && it.contains('^')).count();
    assert_eq!(carets, 5, "{report}");
    assert!(report.ends_with("5 errors."), "{report}");
}

#[test]
fn what_is_shipped_and_every_example_loads_without_a_warning() {
    let shipped =
        ["config/atalaya.toml", "config/registry.toml"].map(|it| Path::new(REPOSITORY).join(it));
    for file in shipped.into_iter().chain(toml_files("config/examples")) {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let daemon = name.starts_with("source-") || name == "atalaya.toml";
        let mut reading = read_shipped(&file, daemon, &[]);
        if name == "atalaya.toml" || name == "registry.toml" {
            reading = read_shipped_pair();
        } else if name == "receiver-telegram.toml" {
            reading = read_shipped(&file, daemon, &[("TELEGRAM_BOT_TOKEN", "1:a")]);
        } else if name == "receiver-redis.toml" {
            reading = read_shipped(&file, daemon, &[("REDIS_URL", "redis://127.0.0.1")]);
        }
        assert_eq!(reading.report.to_string(), "", "{name}");
    }
}

#[test]
fn the_shipped_files_say_what_the_built_in_settings_say() {
    let shipped = read_shipped_pair();
    let nothing = tempfile::tempdir().expect("a temporary folder");
    let built_in = config::read(&Sources {
        environment: Environment::new([("HOME", "/nowhere")], "tower-1"),
        cwd: nothing.path().to_owned(),
        ..Sources::default()
    });
    assert!(built_in.files.is_empty());
    assert_eq!(
        shipped.files,
        [PathBuf::from("config/atalaya.toml"), "config/registry.toml".into()]
    );
    assert_eq!(
        format!("{:?}", shipped.daemon.expect("settings")),
        format!("{:?}", built_in.daemon.expect("settings"))
    );
    let [shipped, built_in] =
        [shipped.registry, built_in.registry].map(|it| it.expect("a registry"));
    assert_eq!(shipped.wanted.undeclared_max, built_in.wanted.undeclared_max);
    let [shipped, built_in] =
        [shipped, built_in].map(|it| it.wanted.auto_register.clone().expect("it registers"));
    assert_eq!(shipped.spec, built_in.spec);
    assert_eq!(shipped.origin.to_string(), "config/registry.toml:4");
}

#[test]
fn the_published_schemas_accept_what_is_shipped_and_refuse_what_is_not_built() {
    let (daemon, registry) = config::schema();
    for (schema, folder, bad) in [
        (&daemon, "atalaya.toml", "[actions]\nenabled = true"),
        (&registry, "registry.toml", "[[job]]\nid = \"x\""),
    ] {
        let validator = jsonschema::validator_for(schema).expect("a schema");
        let json =
            |text: &str| -> serde_json::Value { toml_edit::de::from_str(text).expect("TOML") };
        let shipped = Path::new(REPOSITORY).join("config").join(folder);
        let text = fs::read_to_string(shipped).expect("the file");
        assert!(validator.is_valid(&json(&text)), "{folder}");
        assert!(!validator.is_valid(&json(bad)), "{bad}");
    }
    for file in toml_files("config/examples") {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let schema = if name.starts_with("source-") { &daemon } else { &registry };
        let text = fs::read_to_string(&file).expect("the file");
        let json: serde_json::Value = toml_edit::de::from_str(&text).expect("TOML");
        jsonschema::validate(schema, &json).expect(&name);
    }
}

/// The file with the marks of its examples taken away.
fn unmarked(text: &str) -> String {
    let is_setting = |it: &str| {
        let key = it.split_once(" = ").map_or("", |(key, _)| key);
        it.starts_with('[')
            || (!key.is_empty() && key.chars().all(|it| it.is_ascii_lowercase() || it == '_'))
    };
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if is_setting(setting) => setting,
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect::<Vec<_>>().concat()
}

/// Every key that a schema knows.
fn keys(schema: &serde_json::Value) -> impl Iterator<Item = &String> {
    let definitions = schema["$defs"].as_object().expect("definitions").values();
    let tables = definitions.chain([schema]).filter_map(|it| it.get("properties"));
    tables.flat_map(|it| it.as_object().expect("properties").keys())
}

#[test]
fn the_shipped_examples_hold_when_their_marks_are_taken_away() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["http.token", "hook.secret", "mary.token", "bot.token"] {
        fs::write(at(name), "123456:abc").expect("the file");
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).expect("its mode");
    }
    fs::create_dir(at("config")).expect("the folder");
    let (daemon, registry) = config::schema();
    for (name, schema) in [("atalaya.toml", daemon), ("registry.toml", registry)] {
        let shipped = fs::read_to_string(Path::new(REPOSITORY).join("config").join(name));
        let text = unmarked(&shipped.expect("the file"));
        let json: serde_json::Value = toml_edit::de::from_str(&text).expect("TOML");
        jsonschema::validate(&schema, &json).expect(name);
        let missing: Vec<&String> =
            keys(&schema).filter(|it| !text.contains(it.as_str())).collect();
        assert!(missing.is_empty(), "{name} does not show {missing:?}");
        fs::write(at("config").join(name), text).expect("the file");
    }
    let reading = config::read(&Sources {
        environment: Environment::new([("HOME", "/nowhere")], "tower-1"),
        cwd: folder.path().to_owned(),
        ..Sources::default()
    });
    assert!(!reading.report.has_errors(), "{}", reading.report);
}
