//! The API under `/api/v1`: JSON commands in, JSON views out, refusals as problem+json (RFC 9457).
//!
//! ```text
//!  POST /command {"command":"ack","targets":["#412"]} ─▶ Command ─▶ Controller ─▶ view
//!  GET  /agents, /incidents, /silences                ─▶ the same, lists under "items"
//! ```
//!
//! Who asks and what that allows is the server's to say: it knows the listener and the tokens ([`Vouch`]).

use std::{collections::HashMap, future::Future, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Zoned;
use serde::{Deserialize, Serialize};

use crate::{
    control::{
        Caller, Class, Command, Controller, Refusal, Reply, agents::Agents, incidents::Incidents,
        show::Show, silences::Silences, status::Status, why::Why,
    },
    domain::text::Text,
};

/// Name of the node that answered, in every answer: by it a client knows atalaya.
pub const NODE_HEADER: &str = "atalaya-node";

/// The node's local time with its zone: `2026-11-21T03:15:20.118+01:00[Europe/Madrid]`.
pub const TIME_HEADER: &str = "atalaya-time";

/// Who asks, as he says himself. Believed over the Unix socket, where the file's mode let him in.
pub const BY_HEADER: &str = "atalaya-by";

/// A caller's name is kept cut to so many characters.
const BY_MAX: usize = 40;

/// A command is at most so many bytes.
const COMMAND_BYTES_MAX: usize = 64 * 1024;

/// Says by a request's headers who asks and what that allows; one for each listener.
pub type Vouch = Arc<dyn Fn(&HeaderMap) -> Caller + Send + Sync>;

/// The name in [`BY_HEADER`], if there is one.
pub fn says_to_be(headers: &HeaderMap) -> Option<Text> {
    let said = String::from_utf8_lossy(headers.get(BY_HEADER)?.as_bytes());
    Some(Text::clean(&said, BY_MAX)).filter(|it| !it.is_empty())
}

/// Whoever answers commands; [`Controller`] in the daemon.
pub trait Answers: Clone + Send + Sync + 'static {
    fn run(
        &self,
        command: Command,
        caller: Caller,
    ) -> impl Future<Output = Result<Reply, Refusal>> + Send;

    /// The node's name and its present local time.
    fn here(&self) -> (String, Zoned);
}

impl Answers for Controller {
    async fn run(&self, command: Command, caller: Caller) -> Result<Reply, Refusal> {
        Self::run(self, command, caller).await
    }

    fn here(&self) -> (String, Zoned) {
        Self::here(self)
    }
}

/// A refusal as RFC 9457 writes it, with the class by which a client chooses its exit code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub class: Class,
    /// Arguments of a command that helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let Refusal { class, text, hint } = refusal;
        Self {
            kind: "about:blank".to_owned(),
            title: class.title().to_owned(),
            status: class.http_status(),
            detail: text,
            class,
            hint,
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { class: problem.class, text: problem.detail, hint: problem.hint }
    }
}

/// What every handler shares.
#[derive(Clone)]
struct Api<A> {
    answers: A,
    vouch: Vouch,
}

/// All routes of `/api/v1` that ask or act. Beats have their own.
pub fn routes<A: Answers>(answers: A, vouch: Vouch) -> Router {
    Router::new()
        .route("/api/v1/command", post(command::<A>))
        .route("/api/v1/status", get(status::<A>))
        .route("/api/v1/agents", get(agents::<A>))
        .route("/api/v1/agents/{id}", get(agent::<A>))
        .route("/api/v1/incidents", get(incidents::<A>))
        .route("/api/v1/incidents/{number}", get(incident::<A>))
        .route("/api/v1/silences", get(silences::<A>))
        .route("/api/v1/why/{*target}", get(why::<A>))
        .layer(DefaultBodyLimit::max(COMMAND_BYTES_MAX))
        .with_state(Api { answers, vouch })
}

/// How an answer is wrapped: a program's `--json` wants the list itself, a web client an object.
#[derive(Clone, Copy)]
enum Wrap {
    Bare,
    Items,
}

type Asked = HashMap<String, String>;

async fn command<A: Answers>(
    State(api): State<Api<A>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A form that a web page posts from elsewhere cannot carry this type without asking first.
    let json = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    if json.and_then(|it| it.split(';').next()).map(str::trim) != Some("application/json") {
        return problem(&api, Refusal::wrong_use("the body must be application/json"));
    }
    match serde_json::from_slice(&body) {
        Ok(command) => answer(&api, command, &headers, Wrap::Bare).await,
        Err(error) => {
            problem(&api, Refusal::wrong_use(format!("the command could not be read: {error}")))
        }
    }
}

