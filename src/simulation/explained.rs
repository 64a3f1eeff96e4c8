//! What a parent explains, in the whole tree: a child that falls first waits for the verdict of a parent
//! that is late, and is told when it does not come back with it.

use std::sync::Arc;

use super::house::{House, lock, spec};
use crate::{
    domain::{
        dependency::{Dependencies, Parents},
        id::Origin,
    },
    ports::registry::Read,
};

/// The registry of mary and db, of which mary depends on db.
fn leaning(house: &House) -> Read {
    let mut read = house.registry(&["mary", "db"], &spec());
    let mut dependencies = Dependencies::default();
    let origin = Origin::File { path: Arc::from("registry.toml"), line: 9 };
    let on = vec!["db".parse().expect("a watch")];
    dependencies.add(&"mary".parse().expect("a watch"), Parents { on, origin });
    let wanted = Arc::make_mut(&mut read.wanted);
    Arc::make_mut(&mut wanted.desk).dependencies = dependencies;
    read
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_falls_after_its_child_is_told_alone_and_the_child_a_minute_after_its_return()
{
    let house = House::with(&["mary", "db"], spec()).await;
    house.paper.write(Ok(leaning(&house)));
    house.pass(1.0).await;
    house.beat("mary");
    house.pass(10.0).await;
    house.beat("db");
    house.pass(85.0).await;
    assert_eq!(house.open().await, ["agent/mary down"]);
    assert_eq!(house.phone.rings(), 0, "db is late: {:?}", house.phone.texts());
    house.until(10, "the parent's fall", |it| it.phone.rings() == 1).await;
    assert!(house.phone.texts()[0].contains("db is down"), "{:?}", house.phone.texts());

    house.pass(30.0).await;
    house.beat("db");
    house.pass(55.0).await;
    assert_eq!(house.phone.rings(), 1, "{:?}", house.phone.texts());
    house.beat("db");
    house.until(10, "the child", |it| it.phone.rings() == 2).await;
    let told = lock(&house.phone.told).clone();
    let rang: Vec<&str> = told.iter().filter(|it| it.rings).map(|it| it.text.as_str()).collect();
    assert!(rang[1].contains("mary is down"), "{rang:?}");
    assert_eq!(house.hook.count("opened agent/mary"), 1);
    house.assert_book_equals_verdicts().await;
    house.stop().await;
}
