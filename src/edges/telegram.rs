//! The Telegram edge: takes the presses of buttons, gives each to control, and shows the answer. One long
//! poll at a time; only one process may poll a bot.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde::{Serialize, de::IgnoredAny};
use teloxide::{
    payloads::{AnswerCallbackQuery, EditMessageReplyMarkup, GetUpdates, SendMessage},
    requests::Payload,
    types::{
        AllowedUpdate, CallbackQuery, CallbackQueryId, ChatId, MessageId, Recipient,
        ReplyParameters, Update, UpdateKind,
    },
};
use tokio::time::{sleep, timeout};

use crate::{
    domain::{id::DeliveryId, text::Text},
    wire::telegram::{Api, Fault, UPDATES_MAX, read_button, units},
};

/// How long Telegram holds a poll open, in seconds.
const POLL_SECONDS: u32 = 25;
/// How long a poll may take: its hold and a slow network.
const POLL_TIMEOUT: Duration = Duration::from_secs(35);
/// Rest after a poll that brought nothing: a server that does not hold polls is not asked in a hot loop.
const REST: Duration = Duration::from_millis(100);
/// Longest wait for Telegram's answer to anything but a poll.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for control's answer to a press.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(10);
/// Waits after failures: 1 s doubling to 30 s.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Longest wait that Telegram may ask for; a press that waits longer is answered too late to be read.
const WAIT_MAX: Duration = Duration::from_mins(5);
/// Tries to show an answer, some 15 minutes of them: nobody waits longer for a button.
const ANSWER_TRIES: u32 = 32;
/// Most characters of an answer to a press (Bot API, `answerCallbackQuery`).
const TOAST_MAX: usize = 200;
/// Most UTF-16 units of a reply, well below Telegram's 4096.
const REPLY_UNITS_MAX: usize = 3500;
/// Most characters of a person's name.
const NAME_MAX: usize = 40;

/// Whose presses count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `allowed_users`.
    pub users: Vec<u64>,
}

/// A button was pressed by someone who may. What it asks is for control to look up: the button itself names
/// nothing but a place, and may be old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    pub delivery: DeliveryId,
    /// Place of the button under that delivery's message, from 0.
    pub index: usize,
    pub user_id: u64,
    pub user_name: Text,
    pub chat: i64,
}

/// What the person is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PressAnswer {
    /// Shown over the chat for a moment; cut at 200 characters.
    pub toast: String,
    /// Sent as a silent reply to the message, as plain text, for what is too long for a toast (`Why`, `List`).
    pub reply: Option<String>,
    /// The buttons can no longer work: they go.
    pub clears_buttons: bool,
}

/// How polling stands. Told when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Listening,
    /// Another program polls the same bot, or a webhook is set for it.
    Conflict {
        why: String,
    },
    Failing {
        why: String,
    },
}

/// What the edge needs of atalaya.
pub trait Presses: Send + Sync {
    /// Whether atalaya writes to this chat at present; presses from others are ignored.
    fn is_linked(&self, chat: i64) -> bool;
    /// Does what was asked. It may be asked again after a crash, so it must bear a repetition.
    fn press(&self, press: Press) -> BoxFuture<'_, PressAnswer>;
    /// The update that was saved last, before a restart.
    fn load_offset(&self) -> BoxFuture<'_, Option<i32>>;
    /// Called after each update is dealt with; the next poll asks from here on.
    fn save_offset(&self, offset: i32) -> BoxFuture<'_, ()>;
    fn health(&self, health: Health);
}

/// Why polling ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    #[error("Telegram does not know the bot's token")]
    UnknownToken,
}

pub struct TelegramEdge {
    api: Api,
    settings: Settings,
    presses: Arc<dyn Presses>,
    strangers: AtomicU64,
}

impl fmt::Debug for TelegramEdge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TelegramEdge").field("api", &self.api).finish_non_exhaustive()
    }
}

impl TelegramEdge {
    pub fn new(api: Api, settings: Settings, presses: Arc<dyn Presses>) -> Self {
        Self { api, settings, presses, strangers: AtomicU64::new(0) }
    }

