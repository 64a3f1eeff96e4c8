//! Calendar: the moments that a cron expression names in a time zone, as cron users know them.
//!
//! ```text
//! minute hour day-of-month month day-of-week      *  5  1-5  1,15  */10  MON  JAN  @daily
//! ```
//!
//! When both days are given, either is enough (crontab(5)). Over daylight saving it does as cronie: a
//! fixed time that the clock leaps over comes at the end of the leap, one that the clock shows twice comes
//! once; an expression with `*` in its minute or hour follows the clock as it is shown.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};

/// No date is further away than the next 29 February: eight years, where a century has none.
const DAYS_AHEAD_MAX: usize = 366 * 8 + 1;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A cron expression, checked: it names at least one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both kinds of days are restricted: either is enough.
    either_day: bool,
    /// Its times are the shown ones; else fixed, and each comes once a day.
    follows_the_clock: bool,
}

/// One of the five fields.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", first: 0, last: 59, words: &[] },
    Field { name: "hour", first: 0, last: 23, words: &[] },
    Field { name: "day of month", first: 1, last: 31, words: &[] },
    Field { name: "month", first: 1, last: 12, words: &MONTHS },
    Field { name: "day of week", first: 0, last: 7, words: &DAYS },
];

impl FromStr for Cron {
    /// What is wrong, naming the field.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let fields: Vec<&str> = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        }
        .split_ascii_whitespace()
        .collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!(
                "has {} of 5 fields: minute, hour, day of month, month, day of week",
                fields.len()
            ));
        };
        let weekdays = FIELDS[4].read(weekday)?;
        let cron = Self {
            text: text.to_owned(),
            minutes: FIELDS[0].read(minute)?,
            hours: FIELDS[1].read(hour)?,
            days: FIELDS[2].read(day)?,
            months: FIELDS[3].read(month)?,
            // Sunday is 0 and 7.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            follows_the_clock: minute.starts_with('*') || hour.starts_with('*'),
        };
        if cron.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC).is_none() {
            return Err("names a date that no year has".to_owned());
        }
        Ok(cron)
    }
}

impl Field {
    fn read(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    fn part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            // `5/10` runs from 5 to the end.
            None if step.is_some() => (self.value(range)?, self.last),
            None => (self.value(range)?, self.value(range)?),
        };
        if last < first {
            return Err(format!("the {} {range} runs backwards", self.name));
        }
        let step = match step.map(str::parse::<usize>) {
            None => 1,
            Some(Ok(step)) if (1..=59).contains(&step) => step,
            Some(_) => {
                return Err(format!("the {} {part} has a step that is not 1 to 59", self.name));
            }
        };
        Ok((first..=last).step_by(step).fold(0, |set, it| set | 1 << it))
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let base = u32::from(self.words.len() == 12);
        let word = self.words.iter().zip(base..).find(|(it, _)| it.eq_ignore_ascii_case(text));
        let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        word.map(|(_, number)| number)
            .or(number)
            .filter(|it| (self.first..=self.last).contains(it))
            .ok_or_else(|| {
                let shown: String = text.chars().take(20).collect();
                format!("the {} {shown:?} is not {} to {}", self.name, self.first, self.last)
            })
    }
}

