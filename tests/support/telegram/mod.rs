//! A strict fake of Telegram's Bot API: refuses what the real one refuses (and what the house forbids), fails on
//! demand, and remembers what every chat was told and when.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, routing::post};
use serde_json::{Map, Value, json};

use self::{
    api::Shared,
    check::{Button, Keyboard},
};
use super::{server::Server, wait};

mod api;
pub(crate) mod check;

/// How a request is met in place of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 500 in the API's words, others as a gateway's page.
    Status(u16),
    /// 429 with `retry_after`, in seconds.
    RetryAfter(u64),
    /// 403, the user has blocked the bot.
    Blocked,
    /// 400, chat not found.
    ChatNotFound,
    /// 200 with a body that breaks off.
    Malformed,
    /// Performed after this long.
    Hang(Duration),
    /// Closed without an answer; nothing performed.
    Close,
    /// Performed, then closed without an answer: the sender cannot know.
    LoseAnswer,
}

/// Any request with a known path, faulted ones too. Methods are in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) at: Instant,
    pub(crate) method: String,
    pub(crate) fault: Option<Fault>,
}

/// An accepted request. Methods are in lower case: `sendmessage`, `editmessagetext`, `answercallbackquery`.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) at: Instant,
    pub(crate) method: String,
    /// Of the message sent or edited.
    pub(crate) message_id: Option<i64>,
    pub(crate) chat: Option<i64>,
    /// As sent, with its markup; for `answercallbackquery` what pops up.
    pub(crate) text: String,
    pub(crate) reply_to: Option<i64>,
    /// Makes no sound: `disable_notification`, or an edit.
    pub(crate) silent: bool,
    pub(crate) keyboard: Keyboard,
    pub(crate) body: Value,
}

/// A request that a correct sender never makes.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) method: String,
    pub(crate) why: String,
    pub(crate) body: String,
}

/// A message as the chat shows it now.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) chat: i64,
    pub(crate) text: String,
    pub(crate) keyboard: Keyboard,
    pub(crate) reply_to: Option<i64>,
    pub(crate) silent: bool,
    /// When it was sent.
    pub(crate) at: Instant,
    pub(crate) edits: usize,
    pub(crate) deleted: bool,
}

impl Message {
    /// The buttons' labels, row by row in one list.
    pub(crate) fn labels(&self) -> Vec<&str> {
        self.keyboard.iter().flatten().map(|it| it.text.as_str()).collect()
    }

    /// The first button whose label begins so.
    #[track_caller]
    pub(crate) fn button(&self, label: &str) -> &Button {
        let found = self.keyboard.iter().flatten().find(|it| it.text.starts_with(label));
        found.unwrap_or_else(|| {
            panic!("no button {label:?} under {:?}, only {:?}", self.text, self.labels())
        })
    }

    fn as_json(&self) -> Value {
        let plain = check::html(&self.text).unwrap_or_else(|_| self.text.clone());
        let mut shown = json!({
            "message_id": self.id, "date": wait::epoch_seconds(), "chat": chat_json(self.chat),
            "from": FakeTelegram::bot_user(), "text": plain,
        });
        if !self.keyboard.is_empty() {
            let button = |it: &Button| match &it.url {
                Some(url) => json!({"text": it.text, "url": url}),
                None => json!({"text": it.text, "callback_data": it.data}),
            };
            let rows: Vec<Vec<Value>> =
                self.keyboard.iter().map(|row| row.iter().map(button).collect()).collect();
            shown["reply_markup"] = json!({"inline_keyboard": rows});
        }
        shown
    }
}

impl Call {
    fn new(method: &str, map: &Map<String, Value>) -> Self {
        Self {
            at: wait::now(),
            method: method.to_owned(),
            message_id: None,
            chat: map.get("chat_id").and_then(Value::as_i64),
            text: map.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
            reply_to: None,
            silent: false,
            keyboard: Vec::new(),
            body: Value::Object(map.clone()),
        }
    }

    fn show(&mut self, message: &Message) {
        self.message_id = Some(message.id);
        self.text.clone_from(&message.text);
        self.reply_to = message.reply_to;
        self.silent = message.silent;
        self.keyboard.clone_from(&message.keyboard);
    }
}

