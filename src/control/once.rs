//! Once: what a run that ends can say. No verb: nobody asks a running daemon for it. A verdict is said where it is
//! known; what is not known is said as that, and is not well.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Controller, Refusal,
    agents::worst,
    incidents::IncidentView,
    status::{PartView, worst_first},
    words,
};
use crate::{
    actors::tower::{Part, Seen},
    domain::{
        id::IncidentId,
        incident::{Incident, Severity},
        watch::{Condition, Unknown, Verdict},
    },
    ports::store::IncidentFilter,
};

/// The verdict of a watch of which nothing can be said.
pub const UNKNOWN: &str = "unknown";
/// Incidents that are looked through for those that ended in this run.
const ENDED_MAX: usize = 10_000;

/// One watch, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OnceWatch {
    /// `kind/name`.
    pub watch: String,
    /// Name for people.
    pub name: String,
    /// `unknown` where nobody can say.
    pub verdict: String,
    /// It is in trouble, or unknown.
    pub amiss: bool,
    /// Since when it is so; none where nobody can say.
    pub since: Option<Timestamp>,
    pub last_beat: Option<Timestamp>,
    pub task: Option<String>,
    /// Why it is unknown; empty where it is known.
    pub why: String,
    /// Its worst open incident.
    pub incident: Option<u64>,
}

/// What a run saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OnceView {
    pub node: String,
    pub version: String,
    pub began_at: Timestamp,
    pub ended_at: Timestamp,
    /// Nothing is down, no critical incident is open, and of nothing it is unknown.
    pub well: bool,
    /// Why not, a few words each, worst first.
    pub unwell: Vec<String>,
    /// Worst first.
    pub watches: Vec<OnceWatch>,
    /// Open incidents, worst first.
    pub troubles: Vec<IncidentView>,
    /// Incidents that ended in this run.
    pub ended: Vec<IncidentView>,
    /// Parts of atalaya that are in trouble.
    pub parts: Vec<PartView>,
    /// Receivers were sent what they were owed.
    pub notified: bool,
    /// Messages that nobody has taken yet; a later run or the daemon sends them.
    pub owed: usize,
}

impl Controller {
    /// Whether waiting longer adds nothing to what a run that began at `began` can say.
    pub fn is_settled(&self, began: Timestamp) -> bool {
        let watches = self.tower.watches();
        // Where whoever pings is watched, somebody may yet.
        let nobody_yet = watches.is_empty() && self.tower.takes_in();
        if nobody_yet || self.tower.is_any_source_blind() {
            return false;
        }
        watches.iter().all(|it| self.tower.knowledge(it, began).settled)
    }

    /// What a run that began at `began` and ends now can say.
    pub async fn once(&self, began: Timestamp, notified: bool) -> OnceView {
        let health = self.tower.health();
        let (mut open, ended, unread) = match self.open_and_ended_since(began).await {
            Ok((open, ended)) => (open, ended, None),
            Err(refusal) => (Vec::new(), Vec::new(), Some(refusal.text)),
        };
        worst_first(&mut open);
        let watches = self.tower.watches();
        let numbers = worst(&open);
        let mut rows: Vec<Row> = watches
            .iter()
            .map(|it| self.row(it, began, numbers.get(&it.subject().watch).copied()))
            .collect();
        rows.sort_by(|a, b| (weight(a.said), &a.view.watch).cmp(&(weight(b.said), &b.view.watch)));
        let parts: Vec<Part> =
            self.tower.parts().into_iter().filter(|it| it.trouble.is_some()).collect();
        let owed = health.owed.iter().map(|it| it.1).sum();
        let mut unwell = bad_watches(&rows);
        unwell.extend(bad_parts(&parts));
        unwell.extend(unread.map(|why| format!("incidents are not known: {why}")));
        if notified && 0 < owed {
            unwell.push(format!("{} could not be sent", words::counted(owed, "message")));
        }
        OnceView {
            node: health.node.as_str().to_owned(),
            version: health.version.to_owned(),
            began_at: began,
            ended_at: self.tower.now(),
            well: unwell.is_empty(),
            unwell,
            watches: rows.into_iter().map(|it| it.view).collect(),
            troubles: open.iter().map(IncidentView::of).collect(),
            ended: ended.iter().map(IncidentView::of).collect(),
            parts: parts.iter().map(|it| PartView::of(it, None)).collect(),
            notified,
            owed,
        }
    }

    /// An open incident may be older than any that are looked through for an end.
    async fn open_and_ended_since(
        &self,
        began: Timestamp,
    ) -> Result<(Vec<Incident>, Vec<Incident>), Refusal> {
        let open = self.open_incidents(None).await?;
        let newest = IncidentFilter { all: true, watch: None, id: None, limit: ENDED_MAX };
        let mut ended = self.tower.store().incidents(newest).await?;
        ended.retain(|it| it.resolved.as_ref().is_some_and(|it| began <= it.0));
        Ok((open, ended))
    }

    fn row(&self, seen: &Seen, began: Timestamp, incident: Option<IncidentId>) -> Row {
        let subject = seen.subject();
        let said = self.tower.knowledge(seen, began).said;
        let condition = said.ok().and_then(Verdict::condition);
        let weighs = |it| it == Condition::Down || subject.severity_of(it) == Severity::Critical;
        let bad = said.is_err() || condition.is_some_and(weighs);
        let (since, last_beat, task) = match seen {
            Seen::Agent(it) => (it.state.said_since, it.state.last, it.state.task.as_ref()),
        };
        let view = OnceWatch {
            watch: subject.watch.to_string(),
            name: subject.name.as_str().to_owned(),
            verdict: said.map_or(UNKNOWN, Verdict::word).to_owned(),
            amiss: said.is_err() || condition.is_some(),
            since: said.is_ok().then_some(since),
            last_beat,
            task: task.map(|it| it.as_str().to_owned()),
            why: said.err().map(why).unwrap_or_default().to_owned(),
            incident: incident.map(|it| it.0),
        };
        Row { said, bad, view }
    }
}

/// One watch; `bad` keeps the run from being well.
struct Row {
    said: Said,
    bad: bool,
    view: OnceWatch,
}

type Said = Result<Verdict, Unknown>;

fn why(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::NeverHeard => "never heard yet",
        Unknown::Deaf => "the sources by which it is heard do not work",
        Unknown::NobodyListened => "silent too long, and nobody listened all that time",
    }
}

/// In which order they are listed: what is wrong, worst first; what is unknown; what is well.
fn weight(said: Said) -> (u8, u8) {
    match said.map(Verdict::condition) {
        Ok(Some(condition)) => (0, condition.rank()),
        Err(_) => (1, 0),
        Ok(None) => (2, 0),
    }
}

/// How many are down, in trouble that is critical, or unknown.
fn bad_watches(rows: &[Row]) -> Vec<String> {
    if rows.is_empty() {
        return vec!["nothing is watched, and nobody beat".to_owned()];
    }
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for row in rows.iter().filter(|it| it.bad) {
        let word = row.said.map_or(UNKNOWN, Verdict::word);
        match counts.iter_mut().find(|it| it.0 == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    counts
        .into_iter()
        .map(|(word, count)| {
            let is = if count == 1 { "is" } else { "are" };
            format!("{} {is} {word}", words::counted(count, "watch"))
        })
        .collect()
}

fn bad_parts(parts: &[Part]) -> Vec<String> {
    parts
        .iter()
        .filter_map(|part| {
            let condition = part.trouble.filter(|it| it.severity() == Severity::Critical)?;
            Some(format!("{} is {}", part.watch, condition.word()))
        })
        .collect()
}
