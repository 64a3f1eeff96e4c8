//! Maintenance: `[[maintenance]]` of all files becomes checked windows.

use jiff::Timestamp;

use super::{
    document::steps,
    raw,
    registry::{File, Fixed},
    report::Finding,
    targets,
    values::{self, from_to},
};
use crate::domain::{
    maintenance::{When, Window},
    silence::Target,
    text::Text,
};

/// Each is asked for every message.
const WINDOWS_MAX: usize = 1_000;
const REASON_CHARACTERS_MAX: usize = 200;

/// One entry under check.
struct Check<'a> {
    fixed: &'a Fixed,
    file: &'a File,
    index: usize,
    findings: &'a mut Vec<Finding>,
}

/// Checks `[[maintenance]]` of all files, in their order.
pub(crate) fn windows(fixed: &Fixed, files: &[File], findings: &mut Vec<Finding>) -> Vec<Window> {
    let mut windows = Vec::new();
    for file in files {
        for (index, raw) in file.raw.maintenance.iter().flatten().enumerate() {
            let mut check = Check { fixed, file, index, findings };
            if windows.len() == WINDOWS_MAX {
                let help = "a pattern serves many watches: watch = \"agent/worker-*\"";
                check.error(None, format!("more than {WINDOWS_MAX} windows"), help);
                return windows;
            }
            windows.extend(check.window(raw));
        }
    }
    windows
}

impl Check<'_> {
    fn error(&mut self, key: Option<&str>, message: impl Into<String>, help: impl Into<String>) {
        let index = self.index;
        let place = match key {
            Some(key) => self.file.document.value(&steps!["maintenance", index, key]),
            None => self.file.document.value(&steps!["maintenance", index]),
        };
        self.findings.push(Finding::error(place, message, help));
    }

    fn window(&mut self, raw: &raw::Maintenance) -> Option<Window> {
        let (index, before) = (self.index, self.findings.len());
        let watch = raw.watch.as_deref()?;
        let at = steps!["maintenance", index, "watch"];
        let target = targets::target(self.file, &at, "watch", watch, self.findings);
        let when = self.when(raw);
        (self.findings.len() == before).then_some(())?;
        Some(Window {
            target: target.unwrap_or_else(|| Target::Pattern("*".to_owned())),
            when: when?,
            reason: raw.reason.as_deref().map(|it| Text::clean(it, REASON_CHARACTERS_MAX)),
            origin: self.file.origin(&steps!["maintenance", index]),
        })
    }

    fn when(&mut self, raw: &raw::Maintenance) -> Option<When> {
        match (&raw.cron, &raw.for_, &raw.from, &raw.until) {
            (Some(cron), Some(for_), None, None) => self.each(cron, for_, raw.timezone.as_deref()),
            (None, None, Some(from), Some(until)) if raw.timezone.is_none() => {
                self.once(from, until)
            }
            (Some(_) | None, Some(_) | None, Some(_) | None, Some(_) | None) => {
                let message = "a window takes `from` and `until`, or `cron` and `for`";
                let help = "such as cron = \"0 2 * * SUN\" and for = \"1h\"";
                self.error(None, message, help);
                None
            }
        }
    }

    fn each(&mut self, cron: &str, for_: &raw::Words, zone: Option<&str>) -> Option<When> {
        let zone = match zone.map(values::timezone) {
            None => Some(self.fixed.daemon.node.timezone.clone()),
            Some(Ok(zone)) => Some(zone),
            Some(Err((what, help))) => {
                self.error(Some("timezone"), format!("`timezone` {what}"), help);
                None
            }
        };
        let cron = match cron.parse() {
            Ok(cron) => Some(cron),
            Err(what) => {
                let help = "minute, hour, day of month, month, day of week: \"0 2 * * SUN\"";
                self.error(Some("cron"), format!("`cron` {what}"), help);
                None
            }
        };
        let for_ = match values::duration(&for_.0, from_to(1_000, 168)) {
            Ok(for_) => Some(for_),
            Err((what, help)) => {
                self.error(Some("for"), format!("`for` {what}"), help);
                None
            }
        };
        Some(When::Each { cron: cron?, zone: zone?, for_: for_? })
    }

    fn once(&mut self, from: &str, until: &str) -> Option<When> {
        let (from, until) = (self.moment("from", from), self.moment("until", until));
        let (from, until) = (from?, until?);
        if until <= from {
            self.error(Some("until"), "`until` does not come after `from`", "swap the two");
            return None;
        }
        Some(When::Once { from, until })
    }

    fn moment(&mut self, key: &str, text: &str) -> Option<Timestamp> {
        let moment = text.parse().ok();
        if moment.is_none() {
            let help = "RFC 3339 with an offset: \"2026-12-24T22:00:00+01:00\"";
            self.error(Some(key), format!("`{key}` is no moment"), help);
        }
        moment
    }
}
