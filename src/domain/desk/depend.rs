//! Depend: trouble of a parent explains that of its children, so that people hear of the one and not of
//! the others (docs/BEHAVIOUR.md 9, "Dependencies"). Each child keeps its incident, with what holds it.

use std::{cmp::Reverse, collections::HashSet};

use jiff::{SignedDuration, Timestamp};

use super::{Desk, batch::Batch, later, tell::Muted};
use crate::domain::{
    alert::wording::written,
    decision::Stage,
    id::{IncidentId, WatchId},
    incident::{Ending, Hold, Incident, Severity},
    watch::Flip,
};

/// So long a child waits for the verdict of a parent that is in doubt.
const VERDICT_WITHIN: SignedDuration = SignedDuration::from_secs(30);
/// So long the children of a parent that is back may take to come back too.
const RECOVERY_WITHIN: SignedDuration = SignedDuration::from_secs(60);

impl Desk {
    /// Parents of what fails in these flips of whom a worse verdict may be on its way; the desk knows verdicts
    /// alone, so it asks `is_doubtful`, once of each.
    pub fn doubtful_parents(
        &self,
        flips: &[Flip],
        is_doubtful: impl Fn(&WatchId) -> bool,
    ) -> HashSet<WatchId> {
        let failing = flips.iter().filter(|it| it.to.condition().is_some());
        let parents: HashSet<&WatchId> = failing
            .filter_map(|it| self.settings.dependencies.of(&it.subject.watch))
            .flat_map(|it| &it.on)
            .collect();
        parents.into_iter().filter(|it| is_doubtful(it)).cloned().collect()
    }

    /// The parent that explains an incident: one in trouble before one that was, or may be.
    pub(super) fn parent_mutes(&self, incident: &Incident, batch: &Batch) -> Option<Muted> {
        let parents = self.settings.dependencies.of(&incident.watch)?;
        let explained = parents.on.iter().filter_map(|it| self.explains(it, incident, batch));
        let longest = |it: &(Hold, String)| it.0.until.unwrap_or(Timestamp::MAX);
        let (hold, rule) = explained.min_by_key(|it| Reverse(longest(it)))?;
        Some(Muted {
            stage: Stage::Depend,
            rule,
            origin: parents.origin.clone(),
            silence: None,
            until: None,
            hold: Some(hold),
        })
    }

    fn explains(&self, parent: &WatchId, it: &Incident, batch: &Batch) -> Option<(Hold, String)> {
        let by = || parent.clone();
        let troubles = || self.books.of_watch(parent).filter(|of| outweighs(of, it.severity));
        if let Some(trouble) = troubles().find(|it| it.resolved.is_none()) {
            let (id, condition) = (trouble.id, trouble.condition);
            let rule = format!("depends on {parent}, which is {condition} ({id})");
            return Some((Hold { by: by(), until: None }, rule));
        }
        let back_at = troubles().filter_map(came_back).max();
        let until = back_at.map(|at| later(at, RECOVERY_WITHIN)).filter(|it| batch.now < *it);
        if until.is_some() {
            let within = written(RECOVERY_WITHIN);
            let rule = format!("depends on {parent}, which is back: has {within} to come back too");
            return Some((Hold { by: by(), until }, rule));
        }
        let waits = it.held.as_ref().filter(|it| it.by == *parent).and_then(|it| it.until);
        let until = waits.filter(|it| batch.now < *it);
        let until = until.or_else(|| {
            batch.doubtful.contains(parent).then(|| later(batch.now, VERDICT_WITHIN))
        })?;
        let within = written(VERDICT_WITHIN);
        let rule = format!("depends on {parent}, which is late: waits {within} for its verdict");
        Some((Hold { by: by(), until: Some(until) }, rule))
    }

