//! Client: one command to the daemon, over its Unix socket or over TCP, and what it answered.

use std::time::Duration;

use jiff::Zoned;
use reqwest::StatusCode;

use secrecy::{ExposeSecret, SecretString};

use super::find::Address;
use crate::{
    control::{Command, Refusal},
    edges::http::api::{BY_HEADER, NODE_HEADER, Problem, TIME_HEADER},
};

/// A place to ask, with what lets us in there.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) token: Option<SecretString>,
}

/// A daemon on this machine or beside it connects within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// An answer comes within this: longer than the daemon itself waits for its parts (5 s each).
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What a daemon said.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) node: String,
    /// Its local time: views are rendered in it.
    pub(super) now: Zoned,
    pub(super) result: Result<String, Refusal>,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    /// Each place that was tried, with why not.
    #[error("no daemon answers; tried\n{}", .0.join("\n"))]
    Nowhere(Vec<String>),
    /// It was reached and broke off: whether it did what was asked is not known.
    #[error("{place} broke off: {why}")]
    BrokeOff { place: String, why: String },
}

/// Asks the first daemon that is there; `by` is who asks, as people read it.
pub(super) async fn ask(
    places: &[Place],
    by: Option<&str>,
    command: &Command,
) -> Result<Answered, NoAnswer> {
    let mut tried = Vec::new();
    for place in places {
        match ask_one(place, by, command).await {
            Ok(answered) => return Ok(answered),
            Err(Failed::NotThere(why)) => tried.push(format!("  {}: {why}", place.address)),
            Err(Failed::BrokeOff(why)) => {
                return Err(NoAnswer::BrokeOff { place: place.address.to_string(), why });
            }
        }
    }
    Err(NoAnswer::Nowhere(tried))
}

enum Failed {
    NotThere(String),
    BrokeOff(String),
}

/// A client for one place, and how addresses there begin. It opens a connection for each request: the daemon
/// closes those that stand idle.
///
/// # Errors
/// When the machine's certificates cannot be read, which only an address with TLS needs.
pub(super) fn connected(
    address: &Address,
    within: Duration,
) -> reqwest::Result<(reqwest::Client, String)> {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT_WITHIN)
        .timeout(within)
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none());
    let (builder, base) = match address {
        Address::Socket(path) => (builder.unix_socket(path.clone()), "http://atalaya"),
        Address::Url(url) => (builder, url.as_str()),
    };
    let with_tls = base.starts_with("https:");
    Ok((builder.tls_built_in_root_certs(with_tls).build()?, base.to_owned()))
}

async fn ask_one(place: &Place, by: Option<&str>, command: &Command) -> Result<Answered, Failed> {
    let (client, base) =
        connected(&place.address, ANSWER_WITHIN).map_err(|it| Failed::NotThere(chain(&it)))?;
    let mut request = client.post(format!("{base}/api/v1/command")).json(command);
    if let Some(token) = &place.token {
        request = request.bearer_auth(token.expose_secret());
    }
    if let Some(by) = by {
        request = request.header(BY_HEADER, by);
    }
    let response = request.send().await.map_err(|error| {
        if error.is_connect() || error.is_builder() {
            return Failed::NotThere(chain(&error));
        }
        Failed::BrokeOff(chain(&error))
    })?;
    let status = response.status();
    let header = |name| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let node = header(NODE_HEADER);
    let now = header(TIME_HEADER).and_then(|it| it.parse::<Zoned>().ok());
    let (Some(node), Some(now)) = (node, now) else {
        return Err(Failed::NotThere(format!("something else answers there (HTTP {status})")));
    };
    let body = response.text().await.map_err(|it| Failed::BrokeOff(chain(&it)))?;
    Ok(Answered { node, now, result: read(status, body) })
}

fn read(status: StatusCode, body: String) -> Result<String, Refusal> {
    if status.is_success() {
        return Ok(body);
    }
    Err(match serde_json::from_str::<Problem>(&body) {
        Ok(problem) => problem.into(),
        Err(_) if matches!(status.as_u16(), 401 | 403) => {
            Refusal::not_permitted(format!("HTTP {status}"))
        }
        Err(_) => Refusal::unavailable(format!("the daemon answered HTTP {status}")),
    })
}

/// The innermost cause alone: `Connection refused`, not the library's whole story around it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
