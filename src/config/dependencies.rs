//! Dependencies: `depends_on` of all entries becomes which watch leans on which, without circles.

use std::collections::{BTreeMap, HashMap};

use super::{
    document::{Step, steps},
    registry::{File, Fixed},
    report::Finding,
    walk::nearest,
};
use crate::domain::{
    dependency::{Dependencies, Parents},
    id::{Kind, Origin, WatchId},
    registry::{Pattern, Watched},
    watch::Subject,
};

/// So many watches of a circle are named.
const NAMED_MAX: usize = 10;

/// Checks `depends_on` of all files; beside agents with entries, patterns in the order in which they rule.
pub(crate) fn check(
    fixed: &Fixed,
    files: &[File],
    (agents, patterns): (&[Watched], &[Pattern]),
    findings: &mut Vec<Finding>,
) -> Dependencies {
    let known = known(fixed, agents);
    let mut given = HashMap::new();
    for file in files {
        for (index, raw) in file.raw.agent.iter().flatten().enumerate() {
            let (Some(id), Some(names)) = (&raw.id, &raw.depends_on) else { continue };
            let at = steps!["agent", index, "depends_on"];
            let mut on: Vec<WatchId> = Vec::new();
            for (number, name) in names.iter().enumerate() {
                let at = [&at[..], &[Step::At(number)]].concat();
                match known.get(name) {
                    Some(parent) if on.contains(parent) => {}
                    Some(parent) => on.push(parent.clone()),
                    None => findings.push(unknown(file, &at, name, &known)),
                }
            }
            let parents = Parents { on, origin: file.origin(&at) };
            given.insert(id.as_str(), (parents, file.document.value(&at)));
        }
    }
    let mut all = Dependencies::default();
    if given.is_empty() {
        return all;
    }
    let of = |id: &str, origin: &Origin| {
        let none = || Parents { on: Vec::new(), origin: origin.clone() };
        given.get(id).map_or_else(none, |it| it.0.clone())
    };
    for agent in agents {
        let Subject { watch, origin, .. } = &*agent.subject;
        all.add(watch, of(&watch.name, origin));
    }
    for pattern in patterns {
        all.add_pattern(&pattern.id, of(&pattern.id, &pattern.origin));
    }
    for cycle in all.cycles() {
        let first = cycle.first().and_then(|it| given.remove(&*it.name));
        let Some((_, place)) = first else { continue };
        let more = cycle.len().checked_sub(NAMED_MAX).filter(|it| 0 < *it);
        let mut names: Vec<String> =
            cycle.iter().take(NAMED_MAX).map(|it| it.name.to_string()).collect();
        names.extend(more.map(|it| format!("{it} more")));
        names.extend(cycle.first().map(|it| it.name.to_string()));
        let message = format!("`depends_on` runs in a circle: {}", names.join(" → "));
        let help = "none of them would ever be told of: take one out of it";
        findings.push(Finding::error(place, message, help));
    }
    all
}

fn unknown(file: &File, at: &[Step<'_>], name: &str, known: &BTreeMap<String, WatchId>) -> Finding {
    let shown: String = name.chars().take(40).collect();
    // A name by its kind only where it was written so: each watch is offered once.
    let offered = known.keys().map(String::as_str);
    let offered = offered.filter(|it| name.contains('/') == it.contains('/'));
    let message = format!("`depends_on` names {shown:?}, which no entry declares");
    Finding::error(file.document.value(at), message, nearest(name, offered))
}

/// What may be named, and how: an agent by id or alias, with or without its kind; a source by its kind.
fn known(fixed: &Fixed, agents: &[Watched]) -> BTreeMap<String, WatchId> {
    let mut known = BTreeMap::new();
    for source in fixed.daemon.sources() {
        let watch = WatchId::new(Kind::Source, source.name);
        known.insert(watch.to_string(), watch);
    }
    for agent in agents {
        let watch = &agent.subject.watch;
        let aliases = agent.subject.aliases.iter().map(|it| it.as_str().to_owned());
        for name in aliases.chain([watch.name.to_string()]) {
            known.insert(format!("{}/{name}", watch.kind.word()), watch.clone());
            known.insert(name, watch.clone());
        }
    }
    known
}