    /// Presses from chats that are not linked; they get no answer.
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// Polls until Telegram no longer knows the bot. Dropping it ends it at any point: an update that was not
    /// dealt with comes again.
    pub async fn run(&self) -> Fatal {
        let mut offset = self.presses.load_offset().await;
        let mut failures = 0;
        let mut told = None;
        loop {
            // Whether Telegram hears us is known at once, not when a poll's hold ends.
            let hold = if told == Some(Health::Listening) { POLL_SECONDS } else { 0 };
            let (health, wait) = match self.poll(offset, hold).await {
                Ok(updates) => {
                    failures = 0;
                    let rest = if updates.is_empty() { REST } else { Duration::ZERO };
                    self.tell(&mut told, Health::Listening);
                    for update in updates {
                        offset = self.take(update).await.or(offset);
                    }
                    sleep(rest).await;
                    continue;
                }
                Err(Fault::Refused { code: 401 | 404, .. }) => return Fatal::UnknownToken,
                Err(Fault::Refused { code: 409, description, .. }) => {
                    (Health::Conflict { why: conflict(&description) }, BACKOFF_MAX)
                }
                Err(fault) => (Health::Failing { why: fault.to_string() }, wait(&fault, failures)),
            };
            self.tell(&mut told, health);
            failures += 1;
            sleep(wait).await;
        }
    }

    fn tell(&self, told: &mut Option<Health>, health: Health) {
        if told.as_ref() == Some(&health) {
            return;
        }
        match &health {
            Health::Listening => tracing::info!("listening to buttons in Telegram"),
            Health::Conflict { why } | Health::Failing { why } => {
                tracing::warn!(why, "cannot hear buttons in Telegram");
            }
        }
        self.presses.health(health.clone());
        *told = Some(health);
    }

    async fn poll(&self, offset: Option<i32>, hold: u32) -> Result<Vec<Update>, Fault> {
        let mut request = GetUpdates::new();
        request.offset = offset;
        request.limit = Some(UPDATES_MAX);
        request.timeout = Some(hold);
        request.allowed_updates = Some(vec![AllowedUpdate::CallbackQuery]);
        self.api.call(&request, POLL_TIMEOUT).await
    }

    /// Deals with one update. Its place is saved only then, so that a press that falls into an outage or a crash
    /// is still answered.
    async fn take(&self, update: Update) -> Option<i32> {
        if let UpdateKind::CallbackQuery(query) = update.kind {
            self.answer(query).await;
        }
        let next = i32::try_from(update.id.0).ok()?.checked_add(1)?;
        self.presses.save_offset(next).await;
        Some(next)
    }

    async fn answer(&self, query: CallbackQuery) {
        let place = query.message.as_ref().map(|it| (it.chat().id, it.id()));
        let Some((chat, message)) = place.filter(|it| self.presses.is_linked(it.0.0)) else {
            let count = self.strangers.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::debug!(count, "button pressed in a chat that is not linked");
            return;
        };
        let answer = self.decide(&query, chat).await;
        self.show(query.id, &answer.toast).await;
        if let Some(text) = answer.reply {
            let mut reply = SendMessage::new(Recipient::Id(chat), cut(&text, REPLY_UNITS_MAX));
            reply.disable_notification = Some(true);
            reply.reply_parameters =
                Some(ReplyParameters::new(message).allow_sending_without_reply());
            self.insist(&reply).await;
        }
        if answer.clears_buttons {
            self.clear(chat, message).await;
        }
    }

    async fn decide(&self, query: &CallbackQuery, chat: ChatId) -> PressAnswer {
        let toast = |text: &str| PressAnswer { toast: text.to_owned(), ..PressAnswer::default() };
        if !self.settings.users.contains(&query.from.id.0) {
            return toast("You are not in allowed_users");
        }
        let Some((delivery, index)) = query.data.as_deref().and_then(read_button) else {
            return toast("This button is not known here");
        };
        let press = Press {
            delivery: DeliveryId(delivery),
            index,
            user_id: query.from.id.0,
            user_name: Text::clean(&query.from.full_name(), NAME_MAX),
            chat: chat.0,
        };
        timeout(HANDLER_TIMEOUT, self.presses.press(press))
            .await
            .unwrap_or_else(|_| toast("atalaya did not answer in time: press again"))
    }

    async fn show(&self, query: CallbackQueryId, toast: &str) {
        let mut answer = AnswerCallbackQuery::new(query);
        answer.text = Some(cut(toast, TOAST_MAX));
        self.insist(&answer).await;
    }

    /// Cosmetic, since a press of an old button is answered too: tried once.
    async fn clear(&self, chat: ChatId, message: MessageId) {
        let request = EditMessageReplyMarkup::new(Recipient::Id(chat), message);
        if let Err(fault) = self.api.call::<_, IgnoredAny>(&request, CALL_TIMEOUT).await {
            tracing::debug!(message = message.0, %fault, "old buttons stay");
        }
    }

