//! Telling: the desk at work on what the lanes noticed, and what it would have sent.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;

use super::{Late, Noticed, Page};
use crate::domain::{
    alert::wording,
    delivery::Body,
    desk::{Ask, Desk, Restored},
    history::History,
    id::WatchId,
    registry::Wanted,
    silence::Silence,
    watch::{Cause, Condition, Flip, Subject, Verdict},
    write::Write,
};

/// Troubles of atalaya itself, as they were.
pub(super) fn parts(history: &History) -> Vec<Noticed> {
    let part = history.flips.iter().filter(|it| matches!(it.to, Verdict::Part(_)));
    part.map(|it| Noticed {
        at: it.noticed_at,
        flip: Flip {
            subject: Arc::new(Subject::of_part(&it.watch)),
            epoch: it.epoch,
            n: it.n,
            from: it.from,
            to: it.to,
            at: it.at,
            cause: Cause::Hearing,
            task: None,
        },
    })
    .collect()
}

/// All that would have disturbed somebody.
pub(super) fn tell(
    history: &History,
    wanted: &Wanted,
    noticed: &[Noticed],
    late: &Late,
) -> Vec<Page> {
    let mut desk = Desk::restore(Arc::clone(&wanted.desk), Restored::default());
    let (mut asks, mut left) = (asks(history).into_iter().peekable(), noticed);
    let (mut pages, mut now) = (Vec::new(), Timestamp::MIN);
    loop {
        let flips_at = left.first().map(|it| it.at);
        let next = [asks.peek().map(|it| it.0), flips_at, desk.deadline()];
        let Some(next) = next.into_iter().flatten().min() else { break };
        if history.until < next {
            break;
        }
        now = now.max(next);
        let writes = if let Some((_, ask)) = asks.next_if(|it| it.0 <= now) {
            desk.ask(ask, now).1
        } else if flips_at.is_some_and(|it| it <= now) {
            let together = left.iter().take_while(|it| it.at <= now).count();
            let flips: Vec<Flip> = left[..together].iter().map(|it| it.flip.clone()).collect();
            left = &left[together..];
            let doubtful = doubtful(&desk, &flips, late, now);
            desk.flips(&flips, doubtful, now)
        } else {
            desk.tick(now)
        };
        pages.extend(writes.iter().filter_map(|it| page(it, now)));
    }
    pages
}

/// Parents of what fails in these flips that are late, or in trouble that the desk is told of with them.
fn doubtful(desk: &Desk, flips: &[Flip], late: &Late, now: Timestamp) -> HashSet<WatchId> {
    let explains = |it: &&Flip| it.to.condition().is_some_and(Condition::explains);
    let in_trouble: HashSet<&WatchId> =
        flips.iter().filter(explains).map(|it| &it.subject.watch).collect();
    let is_late = |watch: &WatchId| {
        late.get(watch)
            .is_some_and(|all| all.iter().any(|(since, until)| *since < now && now <= *until))
    };
    desk.doubtful_parents(flips, |it| in_trouble.contains(it) || is_late(it))
}

/// Silences as they were asked for, each for as long as it truly held.
fn asks(history: &History) -> Vec<(Timestamp, Ask)> {
    let ask = |(silence, ended): &(Silence, Option<Timestamp>)| {
        let until = ended.map_or(silence.until, |it| it.min(silence.until));
        let ask = Ask::Silence {
            targets: vec![silence.target.clone()],
            for_: until.duration_since(silence.from),
            by: silence.by.clone(),
            reason: silence.reason.clone(),
        };
        (silence.from, ask)
    };
    let mut asks: Vec<_> = history.silences.iter().map(ask).collect();
    asks.sort_by_key(|it| it.0);
    asks
}

fn page(write: &Write, at: Timestamp) -> Option<Page> {
    let Write::Delivery(delivery) = write else { return None };
    let (human, text) = match &delivery.body {
        Body::New { message, rings: true } => (true, wording::first_line(message)),
        Body::New { rings: false, .. } | Body::Edit { .. } => return None,
        Body::Event(event) => (false, format!("{}: {}", event.event, event.message)),
    };
    Some(Page { at, receiver: delivery.receiver.clone(), human, text })
}
