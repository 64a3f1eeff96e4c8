//! Exit codes: a contract for scripts (docs/BEHAVIOUR.md 12).

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Well,
    /// A critical incident is open, a check failed, the daemon refused.
    BadNews,
    WrongUse,
    NoDaemon,
    NotPermitted,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::BadNews => 1,
            Self::WrongUse => 2,
            Self::NoDaemon => 3,
            Self::NotPermitted => 4,
        }
    }

    pub(super) fn of_refusal(class: crate::control::Class) -> Self {
        match class.exit_code() {
            2 => Self::WrongUse,
            4 => Self::NotPermitted,
            _ => Self::BadNews,
        }
    }
}

/// For `--help` and the man page.
pub(super) const HELP: &str = "Exit codes:
  0  well
  1  bad news: a critical incident is open, a check failed, or the daemon refused
  2  wrong use, or no such thing
  3  no daemon answers
  4  not permitted";
