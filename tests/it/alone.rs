//! What it leans on is away: it starts, judges, and says what it cannot do.

use std::time::Duration;

use crate::support::{
    daemon::Daemon,
    free_port,
    telegram::FakeTelegram,
    webhook::{Fault, Webhook},
};

const SOON: Duration = Duration::from_secs(20);

/// A trouble of this part is shown by `status` with these words.
async fn part_is(daemon: &Daemon, watch: &str, trouble: &str, says: &str) {
    daemon
        .wait_until(&format!("{watch} is {trouble}: {says}"), SOON, async || {
            let status = daemon.cli_json(&["status"]).await;
            let parts = status["parts"].as_array()?.clone();
            parts
                .into_iter()
                .find(|it| it["watch"] == watch && it["trouble"] == trouble)
                .filter(|it| it["detail"].as_str().is_some_and(|it| it.contains(says)))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_telegram_and_webhook_it_starts_judges_and_delivers_later() {
    let fake = FakeTelegram::start().await;
    let mut sink = Webhook::start().await;
    let (redis, telegram) = (free_port(), free_port());
    let registry = format!(
        "[[agent]]\nid = \"mary\"\ninterval = \"300ms\"\ntimeout = \"1s\"\n\
         [[receiver]]\nid = \"hook\"\nwebhook = {{ url = \"{}\" }}\n\
         [[route]]\nmatch = \"agent/*\"\nto = [\"telegram\", \"hook\"]\n",
        sink.url()
    );
    let config = format!("[redis]\nurl = \"redis://127.0.0.1:{redis}/0\"\n");
    let chat = format!(
        "[telegram]\napi_url = \"http://127.0.0.1:{telegram}\"\nchat = {}\nallowed_users = [{}]\n",
        FakeTelegram::CHAT,
        FakeTelegram::USER
    );
    sink.stop().await;
    let setup = Daemon::setup().registry(&registry).config(&config).config(&chat);
    let daemon = setup.env("TELEGRAM_BOT_TOKEN", FakeTelegram::TOKEN).start().await;
    part_is(&daemon, "source/redis", "blind", "refused").await;

    daemon.ping("mary").await;
    daemon.verdict("mary", "down", SOON).await;
    daemon
        .wait_until("her incident is stored", SOON, async || {
            daemon.incidents().await.into_iter().find(|it| it["watch"] == "agent/mary")
        })
        .await;
    let said = daemon.cli(&["status"]).await;
    assert_eq!(said.status, Some(1), "{said:?}");
    for words in ["redis blind", "agent/mary", "hook", "telegram"] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    let why = daemon
        .wait_until("both deliveries are tried again and say why", SOON, async || {
            let why = daemon.cli(&["why", "mary"]).await.stdout;
            (2 <= why.matches("refused").count()).then_some(why)
        })
        .await;
    assert!(why.contains("hook") && why.contains("telegram"), "{why}");
    assert!(!why.contains(FakeTelegram::TOKEN) && !daemon.logs().contains(FakeTelegram::TOKEN));

    // The webhook comes back, and is told.
    sink.start_again().await;
    let told = sink
        .expect(Duration::from_secs(40), "what is owed is sent", |it| {
            it.event() == "opened" && it.incident("watch") == "agent/mary"
        })
        .await;
    assert_eq!(told.incident("condition"), "down");
    drop(fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_refuses_for_good_is_told_and_holds_nothing_up() {
    let sink = Webhook::start().await;
    sink.answer_all_with(Some(Fault::Status(403)));
    let well = Webhook::start().await;
    let registry = format!(
        "[[agent]]\nid = \"mary\"\ninterval = \"300ms\"\ntimeout = \"1s\"\n\
         [[receiver]]\nid = \"bad\"\nwebhook = {{ url = \"{}\" }}\n\
         [[receiver]]\nid = \"well\"\nwebhook = {{ url = \"{}\" }}\n\
         [[route]]\nmatch = \"*/*\"\nto = [\"bad\", \"well\"]\n",
        sink.url(),
        well.url()
    );
    let daemon = Daemon::setup().registry(&registry).start().await;
    daemon.ping("mary").await;
    let told = |it: &crate::support::webhook::Delivery| it.incident("watch") == "agent/mary";
    well.expect(SOON, "the other hears it", told).await;
    let why = daemon
        .wait_until("it says that one refused", SOON, async || {
            let why = daemon.cli(&["why", "mary"]).await.stdout;
            why.contains("403").then_some(why)
        })
        .await;
    assert!(why.contains("bad"), "{why}");
    daemon.ping("mary").await;
    well.expect(SOON, "and the end", |it| told(it) && it.event() == "resolved").await;
}
