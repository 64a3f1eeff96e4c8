//! Plan: what a draft of the registry would start, stop, change and page, against what runs now.

use std::{path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    render::Scene,
    terminal::{Mood, Table, Terminal},
};
use crate::{
    control::{agents::AgentView, show, words},
    domain::{
        alert::wording::written,
        id::{Origin, WatchId},
        incident::Severity,
        registry::{Diff, Wanted, Watched},
        watch::{
            Condition, Spec,
            agent::{Beats, Verdict},
        },
    },
};

/// A reload says `down` not before one interval and this (docs/BEHAVIOUR.md 2).
const RELOAD_RESPITE: SignedDuration = SignedDuration::from_secs(5);

/// One line of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// `start`, `change` or `stop`.
    what: &'static str,
    watch: String,
    /// What changes: `timeout 5m → 90s`.
    how: String,
    /// What follows for people.
    then: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Plan {
    changes: Vec<Change>,
    unchanged: usize,
    /// Watches that would be down by the edit alone.
    would_page: usize,
    /// Who would hear of those.
    receivers: Vec<String>,
    /// It removes so much that it waits for `atalaya apply`.
    held: bool,
    /// The file that the draft would replace, where it is one.
    #[serde(skip)]
    replaces: Option<String>,
}

impl Plan {
    /// `live` is what the running daemon says at `now`, if one runs.
    pub(super) fn between(
        old: &Wanted,
        new: &Wanted,
        live: Option<&[AgentView]>,
        now: Option<Timestamp>,
    ) -> Self {
        // Nobody but the daemon knows who was taken in without an entry.
        let undeclared = live.unwrap_or_default().iter().filter(|it| it.self_registered);
        let undeclared = undeclared.filter_map(|it| it.id.parse().ok()).collect::<Vec<WatchId>>();
        let diff = Diff::between(old, new, &undeclared);
        let (before, after) = (old.index(), new.index());
        let alive = |watch: &WatchId| {
            live.and_then(|agents| agents.iter().find(|it| *it.id == *watch.name))
        };
        let mut plan = Self {
            changes: Vec::new(),
            unchanged: diff.unchanged,
            would_page: 0,
            receivers: Vec::new(),
            held: diff.removes_too_many(),
            replaces: one_file(old),
        };
        for watch in &diff.start {
            if let Some(agent) = after.declared(&watch.name) {
                plan.changes.push(start(agent));
            }
        }
        plan.changes.extend(patterns(old, new));
        for watch in &diff.change {
            let known = before.declared(&watch.name).cloned();
            let had_entry = known.is_some();
            let known = known.or_else(|| old.undeclared(watch));
            if let (Some(known), Some(agent)) = (known, after.successor(watch, had_entry)) {
                let down =
                    alive(watch).zip(now).and_then(|(it, now)| down_after(it, &agent.spec, now));
                plan.changes.push(change(&known, &agent, down));
                if down.is_some() {
                    plan.page(new, &agent);
                }
            }
        }
        plan.changes.extend(diff.stop.iter().map(|watch| stop(watch, alive(watch))));
        plan
    }

    fn page(&mut self, wanted: &Wanted, agent: &Watched) {
        if agent.subject.severity_of(Condition::Down) != Severity::Critical {
            return;
        }
        let steps = show::would_tell(&wanted.desk, &agent.subject, Condition::Down);
        self.would_page += usize::from(!steps.is_empty());
        for receiver in steps.into_iter().take(1).flat_map(|it| it.to) {
            if !self.receivers.contains(&receiver) {
                self.receivers.push(receiver);
            }
        }
    }

    /// As people read it; `against` is the daemon's scene and since when its registry stands.
    pub(super) fn text(
        &self,
        against: Option<(&Scene, Timestamp)>,
        terminal: Terminal,
        program: &str,
        draft: &Path,
    ) -> String {
        let mut lines = vec![match against {
            Some((scene, at)) => {
                let of = words::clock(at, &scene.zone, scene.now);
                format!("against {}, registry of {of}", scene.node)
            }
            None => "against the registry on disk: no daemon answers".to_owned(),
        }];
        let mut table = Table::default();
        for change in &self.changes {
            let (mood, sign) = match change.what {
                "start" => (Mood::Good, "+"),
                "stop" => (Mood::Bad, "-"),
                _ => (Mood::Warning, "~"),
            };
            table.row(vec![
                (mood, format!("{sign} {}", change.watch)),
                (Mood::Plain, terminal.fit(&change.how)),
                (Mood::Plain, change.then.clone()),
            ]);
        }
        lines.extend(table.lines(terminal, 3));
        lines.push(format!("= {} unchanged, their actors untouched", self.unchanged));
        if self.held {
            lines.push(format!(
                "It removes more than a third: it will be held until {program} apply"
            ));
        }
        let to = if self.receivers.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.receivers.join(", "))
        };
        let replaces = self.replaces.as_deref().unwrap_or("REGISTRY");
        let apply = format!("Apply: mv {} {replaces}", draft.display());
        lines.push(match self.would_page {
            0 => format!("Would page nobody. {apply}"),
            page => format!("Would page {page}{to}. {apply}"),
        });
        lines.join("\n")
    }
}

