//! The Bot API of Telegram: requests in teloxide's types, sent by our own client. teloxide's own transport
//! sleeps 10 s inside the request on any 5xx, hides its code, and reads answers of any size; this one
//! answers at once and says what happened.

use std::{fmt, time::Duration};

use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use teloxide::requests::Payload;

use super::http;

/// Longest answer that is read. A poll brings [`UPDATES_MAX`] updates of at most some 60 KB each.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Updates asked for at once.
pub const UPDATES_MAX: u8 = 20;
/// Longest refusal that is kept, in characters.
const DESCRIPTION_MAX: usize = 200;

/// One bot at one API server.
#[derive(Clone)]
pub struct Api {
    client: Client,
    url: Url,
    token: SecretString,
}

/// Never prints the token.
impl fmt::Debug for Api {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Api({})", self.url)
    }
}

/// Why there is no bot to talk as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBot {
    #[error("the token is not one of @BotFather's, which look like 123456789:AAE4…")]
    Token,
    #[error("the address of the Bot API must begin with http:// or https://")]
    Url,
}

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No answer: no connection, one that broke, or the time-out. What was asked may have been done.
    #[error("cannot reach Telegram: {0}")]
    Unreachable(String),
    #[error("Telegram answered {0}")]
    Server(u16),
    #[error("Telegram asks for fewer messages")]
    TooMany { wait: Option<Duration> },
    /// An answer, but none of the Bot API: a proxy's page, a cut body.
    #[error("answer {status} is not one of the Bot API: {why}")]
    Unreadable { status: u16, why: String },
    #[error("Telegram refused ({code}): {description}")]
    Refused {
        code: u16,
        description: String,
        /// The chat's new id, when the group became a supergroup.
        moved_to: Option<i64>,
    },
}

/// The envelope of every answer.
#[derive(Deserialize)]
struct Answer<'a> {
    ok: bool,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    description: String,
    error_code: Option<u16>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    retry_after: Option<u32>,
    migrate_to_chat_id: Option<i64>,
}

impl Api {
    /// # Errors
    /// The token or the address cannot be one; nothing is asked of the network.
    pub fn new(client: Client, url: Url, token: SecretString) -> Result<Self, BadBot> {
        // The token is a part of a path, so its alphabet matters beyond catching mistakes.
        let (bot, secret) = token.expose_secret().split_once(':').ok_or(BadBot::Token)?;
        let is_token = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
        if bot.is_empty() || secret.is_empty() || !bot.chars().chain(secret.chars()).all(is_token) {
            return Err(BadBot::Token);
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadBot::Url);
        }
        Ok(Self { client, url, token })
    }

    /// Asks once and waits `patience` at most. `R` is what of the result is read: less than teloxide's whole
    /// type where a field that we do not need must not turn a message that was sent into a failure.
    pub async fn call<P, R>(&self, payload: &P, patience: Duration) -> Result<R, Fault>
    where
        P: Payload + Serialize + Sync,
        R: DeserializeOwned,
    {
        let request = self.client.post(self.method(P::NAME)).timeout(patience).json(payload);
        let response =
            request.send().await.map_err(|error| Fault::Unreachable(http::chain(error)))?;
        let status = response.status();
        if status.is_server_error() {
            return Err(Fault::Server(status.as_u16()));
        }
        let body = http::read_bounded(response, ANSWER_BYTES_MAX)
            .await
            .map_err(|error| Fault::Unreachable(http::chain(error)))?;
        read(status, &body)
    }

    /// The API server, without the token.
    pub fn server(&self) -> &Url {
        &self.url
    }

    fn method(&self, name: &str) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(&format!("bot{}", self.token.expose_secret())).push(name);
        }
        url
    }
}

