//! The house rules a compiler does not check. Each rule takes (path, text), so that a bad snippet proves it.

use std::{fs, path::Path};

/// Each floor may use the floors named beside it, and nothing else of the crate.
const FLOORS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("wire", &[]),
    ("ports", &["domain", "wire"]),
    ("adapters", &["domain", "ports", "wire"]),
    ("actors", &["domain", "ports"]),
    ("control", &["domain", "ports", "actors"]),
    ("edges", &["domain", "control", "wire"]),
    ("config", &["domain", "adapters"]),
    ("app", &["domain", "wire", "ports", "adapters", "actors", "control", "edges", "config"]),
];
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

#[test]
fn no_floor_uses_a_floor_above_it() {
    hold(&["src"], floors);
}

#[test]
fn the_domain_never_looks_at_the_world() {
    hold(&["src/domain"], world);
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    hold(&["src", "tests"], |path, text| {
        [first_line(path, text), file_length(path, text)].concat()
    });
}

#[test]
fn every_function_fits_a_screen() {
    hold(&["src", "tests"], function_length);
}

#[test]
fn tests_wait_on_conditions_and_sleep_nowhere() {
    hold(&["tests"], sleeps);
}

#[test]
fn every_file_is_declared_by_its_folder() {
    hold(&["src", "tests/support", "tests/it"], |path, _| {
        let folder = Path::new(path).parent().expect("a file lies in a folder");
        let above = folder.parent().expect("the folder lies in src or tests");
        let declarers: Vec<String> = ["mod.rs", "lib.rs", "main.rs", "../it/main.rs"]
            .iter()
            .flat_map(|file| [folder.join(file), above.join(file)])
            .chain([folder.with_extension("rs")])
            .filter(|file| file != Path::new(path))
            .filter_map(|file| fs::read_to_string(file).ok())
            .collect();
        orphan(path, &declarers)
    });
}

/// Floors that a file may not use, through `crate::` or through enough `super::` to leave its own floor.
fn floors(path: &str, text: &str) -> Vec<String> {
    let Some((floor, allowed)) = FLOORS.iter().find(|(floor, _)| {
        path.starts_with(&format!("src/{floor}/")) || path == format!("src/{floor}.rs")
    }) else {
        return Vec::new();
    };
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = inner.split('/').count();
    let mut errors = Vec::new();
    for (number, used) in crate_paths(text, depth) {
        let other = used.split("::").next().unwrap_or_default();
        if other == *floor || !FLOORS.iter().any(|(name, _)| *name == other) {
            continue;
        }
        if !allowed.contains(&other) {
            errors.push(format!("{path}:{number}: `{floor}` may not use `{other}`"));
        } else if *floor == "config" && other == "adapters" && !names_settings(&used) {
            errors.push(format!(
                "{path}:{number}: `config` may use the adapters' settings alone, not `{used}`"
            ));
        }
    }
    errors
}

/// A settings type, a settings module, or a list such as `KINDS`.
fn names_settings(used: &str) -> bool {
    let last = used.rsplit("::").next().unwrap_or_default();
    used.to_lowercase().contains("settings")
        || last.chars().all(|it| it.is_ascii_uppercase() || it == '_')
}

/// Every path below the crate's root that the code names, use trees flattened, with its line.
fn crate_paths(text: &str, depth: usize) -> Vec<(usize, String)> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for root in ["crate::", "super::"] {
        for (at, _) in code.match_indices(root) {
            let before = &code[..at];
            if before.ends_with(|it: char| it.is_alphanumeric() || it == '_' || it == '$')
                || before.ends_with("super::")
            {
                continue;
            }
            let mut rest = &code[at..];
            let mut climbed = 0;
            while let Some(next) = rest.strip_prefix(root) {
                (rest, climbed) = (next, climbed + 1);
            }
            if root == "super::" && climbed < depth {
                continue;
            }
            let number = before.matches('\n').count() + 1;
            let mut paths = Vec::new();
            flatten(rest, "", &mut paths);
            found.extend(paths.into_iter().map(|path| (number, path)));
        }
    }
    found
}

