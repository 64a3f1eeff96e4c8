//! What the fake refuses: fields the Bot API does not know, HTML outside the house's four tags, limits overstepped.

use serde_json::{Map, Value};

/// Code points after entities are parsed, in UTF-16 units [Bot API: sendMessage, 4096].
pub(super) const TEXT_UNITS_MAX: usize = 4096;
/// Bytes of a button's data [Bot API: InlineKeyboardButton, 1 to 64].
const BUTTON_DATA_BYTES_MAX: usize = 64;
/// Buttons under one message [Bot API, as observed].
const BUTTONS_MAX: usize = 100;

/// One button of an inline keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Button {
    pub(crate) text: String,
    /// Empty for a link.
    pub(crate) data: String,
    pub(crate) url: Option<String>,
}

pub(crate) type Keyboard = Vec<Vec<Button>>;

/// The description of a 400, without its `Bad Request: `.
pub(super) type Checked<T> = Result<T, String>;

/// The fields of each method that the fake knows; `None` for a method it does not.
pub(super) fn known_fields(method: &str) -> Option<&'static [&'static str]> {
    Some(match method {
        "getme" | "getwebhookinfo" => &[],
        "getupdates" => &["offset", "limit", "timeout", "allowed_updates"],
        "sendmessage" => &[
            "chat_id",
            "text",
            "parse_mode",
            "link_preview_options",
            "disable_notification",
            "protect_content",
            "reply_parameters",
            "reply_markup",
        ],
        "editmessagetext" => {
            &["chat_id", "message_id", "text", "parse_mode", "link_preview_options", "reply_markup"]
        }
        "editmessagereplymarkup" => &["chat_id", "message_id", "reply_markup"],
        "deletemessage" => &["chat_id", "message_id"],
        "answercallbackquery" => &["callback_query_id", "text", "show_alert", "cache_time"],
        "deletewebhook" => &["drop_pending_updates"],
        "setmycommands" => &["commands", "scope", "language_code"],
        "getchat" | "leavechat" => &["chat_id"],
        _ => return None,
    })
}

pub(super) fn fields(map: &Map<String, Value>, known: &[&str]) -> Checked<()> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(format!("unknown field {unknown:?}")),
        None => Ok(()),
    }
}

pub(super) fn integer(map: &Map<String, Value>, field: &str) -> Checked<i64> {
    map.get(field).and_then(Value::as_i64).ok_or_else(|| format!("{field} is no integer"))
}

pub(super) fn flag(map: &Map<String, Value>, field: &str) -> Checked<bool> {
    match map.get(field) {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| format!("{field} is no boolean")),
    }
}

/// The text of a message, checked as its `parse_mode` asks; markup and entities do not count for its length.
pub(super) fn text(map: &Map<String, Value>) -> Checked<String> {
    let text = map.get("text").and_then(Value::as_str).unwrap_or_default();
    let plain = match map.get("parse_mode").map(|it| it.as_str().unwrap_or_default()) {
        None => text.to_owned(),
        Some("HTML") => html(text)?,
        Some(other) => return Err(format!("unsupported parse_mode {other:?}")),
    };
    if plain.trim().is_empty() {
        return Err("message text is empty".into());
    }
    if TEXT_UNITS_MAX < plain.encode_utf16().count() {
        return Err("message is too long".into());
    }
    if let Some(options) = map.get("link_preview_options") {
        let options = options.as_object().ok_or("link_preview_options is no object")?;
        fields(
            options,
            &["is_disabled", "url", "prefer_small_media", "prefer_large_media", "show_above_text"],
        )?;
    }
    Ok(text.to_owned())
}

