//! The harness itself: a fake that forgives would let a broken sender pass.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    client,
    daemon::Daemon,
    netns::Namespace,
    proxy::{Mode, Proxy},
    redis::Redis,
    telegram::{FakeTelegram, Fault, check::html},
    wait,
    webhook::{self, Webhook},
};

const SOON: Duration = Duration::from_secs(5);
/// How long "nothing comes" is watched for.
const A_WHILE: Duration = Duration::from_millis(300);

async fn call(fake: &FakeTelegram, method: &str, body: &Value) -> Value {
    try_call(fake, method, body).await.expect("the fake answers in JSON")
}

async fn try_call(fake: &FakeTelegram, method: &str, body: &Value) -> reqwest::Result<Value> {
    let url = format!("{}/bot{}/{method}", fake.url(), FakeTelegram::TOKEN);
    client().post(url).json(body).send().await?.json().await
}

async fn send(fake: &FakeTelegram, text: &str) -> Value {
    call(
        fake,
        "SendMessage",
        &json!({"chat_id": FakeTelegram::CHAT, "text": text, "parse_mode": "HTML"}),
    )
    .await
}

/// The text goes through, or is refused with these words.
async fn check_text(fake: &FakeTelegram, text: &str, refused: Option<&str>) {
    let answer = send(fake, text).await;
    let said = answer["description"].as_str();
    match refused {
        None => assert_eq!(answer["ok"], true, "{text:?}: {answer}"),
        Some(words) => assert!(said.is_some_and(|it| it.contains(words)), "{text:?}: {answer}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_takes_the_house_html_and_no_other() {
    let fake = FakeTelegram::start().await;
    check_text(&fake, "🔴 <b>Mary is down</b>: <i>a &lt;b&gt; &amp; _x_</i>", None).await;
    check_text(
        &fake,
        "<blockquote expandable>line\nline</blockquote> <code>&quot;x&#39;</code>",
        None,
    )
    .await;
    fake.assert_nothing_refused();
    let wrong = "can't parse entities";
    for text in [
        "<u>x</u>",
        "<b>x",
        "<b>x</i>",
        "x</b>",
        "<b><i>x</i></b>",
        "a & b",
        "&copy;",
        "1 < 2",
        "2 > 1",
        "<b",
    ] {
        check_text(&fake, text, Some(wrong)).await;
    }
    check_text(&fake, " <b></b>", Some("message text is empty")).await;
    assert_eq!(fake.refusals().len(), 11);
    assert_eq!(fake.calls_of("SendMessage").len(), 2, "what is refused is not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_measured_in_utf16_units_without_its_markup() {
    let fake = FakeTelegram::start().await;
    check_text(&fake, &format!("<b>{}</b>", "&lt;".repeat(4096)), None).await;
    check_text(&fake, &"x".repeat(4097), Some("message is too long")).await;
    check_text(&fake, &"🔴".repeat(2048), None).await;
    check_text(&fake, &format!("{}x", "🔴".repeat(2048)), Some("message is too long")).await;
    assert_eq!(html("a&#x26;b").as_deref(), Ok("a&b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_chats_tokens_and_methods_are_refused() {
    let fake = FakeTelegram::start().await;
    let chat = FakeTelegram::CHAT;
    let button =
        |data: &str| json!({"inline_keyboard": [[{"text": "Why", "callback_data": data}]]});
    let link = |url: &str| json!({"inline_keyboard": [[{"text": "Open", "url": url}]]});
    for (body, words) in [
        (json!({"chat_id": chat, "text": "x", "disable_web_page_preview": true}), "unknown field"),
        (json!({"chat_id": chat, "text": "x", "parse_mode": "Markdown"}), "unsupported parse_mode"),
        (
            json!({"chat_id": chat, "text": "x", "reply_markup": button(&"d".repeat(65))}),
            "BUTTON_DATA_INVALID",
        ),
        (
            json!({"chat_id": chat, "text": "x", "reply_markup": link("http://localhost:7717/")}),
            "Wrong HTTP URL",
        ),
        (json!({"chat_id": 1, "text": "x"}), "chat not found"),
        (
            json!({"chat_id": chat, "text": "x", "reply_parameters": {"message_id": 9}}),
            "message to be replied not found",
        ),
    ] {
        let answer = call(&fake, "SendMessage", &body).await;
        assert!(
            answer["description"].as_str().is_some_and(|it| it.contains(words)),
            "{body}: {answer}"
        );
    }
    assert_eq!(call(&fake, "SendDice", &json!({})).await["error_code"], 404);
    let url = format!("{}/bot1:wrong/GetMe", fake.url());
    assert_eq!(client().post(url).send().await.expect("an answer").status(), 401);
    let good = json!({"chat_id": chat, "text": "x", "reply_markup": button(&"d".repeat(64))});
    assert_eq!(call(&fake, "SendMessage", &good).await["ok"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_edited_as_the_real_one_edits() {
    let fake = FakeTelegram::start().await;
    let id = send(&fake, "<b>down</b>").await["result"]["message_id"].as_i64().expect("an id");
    let edit = async |text: &str| {
        let body = json!({"chat_id": FakeTelegram::CHAT, "message_id": id, "text": text, "parse_mode": "HTML"});
        call(&fake, "EditMessageText", &body).await
    };
    let said = edit("<b>down</b>").await["description"].to_string();
    assert!(said.contains("message is not modified"), "{said}");
    assert_eq!(edit("<b>up</b>").await["ok"], true);
    assert_eq!((fake.message(id).text.as_str(), fake.message(id).edits), ("<b>up</b>", 1));
    fake.delete(id);
    assert_eq!(edit("late").await["description"], "Bad Request: message to edit not found");
    assert!(fake.messages().is_empty());
    fake.assert_nothing_refused();
}

#[tokio::test(flavor = "multi_thread")]
async fn long_polling_wakes_for_a_press_and_confirms_by_offset() {
    let fake = FakeTelegram::start().await;
    let body = json!({
        "chat_id": FakeTelegram::CHAT, "text": "down",
        "reply_markup": {"inline_keyboard": [[{"text": "Acknowledge", "callback_data": "a1"}]]},
    });
    let id =
        call(&fake, "SendMessage", &body).await["result"]["message_id"].as_i64().expect("an id");
    let began = wait::now();
    let poll = json!({"timeout": 8, "allowed_updates": ["callback_query", "message"]});
    let pressed = async {
        wait::eventually(SOON, "the poll waits", async || fake.attempts_of("GetUpdates").pop())
            .await;
        fake.press_button(id, "Ack", FakeTelegram::USER)
    };
    let (answer, query) = tokio::join!(call(&fake, "GetUpdates", &poll), pressed);
    let update = &answer["result"][0];
    assert_eq!(
        (&update["callback_query"]["data"], &update["callback_query"]["id"]),
        (&json!("a1"), &json!(query))
    );
    assert!(wait::now() - began < SOON, "the press ends the poll");
    let update: teloxide::types::Update =
        serde_json::from_str(&update.to_string()).expect("teloxide reads it");
    assert!(matches!(update.kind, teloxide::types::UpdateKind::CallbackQuery(_)), "{update:?}");

    let answered = json!({"callback_query_id": query, "text": "yours"});
    assert_eq!(call(&fake, "AnswerCallbackQuery", &answered).await["ok"], true);
    assert_eq!(fake.answered(&query, SOON).await.text, "yours");
    assert_eq!(call(&fake, "AnswerCallbackQuery", &answered).await["ok"], false, "once");

    fake.text_from(7, -5, "/status now");
    let next = call(&fake, "GetUpdates", &json!({"offset": update.id.0 + 1})).await;
    assert_eq!(next["result"].as_array().map(Vec::len), Some(1));
    let message: teloxide::types::Update =
        serde_json::from_str(&next["result"][0].to_string()).expect("teloxide reads it");
    assert!(matches!(message.kind, teloxide::types::UpdateKind::Message(_)), "{message:?}");
    let over = call(&fake, "GetUpdates", &json!({"offset": message.id.0 + 1, "timeout": 0})).await;
    assert_eq!(over["result"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn teloxide_itself_talks_to_the_fake() {
    use teloxide::{
        Bot, payloads::SendMessageSetters as _, requests::Requester as _, types::ParseMode,
    };
    let fake = FakeTelegram::start().await;
    let bot = Bot::with_client(FakeTelegram::TOKEN, client())
        .set_api_url(fake.url().parse().expect("a URL"));
    assert_eq!(bot.get_me().await.expect("GetMe").username(), "tower1_bot");
    assert!(bot.get_webhook_info().await.expect("GetWebhookInfo").url.is_none());
    bot.delete_webhook().await.expect("DeleteWebhook");
    let chat = teloxide::types::ChatId(FakeTelegram::CHAT);
    let sent =
        bot.send_message(chat, "<b>x</b>").parse_mode(ParseMode::Html).await.expect("SendMessage");
    bot.edit_message_text(chat, sent.id, "y").await.expect("EditMessageText");
    fake.script("SendMessage", [Fault::RetryAfter(7), Fault::Blocked]);
    let limited = bot.send_message(chat, "z").await.expect_err("429");
    assert!(
        matches!(limited, teloxide::RequestError::RetryAfter(it) if it.seconds() == 7),
        "{limited:?}"
    );
    let blocked = bot.send_message(chat, "z").await.expect_err("403");
    assert!(
        matches!(blocked, teloxide::RequestError::Api(teloxide::ApiError::BotBlocked)),
        "{blocked:?}"
    );
    fake.assert_nothing_refused();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_fails_as_told_and_recovers() {
    let mut fake = FakeTelegram::start().await;
    fake.script(
        "SendMessage",
        [
            Fault::Status(500),
            Fault::Status(502),
            Fault::RetryAfter(7),
            Fault::Malformed,
            Fault::Close,
            Fault::LoseAnswer,
        ],
    );
    let body = json!({"chat_id": FakeTelegram::CHAT, "text": "x"});
    assert_eq!(call(&fake, "SendMessage", &body).await["error_code"], 500);
    assert!(try_call(&fake, "SendMessage", &body).await.is_err(), "a gateway's page is no JSON");
    assert_eq!(call(&fake, "SendMessage", &body).await["parameters"]["retry_after"], 7);
    for _ in ["malformed", "closed", "performed, its answer lost"] {
        assert!(try_call(&fake, "SendMessage", &body).await.is_err());
    }
    assert_eq!(fake.messages().len(), 1, "only the lost answer was performed");
    assert_eq!(fake.attempts_of("SendMessage").len(), 6);
    fake.answer_all_with(Some(Fault::Status(500)));
    assert_eq!(call(&fake, "GetMe", &json!({})).await["ok"], false);
    fake.answer_all_with(None);
    fake.stop().await;
    assert!(try_call(&fake, "GetMe", &json!({})).await.is_err_and(|it| it.is_connect()));
    fake.start_again().await;
    assert_eq!(call(&fake, "GetMe", &json!({})).await["ok"], true);
    assert_eq!(fake.messages().len(), 1, "the chats outlive the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_keeps_checks_and_fails() {
    let sink = Webhook::start().await;
    sink.script([webhook::Fault::Status(500), webhook::Fault::Close]);
    // RFC 4231, test case 2.
    let signature = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let post = async || {
        let request = client().post(sink.url()).header("X-Atalaya-Signature", signature);
        request.body("what do ya want for nothing?").send().await
    };
    assert_eq!(post().await.expect("an answer").status(), 500);
    assert!(post().await.is_err());
    assert_eq!(post().await.expect("an answer").status(), 200);
    assert_eq!((sink.attempts().len(), sink.deliveries().len()), (3, 1));
    let kept = sink.deliveries().remove(0);
    assert!(kept.is_signed_with("Jefe"));
    assert!(!kept.is_signed_with("jefe"));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_starts_dies_returns_and_stands_still() {
    let mut redis = Redis::start().await;
    let client = ::redis::Client::open(redis.url()).expect("a URL");
    let mut heard = client.get_async_pubsub().await.expect("a connection");
    heard.psubscribe("agents:*").await.expect("a subscription");
    redis.heard(SOON).await;
    assert_eq!(redis.publish("agents:heartbeat:mary", r#"{"status":"ok \"so\""}"#), 1);
    let payload = r#"{"task":"é\n"}"#;
    redis.publish_all([("agents:x", payload), ("elsewhere", "1")]);
    let mut messages = heard.on_message();
    for expected in [r#"{"status":"ok \"so\""}"#, payload] {
        let message = futures_util::StreamExt::next(&mut messages).await.expect("a message");
        assert_eq!(message.get_payload::<String>().expect("text"), expected);
    }
    redis.hset("h", &[("last_seen", "1"), ("status", "alive")]);
    assert_eq!(redis.cli(&["HGET", "h", "status"]).trim(), "alive");

    redis.kill9();
    assert!(client.get_async_pubsub().await.is_err());
    redis.start_again().await;
    assert_eq!(redis.cli(&["EXISTS", "h"]).trim(), "0", "it returns empty");

    redis.sigstop();
    assert!(ping(redis.port, A_WHILE).await.is_none(), "a stopped server does not answer");
    redis.sigcont();
    assert!(ping(redis.port, SOON).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_goes_half_open_and_back() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port);
    let mut stream =
        tokio::net::TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("a connection");
    assert!(echo(&mut stream, SOON).await.is_some());
    proxy.set(Mode::HalfOpen);
    assert!(echo(&mut stream, A_WHILE).await.is_none(), "nothing passes");
    let mut fresh =
        tokio::net::TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("still accepted");
    assert!(echo(&mut fresh, A_WHILE).await.is_none(), "nothing passes");
    proxy.set(Mode::Pass);
    let mut late = [0; 7];
    stream.read_exact(&mut late).await.expect("what was held back goes on");
    assert_eq!(&late, b"+PONG\r\n");
    proxy.set(Mode::Delay(A_WHILE));
    let began = wait::now();
    assert!(echo(&mut stream, SOON).await.is_some());
    assert!(A_WHILE < wait::now() - began);
    proxy.cut();
    assert_eq!(stream.read(&mut late).await.unwrap_or(0), 0, "cut");
    proxy.set(Mode::Drop);
    assert!(ping(proxy.port, SOON).await.is_none());
    proxy.set(Mode::Pass);
    assert!(ping(proxy.port, SOON).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_in_a_namespace_vanish_and_return() {
    let Some(namespace) = Namespace::new("packets_in_a_namespace_vanish_and_return") else {
        return;
    };
    let redis = Redis::start_in(&namespace).await;
    let address = (namespace.inner_address(), redis.port);
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("the link is up");
    assert!(echo(&mut stream, SOON).await.is_some());
    namespace.drop_packets();
    assert!(echo(&mut stream, A_WHILE).await.is_none(), "packets vanish");
    assert_eq!(redis.cli(&["PING"]).trim(), "PONG", "its own loopback still works");
    namespace.pass_packets();
    let mut late = [0; 7];
    stream.read_exact(&mut late).await.expect("TCP sends again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemons_folder_holds_both_files_as_the_test_wants_them() {
    let fake = FakeTelegram::start().await;
    let setup =
        Daemon::setup().node("# more").http("token = \"t\"").config("[log]\nlevel = \"debug\"");
    let daemon =
        setup.telegram(&fake, "listen = false").registry("auto_register = false\n").write();
    let config: toml_edit::DocumentMut = daemon.config().parse().expect("the harness writes TOML");
    assert_eq!(
        config["http"]["bind"].as_str(),
        Some(format!("127.0.0.1:{}", daemon.port).as_str())
    );
    assert_eq!(
        (config["http"]["token"].as_str(), config["log"]["level"].as_str()),
        (Some("t"), Some("debug"))
    );
    assert_eq!(config["telegram"]["chat"].as_integer(), Some(FakeTelegram::CHAT));
    let registry =
        || std::fs::read_to_string(daemon.path("config/registry.toml")).expect("it is there");
    assert_eq!(registry(), "auto_register = false\n");
    daemon.replace_registry_by_rename("a = 1");
    assert_eq!(registry(), "a = 1");
    daemon.write_registry_in_halves("b = 'é'", A_WHILE).await;
    assert_eq!(registry(), "b = 'é'");
    assert!(daemon.socket().as_os_str().len() < 100, "a socket's path has 108 bytes at most");
}

async fn ping(port: u16, deadline: Duration) -> Option<()> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    echo(&mut stream, deadline).await
}

/// PING and PONG on one connection.
async fn echo(stream: &mut tokio::net::TcpStream, deadline: Duration) -> Option<()> {
    stream.write_all(b"PING\r\n").await.ok()?;
    let mut answer = [0; 7];
    tokio::time::timeout(deadline, stream.read_exact(&mut answer)).await.ok()?.ok()?;
    (&answer == b"+PONG\r\n").then_some(())
}
