//! The pages of docs/reference, made of what the code holds.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use atalaya::{
    adapters::notify,
    config,
    domain::watch::{Condition, agent::Verdict},
    wire::echo,
};
use serde_json::{Map, Value};

use crate::text::{files_below, read};

const PROGRAM: &str = env!("CARGO_BIN_EXE_atalaya");

/// What each path of the HTTP edge is for; a path without a line here, or a line without a path, is told.
const PATHS: &[(&str, &str)] = &[
    ("/ping/{agent}", "A sign of life. 200 `OK`; 201 `Created` when the agent registered itself"),
    ("/ping/{agent}/{action}", "`start`, `fail`, `log`, or an exit code from `0` to `255`"),
    (
        "/api/v1/beats",
        "One beat or a list of up to 10,000, each answered: see [beats](../beats/README.md)",
    ),
    ("/livez", "`alive`: the process answers"),
    (
        "/readyz",
        "200 once it judges, and so while a part is broken; the body lists the parts and their trouble",
    ),
    (
        "/api/v1/command",
        "Any command of the command line as JSON: `{\"command\":\"ack\",\"targets\":[\"#412\"]}`",
    ),
    ("/api/v1/status", "As `atalaya status --json`"),
    (
        "/api/v1/agents",
        "As `atalaya agents --json`, under `items`; `?unknown=1` lists ids that nobody watches, `?group=NAME` those of a group",
    ),
    ("/api/v1/agents/{id}", "As `atalaya show agent/ID --json`"),
    (
        "/api/v1/incidents",
        "Open incidents, under `items`; `?all=1`, `?watch=agent/mary`, `?limit=20`",
    ),
    ("/api/v1/incidents/{number}", "As `atalaya show '#NUMBER' --json`"),
    ("/api/v1/silences", "Silences that hold, under `items`"),
    (
        "/api/v1/why/{*target}",
        "As `atalaya why TARGET --json`; the target may hold a slash: `agent/mary`",
    ),
];

/// What each source brings, in words for operators; complete, as [`PATHS`] is.
const SOURCES: &[(&str, &str)] = &[
    (
        "http",
        "Pings and beats over HTTP, always on. Proved by a request of its own through the listener",
    ),
    (
        "redis",
        "Beats on channels and patterns of `[redis]`. Proved by an echo on the same connection",
    ),
    (
        "redis-poll",
        "The hashes `<prefix>:agents:{id}` of the profile `binaryrogue`; a changed `last_seen` is a beat",
    ),
];

/// An agent's verdicts, worst first.
const VERDICTS: [Verdict; 14] = [
    Verdict::Down,
    Verdict::Failed,
    Verdict::Overrun,
    Verdict::Stalled,
    Verdict::Looping,
    Verdict::Degraded,
    Verdict::Unanswered,
    Verdict::Late,
    Verdict::Up,
    Verdict::Waiting,
    Verdict::NeedsInput,
    Verdict::Leaving,
    Verdict::Paused,
    Verdict::Blind,
];

pub(crate) fn configuration() -> String {
    let (daemon, registry) = config::schema();
    let mut page = "# Configuration\n\nEvery key of both files, with its default. `atalaya schema` and `atalaya schema registry` print \
        the same as JSON Schema.\nA duration is text: `\"90s\"`, `\"5m\"`, `\"1h 30m\"`.\n"
        .to_owned();
    for (file, schema) in [("atalaya.toml", &daemon), ("registry.toml", &registry)] {
        write!(page, "\n## {file}\n\n{}\n", schema["description"].as_str().unwrap_or_default())
            .expect("a text takes all");
        keys(&mut page, schema, "", false, schema);
    }
    page
}

/// A table of a section's keys, and a section for each of its tables.
fn keys(page: &mut String, section: &Value, path: &str, listed: bool, schema: &Value) {
    let empty = Map::new();
    let properties = section["properties"].as_object().unwrap_or(&empty);
    let (mut rows, mut inner) = (String::new(), Vec::new());
    for (key, value) in properties {
        let (target, many) = resolved(value, schema);
        if target["type"] == "object" && target.get("properties").is_some() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            inner.push((path, target, many));
            continue;
        }
        let about = value["description"].as_str().or(target["description"].as_str());
        let required =
            section["required"].as_array().is_some_and(|it| it.iter().any(|it| it == key));
        let needed = if required { " Needed." } else { "" };
        let takes = takes(target, many);
        let about = about.unwrap_or_default().replace('|', "\\|");
        writeln!(rows, "| `{key}` | {takes} | {about}{needed} |").expect("a text takes all");
    }
    if !path.is_empty() {
        let (open, close) = if listed { ("[[", "]]") } else { ("[", "]") };
        let about = section["description"].as_str().unwrap_or_default();
        write!(page, "\n### `{open}{path}{close}`\n\n{about}\n").expect("a text takes all");
    }
    if !rows.is_empty() {
        write!(page, "\n| key | takes | |\n| --- | --- | --- |\n{rows}").expect("a text takes all");
    }
    for (path, target, many) in inner {
        keys(page, target, &path, many, schema);
    }
}

