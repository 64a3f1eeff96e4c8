//! Waiting: who waits for the outbox: until what is in flight is settled, or until nothing is owed any more.

use ractor::RpcReplyPort;

use super::Running;

#[derive(Default)]
pub(super) struct Waiting {
    /// For a stop: nothing new is sent.
    pub(super) drains: Vec<RpcReplyPort<()>>,
    /// For a run that ends: all of it is to be sent.
    pub(super) deliveries: Vec<RpcReplyPort<()>>,
}

impl Running {
    /// Whether what is due is sent at all: not once it stops, and not in a run that tells nobody.
    pub(super) fn sends(&self) -> bool {
        self.waiting.drains.is_empty() && self.context.sends
    }

    /// Tells those whose time has come.
    pub(super) fn tell_waiting(&mut self) {
        let stored = self.under_way.is_none() && self.writes.is_empty();
        let in_flight = self.desks.values().any(|it| !it.in_flight.is_empty());
        if !stored || in_flight {
            return;
        }
        let mut told = std::mem::take(&mut self.waiting.drains);
        // What the store owes is known when it was read; rows wait on their desks until they are settled.
        if self.loaded && self.desks.values().all(|it| it.rows.is_empty()) {
            told.append(&mut self.waiting.deliveries);
        }
        for reply in told {
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
    }
}
