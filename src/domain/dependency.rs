//! Dependencies: which watch leans on which (`depends_on`). Trouble of a parent explains that of its
//! children (docs/BEHAVIOUR.md 9, "Dependencies").

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    id::{Kind, Origin, WatchId},
    silence::glob,
};

/// The parents of one watch, or of all that one pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parents {
    /// In the order of the registry, each once; none may be known by a pattern alone.
    pub on: Vec<WatchId>,
    /// Where the registry says so.
    pub origin: Origin,
}

/// All that the registry says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    parents: BTreeMap<WatchId, Parents>,
    /// Of agents that have no entry of their own; the first that matches rules.
    patterns: Vec<(Arc<str>, Parents)>,
    children: BTreeMap<WatchId, BTreeSet<WatchId>>,
}

impl Dependencies {
    /// Adds the parents of a watch that has an entry of its own, also where it has none; each once.
    pub fn add(&mut self, watch: &WatchId, parents: Parents) {
        for parent in &parents.on {
            self.children.entry(parent.clone()).or_default().insert(watch.clone());
        }
        self.parents.insert(watch.clone(), parents);
    }

    /// Adds the parents of agents whose ids match, in the order in which patterns rule.
    pub fn add_pattern(&mut self, id: &Arc<str>, parents: Parents) {
        self.patterns.push((Arc::clone(id), parents));
    }

    /// The parents of a watch; none where it has none.
    pub fn of(&self, watch: &WatchId) -> Option<&Parents> {
        let by_pattern = || {
            let mut patterns = self.patterns.iter().filter(|_| watch.kind == Kind::Agent);
            patterns.find(|it| glob(&it.0, &watch.name)).map(|it| &it.1)
        };
        self.parents.get(watch).or_else(by_pattern).filter(|it| !it.on.is_empty())
    }

    /// The children that have entries of their own.
    pub fn children(&self, watch: &WatchId) -> impl Iterator<Item = &WatchId> {
        self.children.get(watch).into_iter().flatten()
    }

    /// Whether a pattern names it: then its children are known only one by one, by [`Dependencies::of`].
    pub fn has_children_by_pattern(&self, watch: &WatchId) -> bool {
        self.patterns.iter().any(|it| it.1.on.contains(watch))
    }

    /// Circles that share no watch, each in the order in which one depends on the next. None of their
    /// members could ever be told of.
    pub fn cycles(&self) -> Vec<Vec<WatchId>> {
        let mut left = self.parents.clone();
        let mut cycles = Vec::new();
        loop {
            // Who depends on nobody that is left is in no circle.
            let before = left.len();
            let known: BTreeSet<WatchId> = left.keys().cloned().collect();
            left.retain(|_, it| it.on.iter().any(|on| known.contains(on)));
            if left.len() < before {
                continue;
            }
            let Some(first) = left.keys().next() else { return cycles };
            let mut path = vec![first];
            let cycle = loop {
                let parents = path.last().and_then(|it| left.get(*it));
                let next = parents.and_then(|it| it.on.iter().find(|on| left.contains_key(on)));
                let Some(next) = next else { break Vec::new() };
                if let Some(place) = path.iter().position(|it| *it == next) {
                    break path.split_off(place);
                }
                path.push(next);
            };
            let cycle: Vec<WatchId> = cycle.into_iter().cloned().collect();
            left.retain(|watch, _| !cycle.contains(watch));
            cycles.push(cycle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a>b` says that a depends on b.
    fn cycles(of: &str) -> String {
        let mut all = Dependencies::default();
        for entry in of.split_whitespace() {
            let (watch, on) = entry.split_once('>').unwrap();
            let on = on.split(',').map(|it| it.parse().unwrap()).collect();
            let origin = Origin::Default("test");
            all.add(&watch.parse().unwrap(), Parents { on, origin });
        }
        let one = |it: &Vec<WatchId>| it.iter().map(|it| &*it.name).collect::<Vec<_>>().join(">");
        all.cycles().iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_agent_has_the_parents_of_its_entry_or_else_of_the_first_pattern_that_matches() {
        let mut all = Dependencies::default();
        let parents = |on: &str| Parents {
            on: on.split_whitespace().map(|it| it.parse().unwrap()).collect(),
            origin: Origin::Default("test"),
        };
        let watch = |name: &str| name.parse::<WatchId>().unwrap();
        all.add(&watch("worker-7"), parents(""));
        all.add(&watch("worker-8"), parents("db"));
        all.add_pattern(&"worker-*".into(), parents("net"));
        all.add_pattern(&"work*".into(), parents(""));
        all.add_pattern(&"*".into(), parents("source/http"));
        for (name, expected) in [
            ("worker-1", "agent/net"),
            ("worker-7", ""),
            ("worker-8", "agent/db"),
            ("workshop", ""),
            ("mary", "source/http"),
            ("source/redis", ""),
        ] {
            let on = all.of(&watch(name)).map(|it| it.on.iter().map(ToString::to_string));
            assert_eq!(on.into_iter().flatten().collect::<Vec<_>>().join(" "), expected, "{name}");
        }
        assert!(all.has_children_by_pattern(&watch("net")));
        assert!(!all.has_children_by_pattern(&watch("db")));
    }

    #[test]
    fn each_circle_is_found_once_and_nothing_else_is_one() {
        for (of, expected) in [
            ("", ""),
            ("a>b b>c", ""),
            ("a>b,c b>d c>d", ""),
            ("a>a", "a"),
            ("a>b b>a", "a>b"),
            ("x>a a>b b>c,y c>a y>z", "a>b>c"),
            ("a>b b>a c>d d>c e>a", "a>b c>d"),
        ] {
            assert_eq!(cycles(of), expected, "{of}");
        }
        let long: Vec<String> = (0..5_000).map(|it| format!("n{it}>n{}", it + 1)).collect();
        assert_eq!(cycles(&long[..100].join(" ")), "");
        let closed = format!("{} n100>n0", long[..100].join(" "));
        assert_eq!(cycles(&closed).split('>').count(), 101);
    }
}