impl Cron {
    /// The first moment after this one; none at the end of time.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // What a leap put off to its end may belong to the day before.
        let mut day = zone.to_datetime(after).date().checked_sub(1.day()).ok()?;
        for _ in 0..DAYS_AHEAD_MAX {
            if self.is_on(day)
                && let Some(at) = self.of_day(day, zone).filter(|it| after < *it).min()
            {
                return Some(at);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    fn is_on(&self, day: Date) -> bool {
        let has = |set: u64, value: i8| set >> value & 1 == 1;
        let weekday = has(self.weekdays, Weekday::to_sunday_zero_offset(day.weekday()));
        let of_month = has(self.days, day.day());
        let on = if self.either_day { weekday || of_month } else { weekday && of_month };
        on && has(self.months, day.month())
    }

    /// Its moments on one date, in no order.
    fn of_day<'a>(&'a self, day: Date, zone: &'a TimeZone) -> impl Iterator<Item = Timestamp> + 'a {
        let set = |set: u64, last: i8| (0..=last).filter(move |it| set >> it & 1 == 1);
        let times = set(self.hours, 23).flat_map(move |hour| {
            set(self.minutes, 59).map(move |minute| day.at(hour, minute, 0, 0))
        });
        times.flat_map(move |time| {
            let moment = zone.to_ambiguous_timestamp(time);
            let pair = match moment.offset() {
                AmbiguousOffset::Unambiguous { .. } => [moment.compatible().ok(), None],
                AmbiguousOffset::Gap { .. } if self.follows_the_clock => [None, None],
                AmbiguousOffset::Gap { .. } => {
                    let before = moment.earlier().ok();
                    let leap = before.and_then(|it| zone.following(it).next());
                    [leap.map(|it| it.timestamp()), None]
                }
                AmbiguousOffset::Fold { .. } => {
                    let again = self.follows_the_clock.then(|| moment.later().ok());
                    [moment.earlier().ok(), again.flatten()]
                }
            };
            pair.into_iter().flatten()
        })
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `from` and the moments that follow, as the zone's clock shows them: `03-29 01:00+01`.
    fn check(cron: &str, zone: &str, from: &str, expected: &[&str]) {
        let zone = TimeZone::get(zone).unwrap();
        let cron: Cron = cron.parse().unwrap();
        let mut at: Timestamp = from.parse().unwrap();
        for expected in expected {
            at = cron.next(at, &zone).unwrap();
            let shown = at.to_zoned(zone.clone()).strftime("%m-%d %H:%M%:z").to_string();
            assert_eq!(shown, *expected, "{cron} in {}", zone.iana_name().unwrap());
        }
    }

    #[test]
    fn a_time_that_the_clock_leaps_over_comes_at_the_end_of_the_leap() {
        let spring = ["03-28 02:30+01:00", "03-29 03:00+02:00", "03-30 02:30+02:00"];
        check("30 2 * * *", "Europe/Madrid", "2026-03-27T12:00:00Z", &spring);
        let spring = ["03-07 02:30-05:00", "03-08 03:00-04:00", "03-09 02:30-04:00"];
        check("30 2 * * *", "America/New_York", "2026-03-07T00:00:00Z", &spring);
        // Half an hour: 02:00 becomes 02:30.
        let spring = ["10-03 02:15+10:30", "10-04 02:30+11:00", "10-05 02:15+11:00"];
        check("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T00:00:00Z", &spring);
    }

    #[test]
    fn a_time_that_the_clock_shows_twice_comes_once() {
        let autumn = ["10-24 02:30+02:00", "10-25 02:30+02:00", "10-26 02:30+01:00"];
        check("30 2 * * *", "Europe/Madrid", "2026-10-24T00:00:00Z", &autumn);
        let autumn = ["10-31 01:30-04:00", "11-01 01:30-04:00", "11-02 01:30-05:00"];
        check("30 1 * * *", "America/New_York", "2026-10-31T00:00:00Z", &autumn);
        let autumn = ["04-04 01:45+11:00", "04-05 01:45+11:00", "04-06 01:45+10:30"];
        check("45 1 * * *", "Australia/Lord_Howe", "2026-04-03T00:00:00Z", &autumn);
    }

    #[test]
    fn stars_follow_the_clock_as_it_is_shown() {
        let spring = ["03-29 01:30+01:00", "03-29 03:30+02:00"];
        check("30 * * * *", "Europe/Madrid", "2026-03-29T00:00:00Z", &spring);
        let autumn = ["10-25 02:30+02:00", "10-25 02:30+01:00", "10-25 03:30+01:00"];
        check("30 * * * *", "Europe/Madrid", "2026-10-25T00:00:00Z", &autumn);
        let autumn = ["04-05 01:45+11:00", "04-05 01:45+10:30", "04-05 02:45+10:30"];
        check("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", &autumn);
    }

    #[test]
    fn days_months_lists_ranges_and_steps() {
        let utc = |cron, from, expected: &[&str]| check(cron, "UTC", from, expected);
        let start = "2026-11-25T10:00:00Z";
        utc("*/20 9-10 * * *", start, &["11-25 10:20+00:00", "11-25 10:40+00:00"]);
        utc("0 0 13 * FRI", start, &["11-27 00:00+00:00", "12-04 00:00+00:00"]);
        utc("0 0 1,15 * *", start, &["12-01 00:00+00:00", "12-15 00:00+00:00"]);
        utc("0 12 31 * *", start, &["12-31 12:00+00:00", "01-31 12:00+00:00", "03-31 12:00+00:00"]);
        utc("0 0 29 2 *", "2096-03-01T00:00:00Z", &["02-29 00:00+00:00"]);
        utc("0 0 * * 7", start, &["11-29 00:00+00:00"]);
        utc("50/5 23 * jan mon-tue", start, &["01-04 23:50+00:00", "01-04 23:55+00:00"]);
        utc("@monthly", start, &["12-01 00:00+00:00"]);
        assert_eq!(Cron::from_str("@daily").unwrap().next(Timestamp::MAX, &TimeZone::UTC), None);
    }

    #[test]
    fn what_names_no_moment_is_refused_with_its_field() {
        for (cron, words) in [
            ("", "has 0 of 5 fields"),
            ("* * * *", "has 4 of 5 fields"),
            ("60 * * * *", "the minute \"60\" is not 0 to 59"),
            ("* 24 * * *", "the hour \"24\" is not 0 to 23"),
            ("* * 0 * *", "the day of month \"0\" is not 1 to 31"),
            ("* * * FEBR *", "the month \"FEBR\" is not 1 to 12"),
            ("* * * * 8", "the day of week \"8\" is not 0 to 7"),
            ("9-5 * * * *", "the minute 9-5 runs backwards"),
            ("*/0 * * * *", "a step that is not 1 to 59"),
            ("*/99999999999999999999 * * * *", "a step that is not 1 to 59"),
            ("-1 * * * *", "the minute \"\" is not 0 to 59"),
            ("0 0 31 2,4 *", "names a date that no year has"),
            ("1,,2 * * * *", "the minute \"\" is not"),
            ("+1 * * * *", "the minute \"+1\" is not"),
        ] {
            let error = cron.parse::<Cron>().expect_err(cron);
            assert!(error.contains(words), "{cron}: {error}");
        }
    }
}
