//! The methods of the Bot API: how a request meets its fault, is checked, and changes what the chats show.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{
    Attempt, Call, Chats, FakeTelegram, Fault, Message, Refusal,
    check::{self, Keyboard},
};
use crate::support::{server::close_connection, wait};

/// What handlers share. `changed` wakes whoever polls: for an update, or because a newer poll took over.
pub(super) struct Shared {
    chats: Mutex<Chats>,
    changed: watch::Sender<()>,
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { chats: Mutex::new(Chats::new()), changed: watch::Sender::new(()) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Chats> {
        self.chats.lock().expect("no handler panics with the chats in hand")
    }

    pub(super) fn wake(&self) {
        self.changed.send_replace(());
    }
}

/// An error as the Bot API words it.
struct Failure {
    code: u16,
    description: String,
    retry_after: Option<u64>,
}

impl Failure {
    fn new(code: u16, description: &str) -> Self {
        Self { code, description: description.to_owned(), retry_after: None }
    }

    fn bad_request(why: &str) -> Self {
        Self::new(400, &format!("Bad Request: {why}"))
    }
}

pub(super) async fn receive(
    State(shared): State<Arc<Shared>>,
    Path((bot, method)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let name = method.to_ascii_lowercase();
    let fault = {
        let mut chats = shared.lock();
        let fault = chats.fault_for(&name);
        chats.attempts.push(Attempt {
            at: wait::now(),
            method: name.clone(),
            fault: fault.clone(),
        });
        fault
    };
    match &fault {
        Some(Fault::Close) => close_connection(),
        Some(Fault::Malformed) => {
            return (StatusCode::OK, "{\"ok\":true,\"result\":{\"message_id\":").into_response();
        }
        Some(Fault::Status(code)) => return broken(*code),
        Some(Fault::RetryAfter(seconds)) => {
            let mut failure =
                Failure::new(429, &format!("Too Many Requests: retry after {seconds}"));
            failure.retry_after = Some(*seconds);
            return answer(Err(failure));
        }
        Some(Fault::Blocked) => {
            return answer(Err(Failure::new(403, "Forbidden: bot was blocked by the user")));
        }
        Some(Fault::ChatNotFound) => return answer(Err(Failure::bad_request("chat not found"))),
        Some(Fault::Hang(length)) => wait::pause(*length).await,
        Some(Fault::LoseAnswer) | None => {}
    }
    if bot != format!("bot{}", FakeTelegram::TOKEN) {
        return answer(Err(Failure::new(401, "Unauthorized")));
    }
    let outcome = perform(&shared, &name, &headers, &body).await;
    if fault == Some(Fault::LoseAnswer) {
        close_connection();
    }
    answer(outcome)
}

async fn perform(
    shared: &Shared,
    method: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Value, Failure> {
    let Some(known) = check::known_fields(method) else {
        refuse(&mut shared.lock(), method, "the fake knows no such method", body);
        return Err(Failure::new(404, "Not Found"));
    };
    let map = match parsed(headers, body).and_then(|map| check::fields(&map, known).map(|()| map)) {
        Ok(map) => map,
        Err(why) => {
            refuse(&mut shared.lock(), method, &why, body);
            return Err(Failure::bad_request(&why));
        }
    };
    if method == "getupdates" {
        return updates(shared, &map).await;
    }
    let mut chats = shared.lock();
    let outcome = change(&mut chats, method, &map);
    match &outcome {
        Err(Wrong::Request(why)) => refuse(&mut chats, method, why, body),
        Err(Wrong::World(_)) | Ok(_) => {}
    }
    outcome.map_err(|wrong| match wrong {
        Wrong::Request(why) | Wrong::World(why) => Failure::bad_request(&why),
    })
}

/// A request is wrong by itself, or because of what the chats hold; only the first is a fault of the sender.
enum Wrong {
    Request(String),
    World(String),
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self::Request(why)
    }
}

fn change(chats: &mut Chats, method: &str, map: &Map<String, Value>) -> Result<Value, Wrong> {
    let mut call = Call::new(method, map);
    let result = match method {
        "getme" => FakeTelegram::bot(),
        "getwebhookinfo" => {
            json!({"url": "", "has_custom_certificate": false, "pending_update_count": 0})
        }
        "getchat" => super::chat_json(chat(chats, map)?),
        "deletewebhook" => Value::Bool(true),
        "setmycommands" => {
            check::commands(map)?;
            Value::Bool(true)
        }
        "leavechat" => {
            chat(chats, map)?;
            Value::Bool(true)
        }
        "answercallbackquery" => {
            if 200 < map.get("text").and_then(Value::as_str).unwrap_or_default().chars().count() {
                return Err(Wrong::Request("MESSAGE_TOO_LONG".into()));
            }
            let query = map.get("callback_query_id").and_then(Value::as_str).unwrap_or_default();
            if !chats.queries.remove(query) {
                let why = "query is too old and response timeout expired or query id is invalid";
                return Err(Wrong::World(why.into()));
            }
            Value::Bool(true)
        }
        "sendmessage" => send(chats, map, &mut call)?,
        "deletemessage" => {
            existing(chats, map, "message to delete not found")?.deleted = true;
            Value::Bool(true)
        }
        _ => edit(chats, map, &mut call)?,
    };
    chats.calls.push(call);
    Ok(result)
}

fn send(chats: &mut Chats, map: &Map<String, Value>, call: &mut Call) -> Result<Value, Wrong> {
    let (text, keyboard) = (check::text(map)?, check::keyboard(map)?);
    let silent = check::flag(map, "disable_notification")?;
    check::flag(map, "protect_content")?;
    let chat = chat(chats, map)?;
    let reply_to = match map.get("reply_parameters") {
        Some(reply) => replied(chats, chat, reply)?,
        None => None,
    };
    let id = chats.next_message();
    let message = Message {
        id,
        chat,
        text,
        keyboard,
        reply_to,
        silent,
        at: wait::now(),
        edits: 0,
        deleted: false,
    };
    call.show(&message);
    let shown = message.as_json();
    chats.messages.insert(id, message);
    Ok(shown)
}

fn replied(chats: &Chats, chat: i64, reply: &Value) -> Result<Option<i64>, Wrong> {
    let map = reply.as_object().ok_or_else(|| "reply_parameters is no object".to_owned())?;
    check::fields(map, &["message_id", "chat_id", "allow_sending_without_reply"])?;
    let id = check::integer(map, "message_id")?;
    if chats.messages.get(&id).is_some_and(|it| it.chat == chat && !it.deleted) {
        return Ok(Some(id));
    }
    if check::flag(map, "allow_sending_without_reply")? {
        return Ok(None);
    }
    Err(Wrong::World("message to be replied not found".into()))
}

fn edit(chats: &mut Chats, map: &Map<String, Value>, call: &mut Call) -> Result<Value, Wrong> {
    let text = if call.method == "editmessagetext" { Some(check::text(map)?) } else { None };
    let keyboard: Keyboard = check::keyboard(map)?;
    chat(chats, map)?;
    let message = existing(chats, map, "message to edit not found")?;
    let text = text.unwrap_or_else(|| message.text.clone());
    if message.text == text && message.keyboard == keyboard {
        let why = "message is not modified: specified new message content and reply markup are exactly the same as a \
                   current content and reply markup of the message";
        return Err(Wrong::World(why.into()));
    }
    message.text = text;
    message.keyboard = keyboard;
    message.edits += 1;
    call.show(message);
    // An edit makes no sound, whatever the message did.
    call.silent = true;
    Ok(message.as_json())
}

fn chat(chats: &Chats, map: &Map<String, Value>) -> Result<i64, Wrong> {
    let chat = check::integer(map, "chat_id")?;
    if chats.known.contains(&chat) { Ok(chat) } else { Err(Wrong::World("chat not found".into())) }
}

fn existing<'a>(
    chats: &'a mut Chats,
    map: &Map<String, Value>,
    why: &str,
) -> Result<&'a mut Message, Wrong> {
    let (chat, id) = (check::integer(map, "chat_id")?, check::integer(map, "message_id")?);
    let found = chats.messages.get_mut(&id).filter(|it| it.chat == chat && !it.deleted);
    found.ok_or_else(|| Wrong::World(why.to_owned()))
}

