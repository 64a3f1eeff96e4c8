//! Walk: holds a file against its shape, key by key, and finds every mistake of form at once: unknown
//! keys, wrong types, words and numbers out of range, what is missing. What was right is handed on
//! as JSON, so that the later checks find the mistakes of meaning in the same run.

use serde_json::{Map, Value as Json};
use toml_edit::{TableLike, Value};

use super::{
    document::{Document, Node, Step},
    report::{Finding, Place, hide_value},
    shape::Shape,
};

/// The file's content without what was wrong in it; of the raw type's shape, whatever was written.
pub(crate) fn walk(document: &Document, shape: &Shape, findings: &mut Vec<Finding>) -> Json {
    let mut walk = Walk { document, path: Vec::new(), findings };
    let Some(root) = document.root() else { return Json::Object(Map::new()) };
    walk.table(root, shape)
}

/// The nearest of the known names, as help: "did you mean …?", or all that are known.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let near = known
        .clone()
        .map(|it| (strsim::damerau_levenshtein(&name.to_lowercase(), &it.to_lowercase()), it))
        .min()
        .filter(|(distance, it)| *distance <= (it.len().max(name.len()) / 3).max(1));
    if let Some((_, near)) = near {
        return format!("did you mean `{near}`?");
    }
    let all: Vec<&str> = known.take(30).collect();
    if all.is_empty() { "none is known".into() } else { format!("known are {}", all.join(", ")) }
}