/// Only `b i code blockquote`, closed, never nested, all else escaped. Returns the plain text.
pub(crate) fn html(text: &str) -> Checked<String> {
    let wrong = |why: String| Err(format!("can't parse entities: {why}"));
    let mut plain = String::new();
    let mut open: Option<&str> = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '<' => {
                let Some((tag, behind)) = rest[1..].split_once('>') else {
                    return wrong(format!("unclosed start tag at {rest:?}"));
                };
                open = match (open, tag) {
                    (None, "b" | "i" | "code" | "blockquote") => Some(tag),
                    (None, "blockquote expandable") => Some("blockquote"),
                    (Some(name), closing) if closing.strip_prefix('/') == Some(name) => None,
                    (Some(name), _) => return wrong(format!("<{tag}> inside <{name}>")),
                    (None, _) => return wrong(format!("unsupported tag <{tag}>")),
                };
                rest = behind;
            }
            '&' => {
                let Some((entity, behind)) = rest[1..].split_once(';') else {
                    return wrong("unescaped &".into());
                };
                match decoded(entity) {
                    Some(decoded) => plain.push(decoded),
                    None => return wrong(format!("unknown entity &{entity};")),
                }
                rest = behind;
            }
            '>' => return wrong("unescaped >".into()),
            other => {
                plain.push(other);
                rest = &rest[other.len_utf8()..];
            }
        }
    }
    match open {
        Some(name) => wrong(format!("can't find end tag of <{name}>")),
        None => Ok(plain),
    }
}

fn decoded(entity: &str) -> Option<char> {
    match entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        number => {
            let number = number.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// The inline keyboard of a request; none is an empty one.
pub(super) fn keyboard(map: &Map<String, Value>) -> Checked<Keyboard> {
    let Some(markup) = map.get("reply_markup") else { return Ok(Vec::new()) };
    let markup = markup.as_object().ok_or("reply_markup is no object")?;
    fields(markup, &["inline_keyboard"])?;
    let rows = markup
        .get("inline_keyboard")
        .and_then(Value::as_array)
        .ok_or("inline_keyboard is no list")?;
    let mut keyboard = Vec::new();
    for row in rows {
        let row = row.as_array().ok_or("a row of inline_keyboard is no list")?;
        keyboard.push(row.iter().map(button).collect::<Checked<Vec<_>>>()?);
    }
    if BUTTONS_MAX < keyboard.iter().map(Vec::len).sum() {
        return Err("REPLY_MARKUP_TOO_LONG".into());
    }
    // A keyboard without buttons is how one is taken away.
    keyboard.retain(|row| !row.is_empty());
    Ok(keyboard)
}

fn button(value: &Value) -> Checked<Button> {
    let map = value.as_object().ok_or("a button is no object")?;
    fields(map, &["text", "callback_data", "url"])?;
    let part = |field: &str| map.get(field).and_then(Value::as_str).map(str::to_owned);
    let text = part("text").filter(|it| !it.is_empty()).ok_or("a button has no text")?;
    match (part("callback_data"), part("url")) {
        (Some(data), None) if (1..=BUTTON_DATA_BYTES_MAX).contains(&data.len()) => {
            Ok(Button { text, data, url: None })
        }
        (Some(_), None) => Err("BUTTON_DATA_INVALID".into()),
        (None, Some(url)) => {
            // The Bot API takes public addresses alone.
            let local =
                ["localhost", "127.", "[::1]"].iter().any(|it| url.contains(&format!("//{it}")));
            if local || !url.starts_with("http") {
                return Err(format!(
                    "inline keyboard button URL '{url}' is invalid: Wrong HTTP URL"
                ));
            }
            Ok(Button { text, data: String::new(), url: Some(url) })
        }
        _ => Err(
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"
                .into(),
        ),
    }
}

pub(super) fn commands(map: &Map<String, Value>) -> Checked<()> {
    let list = map.get("commands").and_then(Value::as_array).ok_or("commands is no list")?;
    for command in list {
        let name = command["command"].as_str().unwrap_or_default();
        let plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
        if !(1..=32).contains(&name.len()) || !name.chars().all(plain) {
            return Err("BOT_COMMAND_INVALID".into());
        }
        if !(1..=256).contains(&command["description"].as_str().unwrap_or_default().chars().count())
        {
            return Err("BOT_COMMAND_DESCRIPTION_INVALID".into());
        }
    }
    Ok(())
}