/// Long polling: at once when something waits, else as soon as it comes, else empty after `timeout`. One poller at a
/// time: a newer one ends the older, as the real one does.
async fn updates(shared: &Shared, map: &Map<String, Value>) -> Result<Value, Failure> {
    let number = |field: &str| map.get(field).and_then(Value::as_i64);
    let limit = usize::try_from(number("limit").unwrap_or(100).clamp(1, 100))
        .expect("it is between 1 and 100");
    let mine = {
        let mut chats = shared.lock();
        if let Some(offset) = number("offset") {
            chats.updates.retain(|it| it["update_id"].as_i64().is_some_and(|id| offset <= id));
        }
        if let Some(kinds) =
            map.get("allowed_updates").and_then(Value::as_array).filter(|it| !it.is_empty())
        {
            let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
            chats.updates.retain(|it| kinds.iter().any(|kind| it.get(*kind).is_some()));
        }
        chats.polls += 1;
        chats.polls
    };
    shared.wake();
    let mut changed = shared.changed.subscribe();
    let ready = async {
        loop {
            {
                let chats = shared.lock();
                if chats.polls != mine {
                    let why = "Conflict: terminated by other getUpdates request; make sure that only one bot \
                               instance is running";
                    return Err(Failure::new(409, why));
                }
                if !chats.updates.is_empty() {
                    return Ok(Value::Array(chats.updates.iter().take(limit).cloned().collect()));
                }
            }
            changed.changed().await.expect("the sender lives in what we hold");
        }
    };
    let timeout = u64::try_from(number("timeout").unwrap_or(0)).unwrap_or(0).min(50);
    tokio::time::timeout(Duration::from_secs(timeout), ready).await.unwrap_or(Ok(json!([])))
}

fn parsed(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, String> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
    if !json {
        return Err("only application/json is spoken here".into());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) | Err(_) => Err("can't parse the request as a JSON object".into()),
    }
}

fn refuse(chats: &mut Chats, method: &str, why: &str, body: &[u8]) {
    let body = String::from_utf8_lossy(body).into_owned();
    chats.refusals.push(Refusal { method: method.to_owned(), why: why.to_owned(), body });
}

fn answer(outcome: Result<Value, Failure>) -> Response {
    let (code, body) = match outcome {
        Ok(result) => (200, json!({"ok": true, "result": result})),
        Err(Failure { code, description, retry_after }) => {
            let mut body = json!({"ok": false, "error_code": code, "description": description});
            if let Some(seconds) = retry_after {
                body["parameters"] = json!({"retry_after": seconds});
            }
            (code, body)
        }
    };
    (status(code), axum::Json(body)).into_response()
}

/// A gateway's page for 502 and its like, as the real one sends; the API's own words for 500.
fn broken(code: u16) -> Response {
    if code == 500 {
        return answer(Err(Failure::new(500, "Internal Server Error")));
    }
    (status(code), format!("<html><body><h1>{code}</h1></body></html>")).into_response()
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("scripted statuses exist")
}
