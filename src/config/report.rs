//! Report: everything that is wrong, at once; each with its place, the marked line and how to mend it.
//!
//! ```text
//! error: unknown key `stall_afer` in [[agent]] "mary"
//!   config/registry.toml:12:1
//! 12 | stall_afer = "30m"
//!    | ^^^^^^^^^^ did you mean `stall_after`?
//! ```

use std::{collections::HashMap, fmt};

/// Findings that are printed; the count says how many there are.
const SHOWN_MAX: usize = 100;
/// Mistakes that one line tells of.
const BRIEF_MAX: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    Error,
    Warning,
}

/// Where a finding stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    File {
        /// As the user named it.
        path: String,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// The line, its secrets masked.
        text: String,
        /// Characters that are marked, 1 at least.
        width: usize,
    },
    /// A variable, a flag or a whole file, in words.
    Named(String),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    pub message: String,
    pub place: Place,
    /// How to mend it.
    pub help: String,
}

impl Finding {
    pub(crate) fn error(place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { level: Level::Error, message: message.into(), place, help: help.into() }
    }

    pub(crate) fn warning(
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, message: message.into(), place, help: help.into() }
    }
}

impl Finding {
    /// `registry.toml:12:1: unknown key …: did you mean `stall_after`?`
    pub fn brief(&self) -> String {
        let place = match &self.place {
            Place::File { path, line, column, .. } => format!("{path}:{line}:{column}"),
            Place::Named(place) => place.clone(),
        };
        let help = if self.help.is_empty() { "" } else { ": " };
        format!("{place}: {}{help}{}", self.message, self.help)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        writeln!(out, "{word}: {}", self.message)?;
        match &self.place {
            Place::Named(place) => {
                writeln!(out, "  {place}")?;
                if self.help.is_empty() { Ok(()) } else { writeln!(out, "  {}", self.help) }
            }
            Place::File { path, line, column, text, width } => {
                writeln!(out, "  {path}:{line}:{column}")?;
                writeln!(out, "{line} | {text}")?;
                let gutter = " ".repeat(line.to_string().len());
                // Tabs are kept, so that the carets stand under what they mark.
                let indent: String = text
                    .chars()
                    .chain(std::iter::repeat(' '))
                    .take(column - 1)
                    .map(|it| if it == '\t' { '\t' } else { ' ' })
                    .collect();
                let carets = "^".repeat((*width).max(1));
                writeln!(out, "{gutter} | {}", format!("{indent}{carets} {}", self.help).trim_end())
            }
        }
    }
}

/// All findings. As an error it says the whole text that `atalaya check` prints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    /// The findings of each file in the order of its lines; files stay in the order in which they were read.
    pub(crate) fn new(mut findings: Vec<Finding>) -> Self {
        let mut files: HashMap<String, usize> = HashMap::new();
        for finding in &findings {
            if let Place::File { path, .. } = &finding.place {
                let next = files.len();
                files.entry(path.clone()).or_insert(next);
            }
        }
        findings.sort_by_key(|it| match &it.place {
            Place::File { path, line, column, .. } => (files.get(path).copied(), *line, *column),
            Place::Named(_) => (None, 0, 0),
        });
        Self { findings }
    }

    pub fn has_errors(&self) -> bool {
        has_errors(&self.findings)
    }

    /// `2 errors, 1 warning`, or nothing when there is nothing.
    pub fn count(&self) -> String {
        let errors = self.findings.iter().filter(|it| it.level == Level::Error).count();
        let counted = [(errors, "error"), (self.findings.len() - errors, "warning")];
        let words: Vec<String> = counted
            .into_iter()
            .filter(|(count, _)| 0 < *count)
            .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
            .collect();
        words.join(", ")
    }
}

