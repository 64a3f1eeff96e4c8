//! Notifiers against servers on loopback: what goes out, and what each answer is taken for.

use std::{
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use tokio::{process::Command, time::timeout};

use super::*;
use crate::{
    domain::{
        delivery::{Body, Button, Delivery, Message, Span, State},
        id::{DeliveryId, IncidentId, ReceiverId},
        incident::Severity,
        watch::Condition,
    },
    ports::notifier::{Context, Notifier},
    wire::{
        fake::{Answer, Asked, DEADLINE, Fake},
        http,
    },
};

fn delivery(body: Body) -> Delivery {
    Delivery {
        id: DeliveryId(31),
        key: "incident:412 step:0 hook 3".to_owned(),
        receiver: ReceiverId::new("hook"),
        group: None,
        incidents: vec![IncidentId(412)],
        condition: Condition::Down,
        severity: Severity::Critical,
        revision: 3,
        body,
        created_at: Timestamp::UNIX_EPOCH,
        state: State::Sending,
        attempts: 0,
        next_at: Timestamp::UNIX_EPOCH,
        deadline: Timestamp::UNIX_EPOCH,
        error: None,
        reference: None,
        failed_over: false,
    }
}

fn event() -> Delivery {
    delivery(Body::Event(Event {
        event: "opened",
        incident: r#"{"id":412,"watch":"agent/mary"}"#.to_owned(),
        status: "open",
        message: "Mary <!channel> is down".to_owned(),
        source: "atalaya",
    }))
}

fn message() -> Message {
    Message {
        glyph: "🔴",
        headline: vec![Span::Bold("Mary <b>_😀 is down".into())],
        lines: Vec::new(),
        quote: Vec::new(),
        footer: "tower-1 · #412".into(),
        buttons: vec![Button::Acknowledge(7), Button::SilenceOneHour, Button::List, Button::Why],
    }
}

fn accepted(reference: &str) -> Attempt {
    Attempt::Accepted { reference: Some(reference.to_owned()) }
}

async fn send(notifier: &dyn Notifier, delivery: &Delivery, last: Option<&str>) -> Attempt {
    let context = Context { reference: last.map(str::to_owned) };
    // No answer of a receiver may hold a worker: not the 10 s of teloxide's transport either.
    timeout(Duration::from_secs(8), notifier.send(delivery, &context)).await.expect("it is prompt")
}

mod in_telegram {
    use super::*;

    fn telegram(api_url: reqwest::Url) -> telegram::Telegram {
        let settings =
            telegram::Settings { token: "1:a".into(), api_url, chat: -5, thread: Some(3) };
        telegram::new(settings, http::client().expect("a client")).expect("settings are good")
    }

    fn new(rings: bool) -> Delivery {
        delivery(Body::New { message: message(), rings })
    }

    fn edit() -> Delivery {
        delivery(Body::Edit { message: message() })
    }

    #[tokio::test]
    async fn a_new_message_rings_replies_and_takes_the_buttons() {
        let fake = Fake::start().await;
        let bot = telegram(fake.url.clone());
        assert_eq!(send(&bot, &new(true), None).await, accepted("101"));
        fake.script("EditMessageReplyMarkup", Answer::new(500, "oops"));
        assert_eq!(send(&bot, &new(false), Some("101")).await, accepted("102"));

        let sent: Vec<_> = fake.asked("SendMessage").iter().map(Asked::json).collect();
        let text = "🔴 <b>Mary &lt;b&gt;_😀 is down</b>\n<i>tower-1 · #412</i>";
        let keyboard = json!({ "inline_keyboard": [
            [
                { "text": "Acknowledge 7", "callback_data": "d:31:0" },
                { "text": "Silence 1 h", "callback_data": "d:31:1" },
                { "text": "List", "callback_data": "d:31:2" },
            ],
            [{ "text": "Why", "callback_data": "d:31:3" }],
        ]});
        let first = json!({
            "chat_id": -5, "message_thread_id": 3, "text": text, "parse_mode": "HTML",
            "link_preview_options": { "is_disabled": true },
            "disable_notification": false, "reply_markup": keyboard,
        });
        assert_eq!(sent[0], first);
        assert_eq!(sent[1]["disable_notification"], true);
        let reply = json!({ "message_id": 101, "allow_sending_without_reply": true });
        assert_eq!(sent[1]["reply_parameters"], reply);
        let tidied: Vec<_> = fake.asked("EditMessageReplyMarkup").iter().map(Asked::json).collect();
        assert_eq!(tidied, [json!({ "chat_id": -5, "message_id": 101 })]);
    }

    #[tokio::test]
    async fn an_edit_keeps_the_message_and_says_when_it_is_gone() {
        let fake = Fake::start().await;
        let bot = telegram(fake.url.clone());
        assert_eq!(send(&bot, &edit(), Some("101")).await, accepted("101"));
        let edited = fake.asked("EditMessageText")[0].json();
        assert_eq!(edited["message_id"], 101);
        assert_eq!(edited["reply_markup"]["inline_keyboard"][1][0]["callback_data"], "d:31:3");

        let same = "Bad Request: message is not modified: specified new message content and reply \
                    markup are exactly the same";
        for (refusal, expected) in [
            (same, accepted("101")),
            ("Bad Request: message to edit not found", Attempt::Gone),
            ("Bad Request: MESSAGE_ID_INVALID", Attempt::Gone),
        ] {
            fake.script("EditMessageText", Answer::refusal(400, refusal));
            assert_eq!(send(&bot, &edit(), Some("101")).await, expected, "{refusal}");
        }
        assert_eq!(send(&bot, &edit(), None).await, Attempt::Gone);
        assert_eq!(send(&bot, &edit(), Some("odd")).await, Attempt::Gone);
        assert!(matches!(send(&bot, &event(), None).await, Attempt::Refused { .. }));
    }

    #[tokio::test]
    async fn each_answer_is_taken_for_what_it_is() {
        let fake = Fake::start().await;
        let bot = telegram(fake.url.clone());
        let slow = json!({ "ok": false, "error_code": 429, "description": "Too Many Requests",
            "parameters": { "retry_after": 7 } });
        for (answer, after) in [
            (Answer::new(500, "oops"), None),
            (Answer::new(502, "<html>"), None),
            (Answer::new(200, "{\"ok\":tr"), None),
            (Answer::new(403, "<html>a proxy"), None),
            (Answer::new(302, ""), None),
            (Answer::new(429, slow), Some(SignedDuration::from_secs(7))),
        ] {
            fake.script("SendMessage", answer.clone());
            let said = send(&bot, &new(true), None).await;
            assert!(
                matches!(&said, Attempt::Again { after: it, .. } if *it == after),
                "{answer:?} {said:?}"
            );
        }
        for (answer, mend) in [
            (Answer::refusal(401, "Unauthorized"), "TELEGRAM_BOT_TOKEN"),
            (Answer::refusal(404, "Not Found"), "TELEGRAM_BOT_TOKEN"),
            (Answer::refusal(403, "Forbidden: bot was blocked by the user"), "press Start"),
            (Answer::refusal(400, "Bad Request: chat not found"), "press Start"),
            (Answer::refusal(400, "Bad Request: message thread not found"), "`thread`"),
            (
                Answer::refusal(
                    400,
                    "Bad Request: not enough rights to send text messages to the chat",
                ),
                "give it the right",
            ),
            (
                Answer::new(
                    400,
                    json!({ "ok": false, "error_code": 400, "description": "upgraded",
                "parameters": { "migrate_to_chat_id": -1007 } }),
                ),
                "`chat = -1007`",
            ),
        ] {
            fake.script("SendMessage", answer.clone());
            let said = send(&bot, &new(true), None).await;
            assert!(
                matches!(&said, Attempt::Refused { why } if why.contains(mend)),
                "{answer:?} {said:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_text_that_is_refused_goes_out_bare() {
        let fake = Fake::start().await;
        let bot = telegram(fake.url.clone());
        let unparsable = Answer::refusal(400, "Bad Request: can't parse entities: odd tag");
        fake.script("SendMessage", unparsable.clone());
        assert_eq!(send(&bot, &new(true), None).await, accepted("102"));
        let bare = fake.asked("SendMessage")[1].json();
        assert_eq!(bare["text"], "🔴 Mary <b>_😀 is down\ntower-1 · #412");
        assert!(bare.get("parse_mode").is_none());
        fake.script("EditMessageText", unparsable.clone());
        assert_eq!(send(&bot, &edit(), Some("102")).await, accepted("102"));

        fake.script("SendMessage", unparsable.clone());
        fake.script("SendMessage", unparsable);
        let said = send(&bot, &new(true), None).await;
        assert!(matches!(&said, Attempt::Refused { why } if why.contains("odd tag")), "{said:?}");
    }

    #[tokio::test]
    async fn no_connection_is_tried_again_and_the_token_stays_secret() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let bot = telegram(url.parse().expect("a url"));
        let closing = std::thread::spawn(move || drop(listener.accept()));
        // The first connection is closed without a word, the second is refused.
        for _ in 0..2 {
            let said = send(&bot, &new(true), None).await;
            assert!(
                matches!(&said, Attempt::Again { after: None, why } if !why.contains("1:a")),
                "{said:?}"
            );
        }
        closing.join().expect("it ends");
    }
}

mod by_webhook {
    use super::*;
    use webhook::Template;

    fn hook(fake: &Fake, template: Template, secret: Option<&str>) -> webhook::Webhook {
        let settings = webhook::Settings {
            url: fake.url.join("hook").expect("a url"),
            secret: secret.map(Into::into),
            template,
            headers: vec![("Authorization".to_owned(), "Bearer x".into())],
        };
        webhook::new(settings, http::client().expect("a client")).expect("settings are good")
    }

    #[tokio::test]
    async fn the_body_is_whole_and_signed() {
        let fake = Fake::start().await;
        let hook = hook(&fake, Template::Atalaya, Some("key"));
        let none = Attempt::Accepted { reference: None };
        assert_eq!(send(&hook, &event(), None).await, none);
        let asked = &fake.asked("hook")[0];
        let body = json!({
            "event": "opened",
            "incident": { "id": 412, "watch": "agent/mary" },
            "message": "Mary <!channel> is down",
            "idempotency_key": "incident:412 step:0 hook 3",
        });
        assert_eq!(asked.json(), body);
        let signature = {
            use hmac::{Hmac, KeyInit, Mac};
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"key").expect("any key");
            mac.update(&asked.bytes);
            format!("sha256={}", hex(&mac.finalize().into_bytes()))
        };
        assert_eq!(asked.header("x-atalaya-signature"), Some(signature.as_str()));
        assert_eq!(signature.len(), 7 + 64);
        assert_eq!(asked.header("idempotency-key"), Some("incident:412 step:0 hook 3"));
        assert_eq!(asked.header("authorization"), Some("Bearer x"));
        assert_eq!(asked.header("content-type"), Some("application/json"));
        let agent = asked.header("user-agent").expect("it names itself");
        assert!(agent.starts_with("atalaya/"), "{agent}");
    }

    #[tokio::test]
    async fn slack_and_discord_get_their_own_bodies_and_no_signature() {
        let fake = Fake::start().await;
        send(&hook(&fake, Template::Slack, None), &event(), None).await;
        send(&hook(&fake, Template::Discord, None), &event(), None).await;
        let asked = fake.asked("hook");
        let slack = json!({ "text": "🔴 Mary &lt;!channel&gt; is down", "mrkdwn": false });
        assert_eq!(asked[0].json(), slack);
        let discord = json!({
            "content": "🔴 Mary \\<!channel\\> is down",
            "allowed_mentions": { "parse": [] },
        });
        assert_eq!(asked[1].json(), discord);
        assert_eq!(asked[1].header("x-atalaya-signature"), None);
    }

    #[tokio::test]
    async fn only_gone_is_for_good() {
        let fake = Fake::start().await;
        let hook = hook(&fake, Template::Atalaya, None);
        for status in [301, 400, 401, 403, 404, 408, 425, 429, 500, 503] {
            let headers = vec![
                ("retry-after", "5".to_owned()),
                ("location", "https://else.where/secret".to_owned()),
            ];
            fake.script("hook", Answer { status, headers, body: "x".repeat(1 << 20) });
            let said = send(&hook, &event(), None).await;
            let Attempt::Again { after, why } = said else { panic!("{status}: {said:?}") };
            assert_eq!(after, Some(SignedDuration::from_secs(5)));
            assert!(why.chars().count() < 200 && !why.contains("secret"), "{why}");
        }
        fake.script("hook", Answer::new(410, ""));
        assert!(matches!(send(&hook, &event(), None).await, Attempt::Refused { .. }));
        let edit = delivery(Body::Edit { message: message() });
        assert!(matches!(send(&hook, &edit, None).await, Attempt::Refused { .. }));
        assert_eq!(fake.asked("secret").len(), 0, "no redirect is followed");
    }

    #[tokio::test]
    async fn bad_settings_are_named_and_secrets_are_not() {
        let settings = |url: &str, header: &str| webhook::Settings {
            url: url.parse().expect("a url"),
            secret: None,
            template: Template::Atalaya,
            headers: vec![(header.to_owned(), "secret\n".into())],
        };
        for (url, header, named) in
            [("ftp://h/x", "A", "http://"), ("http://h", "A", "\"A\""), ("http://h", "é", "\"é\"")]
        {
            let client = http::client().expect("a client");
            let said = webhook::new(settings(url, header), client).err().expect("it is refused");
            assert!(said.to_string().contains(named), "{said}");
            assert!(!said.to_string().contains("secret"), "{said}");
        }
        let shown = format!("{:?}", settings("https://hooks.slack.com/services/T0", "A"));
        assert!(shown.contains("hooks.slack.com") && !shown.contains("T0"), "{shown}");
    }
}

#[tokio::test]
async fn redis_hears_both_channels_and_is_found_again_after_a_restart() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|it| it.local_addr())
        .expect("a free port")
        .port();
    let url = format!("redis://127.0.0.1:{port}/");
    let settings = redis::Settings { url: url.as_str().into(), prefix: "binaryrogue".to_owned() };
    let notifier = redis::new(&settings).expect("settings are good");
    assert!(matches!(send(&notifier, &event(), None).await, Attempt::Again { .. }));

    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let mut server = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is installed");
        let client = ::redis::Client::open(url.as_str()).expect("a client");
        let listen = async {
            loop {
                if let Ok(mut heard) = client.get_async_pubsub().await {
                    heard.psubscribe("binaryrogue:*").await.expect("it subscribes");
                    return heard;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let mut heard = timeout(DEADLINE, listen).await.expect("redis starts");
        // The connection of before the restart may fail once.
        let mut said = send(&notifier, &event(), None).await;
        if let Attempt::Again { .. } = said {
            said = send(&notifier, &event(), None).await;
        }
        assert_eq!(said, Attempt::Accepted { reference: None });
        let alert = json!({ "level": "critical", "source": "atalaya",
            "message": "Mary <!channel> is down", "timestamp": "1970-01-01T00:00:00.000Z" });
        let incident = json!({ "incident_id": 412, "severity": "critical", "status": "open",
            "details": { "id": 412, "watch": "agent/mary" } });
        let mut stream = heard.on_message();
        for (channel, expected) in
            [("binaryrogue:alerts", alert), ("binaryrogue:incidents", incident)]
        {
            let message =
                timeout(DEADLINE, stream.next()).await.expect("in time").expect("a message");
            assert_eq!(message.get_channel_name(), channel);
            let body: Value = serde_json::from_slice(message.get_payload_bytes()).expect("JSON");
            assert_eq!(body, expected);
        }
        server.kill().await.expect("it ends");
    }
    for prefix in ["", "a b", "a\n"] {
        let settings = redis::Settings { prefix: prefix.to_owned(), ..settings.clone() };
        assert!(matches!(redis::new(&settings), Err(BadSettings::Prefix(_))), "{prefix:?}");
    }
}

#[tokio::test]
async fn the_log_is_a_private_file_of_one_line_per_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.jsonl");
    let notifier = log::new(log::Settings { file: Some(path.clone()) });
    for _ in 0..2 {
        let said = send(&notifier, &event(), None).await;
        assert_eq!(said, Attempt::Accepted { reference: None });
    }
    let text = std::fs::read_to_string(&path).expect("the file is there");
    let lines: Vec<Value> =
        text.lines().map(|it| serde_json::from_str(it).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["incident"], json!({ "id": 412, "watch": "agent/mary" }));
    assert_eq!(lines[0]["at"], "1970-01-01T00:00:00.000Z");
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);

    let lost = log::new(log::Settings { file: Some(folder.path().join("none/x")) });
    assert!(matches!(send(&lost, &event(), None).await, Attempt::Again { .. }));
    let own = log::new(log::Settings { file: None });
    assert_eq!(send(&own, &event(), None).await, Attempt::Accepted { reference: None });
}

#[test]
fn kinds_are_told_apart_and_bounded() {
    let names: Vec<_> = KINDS.iter().map(|it| it.name).collect();
    assert_eq!(names, ["telegram", "webhook", "redis", "log"]);
    assert_eq!(KINDS.iter().map(|it| it.at_once()).collect::<Vec<_>>(), [1, 8, 8, 8]);
}

proptest! {
    #[test]
    fn hexadecimal_is_read_back(bytes in any::<Vec<u8>>()) {
        let digits = hex(&bytes);
        let back: Vec<_> = (0..bytes.len())
            .map(|it| u8::from_str_radix(&digits[2 * it..2 * it + 2], 16).expect("digits"))
            .collect();
        prop_assert_eq!(back, bytes);
    }
}
