//! Rehearsal: a receiver in a dry run. What it would be sent is settled as rehearsed; nothing leaves the
//! house but a test message, which a person asked for just now.

use std::sync::Arc;

use crate::{
    domain::{delivery::Delivery, watch::Condition},
    ports::{
        Pending,
        notifier::{Ailment, Attempt, Context, Notifier},
    },
};

/// Stands before a real notifier while `[delivery] dry_run` is set.
pub struct Rehearsal {
    real: Arc<dyn Notifier>,
}

impl Rehearsal {
    pub fn of(real: Arc<dyn Notifier>) -> Self {
        Self { real }
    }
}

impl Notifier for Rehearsal {
    fn send<'a>(&'a self, delivery: &'a Delivery, context: &'a Context) -> Pending<'a, Attempt> {
        if delivery.condition == Condition::Test {
            return self.real.send(delivery, context);
        }
        Box::pin(async { Attempt::Rehearsed })
    }

    fn look(&self) -> Pending<'_, Result<String, Ailment>> {
        self.real.look()
    }
}