struct Walk<'a> {
    document: &'a Document,
    path: Vec<Step<'a>>,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Walk<'a> {
    fn table(&mut self, table: &'a dyn TableLike, shape: &Shape) -> Json {
        let mut kept = Map::new();
        for (key, item) in table.iter() {
            let Some(node) = Node::of(item) else { continue };
            self.path.push(Step::Key(key));
            let value = match shape {
                Shape::Map(value) => self.node(node, value),
                Shape::Table { known, .. } => match known.get(key) {
                    Some(shape) => self.node(node, shape),
                    None => self.unknown(key, node, known.keys().map(String::as_str)),
                },
                Shape::List(_)
                | Shape::Text
                | Shape::Duration
                | Shape::Word(_)
                | Shape::Integer { .. }
                | Shape::Bool => None,
            };
            self.path.pop();
            if let Some(value) = value {
                kept.insert(key.to_owned(), value);
            }
        }
        if let Shape::Table { known, required } = shape {
            for key in required.iter().filter(|key| !table.contains_key(key)) {
                let example = known.get(key.as_str()).map(Shape::example).unwrap_or_default();
                let message = format!("{} needs `{key}`", self.here());
                let place = self.document.value(&self.path);
                self.findings.push(Finding::error(
                    place,
                    message,
                    format!("add {key} = {example}"),
                ));
            }
        }
        Json::Object(kept)
    }

    fn node(&mut self, node: Node<'a>, shape: &Shape) -> Option<Json> {
        match (node, shape) {
            (Node::Table(table), Shape::Table { .. } | Shape::Map(_)) => {
                Some(self.table(table, shape))
            }
            (Node::Tables(tables), Shape::List(element)) if is_table(element) => {
                let mut kept = Vec::with_capacity(tables.len());
                for (index, table) in tables.iter().enumerate() {
                    self.path.push(Step::At(index));
                    kept.push(self.table(table, element));
                    self.path.pop();
                }
                Some(Json::Array(kept))
            }
            (Node::Value(Value::Array(array)), Shape::List(element)) => {
                let before = self.findings.len();
                let mut kept = Vec::with_capacity(array.len());
                for (index, value) in array.iter().enumerate() {
                    self.path.push(Step::At(index));
                    kept.push(self.node(Node::of_value(value), element));
                    self.path.pop();
                }
                // Tables keep their places; a list of words with a mistake in it is left out.
                if is_table(element) {
                    return Some(kept.into_iter().map(or_empty).collect());
                }
                (self.findings.len() == before).then(|| kept.into_iter().flatten().collect())
            }
            (Node::Value(value), shape) => self.value(value, shape),
            (Node::Table(_) | Node::Tables(_), shape) => self.wrong(shape, None),
        }
    }

    fn value(&mut self, value: &'a Value, shape: &Shape) -> Option<Json> {
        match (value, shape) {
            (Value::String(text), Shape::Text | Shape::Duration) => {
                Some(Json::String(text.value().clone()))
            }
            (Value::String(text), Shape::Word(words)) => {
                if words.contains(text.value()) {
                    return Some(Json::String(text.value().clone()));
                }
                let help = nearest(text.value(), words.iter().map(String::as_str));
                let place = self.document.value(&self.path);
                let message = format!("{} takes {}", self.name(), shape.takes());
                self.findings.push(Finding::error(place, message, help));
                None
            }
            (Value::Integer(number), Shape::Integer { min, max }) => {
                if (min..=max).contains(&number.value()) {
                    return Some(Json::from(*number.value()));
                }
                self.wrong(shape, Some(value))
            }
            (Value::Boolean(truth), Shape::Bool) => Some(Json::Bool(*truth.value())),
            (value, shape) => self.wrong(shape, Some(value)),
        }
    }

    /// A mistake of type; always none.
    fn wrong(&mut self, shape: &Shape, value: Option<&Value>) -> Option<Json> {
        let message = format!("{} takes {}", self.name(), shape.takes());
        let place = match (value, self.path.last()) {
            (None, Some(Step::Key(_))) => self.document.key(&self.path),
            _ => self.document.value(&self.path),
        };
        let written = value.and_then(Value::span).map(|span| self.document.raw(span));
        let help = match (self.path.as_slice(), shape) {
            ([Step::Key(key)], Shape::List(element)) if is_table(element) => {
                format!("write [[{key}]]")
            }
            ([Step::Key(key)], Shape::Table { .. }) => format!("write [{key}]"),
            // A value that is a secret is not repeated.
            ([.., Step::Key("token" | "secret")] | [.., Step::Key("headers"), _], _) => {
                format!("such as {}", shape.example())
            }
            _ => match value.zip(written).and_then(|(value, raw)| mended(shape, value, raw)) {
                Some(mended) => format!("write {mended}"),
                None => format!("such as {}", shape.example()),
            },
        };
        self.findings.push(Finding::error(place, message, help));
        None
    }

    fn unknown<'k>(
        &mut self,
        key: &str,
        node: Node<'a>,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Option<Json> {
        let place = self.document.key(&self.path);
        let message = match (self.path.as_slice(), node) {
            ([_], Node::Table(_)) => format!("unknown section [{key}]"),
            ([_], Node::Tables(_)) => format!("unknown section [[{key}]]"),
            ([_], Node::Value(_)) => format!("unknown key `{key}`"),
            (path, _) => {
                format!("unknown key `{key}` in {}", header(self.document, &path[..path.len() - 1]))
            }
        };
        let help = nearest(key, known);
        let secret = ["`token`", "`secret`", "`headers`"].iter().any(|it| help.contains(it));
        let place = if secret { hide_value(place) } else { place };
        self.findings.push(Finding::error(place, message, help));
        None
    }

    /// The value that is looked at, as a message begins.
    fn name(&self) -> String {
        match self.path.as_slice() {
            [.., Step::Key(key)] => format!("`{key}`"),
            [.., Step::Key(key), Step::At(_)] => format!("each of `{key}`"),
            _ => "this".into(),
        }
    }

    fn here(&self) -> String {
        header(self.document, &self.path)
    }
}

fn or_empty(value: Option<Json>) -> Json {
    value.unwrap_or_else(|| Json::Object(Map::new()))
}

fn is_table(shape: &Shape) -> bool {
    matches!(shape, Shape::Table { .. } | Shape::Map(_))
}

