//! Registry: all that is wanted, as the files say, checked; and what a new one changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::SignedDuration;

use super::{
    desk,
    id::{NAME_BYTES_MAX, Name, Origin, ReceiverId, WatchId},
    incident::Severity,
    silence::glob,
    text::Text,
    watch::{Condition, Spec, Subject, agent},
};

/// One thing that is to be watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    pub subject: Arc<Subject>,
    pub spec: Spec,
}

/// One entry for all agents whose ids it matches. Each is watched from its first beat on.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// An id in which `*` stands for any characters.
    pub id: Arc<str>,
    pub group: Option<Name>,
    pub notify: Vec<ReceiverId>,
    pub severity: Vec<(Condition, Severity)>,
    pub spec: Arc<agent::Spec>,
    pub origin: Origin,
}

impl Pattern {
    /// The agent of this id, which matches.
    fn instance(&self, watch: &WatchId) -> Watched {
        let subject = Subject {
            watch: watch.clone(),
            name: Text::clean(&watch.name, NAME_BYTES_MAX),
            origin: self.origin.clone(),
            notify: self.notify.clone(),
            severity: self.severity.clone(),
            self_registered: true,
            timeout: Some(self.spec.timeout),
            aliases: Vec::new(),
            group: self.group.clone(),
        };
        Watched { subject: Arc::new(subject), spec: Spec::Agent(Arc::clone(&self.spec)) }
    }
}

/// The whole registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// In the order of the files. Ids and aliases are unique over all of them.
    pub watches: Vec<Watched>,
    /// The longest literal first: the first that matches rules.
    pub patterns: Vec<Pattern>,
    /// What holds for every other name.
    pub auto_register: Option<Pattern>,
    /// So many that no entry declares are watched at most, by patterns and `auto_register` together.
    pub undeclared_max: usize,
    pub desk: Arc<desk::Settings>,
}

/// The watches of a registry by the names they go by: an id wins over an alias.
pub struct Index<'a> {
    wanted: &'a Wanted,
    by_name: HashMap<&'a str, &'a Watched>,
}

impl<'a> Index<'a> {
    /// The entry that declares this name.
    pub fn declared(&self, name: &str) -> Option<&'a Watched> {
        self.by_name.get(name).copied()
    }

    /// How a watch goes on under this registry; none: it ends. Who had no entry goes on as long as
    /// it would be taken in now. Whose entry is gone goes on under a pattern alone: `auto_register` waits for a beat.
    pub fn successor(&self, watch: &WatchId, had_entry: bool) -> Option<Watched> {
        match self.declared(&watch.name) {
            Some(watched) => (watched.subject.watch == *watch).then(|| watched.clone()),
            None if had_entry => self.wanted.instance(watch),
            None => self.wanted.undeclared(watch),
        }
    }
}

/// What is to be done when `new` replaces `old`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diff {
    pub start: Vec<WatchId>,
    pub stop: Vec<WatchId>,
    /// The same watch with another Spec or Subject.
    pub change: Vec<WatchId>,
    pub unchanged: usize,
}