/// The schema behind a reference, and whether it is a list's.
fn resolved<'a>(value: &'a Value, schema: &'a Value) -> (&'a Value, bool) {
    let (value, many) = match value.get("items") {
        Some(items) => (items, true),
        None => (value, false),
    };
    let name = value["$ref"].as_str().and_then(|it| it.rsplit('/').next());
    (name.map_or(value, |it| &schema["$defs"][it]), many)
}

fn takes(target: &Value, many: bool) -> String {
    let words: Option<Vec<String>> = target["enum"]
        .as_array()
        .map(|it| it.iter().filter_map(|it| Some(format!("`{}`", it.as_str()?))).collect());
    let one = match (words, target["format"].as_str(), target["type"].as_str()) {
        (Some(words), _, _) => words.join(", "),
        (_, Some("duration-words"), _) => "duration".to_owned(),
        (_, _, Some("string")) => "text".to_owned(),
        (_, _, Some("integer")) => match (target["minimum"].as_u64(), target["maximum"].as_u64()) {
            (Some(least), Some(most)) => format!("number, {least} to {most}"),
            (_, _) => "number".to_owned(),
        },
        (_, _, Some("boolean")) => "`true`, `false`".to_owned(),
        (_, _, _) => "table".to_owned(),
    };
    if many { format!("list of: {one}") } else { one }
}

pub(crate) fn commands() -> String {
    let mut page = format!(
        "# Commands\n\nAs `--help` prints them.\n\n```text\n{}\n```\n",
        said(&["--help"]).trim_end()
    );
    for verb in verbs() {
        let help = said(&[&verb, "--help"]);
        let own = help.split("\nEverywhere:").next().unwrap_or_default().trim_end();
        write!(page, "\n## atalaya {verb}\n\n```text\n{own}\n```\n").expect("a text takes all");
        for inner in listed(&help) {
            let help = said(&[&verb, &inner, "--help"]);
            let own = help.split("\nEverywhere:").next().unwrap_or_default().trim_end();
            write!(page, "\n### atalaya {verb} {inner}\n\n```text\n{own}\n```\n")
                .expect("a text takes all");
        }
    }
    page
}

pub(crate) fn verdicts() -> String {
    let mut page = "# Verdicts and conditions\n\n## What an agent's watch says\n\nWorst first. Those with a condition open an \
        incident; `[[agent]] severity` changes what it weighs.\n\n| verdict | means | opens |\n| --- | --- | --- |\n"
        .to_owned();
    for (name, about) in variants("src/domain/watch/agent/mod.rs", "pub enum Verdict {") {
        let found = VERDICTS.into_iter().find(|it| format!("{it:?}") == name);
        let verdict = found.unwrap_or_else(|| panic!("VERDICTS of tests/docs.rs lacks {name}"));
        let (word, nothing) = (verdict.word(), || "nothing".to_owned());
        let opens =
            verdict.condition().map_or_else(nothing, |it| format!("`{it}`, {}", it.severity()));
        writeln!(page, "| `{word}` | {about} | {opens} |").expect("a text takes all");
    }
    page += "\n## What an incident can be about\n\nAn incident is one open trouble: a watch and one of these. A worse one of the \
        same watch closes the lesser.\nCritical rings at once; warning goes to the log and to whom a route names; info to the log \
        alone.\n\n| condition | severity | means |\n| --- | --- | --- |\n";
    for (name, about) in variants("src/domain/watch/mod.rs", "pub enum Condition {") {
        let found = Condition::ALL.into_iter().find(|it| format!("{it:?}") == name);
        let condition = found.unwrap_or_else(|| panic!("Condition::ALL lacks {name}"));
        writeln!(page, "| `{condition}` | {} | {about} |", condition.severity())
            .expect("a text takes all");
    }
    page
}

