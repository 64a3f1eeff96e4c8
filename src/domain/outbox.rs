//! Outbox: when a row is sent, what it is merged with, and what becomes of it after an attempt. One
//! lane per receiver; the rows are the store's, a lane remembers only its pace.
//!
//! ```text
//! rows of a receiver ─▶ next: units (a group's rows merged; a machine's rows one by one, in order per
//! incident) ─▶ due, in flight, resting? ─▶ Dispatch ─▶ attempt ─▶ after_attempt: outcomes, fail-over
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    delivery::{Attempt, Body, Delivery, Message, State},
    desk::Undelivered,
    id::{DeliveryId, GroupId, IncidentId},
    incident::Severity,
    text::Text,
    write::{Outcome, Write},
};

/// One edit a second of one message (docs/BEHAVIOUR.md 9).
const EDIT_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// The first wait after a failure; doubles up to [`RETRY_MAX`] (docs/BEHAVIOUR.md 10).
const RETRY_FIRST: SignedDuration = SignedDuration::from_secs(1);
const RETRY_MAX: SignedDuration = SignedDuration::from_secs(300);
/// A critical message that was not accepted for so long also goes to the next receiver
/// (docs/BEHAVIOUR.md 10).
const FAIL_OVER_AFTER: SignedDuration = SignedDuration::from_secs(120);
/// The words of a refusal.
const ERROR_CHARACTERS_MAX: usize = 300;

/// What one receiver's lane remembers between two rows; nothing of it need survive a crash.
#[derive(Debug, Clone)]
pub struct Lane {
    at_once: usize,
    /// The receiver asked for a pause (Telegram's `retry_after`).
    rests_until: Option<Timestamp>,
    sent_at: HashMap<GroupId, Timestamp>,
    /// Groups whose message is gone: their next edit is a new message.
    gone: HashSet<GroupId>,
}

/// A row to send now, with the newest body of those that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    pub delivery: Delivery,
    /// Older or newer rows of the same message that become superseded when this one is accepted.
    pub covers: Vec<DeliveryId>,
}

/// What is to be done for a receiver now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Next {
    /// Mark these `Sending` and send them.
    pub send: Vec<Dispatch>,
    /// Rows that were given up, or that also go elsewhere from now on.
    pub outcomes: Vec<Outcome>,
    /// For [`crate::domain::desk::Desk::undelivered`].
    pub undelivered: Vec<Undelivered>,
    /// When to look again, if nothing else happens.
    pub again_at: Option<Timestamp>,
}

/// What came of one attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settled {
    pub writes: Vec<Write>,
    pub undelivered: Option<Undelivered>,
}

/// Rows that are sent together or not at all, oldest first.
struct Unit<'a> {
    /// The row that carries the others: the last new message, else the last edit.
    lead: &'a Delivery,
    rows: Vec<&'a Delivery>,
}

/// After a crash nobody knows what became of a row that was being sent: it is sent again.
pub fn recovered(rows: &mut [Delivery]) {
    for row in rows.iter_mut().filter(|it| it.state == State::Sending) {
        row.state = State::Pending;
    }
}

impl Lane {
    /// `at_once`: rows in flight, 1 for a human receiver, 8 for a machine.
    pub fn new(at_once: usize) -> Self {
        Self { at_once, rests_until: None, sent_at: HashMap::new(), gone: HashSet::new() }
    }

