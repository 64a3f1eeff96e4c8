//! The documents: what is generated from the code is current, what they name exists, every link leads somewhere.
//!
//! `ATALAYA_DOCS=write cargo test --test docs` writes docs/reference anew.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use atalaya::{adapters::notify, config, domain::watch::Condition, wire::echo};
use serde_json::{Map, Value};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
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
        "As `atalaya agents --json`, under `items`; `?unknown=1` lists ids that nobody watches",
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

#[test]
fn the_reference_is_what_the_code_says() {
    let pages = [
        ("configuration.md", configuration()),
        ("commands.md", commands()),
        ("verdicts.md", verdicts()),
        ("receivers.md", receivers()),
        ("http.md", http()),
    ];
    for (name, body) in pages {
        let path = Path::new(REPOSITORY).join("docs/reference").join(name);
        let text = format!(
            "{}\n\n<!-- Generated from the code by tests/docs.rs. Change the code, then:\n     \
             ATALAYA_DOCS=write cargo test --test docs -->\n",
            body.trim_end()
        );
        if wants_writing() {
            fs::write(&path, &text).expect("docs/reference can be written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "docs/reference/{name} is not what the code says; write it anew:\n  \
             ATALAYA_DOCS=write cargo test --test docs\n{}",
            first_difference(&found, &text)
        );
    }
}

#[test]
fn every_kind_of_receiver_and_source_has_an_example() {
    let receivers = notify::KINDS.iter().map(|it| format!("receiver-{}.toml", it.name));
    let sources = source_names().into_iter().map(|it| format!("source-{it}"));
    let examples: Vec<String> = files_below("config/examples", "toml")
        .iter()
        .filter_map(|it| Some(it.file_name()?.to_string_lossy().into_owned()))
        .collect();
    for wanted in receivers.chain(sources) {
        let found = examples.iter().any(|it| it.starts_with(&wanted));
        assert!(
            found,
            "config/examples holds no {wanted}: add one, and mention it in the registry"
        );
    }
}

#[test]
fn every_decision_is_linked() {
    let index = read("docs/adr/README.md");
    for file in files_below("docs/adr", "md") {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        assert!(
            name == "README.md" || index.contains(&format!("({name})")),
            "docs/adr/README.md does not link {name}"
        );
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut lost = Vec::new();
    for file in documents() {
        let text = fs::read_to_string(&file).expect("a document can be read");
        for link in links(&without_fences(&text)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() {
                file.clone()
            } else {
                file.parent().expect("a file lies in a folder").join(path)
            };
            let anchors = || headings(&fs::read_to_string(&target).unwrap_or_default());
            if !target.exists() || !(anchor.is_empty() || anchors().iter().any(|it| it == anchor)) {
                lost.push(format!("{}: {link}", shown(&file)));
            }
        }
    }
    assert!(lost.is_empty(), "links that lead nowhere:\n{}", lost.join("\n"));
}

#[test]
fn every_command_that_is_shown_exists() {
    let verbs = verbs();
    let help: BTreeMap<&str, String> =
        verbs.iter().map(|it| (it.as_str(), said(&[it, "--help"]))).collect();
    let mut wrong = Vec::new();
    for file in documents() {
        let text = fs::read_to_string(&file).expect("a document can be read");
        for (verb, flags) in shown_commands(&text) {
            let Some(help) = help.get(verb.as_str()) else {
                wrong.push(format!("{}: atalaya {verb}", shown(&file)));
                continue;
            };
            let unknown = flags.iter().filter(|it| !help.contains(it.as_str()));
            wrong.extend(unknown.map(|it| format!("{}: atalaya {verb} {it}", shown(&file))));
        }
    }
    assert!(wrong.is_empty(), "commands that do not exist:\n{}", wrong.join("\n"));
    let readme = read("README.md");
    assert!(readme.contains("cargo run --release -- run") && readme.contains("tests/run"));
    assert!(Path::new(REPOSITORY).join("tests/run").is_file());
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let text = read("docs/ARCHITECTURE.md");
    let invariants = section(&text, "## Invariants");
    let sources: String = ["src", "tests"]
        .iter()
        .flat_map(|it| files_below(it, "rs"))
        .map(|it| fs::read_to_string(it).expect("a source can be read"))
        .collect();
    let mut count = 0;
    for item in invariants.split("\n1. ").skip(1) {
        let held = item.split_once("Held by").map(|(_, held)| held);
        let held = held.unwrap_or_else(|| panic!("no test holds this invariant: {item}"));
        let names: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test holds this invariant: {item}");
        for name in names {
            let test = name.rsplit(' ').next().unwrap_or(name);
            assert!(sources.contains(&format!("fn {test}(")), "{name} is no test: {item}");
        }
        count += 1;
    }
    assert!(8 <= count, "{count} invariants");
}

#[test]
fn every_condition_has_its_remedy() {
    let text = read("docs/operating/troubleshooting.md");
    for condition in Condition::ALL {
        let word = format!("`{}`", condition.word());
        assert!(text.contains(&word), "docs/operating/troubleshooting.md says nothing of {word}");
    }
}

// Pages

fn configuration() -> String {
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

fn commands() -> String {
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

fn verdicts() -> String {
    let mut page = "# Verdicts and conditions\n\n## What an agent's watch says\n\nWorst first. Those with a condition open an \
        incident; `[[agent]] severity` changes what it weighs.\n\n| verdict | means | opens |\n| --- | --- | --- |\n"
        .to_owned();
    for (name, about) in variants("src/domain/watch/agent/mod.rs", "pub enum Verdict {") {
        let word = name.to_lowercase();
        let opens = Condition::from_word(&word)
            .map_or_else(|| "nothing".to_owned(), |it| format!("`{it}`, {}", it.severity()));
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

fn receivers() -> String {
    let mut page = "# Receivers and sources\n\n## Receivers\n\nA `[[receiver]]` has an `id` and one of these. People get one message \
        per trouble, which is edited;\nmachines get every incident singly.\n\n| kind | what | for |\n| --- | --- | --- |\n"
        .to_owned();
    for kind in notify::KINDS {
        let who = if kind.human { "people" } else { "machines" };
        let example = format!("../../config/examples/receiver-{}.toml", kind.name);
        writeln!(page, "| [`{}`]({example}) | {} | {who} |", kind.name, kind.about)
            .expect("a text takes all");
    }
    page += "\n## Sources\n\nBy which agents are heard; each is a watch `source/NAME`.\n\n| source | what |\n| --- | --- |\n";
    for file in files_below("src/adapters/source", "rs") {
        let text = fs::read_to_string(&file).expect("a source can be read");
        if let Some(name) = constant(&text, "NAME") {
            let essay = text.lines().map_while(|it| it.strip_prefix("//!")).map(str::trim);
            let about = essay.take_while(|it| !it.is_empty()).collect::<Vec<_>>().join(" ");
            let about = about.split_once(": ").map_or(about.as_str(), |(_, it)| it);
            writeln!(page, "| `source/{name}` | {about} |").expect("a text takes all");
        }
    }
    page
}

fn http() -> String {
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

// What the code holds

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
        match line.strip_prefix("///") {
            Some(comment) => about.push(comment.trim().trim_end_matches('.').to_owned()),
            None => {
                assert!(!about.is_empty(), "{file}: {line} says nothing of itself");
                let about = std::mem::take(&mut about).join(" ");
                found.push((line.trim_end_matches(',').to_owned(), about));
            }
        }
    }
    found
}

fn source_names() -> Vec<String> {
    let files = files_below("src/adapters/source", "rs");
    let text = |it: &PathBuf| fs::read_to_string(it).expect("a source can be read");
    files.iter().filter_map(|it| constant(&text(it), "NAME")).collect()
}

fn constant(text: &str, name: &str) -> Option<String> {
    let value = text.split_once(&format!("pub const {name}: &str = \""))?.1;
    Some(value.split('"').next()?.to_owned())
}

/// All verbs, as the program lists them.
fn verbs() -> Vec<String> {
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
fn said(words: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(words).env_clear().stdin(Stdio::null()).output();
    let output = output.expect("cargo has built the binary");
    assert!(
        output.status.success(),
        "atalaya {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

// What the documents hold

/// Verbs and their long flags in code, written `atalaya verb`, with or without a path before it.
fn shown_commands(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for code in fences(text).iter().flat_map(|it| it.lines()).chain(inline_code(text)) {
        let words: Vec<&str> = code.split_whitespace().collect();
        let begins = match words.as_slice() {
            ["$", ..] => 1,
            _ => 0,
        };
        let program =
            words.get(begins).is_some_and(|it| *it == "atalaya" || it.ends_with("/atalaya"));
        let cargo = words
            .get(begins..)
            .is_some_and(|it| it.starts_with(&["cargo", "run", "--release", "--"]));
        let rest = match (program, cargo) {
            (true, _) => words.get(begins + 1..),
            (_, true) => words.get(begins + 4..),
            (false, false) => None,
        };
        let Some((verb, rest)) = rest.and_then(<[&str]>::split_first) else { continue };
        if !verb.starts_with(|it: char| it.is_ascii_lowercase()) || verb.contains(['.', '=']) {
            continue;
        }
        let flags = rest.iter().take_while(|it| !it.starts_with(['#', '>', '|', '&']));
        let flags = flags.filter(|it| it.starts_with("--") && 2 < it.len());
        let flags = flags.map(|it| it.split('=').next().unwrap_or(it).to_owned()).collect();
        found.push(((*verb).to_owned(), flags));
    }
    found
}

/// What stands between fences of three marks.
fn fences(text: &str) -> Vec<String> {
    text.split("\n```")
        .skip(1)
        .step_by(2)
        .map(|it| it.split_once('\n').map_or("", |(_, it)| it).to_owned())
        .collect()
}

fn without_fences(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

fn inline_code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn links(text: &str) -> Vec<String> {
    let marked = text.split("](").skip(1);
    let drawn = text.split("src=\"").skip(1);
    let end = |it: &str, end: char| it.split(end).next().unwrap_or_default().to_owned();
    marked.map(|it| end(it, ')')).chain(drawn.map(|it| end(it, '"'))).collect()
}

/// The anchors of a document's headings, as GitHub names them.
fn headings(text: &str) -> Vec<String> {
    let lines = without_fences(text);
    let titles = lines.lines().filter(|it| it.starts_with('#'));
    titles
        .map(|it| {
            let title = it.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'))
                .map(|it| if it == ' ' { '-' } else { it })
                .collect()
        })
        .collect()
}

fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap_or_default()
}

/// All documents of the repository, without what is built.
fn documents() -> Vec<PathBuf> {
    let mut all =
        vec![Path::new(REPOSITORY).join("README.md"), Path::new(REPOSITORY).join("CHANGELOG.md")];
    all.extend(files_below("docs", "md"));
    all
}

fn files_below(folder: &str, extension: &str) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![Path::new(REPOSITORY).join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|_| panic!("{} can be read", folder.display()))
        {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(REPOSITORY).join(path))
        .unwrap_or_else(|_| panic!("{path} can be read"))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(REPOSITORY).unwrap_or(path).display().to_string()
}

#[expect(clippy::disallowed_methods, reason = "the switch by which a person has the pages written")]
fn wants_writing() -> bool {
    std::env::var("ATALAYA_DOCS").is_ok_and(|it| it == "write")
}

fn first_difference(found: &str, wanted: &str) -> String {
    let pair = found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
    pair.map_or_else(
        || "one of them is longer".to_owned(),
        |(found, wanted)| format!("  it says  {found}\n  wanted   {wanted}"),
    )
}
