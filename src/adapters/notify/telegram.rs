//! Telegram: a chat that hears of trouble in messages that are edited while the trouble changes.

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::{Client, Url};
use secrecy::SecretString;
use serde::{Deserialize, de::IgnoredAny};
use teloxide::{
    payloads::{EditMessageReplyMarkup, EditMessageText, GetChat, GetMe, SendMessage},
    types::{
        ChatId, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, MessageId,
        ParseMode, Recipient, ReplyMarkup, ReplyParameters, ThreadId,
    },
};

use super::{BadSettings, Kind, html, not_for_this};
use crate::{
    domain::{
        delivery::{Body, Button, Delivery, Message},
        text::Text,
    },
    ports::{
        Pending,
        notifier::{Ailment, Attempt, Context, Notifier},
    },
    wire::telegram::{Api, Fault, write_button},
};

/// Longest wait for Telegram's answer to a message. Longer than it ever needs: an answer that comes after
/// this is of a message that will be sent twice.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the removal of old buttons, which is a courtesy.
const TIDY_TIMEOUT: Duration = Duration::from_secs(3);
/// Length of a message that is sent bare, after Telegram refused its text: far from any limit.
const BARE_UNITS_MAX: usize = 2048;
/// A chat's name is shown cut to so many characters.
const CHAT_SHOWN_MAX: usize = 40;
/// Buttons side by side that a phone shows unshortened.
const BUTTONS_IN_ROW: usize = 3;

pub const KIND: Kind = Kind {
    name: "telegram",
    about: "a Telegram chat, by a bot of your own; messages are edited and carry buttons",
    human: true,
    // The message, once more bare, and the tidying.
    attempt_max: Duration::from_secs(2 * SEND_TIMEOUT.as_secs() + TIDY_TIMEOUT.as_secs()),
};

#[derive(Debug, Clone)]
pub struct Settings {
    pub token: SecretString,
    /// `https://api.telegram.org`, or a local Bot API server.
    pub api_url: Url,
    pub chat: i64,
    /// Topic of a forum.
    pub thread: Option<i32>,
}

#[derive(Debug)]
pub struct Telegram {
    api: Api,
    chat: i64,
    thread: Option<i32>,
}

/// # Errors
/// The token or the address cannot be one.
pub fn new(settings: Settings, client: Client) -> Result<Telegram, BadSettings> {
    let Settings { token, api_url, chat, thread } = settings;
    Ok(Telegram { api: Api::new(client, api_url, token)?, chat, thread })
}

impl Notifier for Telegram {
    fn send<'a>(&'a self, delivery: &'a Delivery, context: &'a Context) -> Pending<'a, Attempt> {
        let last = context.reference.as_deref().and_then(|it| it.parse().ok()).map(MessageId);
        Box::pin(async move {
            match (&delivery.body, last) {
                (Body::New { message, rings }, last) => {
                    self.say(delivery, message, *rings, last).await
                }
                (Body::Edit { message }, Some(last)) => self.edit(delivery, message, last).await,
                (Body::Edit { .. }, None) => Attempt::Gone,
                (Body::Event(_), _) => not_for_this(),
            }
        })
    }

    fn look(&self) -> Pending<'_, Result<String, Ailment>> {
        Box::pin(async move {
            let me = self.api.call::<_, Me>(&GetMe::new(), SEND_TIMEOUT).await;
            let Me { username } = me.map_err(|fault| {
                let token = matches!(&fault, Fault::Refused { code: 401 | 404, .. });
                let mend = if token {
                    "take TELEGRAM_BOT_TOKEN from @BotFather: /mybots, API Token".to_owned()
                } else {
                    format!("curl -sS -m 10 {}", self.api.server())
                };
                Ailment::new(fault.to_string(), mend)
            })?;
            let chat =
                self.api.call::<_, Chat>(&GetChat::new(self.recipient()), SEND_TIMEOUT).await;
            let chat = chat.map_err(|fault| {
                let mend = format!(
                    "open https://t.me/{username} and press Start (in a group: add the bot), or mend chat"
                );
                Ailment::new(format!("@{username}, chat {}: {fault}", self.chat), mend)
            })?;
            let name = chat.title.or(chat.first_name).unwrap_or_else(|| self.chat.to_string());
            Ok(format!("@{username}, chat \"{}\"", Text::clean(&name, CHAT_SHOWN_MAX)))
        })
    }
}