/// All that the fake holds.
struct Chats {
    known: BTreeSet<i64>,
    messages: BTreeMap<i64, Message>,
    calls: Vec<Call>,
    attempts: Vec<Attempt>,
    refusals: Vec<Refusal>,
    scripts: HashMap<String, VecDeque<Fault>>,
    standing: Option<Fault>,
    updates: VecDeque<Value>,
    queries: BTreeSet<String>,
    polls: u64,
    last_message: i64,
    last_update: i64,
}

impl Chats {
    fn new() -> Self {
        Self {
            known: [FakeTelegram::CHAT].into(),
            messages: BTreeMap::new(),
            calls: Vec::new(),
            attempts: Vec::new(),
            refusals: Vec::new(),
            scripts: HashMap::new(),
            standing: None,
            updates: VecDeque::new(),
            queries: BTreeSet::new(),
            polls: 0,
            last_message: 100,
            last_update: 7000,
        }
    }

    fn fault_for(&mut self, method: &str) -> Option<Fault> {
        let scripted = self.scripts.get_mut(method).and_then(VecDeque::pop_front);
        scripted.or_else(|| self.standing.clone())
    }

    fn next_message(&mut self) -> i64 {
        self.last_message += 1;
        self.last_message
    }

    fn push_update(&mut self, kind: &str, value: Value) {
        self.last_update += 1;
        let mut update = json!({"update_id": self.last_update});
        update[kind] = value;
        self.updates.push_back(update);
    }
}

/// The fake; serves until dropped.
pub(crate) struct FakeTelegram {
    server: Server,
    shared: Arc<Shared>,
}

impl FakeTelegram {
    pub(crate) const TOKEN: &'static str = "123456:fake-token-of-the-tests";
    /// The one chat it knows from the start, private with `USER`.
    pub(crate) const CHAT: i64 = 4242;
    pub(crate) const USER: i64 = 4242;

    pub(crate) async fn start() -> Self {
        let shared = Shared::new();
        let router = Router::new()
            .route("/{bot}/{method}", post(api::receive))
            .with_state(Arc::clone(&shared));
        Self { server: Server::start(router).await, shared }
    }

    /// What `api_url` is set to.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// Refuses connections until `start_again`; what the chats hold stays.
    pub(crate) async fn stop(&mut self) {
        self.server.stop().await;
    }

    pub(crate) async fn start_again(&mut self) {
        self.server.start_again().await;
    }

    /// The next requests of this method (`sendmessage`) meet these, one each.
    pub(crate) fn script(&self, method: &str, faults: impl IntoIterator<Item = Fault>) {
        self.shared.lock().scripts.entry(method.to_ascii_lowercase()).or_default().extend(faults);
    }

    /// Every request of every method meets this, where no script does, until `None`.
    pub(crate) fn answer_all_with(&self, fault: Option<Fault>) {
        self.shared.lock().standing = fault;
    }

    /// One more chat that the bot is in; a negative one is a group.
    pub(crate) fn add_chat(&self, chat: i64) {
        self.shared.lock().known.insert(chat);
    }

    /// A person deletes a message.
    pub(crate) fn delete(&self, message: i64) {
        self.shared.lock().messages.get_mut(&message).expect("the message was sent").deleted = true;
    }

    /// A person presses a button with this data (which may be forged). Returns the callback query's id.
    #[track_caller]
    pub(crate) fn press(&self, message: i64, data: &str, user: i64) -> String {
        let mut chats = self.shared.lock();
        let id = format!("query-{}", chats.last_update + 1);
        let shown = chats.messages.get(&message).expect("the message was sent").as_json();
        chats.push_update(
            "callback_query",
            json!({"id": id, "from": user_json(user), "message": shown, "chat_instance": "1", "data": data}),
        );
        chats.queries.insert(id.clone());
        drop(chats);
        self.shared.wake();
        id
    }

    /// A person presses the button whose label begins so, as the message shows it now.
    #[track_caller]
    pub(crate) fn press_button(&self, message: i64, label: &str, user: i64) -> String {
        let data = self.message(message).button(label).data.clone();
        self.press(message, &data, user)
    }

    /// What the press was answered with, once it was.
    pub(crate) async fn answered(&self, query: &str, deadline: Duration) -> Call {
        self.expect(deadline, "the press is answered", |it| it.body["callback_query_id"] == query)
            .await
    }