/// Reads one use tree and gives what is left of the text behind it.
fn flatten<'a>(text: &'a str, prefix: &str, into: &mut Vec<String>) -> &'a str {
    let mut text = text.trim_start();
    if let Some(mut inside) = text.strip_prefix('{') {
        loop {
            inside = inside.trim_start().trim_start_matches(',').trim_start();
            match inside.strip_prefix('}') {
                Some(rest) => return rest,
                None if inside.is_empty() => return inside,
                None => {}
            }
            let rest = flatten(inside, prefix, into);
            inside = if rest.len() < inside.len() { rest } else { "" };
        }
    }
    let end = text
        .find(|it: char| !(it.is_alphanumeric() || it == '_' || it == '*'))
        .unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    text = &text[end..];
    if let Some(rest) = text.strip_prefix("::") {
        return flatten(rest, &format!("{path}::"), into);
    }
    into.push(path);
    // `as Name` belongs to the item.
    text.find([',', '}', ';', '\n']).map_or("", |at| &text[at..])
}

/// Clocks, files, sockets, runtimes, logs and foreign crates in the domain.
fn world(path: &str, text: &str) -> Vec<String> {
    const BANNED: &[&str] = &[
        "::now()",
        "std::fs",
        "std::env",
        "std::net",
        "std::process",
        "std::thread",
        "tokio",
        "ractor",
        "async ",
        ".await",
        "tracing",
        "println!",
        "eprintln!",
        "unix::",
        "rand",
    ];
    const KNOWN: &[&str] = &["std", "core", "alloc", "jiff", "crate", "super", "self"];
    let mut errors = Vec::new();
    let code = without_comments(text);
    let proven = code.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
    for (number, line) in code.lines().enumerate() {
        for word in BANNED.iter().filter(|word| has_word(line, word)) {
            errors.push(format!("{path}:{}: `{word}` in the domain", number + 1));
        }
        let used = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        if let Some(used) = used.strip_prefix("use ").filter(|_| number < proven) {
            let root = used.split([':', ';', ' ', '{']).next().unwrap_or_default();
            if used.contains("::")
                && !KNOWN.contains(&root)
                && !text.contains(&format!("mod {root};"))
            {
                errors.push(format!(
                    "{path}:{}: the domain knows std and jiff, not `{root}`",
                    number + 1
                ));
            }
        }
    }
    errors
}

/// Whether `word` stands in the line and is not the middle of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let part = |it: char| it.is_alphanumeric() || it == '_';
    line.match_indices(word).any(|(at, _)| {
        let whole_before = !word.starts_with(part) || !line[..at].ends_with(part);
        let whole_behind = !word.ends_with(part) || !line[at + word.len()..].starts_with(part);
        whole_before && whole_behind
    })
}

fn first_line(path: &str, text: &str) -> Vec<String> {
    let said = text
        .lines()
        .next()
        .is_some_and(|line| line.len() > "//! ".len() && line.starts_with("//! "));
    if said {
        Vec::new()
    } else {
        vec![format!("{path}: no `//!` on the first line says what the file is")]
    }
}

fn file_length(path: &str, text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
    if code <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{path}: {code} lines before its tests, {FILE_LINES_MAX} allowed")]
}

/// Relies on rustfmt: a function ends at the first `}` that stands as deep as its `fn`.
fn function_length(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut errors = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |it: &str| {
            let last = it.strip_prefix(indent).is_some_and(|it| it == "}");
            last || it.ends_with(';')
                && it.strip_prefix(indent).is_some_and(|it| !it.starts_with(' '))
        };
        let one_line = line.ends_with('}') || line.ends_with(';');
        let length = if one_line {
            1
        } else {
            lines[start..].iter().position(|it| ends(it)).map_or(1, |at| at + 1)
        };
        if FUNCTION_LINES_MAX < length {
            errors.push(format!(
                "{path}:{}: `{name}` has {length} lines, {FUNCTION_LINES_MAX} allowed",
                start + 1
            ));
        }
    }
    errors
}

