//! `POST /api/v1/beats`: one beat or a list, each answered (docs/BEHAVIOUR.md 12).

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{HttpState, Problem, ping};
use crate::{
    control::{Took, beats},
    domain::id::Name,
    wire::{self, beats::RawBeat},
};

/// Beats in one list.
const BEATS_MAX: usize = 10_000;

/// Longest body, in bytes: 10,000 beats of usual size.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A body that takes longer is given up.
const BODY_WITHIN: Duration = Duration::from_secs(10);

const SHAPE: &str = r#"send {"agent":"mary"} or a list of up to 10000 of them"#;

/// What became of one beat.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    took: &'static str,
    /// Why it was not taken, or which of its fields was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    code: StatusCode,
}

pub(super) fn routes() -> Router<HttpState> {
    Router::new().route("/api/v1/beats", post(take)).layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn take(State(state): State<HttpState>, request: Request) -> Response {
    match read(&state, request).await {
        Ok((headers, body)) => {
            answer(&state, &headers, &body).unwrap_or_else(IntoResponse::into_response)
        }
        Err(refusal) => refusal,
    }
}

/// Takes the body in, within the limits.
async fn read(state: &HttpState, request: Request) -> Result<(HeaderMap, Bytes), Response> {
    let now = state.now();
    state.admit(now).map_err(IntoResponse::into_response)?;
    let permit = state.parts.limits.body();
    let _permit = permit.map_err(|limit| state.turn_away(now, limit).into_response())?;
    let headers = request.headers().clone();
    let reading = tokio::time::timeout(BODY_WITHIN, Bytes::from_request(request, state)).await;
    let problem = match reading {
        Ok(Ok(body)) => return Ok((headers, body)),
        Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
                .detail(format_args!("{BODY_BYTES_MAX} bytes at most"))
                .mend("send fewer beats at once")
        }
        Ok(Err(error)) => {
            Problem::new(StatusCode::BAD_REQUEST, "cannot read the body").detail(error.body_text())
        }
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
    };
    Err(problem.into_response())
}

fn answer(state: &HttpState, headers: &HeaderMap, body: &[u8]) -> Result<Response, Problem> {
    let now = state.now();
    if body.trim_ascii_start().first() != Some(&b'[') {
        let one = one(state, headers, body, now);
        return match one.code {
            StatusCode::BAD_REQUEST => {
                let detail = one.error.unwrap_or_default();
                Err(Problem::new(one.code, "not a beat").detail(detail).mend(SHAPE))
            }
            StatusCode::UNAUTHORIZED => Ok(ping::unauthorized()),
            code => Ok((code, Json(one)).into_response()),
        };
    }
    let bad = |detail: String| {
        Problem::new(StatusCode::BAD_REQUEST, "not a list of beats").detail(detail).mend(SHAPE)
    };
    // Each is read on its own, so that a bad one spoils no other.
    let list: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    if BEATS_MAX < list.len() {
        return Err(bad(format!("{} beats, {BEATS_MAX} at most", list.len())));
    }
    let answers: Vec<Answer> =
        list.into_iter().map(|it| one(state, headers, it.get().as_bytes(), now)).collect();
    Ok(Json(answers).into_response())
}

fn one(state: &HttpState, headers: &HeaderMap, payload: &[u8], now: Timestamp) -> Answer {
    let source = state.parts.source;
    let refused = |agent, why: String| {
        state.parts.ear.refused(source, &why);
        Answer { agent, took: "malformed", error: Some(why), code: StatusCode::BAD_REQUEST }
    };
    let raw: RawBeat = match wire::beats::read(payload) {
        Ok(raw) => raw,
        Err(why) => return refused(None, why.to_string()),
    };
    let Some(agent) = raw.agent.clone() else {
        return refused(None, "\"agent\" is missing".to_owned());
    };
    let name: Name = match agent.parse() {
        Ok(name) => name,
        Err(why) => return refused(None, format!("{why}")),
    };
    if !state.admits(&name, headers, None) {
        let error = Some("the token is missing or wrong".to_owned());
        return Answer {
            agent: Some(agent),
            took: "refused",
            error,
            code: StatusCode::UNAUTHORIZED,
        };
    }
    let fault = raw.fault.map(|it| it.to_string());
    let (took, code) = match state.parts.ear.beat(&name, beats::beat(raw, now, source)) {
        Took::Taken => ("taken", StatusCode::OK),
        Took::Registered => ("registered", StatusCode::CREATED),
        Took::Unknown => ("unknown", StatusCode::NOT_FOUND),
        Took::Full => ("full", StatusCode::NOT_FOUND),
    };
    Answer { agent: Some(agent), took, error: fault, code }
}