    /// A person writes.
    pub(crate) fn text_from(&self, user: i64, chat: i64, text: &str) {
        let mut chats = self.shared.lock();
        chats.known.insert(chat);
        let mut message = json!({
            "message_id": chats.next_message(), "date": wait::epoch_seconds(), "chat": chat_json(chat),
            "from": user_json(user), "text": text,
        });
        if text.starts_with('/') {
            let length = text.split_whitespace().next().unwrap_or_default().encode_utf16().count();
            message["entities"] = json!([{"type": "bot_command", "offset": 0, "length": length}]);
        }
        chats.push_update("message", message);
        drop(chats);
        self.shared.wake();
    }

    /// Everything accepted, in order.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    /// Accepted calls of one method.
    pub(crate) fn calls_of(&self, method: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|it| it.method == method.to_ascii_lowercase()).collect()
    }

    /// Every request of one method, faulted ones too.
    pub(crate) fn attempts_of(&self, method: &str) -> Vec<Attempt> {
        let attempts = self.shared.lock().attempts.clone();
        attempts.into_iter().filter(|it| it.method == method.to_ascii_lowercase()).collect()
    }

    /// All messages as the chats show them now, deleted ones left out, oldest first.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.shared.lock().messages.values().filter(|it| !it.deleted).cloned().collect()
    }

    #[track_caller]
    pub(crate) fn message(&self, id: i64) -> Message {
        self.shared.lock().messages.get(&id).expect("the message was sent").clone()
    }

    /// Waits for the first accepted call that `wanted` accepts.
    pub(crate) async fn expect(
        &self,
        deadline: Duration,
        what: &str,
        wanted: impl Fn(&Call) -> bool,
    ) -> Call {
        let found =
            wait::within(deadline, async || self.calls().into_iter().find(|it| wanted(it))).await;
        found.unwrap_or_else(|| panic!("not within {deadline:?}: {what}; {}", self.story()))
    }

    /// Waits until some message shows what `wanted` looks for.
    pub(crate) async fn shows(
        &self,
        deadline: Duration,
        what: &str,
        wanted: impl Fn(&Message) -> bool,
    ) -> Message {
        let found =
            wait::within(deadline, async || self.messages().into_iter().find(|it| wanted(it)))
                .await;
        found.unwrap_or_else(|| panic!("not within {deadline:?}: {what}; {}", self.story()))
    }

    /// Fails the test if any request was one that a correct sender never makes.
    #[track_caller]
    pub(crate) fn assert_nothing_refused(&self) {
        let refusals = self.refusals();
        assert!(refusals.is_empty(), "the Bot API refuses this: {refusals:#?}");
    }

    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        self.shared.lock().refusals.clone()
    }

    /// All that happened, one line each, for a failed test's message.
    pub(crate) fn story(&self) -> String {
        let chats = self.shared.lock();
        let calls = chats.calls.iter().filter(|it| !it.text.is_empty());
        let mut lines: Vec<String> =
            calls.map(|it| format!("{} {:?} {:?}", it.method, it.message_id, it.text)).collect();
        lines.extend(
            chats
                .refusals
                .iter()
                .map(|it| format!("refused {}: {} {}", it.method, it.why, it.body)),
        );
        format!("{} requests, of which told:\n{}", chats.attempts.len(), lines.join("\n"))
    }

    fn bot_user() -> Value {
        json!({"id": 123_456, "is_bot": true, "first_name": "Tower", "username": "tower1_bot"})
    }

    fn bot() -> Value {
        let mut bot = Self::bot_user();
        for (name, value) in [("can_join_groups", true), ("can_read_all_group_messages", false)] {
            bot[name] = value.into();
        }
        for name in ["supports_inline_queries", "can_connect_to_business", "has_main_web_app"] {
            bot[name] = false.into();
        }
        bot
    }
}

fn user_json(user: i64) -> Value {
    json!({"id": user, "is_bot": false, "first_name": "Ana", "username": "ana", "language_code": "en"})
}

fn chat_json(chat: i64) -> Value {
    if chat < 0 {
        return json!({"id": chat, "type": "supergroup", "title": "Night watch"});
    }
    json!({"id": chat, "type": "private", "first_name": "Ana", "username": "ana"})
}
