//! Silence: nothing of these watches rings until it ends; recovery is told all the same.

use jiff::Timestamp;

use super::{id::WatchId, text::Text};

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

/// What is silenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Watch(WatchId),
    /// `kind/name` with `*` in the name: `agent/worker-*`; `*` alone is everything.
    Pattern(String),
}

impl Target {
    pub fn matches(&self, watch: &WatchId) -> bool {
        match self {
            Self::Watch(it) => it == watch,
            Self::Pattern(pattern) => glob(pattern, &watch.to_string()),
        }
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
