//! Target: from what a person typed to the watch or the incident that is meant.

use super::{Controller, Refusal, agents::Agent};
use crate::{
    actors::tower::{Part, Seen},
    domain::{
        id::{IncidentId, Kind, Name, WatchId},
        incident::Incident,
        silence::Target,
        text::Text,
    },
    ports::store::IncidentFilter,
};

/// Open incidents that one answer lists at most.
pub const OPEN_MAX: usize = 10_000;

/// A typed name is repeated in answers cut to so many characters.
const TYPED_MAX: usize = 60;

/// Below this likeness (Jaro-Winkler, 0 to 1) a name is not offered as the one that was meant.
const LIKE_ENOUGH: f64 = 0.75;

/// One watch that was found.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Agent(Box<Agent>),
    Part(Part),
}

impl Found {
    pub(super) fn watch(&self) -> &WatchId {
        match self {
            Self::Agent(seen) => &seen.subject.watch,
            Self::Part(part) => &part.watch,
        }
    }
}

/// What was typed where both incidents and watches may be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// `#412`
    Incident(IncidentId),
    /// `412`: an incident, or an agent of that name.
    Number(IncidentId),
    Name,
}

pub(super) fn typed(text: &str) -> Typed {
    let digits = text.strip_prefix('#').unwrap_or(text);
    let number = digits.bytes().all(|it| it.is_ascii_digit()).then(|| digits.parse()).transpose();
    match number {
        Ok(Some(id)) if digits.len() < text.len() => Typed::Incident(id),
        Ok(Some(id)) => Typed::Number(id),
        Ok(None) | Err(_) => Typed::Name,
    }
}

/// The known name that is most like `typed`, if one is like it at all.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    known
        .map(|name| (strsim::jaro_winkler(&typed, &name.to_lowercase()), name))
        .filter(|(likeness, _)| LIKE_ENOUGH <= *likeness)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, name)| name)
}

/// `no watch is named …`, with the name that was probably meant.
pub fn unknown_watch(typed: &str, known: &[WatchId]) -> Refusal {
    let bare = typed.rsplit_once('/').map_or(typed, |(_, name)| name);
    let names = known.iter().map(|it| &*it.name);
    let meant = nearest(bare, names).and_then(|name| known.iter().find(|it| *it.name == *name));
    let typed = Text::clean(typed, TYPED_MAX);
    match meant {
        Some(meant) => {
            Refusal::unknown(format!("no watch is named \"{typed}\"; did you mean {meant}?"))
        }
        None => Refusal::unknown(format!("no watch is named \"{typed}\"")).with_hint("agents"),
    }
}

/// Begins what names a group, in the place of a kind.
const GROUP: &str = "group/";

/// `agent/worker-*` from `worker-*`; `*` alone is everything.
///
/// # Errors
/// When the kind is not known or the name holds what no name holds.
pub fn pattern(typed: &str) -> Result<String, Refusal> {
    if typed == "*" {
        return Ok(typed.to_owned());
    }
    let (kind, name) = typed.split_once('/').unwrap_or((Kind::Agent.word(), typed));
    // A pattern is a name with stars in it: with each star put out of the way it must pass as one.
    if let Err(bad) = format!("{kind}/x{}", name.replace('*', "")).parse::<WatchId>()
        && kind != "*"
    {
        let typed = Text::clean(typed, TYPED_MAX);
        return Err(Refusal::wrong_use(format!("the pattern \"{typed}\": {bad}")));
    }
    Ok(format!("{kind}/{name}"))
}

impl Controller {
    pub(super) fn find(&self, typed: &str) -> Result<Found, Refusal> {
        // An alias may be written with its kind too.
        let alias = || typed.strip_prefix("agent/").and_then(|it| self.tower.watch(it));
        if let Some(seen) = self.tower.watch(typed).or_else(alias) {
            let Seen::Agent(seen) = seen;
            return Ok(Found::Agent(Box::new(seen)));
        }
        let watch: WatchId = typed.parse().map_err(|bad| {
            let typed = Text::clean(typed, TYPED_MAX);
            Refusal::wrong_use(format!("\"{typed}\": {bad}"))
        })?;
        let parts = self.tower.parts();
        if let Some(part) = parts.iter().find(|it| it.watch == watch) {
            return Ok(Found::Part(part.clone()));
        }
        let mut known: Vec<WatchId> =
            self.tower.watches().iter().map(|it| it.subject().watch.clone()).collect();
        known.extend(parts.into_iter().map(|it| it.watch));
        Err(unknown_watch(typed, &known))
    }

    /// An agent: what can be paused, forgotten, tried again.
    pub(super) fn find_agent(&self, typed: &str) -> Result<Agent, Refusal> {
        match self.find(typed)? {
            Found::Agent(seen) => Ok(*seen),
            Found::Part(part) => Err(Refusal::wrong_use(format!(
                "{} is a part of atalaya; only agents can be meant here",
                part.watch
            ))),
        }
    }

    /// A group that some entry of the registry names.
    pub(super) fn group(&self, typed: &str) -> Result<Name, Refusal> {
        let wanted = self.tower.wanted();
        let groups = wanted.groups();
        if let Some(group) = groups.iter().find(|it| it.as_str() == typed) {
            return Ok((*group).clone());
        }
        let meant = nearest(typed, groups.iter().map(|it| it.as_str()));
        let meant = meant.map(|it| format!("; did you mean {it}?")).unwrap_or_default();
        let typed = Text::clean(typed, TYPED_MAX);
        Err(Refusal::unknown(format!("no agent is in group \"{typed}\"{meant}"))
            .with_hint("agents"))
    }

