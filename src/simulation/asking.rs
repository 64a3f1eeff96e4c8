//! Asking: commands and buttons on the real tree, as people would.

use std::sync::Arc;

use super::house::{House, lock, spec};
use crate::{
    control::{Caller, Class, Command, Controller, Face, Refusal, Reply, Scope, show::ShowView},
    domain::{
        delivery::{Body, Button},
        id::{DeliveryId, IncidentId},
        text::Text,
    },
};

fn controller(house: &House) -> Controller {
    let context = house.context.clone();
    let settings = Arc::new(move || Arc::clone(&context.wanted().desk));
    let sources = Arc::from(["http".to_owned(), "redis".to_owned()]);
    Controller::new(house.tower.clone(), settings, sources)
}

async fn ask(house: &House, command: &str) -> Result<Reply, Refusal> {
    let command: Command = serde_json::from_str(command).expect("a command");
    let caller = Caller { name: Text::clean("Ana", 40), via: Face::Socket, may: Scope::Act };
    controller(house).run(command, caller).await
}

/// The answer as JSON.
async fn asked(house: &House, command: &str) -> serde_json::Value {
    let reply = ask(house, command).await.unwrap_or_else(|error| panic!("{command}: {error}"));
    serde_json::to_value(reply).expect("json")
}

/// A house in which Mary is down and a person was told.
async fn mary_is_down() -> House {
    let house = House::with(&["mary"], spec()).await;
    house.beat("mary");
    house.pass(91.0).await;
    house.until(2, "the message", |it| it.phone.rings() == 1).await;
    house
}

#[tokio::test(start_paused = true)]
async fn what_is_down_is_seen_explained_and_taken() {
    let house = mary_is_down().await;
    let status = asked(&house, r#"{"command":"status"}"#).await;
    assert_eq!(status["troubles"][0]["watch"], "agent/mary", "{status}");
    let agents = asked(&house, r#"{"command":"agents"}"#).await;
    assert_eq!(agents[0]["verdict"], "down", "{agents}");

    let why = asked(&house, r#"{"command":"why","target":"mary"}"#).await;
    let chain = why["chain"].as_array().expect("a chain");
    assert!(chain.iter().any(|it| it["stage"] == "verdict"), "{why}");
    assert!(
        chain.iter().all(|it| it["rule"] != "" && it["origin"] != ""),
        "each link names its rule and place: {why}"
    );
    assert!(why["deliveries"].as_array().is_some_and(|it| !it.is_empty()), "{why}");

    let done = asked(&house, r#"{"command":"ack","targets":["mary"],"for":"2h"}"#).await;
    assert!(!done["done"][0].as_str().unwrap_or_default().is_empty(), "{done}");
    let incidents = asked(&house, r#"{"command":"incidents"}"#).await;
    assert_eq!(incidents[0]["status"], "acknowledged", "{incidents}");
    assert_eq!(incidents[0]["acknowledged_by"], "Ana", "{incidents}");

    let refusal = ask(&house, r#"{"command":"resolve","targets":["mary"]}"#).await;
    assert_eq!(refusal.expect_err("it still says so").class, Class::Refused);
    let refusal = ask(&house, r#"{"command":"why","target":"mray"}"#).await;
    assert!(refusal.expect_err("a typo").text.ends_with("did you mean agent/mary?"));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn silences_pauses_and_pings_do_what_they_say() {
    let house = mary_is_down().await;
    asked(&house, r#"{"command":"silence","target":"agent/m*","for":"1h","reason":["deploy"]}"#)
        .await;
    let silences = asked(&house, r#"{"command":"silences"}"#).await;
    assert_eq!(silences[0]["target"], "agent/m*", "{silences}");
    let id = silences[0]["id"].as_u64().expect("a number");
    asked(&house, &format!(r#"{{"command":"unsilence","id":{id}}}"#)).await;
    assert_eq!(asked(&house, r#"{"command":"silences"}"#).await, serde_json::json!([]));

    let took = asked(&house, r#"{"command":"ping","agent":"mary"}"#).await;
    assert_eq!(took["took"], "taken");
    house.until(5, "mary", |it| it.verdict("mary") == "up").await;
    asked(&house, r#"{"command":"pause","targets":["mary"]}"#).await;
    house.until(5, "mary", |it| it.verdict("mary") == "paused").await;
    let shown = ask(&house, r#"{"command":"show","target":"agent/mary"}"#).await.expect("mary");
    let Reply::Show(view) = shown else { panic!("another view: {shown:?}") };
    assert!(matches!(&*view, ShowView::Agent(it) if it.agent.verdict == "paused"), "{view:?}");
    asked(&house, r#"{"command":"resume","targets":["mary"]}"#).await;
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_button_acts_on_what_the_stored_row_offered() {
    let house = mary_is_down().await;
    let rows = house.tower.store().deliveries_of(IncidentId(1)).await.expect("rows");
    let row = rows
        .iter()
        .map(|it| &it.0)
        .find(|it| matches!(it.body, Body::New { .. }))
        .expect("the message");
    let Body::New { message, .. } = &row.body else { return };
    let place = |button| message.buttons.iter().position(|it| *it == button).expect("the button");
    let press = async |id: DeliveryId, index| {
        controller(&house).press(id, index, Text::clean("Ana", 40)).await
    };
    let why = press(row.id, place(Button::Why)).await.expect("why");
    assert!(why.reply.is_some_and(|it| it.contains("silence > 90s")));
    let ack = press(row.id, place(Button::Acknowledge(1))).await.expect("taken");
    assert!(ack.notice.starts_with("Yours until "), "{}", ack.notice);
    assert!(press(row.id, 99).await.is_err(), "no such button");
    assert!(press(DeliveryId(9999), 0).await.is_err(), "no such message");

    house.beat("mary");
    house
        .until(5, "the edit", |it| lock(&it.phone.told).iter().any(|it| it.text.contains("back")))
        .await;
    let late = press(row.id, place(Button::Acknowledge(1))).await.expect("an answer");
    assert!(late.notice.starts_with("Over since ") && late.clears_buttons, "{late:?}");
    house.stop().await;
}
