//! Once: a run that ends. It watches until it knows how everything stands, or its time is over, has what is owed
//! delivered where it may, and says what it saw.

use std::time::Duration;

use crate::{
    actors::{incident_manager, outbox},
    app::daemon::{House, judges},
    edges::cli::local::{Once, Seen},
};

/// Between two looks at whether all is known.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the end waits for what is known to be stored.
const STORED_WITHIN: Duration = Duration::from_secs(5);
/// How long it waits for receivers to take what they are owed; the rest stays owed.
const DELIVERED_WITHIN: Duration = Duration::from_secs(30);

/// Watches, and says what it saw.
pub(super) async fn watch(house: &House, once: Once) -> Seen {
    let began = house.began;
    judges(&house.context).await;
    let known = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if once.as_soon_as_known && house.controller.is_settled(began) {
                return;
            }
        }
    };
    // Whatever is not known by then is said to be that.
    let _ = tokio::time::timeout(once.at_most, known).await;
    conclude(house, once.notify).await;
    let view = house.controller.once(began, once.notify).await;
    let (_, now) = house.controller.here();
    Seen { view, now }
}

/// What was judged is stored with what it owes; then that is sent, if it is to be.
async fn conclude(house: &House, notify: bool) {
    let at = &house.context.at;
    if let Some(manager) = at.manager.get() {
        let _ = manager.call(incident_manager::Message::Drain, Some(STORED_WITHIN)).await;
    }
    let Some(outbox) = at.outbox.get() else { return };
    if notify {
        let _ = outbox.call(outbox::Message::Delivered, Some(DELIVERED_WITHIN)).await;
    }
    // What came last is counted when two questions have been answered: the first may come before the count.
    for _ in 0..2 {
        let _ = outbox.call(outbox::Message::Ping, Some(STORED_WITHIN)).await;
    }
}
