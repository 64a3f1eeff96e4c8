//! Replay: what the time that the store knows would have told under a draft of the registry, beside what
//! it tells under the present one.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    Call, Drafts, Ended,
    exit::Exit,
    json,
    terminal::{Mood, Table, Terminal},
};
use crate::{
    control::words::{self, counted},
    domain::{
        detector,
        history::History,
        registry::Wanted,
        replay::{Prediction, Trouble, deaf_for, replay},
        watch::{
            self, Condition,
            agent::{STANDSTILL_PART, Spec},
        },
    },
};

/// Lines about single troubles; JSON has them all.
const LINES_MAX: usize = 30;
/// Agents that a sentence names.
const NAMED_MAX: usize = 5;

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// So much of the time that the store knows, up to its end
    #[arg(long, value_name = "LENGTH", default_value = "7d")]
    since: String,
}

/// The same time under both registries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct View {
    since: Timestamp,
    until: Timestamp,
    now: Side,
    draft: Side,
    troubles: Vec<Row>,
    /// What could not be replayed, a sentence each.
    not_known: Vec<String>,
}

/// What would have come of it under one registry.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Side {
    troubles: usize,
    /// Messages that ring, by receiver.
    pages: BTreeMap<String, usize>,
    /// Events, by the program that receives them.
    events: BTreeMap<String, usize>,
    /// How long a silence lasted until it was seen: the middle one, and the longest.
    seen_after_seconds: Option<f64>,
    seen_after_seconds_max: Option<f64>,
}

/// One trouble under both.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    watch: String,
    condition: String,
    /// The last beat before a silence.
    silent_since: Option<Timestamp>,
    now: Option<Seen>,
    draft: Option<Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Seen {
    at: Timestamp,
    until: Option<Timestamp>,
}

impl Call<'_> {
    pub(super) fn replay(&self, asked: &Replay) -> Ended {
        let length = match words::parse_length(&asked.since) {
            Ok(length) => length,
            Err(text) => return Ended::complained(Exit::WrongUse, format!("error: {text}")),
        };
        let Drafts { old, new, .. } = match self.drafts("replay") {
            Ok(drafts) => drafts,
            Err(ended) => return ended,
        };
        let config = self.everywhere.config.as_deref();
        let (history, sources) = match self.local.history(config, length) {
            Ok(known) => known,
            Err(text) => return Ended::complained(Exit::BadNews, format!("error: {text}")),
        };
        let under = |wanted: &Wanted| replay(&history, wanted, &sources);
        let (now, draft) = (under(&old), under(&new));
        let mut view = View::of(&history, &now, &draft);
        view.not_known = not_known(&history, length, &old, &new, &draft);
        if self.everywhere.json {
            return Ended::said(Exit::Well, json(&view));
        }
        Ended::said(Exit::Well, view.text(&old, self.terminal))
    }
}

impl View {
    fn of(history: &History, now: &Prediction, draft: &Prediction) -> Self {
        Self {
            since: history.since,
            until: history.until,
            now: Side::of(now),
            draft: Side::of(draft),
            troubles: rows(&now.troubles, &draft.troubles),
            not_known: Vec::new(),
        }
    }

