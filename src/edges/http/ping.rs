//! Pings, as cron users know them: `GET|HEAD|POST /ping/{agent}` and `/start`, `/fail`, `/log`,
//! `/{0..255}` behind it (docs/reference/formats.md, "Heartbeats"). The hot path: it allocates the
//! name and the run id, and writes no log.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::StreamExt;
use uuid::Uuid;

use super::{HttpState, door::TurnedAway, text};
use crate::{
    control::Took,
    domain::{
        id::{BadName, Name},
        watch::beat::{Beat, Report},
    },
    wire::pings::{self, Action, BadRid},
};

const PREFIX: &str = "/ping/";

/// How much of a body a ping may have, in bytes, as its clients expect it to be told.
const BODY_LIMIT: HeaderValue = HeaderValue::from_static("100000");
const BODY_LIMIT_HEADER: HeaderName = HeaderName::from_static("ping-body-limit");

/// A body is read so that the connection stays usable, and thrown away; beyond this much the connection is closed.
const BODY_READ_MAX: usize = 1024 * 1024;
const BODY_READ_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn routes() -> Router<HttpState> {
    Router::new()
        .route("/ping/{agent}", get(ping).post(ping))
        .route("/ping/{agent}/{action}", get(ping).post(ping))
}

async fn ping(State(state): State<HttpState>, request: Request) -> Response {
    let mut answer = take(&state, &request).map_or_else(IntoResponse::into_response, answer);
    answer.headers_mut().insert(BODY_LIMIT_HEADER, BODY_LIMIT);
    let body = request.into_body();
    if !body.is_end_stream() {
        // Whatever becomes of the body, the ping has been taken.
        let _ = tokio::time::timeout(BODY_READ_WITHIN, throw_away(body)).await;
    }
    answer
}

fn take(state: &HttpState, request: &Request) -> Result<Took, Refusal> {
    let now = state.now();
    state.admit(now).map_err(Refusal::Limit)?;
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let (agent, action) = match path.split_once('/') {
        Some((agent, action)) => (agent, Some(action)),
        None => (path, None),
    };
    let name: Name = decoded(agent).parse().map_err(|why: BadName| {
        state.parts.ear.refused(state.parts.source, &why.to_string());
        Refusal::Name(why)
    })?;
    let report = report(action).ok_or(Refusal::Action)?;
    let query =
        pings::query(request.uri().query().unwrap_or_default()).map_err(|BadRid| Refusal::Rid)?;
    if !state.admits(&name, request.headers(), query.token) {
        return Err(Refusal::Token);
    }
    let run = query
        .rid
        .map(|rid| Arc::from(&*rid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer())));
    let beat = Beat { report, run, ..Beat::plain(now, state.parts.source) };
    Ok(state.parts.ear.beat(&name, beat))
}

fn report(action: Option<&str>) -> Option<Report> {
    let Some(word) = action else { return Some(Report::Success) };
    pings::action(word).map(|action| match action {
        Action::Start => Report::Start,
        Action::Fail => Report::Fail { exit: None },
        Action::Log => Report::Log,
        Action::Exit(0) => Report::Success,
        Action::Exit(code) => Report::Fail { exit: Some(code) },
    })
}

fn answer(took: Took) -> Response {
    match took {
        Took::Taken => text(StatusCode::OK, "OK"),
        Took::Registered => text(StatusCode::CREATED, "Created"),
        Took::Unknown => text(
            StatusCode::NOT_FOUND,
            "not watched: add it to the registry, or set auto_register = true\n",
        ),
        Took::Full => text(
            StatusCode::NOT_FOUND,
            "not watched: auto_register_max is reached; add it to the registry, or `atalaya forget` others\n",
        ),
    }
}

/// Why a ping was not taken.
enum Refusal {
    Limit(TurnedAway),
    Name(BadName),
    Action,
    Rid,
    Token,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Limit(limit) => limit.into_response(),
            Self::Name(why) => text(StatusCode::BAD_REQUEST, format!("{why}\n")),
            Self::Action => text(
                StatusCode::NOT_FOUND,
                "no such ping: known are /start, /fail, /log and an exit code from /0 to /255\n",
            ),
            Self::Rid => text(StatusCode::BAD_REQUEST, "rid is not a UUID\n"),
            Self::Token => unauthorized(),
        }
    }
}

pub(super) fn unauthorized() -> Response {
    text(
        StatusCode::UNAUTHORIZED,
        "the token is missing or wrong: send it as `Authorization: Bearer …`, `X-Atalaya-Token` or ?token=\n",
    )
}

/// Some clients write `%3A` for the `:` of a name. What is no escape stays, and the name is then refused.
fn decoded(part: &str) -> Cow<'_, str> {
    if !part.contains('%') {
        return Cow::Borrowed(part);
    }
    let mut text = String::with_capacity(part.len());
    let mut rest = part;
    while let Some((before, behind)) = rest.split_once('%') {
        text.push_str(before);
        let hex = behind.get(..2).filter(|it| it.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = byte.filter(u8::is_ascii) {
            text.push(char::from(byte));
            rest = behind.get(2..).unwrap_or_default();
        } else {
            text.push('%');
            rest = behind;
        }
    }
    text.push_str(rest);
    Cow::Owned(text)
}

async fn throw_away(body: Body) {
    let mut chunks = body.into_data_stream();
    let mut read = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        read += chunk.len();
        if BODY_READ_MAX < read {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_names_are_read() {
        for (part, said) in [
            ("mary", "mary"),
            ("agent%3A002", "agent:002"),
            ("%6dary", "mary"),
            ("a%2Fb", "a/b"),
            ("a%", "a%"),
            ("a%zz", "a%zz"),
            ("a%é", "a%é"),
            ("%ff", "%ff"),
            ("%+1", "%+1"),
        ] {
            assert_eq!(decoded(part), said, "{part}");
        }
    }
}
