//! Pings: the addresses that cron users know (docs/reference/formats.md, "Heartbeats"):
//! `/ping/{agent}` with `/start`, `/fail`, `/log`, `/{0..255}`, and `?rid=`, `?create=1`,
//! `?token=`. Borrowed, no allocation.

use uuid::Uuid;

/// What a ping says, by the last part of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    Fail,
    Log,
    /// `/0` is success, anything else a failure.
    Exit(u8),
}

/// What follows the `?`, as far as a ping knows it; other keys are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Query<'a> {
    pub rid: Option<Uuid>,
    pub create: bool,
    pub token: Option<&'a str>,
}

/// `?rid=` is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRid;

/// The part of the path behind the agent; None for a word that no ping knows and for an exit code above 255.
pub fn action(word: &str) -> Option<Action> {
    match word {
        "start" => Some(Action::Start),
        "fail" => Some(Action::Fail),
        "log" => Some(Action::Log),
        code if code.bytes().all(|it| it.is_ascii_digit()) => code.parse().ok().map(Action::Exit),
        _ => None,
    }
}

/// Reads the query of a ping. Of a key that comes twice the last counts.
pub fn query(text: &str) -> Result<Query<'_>, BadRid> {
    let mut read = Query::default();
    for pair in text.split('&') {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("rid", rid) => read.rid = Some(Uuid::try_parse(rid).map_err(|_| BadRid)?),
            ("create", yes) => read.create = yes == "1",
            ("token", token) => read.token = Some(token),
            _ => {}
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_the_path_says_what_happened() {
        for (word, said) in [
            ("start", Some(Action::Start)),
            ("fail", Some(Action::Fail)),
            ("log", Some(Action::Log)),
            ("0", Some(Action::Exit(0))),
            ("007", Some(Action::Exit(7))),
            ("255", Some(Action::Exit(255))),
            ("256", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("Start", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(action(word), said, "{word:?}");
        }
    }

    #[test]
    fn a_query_is_read_and_strange_keys_are_ignored() {
        let rid = "123e4567-e89b-12d3-a456-426614174000";
        let run = Some(Uuid::try_parse(rid).unwrap());
        for (text, said) in [
            (String::new(), Ok(Query::default())),
            (format!("rid={rid}"), Ok(Query { rid: run, ..Query::default() })),
            (format!("rid={}", rid.to_uppercase()), Ok(Query { rid: run, ..Query::default() })),
            ("rid=nightly".to_owned(), Err(BadRid)),
            ("rid=".to_owned(), Err(BadRid)),
            ("rid".to_owned(), Err(BadRid)),
            ("create=1".to_owned(), Ok(Query { create: true, ..Query::default() })),
            ("create=0&x&=&&".to_owned(), Ok(Query::default())),
            ("token=abc".to_owned(), Ok(Query { token: Some("abc"), ..Query::default() })),
        ] {
            assert_eq!(query(&text), said, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = (action(&text), query(&text));
        }
    }
}