    /// What to do with a receiver's owed rows (pending and sending), given in the order of their ids.
    pub fn next<'a>(&self, rows: impl IntoIterator<Item = &'a Delivery>, now: Timestamp) -> Next {
        let rows: Vec<&Delivery> = rows.into_iter().collect();
        let mut next = Next::default();
        let in_flight = rows.iter().filter(|it| it.state == State::Sending).count();
        let mut free = self.at_once.saturating_sub(in_flight);
        for unit in units(&rows, now, &mut next.outcomes) {
            let lead = unit.lead;
            let mut failed_over = false;
            if let Some(at) = unit.fails_over_at() {
                failed_over = at <= now;
                if failed_over {
                    let why = lead.error.clone().unwrap_or_else(|| {
                        Text::clean("nobody accepted it for 2 m", ERROR_CHARACTERS_MAX)
                    });
                    next.outcomes.push(Outcome { failed_over: true, ..outcome(lead, now) });
                    next.undelivered.push(undelivered(lead, why));
                } else {
                    next.look_at(at);
                }
            }
            if now < unit.deadline() {
                next.look_at(unit.deadline());
            }
            let due = self.due(&unit);
            if now < due {
                next.look_at(due);
            } else if 0 < free {
                free -= 1;
                let mut dispatch = self.merged(&unit);
                dispatch.delivery.failed_over |= failed_over;
                next.send.push(dispatch);
            }
        }
        next
    }

    fn due(&self, unit: &Unit<'_>) -> Timestamp {
        let rows = unit.rows.iter().map(|it| it.next_at).max();
        let paced = unit.lead.group.and_then(|it| self.sent_at.get(&it));
        let paced = paced.map(|at| later(*at, EDIT_EVERY));
        [rows, paced, self.rests_until].into_iter().flatten().max().unwrap_or(Timestamp::MIN)
    }

    /// The last body counts. What was never told rings, unless it is over by now: then it is told late.
    fn merged(&self, unit: &Unit<'_>) -> Dispatch {
        let lead = unit.lead;
        let mut delivery = lead.clone();
        delivery.failed_over = unit.rows.iter().any(|it| it.failed_over);
        delivery.attempts = unit.rows.iter().map(|it| it.attempts).max().unwrap_or(0);
        let rang = unit.rows.iter().any(|it| matches!(it.body, Body::New { rings: true, .. }));
        let last = unit.rows.last().map_or(&lead.body, |it| &it.body);
        if let Some(message) = last.message() {
            let anew = lead.group.is_some_and(|it| self.gone.contains(&it));
            let message = message.clone();
            delivery.body = match lead.body {
                Body::New { .. } => {
                    let late = rang && message.is_over();
                    let message = if late { message.told_late() } else { message };
                    Body::New { message, rings: rang && !late }
                }
                Body::Edit { .. } if anew => Body::New { message, rings: false },
                Body::Edit { .. } | Body::Event(_) => Body::Edit { message },
            };
        }
        if let Some(last) = unit.rows.last() {
            delivery.incidents.clone_from(&last.incidents);
        }
        let covers = unit.rows.iter().map(|it| it.id).filter(|it| *it != lead.id).collect();
        Dispatch { delivery, covers }
    }

    /// What an attempt means for the rows. `jitter` is drawn from 0 to 1.
    pub fn after_attempt(
        &mut self,
        send: &Dispatch,
        attempt: &Attempt,
        now: Timestamp,
        jitter: f64,
    ) -> Settled {
        let row = &send.delivery;
        let mut end = Outcome { attempts: row.attempts.saturating_add(1), ..outcome(row, now) };
        if let Some(group) = row.group {
            self.sent_at.retain(|_, at| now < later(*at, EDIT_EVERY));
            self.sent_at.insert(group, now);
        }
        let mut settled = Settled::default();
        match attempt {
            Attempt::Accepted { reference } => {
                end.state = State::Sent;
                end.reference.clone_from(reference);
                settled.writes.extend(send.covered(State::Superseded, now));
                if let (Some(group), Body::New { .. }) = (row.group, &row.body) {
                    self.gone.remove(&group);
                    let reference = reference.clone();
                    settled
                        .writes
                        .extend(reference.map(|reference| Write::Reference { group, reference }));
                }
            }
            Attempt::Rehearsed => {
                end.state = State::Rehearsed;
                settled.writes.extend(send.covered(State::Superseded, now));
            }
            Attempt::Again { after, why } => {
                end.state = State::Pending;
                end.error = Some(Text::clean(why, ERROR_CHARACTERS_MAX));
                end.next_at = later(now, backoff(row.attempts, jitter));
                if let Some(after) = after {
                    end.next_at = later(now, *after);
                    self.rests_until = Some(end.next_at);
                }
            }
            Attempt::Gone => {
                end.state = State::Pending;
                end.next_at = match row.body {
                    Body::Edit { .. } => now,
                    Body::New { .. } | Body::Event(_) => later(now, backoff(row.attempts, jitter)),
                };
                self.gone.extend(row.group);
            }
            Attempt::Refused { why } => {
                let why = Text::clean(why, ERROR_CHARACTERS_MAX);
                end.error = Some(why.clone());
                if must_arrive(row) {
                    end.state = State::Pending;
                    // "For good" is what the receiver says today; a bot that is unblocked tonight still owes it.
                    end.next_at = later(now, RETRY_MAX);
                    if !row.failed_over {
                        end.failed_over = true;
                        settled.undelivered = Some(undelivered(row, why));
                    }
                } else {
                    end.state = State::Failed;
                    settled.writes.extend(send.covered(State::Failed, now));
                }
            }
        }
        settled.writes.insert(0, Write::Outcome(Box::new(end)));
        settled
    }
}

