//! Channels of a bus that bring beats: which to listen to, and where each of them names the agent.

/// Channels that a known system uses (docs/reference/formats.md, "Heartbeats").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// `{prefix}:heartbeats` and `agents:heartbeat`; the payload names the agent.
    BinaryRogue,
    /// `agents:heartbeat:*`; the channel names the agent.
    HeartbeatMap,
}

/// A channel, or a pattern of channels, and how to find the agent in what it brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub(super) pattern: String,
    pub(super) agent_from: AgentFrom,
}

/// Where a message names the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentFrom {
    /// `agent` or `agent_id` of the payload, also inside the envelope.
    Payload,
    /// What the one `*` of the pattern stands for.
    Star,
    /// A JSON pointer into the payload: `/agent_id`.
    Pointer(String),
}

/// Why a pattern was refused; the text says how to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    #[error("the pattern is empty")]
    Empty,
    #[error("agent_from = \"*\" needs a pattern with exactly one * and none of ? [ ] \\")]
    Star,
    #[error("agent_from is \"*\" or a JSON pointer such as \"/agent_id\"")]
    AgentFrom,
}

impl Pattern {
    /// `agent_from` as people write it: `*` or a JSON pointer.
    pub fn new(pattern: &str, agent_from: &str) -> Result<Self, BadPattern> {
        let agent_from = match agent_from {
            "*" => AgentFrom::Star,
            pointer if pointer.starts_with('/') => AgentFrom::Pointer(pointer.to_owned()),
            _ => return Err(BadPattern::AgentFrom),
        };
        let pattern = Self { pattern: pattern.to_owned(), agent_from };
        if pattern.pattern.is_empty() {
            return Err(BadPattern::Empty);
        }
        if pattern.agent_from == AgentFrom::Star && pattern.around_star().is_none() {
            return Err(BadPattern::Star);
        }
        Ok(pattern)
    }

    fn known(pattern: String, agent_from: AgentFrom) -> Self {
        Self { pattern, agent_from }
    }

    pub(super) fn is_glob(&self) -> bool {
        self.pattern.contains(['*', '?', '[', '\\'])
    }

    /// What stands before and behind the only `*`.
    fn around_star(&self) -> Option<(&str, &str)> {
        let (before, behind) = self.pattern.split_once('*')?;
        let plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
        (plain(before) && plain(behind)).then_some((before, behind))
    }

    /// What the `*` stands for in `channel`; None if the channel does not match.
    pub(super) fn star<'a>(&self, channel: &'a str) -> Option<&'a str> {
        let (before, behind) = self.around_star()?;
        channel.strip_prefix(before)?.strip_suffix(behind)
    }

    /// Whether `channel` comes over this pattern too. A pattern with more than one `*` is taken for one that
    /// does not overlap with others.
    fn covers(&self, channel: &str) -> bool {
        if self.is_glob() { self.star(channel).is_some() } else { self.pattern == channel }
    }
}

/// All that is to be listened to, each channel or pattern once; what the user wrote comes first.
pub(super) fn all(own: &[Pattern], profiles: &[Profile], prefix: &str) -> Vec<Pattern> {
    let mut patterns: Vec<Pattern> = Vec::new();
    let known = profiles.iter().flat_map(|it| it.patterns(prefix));
    for pattern in own.iter().cloned().chain(known) {
        if !patterns.iter().any(|it| it.pattern == pattern.pattern) {
            patterns.push(pattern);
        }
    }
    patterns
}

/// The pattern that takes a message which came `by` a subscription over `channel`. It comes once for each
/// pattern that matches; the first one takes it, the others get None.
pub(super) fn taker<'a>(patterns: &'a [Pattern], by: &[u8], channel: &str) -> Option<&'a Pattern> {
    let place = patterns.iter().position(|it| it.pattern.as_bytes() == by)?;
    let (earlier, rest) = patterns.split_at(place);
    if earlier.iter().any(|it| it.covers(channel)) { None } else { rest.first() }
}

impl Profile {
    fn patterns(self, prefix: &str) -> Vec<Pattern> {
        match self {
            Self::BinaryRogue => vec![
                Pattern::known(format!("{prefix}:heartbeats"), AgentFrom::Payload),
                Pattern::known("agents:heartbeat".to_owned(), AgentFrom::Payload),
            ],
            Self::HeartbeatMap => {
                vec![Pattern::known("agents:heartbeat:*".to_owned(), AgentFrom::Star)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_checked_at_the_door() {
        for (pattern, agent_from, said) in [
            ("agents:*", "*", "ok"),
            ("*:heartbeat", "*", "ok"),
            ("beats", "/agent_id", "ok"),
            ("a:*:*", "/data/id", "ok"),
            ("", "/x", "empty"),
            ("beats", "*", "exactly one *"),
            ("a:*:*", "*", "exactly one *"),
            ("a:[bc]:*", "*", "exactly one *"),
            ("a", "agent_id", "JSON pointer"),
        ] {
            let answer = match Pattern::new(pattern, agent_from) {
                Ok(_) => "ok".to_owned(),
                Err(why) => why.to_string(),
            };
            assert!(answer.contains(said), "{pattern} {agent_from}: {answer}");
        }
    }

    #[test]
    fn of_all_patterns_that_match_one_takes_the_message() {
        let own = [
            Pattern::new("agents:heartbeat:vip-*", "*").unwrap(),
            Pattern::new("agents:heartbeat", "/who").unwrap(),
        ];
        let all = all(&own, &[Profile::BinaryRogue, Profile::HeartbeatMap], "rogue");
        for (by, channel, agent_from) in [
            ("agents:heartbeat:vip-*", "agents:heartbeat:vip-mary", Some(AgentFrom::Star)),
            ("agents:heartbeat:*", "agents:heartbeat:vip-mary", None),
            ("agents:heartbeat:*", "agents:heartbeat:mary", Some(AgentFrom::Star)),
            ("agents:heartbeat", "agents:heartbeat", Some(AgentFrom::Pointer("/who".into()))),
            ("rogue:heartbeats", "rogue:heartbeats", Some(AgentFrom::Payload)),
            ("elsewhere", "elsewhere", None),
        ] {
            let taker = taker(&all, by.as_bytes(), channel).map(|it| it.agent_from.clone());
            assert_eq!(taker, agent_from, "{by} {channel}");
        }
        let star = Pattern::new("a:*:z", "*").unwrap();
        assert_eq!(star.star("a:m:z"), Some("m"));
        assert_eq!(star.star("a:z"), None);
    }
}
