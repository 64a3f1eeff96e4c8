//! What becomes of a message while its trouble lives: deleted, relapsed, repeated, superseded, muted, oddly named.

use std::time::Duration;

use serde_json::json;

use super::{ELSEWHERE, QUIET, SOON, Scene, agents, plain};
use crate::support::{telegram::FakeTelegram, wait, webhook::Delivery};

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_message_is_sent_anew() {
    let scene = Scene::start(&agents(["mary", "lisa"], "")).await;
    scene.fail("mary").await;
    let first = scene.shows(&["Mary has failed"]).await;
    scene.delivered().await;
    scene.phone.delete(first.id);
    scene.fail("lisa").await;
    let anew = scene.shows(&["2 agents have failed"]).await;
    assert!(anew.id != first.id && anew.silent, "{}", scene.phone.story());
    assert_eq!(anew.button("Acknowledge").text, "Acknowledge 2");
    scene.back("mary").await;
    scene.back("lisa").await;
    let over = scene.shows(&["2 agents are back"]).await;
    assert_eq!(over.id, anew.id, "what came anew is what is edited");
    scene.delivered().await;
    assert_eq!(scene.phone.messages().len(), 1, "{}", scene.phone.story());
    scene.phone.assert_nothing_refused();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relapse_rings_as_a_reply_and_takes_the_buttons() {
    let scene = Scene::start(&agents(["mary"], "")).await;
    scene.fail("mary").await;
    let first = scene.shows(&["Mary has failed"]).await;
    scene.back("mary").await;
    scene.shows(&["Mary is back"]).await;
    scene.delivered().await;
    scene.fail("mary").await;
    let again =
        scene.shows(&["Mary has failed again", "after coming back", "Second time since"]).await;
    assert!(!again.silent && again.reply_to == Some(first.id), "{}", scene.phone.story());
    let bare = async || scene.phone.message(first.id).keyboard.is_empty().then_some(());
    wait::eventually(SOON, "the old buttons go", bare).await;
    assert_eq!(scene.incidents_of("mary").await.len(), 1, "the same incident");
    assert_eq!(scene.incidents_of("mary").await[0]["occurrences"], 2);
    scene.back("mary").await;
    let back =
        |it: &crate::support::telegram::Message| it.id == again.id && it.text.contains("is back");
    scene.phone.shows(SOON, "the newest is edited", back).await;
    let events: Vec<String> = scene.hook.deliveries().iter().map(Delivery::event).collect();
    scene.delivered().await;
    assert!(
        events.starts_with(&["opened".into(), "resolved".into(), "opened".into()]),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_message_rings_again_until_somebody_has_it() {
    let registry = format!("[defaults.incident]\nrepeat = \"2s\"\n{}", agents(["mary"], ""));
    let scene = Scene::start(&registry).await;
    scene.fail("mary").await;
    let rang = async |count: usize| {
        wait::eventually(SOON, "it rings again", async || {
            let calls = scene.phone.calls_of("sendmessage");
            (count <= calls.len()).then_some(calls)
        })
        .await
    };
    let calls = rang(3).await;
    for pair in calls.windows(2) {
        assert_eq!(pair[1].reply_to, pair[0].message_id, "each replies to the one before");
        assert!(!pair[1].silent && pair[1].text.contains("Still so"), "{}", pair[1].text);
    }
    let why = scene.daemon.cli_json(&["why", "mary"]).await;
    let rows = why["deliveries"].as_array().expect("a list").iter();
    let rings: Vec<jiff::Timestamp> = rows
        .filter(|it| it["kind"] == "new")
        .map(|it| it["created_at"].to_string().trim_matches('"').parse().expect("a time"))
        .collect();
    for pair in rings.windows(2) {
        let gap = pair[1].duration_since(pair[0]).as_secs();
        assert!((2..5).contains(&gap), "rang again after {gap} s: {rings:?}");
    }
    scene.hook.expect(SOON, "a program hears it too", |it| it.event() == "repeated").await;
    let said = scene.daemon.cli(&["ack", "mary"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    scene.shows(&["has it until"]).await;
    scene.delivered().await;
    let (count, told) = (scene.phone.calls_of("sendmessage").len(), scene.hook.deliveries().len());
    wait::never(Duration::from_secs(5), "who has it is left alone", async || {
        let now = (scene.phone.calls_of("sendmessage").len(), scene.hook.deliveries().len());
        (now != (count, told)).then(|| scene.phone.story())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worse_condition_closes_the_lesser_without_a_sound() {
    let keys = "interval = \"1s\"\ntimeout = \"3s\"\nstall_after = \"1s\"";
    let scene = Scene::start(&agents(["mary"], keys)).await;
    let standing = json!({"progress": 1, "status": "working"});
    let names = ["mary".to_owned()];
    let stalled = async {
        let message = scene.shows(&["Mary is stalled: no progress since"]).await;
        scene.delivered().await;
        message
    };
    let stalled = super::while_beating(&scene.daemon, &names, &standing, stalled).await;
    // Now it says nothing at all.
    let down = scene.shows(&["Mary is down: silent since"]).await;
    assert!(!down.silent && down.id != stalled.id, "{}", scene.phone.story());
    let closed = scene.shows(&["⏸", "Mary is down now: was stalled"]).await;
    assert_eq!(closed.id, stalled.id);
    scene.delivered().await;
    let sent = scene.phone.calls_of("sendmessage");
    assert_eq!(sent.len(), 2, "one for each condition: {}", scene.phone.story());
    let incidents = scene.incidents_of("mary").await;
    let seen: Vec<_> = incidents
        .iter()
        .map(|it| (it["condition"].as_str(), it["status"].as_str(), it["ending"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (Some("down"), Some("open"), None),
            (Some("stalled"), Some("resolved"), Some("became down"))
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_is_counted_and_what_is_still_so_rings_when_it_ends() {
    let scene = Scene::start(&agents(["mary", "max"], "")).await;
    let said = scene.daemon.cli(&["silence", "agent/m*", "8s", "we", "move", "racks"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    scene.fail("mary").await;
    scene.fail("max").await;
    scene.status("max", "open").await;
    scene.back("max").await;
    scene.status("max", "resolved").await;
    let silences = scene.daemon.cli_json(&["silences"]).await;
    let silence = &silences[0];
    assert_eq!(
        (&silence["target"], &silence["muted"]),
        (&json!("agent/m*"), &json!(2)),
        "{silence}"
    );
    assert_eq!(silence["reason"], "we move racks");
    assert!(scene.phone.messages().is_empty(), "{}", scene.phone.story());
    assert!(scene.hook.deliveries().is_empty(), "nobody hears of what is silenced");
    let rings = scene.shows(&["Mary has failed", "Silence 1 has ended and it is still so"]).await;
    assert!(!rings.silent, "{}", rings.text);
    scene.hook.expect(SOON, "and the program", |it| it.event() == "opened").await;
    scene.delivered().await;
    assert_eq!(
        scene.phone.messages().len(),
        1,
        "what is over is not told: {}",
        scene.phone.story()
    );
    assert_eq!(scene.hook.deliveries().len(), 1);
    let why = scene.daemon.cli_json(&["why", "max"]).await;
    let held = why["chain"].as_array().expect("a chain").iter().find(|it| it["outcome"] == "held");
    let rule = held.and_then(|it| it["rule"].as_str()).expect("it is written down");
    assert!(rule.starts_with("silenced by #1"), "{rule}");
    let silences = scene.daemon.cli_json(&["silences"]).await;
    assert_eq!(silences, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_and_tasks_are_shown_as_they_are_and_bounded() {
    let long = "x".repeat(300);
    let odd = [
        ("tags", "<b>bold</b> & <script>", "&lt;b&gt;bold&lt;/b&gt; &amp; &lt;script&gt;"),
        ("marks", "_under_ *star* `tick` [a](b)", "_under_ *star* `tick` [a](b)"),
        ("emoji", "🦊👨‍👩‍👧 fox", "fox"),
        ("rtl", "שלום\u{202E}evil", "שלוםevil"),
        ("long", &long, "…"),
    ];
    let entry = |(id, name, _): &(&str, &str, &str)| {
        format!("[[agent]]\nid = \"{id}\"\nname = {}\n", toml_edit::value(*name))
    };
    let registry = format!(
        "[defaults.incident]\njoin_within = \"0s\"\n[[route]]\nmatch = \"agent/*\"\n\
         to = [\"telegram\", \"hook\"]\n{ELSEWHERE}{}",
        odd.iter().map(entry).collect::<String>()
    );
    let scene = Scene::start(&registry).await;
    for (id, name, shown) in odd {
        scene.daemon.beat(&json!({"agent": id, "task": name})).await;
        scene.fail(id).await;
        let open = scene.status(id, "open").await;
        let footer = format!("#{}", open["id"]);
        let says = |it: &crate::support::telegram::Message| {
            it.text.contains("has failed") && it.text.contains(&footer)
        };
        let found = scene.phone.shows(SOON, id, says).await;
        let first = found.text.lines().next().unwrap_or_default().to_owned();
        assert!(first.contains(shown), "{id}: {first}");
        assert!(!first.contains('\u{202E}'), "{first}");
        assert!(first.chars().count() < 160, "{first}");
        assert!(found.text.contains("Was doing: <i>"), "{}", found.text);
        // A program gets it whole, for it to escape.
        let opened =
            scene.hook.expect(SOON, id, |it| it.incident("watch") == format!("agent/{id}")).await;
        assert!(plain(&opened.incident("name")).chars().count() <= 300, "{}", opened.body);
        scene.back(id).await;
        let over = |it: &crate::support::telegram::Message| {
            it.id == found.id && it.text.contains("is back") && it.text.contains(shown)
        };
        scene.phone.shows(SOON, "its end", over).await;
    }
    scene.delivered().await;
    assert_eq!(scene.phone.messages().len(), odd.len(), "{}", scene.phone.story());
    scene.phone.assert_nothing_refused();
    wait::never(QUIET, "nothing more comes", async || {
        (scene.phone.messages().len() != odd.len()).then_some(FakeTelegram::CHAT)
    })
    .await;
}