async fn status<A: Answers>(State(api): State<Api<A>>, headers: HeaderMap) -> Response {
    answer(&api, Command::Status(Status {}), &headers, Wrap::Bare).await
}

async fn silences<A: Answers>(State(api): State<Api<A>>, headers: HeaderMap) -> Response {
    answer(&api, Command::Silences(Silences {}), &headers, Wrap::Items).await
}

async fn agents<A: Answers>(
    State(api): State<Api<A>>,
    headers: HeaderMap,
    query: Result<Query<Asked>, QueryRejection>,
) -> Response {
    match read_query(query, &["unknown", "group"]) {
        Ok(mut asked) => {
            let (unknown, group) = (flag(&asked, "unknown"), asked.remove("group"));
            let command = Command::Agents(Agents { unknown, toml: false, group });
            answer(&api, command, &headers, Wrap::Items).await
        }
        Err(refusal) => problem(&api, refusal),
    }
}

async fn incidents<A: Answers>(
    State(api): State<Api<A>>,
    headers: HeaderMap,
    query: Result<Query<Asked>, QueryRejection>,
) -> Response {
    match read_query(query, &["all", "watch", "since", "would_tell", "limit"])
        .and_then(incidents_asked)
    {
        Ok(asked) => answer(&api, Command::Incidents(asked), &headers, Wrap::Items).await,
        Err(refusal) => problem(&api, refusal),
    }
}

async fn agent<A: Answers>(
    State(api): State<Api<A>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let command = Command::Show(Show { target: format!("agent/{id}") });
    answer(&api, command, &headers, Wrap::Bare).await
}

async fn incident<A: Answers>(
    State(api): State<Api<A>>,
    headers: HeaderMap,
    Path(number): Path<String>,
) -> Response {
    let target = format!("#{}", number.trim_start_matches('#'));
    answer(&api, Command::Show(Show { target }), &headers, Wrap::Bare).await
}

async fn why<A: Answers>(
    State(api): State<Api<A>>,
    headers: HeaderMap,
    Path(target): Path<String>,
) -> Response {
    answer(&api, Command::Why(Why { target }), &headers, Wrap::Bare).await
}

fn read_query(
    query: Result<Query<Asked>, QueryRejection>,
    known: &[&str],
) -> Result<Asked, Refusal> {
    let Query(asked) = query.map_err(|it| Refusal::wrong_use(it.body_text()))?;
    match asked.keys().find(|it| !known.contains(&it.as_str())) {
        Some(key) => Err(Refusal::wrong_use(format!(
            "unknown parameter {key:?}; known are {}",
            known.join(", ")
        ))),
        None => Ok(asked),
    }
}

fn incidents_asked(mut asked: Asked) -> Result<Incidents, Refusal> {
    let limit = asked.get("limit").map(|it| it.parse());
    let limit = limit
        .transpose()
        .map_err(|_| Refusal::wrong_use("the parameter limit is a number, 1 or more"))?;
    let (all, would_tell) = (flag(&asked, "all"), flag(&asked, "would_tell"));
    let since = asked.remove("since");
    Ok(Incidents { all, would_tell, since, watch: asked.remove("watch"), limit })
}

/// `?all`, `?all=1` and `?all=true` say yes.
fn flag(asked: &Asked, key: &str) -> bool {
    asked.get(key).is_some_and(|it| matches!(it.as_str(), "" | "1" | "true" | "yes"))
}

async fn answer<A: Answers>(
    api: &Api<A>,
    command: Command,
    headers: &HeaderMap,
    wrap: Wrap,
) -> Response {
    let reply = match api.answers.run(command, (api.vouch)(headers)).await {
        Ok(reply) => reply,
        Err(refusal) => return problem(api, refusal),
    };
    let body = match wrap {
        Wrap::Bare => serde_json::to_string(&reply),
        Wrap::Items => serde_json::to_string(&HashMap::from([("items", &reply)])),
    };
    match body {
        Ok(body) => wrapped(api, StatusCode::OK, "application/json", body),
        Err(error) => problem(api, Refusal::unavailable(format!("writing the answer: {error}"))),
    }
}

fn problem<A: Answers>(api: &Api<A>, refusal: Refusal) -> Response {
    let problem = Problem::from(refusal);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_string(&problem).unwrap_or_default();
    wrapped(api, status, "application/problem+json", body)
}

fn wrapped<A: Answers>(
    api: &Api<A>,
    status: StatusCode,
    kind: &'static str,
    body: String,
) -> Response {
    let (node, time) = api.answers.here();
    let mut response =
        (status, [(CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response();
    for (name, value) in [(NODE_HEADER, node), (TIME_HEADER, time.to_string())] {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}
