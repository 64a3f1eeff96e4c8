//! Registry: all that is wanted, as the files say, checked; and what a new one changes.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    desk,
    id::{Name, Origin, WatchId},
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
                Some(known) if known == agent => diff.unchanged += 1,
                Some(_) => diff.change.push((*watch).clone()),
            }
        }
        diff.stop =
            before.keys().filter(|it| !after.contains_key(*it)).map(|it| (*it).clone()).collect();
        diff
    }

    /// An edit that would remove more than a third of the watches, at least 3, is held until
    /// `atalaya apply` (behaviour.md 11).
    pub fn removes_too_many(&self) -> bool {
        let before = self.stop.len() + self.change.len() + self.unchanged;
        3 <= self.stop.len() && before < self.stop.len() * 3
    }
}

fn by_watch(wanted: &Wanted) -> BTreeMap<&WatchId, &Agent> {
    wanted.agents.iter().map(|it| (&it.subject.watch, it)).collect()
}

impl Wanted {
    /// The agent that goes by this name: by id first, then by alias.
    pub fn find(&self, name: &Name) -> Option<&Agent> {
        self.agents
            .iter()
            .find(|it| *it.subject.watch.name == *name.as_str())
            .or_else(|| self.agents.iter().find(|it| it.subject.aliases.contains(name)))
    }
}