fn function_name(line: &str) -> Option<&str> {
    let (head, tail) = line.trim_start().split_once("fn ")?;
    let modifiers = head.split_whitespace().all(|word| {
        word.starts_with("pub") || ["async", "const", "unsafe", "extern", "default"].contains(&word)
    });
    let name = tail.split(|it: char| !(it.is_alphanumeric() || it == '_')).next()?;
    (modifiers && !name.is_empty()).then_some(name)
}

fn sleeps(path: &str, text: &str) -> Vec<String> {
    if ["tests/support/wait.rs", "tests/tidy.rs"].contains(&path) {
        return Vec::new();
    }
    let code = without_comments(text);
    let found = code.lines().enumerate().filter(|(_, line)| {
        ["time::sleep", "thread::sleep", "sleep_until", "sleep("]
            .iter()
            .any(|word| has_word(line, word))
    });
    found
        .map(|(number, _)| {
            format!("{path}:{}: sleeps; wait on a condition (support/wait.rs)", number + 1)
        })
        .collect()
}

fn orphan(path: &str, declarers: &[String]) -> Vec<String> {
    let path_ = Path::new(path);
    let stem = path_.file_stem().and_then(|it| it.to_str()).unwrap_or_default();
    let folder =
        path_.parent().and_then(Path::file_name).and_then(|it| it.to_str()).unwrap_or_default();
    let name = match stem {
        "lib" | "main" => return Vec::new(),
        "mod" => folder,
        other => other,
    };
    let declares = |text: &String| {
        text.lines().any(|line| {
            line.trim().ends_with(&format!("mod {name};")) && !line.trim().starts_with("//")
        })
    };
    if declarers.iter().any(declares) {
        Vec::new()
    } else {
        vec![format!("{path}: no `mod {name};` anywhere")]
    }
}

/// The text with whole-line comments emptied, so that line numbers hold and prose may name anything.
fn without_comments(text: &str) -> String {
    let code = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    code.collect::<Vec<_>>().join("\n")
}

fn hold(folders: &[&str], rule: impl Fn(&str, &str) -> Vec<String>) {
    let mut errors = Vec::new();
    for folder in folders {
        for_each_source(Path::new(folder), &mut |path, text| errors.extend(rule(path, text)));
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

fn for_each_source(folder: &Path, visit: &mut dyn FnMut(&str, &str)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            for_each_source(&path, visit);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let name = path.to_str().expect("source files have plain names");
            visit(name, &fs::read_to_string(&path).expect("sources can be read"));
        }
    }
}

/// What a rule says of a bad snippet, its path taken away.
#[track_caller]
fn check(found: &[String], expected: &[&str]) {
    let said: Vec<&str> =
        found.iter().map(|it| it.split_once(": ").map_or(it.as_str(), |(_, said)| said)).collect();
    assert_eq!(said, expected, "\n{}", found.join("\n"));
}

#[test]
fn a_floor_is_caught_however_it_is_named() {
    let bad = "`domain` may not use `ports`";
    check(&floors("src/domain/id.rs", "use crate::ports::clock::Clock;"), &[bad]);
    check(
        &floors(
            "src/domain/id.rs",
            "use crate::{\n    domain::id,\n    ports::{clock, store},\n};",
        ),
        &[bad, bad],
    );
    check(&floors("src/domain/id.rs", "    crate::ports::clock::read()"), &[bad]);
    check(&floors("src/domain/id.rs", "use super::super::ports::clock;"), &[bad]);
    check(&floors("src/domain/watch/agent.rs", "use super::super::{ports, id};"), &[]);
    check(
        &floors(
            "src/domain/id.rs",
            "/// Unlike [`crate::ports::clock`].\nuse crate::domain::portside;",
        ),
        &[],
    );
    check(
        &floors("src/actors/watch.rs", "use crate::adapters::store;"),
        &["`actors` may not use `adapters`"],
    );
    check(
        &floors("src/adapters/store.rs", "use crate::actors::watch;"),
        &["`adapters` may not use `actors`"],
    );
    check(
        &floors("src/edges/http/mod.rs", "use crate::{actors, control, wire};"),
        &["`edges` may not use `actors`"],
    );
    check(&floors("src/control/mod.rs", "use crate::app;"), &["`control` may not use `app`"]);
    check(&floors("src/app.rs", "use crate::{config, edges::http};"), &[]);
}

