//! The far end fails in every way it can: nothing is lost, and nothing doubled where an answer came back.

use std::time::Duration;

use serde_json::json;

use super::{QUIET, SOON, Scene, agents, with_hook};
use crate::support::{
    daemon::Daemon,
    telegram::{FakeTelegram, Fault},
    wait,
    webhook::Webhook,
};

/// Opens, closes, and meets these faults both times; the chat then holds this many messages at most, and the
/// last one tells the truth.
async fn check(faults: &[Fault], messages_max: usize) {
    let scene = Scene::start(&agents(["mary"], "")).await;
    scene.phone.script("sendmessage", faults.to_vec());
    scene.fail("mary").await;
    scene.shows(&["Mary has failed"]).await;
    scene.delivered().await;
    scene.phone.script("editmessagetext", faults.to_vec());
    scene.back("mary").await;
    scene.shows(&["✅ Mary is back"]).await;
    scene.delivered().await;
    let messages = scene.phone.messages();
    assert!((1..=messages_max).contains(&messages.len()), "{}", scene.phone.story());
    let last = messages.last().expect("there is one");
    assert!(last.text.contains("is back"), "{}", scene.phone.story());
    let rang = scene.phone.calls_of("sendmessage").iter().filter(|it| !it.silent).count();
    assert!((1..=messages_max).contains(&rang), "{}", scene.phone.story());
    let failed = faults.iter().filter(|it| !matches!(it, Fault::Hang(_))).count();
    let asked = scene.phone.attempts_of("sendmessage").len();
    assert_eq!(asked, failed + 1, "each fault was met once, then it went");
    scene.phone.assert_nothing_refused();
}

