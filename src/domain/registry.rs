//! Registry: all that is wanted, as the files say, checked; and what a new one changes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::SignedDuration;

use super::{
    desk,
    id::{Origin, WatchId},
    watch::{Subject, agent},
};

/// One agent that is to be watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    pub subject: Arc<Subject>,
    pub spec: Arc<agent::Spec>,
}

/// What becomes of names that nobody declared.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoRegister {
    /// So many at most (1000).
    pub max: usize,
    pub spec: Arc<agent::Spec>,
    pub origin: Origin,
}

/// The whole registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// In the order of the files. Ids and aliases are unique over all of them.
    pub agents: Vec<Agent>,
    pub auto_register: Option<AutoRegister>,
    pub desk: Arc<desk::Settings>,
}

/// What is to be done when `new` replaces `old`. Names that registered themselves are not in either.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diff {
    pub start: Vec<WatchId>,
    pub stop: Vec<WatchId>,
    /// The same watch with another Spec or Subject.
    pub change: Vec<WatchId>,
    pub unchanged: usize,
}

impl Diff {
    pub fn between(old: &Wanted, new: &Wanted) -> Self {
        let before = by_watch(old);
        let after = by_watch(new);
        let mut diff = Self::default();
        for (watch, agent) in &after {
            match before.get(watch) {
                None => diff.start.push((*watch).clone()),
                Some(known) if is_same(known, agent) => diff.unchanged += 1,
                Some(_) => diff.change.push((*watch).clone()),
            }
        }
        diff.stop =
            before.keys().filter(|it| !after.contains_key(*it)).map(|it| (*it).clone()).collect();
        diff
    }

    /// An edit that would remove more than a third of the watches, at least 3, is held until
    /// `atalaya apply` (docs/BEHAVIOUR.md 11).
    pub fn removes_too_many(&self) -> bool {
        let before = self.stop.len() + self.change.len() + self.unchanged;
        3 <= self.stop.len() && before < self.stop.len() * 3
    }
}

/// The line on which it stands does not matter: whoever adds one above changes nobody below.
fn is_same(one: &Agent, other: &Agent) -> bool {
    let Subject { watch, name, origin: _, notify, severity, self_registered, timeout: _, aliases } =
        &*one.subject;
    one.spec == other.spec
        && *watch == other.subject.watch
        && *name == other.subject.name
        && *notify == other.subject.notify
        && *severity == other.subject.severity
        && *self_registered == other.subject.self_registered
        && *aliases == other.subject.aliases
}

fn by_watch(wanted: &Wanted) -> BTreeMap<&WatchId, &Agent> {
    wanted.agents.iter().map(|it| (&it.subject.watch, it)).collect()
}

impl Wanted {
    /// The longest interval between beats that any agent may have, of those that are known and those that
    /// may come.
    pub fn longest_interval(&self) -> Option<SignedDuration> {
        let all = self.agents.iter().map(|it| &it.spec);
        all.chain(self.auto_register.iter().map(|it| &it.spec)).map(|it| it.interval).max()
    }

    /// The agents by the names they go by: an id wins over an alias.
    pub fn index(&self) -> HashMap<&str, &Agent> {
        let by_alias = self
            .agents
            .iter()
            .flat_map(|agent| agent.subject.aliases.iter().map(move |it| (it.as_str(), agent)));
        let by_id = self.agents.iter().map(|it| (&*it.subject.watch.name, it));
        by_alias.chain(by_id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{detector, text::Text};
    use jiff::{SignedDuration, tz::TimeZone};

    /// `mary@7/90` stands on line 7 and has a timeout of 90 s.
    fn wanted(agents: &str) -> Wanted {
        let agent = |text: &str| {
            let (name, rest) = text.split_once('@').unwrap();
            let (line, timeout) = rest.split_once('/').unwrap();
            let seconds = SignedDuration::from_secs;
            Agent {
                subject: Arc::new(Subject {
                    watch: name.parse().unwrap(),
                    name: Text::clean(name, 40),
                    origin: Origin::File { path: "r".into(), line: line.parse().unwrap() },
                    notify: Vec::new(),
                    severity: Vec::new(),
                    self_registered: false,
                    timeout: None,
                    aliases: Vec::new(),
                }),
                spec: Arc::new(agent::Spec {
                    interval: seconds(30),
                    timeout: seconds(timeout.parse().unwrap()),
                    first_beat_within: seconds(120),
                    stall_after: None,
                    loop_after: None,
                    lease_max: seconds(1800),
                    leave_max: seconds(600),
                    detector: detector::Kind::Fixed,
                    enabled: Arc::from([]),
                }),
            }
        };
        Wanted {
            agents: agents.split_whitespace().map(agent).collect(),
            auto_register: None,
            desk: Arc::new(desk::Settings {
                node: Text::clean("n", 9),
                timezone: TimeZone::UTC,
                receivers: Vec::new(),
                routes: Vec::new(),
                reopen: SignedDuration::ZERO,
                repeat: SignedDuration::ZERO,
                acknowledge_for: SignedDuration::ZERO,
                join_within: SignedDuration::ZERO,
                digest_every: SignedDuration::ZERO,
                maintenance: Vec::new(),
                critical_lifetime: SignedDuration::ZERO,
                warning_lifetime: SignedDuration::ZERO,
            }),
        }
    }

    #[test]
    fn a_name_leads_to_the_agent_that_has_it_as_id_before_one_that_has_it_as_alias() {
        let mut wanted = wanted("mary@1/90 lisa@2/90");
        for (agent, aliases) in wanted.agents.iter_mut().zip([vec!["lisa", "m1"], vec!["l1"]]) {
            let aliases = aliases.iter().map(|it| it.parse().unwrap()).collect();
            agent.subject = Arc::new(Subject { aliases, ..Subject::clone(&agent.subject) });
        }
        let index = wanted.index();
        for (name, expected) in
            [("mary", "mary"), ("lisa", "lisa"), ("m1", "mary"), ("l1", "lisa"), ("nova", "-")]
        {
            let found = index.get(name).map_or("-", |it| &*it.subject.watch.name);
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn only_what_changed_is_named_and_a_line_above_changes_nobody() {
        let names = |watches: &[WatchId]| {
            watches.iter().map(|it| it.name.to_string()).collect::<Vec<_>>().join(" ")
        };
        for (old, new, start, stop, change, unchanged, held) in [
            ("a@1/90 b@5/90", "a@1/90 b@5/90", "", "", "", 2, false),
            ("a@1/90 b@5/90", "n@1/90 a@5/90 b@9/90", "n", "", "", 2, false),
            ("a@1/90 b@5/90", "a@1/60", "", "b", "a", 0, false),
            (
                "a@1/9 b@1/9 c@1/9 d@1/9 e@1/9 f@1/9 g@1/9 h@1/9",
                "a@1/9 b@1/9 c@1/9 d@1/9 e@1/9",
                "",
                "f g h",
                "",
                5,
                true,
            ),
            ("a@1/9 b@1/9", "", "", "a b", "", 0, false),
        ] {
            let diff = Diff::between(&wanted(old), &wanted(new));
            let said = (names(&diff.start), names(&diff.stop), names(&diff.change));
            assert_eq!(said, (start.into(), stop.into(), change.into()), "{old} → {new}");
            assert_eq!(
                (diff.unchanged, diff.removes_too_many()),
                (unchanged, held),
                "{old} → {new}"
            );
        }
    }
}