impl Report {
    /// The first mistakes in one line: what an incident says of a bad edit.
    pub fn brief(&self) -> String {
        let errors: Vec<&Finding> =
            self.findings.iter().filter(|it| it.level == Level::Error).collect();
        let mut words: Vec<String> = errors.iter().take(BRIEF_MAX).map(|it| it.brief()).collect();
        if BRIEF_MAX < errors.len() {
            words.push(format!("and {} more, see `atalaya check`", errors.len() - BRIEF_MAX));
        }
        words.join("; ")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in self.findings.iter().take(SHOWN_MAX) {
            writeln!(out, "{finding}")?;
        }
        if SHOWN_MAX < self.findings.len() {
            writeln!(out, "… and {} more\n", self.findings.len() - SHOWN_MAX)?;
        }
        if self.findings.is_empty() { Ok(()) } else { write!(out, "{}.", self.count()) }
    }
}

impl std::error::Error for Report {}

pub(crate) fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|it| it.level == Level::Error)
}

/// The line with what must not be shown replaced by `*`, character for character, so that columns
/// hold: values of keys that end in `token` or `secret`, values in `headers` and `deadman`, passwords in URLs.
/// Control characters, which could deceive a reader, become `�`.
pub(crate) fn mask(line: &str) -> String {
    let mut shown: Vec<char> = line
        .chars()
        .map(|it| if it != '\t' && (it.is_control() || deceives(it)) { '\u{FFFD}' } else { it })
        .collect();
    let lower: String = shown.iter().map(char::to_ascii_lowercase).collect();
    let lower: Vec<char> = lower.chars().collect();
    for at in 0..shown.len() {
        for word in ["token", "secret", "password"] {
            if ends_key(&lower, at, word) {
                mask_value(&mut shown, at + word.len());
            }
        }
        for word in ["headers", "deadman"] {
            if starts(&lower, at, word) {
                mask_value(&mut shown, at + word.len());
            }
        }
        if starts(&lower, at, "://") {
            mask_password(&mut shown, at + 3);
        }
    }
    shown.into_iter().collect()
}

