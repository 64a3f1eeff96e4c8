//! Layers: built-in defaults < atalaya.toml < `.env` < environment < flags. Each layer is read by the
//! one shape, the `config` crate merges them, and the place of every value is kept for the report.

use std::{collections::BTreeMap, fmt};

use config::{Config, ConfigError, Map as ConfigMap, Source, Value as ConfigValue};
use jiff::SignedDuration;
use serde_json::{Map, Value as Json};

use super::{
    document::{Document, Step},
    environment::Variable,
    raw,
    report::{Finding, Place, mask},
    shape::Shape,
    walk::{from_text, nearest, read, walk},
};

/// What holds where no layer says anything; `[redis]` counts only with a `url`.
const DEFAULTS: &str = r#"
[node]
state_dir = "./var"
[http]
bind = "127.0.0.1:7717"
behind_proxy = false
[redis]
poll_every = "5s"
prefix = "binaryrogue"
beat_every = "30s"
beat_as = "atalaya"
[telegram]
api_url = "https://api.telegram.org"
listen = true
[delivery]
digest_every = "30m"
[log]
level = "info"
format = "auto"
"#;

/// Names of other systems that are accepted (docs/reference/formats.md, "Environment"), weakest
/// first, and the keys that they set.
const FOREIGN: &[(&str, &str)] = &[
    ("LUKA_REDIS_URL", "redis.url"),
    ("REDIS_URL", "redis.url"),
    ("TELEGRAM_USER_ID", "telegram.chat"),
    ("TELEGRAM_USER_ID", "telegram.allowed_users"),
    ("TELEGRAM_CHAT_ID", "telegram.chat"),
    ("TELEGRAM_TOKEN", "telegram.token"),
    ("TELEGRAM_BOT_TOKEN", "telegram.token"),
];

/// Our own names: `ATALAYA__HTTP__BIND` is `[http] bind`.
const PREFIX: &str = "ATALAYA__";

/// A setting from the command line.
#[derive(Clone)]
pub struct Flag {
    /// As the user typed it: `--bind`.
    pub name: String,
    /// What it sets: `http.bind`.
    pub key: String,
    pub value: String,
}

impl fmt::Debug for Flag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be a secret.
        write!(out, "{} (sets {})", self.name, self.key)
    }
}

/// A duration that a variable gives to `[defaults.agent]`.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) value: SignedDuration,
    pub(crate) place: Place,
}

/// HEARTBEAT_INTERVAL and TIMEOUT_THRESHOLD, in seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clocks {
    pub(crate) interval: Option<Given>,
    pub(crate) timeout: Option<Given>,
}

/// One layer above the file.
struct Layer {
    values: Json,
    /// By dotted key.
    places: BTreeMap<String, Place>,
}

/// Where the values of the daemon's settings came from.
pub(crate) struct Layers {
    file: Option<Document>,
    /// Weakest first.
    above: Vec<Layer>,
}

impl Layers {
    /// Place of the value at `path`: of the strongest layer that gives it.
    pub(crate) fn place(&self, path: &[Step<'_>]) -> Place {
        let keys: Vec<&str> = path
            .iter()
            .map_while(|it| if let Step::Key(key) = it { Some(*key) } else { None })
            .collect();
        let key = keys.join(".");
        if let Some(place) = self.above.iter().rev().find_map(|it| it.places.get(&key)) {
            return place.clone();
        }
        match &self.file {
            Some(file) => file.value(path),
            None => Place::Named("built-in settings".into()),
        }
    }

    /// Whether the file has this section.
    pub(crate) fn in_file(&self, section: &str) -> bool {
        self.file.as_ref().is_some_and(|it| it.has(section))
    }
}

/// Reads and merges all layers; mistakes of form in any of them are findings.
pub(crate) fn merge(
    file: Option<Document>,
    dotenv: &[Variable],
    environment: &[Variable],
    flags: &[Flag],
    findings: &mut Vec<Finding>,
) -> (raw::Daemon, Layers) {
    let shape = Shape::of::<raw::Daemon>();
    let mut defaults_findings = Vec::new();
    let defaults = Document::parse("built-in settings", DEFAULTS.into(), &mut defaults_findings);
    let mut below = vec![walk(&defaults, &shape, &mut defaults_findings)];
    debug_assert!(defaults_findings.is_empty(), "{defaults_findings:?}");
    if let Some(file) = &file {
        below.push(walk(file, &shape, findings));
    }
    let above = vec![
        variables(dotenv, &shape, findings),
        variables(environment, &shape, findings),
        from_flags(flags, &shape, findings),
    ];
    let layers = Layers { file, above };
    let values = below.into_iter().chain(layers.above.iter().map(|it| it.values.clone()));
    let raw = match together(values) {
        Ok(json) => read(json, |path| layers.place(&dotted(path)), findings),
        Err(error) => {
            let place = Place::Named("atalaya.toml and its layers".into());
            findings.push(Finding::error(place, format!("cannot merge the settings: {error}"), ""));
            raw::Daemon::default()
        }
    };
    (raw, layers)
}

fn together(layers: impl Iterator<Item = Json>) -> Result<Json, ConfigError> {
    layers
        .fold(Config::builder(), |builder, values| builder.add_source(Values(values)))
        .build()?
        .try_deserialize()
}

/// A layer as the `config` crate takes it.
#[derive(Clone)]
struct Values(Json);

impl fmt::Debug for Values {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Values(…)")
    }
}