impl Dispatch {
    fn covered(&self, state: State, at: Timestamp) -> impl Iterator<Item = Write> {
        self.covers.iter().map(move |id| {
            Write::Outcome(Box::new(Outcome {
                delivery: *id,
                state,
                attempts: 0,
                next_at: at,
                at,
                error: None,
                reference: None,
                failed_over: false,
            }))
        })
    }
}

impl Next {
    fn look_at(&mut self, at: Timestamp) {
        self.again_at = Some(self.again_at.map_or(at, |it| it.min(at)));
    }
}

impl<'a> Unit<'a> {
    fn of(rows: Vec<&'a Delivery>) -> Option<Self> {
        let new = rows.iter().rev().find(|it| matches!(it.body, Body::New { .. }));
        let lead = *new.or(rows.last())?;
        Some(Self { lead, rows })
    }

    fn deadline(&self) -> Timestamp {
        self.rows.iter().map(|it| it.deadline).max().unwrap_or(Timestamp::MAX)
    }

    /// None: it need not arrive, it is over, or it went elsewhere already.
    fn fails_over_at(&self) -> Option<Timestamp> {
        let owed: Vec<_> = self.rows.iter().filter(|it| must_arrive(it)).collect();
        let over = self.rows.last().and_then(|it| it.body.message()).is_some_and(Message::is_over);
        if over || owed.iter().any(|it| it.failed_over) {
            return None;
        }
        owed.first().map(|it| later(it.created_at, FAIL_OVER_AFTER))
    }
}

/// Splits rows into what may be sent now, each in its order; what is in flight blocks what comes after
/// it. Gives up what nobody wants any more.
fn units<'a>(rows: &[&'a Delivery], now: Timestamp, given_up: &mut Vec<Outcome>) -> Vec<Unit<'a>> {
    let mut messages: BTreeMap<GroupId, Vec<&Delivery>> = BTreeMap::new();
    let mut events: BTreeMap<IncidentId, Vec<&Delivery>> = BTreeMap::new();
    let mut units = Vec::new();
    for row in rows.iter().copied() {
        match (row.group, row.incidents.first(), &row.body) {
            (Some(group), _, _) => messages.entry(group).or_default().push(row),
            (None, Some(incident), Body::Event(_)) => {
                events.entry(*incident).or_default().push(row);
            }
            (None, _, _) if row.state == State::Sending => {}
            (None, _, _) if row.deadline <= now => given_up.push(give_up(row, now)),
            (None, _, _) => units.extend(Unit::of(vec![row])),
        }
    }
    for rows in messages.into_values() {
        let busy = rows.iter().any(|it| it.state == State::Sending);
        let rows = before_a_silent_reply(rows);
        let Some(unit) = Unit::of(rows).filter(|_| !busy) else { continue };
        if unit.deadline() <= now {
            given_up.extend(unit.rows.iter().map(|it| give_up(it, now)));
        } else {
            units.push(unit);
        }
    }
    for rows in events.into_values() {
        let newest = rows.last().map(|it| it.id);
        let standing = |it: &Delivery| newest == Some(it.id) && !it.body.is_end();
        for row in rows {
            if row.state == State::Sending {
                break;
            }
            if row.deadline <= now && !standing(row) {
                given_up.push(give_up(row, now));
                continue;
            }
            units.extend(Unit::of(vec![row]));
            break;
        }
    }
    units.sort_by_key(|it| it.rows.first().map(|it| it.id));
    units
}

/// An edit that a silent reply follows is sent first: the reply does not replace it.
fn before_a_silent_reply(mut rows: Vec<&Delivery>) -> Vec<&Delivery> {
    let rings = |it: &&Delivery| matches!(it.body, Body::New { rings: true, .. });
    let silent = |it: &&Delivery| matches!(it.body, Body::New { rings: false, .. });
    if let Some(reply) = rows.iter().rposition(silent)
        && 0 < reply
        && !rows.iter().any(rings)
    {
        rows.truncate(reply);
    }
    rows
}