    /// What explains an incident from now on. The message about that shows it.
    pub(super) fn set_hold(&mut self, id: IncidentId, hold: Option<Hold>, batch: &mut Batch) {
        let by = hold.as_ref().map(|it| it.by.clone());
        let before = self.books.set_hold(id, hold).map(|it| it.by);
        if before == by {
            return;
        }
        batch.incidents.insert(id);
        // What is held in its turn is counted further up.
        let mut above: Vec<WatchId> = before.into_iter().chain(by).collect();
        let mut known = HashSet::new();
        while let Some(watch) = above.pop() {
            let open = self.books.of_watch(&watch).filter(|it| it.resolved.is_none());
            for trouble in open.filter(|it| it.condition.explains()) {
                for group in self.books.groups_of(trouble.id) {
                    batch.edit(group.id);
                }
                above.extend(
                    trouble.held.iter().map(|it| it.by.clone()).filter(|it| !known.contains(it)),
                );
            }
            known.insert(watch);
        }
    }

    /// After a parent's trouble began or changed its weight: it explains what is open below it, and no
    /// longer what outweighs it.
    pub(super) fn hold_children(&mut self, id: IncidentId, batch: &mut Batch) {
        let Some(parent) = self.books.incident(id).filter(|it| it.condition.explains()) else {
            return;
        };
        let (watch, severity) = (parent.watch.clone(), parent.severity);
        let held = self.books.held_by(&watch).filter(|it| severity < it.severity);
        for child in held.map(|it| it.id).collect::<Vec<_>>() {
            self.decide_hold_at(child, batch.now, batch);
        }
        for child in self.open_below(&watch) {
            let explained = Some(Hold { by: watch.clone(), until: None });
            if self.muted(child, batch).is_some_and(|it| it.hold == explained) {
                self.hold(child, batch);
                for group in self.books.groups_of(child) {
                    batch.edit(group.id);
                }
            }
        }
    }

    /// What is open below a parent, and not held for good already.
    fn open_below(&self, parent: &WatchId) -> Vec<IncidentId> {
        let all = &self.settings.dependencies;
        let declared = all.children(parent).flat_map(|it| self.books.of_watch(it));
        let others = self.books.incidents().filter(|_| all.has_children_by_pattern(parent));
        let others = others.filter(|it| all.of(&it.watch).is_some_and(|it| it.on.contains(parent)));
        let open = declared.chain(others).filter(|it| {
            let lasts = it.held.as_ref().is_some_and(|it| it.until.is_none());
            it.resolved.is_none() && !lasts
        });
        open.map(|it| it.id).collect()
    }

    /// A parent's trouble is over: its children have a while to come back too. Of one that is no longer
    /// watched nothing more can be hoped.
    pub(super) fn free_children(&mut self, id: IncidentId, batch: &mut Batch) {
        let Some(parent) = self.books.incident(id).filter(|it| it.condition.explains()) else {
            return;
        };
        let at = match &parent.resolved {
            Some((_, Ending::Became(worse))) if worse.explains() => return,
            _ => came_back(parent).map_or(batch.now, |it| later(it, RECOVERY_WITHIN)),
        };
        let held = self.books.held_by(&parent.watch).map(|it| it.id);
        for child in held.collect::<Vec<_>>() {
            self.decide_hold_at(child, at, batch);
        }
    }

    fn decide_hold_at(&mut self, id: IncidentId, at: Timestamp, batch: &mut Batch) {
        batch.incidents.insert(id);
        if let Some(incident) = self.books.incident_mut(id)
            && let Some(hold) = &mut incident.held
        {
            hold.until = Some(at);
        }
    }

    /// Parents may have come, gone or changed: what one held is decided again at the next tick.
    pub(super) fn decide_holds_anew(&mut self) {
        self.decide_again(|_, _| true);
    }

    /// What is held by a trouble that the book does not know, since its row was set aside.
    pub(super) fn free_orphans(&mut self) {
        self.decide_again(|desk, hold| {
            let mut known = desk.books.of_watch(&hold.by);
            hold.until.is_none()
                && !known.any(|it| it.resolved.is_none() && it.condition.explains())
        });
    }

    fn decide_again(&mut self, which: impl Fn(&Self, &Hold) -> bool) {
        let held =
            self.books.incidents().filter(|it| it.held.as_ref().is_some_and(|it| which(self, it)));
        for id in held.map(|it| it.id).collect::<Vec<_>>() {
            if let Some(incident) = self.books.incident_mut(id)
                && let Some(hold) = &mut incident.held
            {
                hold.until = Some(Timestamp::MIN);
            }
        }
    }