    fn text(&self, old: &Wanted, terminal: Terminal) -> String {
        let clock = |at| words::clock(at, &old.desk.timezone, self.until);
        let mut lines = vec![
            format!(
                "{} from {} to {}, judged by both registries",
                old.desk.node,
                clock(self.since),
                clock(self.until)
            ),
            String::new(),
        ];
        lines.extend(self.sums().lines(terminal, 3));
        lines.push(String::new());
        let (alike, differ): (Vec<&Row>, Vec<&Row>) =
            self.troubles.iter().partition(|it| it.now.map(|it| it.at) == it.draft.map(|it| it.at));
        let mut table = Table::default();
        for row in differ.iter().take(LINES_MAX) {
            let since = row.silent_since.or(row.now.or(row.draft).map(|it| it.at));
            table.row(vec![
                (Mood::Plain, row.watch.clone()),
                (Mood::Plain, row.condition.clone()),
                (Mood::Plain, since.map(clock).unwrap_or_default()),
                (Mood::Plain, row.said(row.now, row.draft)),
                (Mood::Plain, terminal.fit(&format!("→ {}", row.said(row.draft, row.now)))),
            ]);
        }
        lines.extend(table.lines(terminal, 3));
        if LINES_MAX < differ.len() {
            lines.push(format!("and {} more: --json has them all", differ.len() - LINES_MAX));
        }
        let verb = if alike.len() == 1 { "is" } else { "are" };
        lines.push(format!("= {} {verb} seen alike by both", counted(alike.len(), "trouble")));
        lines.push(String::new());
        lines.extend(self.not_known.iter().map(|it| terminal.fit(it)));
        lines.join("\n")
    }

    fn sums(&self) -> Table {
        let mut table = Table::default();
        let plain = |cells: [String; 3]| cells.map(|it| (Mood::Plain, it)).to_vec();
        table.row(plain([String::new(), "now".to_owned(), "draft".to_owned()]));
        let (now, draft) = (&self.now, &self.draft);
        table.row(plain(["troubles".into(), now.troubles.to_string(), draft.troubles.to_string()]));
        for (what, now, draft) in
            [("pages", &now.pages, &draft.pages), ("events", &now.events, &draft.events)]
        {
            let mut receivers: Vec<&String> = now.keys().chain(draft.keys()).collect();
            receivers.sort();
            receivers.dedup();
            for receiver in receivers {
                let count = |of: &BTreeMap<String, usize>| {
                    of.get(receiver).copied().unwrap_or_default().to_string()
                };
                table.row(plain([format!("{what} to {receiver}"), count(now), count(draft)]));
            }
        }
        let length = |it: Option<f64>| {
            let length = it.and_then(|it| SignedDuration::try_from_secs_f64(it).ok());
            length.map_or_else(|| "-".to_owned(), words::age)
        };
        for (what, now, draft) in [
            ("silence seen after", now.seen_after_seconds, draft.seen_after_seconds),
            ("at the latest", now.seen_after_seconds_max, draft.seen_after_seconds_max),
        ] {
            table.row(plain([what.to_owned(), length(now), length(draft)]));
        }
        table
    }
}

impl Side {
    fn of(found: &Prediction) -> Self {
        let mut after: Vec<f64> = found
            .troubles
            .iter()
            .filter_map(|it| Some(it.at.duration_since(it.silent_since?).as_secs_f64()))
            .collect();
        after.sort_by(f64::total_cmp);
        let mut side = Self {
            troubles: found.troubles.len(),
            pages: BTreeMap::new(),
            events: BTreeMap::new(),
            seen_after_seconds: after.get(after.len() / 2).copied(),
            seen_after_seconds_max: after.last().copied(),
        };
        for page in &found.pages {
            let counts = if page.human { &mut side.pages } else { &mut side.events };
            *counts.entry(page.receiver.to_string()).or_default() += 1;
        }
        side
    }
}

impl Row {
    /// What one registry says of it, beside the other.
    fn said(&self, own: Option<Seen>, other: Option<Seen>) -> String {
        match (own, self.silent_since, other.and_then(|it| it.until)) {
            (Some(seen), Some(since), _) => {
                format!("after {}", words::age(seen.at.duration_since(since)))
            }
            (Some(_), None, _) => "seen".to_owned(),
            (None, Some(since), Some(until)) => {
                format!("not seen: back after {}", words::age(until.duration_since(since)))
            }
            (None, ..) => "not seen".to_owned(),
        }
    }
}

