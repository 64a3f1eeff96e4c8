//! Silence: nothing of these watches rings until it ends; recovery is told all the same.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use jiff::Timestamp;

use super::{
    id::{Name, WatchId},
    text::Text,
    watch::Subject,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    pub id: u64,
    pub target: Target,
    pub by: Text,
    pub reason: Option<Text>,
    pub from: Timestamp,
    pub until: Timestamp,
    /// Messages that it muted; shown by `silences`.
    pub muted: u64,
}

/// Which watches are meant, by a silence, a window of maintenance or a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Watch(WatchId),
    /// `kind/name` with `*` in the name: `agent/worker-*`; `*` alone is everything.
    Pattern(String),
    /// All agents of a group, whoever belongs to it at the time.
    Group(Name),
}

impl Target {
    pub fn matches(&self, subject: &Subject) -> bool {
        match self {
            Self::Watch(it) => *it == subject.watch,
            Self::Pattern(pattern) => glob(pattern, &subject.watch.to_string()),
            Self::Group(group) => subject.group.as_ref() == Some(group),
        }
    }
}

/// As it is typed: `agent/mary`, `agent/worker-*`, `group/coding`.
impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watch(watch) => watch.fmt(out),
            Self::Pattern(pattern) => out.write_str(pattern),
            Self::Group(group) => write!(out, "group/{group}"),
        }
    }
}

/// All silences that hold, found by watch without looking at each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Silences {
    all: BTreeMap<u64, Silence>,
    of_watch: HashMap<WatchId, BTreeSet<u64>>,
    /// Over patterns and groups.
    wide: BTreeSet<u64>,
}

impl FromIterator<Silence> for Silences {
    fn from_iter<T: IntoIterator<Item = Silence>>(all: T) -> Self {
        let mut silences = Self::default();
        all.into_iter().for_each(|it| silences.insert(it));
        silences
    }
}

impl Silences {
    pub fn insert(&mut self, silence: Silence) {
        let _ = match &silence.target {
            Target::Watch(watch) => {
                self.of_watch.entry(watch.clone()).or_default().insert(silence.id)
            }
            Target::Pattern(_) | Target::Group(_) => self.wide.insert(silence.id),
        };
        self.all.insert(silence.id, silence);
    }

    pub fn remove(&mut self, id: u64) -> Option<Silence> {
        let silence = self.all.remove(&id)?;
        self.wide.remove(&id);
        if let Target::Watch(watch) = &silence.target
            && let Some(ids) = self.of_watch.get_mut(watch)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.of_watch.remove(watch);
            }
        }
        Some(silence)
    }

    /// The silence that holds longest over a watch.
    pub fn over(&self, subject: &Subject) -> Option<&Silence> {
        let named = self.of_watch.get(&subject.watch).into_iter().flatten();
        let all = named.chain(&self.wide).filter_map(|id| self.all.get(id));
        all.filter(|it| it.target.matches(subject)).max_by_key(|it| (it.until, it.id))
    }

    pub fn get_mut(&mut self, id: u64) -> Option<&mut Silence> {
        self.all.get_mut(&id)
    }

    pub fn get(&self, id: u64) -> Option<&Silence> {
        self.all.get(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.all.values()
    }
}

/// `*` stands for any characters, everything else for itself.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| text.strip_prefix(head)) else {
        return false;
    };
    let Some(tail) = pattern.contains('*').then(|| pattern.rsplit('*').next().unwrap_or_default())
    else {
        return rest.is_empty();
    };
    let middle: Vec<&str> = parts.collect();
    for part in middle.iter().take(middle.len().saturating_sub(1)) {
        match rest.find(part) {
            Some(found) => rest = &rest[found + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, matches) in [
            ("agent/*", "agent/mary", true),
            ("*", "agent/mary", true),
            ("agent/mary", "agent/mary", true),
            ("agent/mary", "agent/mary2", false),
            ("agent/w-*-eu", "agent/w-1-eu", true),
            ("agent/w-*-eu", "agent/w-eu", false),
            ("*a*b*", "xaybz", true),
            ("*a*b*", "xbya", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }
}
