//! Shape: the published JSON Schema as the walk needs it: which keys a table knows, what each takes.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

/// What a place in a file takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Table {
        known: BTreeMap<String, Shape>,
        required: BTreeSet<String>,
    },
    /// A table whose keys are the user's.
    Map(Box<Shape>),
    List(Box<Shape>),
    Text,
    Duration,
    /// One of these words.
    Word(Vec<String>),
    Integer {
        min: i64,
        max: i64,
    },
    Bool,
}

/// The JSON Schema of a file (draft 2020-12).
pub(crate) fn schema<Raw: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Raw>();
    let mut value = std::mem::take(schema.ensure_object());
    forbid_null(&mut value);
    Value::Object(value)
}

/// TOML knows no null: an optional key is absent.
fn forbid_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|it| it.get("type").is_none_or(|it| it != "null"));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
    for (_, value) in object.iter_mut() {
        forbid_null_within(value);
    }
}

fn forbid_null_within(value: &mut Value) {
    match value {
        Value::Object(object) => forbid_null(object),
        Value::Array(values) => values.iter_mut().for_each(forbid_null_within),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Shape {
    /// The shape of a whole file.
    pub(crate) fn of<Raw: JsonSchema>() -> Self {
        let schema = schema::<Raw>();
        let definitions = schema.get("$defs").cloned().unwrap_or_default();
        Self::read(&schema, &definitions)
    }

    fn read(schema: &Value, definitions: &Value) -> Self {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let name = name.rsplit('/').next().unwrap_or_default();
            return Self::read(&definitions[name], definitions);
        }
        let words = words(schema);
        if !words.is_empty() {
            return Self::Word(words);
        }
        let integer = |key, default| schema.get(key).and_then(Value::as_i64).unwrap_or(default);
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => Self::read_table(schema, definitions),
            Some("array") => Self::List(Box::new(Self::read(&schema["items"], definitions))),
            Some("integer") => Self::Integer {
                min: integer("minimum", i64::MIN),
                max: integer("maximum", i64::MAX),
            },
            Some("boolean") => Self::Bool,
            _ if schema.get("format").is_some_and(|it| it == "duration-words") => Self::Duration,
            _ => Self::Text,
        }
    }

    fn read_table(schema: &Value, definitions: &Value) -> Self {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return Self::Map(Box::new(Self::read(&schema["additionalProperties"], definitions)));
        };
        let required = schema.get("required").and_then(Value::as_array);
        Self::Table {
            known: properties
                .iter()
                .map(|(key, value)| (key.clone(), Self::read(value, definitions)))
                .collect(),
            required: required
                .into_iter()
                .flatten()
                .filter_map(|it| it.as_str().map(str::to_owned))
                .collect(),
        }
    }

    /// What it takes, in words: "takes …".
    pub(crate) fn takes(&self) -> String {
        match self {
            Self::Table { .. } | Self::Map(_) => "a table".into(),
            Self::List(_) => "a list".into(),
            Self::Text => "text".into(),
            Self::Duration => "a duration".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Integer { min: i64::MIN, max: i64::MAX } => "a whole number".into(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Bool => "true or false".into(),
        }
    }

    /// A value of it, for a reader who has none.
    pub(crate) fn example(&self) -> String {
        match self {
            Self::Table { known, required } => {
                let first = required.first().or_else(|| known.keys().next());
                let inner =
                    first.and_then(|key| Some(format!("{key} = {}", known.get(key)?.example())));
                format!("{{ {} }}", inner.unwrap_or_default())
            }
            Self::Map(value) => format!("{{ Name = {} }}", value.example()),
            Self::List(value) => format!("[{}]", value.example()),
            Self::Text => "\"…\"".into(),
            Self::Duration => "\"90s\"".into(),
            Self::Word(words) => format!("{:?}", words.first().map_or("", String::as_str)),
            Self::Integer { min, .. } => (*min).clamp(1, i64::MAX).to_string(),
            Self::Bool => "true".into(),
        }
    }
}

/// The words of an enum, however schemars writes it.
fn words(schema: &Value) -> Vec<String> {
    let own = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let constant = schema.get("const").into_iter();
    let mut words: Vec<String> =
        own.chain(constant).filter_map(|it| it.as_str().map(str::to_owned)).collect();
    for choice in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        words.extend(self::words(choice));
    }
    words
}
