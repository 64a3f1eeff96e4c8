//! HTTP: pings and beats come in, health is shown. One router for TCP and for the Unix socket.
//!
//! ```text
//!  request ─▶ limits ─▶ name ─▶ token ─▶ ear ─▶ answer
//!                └ 429, and the source is blind until a proof of our own has passed
//! ```

use std::{fmt, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    control::{Clock, Ear},
    domain::id::{Name, SourceId},
    wire::echo,
};

pub mod api;
pub mod door;
pub mod server;

mod beats;
mod ping;

use door::{Limits, Tokens, TurnedAway};

/// What the faces of HTTP need.
pub struct Parts {
    pub ear: Arc<dyn Ear>,
    pub clock: Arc<dyn Clock>,
    /// The source `http`: over it come all beats, also those of the Unix socket.
    pub source: SourceId,
    pub tokens: Arc<Tokens>,
    pub limits: Arc<Limits>,
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
}

/// What `GET /readyz` answers: 200 once we judge, and so while a part is broken; `body` says which.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    pub judging: bool,
    pub body: Value,
}

/// What every handler shares.
#[derive(Clone)]
pub struct HttpState {
    parts: Arc<Parts>,
    trusted: bool,
}

impl fmt::Debug for HttpState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HttpState").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

impl HttpState {
    /// For TCP: tokens are asked for.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), trusted: false }
    }

    /// The same for the Unix socket, where the file's mode has let the caller in.
    #[must_use]
    pub fn trusted(&self) -> Self {
        Self { parts: Arc::clone(&self.parts), trusted: true }
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Whether the limit lets one more request in; if not, the answer.
    fn admit(&self, now: Timestamp) -> Result<(), TurnedAway> {
        self.parts.limits.admit(now).map_err(|limit| self.turn_away(now, limit))
    }

    /// A beat may have been in what we turned away: whoever is heard over HTTP is not judged until a proof of our
    /// own has passed. Told once between two proofs.
    fn turn_away(&self, now: Timestamp, limit: TurnedAway) -> TurnedAway {
        if self.parts.limits.count() {
            self.parts.ear.blind(self.parts.source, now, limit.why());
        }
        limit
    }

    fn admits(&self, name: &Name, headers: &HeaderMap, in_query: Option<&str>) -> bool {
        self.trusted || self.parts.tokens.admits(name, || door::given(headers).or(in_query))
    }
}

/// All routes: those that bring beats, health, and `api`, which asks and acts and knows its callers by
/// itself. A face that comes later is one more `merge` here.
pub fn router(state: HttpState, api: Router) -> Router {
    Router::new()
        .merge(ping::routes())
        .merge(beats::routes())
        .merge(health())
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "no such page")
                .mend("curl this host's /ping/NAME, /api/v1/beats or /readyz")
        })
        .with_state(state)
        .merge(api)
}

fn health() -> Router<HttpState> {
    Router::new().route(echo::PATH, get(livez)).route("/readyz", get(readyz))
}

/// Alive. Our own source sends a nonce along, is limited like any beat, and learns how many were turned away.
async fn livez(State(state): State<HttpState>, headers: HeaderMap) -> Response {
    let mut answer = "alive\n".into_response();
    if let Some(nonce) = headers.get(echo::NONCE_HEADER) {
        if let Err(limit) = state.admit(state.now()) {
            return limit.into_response();
        }
        answer.headers_mut().insert(echo::NONCE_HEADER, nonce.clone());
        let turned_away = HeaderValue::from(state.parts.limits.turned_away());
        answer.headers_mut().insert(echo::TURNED_AWAY_HEADER, turned_away);
    }
    answer
}

async fn readyz(State(state): State<HttpState>) -> Response {
    let Readiness { judging, body } = (state.parts.ready)();
    let status = if judging { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// A refusal as RFC 9457 has it, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    #[serde(skip)]
    code: StatusCode,
    status: u16,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(code: StatusCode, title: &str) -> Self {
        Self { code, status: code.as_u16(), title: title.to_owned(), detail: None, mend: None }
    }

    pub(crate) fn detail(self, detail: impl fmt::Display) -> Self {
        Self { detail: Some(detail.to_string()), ..self }
    }

    pub(crate) fn mend(self, mend: &'static str) -> Self {
        Self { mend: Some(mend), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.code, kind, Json(self)).into_response()
    }
}

fn text(code: StatusCode, text: impl Into<Body>) -> Response {
    let mut answer = Response::new(text.into());
    *answer.status_mut() = code;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests;