impl Diff {
    /// `undeclared`: who is watched under `old` without an entry of its own.
    pub fn between(old: &Wanted, new: &Wanted, undeclared: &[WatchId]) -> Self {
        let taken_in = undeclared.iter().filter_map(|it| old.undeclared(it));
        let before: BTreeMap<WatchId, Watched> = old
            .watches
            .iter()
            .cloned()
            .chain(taken_in)
            .map(|it| (it.subject.watch.clone(), it))
            .collect();
        let index = new.index();
        let mut diff = Self::default();
        for (watch, known) in &before {
            match index.successor(watch, !known.subject.self_registered) {
                None => diff.stop.push(watch.clone()),
                Some(watched) if is_same(known, &watched) => diff.unchanged += 1,
                Some(_) => diff.change.push(watch.clone()),
            }
        }
        let new = new.watches.iter().map(|it| &it.subject.watch);
        diff.start = new.filter(|it| !before.contains_key(*it)).cloned().collect();
        diff.start.sort();
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
fn is_same(one: &Watched, other: &Watched) -> bool {
    let Subject {
        watch,
        name,
        origin: _,
        notify,
        severity,
        self_registered,
        timeout: _,
        aliases,
        group,
    } = &*one.subject;
    one.spec == other.spec
        && *watch == other.subject.watch
        && *name == other.subject.name
        && *notify == other.subject.notify
        && *severity == other.subject.severity
        && *self_registered == other.subject.self_registered
        && *aliases == other.subject.aliases
        && *group == other.subject.group
}

impl Wanted {
    /// The longest interval between beats that any agent may have, of those that are known and those that
    /// may come.
    pub fn longest_interval(&self) -> Option<SignedDuration> {
        let undeclared = self.patterns.iter().chain(&self.auto_register).map(|it| it.spec.interval);
        self.watches.iter().filter_map(|it| it.spec.interval()).chain(undeclared).max()
    }

    /// What a name becomes that no entry declares: an instance of the first pattern that matches, else what
    /// `auto_register` says, if it is on.
    pub fn undeclared(&self, watch: &WatchId) -> Option<Watched> {
        let anyone = || self.auto_register.as_ref().map(|it| it.instance(watch));
        self.instance(watch).or_else(anyone)
    }

    fn instance(&self, watch: &WatchId) -> Option<Watched> {
        let matching = self.patterns.iter().find(|it| glob(&it.id, &watch.name));
        matching.map(|it| it.instance(watch))
    }

    /// The groups that its entries name.
    pub fn groups(&self) -> BTreeSet<&Name> {
        let watches = self.watches.iter().filter_map(|it| it.subject.group.as_ref());
        watches.chain(self.patterns.iter().filter_map(|it| it.group.as_ref())).collect()
    }

    pub fn index(&self) -> Index<'_> {
        let by_alias = self
            .watches
            .iter()
            .flat_map(|it| it.subject.aliases.iter().map(move |alias| (alias.as_str(), it)));
        let by_id = self.watches.iter().map(|it| (&*it.subject.watch.name, it));
        Index { wanted: self, by_name: by_alias.chain(by_id).collect() }
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
            Watched {
                subject: Arc::new(Subject::new(
                    name.parse().unwrap(),
                    Text::clean(name, 40),
                    Origin::File { path: "r".into(), line: line.parse().unwrap() },
                )),
                spec: agent::Spec {
                    interval: seconds(30),
                    timeout: seconds(timeout.parse().unwrap()),
                    first_beat_within: seconds(120),
                    stall_after: None,
                    loop_after: None,
                    lease_max: seconds(1800),
                    leave_max: seconds(600),
                    needs_input: None,
                    beats: agent::Beats::Steady,
                    detector: detector::Kind::Fixed,
                    enabled: Arc::from([]),
                }
                .into(),
            }
        };
        Wanted {
            watches: agents.split_whitespace().map(agent).collect(),
            patterns: Vec::new(),
            auto_register: None,
            undeclared_max: 9,
            desk: Arc::new(desk::Settings::new(Text::clean("n", 9), TimeZone::UTC)),
        }
    }

    #[test]
    fn a_name_leads_to_the_agent_that_has_it_as_id_before_one_that_has_it_as_alias() {
        let mut wanted = wanted("mary@1/90 lisa@2/90");
        for (agent, aliases) in wanted.watches.iter_mut().zip([vec!["lisa", "m1"], vec!["l1"]]) {
            let aliases = aliases.iter().map(|it| it.parse().unwrap()).collect();
            agent.subject = Arc::new(Subject { aliases, ..Subject::clone(&agent.subject) });
        }
        let index = wanted.index();
        for (name, expected) in
            [("mary", "mary"), ("lisa", "lisa"), ("m1", "mary"), ("l1", "lisa"), ("nova", "-")]
        {
            let found = index.declared(name).map_or("-", |it| &*it.subject.watch.name);
            assert_eq!(found, expected, "{name}");
        }
    }

