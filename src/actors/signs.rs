//! Signs: our own signs of life (a dead-man ping, a beat on the bus). Pulse has them given when it found all well,
//! and at no other time: who misses one knows that the watch no longer watches.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use ractor::ActorRef;

use super::{
    context::{Shared, lock},
    pulse::{ASK_EVERY, Message},
    worker::Worker,
};
use crate::{
    domain::{
        id::{Kind, WatchId},
        text::Text,
        watch::Condition,
    },
    ports::sign::Sign,
};

/// One attempt may take so long.
const GIVEN_WITHIN: Duration = Duration::from_secs(10);
/// One that nobody took is given again after this.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// That nobody takes it is told after three times its period, and after this at the latest.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// Longest reason that is kept, in characters.
const WHY_CHARACTERS_MAX: usize = 300;

/// What is known of one sign; outlives Pulse.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// Somebody took it last.
    pub taken_at: Option<Timestamp>,
    /// Nobody has taken it since then, and why.
    pub failing: Option<(Timestamp, Text)>,
}

/// What is known of all that are configured, by name.
pub type Known = BTreeMap<&'static str, Given>;

/// The watch that says whether somebody takes it.
pub fn watch(name: &str) -> WatchId {
    WatchId::new(Kind::Myself, name)
}

pub(super) struct Signs {
    all: Arc<[Arc<dyn Sign>]>,
    tried_at: HashMap<usize, Timestamp>,
    under_way: HashMap<usize, Worker>,
}

impl Signs {
    pub(super) fn new(all: Arc<[Arc<dyn Sign>]>, context: &Shared) -> Self {
        let mut known = lock(&context.signs);
        for sign in all.iter() {
            known.entry(sign.name()).or_default();
        }
        Self { all, tried_at: HashMap::new(), under_way: HashMap::new() }
    }

    /// All is well: gives those that are due, each in a worker of its own.
    pub(super) fn give(&mut self, myself: &ActorRef<Message>, context: &Shared) {
        let now = context.clock.now();
        for (place, sign) in self.all.iter().enumerate() {
            let failing =
                lock(&context.signs).get(sign.name()).is_some_and(|it| it.failing.is_some());
            if self.under_way.contains_key(&place)
                || self
                    .tried_at
                    .get(&place)
                    .is_some_and(|at| !due(sign.as_ref(), *at, failing, now))
            {
                continue;
            }
            self.tried_at.insert(place, now);
            let giving = Arc::clone(sign);
            let work = async move { giving.give().await };
            let done = move |given: Option<Result<(), String>>| {
                let late = || Err(format!("no answer within {} s", GIVEN_WITHIN.as_secs()));
                Message::Given(place, given.unwrap_or_else(late))
            };
            self.under_way.insert(place, Worker::bounded(myself, GIVEN_WITHIN, work, done));
        }
    }

    /// What came of one. That nobody takes it is shown at once, and told when it lasts.
    pub(super) fn given(&mut self, place: usize, given: Result<(), String>, context: &Shared) {
        self.under_way.remove(&place);
        let (Some(sign), now) = (self.all.get(place), context.clock.now()) else { return };
        let trouble = {
            let mut known = lock(&context.signs);
            let known = known.entry(sign.name()).or_default();
            match given {
                Ok(()) => {
                    if known.failing.take().is_some() {
                        tracing::info!(sign = sign.name(), "a sign of life is taken again");
                    }
                    known.taken_at = Some(now);
                    None
                }
                Err(why) => {
                    let why = Text::clean(&why, WHY_CHARACTERS_MAX);
                    let since = known.failing.as_ref().map_or_else(
                        || {
                            tracing::warn!(sign = sign.name(), %why, "nobody takes a sign of life");
                            now
                        },
                        |it| it.0,
                    );
                    known.failing = Some((since, why.clone()));
                    if now.duration_since(since) < patience(sign.as_ref()) {
                        return;
                    }
                    Some(why)
                }
            }
        };
        let trouble = trouble.as_ref().map(|why| (Condition::Degraded, why.as_str()));
        context.tell(context.board.set(&watch(sign.name()), trouble, now));
    }
}

/// Whether it would come too late if it were left to the next round.
fn due(sign: &dyn Sign, tried_at: Timestamp, failing: bool, now: Timestamp) -> bool {
    let every = SignedDuration::try_from(sign.every()).unwrap_or(SignedDuration::MAX);
    let every = if failing { every.min(AGAIN_AFTER) } else { every };
    let round = SignedDuration::try_from(ASK_EVERY).unwrap_or_default();
    every < now.duration_since(tried_at) + round
}

fn patience(sign: &dyn Sign) -> SignedDuration {
    SignedDuration::try_from(sign.every().saturating_mul(3)).unwrap_or(TOLD_WITHIN).min(TOLD_WITHIN)
}