/// A row whose loss would leave people in the dark.
fn must_arrive(row: &Delivery) -> bool {
    row.severity == Severity::Critical
        && match &row.body {
            Body::New { rings, message } => *rings && !message.is_over(),
            Body::Edit { .. } => false,
            Body::Event(event) => matches!(event.event, "opened" | "repeated"),
        }
}

/// Full jitter: anything up to the doubled wait, so that many who failed together do not come back so.
fn backoff(attempts: u32, jitter: f64) -> SignedDuration {
    let doubled = RETRY_FIRST.saturating_mul(1_i32 << attempts.min(16));
    let most = if doubled < RETRY_MAX { doubled } else { RETRY_MAX };
    SignedDuration::try_from_secs_f64(most.as_secs_f64() * jitter.clamp(0.0, 1.0)).unwrap_or(most)
}

fn outcome(row: &Delivery, now: Timestamp) -> Outcome {
    Outcome {
        delivery: row.id,
        state: row.state,
        attempts: row.attempts,
        next_at: row.next_at,
        at: now,
        error: row.error.clone(),
        reference: row.reference.clone(),
        failed_over: row.failed_over,
    }
}

fn give_up(row: &Delivery, now: Timestamp) -> Outcome {
    let why = row.error.as_ref().map_or("not sent in time", Text::as_str);
    let error = Some(Text::clean(&format!("given up: {why}"), ERROR_CHARACTERS_MAX));
    Outcome { state: State::Failed, error, ..outcome(row, now) }
}

fn undelivered(row: &Delivery, why: Text) -> Undelivered {
    Undelivered {
        delivery: row.id,
        receiver: row.receiver.clone(),
        incidents: row.incidents.clone(),
        why,
    }
}

