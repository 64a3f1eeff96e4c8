//! Delivery: one message owed to one receiver: a row of the outbox, committed with the incident that owes it.
//!
//! ```text
//!  pending ──taken──▶ sending ──accepted──▶ sent
//!     ▲                  │ └─refused for good, deadline passed──▶ failed
//!     └──try again at────┘
//!  pending ──a later row makes it pointless──▶ superseded
//!  sending ──dry run: nothing is sent──▶ rehearsed
//! ```

use jiff::{SignedDuration, Timestamp};

use super::{
    id::{DeliveryId, GroupId, IncidentId, ReceiverId},
    incident::Severity,
    text::Text,
    watch::Condition,
};

/// How a stretch of text is set. Content is never markup: whoever writes HTML escapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    Plain(String),
    Bold(String),
    Italic(String),
    Code(String),
}

/// What a button asks; the bot looks the row up by delivery and index, so nothing in it is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Button {
    /// With the number of incidents, shown from 2 on.
    Acknowledge(usize),
    Release,
    SilenceOneHour,
    Why,
    List,
    Forget,
    /// Confirms a test message.
    GotIt,
}

/// A message before anyone's format: the first line alone suffices (docs/BEHAVIOUR.md 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `🔴`, `✅`, …; machines leave it out.
    pub glyph: &'static str,
    pub headline: Vec<Span>,
    pub lines: Vec<Vec<Span>>,
    /// Set apart as a quotation, newest line last; condensed first when the message is too long.
    pub quote: Vec<String>,
    pub footer: String,
    pub buttons: Vec<Button>,
}

/// What a machine receiver is posted (docs/BEHAVIOUR.md 12): the whole JSON body but for its
/// idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `opened`, `updated`, `acknowledged`, `resolved`, `repeated`, `test`.
    pub event: &'static str,
    /// The incident as JSON, as `incidents --json` prints it.
    pub incident: String,
    pub status: &'static str,
    /// The message in one line of plain text.
    pub message: String,
    pub source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// To a human receiver: a new message of the group (a reply to its last one), which rings or not.
    New { message: Message, rings: bool },
    /// To a human receiver: the text of the group's newest message from now on. Makes no sound.
    Edit { message: Message },
    /// To a machine receiver.
    Event(Event),
}

/// Lines of a quotation that the first condensing keeps.
const QUOTE_LINES_KEPT: usize = 5;

impl Message {
    /// Whether it says that the trouble is over or no longer watched: nobody need wake for it.
    pub fn is_over(&self) -> bool {
        matches!(self.glyph, "✅" | "⏸")
    }

    /// For news that could not be sent before it was over.
    #[must_use]
    pub fn told_late(mut self) -> Self {
        let line = "Told late: it was over before this could be sent";
        self.lines.push(vec![Span::Plain(line.to_owned())]);
        self
    }

    /// The same message, shorter with each `step` from 0: the quotation shrinks to its last lines, then to
    /// its last, then goes; then all lines but the first shrink to their number, then all. The first
    /// line never. None when nothing is left to shrink.
    pub fn condensed(&self, step: usize) -> Option<Self> {
        let (quote, lines) = match step {
            0 => (QUOTE_LINES_KEPT, usize::MAX),
            1 => (1, usize::MAX),
            2 => (0, usize::MAX),
            3 => (0, 1),
            4 => (0, 0),
            _ => return None,
        };
        let mut short = self.clone();
        short.quote.drain(..self.quote.len().saturating_sub(quote));
        short.lines.truncate(lines);
        let left_out = self.lines.len() - short.lines.len();
        if 0 < left_out {
            short.lines.push(vec![Span::Italic(format!("{left_out} more lines left out"))]);
        }
        Some(short)
    }
}

impl Body {
    /// What a person reads; none for a machine.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::New { message, .. } | Self::Edit { message } => Some(message),
            Self::Event(_) => None,
        }
    }

    /// Whether a machine learns from it that the incident is over.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Event(event) if event.status == "resolved")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Pending,
    Sending,
    Sent,
    Failed,
    Superseded,
    /// Dry run: it would have been sent now, and was not.
    Rehearsed,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Sending, Self::Sent, Self::Failed, Self::Superseded, Self::Rehearsed];

    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Rehearsed => "rehearsed",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// What came of one attempt to send a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// Accepted. With how the receiver names the message, where it does.
    Accepted { reference: Option<String> },
    /// Try again, not before `after` where the receiver says so (Telegram's `retry_after`).
    Again { after: Option<SignedDuration>, why: String },
    /// The message that was to be edited is gone: send it anew.
    Gone,
    /// Refused for good: blocked, bad token, unknown chat.
    Refused { why: String },
    /// Nothing was sent, as the settings say (dry run); the row is done with.
    Rehearsed,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    /// (incident or group, step, receiver, revision): the same key is never owed twice.
    pub key: String,
    pub receiver: ReceiverId,
    /// Human receivers only.
    pub group: Option<GroupId>,
    /// The incidents that it tells of (one for a machine).
    pub incidents: Vec<IncidentId>,
    pub condition: Condition,
    pub severity: Severity,
    pub revision: u32,
    pub body: Body,
    pub created_at: Timestamp,
    pub state: State,
    pub attempts: u32,
    /// Not before this.
    pub next_at: Timestamp,
    /// Given up after this: 24 h for critical, 2 h for warning (docs/BEHAVIOUR.md 10).
    pub deadline: Timestamp,
    /// The last refusal in words.
    pub error: Option<Text>,
    /// How the receiver names the message (Telegram's message id), once it was accepted.
    pub reference: Option<String>,
    /// Also given to the next receiver because this one did not take it.
    pub failed_over: bool,
}

/// Glyphs that a message may begin with: trouble, warning, deafness, over, no longer watched, test,
/// flapping, digest.
pub const GLYPHS: [&str; 8] = ["🔴", "🟡", "⚪", "✅", "⏸", "🔔", "🔁", "🗂"];

/// Events that a machine receiver may be posted.
pub const EVENTS: [&str; 6] = ["opened", "updated", "acknowledged", "resolved", "repeated", "test"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shrinks_from_its_quotation_up_and_keeps_its_first_line() {
        let whole = Message {
            glyph: GLYPHS[0],
            headline: vec![Span::Bold("Mary is down".into())],
            lines: ["a", "b", "c"].map(|it| vec![Span::Plain(it.into())]).to_vec(),
            quote: (1..=9).map(|it| it.to_string()).collect(),
            footer: "tower-1".into(),
            buttons: vec![Button::Why],
        };
        let sizes: Vec<(usize, usize)> = (0..)
            .map_while(|step| whole.condensed(step))
            .inspect(|it| assert_eq!((&it.headline, &it.footer), (&whole.headline, &whole.footer)))
            .map(|it| (it.quote.len(), it.lines.len()))
            .collect();
        assert_eq!(sizes, [(5, 3), (1, 3), (0, 3), (0, 2), (0, 1)]);
        assert_eq!(whole.condensed(0).unwrap().quote, ["5", "6", "7", "8", "9"]);
        let last = whole.condensed(4).unwrap();
        assert_eq!(last.lines, [[Span::Italic("3 more lines left out".into())]]);
    }
}
