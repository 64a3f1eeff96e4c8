//! Timestamps: one parser for all that agents write (docs/reference/formats.md, "Timestamps").
//! Whether a stamp lies in the future is for the caller to judge, who knows what time it is.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;

/// A bare number is epoch seconds below this and milliseconds from here on: as seconds it would lie in
/// the year 5138, as milliseconds it is March 1973.
pub const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// Longer text is no timestamp.
const TEXT_BYTES_MAX: usize = 64;

/// RFC 3339 with `Z` or an offset; ISO without a zone, which is UTC; or a number as text.
pub fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if TEXT_BYTES_MAX < text.len() {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return whole_number(whole);
    }
    if let Ok(number) = text.parse::<f64>() {
        return fraction(number);
    }
    text.parse::<Timestamp>().ok().or_else(|| without_zone(text))
}

/// The same for a JSON value: text or a number.
pub fn read_json(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => read(text),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole_number(whole),
            None => number.as_f64().and_then(fraction),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn whole_number(number: i64) -> Option<Timestamp> {
    if number < MILLISECONDS_FROM {
        Timestamp::from_second(number).ok()
    } else {
        Timestamp::from_millisecond(number).ok()
    }
}

/// `1763888400.25`, as `time.time()` writes it. Read to the millisecond, which a double holds exactly.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the bound is exact in a double, and a cast beyond i64 saturates and is then refused"
)]
fn fraction(number: f64) -> Option<Timestamp> {
    if !number.is_finite() {
        return None;
    }
    let milliseconds = if number < MILLISECONDS_FROM as f64 { number * 1000.0 } else { number };
    Timestamp::from_millisecond(milliseconds.round() as i64).ok()
}

/// `datetime.utcnow().isoformat()`: microseconds, no `Z`.
fn without_zone(text: &str) -> Option<Timestamp> {
    let civil = text.parse::<DateTime>().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_a_moment_is_read() {
        for (text, said) in [
            ("2025-11-08T09:00:00Z", "2025-11-08T09:00:00Z"),
            ("2025-11-08T09:00:00.250Z", "2025-11-08T09:00:00.25Z"),
            ("2025-11-08T09:00:00+01:00", "2025-11-08T08:00:00Z"),
            ("2025-11-08T09:00:00.123456", "2025-11-08T09:00:00.123456Z"),
            ("2025-11-08 09:00:00", "2025-11-08T09:00:00Z"),
            ("1762592400", "2025-11-08T09:00:00Z"),
            (" 1762592400 ", "2025-11-08T09:00:00Z"),
            ("1762592400.25", "2025-11-08T09:00:00.25Z"),
            ("1762592400250", "2025-11-08T09:00:00.25Z"),
            ("99999999999", "5138-11-16T09:46:39Z"),
            ("100000000000", "1973-03-03T09:46:40Z"),
            ("", "none"),
            ("yesterday", "none"),
            ("NaN", "none"),
            ("inf", "none"),
            ("1e300", "none"),
            ("-1e300", "none"),
            ("9223372036854775807", "none"),
            ("2025-13-08T09:00:00Z", "none"),
            ("2025-11-08T09:00:00Z and then some more text that no clock would ever write", "none"),
        ] {
            let read = read(text).map_or_else(|| "none".to_owned(), |it| it.to_string());
            assert_eq!(read, said, "{text:?}");
        }
    }

    #[test]
    fn json_numbers_and_text_mean_the_same() {
        for (json, said) in [
            ("1762592400", Some(1_762_592_400_000)),
            ("1762592400.5", Some(1_762_592_400_500)),
            ("1762592400500", Some(1_762_592_400_500)),
            ("\"1762592400\"", Some(1_762_592_400_000)),
            ("\"2025-11-08T09:00:00Z\"", Some(1_762_592_400_000)),
            ("18446744073709551615", None),
            ("null", None),
            ("true", None),
            ("[1762592400]", None),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(read_json(&value).map(Timestamp::as_millisecond), said, "{json}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_and_no_number_makes_it_panic(text in ".*", number: f64, whole: i64) {
            let _ = (read(&text), fraction(number), whole_number(whole));
            let _ = read(&number.to_string());
        }
    }
}