/// Patterns that come and go; who matches them is listed singly where it is watched already.
fn patterns(old: &Wanted, new: &Wanted) -> Vec<Change> {
    let without = |all: &Wanted, other: &Wanted| -> Vec<Arc<str>> {
        let other = |id| other.patterns.iter().any(|it| it.id == id);
        all.patterns
            .iter()
            .map(|it| Arc::clone(&it.id))
            .filter(|it| !other(Arc::clone(it)))
            .collect()
    };
    let line = |what: &'static str, id: Arc<str>, then: &str| Change {
        what,
        watch: format!("agent/{id}"),
        how: "pattern".to_owned(),
        then: then.to_owned(),
    };
    let come = without(new, old)
        .into_iter()
        .map(|id| line("start", id, "whoever beats under such an id is watched"));
    let gone = without(old, new).into_iter().map(|id| line("stop", id, ""));
    come.chain(gone).collect()
}

/// The file that declares everything, if it is one file.
fn one_file(wanted: &Wanted) -> Option<String> {
    let watches = wanted.watches.iter().map(|it| &it.subject.origin);
    let patterns = wanted.patterns.iter().chain(&wanted.auto_register).map(|it| &it.origin);
    let mut files = watches.chain(patterns).filter_map(|it| match it {
        Origin::File { path, .. } => Some(path),
        Origin::Default(_) => None,
    });
    let first = files.next()?;
    files.all(|it| it == first).then(|| first.to_string())
}

fn start(agent: &Watched) -> Change {
    let Spec::Agent(spec) = &agent.spec;
    let then = format!("down if not heard by {} after", written(spec.first_beat_within));
    line("start", &agent.subject.watch, "start".to_owned(), then)
}

fn stop(watch: &WatchId, alive: Option<&AgentView>) -> Change {
    let then = alive.and_then(|it| it.incident);
    let then = then.map(|id| format!("#{id} closes as \"no longer watched\"")).unwrap_or_default();
    line("stop", watch, "stop".to_owned(), then)
}

fn change(before: &Watched, after: &Watched, down: Option<SignedDuration>) -> Change {
    let then = down.map(|it| format!("DOWN {} after apply unless it beats", written(it)));
    line("change", &after.subject.watch, differences(before, after), then.unwrap_or_default())
}

fn line(what: &'static str, watch: &WatchId, how: String, then: String) -> Change {
    Change { what, watch: watch.to_string(), how, then }
}

/// How soon after the edit the agent would be down by it, if it is well now and its new limit is past.
fn down_after(
    agent: &AgentView,
    Spec::Agent(spec): &Spec,
    now: Timestamp,
) -> Option<SignedDuration> {
    let well = [Verdict::Up, Verdict::Late].iter().any(|it| it.word() == agent.verdict);
    let silent = now.duration_since(agent.last_beat.filter(|_| well)?);
    let rests = agent.idle && spec.beats == Beats::OnActivity;
    (spec.timeout < silent && !rests).then_some(spec.interval + RELOAD_RESPITE)
}

