//! What people and programs ask of the desk, and the sentences they get for it.

use jiff::{SignedDuration, Timestamp};

use super::{
    Answer, Ask, Desk,
    batch::{Batch, Owed, Ruled},
    later,
};
use crate::domain::{
    alert::{
        Reason, event,
        wording::{self, clock},
    },
    decision::Stage,
    delivery::Body,
    id::{IncidentId, Origin, ReceiverId, WatchId},
    incident::{Acknowledgement, Ending, Severity},
    silence::{Silence, Target},
    text::Text,
    watch::Condition,
    write::Write,
};

impl Desk {
    /// Does what is asked, or says why not and what instead.
    pub fn ask(&mut self, ask: Ask, now: Timestamp) -> (Answer, Vec<Write>) {
        let mut batch = Batch::new(now);
        let answer = match ask {
            Ask::Acknowledge { incidents, for_, by, reason } => {
                let for_ = for_.unwrap_or(self.settings.acknowledge_for);
                let until = later(now, for_);
                let held = Acknowledgement { by, reason, at: now, until };
                self.acknowledge(&incidents, &held, &mut batch)
            }
            Ask::Release { incidents, by } => self.release(&incidents, &by, &mut batch),
            Ask::Resolve { incident, by, reason, says } => {
                let ending = Ending::ByHand { by, reason };
                self.resolve(incident, ending, says, &mut batch)
            }
            Ask::Silence { targets, for_, by, reason } => {
                self.silence(targets, for_, &by, reason.as_ref(), &mut batch)
            }
            Ask::Unsilence { id, by } => self.unsilence(id, &by, &mut batch),
            Ask::Test { receiver, by } => self.test(&receiver, &by, &mut batch),
        };
        let writes = self.close(batch);
        (answer, writes)
    }

    fn acknowledge(
        &mut self,
        incidents: &[IncidentId],
        held: &Acknowledgement,
        batch: &mut Batch,
    ) -> Answer {
        if held.until <= held.at {
            return Err("An acknowledgement needs a time that is longer than nothing".into());
        }
        let (open, refused) = self.sort_out(incidents, batch.now);
        let until = clock(held.until, batch.now, &self.settings.timezone);
        for id in &open {
            let Some(incident) = self.books.incident_mut(*id) else { continue };
            incident.acknowledgement = Some(held.clone());
            incident.next_step_at = None;
            incident.repeat_at = None;
            let watch = incident.watch.clone();
            let until = clock(held.until, held.at, &self.settings.timezone);
            let rule = format!("by {} until {until}", held.by);
            commanded(batch, Stage::Acknowledge, &watch, Some(*id), "acknowledged", &rule);
            self.seal(*id, batch);
            self.show(*id, "acknowledged", batch);
        }
        let (names, have) = (list(&open), if open.len() == 1 { "is" } else { "are" });
        let by = &held.by;
        answer(&open, &refused, &format!("{by} has it until {until}: {names} {have} acknowledged"))
    }

    fn release(&mut self, incidents: &[IncidentId], by: &Text, batch: &mut Batch) -> Answer {
        let (open, refused) = self.sort_out(incidents, batch.now);
        let mut released = Vec::new();
        for id in open {
            let Some(incident) = self.books.incident_mut(id) else { continue };
            if incident.acknowledgement.take().is_none() {
                continue;
            }
            let watch = incident.watch.clone();
            commanded(batch, Stage::Acknowledge, &watch, Some(id), "released", &format!("by {by}"));
            self.tell(id, &Reason::Unacknowledged { by: by.clone(), released: true }, batch);
            released.push(id);
        }
        if released.is_empty() && refused.is_empty() {
            return Err("Nobody has it: there is nothing to release".into());
        }
        answer(
            &released,
            &refused,
            &format!("{}: nobody has it now, it rings again", list(&released)),
        )
    }

    /// Open incidents of a list without doubles, and a sentence for each of the others.
    fn sort_out(&self, ids: &[IncidentId], now: Timestamp) -> (Vec<IncidentId>, Vec<String>) {
        let (mut open, mut refused) = (Vec::new(), Vec::new());
        let wanted: std::collections::BTreeSet<IncidentId> = ids.iter().copied().collect();
        for id in wanted {
            match self.books.incident(id).map(|it| it.resolved.as_ref()) {
                Some(None) => open.push(id),
                Some(Some((at, _))) => {
                    let since = clock(*at, now, &self.settings.timezone);
                    refused.push(if ids.len() == 1 {
                        format!("Over since {since}")
                    } else {
                        format!("{id} is over since {since}")
                    });
                }
                None => refused.push(format!("No incident {id} is open")),
            }
        }
        (open, refused)
    }

