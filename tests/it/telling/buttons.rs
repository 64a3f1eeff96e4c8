//! Buttons: pressed by those who may, by those who may not, late, twice, and under messages that have changed since.

use std::time::Duration;

use serde_json::json;

use super::{QUIET, SOON, Scene, agents, plain};
use crate::support::{client, daemon::Daemon, telegram::FakeTelegram, wait};

const USER: i64 = FakeTelegram::USER;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledge_shows_who_has_it_and_nothing_repeats() {
    let registry = format!("[defaults.incident]\nrepeat = \"2s\"\n{}", agents(["mary"], ""));
    let scene = Scene::start(&registry).await;
    scene.fail("mary").await;
    let message = scene.shows(&["Mary has failed"]).await;
    assert_eq!(message.labels(), ["Acknowledge", "Silence 1 h", "Why"]);
    let press = scene.phone.press_button(message.id, "Acknowledge", USER);
    let toast = scene.phone.answered(&press, SOON).await.text;
    assert!(toast.starts_with("Yours until "), "{toast}");
    let until = toast.trim_start_matches("Yours until ");
    let held = scene.shows(&["👤 Ana has it until"]).await;
    assert!(plain(&held.text).contains(until), "{}", held.text);
    assert!(held.text.contains("no repeats, no escalation"), "{}", held.text);
    assert_eq!(held.button("Release").text, "Release");
    scene.status("mary", "acknowledged").await;
    scene.delivered().await;

    let sent = scene.phone.calls_of("sendmessage").len();
    wait::never(Duration::from_secs(5), "who has it is left alone", async || {
        let now = scene.phone.calls_of("sendmessage").len();
        (now != sent).then(|| scene.phone.story())
    })
    .await;

    // The same press again, as a phone with a bad line does it.
    let data = message.button("Acknowledge").data.clone();
    let again = scene.phone.press(message.id, &data, USER);
    scene.phone.answered(&again, SOON).await;
    let incident = scene.status("mary", "acknowledged").await;
    assert_eq!(incident["acknowledged_by"], "Ana");

    // A person holds it, so the end also comes as a silent reply.
    scene.back("mary").await;
    let reply = scene.shows(&["Mary is back"]).await;
    scene.delivered().await;
    let told = scene.phone.calls_of("sendmessage");
    let last = told.last().expect("there is one");
    assert!(last.silent && last.text.contains("is back"), "{}", scene.phone.story());
    assert_eq!(last.reply_to, Some(held.id), "{}", reply.text);

    let late = scene.phone.press(message.id, &data, USER);
    let toast = scene.phone.answered(&late, SOON).await.text;
    assert!(toast.starts_with("Over since "), "{toast}");
    scene.phone.assert_nothing_refused();
}

