//! Targets: which watches a route or a window means: `kind/name` with `*`, or a group.

use std::collections::BTreeSet;

use super::{
    document::{Step, steps},
    registry::File,
    report::Finding,
    walk::nearest,
};
use crate::domain::{
    id::{Kind, Name},
    silence::Target,
};

/// Begins what names a group, in the place of a kind.
const GROUP: &str = "group";

/// `kind/name` with `*`, or `group/name`; none for a pattern that every watch matches.
pub(super) fn target(
    file: &File,
    at: &[Step<'_>],
    key: &str,
    text: &str,
    findings: &mut Vec<Finding>,
) -> Option<Target> {
    if matches!(text, "*" | "*/*") {
        return None;
    }
    let place = || file.document.value(at);
    let Some((kind, name)) = text.split_once('/') else {
        let shown: String = text.chars().take(40).collect();
        let message = format!("`{key}` takes kind/name");
        findings.push(Finding::error(place(), message, format!("write \"agent/{shown}\"")));
        return None;
    };
    if kind == GROUP {
        let group = name.parse().ok();
        if group.is_none() {
            let message = format!("`{key}`: no group is named like this");
            findings.push(Finding::error(place(), message, "such as \"group/coding\""));
        }
        return group.map(Target::Group);
    }
    let kinds = Kind::ALL.map(Kind::word);
    if kind != "*" && !kinds.contains(&kind) {
        let shown: String = kind.chars().take(40).collect();
        let message = format!("`{key}`: unknown kind {shown:?}");
        let help = nearest(kind, kinds.into_iter().chain([GROUP]));
        findings.push(Finding::error(place(), message, help));
        return None;
    }
    if name.replace('*', "x").parse::<Name>().is_err() {
        let message = format!("`{key}`: no name looks like this");
        findings.push(Finding::error(place(), message, "such as \"agent/worker-*\""));
        return None;
    }
    Some(Target::Pattern(text.to_owned()))
}

/// Warns of groups that are named and to which no entry belongs.
pub(super) fn warn(files: &[File], groups: &BTreeSet<&Name>, findings: &mut Vec<Finding>) {
    for file in files {
        let routes = file.raw.route.iter().flatten().enumerate();
        let routes = routes.map(|(index, it)| (steps!["route", index, "match"], &it.pattern));
        let windows = file.raw.maintenance.iter().flatten().enumerate();
        let windows = windows.map(|(index, it)| (steps!["maintenance", index, "watch"], &it.watch));
        for (at, text) in routes.chain(windows) {
            let Some((GROUP, name)) = text.as_deref().and_then(|it| it.split_once('/')) else {
                continue;
            };
            if !groups.iter().any(|it| it.as_str() == name) {
                let help = nearest(name, groups.iter().map(|it| it.as_str()));
                let message = format!("no agent is in group {name:?}");
                findings.push(Finding::warning(file.document.value(&at), message, help));
            }
        }
    }
}