    /// The group or the pattern that was typed, if it is one.
    pub(super) fn many(&self, typed: &str) -> Result<Option<Target>, Refusal> {
        if let Some(group) = typed.strip_prefix(GROUP) {
            return Ok(Some(Target::Group(self.group(group)?)));
        }
        typed.contains('*').then(|| pattern(typed).map(Target::Pattern)).transpose()
    }

    /// The agents that names, patterns and groups mean, each once, in the order typed.
    pub(super) fn find_agents(&self, typed: &[String]) -> Result<Vec<WatchId>, Refusal> {
        let mut meant: Vec<WatchId> = Vec::new();
        for typed in typed {
            let found: Vec<WatchId> = if let Some(target) = self.many(typed)? {
                let all = self.tower.watches().into_iter().map(|it| it.subject().clone());
                all.filter(|it| target.matches(it)).map(|it| it.watch.clone()).collect()
            } else {
                vec![self.find_agent(typed)?.subject.watch.clone()]
            };
            if found.is_empty() {
                let typed = Text::clean(typed, TYPED_MAX);
                return Err(
                    Refusal::unknown(format!("no agent matches \"{typed}\"")).with_hint("agents")
                );
            }
            for watch in found {
                if !meant.contains(&watch) {
                    meant.push(watch);
                }
            }
        }
        Ok(meant)
    }

    pub(super) async fn incident(&self, id: IncidentId) -> Result<Option<Incident>, Refusal> {
        let filter = IncidentFilter { all: true, watch: None, id: Some(id), limit: 1 };
        Ok(self.tower.store().incidents(filter).await?.pop())
    }

    pub(super) async fn open_incidents(
        &self,
        watch: Option<WatchId>,
    ) -> Result<Vec<Incident>, Refusal> {
        let filter = IncidentFilter { all: false, watch, id: None, limit: OPEN_MAX };
        Ok(self.tower.store().incidents(filter).await?)
    }

    /// The incidents that numbers and watches mean: a watch means all that are open of it.
    pub(super) async fn find_incidents(
        &self,
        targets: &[String],
    ) -> Result<Vec<Incident>, Refusal> {
        let mut meant: Vec<Incident> = Vec::new();
        for target in targets {
            for incident in self.find_some(target).await? {
                if meant.iter().all(|it| it.id != incident.id) {
                    meant.push(incident);
                }
            }
        }
        Ok(meant)
    }

    async fn find_some(&self, target: &str) -> Result<Vec<Incident>, Refusal> {
        match typed(target) {
            Typed::Incident(id) => match self.incident(id).await? {
                Some(incident) => return Ok(vec![incident]),
                None => return Err(no_incident(id)),
            },
            Typed::Number(id) => match self.incident(id).await? {
                Some(incident) => return Ok(vec![incident]),
                None if self.tower.watch(target).is_none() => return Err(no_incident(id)),
                None => {}
            },
            Typed::Name => {}
        }
        let watch = self.find(target)?.watch().clone();
        let open = self.open_incidents(Some(watch.clone())).await?;
        if open.is_empty() {
            return Err(Refusal::refused(format!("{watch} has no open incident")));
        }
        Ok(open)
    }
}

pub(super) fn no_incident(id: IncidentId) -> Refusal {
    Refusal::unknown(format!("there is no incident {id}")).with_hint("incidents --all")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Class;

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let known = ["mary", "lisa", "worker-1"];
        for (typed, meant) in [("mray", Some("mary")), ("Lisa", Some("lisa")), ("zzz", None)] {
            assert_eq!(nearest(typed, known.into_iter()), meant);
        }
        let known = [WatchId::new(Kind::Agent, "mary"), WatchId::new(Kind::Source, "redis")];
        let refusal = unknown_watch("source/rediss", &known);
        assert_eq!(refusal.text, "no watch is named \"source/rediss\"; did you mean source/redis?");
        assert_eq!(refusal.class, Class::Unknown);
        assert_eq!(unknown_watch("zzz\u{7}", &known).text, "no watch is named \"zzz\"");
        assert_eq!(unknown_watch("zzz", &known).hint.as_deref(), Some("agents"));
    }

    #[test]
    fn numbers_names_and_patterns_are_told_apart() {
        assert_eq!(typed("#412"), Typed::Incident(IncidentId(412)));
        assert_eq!(typed("412"), Typed::Number(IncidentId(412)));
        for name in ["mary", "agent/mary", "#", "", "#x", "99999999999999999999"] {
            assert_eq!(typed(name), Typed::Name, "{name}");
        }
        assert_eq!(pattern("*").expect("everything"), "*");
        assert_eq!(pattern("worker-*").expect("agents"), "agent/worker-*");
        assert_eq!(pattern("*/mary*").expect("any kind"), "*/mary*");
        assert_eq!(pattern("source/*").expect("sources"), "source/*");
        for bad in ["ghost/*", "agent/<b>*", "agent/a b*"] {
            assert_eq!(pattern(bad).expect_err(bad).class, Class::WrongUse);
        }
    }
}
