//! Webhook: every incident posted singly as JSON, signed when a secret is set; or dressed as what Slack or
//! Discord take.

use std::{fmt, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, fmt::rfc2822};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpStream, time::timeout};

use super::{BadSettings, Kind, hex, incident, not_for_this};
use crate::{
    domain::{
        delivery::{Body, Delivery, Event},
        incident::Severity,
        text::Text,
    },
    ports::{
        Pending,
        notifier::{Ailment, Attempt, Context, Notifier},
    },
    wire::http,
};

/// Longest wait for the receiver's answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read, to say why it was no.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How much of it is shown.
const WHY_CHARACTERS_MAX: usize = 100;
/// Longest `Retry-After` that is believed: a mistake of one server must not silence it for a day.
const RETRY_AFTER_MAX: SignedDuration = SignedDuration::from_hours(1);
/// Most characters of a Slack text block (Slack cuts a `text` at 40,000).
const SLACK_UNITS_MAX: usize = 3000;
/// Most characters of a Discord message.
const DISCORD_UNITS_MAX: usize = 2000;

const SIGNATURE: HeaderName = HeaderName::from_static("x-atalaya-signature");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub const KIND: Kind = Kind {
    name: "webhook",
    about: "an address that is posted JSON, signed on request; or a Slack or Discord webhook",
    human: false,
    attempt_max: TIMEOUT,
};

/// Which body is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// The whole incident (docs/BEHAVIOUR.md 12).
    Atalaya,
    Slack,
    Discord,
}

impl Template {
    pub const ALL: [Self; 3] = [Self::Atalaya, Self::Slack, Self::Discord];

    pub fn word(self) -> &'static str {
        match self {
            Self::Atalaya => "atalaya",
            Self::Slack => "slack",
            Self::Discord => "discord",
        }
    }
}

#[derive(Clone)]
pub struct Settings {
    pub url: Url,
    /// Signs each body; without it there is no signature header.
    pub secret: Option<SecretString>,
    pub template: Template,
    /// Sent with each request. Their values may be credentials.
    pub headers: Vec<(String, SecretString)>,
}

/// The path of a Slack or Discord address is a credential.
impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings")
            .field("host", &self.url.host_str())
            .field("template", &self.template)
            .finish_non_exhaustive()
    }
}

pub struct Webhook {
    client: Client,
    url: Url,
    secret: Option<SecretString>,
    template: Template,
    headers: HeaderMap,
}

/// # Errors
/// The address is not one of HTTP, or a header is not one.
pub fn new(settings: Settings, client: Client) -> Result<Webhook, BadSettings> {
    let Settings { url, secret, template, headers: given } = settings;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadSettings::Webhook);
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let header = name.parse::<HeaderName>().ok().zip(value.expose_secret().parse().ok());
        let (key, mut value): (_, HeaderValue) = header.ok_or(BadSettings::Header(name))?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Webhook { client, url, secret, template, headers })
}

impl Notifier for Webhook {
    fn send<'a>(&'a self, delivery: &'a Delivery, _: &'a Context) -> Pending<'a, Attempt> {
        Box::pin(async move {
            let Body::Event(event) = &delivery.body else { return not_for_this() };
            match incident(event) {
                Ok(incident) => self.post(delivery, self.body(delivery, event, &incident)).await,
                Err(refused) => refused,
            }
        })
    }

    /// Slack and Discord are asked for the head alone. What another program does with a request that is no alert is
    /// not known: to it a connection is made, and nothing is sent.
    fn look(&self) -> Pending<'_, Result<String, Ailment>> {
        Box::pin(async move {
            let host = self.url.host_str().unwrap_or_default();
            let place = format!("{host}:{}", self.url.port_or_known_default().unwrap_or_default());
            let ailing = |why: String| {
                let mend = "start what listens there, or mend url of its [[receiver]]";
                Ailment::new(format!("{place}: {why}"), mend)
            };
            if self.template == Template::Atalaya {
                let connected = timeout(http::CONNECT_TIMEOUT, TcpStream::connect(&place)).await;
                return match connected {
                    Ok(Ok(_)) => Ok(format!("{place} takes connections")),
                    Ok(Err(error)) => Err(ailing(error.to_string())),
                    Err(_) => Err(ailing("no connection within 5 s".to_owned())),
                };
            }
            match self.client.head(self.url.clone()).timeout(TIMEOUT).send().await {
                Ok(answer) if answer.status().is_server_error() => {
                    Err(ailing(format!("answers {}", answer.status())))
                }
                Ok(answer) => Ok(format!("{place} answers, {} to HEAD", answer.status().as_u16())),
                Err(error) => Err(ailing(http::chain(error))),
            }
        })
    }
}