#[tokio::test(flavor = "multi_thread")]
async fn telegram_answers_500_twice_then_takes_it() {
    check(&[Fault::Status(500), Fault::Status(500)], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_answers_in_its_place() {
    check(&[Fault::Status(502), Fault::Malformed], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_closes_is_tried_again() {
    check(&[Fault::Close], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_waited_for() {
    check(&[Fault::Hang(Duration::from_secs(3))], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_got_lost_doubles_at_most() {
    check(&[Fault::LoseAnswer], 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured_by_all_that_waits_for_the_chat() {
    const WAIT: Duration = Duration::from_secs(2);
    let soft = "severity = { degraded = \"critical\" }";
    let scene = Scene::start(&agents(["mary", "lisa"], soft)).await;
    scene.phone.script("sendmessage", [Fault::RetryAfter(WAIT.as_secs())]);
    scene.fail("mary").await;
    let limited = wait::eventually(SOON, "the chat is full", async || {
        scene.phone.attempts_of("sendmessage").first().cloned()
    })
    .await;
    // Another condition, so another message.
    scene.daemon.beat(&json!({"agent": "lisa", "status": "degraded"})).await;
    scene.shows(&["Mary has failed"]).await;
    scene.shows(&["Lisa is degraded"]).await;
    scene.delivered().await;
    let attempts = scene.phone.attempts_of("sendmessage");
    assert_eq!(attempts.len(), 3, "one refusal, then each once");
    for later in &attempts[1..] {
        assert!(WAIT <= later.at - limited.at, "asked again after {:?}", later.at - limited.at);
    }
    assert!(scene.phone.attempts_of("editmessagetext").is_empty(), "{}", scene.phone.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_bot_fails_over_to_the_next_of_the_chain() {
    const OPS: i64 = -77;
    let phone = FakeTelegram::start().await;
    phone.add_chat(OPS);
    phone.script("sendmessage", [Fault::Blocked]);
    let registry = format!(
        "[[route]]\nmatch = \"agent/*\"\nto = [\"telegram\"]\nthen = [{{ after = \"1h\", to = [\"ops\"] }}]\n\
         [[receiver]]\nid = \"ops\"\ntelegram = {{ chat = {OPS} }}\n[[agent]]\nid = \"mary\"\n"
    );
    let daemon = Daemon::setup().telegram(&phone, "").registry(&registry).start().await;
    daemon.ping("mary/fail").await;
    let told = phone
        .shows(SOON, "ops hears of mary", |it| it.chat == OPS && it.text.contains("mary"))
        .await;
    assert!(!told.silent && told.text.contains("has failed"), "{}", told.text);
    assert!(told.text.contains("You hear it because telegram did not take it"), "{}", told.text);
    daemon.ping("mary").await;
    let over =
        |it: &crate::support::telegram::Message| it.id == told.id && it.text.contains("back");
    phone.shows(SOON, "ops hears the end", over).await;
    let why = daemon.cli_json(&["why", "mary"]).await;
    let chain = why["chain"].as_array().expect("a chain");
    let lost =
        chain.iter().find(|it| it["outcome"] == "not delivered").expect("it is written down");
    assert!(lost["rule"].as_str().is_some_and(|it| it.contains("blocked")), "{lost}");
    phone.assert_nothing_refused();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_bot_without_a_chain_fails_over_to_another_receiver() {
    let (phone, hook) = (FakeTelegram::start().await, Webhook::start().await);
    phone.answer_all_with(Some(Fault::Blocked));
    let registry =
        "[[route]]\nmatch = \"agent/*\"\nto = [\"telegram\"]\n[[agent]]\nid = \"mary\"\n";
    let setup = Daemon::setup().telegram(&phone, "");
    let daemon = with_hook(setup, &hook, registry).start().await;
    daemon.ping("mary/fail").await;
    let of_mary = |event: &'static str| {
        move |it: &crate::support::webhook::Delivery| {
            it.event() == event && it.incident("watch") == "agent/mary"
        }
    };
    hook.expect(SOON, "the hook hears of mary", of_mary("opened")).await;
    daemon.ping("mary").await;
    hook.expect(SOON, "the hook hears the end", of_mary("resolved")).await;
    hook.expect(SOON, "and that the phone takes nothing", |it| {
        it.event() == "opened" && it.incident("watch") == "receiver/telegram"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_loses_nothing_and_doubles_nothing() {
    let soft = "severity = { degraded = \"critical\" }";
    let mut scene = Scene::start(&agents(["mary", "lisa", "paul"], soft)).await;
    scene.fail("paul").await;
    scene.shows(&["Paul has failed"]).await;
    scene.delivered().await;
    scene.phone.stop().await;
    // One ends and one begins while nobody can be reached; a third does both.
    scene.back("paul").await;
    scene.daemon.beat(&json!({"agent": "lisa", "status": "degraded"})).await;
    scene.status("lisa", "open").await;
    scene.back("lisa").await;
    scene.status("lisa", "resolved").await;
    scene.fail("mary").await;
    wait::last(Duration::from_secs(5)).await;
    scene.phone.start_again().await;
    scene.delivered().await;
    let late = scene.shows(&["Lisa is well again"]).await;
    assert!(late.silent, "what is over makes no sound: {}", late.text);
    scene.shows(&["Mary has failed"]).await;
    scene.back("mary").await;
    scene.shows(&["Mary is back"]).await;
    scene.delivered().await;
    let rang: Vec<String> = scene
        .phone
        .calls_of("sendmessage")
        .into_iter()
        .filter(|it| !it.silent)
        .map(|it| it.text)
        .collect();
    assert_eq!(rang.len(), 2, "one for Paul, one for Mary: {rang:?}");
    assert_eq!(scene.phone.messages().len(), 3, "{}", scene.phone.story());
    let events: Vec<String> =
        scene.hook.deliveries().iter().map(|it| it.event() + &it.incident("name")).collect();
    for name in ["Mary", "Lisa", "Paul"] {
        for event in ["opened", "resolved"] {
            let count = events.iter().filter(|it| **it == format!("{event}{name}")).count();
            assert_eq!(count, 1, "{event} of {name}: {events:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_telegram_answers_500_the_webhook_is_quick_and_a_press_is_answered_later() {
    let scene = Scene::start(&agents(["mary", "lisa"], "")).await;
    scene.fail("mary").await;
    let message = scene.shows(&["Mary has failed"]).await;
    scene.delivered().await;
    scene.phone.answer_all_with(Some(Fault::Status(500)));
    let press = scene.phone.press_button(message.id, "Acknowledge", FakeTelegram::USER);
    let began = wait::now();
    scene.fail("lisa").await;
    let told =
        scene.hook.expect(SOON, "the hook hears of lisa", |it| it.incident("name") == "Lisa").await;
    let took = told.at - began;
    assert!(took <= Duration::from_secs(1), "the webhook waited {took:?} for Telegram");
    wait::last(Duration::from_secs(3)).await;
    assert_eq!(scene.phone.messages().len(), 1, "nobody could be told");
    scene.phone.answer_all_with(None);
    let answer = scene.phone.answered(&press, Duration::from_mins(1)).await;
    assert!(answer.text.starts_with("Yours until"), "{}", answer.text);
    scene.status("mary", "acknowledged").await;
    scene.shows(&["2 agents have failed"]).await;
    scene.delivered().await;
    let count = scene.phone.calls_of("answercallbackquery").len();
    wait::never(QUIET, "an answer is not repeated", async || {
        let now = scene.phone.calls_of("answercallbackquery").len();
        (now != count).then_some(now)
    })
    .await;
    assert_eq!(count, 1);
}