/// All that is read of the bot.
#[derive(Deserialize)]
struct Me {
    username: String,
}

/// All that is read of the chat: a group has a title, a person a name.
#[derive(Deserialize)]
struct Chat {
    title: Option<String>,
    first_name: Option<String>,
}

/// All that is read of the message that was sent.
#[derive(Deserialize)]
struct Sent {
    message_id: i32,
}

/// What a refusal means for the message at hand.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// It already reads so.
    NotModified,
    /// The text or the buttons are at fault, as far as we know.
    Text(String),
    Settled(Attempt),
}

impl Telegram {
    async fn say(
        &self,
        delivery: &Delivery,
        message: &Message,
        rings: bool,
        last: Option<MessageId>,
    ) -> Attempt {
        let mut request = SendMessage::new(self.recipient(), rich(message));
        request.parse_mode = Some(ParseMode::Html);
        request.message_thread_id = self.thread.map(|it| ThreadId(MessageId(it)));
        request.link_preview_options = Some(no_preview());
        request.disable_notification = Some(!rings);
        request.reply_parameters =
            last.map(|it| ReplyParameters::new(it).allow_sending_without_reply());
        request.reply_markup = keyboard(delivery, message).map(ReplyMarkup::InlineKeyboard);
        let mut sent = self.api.call::<_, Sent>(&request, SEND_TIMEOUT).await;
        if let Err(fault) = &sent
            && let Meaning::Text(_) = self.meaning(fault)
        {
            request.parse_mode = None;
            request.text = bare(message);
            sent = self.api.call(&request, SEND_TIMEOUT).await;
        }
        match sent {
            Ok(Sent { message_id }) => {
                self.take_buttons(last).await;
                Attempt::Accepted { reference: Some(message_id.to_string()) }
            }
            Err(fault) => self.settle(&fault),
        }
    }

    async fn edit(&self, delivery: &Delivery, message: &Message, last: MessageId) -> Attempt {
        let accepted = Attempt::Accepted { reference: Some(last.0.to_string()) };
        let mut request = EditMessageText::new(self.recipient(), last, rich(message));
        request.parse_mode = Some(ParseMode::Html);
        request.link_preview_options = Some(no_preview());
        request.reply_markup = keyboard(delivery, message);
        // The result is the message, or `true`: neither is needed.
        let mut edited = self.api.call::<_, IgnoredAny>(&request, SEND_TIMEOUT).await;
        if let Err(fault) = &edited
            && let Meaning::Text(_) = self.meaning(fault)
        {
            request.parse_mode = None;
            request.text = bare(message);
            edited = self.api.call(&request, SEND_TIMEOUT).await;
        }
        match edited {
            Ok(_) => accepted,
            Err(fault) if self.meaning(&fault) == Meaning::NotModified => accepted,
            Err(fault) => self.settle(&fault),
        }
    }

    /// The buttons of the message that was replied to go: they stand under the newer one. Whether that
    /// worked changes nothing, since what a button asks is looked up.
    async fn take_buttons(&self, last: Option<MessageId>) {
        let Some(last) = last else { return };
        let request = EditMessageReplyMarkup::new(self.recipient(), last);
        if let Err(fault) = self.api.call::<_, IgnoredAny>(&request, TIDY_TIMEOUT).await {
            tracing::debug!(message = last.0, %fault, "old buttons stay");
        }
    }

    fn settle(&self, fault: &Fault) -> Attempt {
        match self.meaning(fault) {
            Meaning::Settled(attempt) => attempt,
            Meaning::NotModified => Attempt::Accepted { reference: None },
            Meaning::Text(why) => {
                Attempt::Refused { why: format!("Telegram refuses this message: {why}") }
            }
        }
    }