    fn resolve(
        &mut self,
        id: IncidentId,
        ending: Ending,
        says: Option<Condition>,
        batch: &mut Batch,
    ) -> Answer {
        let (open, refused) = self.sort_out(&[id], batch.now);
        if let Some(refused) = refused.into_iter().next() {
            return Err(refused);
        }
        let Some(incident) = self.books.incident(id).filter(|_| !open.is_empty()) else {
            return Err(format!("No incident {id} is open"));
        };
        let (watch, condition) = (incident.watch.clone(), incident.condition);
        let by = event::ended(&ending);
        if says == Some(condition) {
            commanded(
                batch,
                Stage::Command,
                &watch,
                Some(id),
                "refused",
                "the watch still says so",
            );
            return Err(format!(
                "{watch} still says {condition}: {id} ends when that does. Silence it or pause the watch instead"
            ));
        }
        commanded(batch, Stage::Command, &watch, Some(id), "resolved", &by);
        self.end(id, batch.now, ending, batch);
        Ok(format!("{id} ({watch} {condition}) is resolved"))
    }

    fn silence(
        &mut self,
        targets: Vec<Target>,
        for_: SignedDuration,
        by: &Text,
        reason: Option<&Text>,
        batch: &mut Batch,
    ) -> Answer {
        if targets.is_empty() {
            return Err("Nothing to silence was named".into());
        }
        if for_ <= SignedDuration::ZERO {
            return Err("A silence needs a time that is longer than nothing".into());
        }
        let (now, until) = (batch.now, later(batch.now, for_));
        let first = self.last.silence + 1;
        let what = match targets.as_slice() {
            [only] => only.to_string(),
            many => format!("{} watches", many.len()),
        };
        for target in targets {
            self.last.silence += 1;
            let id = self.last.silence;
            if let Target::Watch(watch) = &target {
                let until = clock(until, now, &self.settings.timezone);
                let rule = format!("silence {id} by {by} until {until}");
                commanded(batch, Stage::Command, watch, None, "silenced", &rule);
            }
            let (by, reason) = (by.clone(), reason.cloned());
            let silence = Silence { id, target, by, reason, from: now, until, muted: 0 };
            self.begin_silence(silence, batch);
        }
        let numbers = match self.last.silence {
            last if last == first => format!("silence {first}"),
            last => format!("silences {first} to {last}"),
        };
        let until = clock(until, now, &self.settings.timezone);
        Ok(format!("Nothing of {what} rings until {until} ({numbers}); recovery is told"))
    }

    fn unsilence(&mut self, id: u64, by: &Text, batch: &mut Batch) -> Answer {
        let Some(silence) = self.silences.get(id).cloned() else {
            return Err(format!("there is no silence {id} that holds: see `silences`"));
        };
        if let Target::Watch(watch) = &silence.target {
            let rule = format!("#{id} by {by}");
            commanded(batch, Stage::Command, watch, None, "silence ended", &rule);
        }
        self.end_silence(id, batch);
        let what = &silence.target;
        Ok(format!("Silence {id} over {what} has ended; it had muted {}", silence.muted))
    }

    fn test(&mut self, receiver: &ReceiverId, by: &Text, batch: &mut Batch) -> Answer {
        let Some(known) = self.settings.receivers.iter().find(|it| it.id == *receiver) else {
            let all: Vec<String> =
                self.settings.receivers.iter().map(|it| it.id.to_string()).collect();
            let known = if all.is_empty() { "none".into() } else { all.join(", ") };
            return Err(format!("There is no receiver {receiver}; known: {known}"));
        };
        let message = wording::test(&self.settings, receiver, by);
        let body = if known.human {
            Body::New { message, rings: true }
        } else {
            Body::Event(event::test(wording::plain(&message)))
        };
        let owed = Owed {
            key: format!("test/{receiver}/{}", self.last.delivery + 1),
            receiver: receiver.clone(),
            group: None,
            incidents: Vec::new(),
            condition: Condition::Test,
            severity: Severity::Info,
            revision: 1,
            body,
        };
        let rule = format!("asked for by {by}");
        commanded(batch, Stage::Command, &receiver.watch(), None, "test message", &rule);
        self.owe(owed, batch);
        Ok(format!("A test message to {receiver} is on its way"))
    }
}

fn commanded(
    batch: &mut Batch,
    stage: Stage,
    watch: &WatchId,
    incident: Option<IncidentId>,
    outcome: &str,
    rule: &str,
) {
    let origin = Origin::Default("command");
    batch.decide(Ruled { watch, incident, stage, origin, receiver: None }, outcome, rule);
}

fn list(ids: &[IncidentId]) -> String {
    match ids {
        [] => "nothing".into(),
        [only] => only.to_string(),
        [first, .., last] => format!("{} incidents from {first} to {last}", ids.len()),
    }
}

/// Well if anything was done; what was refused is said either way.
fn answer(done: &[IncidentId], refused: &[String], said: &str) -> Answer {
    match (done, refused) {
        ([], refused) => Err(refused.join(". ")),
        (_, []) => Ok(said.to_owned()),
        (_, refused) => Ok(format!("{said}. {}", refused.join(". "))),
    }
}