#[test]
fn config_sees_the_settings_of_adapters_alone() {
    let good = "use crate::{adapters::notify::{self_settings::X, webhook::WebhookSettings, KINDS}, domain::id};";
    check(&floors("src/config/raw.rs", good), &[]);
    let said =
        "`config` may use the adapters' settings alone, not `adapters::store::sqlite::Store`";
    check(&floors("src/config/raw.rs", "use crate::adapters::store::sqlite::Store;"), &[said]);
}

#[test]
fn a_domain_that_looks_out_is_caught() {
    check(&world("src/domain/id.rs", "let now = Timestamp::now();"), &["`::now()` in the domain"]);
    check(&world("src/domain/id.rs", "async fn read() {}"), &["`async ` in the domain"]);
    check(
        &world("src/domain/id.rs", "use serde::Serialize;"),
        &["the domain knows std and jiff, not `serde`"],
    );
    check(
        &world(
            "src/domain/id.rs",
            "use std::fmt;\nuse jiff::Timestamp;\n// tokio\nlet operand = 1;",
        ),
        &[],
    );
    check(
        &world("src/domain/id.rs", "#[cfg(test)]\nmod tests {\n    use proptest::prelude::*;\n}"),
        &[],
    );
}

#[test]
fn unreadable_files_are_caught() {
    let no_title = "no `//!` on the first line says what the file is";
    check(&first_line("src/id.rs", "use std::fmt;\n//! Late."), &[no_title]);
    check(&first_line("src/id.rs", "//! Ids."), &[]);
    check(
        &file_length("src/id.rs", &"\n".repeat(501)),
        &["501 lines before its tests, 500 allowed"],
    );
    check(
        &file_length("src/id.rs", &format!("{}#[cfg(test)]{}", "\n".repeat(499), "\n".repeat(99))),
        &[],
    );
    let long = format!(
        "    pub(crate) async fn long(\n        x: u8,\n    ) {{\n{}    }}\n",
        "        x();\n".repeat(67)
    );
    check(&function_length("src/id.rs", &long), &["`long` has 71 lines, 70 allowed"]);
    let fits = format!("fn fits() {{\n{}}}\nfn next() {{}}\n", "    x();\n".repeat(68));
    check(&function_length("src/id.rs", &fits), &[]);
    let declared = format!(
        "trait T {{\n    fn a(\n        x: u8,\n    );\n{}}}\n",
        "    const X: u8 = 1;\n".repeat(80)
    );
    check(&function_length("src/id.rs", &declared), &[]);
}

#[test]
fn sleeps_and_orphans_are_caught() {
    let said = "sleeps; wait on a condition (support/wait.rs)";
    check(&sleeps("tests/it/watch.rs", "tokio::time::sleep(SECOND).await;"), &[said]);
    check(&sleeps("tests/it/watch.rs", "use std::thread::sleep;"), &[said]);
    check(&sleeps("tests/it/watch.rs", "// sleep(1)\nlet text = \"sleep 20\";"), &[]);
    check(&sleeps("tests/support/wait.rs", "tokio::time::sleep(step).await;"), &[]);
    check(&orphan("src/domain/lost.rs", &["mod found;".into()]), &["no `mod lost;` anywhere"]);
    check(&orphan("src/domain/lost.rs", &["// mod lost;".into()]), &["no `mod lost;` anywhere"]);
    check(&orphan("src/domain/watch/mod.rs", &["pub mod watch;".into()]), &[]);
}