fn differences(before: &Watched, after: &Watched) -> String {
    let (Spec::Agent(old), Spec::Agent(new)) = (&before.spec, &after.spec);
    let length = |it: SignedDuration| written(it);
    let maybe = |it: Option<SignedDuration>| it.map_or_else(|| "off".to_owned(), written);
    let group =
        |it: &Watched| it.subject.group.as_ref().map_or("none".to_owned(), ToString::to_string);
    let times = |it: Option<u32>| it.map_or_else(|| "off".to_owned(), |it| it.to_string());
    let pairs = [
        ("interval", length(old.interval), length(new.interval)),
        ("timeout", length(old.timeout), length(new.timeout)),
        ("first_beat_within", length(old.first_beat_within), length(new.first_beat_within)),
        ("stall_after", maybe(old.stall_after), maybe(new.stall_after)),
        ("loop_after", times(old.loop_after), times(new.loop_after)),
        ("lease_max", length(old.lease_max), length(new.lease_max)),
        ("leave_max", length(old.leave_max), length(new.leave_max)),
        ("needs_input", maybe(old.needs_input), maybe(new.needs_input)),
        ("beats", old.beats.word().to_owned(), new.beats.word().to_owned()),
        ("name", before.subject.name.to_string(), after.subject.name.to_string()),
        ("group", group(before), group(after)),
    ];
    let mut said: Vec<String> = pairs
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| format!("{key} {old} → {new}"))
        .collect();
    for (key, changed) in [
        ("detector", old.detector != new.detector),
        ("aliases", before.subject.aliases != after.subject.aliases),
        ("notify", before.subject.notify != after.subject.notify),
        ("severity", before.subject.severity != after.subject.severity),
    ] {
        if changed {
            said.push(key.to_owned());
        }
    }
    match (before.subject.self_registered, after.subject.self_registered) {
        (true, false) => said.push("gets an entry of its own".to_owned()),
        (false, true) => {
            said.push(format!("goes on under the pattern of {}", after.subject.origin));
        }
        (true, true) | (false, false) => {}
    }
    if said.is_empty() {
        return "moved in its file".to_owned();
    }
    said.join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::{
        domain::{
            alert::route::Receiver,
            desk, detector,
            id::{Kind, ReceiverId, SourceId},
            text::Text,
            watch::{Subject, agent},
        },
        edges::cli::render::tests::{at, mary, scene},
    };

    pub(in crate::edges::cli) fn wanted(agents: &[(&str, u32, i64)]) -> Wanted {
        let agent = |(name, line, timeout): &(&str, u32, i64)| Watched {
            subject: Arc::new(Subject {
                notify: vec![ReceiverId::new("telegram")],
                ..Subject::new(
                    WatchId::new(Kind::Agent, name),
                    Text::clean(name, 40),
                    Origin::File { path: "config/registry.toml".into(), line: *line },
                )
            }),
            spec: agent::Spec {
                interval: SignedDuration::from_secs(30),
                timeout: SignedDuration::from_secs(*timeout),
                first_beat_within: SignedDuration::from_mins(2),
                stall_after: None,
                loop_after: None,
                lease_max: SignedDuration::from_mins(30),
                leave_max: SignedDuration::from_mins(10),
                needs_input: None,
                beats: Beats::Steady,
                detector: detector::Kind::Fixed,
                enabled: Arc::new([SourceId(0)]),
            }
            .into(),
        };
        Wanted {
            watches: agents.iter().map(agent).collect(),
            patterns: Vec::new(),
            auto_register: None,
            undeclared_max: 9,
            desk: Arc::new(desk::Settings {
                receivers: vec![Receiver {
                    id: ReceiverId::new("telegram"),
                    human: true,
                    origin: Origin::Default("test"),
                }],
                ..desk::Settings::new(Text::clean("tower-1", 40), TimeZone::UTC)
            }),
        }
    }

    #[test]
    fn plan_says_what_a_draft_starts_stops_changes_and_pages() {
        let old = wanted(&[("paula", 1, 300), ("lisa", 5, 90), ("mary", 9, 90)]);
        let new = wanted(&[("paula", 1, 90), ("mary", 9, 90), ("nova", 13, 90)]);
        let paula = AgentView {
            id: "paula".to_owned(),
            verdict: "up".to_owned(),
            last_beat: Some(at("03:13:20")),
            incident: None,
            ..mary()
        };
        let lisa = AgentView { id: "lisa".to_owned(), incident: Some(409), ..mary() };
        let live = [paula, lisa, mary()];
        let scene = scene(true);
        let plan = Plan::between(&old, &new, Some(&live), Some(scene.now));
        let text = |plan: &Plan, against| {
            plan.text(against, scene.terminal, "bin/atalaya", Path::new("draft.toml"))
        };
        let said = text(&plan, Some((&scene, at("02:10:31"))));
        assert_eq!(
            said,
            r#"
against tower-1, registry of 02:10:31
+ agent/nova    start              down if not heard by 2m after
~ agent/paula   timeout 5m → 90s   DOWN 35s after apply unless it beats
- agent/lisa    stop               #409 closes as "no longer watched"
= 1 unchanged, their actors untouched
Would page 1 (telegram). Apply: mv draft.toml config/registry.toml
"#
            .trim(),
            "\n{said}\n"
        );
        // Without a daemon nobody knows what is alive.
        let said = text(&Plan::between(&old, &new, None, None), None);
        assert!(said.starts_with("against the registry on disk: no daemon answers\n"), "{said}");
        assert!(said.contains("Would page nobody."), "{said}");
        let held = Plan::between(
            &wanted(&[("a", 1, 90), ("b", 2, 90), ("c", 3, 90)]),
            &wanted(&[]),
            None,
            None,
        );
        let said = text(&held, None);
        assert!(said.contains("held until bin/atalaya apply"), "{said}");
    }
}
