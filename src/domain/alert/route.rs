//! Stage: who is to be told (docs/BEHAVIOUR.md 9, "Who is told"): the watch's own `notify`, else
//! the first route that matches, else every human receiver what is critical.

use crate::domain::{
    desk::Settings,
    id::{Origin, ReceiverId},
    incident::{Severity, Step},
    silence::Target,
    watch::{Condition, Subject},
};

/// `[[route]]` of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Empty: critical alone.
    pub severity: Vec<Severity>,
    /// None: every watch.
    pub matching: Option<Target>,
    pub to: Vec<ReceiverId>,
    pub then: Vec<Step>,
    pub origin: Origin,
}

/// A receiver as the desk sees it: whom it is, not how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    pub id: ReceiverId,
    /// A chat is human and gets groups; a webhook, channel or log is a machine and gets every incident singly.
    pub human: bool,
    pub origin: Origin,
}

/// Who is told, and the rule that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    pub to: Vec<(ReceiverId, Origin)>,
    pub then: Vec<Step>,
    pub rule: &'static str,
    /// Where the rule stands that told nobody.
    pub origin: Origin,
}

/// Info goes to the log alone; a warning reaches who is named for it by a route, and the machines of
/// the watch's own `notify`; the log has the rest. What is asked of people reaches them as if it were critical.
pub fn route(
    settings: &Settings,
    subject: &Subject,
    condition: Condition,
    severity: Severity,
) -> Routed {
    let calls = severity == Severity::Critical || condition.is_asked_of_people();
    if severity == Severity::Info {
        return nobody("info: goes to the log", "severity info");
    }
    if !subject.notify.is_empty() {
        let named = settings.receivers.iter().filter(|it| subject.notify.contains(&it.id));
        let to: Vec<_> = named
            .filter(|it| calls || !it.human)
            .map(|it| (it.id.clone(), subject.origin.clone()))
            .collect();
        let rule = if to.is_empty() {
            "warning: goes to the log, no route names it"
        } else {
            "its own notify"
        };
        return Routed { to, then: Vec::new(), rule, origin: subject.origin.clone() };
    }
    if let Some(route) = settings.routes.iter().find(|it| it.matches(subject, severity, calls)) {
        return Routed {
            to: route.to.iter().map(|it| (it.clone(), route.origin.clone())).collect(),
            then: route.then.clone(),
            rule: "first route that matches",
            origin: route.origin.clone(),
        };
    }
    if calls {
        return everyone(settings, subject);
    }
    nobody("warning: goes to the log, no route names it", "severity warning")
}

impl Route {
    /// `calls`: it reaches who is told of what is critical, whatever it weighs.
    fn matches(&self, subject: &Subject, severity: Severity, calls: bool) -> bool {
        let weighs = match self.severity.as_slice() {
            [] => calls,
            listed => listed.contains(&severity) || (calls && listed.contains(&Severity::Critical)),
        };
        weighs && self.matching.as_ref().is_none_or(|it| it.matches(subject))
    }
}

/// Every human receiver, else every receiver; never only the one that the trouble is about.
fn everyone(settings: &Settings, subject: &Subject) -> Routed {
    let others = || settings.receivers.iter().filter(|it| it.id.watch() != subject.watch);
    let human = others().any(|it| it.human);
    let to: Vec<_> = others()
        .filter(|it| it.human || !human)
        .map(|it| (it.id.clone(), it.origin.clone()))
        .collect();
    let rule = match (to.is_empty(), human) {
        (true, _) => "no receiver is set up",
        (false, true) => "no route matches: every human receiver",
        (false, false) => "no route matches, no human receiver: every receiver",
    };
    Routed { to, then: Vec::new(), rule, origin: Origin::Default("routes") }
}

fn nobody(rule: &'static str, origin: &'static str) -> Routed {
    Routed { to: Vec::new(), then: Vec::new(), rule, origin: Origin::Default(origin) }
}
