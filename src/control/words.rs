//! Words: durations and clock times as people type and read them, alike on every face.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, tz::TimeZone};

/// Longest duration that a command takes: a year.
const LENGTH_MAX: SignedDuration = SignedDuration::from_hours(366 * 24);

/// A length of time as people write it: `90s`, `5m`, `1h 30m`, `2d`.
///
/// # Errors
/// The text says what is wrong and what is understood.
pub fn parse_length(text: &str) -> Result<SignedDuration, String> {
    let length = text
        .trim()
        .parse::<Span>()
        .and_then(|it| it.to_duration(SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| format!("{text:?} is not a duration; write 90s, 5m, 1h 30m or 2d"))?;
    if length <= SignedDuration::ZERO {
        return Err(format!("the duration {text:?} is not longer than nothing"));
    }
    if LENGTH_MAX < length {
        return Err(format!("the duration {text:?} is longer than a year"));
    }
    Ok(length)
}

/// Two units at most: `46s`, `1m 46s`, `3h 5m`, `6d 4h`. What is negative reads as `0s`.
pub fn age(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (large, small) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        3600..86400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "m")),
        _ => ((seconds / 86400, "d"), (seconds % 86400 / 3600, "h")),
    };
    if small.0 == 0 {
        return format!("{}{}", large.0, large.1);
    }
    format!("{}{} {}{}", large.0, large.1, small.0, small.1)
}

/// Local clock time, with the date only when it is not today: `03:12:04`, `20 Nov 03:12:04`.
pub fn clock(at: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    dated(at, zone, now, "%H:%M:%S")
}

/// As [`clock`], to the minute: for what lies ahead.
pub fn minute(at: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    dated(at, zone, now, "%H:%M")
}

/// As [`clock`], to the millisecond: for chains of decisions.
pub fn precise(at: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    dated(at, zone, now, "%H:%M:%S.%3f")
}

fn dated(at: Timestamp, zone: &TimeZone, now: Timestamp, time: &str) -> String {
    let here = at.to_zoned(zone.clone());
    let today = now.to_zoned(zone.clone());
    let date = match () {
        () if here.date() == today.date() => "",
        () if here.year() == today.year() => "%-d %b ",
        () => "%-d %b %Y ",
    };
    here.strftime(&format!("{date}{time}")).to_string()
}

/// `1 agent`, `3 agents`, `2 watches`.
pub fn counted(count: usize, noun: &str) -> String {
    let ending = match count {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{count} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_are_written_and_nonsense_is_refused() {
        for (text, seconds) in
            [("90s", 90), ("5m", 300), ("1h 30m", 5400), ("2d", 172_800), ("1w", 604_800)]
        {
            assert_eq!(parse_length(text).map(|it| it.as_secs()), Ok(seconds), "{text}");
        }
        for bad in ["", "soon", "0s", "-5m", "3000d", "5", "2mo"] {
            assert!(parse_length(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn people_read_two_units_and_a_date_only_when_it_is_not_today() {
        for (seconds, text) in [
            (0, "0s"),
            (46, "46s"),
            (106, "1m 46s"),
            (120, "2m"),
            (11_100, "3h 5m"),
            (532_800, "6d 4h"),
            (-5, "0s"),
        ] {
            assert_eq!(age(SignedDuration::from_secs(seconds)), text);
        }
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now: Timestamp = "2026-11-21T02:15:20Z".parse().expect("a moment");
        let at: Timestamp = "2026-11-21T02:12:04.118Z".parse().expect("a moment");
        assert_eq!(clock(at, &zone, now), "03:12:04");
        assert_eq!(precise(at, &zone, now), "03:12:04.118");
        let yesterday: Timestamp = "2026-11-20T02:12:04Z".parse().expect("a moment");
        assert_eq!(minute(yesterday, &zone, now), "20 Nov 03:12");
    }
}