    fn meaning(&self, fault: &Fault) -> Meaning {
        let again = |after| Meaning::Settled(Attempt::Again { after, why: fault.to_string() });
        match fault {
            Fault::TooMany { wait } => again(wait.and_then(|it| SignedDuration::try_from(it).ok())),
            Fault::Refused { code: 401 | 404, .. } => refused(
                "Telegram does not know the bot's token: ask @BotFather for it (/token) and set \
                 TELEGRAM_BOT_TOKEN"
                    .to_owned(),
            ),
            Fault::Refused { moved_to: Some(new), .. } => refused(format!(
                "chat {} became the supergroup {new}: set `chat = {new}`",
                self.chat
            )),
            Fault::Refused { code: 403, description, .. } => refused(format!(
                "chat {} takes no messages from this bot: unblock it or add it again, and press \
                 Start ({description})",
                self.chat
            )),
            Fault::Refused { code: 400, description, .. } => self.bad_request(description),
            Fault::Unreachable(_)
            | Fault::Server(_)
            | Fault::Unreadable { .. }
            | Fault::Refused { .. } => again(None),
        }
    }

    /// Telegram tells the reasons of a 400 apart by their English text alone.
    fn bad_request(&self, description: &str) -> Meaning {
        let text = description.to_lowercase();
        let says = |known: &[&str]| known.iter().any(|it| text.contains(it));
        if says(&["message is not modified"]) {
            Meaning::NotModified
        } else if says(&[
            "message to edit not found",
            "message_id_invalid",
            "message can't be edited",
        ]) {
            Meaning::Settled(Attempt::Gone)
        } else if says(&["chat not found", "peer_id_invalid"]) {
            refused(format!(
                "Telegram knows no chat {} of this bot: open the bot and press Start, or mend `chat`",
                self.chat
            ))
        } else if says(&["thread not found", "topic_closed", "topic_deleted"]) {
            refused(format!(
                "chat {} has no open topic {}: mend or remove `thread` ({description})",
                self.chat,
                self.thread.unwrap_or_default()
            ))
        } else if says(&["not enough rights", "have no rights", "chat_write_forbidden"]) {
            refused(format!(
                "the bot may not write in chat {}: give it the right to send messages ({description})",
                self.chat
            ))
        } else {
            Meaning::Text(description.to_owned())
        }
    }

    fn recipient(&self) -> Recipient {
        Recipient::Id(ChatId(self.chat))
    }
}

fn refused(why: String) -> Meaning {
    Meaning::Settled(Attempt::Refused { why })
}

fn rich(message: &Message) -> String {
    html::html(&html::condense(message, html::UNITS_MAX))
}

fn bare(message: &Message) -> String {
    html::plain(&html::condense(message, BARE_UNITS_MAX))
}

/// A name like `example.org` would fetch and show a page.
fn no_preview() -> LinkPreviewOptions {
    LinkPreviewOptions {
        is_disabled: true,
        url: None,
        prefer_small_media: false,
        prefer_large_media: false,
        show_above_text: false,
    }
}

fn keyboard(delivery: &Delivery, message: &Message) -> Option<InlineKeyboardMarkup> {
    let buttons: Vec<_> = message
        .buttons
        .iter()
        .enumerate()
        .map(|(index, it)| {
            InlineKeyboardButton::callback(label(*it), write_button(delivery.id.0, index))
        })
        .collect();
    (!buttons.is_empty())
        .then(|| InlineKeyboardMarkup::new(buttons.chunks(BUTTONS_IN_ROW).map(<[_]>::to_vec)))
}

fn label(button: Button) -> String {
    match button {
        Button::Acknowledge(0 | 1) => "Acknowledge".to_owned(),
        Button::Acknowledge(incidents) => format!("Acknowledge {incidents}"),
        Button::Release => "Release".to_owned(),
        Button::SilenceOneHour => "Silence 1 h".to_owned(),
        Button::Why => "Why".to_owned(),
        Button::List => "List".to_owned(),
        Button::Forget => "Forget".to_owned(),
        Button::GotIt => "Got it".to_owned(),
    }
}