/// The table at `path` as people call it: `[node]`, `[[agent]] "mary"`, `webhook` of [[receiver]] "hook".
pub(crate) fn header(document: &Document, path: &[Step<'_>]) -> String {
    let keys: Vec<&str> = path
        .iter()
        .map_while(|it| if let Step::Key(key) = it { Some(*key) } else { None })
        .collect();
    let head = keys.join(".");
    let Some(index) = path.get(keys.len()) else {
        return if head.is_empty() { "the file".into() } else { format!("[{head}]") };
    };
    let mut element: Vec<Step<'_>> = path[..keys.len()].to_vec();
    element.extend([*index, Step::Key("id")]);
    let mut text = format!("[[{head}]]");
    if let Some(id) = document.text_at(&element) {
        text = format!("{text} \"{}\"", id.chars().take(40).collect::<String>().escape_debug());
    }
    match path[keys.len() + 1..]
        .iter()
        .rev()
        .find_map(|it| if let Step::Key(key) = it { Some(*key) } else { None })
    {
        Some(inner) => format!("`{inner}` of {text}"),
        None => text,
    }
}

/// The value as it should have been written, where that is plain.
fn mended(shape: &Shape, value: &Value, raw: &str) -> Option<String> {
    let scalar =
        matches!(value, Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_));
    if !scalar || raw.contains('\n') || 120 < raw.len() {
        return None;
    }
    match (shape, value) {
        (Shape::List(element), _) => {
            let fits = match (&**element, value) {
                (Shape::Text | Shape::Duration | Shape::Word(_), Value::String(_))
                | (Shape::Integer { .. }, Value::Integer(_)) => Some(raw.to_owned()),
                (element, value) => mended(element, value, raw),
            };
            fits.map(|it| format!("[{it}]"))
        }
        (Shape::Duration, Value::Integer(_)) => Some(format!("\"{raw}s\"")),
        (Shape::Text, Value::Integer(_) | Value::Float(_) | Value::Boolean(_)) => {
            Some(format!("\"{raw}\""))
        }
        (Shape::Integer { min, max }, Value::String(text)) => {
            let number = text.value().trim().parse::<i64>().ok()?;
            (min..=max).contains(&&number).then(|| number.to_string())
        }
        (Shape::Bool, Value::String(text)) => match text.value().to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some("true".into()),
            "false" | "no" | "off" | "0" => Some("false".into()),
            _ => None,
        },
        (Shape::Bool, Value::Integer(number)) => Some((*number.value() != 0).to_string()),
        (Shape::Table { known, required }, Value::String(_)) => {
            let key = required.first()?;
            matches!(known.get(key)?, Shape::Text).then(|| format!("{{ {key} = {raw} }}"))
        }
        _ => None,
    }
}

/// A value that came as text (a variable, a flag), read as the shape takes it: a list between commas
/// or as TOML. `Err` says what it takes.
pub(crate) fn from_text(shape: &Shape, text: &str) -> Result<Json, String> {
    let taken = match shape {
        Shape::Text | Shape::Duration => Some(Json::from(text)),
        Shape::Word(words) => {
            words.iter().find(|it| it.eq_ignore_ascii_case(text)).map(|it| Json::from(it.as_str()))
        }
        Shape::Bool => match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(Json::Bool(true)),
            "false" | "0" | "no" | "off" => Some(Json::Bool(false)),
            _ => None,
        },
        Shape::Integer { min, max } => {
            text.trim().parse::<i64>().ok().filter(|it| (min..=max).contains(&it)).map(Json::from)
        }
        Shape::List(element) if !is_table(element) && !text.trim_start().starts_with('[') => text
            .split(',')
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .map(|it| from_text(element, it).ok())
            .collect::<Option<Vec<Json>>>()
            .map(Json::Array),
        Shape::List(_) | Shape::Table { .. } | Shape::Map(_) => from_toml(shape, text),
    };
    taken.ok_or_else(|| shape.takes())
}

fn from_toml(shape: &Shape, text: &str) -> Option<Json> {
    let mut findings = Vec::new();
    let document = Document::parse("", format!("value = {text}"), &mut findings);
    let known = [("value".to_owned(), shape.clone())].into();
    let shape = Shape::Table { known, required: std::collections::BTreeSet::new() };
    let mut walked = walk(&document, &shape, &mut findings);
    findings.is_empty().then(|| walked["value"].take())
}

/// Reads the walked JSON into the raw type. What the walk let through although the type refuses it
/// would be a fault of ours; it is told at its place all the same.
pub(crate) fn read<Raw: serde::de::DeserializeOwned + Default>(
    json: Json,
    place: impl FnOnce(&str) -> Place,
    findings: &mut Vec<Finding>,
) -> Raw {
    match serde_path_to_error::deserialize(json) {
        Ok(raw) => raw,
        Err(error) => {
            let path = error.path().to_string();
            findings.push(Finding::error(place(&path), format!("`{path}`: {}", error.inner()), ""));
            Raw::default()
        }
    }
}