    /// Repeats through an outage. A refusal ends it: Telegram no longer shows an answer to an old press.
    async fn insist<P: Payload + Serialize + Sync>(&self, request: &P) {
        for failures in 0..ANSWER_TRIES {
            match self.api.call::<_, IgnoredAny>(request, CALL_TIMEOUT).await {
                Ok(_) => return,
                Err(fault @ Fault::Refused { .. }) => {
                    tracing::info!(%fault, "answer to a button refused");
                    return;
                }
                Err(fault) => sleep(wait(&fault, failures)).await,
            }
        }
        tracing::warn!("answer to a button given up");
    }
}

fn conflict(description: &str) -> String {
    format!(
        "another program listens to this bot: give each host a bot of its own, or set \
         `[telegram] listen = false` on all but one ({description})"
    )
}

fn wait(fault: &Fault, failures: u32) -> Duration {
    match fault {
        Fault::TooMany { wait: Some(wait) } => (*wait).clamp(BACKOFF_MIN, WAIT_MAX),
        Fault::TooMany { wait: None }
        | Fault::Unreachable(_)
        | Fault::Server(_)
        | Fault::Unreadable { .. }
        | Fault::Refused { .. } => {
            BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF_MAX)
        }
    }
}

/// The beginning of a text in at most `units_max` UTF-16 units.
fn cut(text: &str, units_max: usize) -> String {
    if units(text) <= units_max {
        return text.to_owned();
    }
    let mut room = units_max - 1;
    let kept = text.chars().take_while(|it| {
        let fits = it.len_utf16() <= room;
        room = room.saturating_sub(it.len_utf16());
        fits
    });
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::wire::{
        fake::{Answer, Asked, DEADLINE, Fake},
        http,
    };

    /// Control as the edge sees it: it writes down what it was asked.
    #[derive(Default)]
    struct Desk {
        presses: Mutex<Vec<Press>>,
        offsets: Mutex<Vec<i32>>,
        health: Mutex<Vec<Health>>,
        answer: PressAnswer,
    }

    impl Presses for Desk {
        fn is_linked(&self, chat: i64) -> bool {
            chat == -5
        }

        fn press(&self, press: Press) -> BoxFuture<'_, PressAnswer> {
            self.presses.lock().unwrap().push(press);
            Box::pin(async { self.answer.clone() })
        }

        fn load_offset(&self) -> BoxFuture<'_, Option<i32>> {
            Box::pin(async { Some(7) })
        }

        fn save_offset(&self, offset: i32) -> BoxFuture<'_, ()> {
            self.offsets.lock().unwrap().push(offset);
            Box::pin(async {})
        }

        fn health(&self, health: Health) {
            self.health.lock().unwrap().push(health);
        }
    }

    fn edge(fake: &Fake, answer: PressAnswer) -> (Arc<Desk>, TelegramEdge) {
        let desk = Arc::new(Desk { answer, ..Desk::default() });
        let client = http::client().expect("a client");
        let api = Api::new(client, fake.url.clone(), "1:a".into()).expect("a bot");
        let settings = Settings { users: vec![42] };
        let presses: Arc<dyn Presses> = desk.clone();
        (desk, TelegramEdge::new(api, settings, presses))
    }

    fn press(update: u32, user: u64, chat: i64, data: &str) -> serde_json::Value {
        let chat = json!({ "id": chat, "type": "group", "title": "Watch" });
        json!({
            "update_id": update,
            "callback_query": {
                "id": format!("q{update}"),
                "from": { "id": user, "is_bot": false, "first_name": "Ana\u{202E}" },
                "chat_instance": "1",
                "message": { "message_id": 9, "date": 1_700_000_000, "chat": chat, "text": "x" },
                "data": data,
            },
        })
    }

    fn updates(updates: &[serde_json::Value]) -> Answer {
        Answer::new(200, json!({ "ok": true, "result": updates }))
    }

    /// Runs the edge until `done` is.
    async fn run_until<T>(edge: &TelegramEdge, done: impl Future<Output = T>) -> T {
        tokio::select! {
            fatal = edge.run() => panic!("ended: {fatal}"),
            it = timeout(DEADLINE, done) => it.expect("it is done in time"),
        }
    }

    #[tokio::test]
    async fn a_press_goes_to_control_and_its_answer_to_the_person() {
        let fake = Fake::start().await;
        let reply = Some("up <b>\n".repeat(2000));
        let toast = "é".repeat(300);
        let (desk, edge) = edge(&fake, PressAnswer { toast, reply, clears_buttons: true });
        fake.script("GetUpdates", updates(&[press(11, 42, -5, "d:31:2")]));
        run_until(&edge, fake.wait("GetUpdates", 2)).await;

        let expected = Press {
            delivery: DeliveryId(31),
            index: 2,
            user_id: 42,
            user_name: Text::clean("Ana", NAME_MAX),
            chat: -5,
        };
        assert_eq!(*desk.presses.lock().unwrap(), [expected]);
        let shown = fake.asked("AnswerCallbackQuery")[0].json();
        assert_eq!(shown["callback_query_id"], "q11");
        assert_eq!(units(shown["text"].as_str().unwrap()), TOAST_MAX);
        let reply = fake.asked("SendMessage")[0].json();
        assert_eq!(reply["reply_parameters"]["message_id"], 9);
        assert_eq!(reply["disable_notification"], true);
        assert!(reply.get("parse_mode").is_none());
        assert_eq!(units(reply["text"].as_str().unwrap()), REPLY_UNITS_MAX);
        assert_eq!(fake.asked("EditMessageReplyMarkup")[0].json()["message_id"], 9);
        let polls = fake.asked("GetUpdates");
        assert_eq!(polls[0].json()["offset"], 7);
        assert_eq!(polls[0].json()["allowed_updates"], json!(["callback_query"]));
        assert_eq!(polls[1].json()["offset"], 12);
        assert_eq!([0, 1].map(|it| polls[it].json()["timeout"].clone()), [0, POLL_SECONDS]);
        assert_eq!(*desk.offsets.lock().unwrap(), [12]);
    }

    #[tokio::test]
    async fn only_those_who_may_reach_control() {
        let fake = Fake::start().await;
        let (desk, edge) = edge(&fake, PressAnswer::default());
        let broken = json!({ "update_id": 4, "callback_query": { "odd": true } });
        fake.script(
            "GetUpdates",
            updates(&[
                press(1, 666, -5, "d:1:0"),
                press(2, 42, -6, "d:1:0"),
                press(3, 42, -5, "d:1"),
                broken,
            ]),
        );
        run_until(&edge, fake.wait("GetUpdates", 2)).await;
        assert_eq!(*desk.presses.lock().unwrap(), []);
        let shown: Vec<_> = fake.asked("AnswerCallbackQuery").iter().map(Asked::json).collect();
        assert_eq!(shown.len(), 2, "a stranger gets no answer");
        assert_eq!(shown[0]["text"], "You are not in allowed_users");
        assert_eq!(shown[1]["text"], "This button is not known here");
        assert_eq!(edge.strangers(), 1);
        assert_eq!(*desk.offsets.lock().unwrap(), [2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn a_press_in_an_outage_acts_once_and_is_answered_after_it() {
        let fake = Fake::start().await;
        let (desk, edge) =
            edge(&fake, PressAnswer { toast: "yours".into(), ..PressAnswer::default() });
        fake.script("GetUpdates", Answer::new(500, "oops"));
        fake.script("GetUpdates", updates(&[press(1, 42, -5, "d:1:0")]));
        fake.script("AnswerCallbackQuery", Answer::new(500, "oops"));
        run_until(&edge, async {
            fake.wait("AnswerCallbackQuery", 1).await;
            assert!(desk.offsets.lock().unwrap().is_empty(), "not answered, not saved");
            fake.wait("GetUpdates", 3).await;
        })
        .await;
        assert_eq!(desk.presses.lock().unwrap().len(), 1);
        assert_eq!(fake.asked("AnswerCallbackQuery")[1].json()["text"], "yours");
        assert_eq!(*desk.offsets.lock().unwrap(), [2]);
        let failing = Health::Failing { why: "Telegram answered 500".into() };
        assert_eq!(*desk.health.lock().unwrap(), [failing, Health::Listening]);
    }

    #[tokio::test]
    async fn another_poller_is_told_and_an_unknown_token_ends_it() {
        let fake = Fake::start().await;
        let (desk, edge) = edge(&fake, PressAnswer::default());
        fake.script(
            "GetUpdates",
            Answer::refusal(409, "Conflict: terminated by other getUpdates request"),
        );
        let told = async {
            while desk.health.lock().unwrap().is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        run_until(&edge, told).await;
        let health = desk.health.lock().unwrap().clone();
        assert!(
            matches!(&health[..], [Health::Conflict { why }] if why.contains("listen = false"))
        );

        fake.script("GetUpdates", Answer::refusal(401, "Unauthorized"));
        assert_eq!(timeout(DEADLINE, edge.run()).await, Ok(Fatal::UnknownToken));
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let after = |failures| wait(&Fault::Server(502), failures).as_secs();
        assert_eq!([after(0), after(1), after(4), after(5), after(4000)], [1, 2, 16, 30, 30]);
        let asked = |seconds| Fault::TooMany { wait: Some(Duration::from_secs(seconds)) };
        assert_eq!([0, 7, 9999].map(|it| wait(&asked(it), 0).as_secs()), [1, 7, 300]);
    }
}
