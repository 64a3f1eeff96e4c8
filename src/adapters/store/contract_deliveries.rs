//! The contract of a store, as far as the outbox needs it: what is owed, what became of it.

use super::{
    contract::{Bench, commit, numbers, stand},
    contract_samples::{at, group, outcome, owed, text},
};
use crate::{
    domain::{
        delivery::{Delivery, State},
        id::{DeliveryId, GroupId, IncidentId, ReceiverId},
        write::Write,
    },
    ports::store::Refused,
};

pub(super) async fn a_key_is_owed_once(bench: &impl Bench) {
    let store = bench.store();
    let first = owed(1, "telegram");
    let same_key = Delivery { id: DeliveryId(2), revision: 99, ..first.clone() };
    let write = |it: &Delivery| Write::Delivery(Box::new(it.clone()));
    stand(&*store, vec![write(&first), write(&same_key)]).await;
    stand(&*store, vec![write(&same_key)]).await;
    stand(&*store, vec![outcome(1, State::Sent, 30), write(&first)]).await;
    assert_eq!(store.owed(None, 10).await.unwrap(), [], "what was sent is not owed anew");
    let told = store.deliveries_of(IncidentId(412)).await.unwrap();
    let told: Vec<_> = told.iter().map(|(it, since)| (it.id, it.state, *since)).collect();
    assert_eq!(told, [(DeliveryId(1), State::Sent, at(30))], "when it was sent is known");
    let same_id = Delivery { key: "other".into(), ..first };
    let refused = store.commit(vec![commit(vec![write(&same_id)])], at(0)).await.unwrap();
    assert!(matches!(refused[..], [Err(Refused::Row(_))]), "{refused:?}");
}

pub(super) async fn what_a_dry_run_would_have_sent_is_found_by_its_time(bench: &impl Bench) {
    let store = bench.store();
    let rows = (1..=4).map(|it| {
        let key = format!("row {it}");
        Write::Delivery(Box::new(Delivery { key, ..owed(it, "telegram") }))
    });
    stand(&*store, rows.collect()).await;
    let ends = [(1, State::Rehearsed, 10), (2, State::Rehearsed, 20), (3, State::Rehearsed, 30)];
    let mut writes: Vec<Write> = ends.map(|(id, state, second)| outcome(id, state, second)).into();
    writes.push(outcome(4, State::Sent, 30));
    stand(&*store, writes).await;
    assert_eq!(numbers(&store.rehearsed(at(20), 10).await.unwrap()), [2, 3]);
    assert_eq!(numbers(&store.rehearsed(at(0), 2).await.unwrap()), [2, 3], "the newest");
    assert_eq!(store.owed(None, 10).await.unwrap(), [], "none of them is owed");
}

pub(super) async fn rows_that_were_being_sent_are_owed_in_their_order(bench: &impl Bench) {
    let store = bench.store();
    let rows = [(1, "telegram"), (2, "hook"), (3, "telegram"), (4, "telegram"), (5, "telegram")];
    let writes = rows.map(|(id, receiver)| Write::Delivery(Box::new(owed(id, receiver))));
    stand(&*store, writes.into()).await;
    let outcomes = vec![
        outcome(1, State::Sending, 11),
        outcome(4, State::Sent, 12),
        outcome(5, State::Superseded, 12),
        outcome(99, State::Sent, 12),
    ];
    stand(&*store, outcomes).await;
    let store = bench.restarted();
    assert_eq!(numbers(&store.owed(None, 10).await.unwrap()), [1, 2, 3]);
    let telegram = Some(ReceiverId::new("telegram"));
    assert_eq!(numbers(&store.owed(telegram.clone(), 10).await.unwrap()), [1, 3]);
    assert_eq!(numbers(&store.owed(telegram, 1).await.unwrap()), [1]);
    let sending = store.delivery(DeliveryId(1)).await.unwrap().unwrap();
    let expected = Delivery {
        state: State::Sending,
        attempts: 3,
        next_at: at(20),
        error: Some(text("500")),
        reference: Some("8812".into()),
        failed_over: true,
        ..owed(1, "telegram")
    };
    assert_eq!(sending, expected);
}

pub(super) async fn references_name_the_newest_message(bench: &impl Bench) {
    let store = bench.store();
    let named = |group, reference: &str| Write::Reference {
        group: GroupId(group),
        reference: reference.into(),
    };
    let groups = [group(1, &[1], false), group(2, &[1], true)].map(|it| Write::Group(Box::new(it)));
    stand(&*store, groups.into()).await;
    stand(&*store, vec![named(1, "100"), named(2, "200"), named(1, "101")]).await;
    let mut found = bench.restarted().references().await.unwrap();
    found.sort();
    assert_eq!(found, [(GroupId(1), "101".into()), (GroupId(2), "200".into())]);
}