    /// The same, with these patterns, in order: `w*/60`; `*` is `auto_register`.
    fn with(mut wanted: Wanted, patterns: &str) -> Wanted {
        for text in patterns.split_whitespace() {
            let (id, timeout) = text.split_once('/').unwrap();
            let spec = wanted_spec(timeout);
            let origin = Origin::Default("test");
            let pattern = Pattern {
                id: id.into(),
                group: None,
                notify: Vec::new(),
                severity: Vec::new(),
                spec,
                origin,
            };
            if id == "*" {
                wanted.auto_register = Some(pattern);
            } else {
                wanted.patterns.push(pattern);
            }
        }
        wanted
    }

    fn wanted_spec(timeout: &str) -> Arc<agent::Spec> {
        let Spec::Agent(spec) = &wanted(&format!("x@1/{timeout}")).watches[0].spec;
        Arc::clone(spec)
    }

    #[test]
    fn who_is_watched_goes_on_under_what_the_registry_has_for_its_name() {
        for (agents, patterns, name, had_entry, expected) in [
            ("w-1@1/10", "w-*/20 */30", "w-1", true, "10 declared"),
            ("w-1@1/10", "w-*/20 */30", "w-1", false, "10 declared"),
            ("w-1@1/10", "w-*/20 */30", "w-2", false, "20"),
            ("w-1@1/10", "w-*/20 */30", "w-2", true, "20"),
            ("w-1@1/10", "w-1*/20 w-*/25 */30", "w-12", false, "20"),
            ("w-1@1/10", "w-*/20 */30", "mary", false, "30"),
            // Its entry was taken out: it ends, and begins anew with its next beat.
            ("w-1@1/10", "w-*/20 */30", "mary", true, "-"),
            ("w-1@1/10", "w-*/20", "mary", false, "-"),
            // An alias of another.
            ("w-1@1/10", "w-*/20 */30", "m1", false, "-"),
        ] {
            let mut wanted = with(wanted(agents), patterns);
            let aliases = vec!["m1".parse().unwrap()];
            let subject = Subject { aliases, ..Subject::clone(&wanted.watches[0].subject) };
            wanted.watches[0].subject = Arc::new(subject);
            let agent = wanted.index().successor(&name.parse().unwrap(), had_entry);
            let said = agent.map_or("-".to_owned(), |it| {
                let how = if it.subject.self_registered { "" } else { " declared" };
                let Spec::Agent(spec) = it.spec;
                format!("{}{how}", spec.timeout.as_secs())
            });
            assert_eq!(said, expected, "{agents}, {patterns}: {name} {had_entry}");
        }
    }

    #[test]
    fn who_was_taken_in_without_an_entry_is_part_of_a_change() {
        let names = |watches: &[WatchId]| {
            watches.iter().map(|it| it.name.to_string()).collect::<Vec<_>>().join(" ")
        };
        for (old, new, stop, change, unchanged, held) in [
            ("w-*/20", "w-*/20", "", "", 4, false),
            ("w-*/20", "w-*/25", "", "w-1 w-2 w-3", 1, false),
            ("w-*/20", "", "w-1 w-2 w-3", "", 1, true),
            ("w-*/20", "*/20", "", "", 4, false),
            ("*/20", "w-1*/20", "w-2 w-3", "", 2, false),
        ] {
            let taken_in = ["w-1", "w-2", "w-3"].map(|it| it.parse().unwrap());
            let [old, new] = [old, new].map(|it| with(wanted("mary@1/90"), it));
            let diff = Diff::between(&old, &new, &taken_in);
            let said = (names(&diff.start), names(&diff.stop), names(&diff.change));
            assert_eq!(said, (String::new(), stop.into(), change.into()), "{new:?}");
            assert_eq!((diff.unchanged, diff.removes_too_many()), (unchanged, held), "{new:?}");
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
            let diff = Diff::between(&wanted(old), &wanted(new), &[]);
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