fn deceives(it: char) -> bool {
    matches!(it, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

fn starts(text: &[char], at: usize, word: &str) -> bool {
    word.chars().enumerate().all(|(i, it)| text.get(at + i) == Some(&it))
}

/// `word` stands at `at` and the key ends with it.
fn ends_key(text: &[char], at: usize, word: &str) -> bool {
    starts(text, at, word)
        && text.get(at + word.len()).is_none_or(|it| !it.is_alphanumeric() && *it != '_')
}

/// Masks what follows `=`: a quoted text, a table in braces, else up to a comma or the end.
fn mask_value(shown: &mut [char], from: usize) {
    let mut at = from;
    while shown.get(at).is_some_and(|it| matches!(it, ' ' | '\t' | '"' | '\'' | '`')) {
        at += 1;
    }
    if shown.get(at) != Some(&'=') {
        return;
    }
    at += 1;
    while shown.get(at).is_some_and(|it| matches!(it, ' ' | '\t')) {
        at += 1;
    }
    let Some(open) = shown.get(at).copied() else { return };
    let (first, end) = match open {
        '"' | '\'' => (at + 1, closing_quote(shown, at + 1, open)),
        '{' => (at + 1, shown.iter().rposition(|it| *it == '}')),
        _ => (at, shown[at..].iter().position(|it| matches!(it, ',' | '}')).map(|it| at + it)),
    };
    let end = end.unwrap_or(shown.len()).max(first);
    shown[first..end].fill('*');
}

/// Where the text that began with `quote` ends; none for a text of many lines, or one left open.
fn closing_quote(shown: &[char], from: usize, quote: char) -> Option<usize> {
    if shown.get(from..from + 2) == Some(&[quote, quote]) {
        return None;
    }
    let mut escaped = false;
    (from..shown.len()).find(|at| {
        let ends = shown[*at] == quote && !escaped;
        escaped = quote == '"' && shown[*at] == '\\' && !escaped;
        ends
    })
}

/// The place with everything behind the `=` that follows the mark hidden: a misspelt key of a secret.
pub(crate) fn hide_value(place: Place) -> Place {
    let Place::File { path, line, column, text, width } = place else { return place };
    let mut shown: Vec<char> = text.chars().collect();
    let equals = shown.iter().skip(column).position(|it| *it == '=').map(|it| it + column);
    if let Some(equals) = equals {
        shown[equals + 1..].fill('*');
    }
    Place::File { path, line, column, text: shown.into_iter().collect(), width }
}

/// The place with what is marked hidden: the value of a key whose name does not say that it is a secret.
pub(crate) fn hide_marked(place: Place) -> Place {
    let (path, line, column, text, width) = match place {
        Place::File { path, line, column, text, width } => (path, line, column, text, width),
        Place::Named(text) => {
            let name = text.split_once('=').map(|(name, _)| format!("{name}=…"));
            return Place::Named(name.map_or(text, Into::into));
        }
    };
    let mut shown: Vec<char> = text.chars().collect();
    for it in shown.iter_mut().skip(column.saturating_sub(1)) {
        *it = '*';
    }
    Place::File { path, line, column, text: shown.into_iter().collect(), width }
}

/// Masks the password of `user:password@host`.
fn mask_password(shown: &mut [char], from: usize) {
    let ends = |it: &char| matches!(it, '/' | '"' | '\'' | ' ' | '\t');
    let Some(rest) = shown.get(from..) else { return };
    let end = from + rest.iter().position(ends).unwrap_or(rest.len());
    let Some(at_sign) = (from..end).rev().find(|at| shown[*at] == '@') else { return };
    let Some(colon) = (from..at_sign).find(|at| shown[*at] == ':') else { return };
    for it in &mut shown[colon + 1..at_sign] {
        *it = '*';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_edit_is_told_in_one_line() {
        let place = |line| Place::File {
            path: "registry.toml".into(),
            line,
            column: 1,
            text: "stall_afer = 1".into(),
            width: 10,
        };
        let error = |line| Finding::error(place(line), "unknown key `x`", "did you mean `y`?");
        let warning = Finding::warning(Place::Named("REDIS_URL".into()), "unused", "");
        let report = Report::new(vec![error(3), warning]);
        assert_eq!(report.brief(), "registry.toml:3:1: unknown key `x`: did you mean `y`?");
        let report = Report::new((1..=5).map(error).collect());
        assert!(report.brief().ends_with("`y`?; and 2 more, see `atalaya check`"), "{report}");
        let file = Finding::error(Place::Named("registry.toml".into()), "cannot open it", "");
        assert_eq!(Report::new(vec![file]).brief(), "registry.toml: cannot open it");
    }

    #[test]
    fn a_marked_line_never_shows_a_secret_and_keeps_its_columns() {
        for (line, shown) in [
            (r#"token = "123:abc""#, r#"token = "*******""#),
            ("telegram.token='x' # y", "telegram.token='*' # y"),
            (r#"token_file = "/run/token""#, r#"token_file = "/run/token""#),
            (
                r#"webhook = { secret = "s", url = "u" }"#,
                r#"webhook = { secret = "*", url = "u" }"#,
            ),
            (
                r#"headers = { Authorization = "Bearer x" }"#,
                "headers = {****************************}",
            ),
            (r#"url = "redis://u:pass@host/0""#, r#"url = "redis://u:****@host/0""#),
            (r#"url = "redis://127.0.0.1:6379""#, r#"url = "redis://127.0.0.1:6379""#),
            ("TELEGRAM_TOKEN=abc", "TELEGRAM_TOKEN=***"),
            ("token = 12345", "token = *****"),
            ("token = \"open", "token = \"****"),
            (r#"token = "a\"b" # x"#, r#"token = "****" # x"#),
            ("token = \"\"\"abc\"\"\"", r#"token = "********"#),
            (r#"headers = { K = "}b", L = "c" } }"#, "headers = {*********************}"),
            ("a\u{7}b", "a\u{FFFD}b"),
        ] {
            assert_eq!(mask(line), shown);
        }
    }
}
