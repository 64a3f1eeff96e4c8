//! Document: one file with the place of each of its keys and values.

use std::ops::Range;

use toml_edit::{Document as Toml, Item, TableLike, Value};

use super::report::{Finding, Place, mask};

/// Longer lines are shown around what is marked.
const LINE_CHARACTERS_MAX: usize = 160;

/// One step of the way from the top of a file to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    At(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Self::At(index)
    }
}

/// `steps!["agent", 3, "timeout"]`
macro_rules! steps {
    ($($step:expr),* $(,)?) => { [$($crate::config::document::Step::from($step)),*] };
}
pub(crate) use steps;

/// A table or a value, however it is written.
#[derive(Clone, Copy)]
pub(crate) enum Node<'a> {
    Table(&'a dyn TableLike),
    Tables(&'a toml_edit::ArrayOfTables),
    Value(&'a Value),
}

impl<'a> Node<'a> {
    pub(crate) fn of(item: &'a Item) -> Option<Self> {
        match item {
            Item::None => None,
            Item::Table(table) => Some(Self::Table(table)),
            Item::ArrayOfTables(tables) => Some(Self::Tables(tables)),
            Item::Value(value) => Some(Self::of_value(value)),
        }
    }

    pub(crate) fn of_value(value: &'a Value) -> Self {
        match value {
            Value::InlineTable(table) => Self::Table(table),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => Self::Value(value),
        }
    }

    fn child(self, step: Step<'_>) -> Option<Self> {
        match (self, step) {
            (Self::Table(table), Step::Key(key)) => Self::of(table.get(key)?),
            (Self::Tables(tables), Step::At(index)) => {
                tables.get(index).map(|it| Self::Table(it as &dyn TableLike))
            }
            (Self::Value(Value::Array(array)), Step::At(index)) => {
                array.get(index).map(Self::of_value)
            }
            _ => None,
        }
    }
}

/// One file, read.
#[derive(Debug)]
pub(crate) struct Document {
    /// As the user named it.
    pub(crate) path: String,
    pub(crate) text: String,
    /// None: not TOML.
    toml: Option<Toml<String>>,
    /// Byte at which each line begins.
    lines: Vec<usize>,
}

impl Document {
    /// Reads TOML; a syntax error is one finding, and the document is then taken as empty.
    pub(crate) fn parse(path: &str, text: String, findings: &mut Vec<Finding>) -> Self {
        let mut document = Self::blank(path, text);
        match Toml::parse(document.text.clone()) {
            Ok(toml) => document.toml = Some(toml),
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                let (message, help) = syntax(error.message());
                findings.push(Finding::error(document.place(at), message, help));
            }
        }
        document
    }

    /// Not TOML: its places can be named nevertheless (`.env`).
    pub(crate) fn blank(path: &str, text: String) -> Self {
        let lines = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, it)| *it == b'\n').map(|(at, _)| at + 1))
            .collect();
        Self { path: path.to_owned(), text, toml: None, lines }
    }

    /// None where the file is not TOML.
    pub(crate) fn root(&self) -> Option<&dyn TableLike> {
        self.toml.as_ref().map(|it| it.as_table() as &dyn TableLike)
    }

    /// The value at `path`, or what stands nearest above it.
    pub(crate) fn value(&self, path: &[Step<'_>]) -> Place {
        self.place(self.span_of(path, false))
    }

    /// The key at the end of `path`.
    pub(crate) fn key(&self, path: &[Step<'_>]) -> Place {
        self.place(self.span_of(path, true))
    }

    /// Line from 1 of what stands at `path`; of a table, its header.
    pub(crate) fn line(&self, path: &[Step<'_>]) -> u32 {
        let (line, _) = self.position(self.span_of(path, true).start);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    pub(crate) fn raw(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    /// Whether the top of the file has this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.root().is_some_and(|it| it.contains_key(key))
    }

    /// Whether anything stands at `path`.
    pub(crate) fn has_at(&self, path: &[Step<'_>]) -> bool {
        self.node_at(path).is_some()
    }

    fn node_at(&self, path: &[Step<'_>]) -> Option<Node<'_>> {
        path.iter().try_fold(Node::Table(self.root()?), |node, step| node.child(*step))
    }

    /// The text at `path`, if it is one.
    pub(crate) fn text_at(&self, path: &[Step<'_>]) -> Option<&str> {
        let node = self.node_at(path)?;
        if let Node::Value(value) = node { value.as_str() } else { None }
    }

    fn span_of(&self, path: &[Step<'_>], key: bool) -> Range<usize> {
        let mut span = 0..0;
        let Some(mut node) = self.root().map(Node::Table) else { return span };
        for (depth, step) in path.iter().enumerate() {
            let Some(child) = node.child(*step) else { return span };
            let last = depth + 1 == path.len();
            let key_span = match (node, step) {
                (Node::Table(table), Step::Key(name)) => {
                    table.key(name).and_then(toml_edit::Key::span)
                }
                _ => None,
            };
            let own = span_of(node, *step);
            span = if last && !key { own } else { key_span.or(own) }.unwrap_or(span);
            node = child;
        }
        span
    }

    /// The place of these bytes; what goes beyond the first line is cut.
    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        let (line, start) = self.position(span.start);
        let text = self.text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        let before = characters(text, span.start - start);
        let through = characters(text, span.end.max(span.start) - start);
        let shown = mask(text);
        if shown.chars().count() <= LINE_CHARACTERS_MAX {
            let width = (through - before).max(1);
            return Place::File {
                path: self.path.clone(),
                line,
                column: before + 1,
                text: shown,
                width,
            };
        }
        let room = LINE_CHARACTERS_MAX.saturating_sub(before);
        Place::File {
            path: self.path.clone(),
            line,
            column: before + 1,
            width: (through - before).clamp(1, room.max(1)),
            text: shown.chars().take(LINE_CHARACTERS_MAX).chain(['…']).collect(),
        }
    }

    /// Line from 1, and the byte at which it begins.
    fn position(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        (line, self.lines.get(line - 1).copied().unwrap_or_default())
    }
}

fn span_of(node: Node<'_>, step: Step<'_>) -> Option<Range<usize>> {
    match (node, step) {
        (Node::Table(table), Step::Key(key)) => table.get(key)?.span(),
        (Node::Tables(tables), Step::At(index)) => tables.get(index)?.span(),
        (Node::Value(Value::Array(array)), Step::At(index)) => array.get(index)?.span(),
        _ => None,
    }
}

/// Characters in the first `bytes` of a line; the line's end where it is shorter.
fn characters(line: &str, bytes: usize) -> usize {
    line.char_indices().take_while(|(at, _)| *at < bytes).count()
}

/// The parser's words, and what to do.
fn syntax(message: &str) -> (String, String) {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let what = what.to_lowercase();
    let help = if what.contains("duplicate key") {
        "written twice: take one away".to_owned()
    } else if what.contains("must be quoted") {
        "text stands in quotes: key = \"value\"".to_owned()
    } else if expected.is_empty() {
        String::new()
    } else {
        format!("expected {expected}")
    };
    (format!("not TOML: {what}"), help)
}
