//! Refusal: why a command was not done, in words for the asker, with a class from which exit codes and
//! HTTP statuses follow.

use crate::{actors::tower::Unanswered, ports::store::StoreError};

/// What kind of no it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It was understood and is not possible as things stand.
    Refused,
    /// It does not make sense: a bad name, an impossible duration.
    WrongUse,
    /// What it names does not exist.
    Unknown,
    NotPermitted,
    /// A part of atalaya did not answer, or the store did not work.
    Unavailable,
}

impl Class {
    /// Exit code of the command line (docs/BEHAVIOUR.md 12): 1 bad news, 2 wrong use, 4 not
    /// permitted.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Refused | Self::Unavailable => 1,
            Self::WrongUse | Self::Unknown => 2,
            Self::NotPermitted => 4,
        }
    }

    pub fn http_status(self) -> u16 {
        match self {
            Self::Refused => 409,
            Self::WrongUse => 400,
            Self::Unknown => 404,
            Self::NotPermitted => 403,
            Self::Unavailable => 503,
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Refused => "not possible as things stand",
            Self::WrongUse => "wrong use",
            Self::Unknown => "no such thing",
            Self::NotPermitted => "not permitted",
            Self::Unavailable => "a part did not answer",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    pub class: Class,
    pub text: String,
    /// Arguments of a command that helps; the face puts the program's path before it.
    pub hint: Option<String>,
}

impl Refusal {
    pub fn refused(text: impl Into<String>) -> Self {
        Self { class: Class::Refused, text: text.into(), hint: None }
    }

    pub fn wrong_use(text: impl Into<String>) -> Self {
        Self { class: Class::WrongUse, text: text.into(), hint: None }
    }

    pub fn unknown(text: impl Into<String>) -> Self {
        Self { class: Class::Unknown, text: text.into(), hint: None }
    }

    pub fn not_permitted(text: impl Into<String>) -> Self {
        Self { class: Class::NotPermitted, text: text.into(), hint: None }
    }

    pub fn unavailable(text: impl Into<String>) -> Self {
        Self { class: Class::Unavailable, text: text.into(), hint: None }
    }

    #[must_use]
    pub fn with_hint(self, arguments: impl Into<String>) -> Self {
        Self { hint: Some(arguments.into()), ..self }
    }
}

impl From<Unanswered> for Refusal {
    fn from(error: Unanswered) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error.to_string())
    }
}