/// The troubles of both, those of one silence or of one moment beside each other.
fn rows(now: &[Trouble], draft: &[Trouble]) -> Vec<Row> {
    let seen = |it: &Trouble| Seen { at: it.at, until: it.until };
    let key = |it: &Trouble| (it.silent_since.unwrap_or(it.at), it.watch.clone(), it.condition);
    let mut rows: BTreeMap<(Timestamp, _, Condition), Row> = BTreeMap::new();
    for (trouble, of_draft) in
        now.iter().map(|it| (it, false)).chain(draft.iter().map(|it| (it, true)))
    {
        let row = rows.entry(key(trouble)).or_insert_with(|| Row {
            watch: trouble.watch.to_string(),
            condition: trouble.condition.to_string(),
            silent_since: trouble.silent_since,
            now: None,
            draft: None,
        });
        *(if of_draft { &mut row.draft } else { &mut row.now }) = Some(seen(trouble));
    }
    rows.into_values().collect()
}

/// What the store does not know, and what is not replayed.
fn not_known(
    history: &History,
    asked: SignedDuration,
    old: &Wanted,
    new: &Wanted,
    draft: &Prediction,
) -> Vec<String> {
    let mut said = Vec::new();
    let known = history.until.duration_since(history.since);
    if known < asked {
        said.push(format!("Not known: what came before; beats are kept for {}", words::age(known)));
    }
    for (source, length) in deaf_for(history) {
        let length = words::age(length);
        said.push(format!(
            "Not known: {length} in which {source} could not be heard, judged as such"
        ));
    }
    let mut say = |names: Vec<String>, what: &str| {
        if !names.is_empty() {
            said.push(format!("Not known: {what}: {}", list(&names)));
        }
    };
    say(draft.unknown.iter().map(ToString::to_string).collect(), "anything of these agents");
    let specs = specs(old, new);
    let named = |is_meant: &dyn Fn(&Spec, Option<&Spec>) -> bool| -> Vec<String> {
        let meant = specs.iter().filter(|(_, new, old)| is_meant(new, *old));
        meant.map(|(name, ..)| name.clone()).collect()
    };
    say(
        named(&|new, old| old.is_some_and(|old| new.timeout < old.patience())),
        "silences shorter than 1.5 intervals, which the timeout of these asks for",
    );
    say(
        named(&|new, old| {
            let kept = old.and_then(|it| it.stall_after).map(|it| it / STANDSTILL_PART);
            new.stall_after.is_some_and(|limit| kept.is_none_or(|kept| limit < kept))
        }),
        "progress in such detail as stall_after of these asks for",
    );
    say(named(&|new, _| new.loop_after.is_some()), "how often one step was told (loop_after)");
    say(
        named(&|new, old| {
            new.detector == detector::Kind::Adaptive
                && old.is_some_and(|it| it.detector != new.detector || it.timeout != new.timeout)
        }),
        "what the adaptive detector of these would have learnt; taken is what it knew then",
    );
    said.push(
        "Not replayed: acknowledgements (what was held then rings and repeats here), and receivers \
         that did not take a message"
            .to_owned(),
    );
    said
}

/// Every agent of the draft with what the draft promises of it, and what is promised now.
fn specs<'a>(old: &'a Wanted, new: &'a Wanted) -> Vec<(String, &'a Spec, Option<&'a Spec>)> {
    let index = old.index();
    let auto = old.auto_register.as_ref();
    let declared = new.watches.iter().map(|it| {
        let (name, watch::Spec::Agent(spec)) = (it.subject.watch.to_string(), &it.spec);
        let before = index.declared(&it.subject.watch.name).map(|it| {
            let watch::Spec::Agent(spec) = &it.spec;
            &**spec
        });
        (name, &**spec, before.or(auto.map(|it| &*it.spec)))
    });
    let patterns = new.patterns.iter().map(|it| {
        let before = old.patterns.iter().find(|old| old.id == it.id).or(auto);
        (it.id.to_string(), &*it.spec, before.map(|it| &*it.spec))
    });
    let others = new.auto_register.iter().map(|it| {
        ("those that registered themselves".to_owned(), &*it.spec, auto.map(|it| &*it.spec))
    });
    declared.chain(patterns).chain(others).collect()
}

fn list(names: &[String]) -> String {
    let shown = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