impl Webhook {
    fn body(&self, delivery: &Delivery, event: &Event, incident: &Value) -> Vec<u8> {
        let line = format!("{} {}", glyph(event, delivery.severity), event.message);
        match self.template {
            Template::Atalaya => json!({
                "event": event.event,
                "incident": incident,
                "message": event.message,
                "idempotency_key": delivery.key,
            }),
            // Without `mrkdwn` a name full of `*` and `_` stays as it is.
            Template::Slack => json!({
                "text": fit(&line, SLACK_UNITS_MAX, slack),
                "mrkdwn": false,
            }),
            Template::Discord => json!({
                "content": fit(&line, DISCORD_UNITS_MAX, discord),
                "allowed_mentions": { "parse": [] },
            }),
        }
        .to_string()
        .into_bytes()
    }

    async fn post(&self, delivery: &Delivery, body: Vec<u8>) -> Attempt {
        let mut headers = self.headers.clone();
        if let Ok(key) = HeaderValue::from_str(&delivery.key) {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        if let Some(signature) = self.signature(&body) {
            headers.insert(SIGNATURE, signature);
        }
        let request =
            self.client.post(self.url.clone()).headers(headers).timeout(TIMEOUT).body(body);
        match request.send().await {
            Ok(response) if response.status().is_success() => Attempt::Accepted { reference: None },
            Ok(response) => came_of(response).await,
            Err(error) => Attempt::Again { after: None, why: http::chain(error) },
        }
    }

    fn signature(&self, body: &[u8]) -> Option<HeaderValue> {
        let secret = self.secret.as_ref()?.expose_secret().as_bytes();
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        mac.update(body);
        HeaderValue::from_str(&format!("sha256={}", hex(&mac.finalize().into_bytes()))).ok()
    }
}

/// What a refusal means. Only 410 is for good: a 404 or 403 may be a deployment that is under way, and who
/// runs the receiver sees the reason in the delivery's error until then.
async fn came_of(response: Response) -> Attempt {
    let status = response.status();
    if status == StatusCode::GONE {
        return Attempt::Refused { why: "the webhook says it is gone (410): remove it".to_owned() };
    }
    let after = retry_after(response.headers());
    let why = if status.is_redirection() {
        let target = host(response.headers());
        format!("the webhook redirects ({status}) to {target}: set `url` to where it is")
    } else {
        let body = http::read_bounded(response, ANSWER_BYTES_MAX).await.unwrap_or_default();
        let said = Text::clean(&String::from_utf8_lossy(&body), WHY_CHARACTERS_MAX);
        format!("the webhook answered {status}: {said}")
    };
    Attempt::Again { after, why }
}

/// Where a redirect points; the path of such an address is a credential.
fn host(headers: &HeaderMap) -> Text {
    let target = headers.get(LOCATION).and_then(|it| Url::parse(it.to_str().ok()?).ok());
    let host = target.as_ref().and_then(Url::host_str).unwrap_or("another path");
    Text::clean(host, WHY_CHARACTERS_MAX)
}

/// `Retry-After` in seconds, or as a date, which is read against the answer's own `Date`: the receiver's clock
/// is not ours.
fn retry_after(headers: &HeaderMap) -> Option<SignedDuration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let date = |text| rfc2822::parse(text).ok().map(|it| it.timestamp());
    let asked = text(RETRY_AFTER)?.trim();
    let wait = match asked.parse::<f64>() {
        Ok(seconds) => SignedDuration::try_from_secs_f64(seconds.ceil()).ok()?,
        Err(_) => date(asked)?.duration_since(date(text(DATE)?)?),
    };
    (SignedDuration::ZERO < wait).then_some(wait.min(RETRY_AFTER_MAX))
}

