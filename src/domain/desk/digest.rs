//! Digest: warnings that no route names, told to people in one silent message per period
//! (docs/BEHAVIOUR.md 9, "Digest"). Each incident holds when news of it is due, so a restart loses and doubles none.

use jiff::{SignedDuration, Timestamp};

use super::{
    Desk,
    batch::{Batch, Owed, Ruled},
};
use crate::domain::{
    alert::wording,
    decision::Stage,
    delivery::Body,
    id::{IncidentId, Origin, ReceiverId},
    incident::{Digest, Ending, Severity},
};

/// The end of the period in which `now` lies. Periods are counted from 1970, so they begin on the hour.
fn period_end(every: SignedDuration, now: Timestamp) -> Timestamp {
    let (every, now) = (every.as_nanos().max(1), now.as_nanosecond());
    let next = now - now.rem_euclid(every) + every;
    Timestamp::from_nanosecond(next).unwrap_or(Timestamp::MAX)
}

impl Desk {
    /// Puts an opening of which nobody was told into the digest; false where that tells of no such thing.
    pub(super) fn digest_instead(&mut self, id: IncidentId, batch: &mut Batch) -> bool {
        let every = self.settings.digest_every;
        let human = self.settings.receivers.iter().any(|it| it.human);
        let Some(incident) = self.books.incident_mut(id) else { return false };
        if incident.severity != Severity::Warning || every <= SignedDuration::ZERO || !human {
            return false;
        }
        let due = incident.digest.and_then(|it| it.due);
        let due = due.unwrap_or_else(|| period_end(every, batch.now));
        incident.digest = Some(Digest { due: Some(due), told: false });
        self.decide_digest(id, "in the digest", due, batch);
        true
    }

    /// What opened in a digest ends in one. What became worse is told as that.
    pub(super) fn end_in_digest(&mut self, id: IncidentId, batch: &mut Batch) {
        let every = self.settings.digest_every;
        let Some(incident) = self.books.incident_mut(id) else { return };
        let Some(digest) = incident.digest else { return };
        let worse = matches!(incident.resolved, Some((_, Ending::Became(_))));
        if worse || every <= SignedDuration::ZERO {
            incident.digest = None;
            return;
        }
        let due = digest.due.unwrap_or_else(|| period_end(every, batch.now));
        incident.digest = Some(Digest { due: Some(due), ..digest });
        self.decide_digest(id, "in the digest", due, batch);
    }

    /// It is told of otherwise from now on.
    pub(super) fn out_of_digest(&mut self, id: IncidentId) {
        if let Some(incident) = self.books.incident_mut(id) {
            incident.digest = None;
        }
    }

    /// One message to each person about all that is due; what is muted waits until that ends.
    pub(super) fn send_digest(&mut self, batch: &mut Batch) {
        let due: Vec<IncidentId> = std::mem::take(&mut batch.digest).into_iter().collect();
        let (mut told, mut from, mut until) = (Vec::new(), Timestamp::MAX, Timestamp::MIN);
        for id in due {
            batch.incidents.insert(id);
            let open = self.books.incident(id).is_some_and(|it| it.resolved.is_none());
            let muted = open && self.hold(id, batch);
            let Some(incident) = self.books.incident_mut(id) else { continue };
            let Some(at) = incident.digest.and_then(|it| it.due) else { continue };
            let new = incident.digest.is_some_and(|it| !it.told);
            incident.digest = (open && !muted).then_some(Digest { due: None, told: true });
            if !muted {
                told.push((id, new));
                (from, until) = (from.min(at), until.max(at));
            }
        }
        if told.is_empty() {
            return;
        }
        let from = from.checked_sub(self.settings.digest_every).unwrap_or(from);
        let humans: Vec<ReceiverId> =
            self.settings.receivers.iter().filter(|it| it.human).map(|it| it.id.clone()).collect();
        for (id, _) in &told {
            self.decide_digest(*id, "told in the digest", until, batch);
        }
        for receiver in humans {
            self.owe_digest(receiver, &told, (from, until), batch);
        }
    }

    fn owe_digest(
        &mut self,
        receiver: ReceiverId,
        told: &[(IncidentId, bool)],
        period: (Timestamp, Timestamp),
        batch: &mut Batch,
    ) {
        let incidents: Vec<_> =
            told.iter().filter_map(|(id, new)| Some((self.books.incident(*id)?, *new))).collect();
        let Some(condition) = incidents.first().map(|it| it.0.condition) else { return };
        let message = wording::digest(&self.settings, &incidents, period, batch.now);
        let owed = Owed {
            key: format!("digest/{receiver}/{}", self.last.delivery + 1),
            receiver,
            group: None,
            incidents: told.iter().map(|it| it.0).collect(),
            condition,
            severity: Severity::Warning,
            revision: 1,
            body: Body::New { message, rings: false },
        };
        self.owe(owed, batch);
    }

    fn decide_digest(&self, id: IncidentId, outcome: &str, due: Timestamp, batch: &mut Batch) {
        let Some(incident) = self.books.incident(id) else { return };
        let until = wording::clock(due, batch.now, &self.settings.timezone);
        let rule = format!("warning: no route names it, digest of {until}");
        let (watch, incident) = (&incident.watch, Some(id));
        let origin = Origin::Default("digest_every");
        let ruled = Ruled { watch, incident, stage: Stage::Route, origin, receiver: None };
        batch.decide(ruled, outcome, &rule);
    }
}