pub(crate) fn receivers() -> String {
    let mut page = "# Receivers and sources\n\n## Receivers\n\nA `[[receiver]]` has an `id` and one of these. People get one message \
        per trouble, which is edited;\nmachines get every incident singly.\n\n| kind | what | for |\n| --- | --- | --- |\n"
        .to_owned();
    for kind in notify::KINDS {
        let who = if kind.human { "people" } else { "machines" };
        let about = kind.about.replace('<', "\\<");
        let example = format!("../../config/examples/receiver-{}.toml", kind.name);
        writeln!(page, "| [`{}`]({example}) | {about} | {who} |", kind.name)
            .expect("a text takes all");
    }
    page += "\n## Sources\n\nBy which agents are heard; each is a watch `source/NAME`.\n\n| source | what |\n| --- | --- |\n";
    for name in source_names() {
        let about = SOURCES.iter().find(|(it, _)| *it == name).map(|it| it.1);
        let about = about.unwrap_or_else(|| panic!("SOURCES of tests/docs.rs lacks {name}"));
        writeln!(page, "| `source/{name}` | {about} |").expect("a text takes all");
    }
    page
}

pub(crate) fn http() -> String {
    let mut page = "# HTTP\n\nThe same routes over TCP (`[http] bind`) and over the Unix socket. Reading and pinging need no token \
        over loopback unless one is set;\nacting needs `[http] token`, but not over the socket. A token goes into `Authorization: \
        Bearer …` or `X-Atalaya-Token`,\nfor pings also into `?token=`. Refusals are `application/problem+json`.\n\n\
        | method | path | what |\n| --- | --- | --- |\n"
        .to_owned();
    let mut known: Vec<&(&str, &str)> = PATHS.iter().collect();
    for (path, methods) in routes() {
        let place = known.iter().position(|(it, _)| *it == path);
        let place = place.unwrap_or_else(|| panic!("{path} has no line in PATHS of tests/docs.rs"));
        let (_, about) = known.remove(place);
        writeln!(page, "| {methods} | `{path}` | {about} |").expect("a text takes all");
    }
    assert!(known.is_empty(), "PATHS of tests/docs.rs names what is not served: {known:?}");
    page
}

/// The paths of the HTTP edge with their methods, in the order of the sources.
fn routes() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in ["ping.rs", "beats.rs", "mod.rs", "api.rs"] {
        let text = read(&format!("src/edges/http/{file}"));
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for call in code.split(".route(").skip(1) {
            let (path, handlers) = call.split_once(',').expect("a route has a path and a handler");
            let path = match path.trim() {
                "echo::PATH" => echo::PATH.to_owned(),
                literal => literal.trim_matches('"').to_owned(),
            };
            let handlers = handlers.split(".route(").next().unwrap_or_default();
            let handlers = handlers.split('\n').next().unwrap_or_default();
            let mut methods = Vec::new();
            for (word, method) in [("get(", "GET, HEAD"), ("post(", "POST")] {
                if handlers.contains(word) {
                    methods.push(method);
                }
            }
            assert!(!methods.is_empty(), "{path} has no method");
            found.push((path, methods.join(", ")));
        }
    }
    found
}

/// The variants of an enum with what their comments say.
fn variants(file: &str, head: &str) -> Vec<(String, String)> {
    let text = read(file);
    let body = text.split_once(head).expect("the enum").1.split("\n}").next().unwrap_or_default();
    let (mut found, mut about) = (Vec::new(), Vec::new());
    for line in body.lines().map(str::trim).filter(|it| !it.is_empty()) {
        if let Some(comment) = line.strip_prefix("///") {
            about.push(comment.trim().trim_end_matches('.').to_owned());
        } else {
            assert!(!about.is_empty(), "{file}: {line} says nothing of itself");
            let about = std::mem::take(&mut about).join(" ");
            found.push((line.trim_end_matches(',').to_owned(), about));
        }
    }
    found
}

pub(crate) fn source_names() -> Vec<String> {
    let files = files_below("src/adapters/source", "rs");
    let text = |it: &PathBuf| fs::read_to_string(it).expect("a source can be read");
    files.iter().filter_map(|it| constant(&text(it), "NAME")).collect()
}

fn constant(text: &str, name: &str) -> Option<String> {
    let value = text.split_once(&format!("pub const {name}: &str = \""))?.1;
    Some(value.split('"').next()?.to_owned())
}

/// All verbs, as the program lists them.
pub(crate) fn verbs() -> Vec<String> {
    listed(&said(&["--help"]))
}

fn listed(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    list.lines()
        .take_while(|it| !it.is_empty())
        .filter(|it| it.starts_with("  ") && !it.starts_with("   "))
        .filter_map(|it| it.split_whitespace().next())
        .filter(|it| *it != "help")
        .map(str::to_owned)
        .collect()
}

/// What the program prints, away from every terminal and variable.
pub(crate) fn said(words: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(words).env_clear().stdin(Stdio::null()).output();
    let output = output.expect("cargo has built the binary");
    assert!(
        output.status.success(),
        "atalaya {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}
