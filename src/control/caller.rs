//! Caller: who asks, over which face, and what that allows.

use super::Refusal;
use crate::domain::text::Text;

/// What a caller may do; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Nothing: a token was asked for and not shown.
    None,
    /// Look.
    Read,
    /// Look, and send signs of life.
    Ping,
    /// Everything.
    Act,
}

/// The way by which a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Face {
    /// The Unix socket, whose permissions decided who may use it.
    Socket,
    /// HTTP over TCP.
    Http,
    Telegram,
}

/// Who asks. The edge that let the request in sets it; nothing in the request itself can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Author of acknowledgements and silences, as people read it.
    pub name: Text,
    pub via: Face,
    pub may: Scope,
}

impl Caller {
    /// # Errors
    /// When more is needed than the caller may; the text says how to get it.
    pub fn permits(&self, needed: Scope) -> Result<(), Refusal> {
        if needed <= self.may {
            return Ok(());
        }
        let what = match needed {
            Scope::None | Scope::Read => "reading",
            Scope::Ping => "pinging",
            Scope::Act => "acting",
        };
        Err(Refusal::not_permitted(match self.via {
            Face::Http => {
                format!("{what} over TCP needs a token: ATALAYA_TOKEN, or ask over the Unix socket")
            }
            Face::Telegram => format!("{what} is for allowed_users alone"),
            Face::Socket => format!("{what} is not permitted over this socket"),
        }))
    }
}
