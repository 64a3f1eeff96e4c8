//! What the documents of the repository hold: links, headings, commands.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Verbs and their long flags in code, written `atalaya verb`, with or without a path before it.
pub(crate) fn shown_commands(text: &str) -> Vec<(String, Vec<String>)> {
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

pub(crate) fn without_fences(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

fn inline_code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

pub(crate) fn links(text: &str) -> Vec<String> {
    let marked = text.split("](").skip(1);
    let drawn = text.split("src=\"").skip(1);
    let end = |it: &str, end: char| it.split(end).next().unwrap_or_default().to_owned();
    marked.map(|it| end(it, ')')).chain(drawn.map(|it| end(it, '"'))).collect()
}

/// The anchors of a document's headings, as GitHub names them.
pub(crate) fn headings(text: &str) -> Vec<String> {
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

pub(crate) fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap_or_default()
}

/// All documents of the repository, without what is built.
pub(crate) fn documents() -> Vec<PathBuf> {
    let mut all =
        vec![Path::new(REPOSITORY).join("README.md"), Path::new(REPOSITORY).join("CHANGELOG.md")];
    all.extend(files_below("docs", "md"));
    all
}

pub(crate) fn files_below(folder: &str, extension: &str) -> Vec<PathBuf> {
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

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(Path::new(REPOSITORY).join(path))
        .unwrap_or_else(|_| panic!("{path} can be read"))
}

pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(REPOSITORY).unwrap_or(path).display().to_string()
}