impl Source for Values {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<ConfigMap<String, ConfigValue>, ConfigError> {
        serde_json::from_value(self.0.clone())
            .map_err(|error| ConfigError::Foreign(Box::new(error)))
    }
}

fn dotted(path: &str) -> Vec<Step<'_>> {
    path.split('.').map(Step::Key).collect()
}

fn variables(variables: &[Variable], shape: &Shape, findings: &mut Vec<Finding>) -> Layer {
    let mut layer = Layer { values: Json::Object(Map::new()), places: BTreeMap::new() };
    for (name, key) in FOREIGN {
        for variable in variables.iter().filter(|it| it.name == *name) {
            layer.set(shape, key, variable, findings);
        }
    }
    for variable in variables {
        let Some(name) = variable.name.strip_prefix(PREFIX) else { continue };
        let key = name.to_lowercase().replace("__", ".");
        layer.set(shape, &key, variable, findings);
    }
    layer
}

fn from_flags(flags: &[Flag], shape: &Shape, findings: &mut Vec<Finding>) -> Layer {
    let mut layer = Layer { values: Json::Object(Map::new()), places: BTreeMap::new() };
    for Flag { name, key, value } in flags {
        let place = Place::Named(mask(&format!("flag: {name}={value}")));
        let variable = Variable { name: name.clone(), value: value.clone(), place };
        layer.set(shape, key, &variable, findings);
    }
    layer
}

impl Layer {
    fn set(&mut self, shape: &Shape, key: &str, variable: &Variable, findings: &mut Vec<Finding>) {
        let Variable { name, value, place } = variable;
        let Some(wanted) = key.split('.').try_fold(shape, descend) else {
            let known = leaves(shape, "");
            let names: Vec<String> = known
                .iter()
                .map(|it| format!("{PREFIX}{}", it.replace('.', "__").to_uppercase()))
                .collect();
            let help = nearest(name, names.iter().map(String::as_str));
            findings.push(Finding::error(place.clone(), format!("unknown setting {name}"), help));
            return;
        };
        match from_text(wanted, value) {
            Ok(json) => {
                insert(&mut self.values, key, json);
                self.places.insert(key.to_owned(), place.clone());
            }
            Err(takes) => {
                let help = format!("it sets `{key}`, such as {}", wanted.example());
                findings.push(Finding::error(place.clone(), format!("{name} takes {takes}"), help));
            }
        }
    }
}

fn descend<'a>(shape: &'a Shape, key: &str) -> Option<&'a Shape> {
    if let Shape::Table { known, .. } = shape { known.get(key) } else { None }
}

/// Dotted names of all keys.
fn leaves(shape: &Shape, above: &str) -> Vec<String> {
    let Shape::Table { known, .. } = shape else { return vec![above.to_owned()] };
    known
        .iter()
        .flat_map(|(key, shape)| {
            leaves(shape, &if above.is_empty() { key.clone() } else { format!("{above}.{key}") })
        })
        .collect()
}

fn insert(values: &mut Json, key: &str, value: Json) {
    match key.split_once('.') {
        None => values[key] = value,
        Some((section, rest)) => {
            if !values[section].is_object() {
                values[section] = Json::Object(Map::new());
            }
            insert(&mut values[section], rest, value);
        }
    }
}

/// The clocks that the variables of another system give; the later of the lists is the stronger.
pub(crate) fn clocks(layers: [&[Variable]; 2], findings: &mut Vec<Finding>) -> Clocks {
    let mut clocks = Clocks::default();
    for variable in layers.into_iter().flatten() {
        let (slot, min, max) = match variable.name.as_str() {
            "HEARTBEAT_INTERVAL" => (&mut clocks.interval, 1, 864_000),
            "TIMEOUT_THRESHOLD" => (&mut clocks.timeout, 3, 2_678_400),
            _ => continue,
        };
        let place = variable.place.clone();
        match variable.value.trim().parse::<i64>().ok().filter(|it| (min..=max).contains(it)) {
            Some(seconds) => {
                *slot = Some(Given { value: SignedDuration::from_secs(seconds), place });
            }
            None => findings.push(Finding::error(
                place,
                format!("{} takes seconds, a whole number from {min} to {max}", variable.name),
                format!("such as {}=90", variable.name),
            )),
        }
    }
    clocks
}
