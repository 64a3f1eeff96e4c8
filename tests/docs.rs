//! The documents: what is generated from the code is current, what they name exists, every link leads somewhere.
//!
//! `ATALAYA_DOCS=write cargo test --test docs` writes docs/reference anew.

use std::{collections::BTreeMap, fs, path::Path};

use atalaya::{adapters::notify, domain::watch::Condition};

#[path = "docs/pages.rs"]
mod pages;
#[path = "docs/text.rs"]
mod text;

use pages::{commands, configuration, http, receivers, said, source_names, verbs, verdicts};
use text::{
    REPOSITORY, documents, files_below, headings, links, read, section, shown, shown_commands,
    without_fences,
};

#[test]
fn the_reference_is_what_the_code_says() {
    let pages = [
        ("configuration.md", configuration()),
        ("commands.md", commands()),
        ("verdicts.md", verdicts()),
        ("receivers.md", receivers()),
        ("http.md", http()),
    ];
    let signed = |body: &str| {
        format!(
            "{}\n\n<!-- Generated from the code by tests/docs.rs. Change the code, then:\n     \
             ATALAYA_DOCS=write cargo test --test docs -->\n",
            body.trim_end()
        )
    };
    let schema = ("heartbeat-map.schema.json", said(&["schema", "heartbeat-map"]));
    let pages = pages.into_iter().map(|(name, body)| (name, signed(&body))).chain([schema]);
    for (name, text) in pages {
        let path = Path::new(REPOSITORY).join("docs/reference").join(name);
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
