//! Names: which thing is watched, which incident is meant, who is told.

use std::{fmt, str::FromStr, sync::Arc};

/// Longest name of a watched thing, in bytes (docs/reference/formats.md, "Heartbeats").
pub const NAME_BYTES_MAX: usize = 128;

/// The kinds of watched things. What follows a [`crate::domain::watch::Flip`] never asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Agent,
    /// A way by which signals reach us: `source/redis`.
    Source,
    /// A way by which people are reached: `receiver/telegram`.
    Receiver,
    /// A part of atalaya itself: `self/registry`, `self/store`.
    Myself,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Agent, Self::Source, Self::Receiver, Self::Myself];

    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Source => "source",
            Self::Receiver => "receiver",
            Self::Myself => "self",
        }
    }
}

/// One watched thing, written `kind/name`: `agent/mary`, `source/redis`, `self/registry`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId {
    pub kind: Kind,
    pub name: Arc<str>,
}

impl WatchId {
    pub fn new(kind: Kind, name: &str) -> Self {
        Self { kind, name: Arc::from(name) }
    }

    pub fn agent(name: &Name) -> Self {
        Self { kind: Kind::Agent, name: Arc::clone(&name.0) }
    }
}

impl fmt::Display for WatchId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.kind.word(), self.name)
    }
}

/// `kind/name`, or a bare name, which means an agent.
impl FromStr for WatchId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let Some((kind, name)) = text.split_once('/') else {
            return Ok(Self::agent(&text.parse()?));
        };
        let kind = Kind::ALL
            .into_iter()
            .find(|known| known.word() == kind)
            .ok_or_else(|| BadName::Kind(shorten(kind)))?;
        Ok(Self { kind, name: name.parse::<Name>()?.0 })
    }
}

/// A name from outside that was checked: `^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$`
/// (docs/reference/formats.md, "Heartbeats"). It is safe in a path, a log line and an HTML
/// attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub(crate) Arc<str>);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let first = text.chars().next().ok_or(BadName::Empty)?;
        if NAME_BYTES_MAX < text.len() {
            return Err(BadName::Long(text.len()));
        }
        if !first.is_ascii_alphanumeric() {
            return Err(BadName::First(first));
        }
        match text.chars().find(|it| !it.is_ascii_alphanumeric() && !"._:@-".contains(*it)) {
            Some(bad) => Err(BadName::Character(bad)),
            None => Ok(Self(Arc::from(text))),
        }
    }
}

/// Why a name was refused; the text says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadName {
    Empty,
    Long(usize),
    First(char),
    Character(char),
    Kind(String),
}

impl fmt::Display for BadName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => out.write_str("the name is empty"),
            Self::Long(bytes) => {
                write!(out, "the name has {bytes} bytes, {NAME_BYTES_MAX} at most")
            }
            Self::First(bad) => {
                write!(out, "the name begins with {bad:?}; it must begin with a letter or a digit")
            }
            Self::Character(bad) => {
                write!(out, "the name holds {bad:?}; letters, digits and . _ : @ - are allowed")
            }
            Self::Kind(kind) => {
                let known = Kind::ALL.map(Kind::word).join(", ");
                write!(out, "unknown kind {kind:?}; known are {known}")
            }
        }
    }
}

impl std::error::Error for BadName {}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Number of an incident, shown as `#412`. Grows for ever, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IncidentId(pub u64);

impl fmt::Display for IncidentId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "#{}", self.0)
    }
}

/// `#412` or `412`.
impl FromStr for IncidentId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim_start_matches('#').parse().map(Self)
    }
}

/// One way to reach someone, as the configuration names it: `telegram`, `hook`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiverId(pub Arc<str>);

impl ReceiverId {
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    pub fn watch(&self) -> WatchId {
        WatchId { kind: Kind::Receiver, name: Arc::clone(&self.0) }
    }
}

impl fmt::Display for ReceiverId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// One message as a person sees it: the opening and its edits share a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u64);

/// One row of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub u64);

/// A source by its place in the table of sources, which holds for one run of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u8);

/// Where a rule stands: `registry.toml:12`. Shown by `why`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// File as the user named it, and its line, from 1.
    File { path: Arc<str>, line: u32 },
    /// Built into atalaya; the text names the default.
    Default(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(out, "{path}:{line}"),
            Self::Default(what) => write!(out, "default: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_checked_and_the_refusal_says_why() {
        for good in ["mary", "002", "agent:002", "a", "worker-1.eu@host", &"x".repeat(128)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", "empty"),
            ("--help", "begins with '-'"),
            ("../x", "begins with '.'"),
            ("a/b", "'/'"),
            ("a b", "' '"),
            ("<b>", "begins with '<'"),
            ("mär", "'ä'"),
            (&"x".repeat(129), "129 bytes"),
        ] {
            let said = bad.parse::<Name>().unwrap_err().to_string();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }

    #[test]
    fn a_watch_is_written_as_kind_and_name() {
        for text in ["agent/mary", "source/redis", "self/registry", "receiver/hook"] {
            assert_eq!(text.parse::<WatchId>().unwrap().to_string(), text);
        }
        assert_eq!("mary".parse::<WatchId>().unwrap().to_string(), "agent/mary");
        assert!("ghost/x".parse::<WatchId>().unwrap_err().to_string().contains("known are agent"));
    }
}