#[tokio::test(flavor = "multi_thread")]
async fn release_rings_again() {
    let scene = Scene::start(&agents(["mary"], "")).await;
    scene.fail("mary").await;
    let message = scene.shows(&["Mary has failed"]).await;
    scene.phone.press_button(message.id, "Acknowledge", USER);
    let held = scene.shows(&["Ana has it"]).await;
    let press = scene.phone.press_button(held.id, "Release", USER);
    assert!(scene.phone.answered(&press, SOON).await.text.starts_with("Released"));
    let rings = scene.shows(&["Ana gave it back"]).await;
    assert!(!rings.silent && rings.reply_to == Some(message.id), "{}", rings.text);
    scene.status("mary", "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_why_and_list_do_as_they_say() {
    let scene = Scene::start(&agents(["mary", "lisa"], "")).await;
    scene.fail("mary").await;
    let alone = scene.shows(&["Mary has failed"]).await;
    let press = scene.phone.press_button(alone.id, "Why", USER);
    assert_eq!(scene.phone.answered(&press, SOON).await.text, "Why Mary");
    let why = scene.shows(&["Mary is failed since", "opened critical"]).await;
    assert!(why.silent && why.reply_to == Some(alone.id), "{}", why.text);

    scene.fail("lisa").await;
    let both = scene.shows(&["2 agents have failed"]).await;
    let press = scene.phone.press_button(both.id, "List", USER);
    assert_eq!(scene.phone.answered(&press, SOON).await.text, "2 incidents");
    let list = scene.shows(&["Mary failed since", "Lisa failed since"]).await;
    assert!(list.silent && list.reply_to == Some(both.id), "{}", list.text);

    let press = scene.phone.press_button(both.id, "Silence 1 h", USER);
    let toast = scene.phone.answered(&press, SOON).await.text;
    assert!(toast.starts_with("Silent until ") && toast.contains("recovery is told"), "{toast}");
    let silent = scene.shows(&["🔇 Silent until"]).await;
    assert!(!silent.labels().contains(&"Silence 1 h"), "{:?}", silent.labels());
    let silences = scene.daemon.cli_json(&["silences"]).await;
    let targets: Vec<_> =
        silences.as_array().expect("a list").iter().map(|it| &it["target"]).collect();
    assert_eq!(targets, ["agent/mary", "agent/lisa"]);
    let rang = scene.phone.calls_of("sendmessage").len();
    scene.back("mary").await;
    scene.back("lisa").await;
    scene.shows(&["2 agents are back"]).await;
    scene.delivered().await;
    // Down once more under the silence: nobody is disturbed.
    scene.fail("mary").await;
    scene.status("mary", "open").await;
    wait::never(QUIET, "a silence keeps still", async || {
        let now = scene.phone.calls_of("sendmessage").len();
        (now != rang).then(|| scene.phone.story())
    })
    .await;
    scene.phone.assert_nothing_refused();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_revisions_button_acts_on_those_that_it_showed() {
    let scene = Scene::start(&agents(["mary", "lisa", "paul"], "")).await;
    scene.fail("mary").await;
    let first = scene.shows(&["Mary has failed"]).await;
    scene.fail("lisa").await;
    scene.shows(&["2 agents have failed"]).await;
    // The finger was on its way while Lisa joined.
    let data = first.button("Acknowledge").data.clone();
    let press = scene.phone.press(first.id, &data, USER);
    scene.phone.answered(&press, SOON).await;
    scene.status("mary", "acknowledged").await;
    assert_eq!(scene.incidents_of("lisa").await[0]["status"], "open");
    let shown = scene.shows(&["Ana has 1 of 2 until"]).await;
    assert_eq!(shown.button("Acknowledge").text, "Acknowledge");
    // The message took in whom it showed: the next opens another, which rings.
    scene.fail("paul").await;
    let other = scene.shows(&["Paul has failed"]).await;
    assert!(other.id != first.id && !other.silent, "{}", scene.phone.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_people_in_linked_chats_press_buttons() {
    const GROUP: i64 = -100_777;
    const STRANGE: i64 = -100_666;
    const MEMBER: i64 = 77;
    let phone = FakeTelegram::start().await;
    phone.add_chat(GROUP);
    phone.add_chat(STRANGE);
    let registry = format!(
        "[[receiver]]\nid = \"ops\"\ntelegram = {{ chat = {GROUP} }}\n\
         [[agent]]\nid = \"mary\"\nnotify = [\"ops\"]\n"
    );
    let daemon = Daemon::setup().telegram(&phone, "").registry(&registry).start().await;
    daemon.ping("mary/fail").await;
    let message = phone
        .shows(SOON, "the group hears of mary", |it| it.chat == GROUP && it.text.contains("mary"))
        .await;
    let data = message.button("Acknowledge").data.clone();

    // In a chat that is not linked, the same button under a message of the same bot.
    let url = format!("{}/bot{}/SendMessage", phone.url(), FakeTelegram::TOKEN);
    let body = json!({"chat_id": STRANGE, "text": "x", "reply_markup":
        {"inline_keyboard": [[{"text": "Acknowledge", "callback_data": data}]]}});
    client().post(url).json(&body).send().await.expect("the fake answers");
    let elsewhere = phone.shows(SOON, "it is there", |it| it.chat == STRANGE).await;
    let strange = phone.press(elsewhere.id, &data, USER);

    let member = phone.press(message.id, &data, MEMBER);
    let toast = phone.answered(&member, SOON).await.text;
    assert!(toast.contains("not in allowed_users"), "{toast}");
    let answered = phone.calls_of("answercallbackquery");
    assert!(
        answered.iter().all(|it| it.body["callback_query_id"] != strange),
        "a stranger is ignored"
    );
    assert_eq!(mary(&daemon).await["status"], "open");
    for forged in ["d:1:99", "d:999999:0", "d:1:-1", "x", "d:1:0:0"] {
        let press = phone.press(message.id, forged, USER);
        let toast = phone.answered(&press, SOON).await.text;
        assert!(!toast.starts_with("Yours"), "{forged}: {toast}");
    }
    assert_eq!(mary(&daemon).await["status"], "open");
    let allowed = phone.press(message.id, &data, USER);
    let toast = phone.answered(&allowed, SOON).await.text;
    assert!(toast.starts_with("Yours until"), "{toast}");
    phone.assert_nothing_refused();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_comes_and_its_button_comes_back() {
    let scene = Scene::start(&agents(["mary"], "")).await;
    let said = scene.daemon.cli(&["notify", "test"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    let message = scene.shows(&["Test: tower-test reaches you over telegram"]).await;
    assert!(!message.silent, "{}", message.text);
    let press = scene.phone.press_button(message.id, "Got it", USER);
    let toast = scene.phone.answered(&press, SOON).await.text;
    assert!(toast.starts_with("The button came back"), "{toast}");
    let hook = scene.hook.expect(SOON, "the hook is tried too", |it| it.event() == "test").await;
    assert!(hook.is_signed_with(super::SECRET), "{}", hook.body);
    let of_receivers = async || {
        let all = scene.daemon.incidents().await;
        all.into_iter().find(|it| it["watch"].as_str().is_some_and(|it| it.starts_with("receiver")))
    };
    assert_eq!(of_receivers().await, None, "a test is no trouble");
    let said = scene.daemon.cli(&["notify", "test", "telegarm"]).await;
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(said.stderr.contains("did you mean telegram?"), "{said:?}");
}

/// The incident of mary.
async fn mary(daemon: &Daemon) -> serde_json::Value {
    let all = daemon.incidents().await;
    all.into_iter().find(|it| it["watch"] == "agent/mary").expect("it is open")
}
