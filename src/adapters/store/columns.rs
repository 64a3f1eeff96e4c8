//! Columns: values that a database sorts and compares, as plain numbers and words.

use jiff::Timestamp;

use super::rows::from_json;
use crate::domain::{
    id::{Kind, WatchId},
    text::Text,
    watch::{Condition, Verdict, agent},
};

/// Text that was bounded at the door is not cut again.
const TEXT_CHARACTERS_MAX: usize = 1 << 20;

/// Stands in the place of a source's name where our own scheduler stood still; no source is called so.
pub(super) const OUR_OWN_CLOCK: &str = "";

/// A row that cannot be read, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Garbled(pub(super) String);

/// A time as a column: nanoseconds since 1970. The first and the last that fit stand for all beyond.
pub(super) fn nanos(at: Timestamp) -> i64 {
    let nanos = at.as_nanosecond();
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

pub(super) fn moment(nanos: i64) -> Timestamp {
    match nanos {
        i64::MIN => Timestamp::MIN,
        i64::MAX => Timestamp::MAX,
        // Every other i64 lies between the years 1677 and 2262.
        nanos => Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::MAX),
    }
}

/// A verdict as a column: the word of an agent's, `part/` and the condition (or `up`) of a part's.
pub(super) fn verdict_word(verdict: Verdict) -> String {
    match verdict {
        // Two verdicts that people read as one.
        Verdict::Agent(agent::Verdict::Unanswered) => "unanswered".to_owned(),
        Verdict::Agent(verdict) => verdict.word().to_owned(),
        Verdict::Part(_) => format!("part/{}", verdict.word()),
    }
}

pub(super) fn verdict(word: &str) -> Result<Verdict, Garbled> {
    match word.strip_prefix("part/") {
        Some("up") => Ok(Verdict::Part(None)),
        Some(part) => Condition::from_word(part)
            .map(|it| Verdict::Part(Some(it)))
            .ok_or_else(|| Garbled(format!("unknown condition {part:?}"))),
        None => from_json(&format!("{word:?}")).map(Verdict::Agent),
    }
}

/// A watch from its `kind/name`. The name was checked when it came in, by the rules of that time.
pub(super) fn watch(text: &str) -> Result<WatchId, Garbled> {
    text.split_once('/')
        .and_then(|(kind, name)| {
            let kind = Kind::ALL.into_iter().find(|it| it.word() == kind)?;
            Some(WatchId::new(kind, name))
        })
        .ok_or_else(|| Garbled(format!("unknown watch {text:?}")))
}

pub(super) fn text(raw: &str) -> Text {
    Text::clean(raw, TEXT_CHARACTERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sort_as_numbers_and_the_last_stands_for_ever() {
        let early: Timestamp = "1969-12-31T23:59:59.999999999Z".parse().unwrap();
        let late: Timestamp = "2026-11-21T03:12:04.118000001Z".parse().unwrap();
        assert!(nanos(early) < nanos(late));
        for at in [early, late, Timestamp::MAX, Timestamp::MIN, Timestamp::UNIX_EPOCH] {
            assert_eq!(moment(nanos(at)), at);
        }
    }

    #[test]
    fn verdicts_are_words_that_tell_an_agent_from_a_part() {
        for it in [
            Verdict::Agent(agent::Verdict::Up),
            Verdict::Agent(agent::Verdict::Down),
            Verdict::Agent(agent::Verdict::Blind),
            Verdict::Agent(agent::Verdict::NeedsInput),
            Verdict::Agent(agent::Verdict::Unanswered),
            Verdict::Part(None),
            Verdict::Part(Some(Condition::Down)),
            Verdict::Part(Some(Condition::SetAside)),
        ] {
            assert_eq!(verdict(&verdict_word(it)), Ok(it));
        }
        assert!(verdict("merry").is_err());
        assert!(verdict("part/merry").is_err());
    }

    #[test]
    fn every_word_of_a_verdict_is_the_word_of_the_domain() {
        for word in ["down", "failed", "overrun", "stalled", "looping", "degraded", "late", "up"]
            .into_iter()
            .chain(["waiting", "needs_input", "leaving", "paused", "blind"])
        {
            assert_eq!(verdict(word).unwrap().word(), word);
        }
    }
}