fn read<R: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<R, Fault> {
    let unreadable = |error: serde_json::Error| match status {
        StatusCode::TOO_MANY_REQUESTS => Fault::TooMany { wait: None },
        status => Fault::Unreadable { status: status.as_u16(), why: error.to_string() },
    };
    let answer: Answer = serde_json::from_slice(body).map_err(unreadable)?;
    if answer.ok {
        let result = answer.result.map_or("null", RawValue::get);
        return serde_json::from_str(result).map_err(unreadable);
    }
    let code = answer.error_code.unwrap_or(status.as_u16());
    match (code, answer.parameters) {
        (429, Parameters { retry_after, .. }) => {
            Err(Fault::TooMany { wait: retry_after.map(|it| Duration::from_secs(it.into())) })
        }
        (500.., _) => Err(Fault::Server(code)),
        (_, Parameters { migrate_to_chat_id, .. }) => Err(Fault::Refused {
            code,
            description: answer.description.chars().take(DESCRIPTION_MAX).collect(),
            moved_to: migrate_to_chat_id,
        }),
    }
}

/// What a button carries: which delivery it stands under and its place there, from 0. 43 bytes at most of the
/// 64 that Telegram allows, and nothing in it is trusted.
pub fn write_button(delivery: u64, index: usize) -> String {
    format!("d:{delivery}:{index}")
}

/// The reverse of [`write_button`]; nothing else is understood.
pub fn read_button(data: &str) -> Option<(u64, usize)> {
    let (delivery, index) = data.strip_prefix("d:")?.split_once(':')?;
    let (delivery, index) = (delivery.parse().ok()?, index.parse().ok()?);
    (write_button(delivery, index) == data).then_some((delivery, index))
}

/// How Telegram counts the length of a text.
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let faults = [
            (
                429,
                r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 7","parameters":{"retry_after":7}}"#,
                Fault::TooMany { wait: Some(Duration::from_secs(7)) },
            ),
            (429, "slow down", Fault::TooMany { wait: None }),
            (
                200,
                r#"{"ok":false,"error_code":502,"description":"Bad Gateway"}"#,
                Fault::Server(502),
            ),
            (
                403,
                r#"{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}"#,
                Fault::Refused {
                    code: 403,
                    description: "Forbidden: bot was blocked by the user".into(),
                    moved_to: None,
                },
            ),
            (
                400,
                r#"{"ok":false,"description":"x","parameters":{"migrate_to_chat_id":-100}}"#,
                Fault::Refused { code: 400, description: "x".into(), moved_to: Some(-100) },
            ),
        ];
        for (status, body, expected) in faults {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(read::<u64>(status, body.as_bytes()), Err(expected), "{body}");
        }
        for (status, body) in
            [(200, "{\"ok\":tr"), (404, "<html>"), (200, r#"{"ok":true,"result":"x"}"#)]
        {
            let code = StatusCode::from_u16(status).expect("a status");
            let said = read::<u64>(code, body.as_bytes());
            assert!(
                matches!(said, Err(Fault::Unreadable { status: it, .. }) if it == status),
                "{body}"
            );
        }
        assert_eq!(read(StatusCode::OK, br#"{"ok":true,"result":7}"#), Ok(7_u64));
    }

    #[test]
    fn a_button_fits_and_only_ours_is_understood() {
        let longest = write_button(u64::MAX, usize::MAX);
        assert!(longest.len() <= 64);
        assert_eq!(read_button(&longest), Some((u64::MAX, usize::MAX)));
        for bad in [
            "",
            "d:",
            "d:1",
            "d:1:",
            "d:+1:0",
            "d:01:0",
            "d:1:2:3",
            "d:-1:0",
            "x:1:2",
            "d:99999999999999999999:0",
        ] {
            assert_eq!(read_button(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_is_checked_and_never_printed() {
        let bot = |url: &str, token: &str| {
            let client = http::client().expect("a client");
            Api::new(client, Url::parse(url).expect("a url"), token.into())
        };
        for bad in ["", "123", "123:", ":abc", "1:a/b", "1:a?b", "1:a b", "1:a:b"] {
            assert_eq!(bot("http://h", bad).err(), Some(BadBot::Token), "{bad}");
        }
        assert_eq!(bot("ftp://h", "1:a").err(), Some(BadBot::Url));
        let api = bot("http://h/sub/", "1:a_-B").expect("a bot");
        assert_eq!(api.method("GetMe").as_str(), "http://h/sub/bot1:a_-B/GetMe");
        assert!(!format!("{api:?}").contains("a_-B"));
    }
}