/// People read these templates, so the first character tells how it stands.
fn glyph(event: &Event, severity: Severity) -> &'static str {
    match (event.status, severity) {
        ("resolved", _) => "✅",
        ("acknowledged", _) => "👤",
        (_, Severity::Critical) => "🔴",
        (_, Severity::Warning) => "🟡",
        (_, Severity::Info) => "⚪",
    }
}

/// Escapes a text and cuts it to `units_max` UTF-16 units, never inside an escape.
fn fit(text: &str, units_max: usize, escape: fn(char, &mut String)) -> String {
    let mut fitted = String::new();
    let mut units = 0;
    for it in text.chars().filter(|it| !it.is_control()) {
        let mut escaped = String::new();
        escape(it, &mut escaped);
        units += escaped.encode_utf16().count();
        if units_max <= units {
            fitted.push('…');
            break;
        }
        fitted.push_str(&escaped);
    }
    fitted
}

/// Slack's three characters; `<!channel>` and `<@U1>` are mentions only with a bare `<`.
fn slack(it: char, out: &mut String) {
    match it {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        it => out.push(it),
    }
}

/// Discord's Markdown; `@everyone` is broken by a zero-width space beside what `allowed_mentions` forbids.
fn discord(it: char, out: &mut String) {
    if "\\*_~`|>#-[]()<".contains(it) {
        out.push('\\');
    }
    out.push(it);
    if it == '@' {
        out.push('\u{200B}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_only_text_in_slack_and_discord() {
        for (raw, in_slack, in_discord) in [
            (
                "<!channel> & <@U1>",
                "&lt;!channel&gt; &amp; &lt;@U1&gt;",
                "\\<!channel\\> & \\<@\u{200B}U1\\>",
            ),
            ("@everyone", "@everyone", "@\u{200B}everyone"),
            ("**a**_b_\u{7}", "**a**_b_", "\\*\\*a\\*\\*\\_b\\_"),
        ] {
            assert_eq!(fit(raw, 100, slack), in_slack);
            assert_eq!(fit(raw, 100, discord), in_discord);
        }
        for it in ["😀", "<", "a", "@", "*"] {
            let long = it.repeat(5000);
            for cut in [fit(&long, SLACK_UNITS_MAX, slack), fit(&long, SLACK_UNITS_MAX, discord)] {
                let units = cut.encode_utf16().count();
                assert!(
                    (2990..=SLACK_UNITS_MAX).contains(&units) && cut.ends_with('…'),
                    "{it} {units}"
                );
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let check = |asked: &str, date: Option<&str>, expected: Option<i64>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, asked.parse().expect("a value"));
            date.map(|it| headers.insert(DATE, it.parse().expect("a value")));
            assert_eq!(retry_after(&headers), expected.map(SignedDuration::from_secs), "{asked}");
        };
        check("7", None, Some(7));
        check("0.2", None, Some(1));
        check("99999999", None, Some(3600));
        for bad in ["", "-1", "NaN", "inf", "soon", "0"] {
            check(bad, None, None);
        }
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        check("Sun, 06 Nov 1994 08:50:00 GMT", date, Some(23));
        check("Sun, 06 Nov 1994 08:49:00 GMT", date, None);
        check("Sun, 06 Nov 1994 08:50:00 GMT", None, None);
    }
}