    /// All that these members explain, and what that explains in its turn.
    pub(super) fn held_by(&self, members: &[&Incident]) -> Vec<&Incident> {
        let explains = members.iter().filter(|it| it.condition.explains());
        let mut next: Vec<&WatchId> = explains.map(|it| &it.watch).collect();
        let (mut known, mut held) = (HashSet::new(), Vec::new());
        while let Some(watch) = next.pop() {
            if known.insert(watch) {
                let below: Vec<&Incident> = self.books.held_by(watch).collect();
                next.extend(below.iter().map(|it| &it.watch));
                held.extend(below);
            }
        }
        held.sort_by_key(|it| it.id);
        held
    }
}

/// Whether the trouble of a parent explains one of this severity.
fn outweighs(parent: &Incident, severity: Severity) -> bool {
    parent.condition.explains() && severity <= parent.severity
}

/// When a parent's trouble ended well.
fn came_back(parent: &Incident) -> Option<Timestamp> {
    match parent.resolved.as_ref()? {
        (_, Ending::Became(_) | Ending::Paused | Ending::NoLongerWatched) => None,
        (at, Ending::Recovered | Ending::SettingsChanged | Ending::ByHand { .. }) => Some(*at),
    }
}

#[cfg(test)]
pub(super) mod tests {
    //! Stories of parents and children, told as those of the desk: `late db` puts a parent in doubt.

    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        dependency::{Dependencies, Parents},
        desk::{
            Settings,
            tests::{Story, check, file, said, settings, with_hook},
        },
        write::Write,
    };

    /// `mary>db,net` says that mary depends on db and on net.
    pub(in crate::domain::desk) fn leaning(on: &str) -> impl FnOnce(&mut Settings) {
        let mut all = Dependencies::default();
        for (entry, line) in on.split_whitespace().zip(60..) {
            let (child, parents) = entry.split_once('>').unwrap();
            let parents = parents.split(',').map(|it| it.parse().unwrap()).collect();
            let parents = Parents { on: parents, origin: file(line) };
            if child.contains('*') {
                all.add_pattern(&child.into(), parents);
            } else {
                all.add(&child.parse().unwrap(), parents);
            }
        }
        |it| it.dependencies = all
    }

    /// The newest message to a person, line by line.
    fn lines(story: &Story) -> String {
        let rows = &story.model.deliveries;
        let newest = rows.iter().rev().find_map(|it| it.body.message());
        let line = |spans: &Vec<_>| {
            let headline = spans.clone();
            let message =
                newest.cloned().map(|it| crate::domain::delivery::Message { headline, ..it });
            message.map(|it| crate::domain::alert::wording::first_line(&it)).unwrap_or_default()
        };
        newest
            .map(|it| it.lines.iter().map(line).collect::<Vec<_>>().join(" / "))
            .unwrap_or_default()
    }

    #[test]
    fn what_falls_below_a_parent_that_is_down_is_held_and_counted_in_its_message() {
        let mut story = check(
            settings(|it| {
                with_hook(it);
                leaning("mary>db lisa>db")(it);
            }),
            &[
                ("0 down db", "hook opened#1; phone! Db is down: silent since 03:10:30"),
                ("10 down mary", "phone~ Db is down: silent since 03:10:30"),
                ("20 failed lisa", "phone~ Db is down: silent since 03:10:30"),
            ],
        );
        let told = lines(&story);
        assert!(told.contains("It holds 2 others: Mary, Lisa"), "{told}");
        let held = "held | depends on agent/db, which is down (#1) | registry.toml:60";
        assert!(story.why("mary").contains(&held.to_owned()), "{:#?}", story.why("mary"));
        for (step, owes) in [
            // Nobody was told of it: nobody hears of its end, but the parent's message counts one less.
            ("30 up mary", "phone~ Db is down: silent since 03:10:30"),
            ("14400 tick", "hook repeated#1; phone! Db is down: silent since 03:10:30"),
            ("14500 up db", "hook resolved#1; phone~ Db is back: down 4 h 1 min, 03:12 to 07:13"),
            ("14510 up lisa", ""),
            ("14560 tick", ""),
        ] {
            let rows: Vec<_> = story.step(step).iter().map(said).collect();
            assert_eq!(rows.join("; "), owes, "{step}");
        }
        assert_eq!(story.open(), 0);
    }

    #[test]
    fn a_parent_that_falls_ten_seconds_after_its_child_holds_it_from_then_on() {
        let mut story = check(
            settings(leaning("mary>db")),
            &[
                // Its silence is not yet a verdict: the child waits for one.
                ("0 late db", ""),
                ("0 down mary", ""),
                ("10 down db", "phone! Db is down: silent since 03:10:40"),
                ("30 tick", ""),
                ("3600 tick", ""),
                ("3700 up mary", "phone~ Db is down: silent since 03:10:40"),
            ],
        );
        let waits = "held | depends on agent/db, which is late: waits 30s for its verdict | registry.toml:60";
        assert!(story.why("mary").contains(&waits.to_owned()), "{:#?}", story.why("mary"));
        story = check(
            settings(leaning("mary>db")),
            &[
                // A child that was told already is quiet from then on: no repeat.
                ("0 down mary", "phone! Mary is down: silent since 03:10:30"),
                ("10 down db", "phone~ 2 agents are down since 03:12 (Mary first)"),
                ("14410 tick", "phone! 2 agents are down since 03:12 (Mary first)"),
            ],
        );
        assert!(story.why("mary").iter().any(|it| it.starts_with("held | depends on agent/db")));
    }

    #[test]
    fn a_child_whose_parent_turns_out_well_waits_thirty_seconds_and_rings() {
        let story = check(
            settings(leaning("mary>db")),
            &[
                ("0 late db", ""),
                ("0 down mary", ""),
                ("29 tick", ""),
                ("30 tick", "phone! Mary is down: silent since 03:10:30"),
                ("90 up mary", "phone~ Mary is back: down 1 min 30 s, 03:12 to 03:13"),
            ],
        );
        assert!(lines(&story).is_empty(), "{}", lines(&story));
        let rule = "told | agent/db no longer explains it: rings | default: routes";
        let why = story.why("mary");
        assert!(
            why.iter().any(|it| it.starts_with("told | agent/db no longer")),
            "{rule}: {why:#?}"
        );
    }

    #[test]
    fn a_parent_that_recovers_while_children_are_down_gives_them_a_minute() {
        let story = check(
            settings(leaning("a>db b>db c>db")),
            &[
                ("0 down db", "phone! Db is down: silent since 03:10:30"),
                ("1 down a b", "phone~ Db is down: silent since 03:10:30"),
                ("100 up db", "phone~ Db is back: down 1 min 40 s, 03:12 to 03:13"),
                ("110 up a", ""),
                // In that minute another falls: the parent's fall explains it still.
                ("120 down c", ""),
                ("159 tick", ""),
                ("160 tick", "phone! 2 agents are down since 03:12 (B first)"),
                ("170 up b c", "phone~ 2 agents are back: down 03:12 to 03:14"),
            ],
        );
        let back =
            story.model.deliveries.iter().find(|it| said(it).contains("Db is back")).unwrap();
        let lines = format!("{:?}", back.body.message().unwrap().lines);
        assert!(lines.contains("what is still so at 03:14:40 rings then"), "{lines}");
        // Falls again within the minute: nothing rings but the parent.
        check(
            settings(leaning("a>db")),
            &[
                ("0 down db", "phone! Db is down: silent since 03:10:30"),
                ("1 down a", "phone~ Db is down: silent since 03:10:30"),
                ("100 up db", "phone~ Db is back: down 1 min 40 s, 03:12 to 03:13"),
                ("130 down db", "phone! Db is down again: 30 s after coming back"),
                ("160 tick", ""),
                ("200 paused db", "phone~ Db is paused: was down 1 min 10 s, 03:14 to 03:15"),
                // Nobody watches it any more: nothing explains the child.
                ("200 tick", "phone! A is down: silent since 03:10:31"),
            ],
        );
    }

    #[test]
    fn what_weighs_more_than_its_parent_rings_and_a_worse_trouble_of_the_parent_holds_on() {
        let mut story = check(
            settings(leaning("mary>soft")),
            &[
                ("0 down soft", ""),
                ("10 down mary", "phone! Mary is down: silent since 03:10:40"),
                ("20 up mary", "phone~ Mary is back: down 10 s, 03:12 to 03:12"),
                ("700 failed soft", "phone! Soft has failed: exit 3 at 03:23:40"),
                ("710 down mary", "phone~ Soft has failed: exit 3 at 03:23:40"),
            ],
        );
        // Its failure becomes an outage that weighs less than the child.
        let rows: Vec<_> = story.step("720 down soft").iter().map(said).collect();
        assert_eq!(rows, ["phone~ Soft is down now: was failed 20 s, 03:23 to 03:24"]);
        let rows: Vec<_> = story.step("720 tick").iter().map(said).collect();
        assert_eq!(rows, ["phone! Mary is down: silent since 03:22:20"]);

        check(
            settings(leaning("mary>db")),
            &[
                ("0 failed db", "phone! Db has failed: exit 3 at 03:12:00"),
                ("10 stalled mary", "phone~ Db has failed: exit 3 at 03:12:00"),
                ("20 down mary", "phone~ Db has failed: exit 3 at 03:12:00"),
                (
                    "30 down db",
                    "phone~ Db is down now: was failed 30 s, 03:12 to 03:12; \
                     phone! Db is down: silent since 03:11:00",
                ),
                ("90 tick", ""),
            ],
        );
    }

    #[test]
    fn an_edit_of_the_registry_and_a_row_set_aside_free_what_was_held() {
        // One of many that share an entry, told before its parent fell.
        let mut story = check(
            settings(leaning("mary>db w*>net")),
            &[
                ("0 down w1", "phone! W1 is down: silent since 03:10:30"),
                ("10 down net", "phone~ 2 agents are down since 03:12 (W1 first)"),
            ],
        );
        assert_eq!(story.desk.incidents().filter(|it| it.held.is_some()).count(), 1);

        story = check(
            settings(leaning("mary>db")),
            &[
                ("0 down db", "phone! Db is down: silent since 03:10:30"),
                ("10 down mary", "phone~ Db is down: silent since 03:10:30"),
            ],
        );
        let restored =
            |story: &Story| story.model.restored(&story.desk.incidents().map(|it| it.id).collect());
        let mut aside = restored(&story);
        aside.incidents.retain(|it| it.watch != "db".parse().unwrap());
        let mut desk = Desk::restore(Arc::clone(&story.desk.settings), aside);
        let writes = desk.tick(super::super::tests::at(20));
        assert!(writes.iter().any(|it| matches!(it, Write::Delivery(_))), "{writes:?}");

        story.desk.reload(settings(leaning("mary>db")));
        let rows: Vec<_> = story.step("20 tick").iter().map(said).collect();
        assert_eq!(rows, [""; 0], "it is held as before");
        story.desk.reload(settings(|_| ()));
        let rows: Vec<_> = story.step("40 tick").iter().map(said).collect();
        assert_eq!(rows, ["phone! 2 agents are down since 03:12 (Db first)"]);
    }

    #[test]
    fn what_is_below_what_is_below_is_counted_too() {
        let story = check(
            settings(leaning("web>db mary>web,db lisa>web")),
            &[
                ("0 down db", "phone! Db is down: silent since 03:10:30"),
                ("10 down web", "phone~ Db is down: silent since 03:10:30"),
                ("20 down mary lisa", "phone~ Db is down: silent since 03:10:30"),
            ],
        );
        let held: Vec<String> = story
            .desk
            .incidents()
            .filter_map(|it| Some(format!("{} {}", it.watch.name, it.held.as_ref()?.by)))
            .collect();
        assert_eq!(held, ["web agent/db", "mary agent/web", "lisa agent/web"]);
    }
}
