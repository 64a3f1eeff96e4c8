//! Maintenance: windows in which nothing of some watches rings, as the registry has them: once, or by a
//! cron expression. What is still so at the end of one is told then (docs/BEHAVIOUR.md 9).

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{calendar::Cron, id::Origin, silence::Target, text::Text, watch::Subject};

#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    pub target: Target,
    pub when: When,
    pub reason: Option<Text>,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq)]
pub enum When {
    Once {
        from: Timestamp,
        until: Timestamp,
    },
    /// From each moment that the expression names, for so long.
    Each {
        cron: Cron,
        zone: TimeZone,
        for_: SignedDuration,
    },
}

impl Window {
    /// When the window ends that this moment lies in, if any. The end itself lies outside.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.when {
            When::Once { from, until } => (*from <= now && now < *until).then_some(*until),
            When::Each { cron, zone, for_ } => {
                let begun = cron.next(now.checked_sub(*for_).ok()?, zone)?;
                (begun <= now).then(|| begun.saturating_add(*for_).unwrap_or(Timestamp::MAX))
            }
        }
    }
}

/// The window over a watch at this moment that lasts longest, and its end.
pub fn over<'a>(
    windows: &'a [Window],
    subject: &Subject,
    now: Timestamp,
) -> Option<(&'a Window, Timestamp)> {
    let over = windows.iter().filter(|it| it.target.matches(subject));
    over.filter_map(|it| Some((it, it.until(now)?))).max_by_key(|(_, until)| *until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_holds_from_its_first_moment_to_before_its_end() {
        let madrid = TimeZone::get("Europe/Madrid").unwrap();
        let weekly = When::Each {
            cron: "0 2 * * SUN".parse().unwrap(),
            zone: madrid,
            for_: SignedDuration::from_hours(1),
        };
        let once =
            When::Once { from: at("2026-11-25T10:00:00Z"), until: at("2026-11-25T12:00:00Z") };
        let window = |target: &str, when| Window {
            target: Target::Pattern(target.to_owned()),
            when,
            reason: None,
            origin: Origin::Default("test"),
        };
        let subject = |watch: &str| {
            let name = Text::clean(watch, 40);
            Subject::new(watch.parse().unwrap(), name, Origin::Default("test"))
        };
        let windows = [window("agent/m*", weekly), window("*", once)];
        for (watch, now, until) in [
            ("agent/mary", "2026-11-29T00:59:59Z", None),
            ("agent/mary", "2026-11-29T01:00:00Z", Some("2026-11-29T02:00:00Z")),
            ("agent/mary", "2026-11-29T01:59:59Z", Some("2026-11-29T02:00:00Z")),
            ("agent/mary", "2026-11-29T02:00:00Z", None),
            ("agent/lisa", "2026-11-29T01:30:00Z", None),
            // Summer time begins at 02:00: the window begins at 03:00, which is the same moment.
            ("agent/mary", "2026-03-29T01:00:00Z", Some("2026-03-29T02:00:00Z")),
            ("agent/lisa", "2026-11-25T10:00:00Z", Some("2026-11-25T12:00:00Z")),
            ("agent/lisa", "2026-11-25T12:00:00Z", None),
        ] {
            let found = over(&windows, &subject(watch), at(now));
            assert_eq!(found.map(|it| it.1), until.map(at), "{watch} at {now}");
        }
    }
}