fn later(at: Timestamp, for_: SignedDuration) -> Timestamp {
    at.saturating_add(for_).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        delivery::{Event, Span},
        id::ReceiverId,
        watch::Condition,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn message(glyph: &'static str, text: &str) -> Message {
        Message {
            glyph,
            headline: vec![Span::Plain(text.into())],
            lines: Vec::new(),
            quote: Vec::new(),
            footer: String::new(),
            buttons: Vec::new(),
        }
    }

    fn row(id: u64, second: i64, body: Body) -> Delivery {
        let human = body.message().is_some();
        Delivery {
            id: DeliveryId(id),
            key: format!("k{id}"),
            receiver: ReceiverId::new("phone"),
            group: human.then_some(GroupId(1)),
            incidents: vec![IncidentId(1)],
            condition: Condition::Down,
            severity: Severity::Critical,
            revision: 1,
            body,
            created_at: at(second),
            state: State::Pending,
            attempts: 0,
            next_at: at(second),
            deadline: at(second + 86_400),
            error: None,
            reference: None,
            failed_over: false,
        }
    }

    /// `new! text`, `new. text`, `edit text`; a text that begins with `over` says that it is over.
    fn human(id: u64, second: i64, what: &str) -> Delivery {
        let (kind, text) = what.split_once(' ').unwrap();
        let message = message(if text.starts_with("over") { "✅" } else { "🔴" }, text);
        let body = match kind {
            "new!" => Body::New { message, rings: true },
            "new." => Body::New { message, rings: false },
            _ => Body::Edit { message },
        };
        row(id, second, body)
    }

    fn event(id: u64, incident: u64, event: &'static str) -> Delivery {
        let status = if event == "resolved" { "resolved" } else { "open" };
        let (incident_json, message) = ("{}".to_owned(), String::new());
        let body = Event { event, incident: incident_json, status, message, source: "atalaya" };
        Delivery { incidents: vec![IncidentId(incident)], ..row(id, 0, Body::Event(body)) }
    }

    fn text(send: &Dispatch) -> String {
        let said = |message: &Message| match message.headline.first() {
            Some(Span::Plain(text)) => text.clone(),
            _ => String::new(),
        };
        let id = send.delivery.id.0;
        match &send.delivery.body {
            Body::New { message, rings: true } => format!("{id} new! {}", said(message)),
            Body::New { message, rings: false } => format!("{id} new. {}", said(message)),
            Body::Edit { message } => format!("{id} edit {}", said(message)),
            Body::Event(event) => format!("{id} {}", event.event),
        }
    }

    fn sends(next: &Next) -> String {
        next.send.iter().map(text).collect::<Vec<_>>().join("; ")
    }

    /// What a human receiver with these pending rows of one message gets now.
    fn check(rows: &[&str], sent: &str, covers: &[u64]) {
        let rows: Vec<Delivery> = (1..).zip(rows).map(|(id, what)| human(id, 0, what)).collect();
        let next = Lane::new(1).next(&rows, at(10));
        assert_eq!(sends(&next), sent);
        let covered: Vec<u64> = next.send[0].covers.iter().map(|it| it.0).collect();
        assert_eq!(covered, covers);
    }

    #[test]
    fn rows_that_a_later_one_makes_pointless_are_merged() {
        check(&["new! a"], "1 new! a", &[]);
        check(&["new! a", "edit b", "edit c"], "1 new! c", &[2, 3]);
        check(&["edit b", "edit c"], "2 edit c", &[1]);
        check(&["edit b", "new! c", "edit d"], "2 new! d", &[1, 3]);
        // Down and up again before anybody could be told: told late, nobody wakes.
        check(&["new! a", "edit over"], "1 new. over", &[2]);
        check(&["new! a", "edit over", "new. over"], "3 new. over", &[1, 2]);
        // The edit of the old message and the silent reply are two.
        check(&["edit over", "new. over"], "1 edit over", &[]);
        check(&["edit over", "new. over", "new! again"], "3 new! again", &[1, 2]);
    }

    #[test]
    fn accepted_rows_are_sent_and_what_they_cover_is_superseded() {
        let mut lane = Lane::new(1);
        let rows = [human(1, 0, "new! a"), human(2, 0, "edit b")];
        let next = lane.next(&rows, at(1));
        let accepted = Attempt::Accepted { reference: Some("77".into()) };
        let settled = lane.after_attempt(&next.send[0], &accepted, at(1), 0.5);
        let outcome = |it: &Write| match it {
            Write::Outcome(it) => Some(format!("{} {}", it.delivery.0, it.state.word())),
            Write::Reference { group, reference } => Some(format!("g{} {reference}", group.0)),
            Write::Facts(_)
            | Write::History(_)
            | Write::Flip(_)
            | Write::Incident(_)
            | Write::Decision(_)
            | Write::Delivery(_)
            | Write::Group(_)
            | Write::Silence(_)
            | Write::SilenceEnded { .. }
            | Write::SetAside { .. }
            | Write::Meta { .. } => None,
        };
        let said: Vec<String> = settled.writes.iter().filter_map(outcome).collect();
        assert_eq!(said, ["1 sent", "2 superseded", "g1 77"]);
        // One edit a second of one message; another message need not wait.
        let other = Delivery { group: Some(GroupId(2)), ..human(4, 1, "edit d") };
        let rows = [human(3, 1, "edit c"), other];
        let next = Lane { at_once: 2, ..lane.clone() }.next(&rows, at(1));
        assert_eq!((sends(&next).as_str(), next.again_at), ("4 edit d", Some(at(2))));
        assert_eq!(sends(&lane.next(&rows[..1], at(2))), "3 edit c");
    }

    #[test]
    fn failures_wait_longer_each_time_and_the_receivers_word_counts() {
        let mut lane = Lane::new(1);
        let wait = |lane: &mut Lane, attempts, after| {
            let delivery = Delivery { attempts, ..human(1, 0, "new! a") };
            let send = Dispatch { delivery, covers: Vec::new() };
            let again = Attempt::Again { after, why: "500".into() };
            match lane.after_attempt(&send, &again, at(0), 1.0).writes.first() {
                Some(Write::Outcome(it)) => (it.next_at.as_second() - 1_000_000, it.attempts),
                other => panic!("{other:?}"),
            }
        };
        let waits: Vec<i64> =
            [0, 1, 2, 8, 9, 40].into_iter().map(|it| wait(&mut lane, it, None).0).collect();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
        assert_eq!(backoff(3, 0.25), SignedDuration::from_secs(2));
        assert_eq!(wait(&mut lane, 2, Some(SignedDuration::from_secs(7))), (7, 3));
        // `retry_after` is meant for the whole receiver.
        let other = Delivery { group: Some(GroupId(2)), ..human(2, 0, "new! b") };
        let next = lane.next(std::slice::from_ref(&other), at(6));
        assert_eq!((sends(&next).as_str(), next.again_at), ("", Some(at(7))));
        assert_eq!(sends(&lane.next(&[other], at(7))), "2 new! b");
    }

    #[test]
    fn a_message_that_is_gone_is_sent_anew() {
        let mut lane = Lane::new(1);
        let rows = [human(1, 0, "edit a")];
        let next = lane.next(&rows, at(0));
        lane.after_attempt(&next.send[0], &Attempt::Gone, at(0), 0.5);
        let next = lane.next(&rows, at(1));
        assert_eq!(sends(&next), "1 new. a");
        lane.after_attempt(
            &next.send[0],
            &Attempt::Accepted { reference: Some("8".into()) },
            at(1),
            0.5,
        );
        assert_eq!(sends(&lane.next(&[human(2, 1, "edit b")], at(2))), "2 edit b");
    }

    #[test]
    fn what_is_critical_and_not_accepted_goes_elsewhere_once() {
        let lane = Lane::new(1);
        let mut rows = [human(1, 0, "new! a"), human(2, 5, "edit b")];
        rows[0].next_at = at(300);
        assert_eq!(lane.next(&rows, at(119)).again_at, Some(at(120)));
        let next = lane.next(&rows, at(120));
        let to: Vec<u64> = next.undelivered.iter().map(|it| it.delivery.0).collect();
        assert_eq!((to, sends(&next).as_str()), (vec![1], ""));
        assert!(next.outcomes[0].failed_over && next.outcomes[0].state == State::Pending);
        rows[0].failed_over = true;
        let next = lane.next(&rows, at(400));
        assert_eq!((next.undelivered.len(), sends(&next).as_str()), (0, "1 new! b"));
        // Refused for good: at once, but not a second time; an edit or a warning need not arrive.
        let refused = Attempt::Refused { why: "blocked".into() };
        let goes = |delivery: Delivery| {
            let send = Dispatch { delivery, covers: Vec::new() };
            Lane::new(1).after_attempt(&send, &refused, at(1), 0.5).undelivered.is_some()
        };
        assert!(goes(human(1, 0, "new! a")) && goes(event(1, 1, "opened")));
        assert!(!goes(rows[0].clone()) && !goes(human(1, 0, "edit a")));
        assert!(!goes(Delivery { severity: Severity::Warning, ..human(1, 0, "new! a") }));
        // Over by now: nobody else is disturbed.
        let rows = [human(1, 0, "new! a"), human(2, 5, "edit over")];
        assert_eq!(lane.next(&rows, at(500)).undelivered, []);
    }

    #[test]
    fn machines_get_each_event_in_order_and_eight_at_once() {
        let lane = Lane::new(8);
        let rows = [event(1, 1, "opened"), event(2, 1, "updated"), event(3, 2, "opened")];
        assert_eq!(sends(&lane.next(&rows, at(0))), "1 opened; 3 opened");
        let mut flying = rows.clone();
        flying[0].state = State::Sending;
        assert_eq!(sends(&lane.next(&flying, at(0))), "3 opened");
        recovered(&mut flying);
        assert_eq!(flying, rows);
        let mut many: Vec<Delivery> = (1..=20).map(|it| event(it, it, "opened")).collect();
        assert_eq!(lane.next(&many, at(0)).send.len(), 8);
        for row in &mut many[..5] {
            row.state = State::Sending;
        }
        assert_eq!(lane.next(&many, at(0)).send.len(), 3);
    }

    #[test]
    fn rows_are_given_up_at_their_end_but_not_the_newest_of_open_trouble() {
        let lane = Lane::new(8);
        let late = at(90_000);
        let rows = [event(1, 1, "opened"), event(2, 1, "updated")];
        let next = lane.next(&rows, late);
        let failed: Vec<u64> = next
            .outcomes
            .iter()
            .filter(|it| it.state == State::Failed)
            .map(|it| it.delivery.0)
            .collect();
        assert_eq!((failed, sends(&next).as_str()), (vec![1], "2 updated"));
        assert!(next.again_at.is_none_or(|it| late < it));
        let next = lane.next(&[event(1, 1, "opened"), event(2, 1, "resolved")], late);
        assert_eq!((next.outcomes.len(), next.send.len()), (2, 0));
        let next = Lane::new(1).next(&[human(1, 0, "new! a"), human(2, 0, "edit b")], late);
        assert_eq!((next.outcomes.len(), next.send.len(), next.undelivered.len()), (2, 0, 0));
        assert_eq!(next.outcomes[0].error.as_ref().unwrap().as_str(), "given up: not sent in time");
    }
}
