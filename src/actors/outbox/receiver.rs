//! Receiver: what the outbox keeps of one of them: its rows, its pace, its child.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use ractor::ActorRef;

use crate::{
    actors::notifier,
    domain::{
        delivery::{Delivery, State},
        id::{DeliveryId, GroupId},
        outbox::{Dispatch, Lane},
        write::Outcome,
    },
    ports::{
        fail_points::{Point, reached},
        notifier::Context as Sending,
        registry::ReadyReceiver,
    },
};

/// On top of an attempt's own limit, before its notifier is taken for hung.
const HUNG_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// One receiver: its rows, its pace, its child.
pub(super) struct Receiver {
    pub(super) ready: ReadyReceiver,
    pub(super) lane: Lane,
    pub(super) rows: BTreeMap<DeliveryId, Delivery>,
    pub(super) in_flight: HashMap<DeliveryId, (Dispatch, Timestamp)>,
    pub(super) child: Option<ActorRef<notifier::Message>>,
    /// Something came or went since it was last looked at.
    pub(super) changed: bool,
    pub(super) again_at: Option<Timestamp>,
}

impl Receiver {
    pub(super) fn send(
        &mut self,
        dispatch: Dispatch,
        references: &HashMap<GroupId, String>,
        now: Timestamp,
    ) {
        let Some(child) = &self.child else { return };
        let ids: HashSet<DeliveryId> =
            dispatch.covers.iter().copied().chain([dispatch.delivery.id]).collect();
        let reference = dispatch.delivery.group.and_then(|it| references.get(&it).cloned());
        let message = notifier::Message::Send(Box::new(dispatch.clone()), Sending { reference });
        if child.cast(message).is_ok() {
            for id in ids {
                if let Some(row) = self.rows.get_mut(&id) {
                    row.state = State::Sending;
                }
            }
            self.in_flight.insert(dispatch.delivery.id, (dispatch, now));
            reached(Point::RowDispatched);
        }
    }

    /// Adopts what became of a row.
    pub(super) fn settle(&mut self, outcome: &Outcome) {
        if outcome.state != State::Pending {
            self.rows.remove(&outcome.delivery);
            return;
        }
        if let Some(row) = self.rows.get_mut(&outcome.delivery) {
            row.state = State::Pending;
            row.attempts = outcome.attempts;
            row.next_at = outcome.next_at;
            row.failed_over = outcome.failed_over;
            row.error.clone_from(&outcome.error);
        }
    }

    /// An attempt is over: the rows that it stood for wait again, unless it was accepted.
    pub(super) fn uncover(&mut self, dispatch: &Dispatch) {
        self.changed = true;
        for id in &dispatch.covers {
            if let Some(row) = self.rows.get_mut(id) {
                row.state = State::Pending;
            }
        }
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.changed || self.again_at.is_some_and(|at| at <= now)
    }

    pub(super) fn release(&mut self) {
        self.changed = true;
        self.in_flight.clear();
        for row in self.rows.values_mut() {
            row.state = State::Pending;
        }
    }

    /// Ends a notifier that has had a message for longer than any attempt may take.
    pub(super) fn hung_at(&self, now: Timestamp) -> Option<Timestamp> {
        let limit =
            SignedDuration::try_from(self.ready.attempt_max).unwrap_or_default() + HUNG_AFTER;
        let oldest = self.in_flight.values().map(|(_, at)| *at).min()?;
        if limit <= now.duration_since(oldest) {
            if let Some(child) = &self.child {
                child.kill();
            }
            return None;
        }
        Some(oldest + limit)
    }
}
