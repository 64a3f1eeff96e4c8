//! Values: the small languages inside a setting: durations, addresses, URLs, secrets.

use std::{
    fs,
    io::Read,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Span, SpanRelativeTo, tz::TimeZone};
use secrecy::{ExposeSecret, SecretString};

use super::{
    report::{Finding, Level, Place},
    walk::nearest,
};

const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// What a duration may be, both ends included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) min: SignedDuration,
    pub(crate) max: SignedDuration,
}

/// Milliseconds, because tests run with short settings.
pub(crate) const fn from_to(min_ms: i64, max_hours: i64) -> Range {
    Range { min: SignedDuration::from_millis(min_ms), max: SignedDuration::from_hours(max_hours) }
}

/// `90s`, `5m`, `1h 30m` (docs/BEHAVIOUR.md 12), also days of 24 hours. `Err` says what is wrong
/// and how to mend it.
pub(crate) fn duration(text: &str, range: Range) -> Result<SignedDuration, (String, String)> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit()) {
        return Err(("needs a unit".into(), format!("write \"{text}s\"")));
    }
    let parsed =
        text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let Ok(parsed) = parsed else {
        return Err(("is not a duration".into(), "such as \"90s\", \"5m\", \"1h 30m\"".into()));
    };
    if parsed < range.min || range.max < parsed {
        let (min, max) = (words(range.min), words(range.max));
        let help = if parsed < range.min {
            format!("write \"{min}\" or more")
        } else {
            format!("write \"{max}\" or less")
        };
        return Err((format!("takes {min} to {max}"), help));
    }
    Ok(parsed)
}

/// An IANA name; `Err` says what is wrong and how to mend it.
pub(crate) fn timezone(name: &str) -> Result<TimeZone, (String, String)> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|it| it.to_string()).collect();
        let near = nearest(name, known.iter().map(String::as_str));
        let help =
            if near.starts_with("did you") { near } else { "such as \"Europe/Madrid\"".into() };
        (format!("{name:?} is no time zone"), help)
    })
}

/// As people write it: `90s`, `5m`, `1h 30m`, `31d`.
pub(crate) fn words(duration: SignedDuration) -> String {
    let days = duration.as_hours() / 24;
    if 1 < days && duration == SignedDuration::from_hours(days * 24) {
        return format!("{days}d");
    }
    if duration <= SignedDuration::from_secs(120) && duration.subsec_nanos() == 0 {
        return format!("{}s", duration.as_secs());
    }
    format!("{duration:#}")
}

pub(crate) fn address(text: &str) -> Result<SocketAddr, (String, String)> {
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    local
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| ("takes an IP address and a port".into(), "such as \"127.0.0.1:7717\"".into()))
}

/// An `http://` or `https://` URL with a host, without the slash at its end.
pub(crate) fn http_url(text: &str) -> Result<String, (String, String)> {
    let refused = || {
        let help = "such as \"https://watch.example.org\"".to_owned();
        ("takes an http:// or https:// URL".to_owned(), help)
    };
    let url = reqwest::Url::parse(text).map_err(|_| refused())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(refused());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub(crate) fn redis_url(url: &SecretString) -> Result<(), (String, String)> {
    let text = url.expose_secret();
    let known = ["redis://", "rediss://", "unix://", "redis+unix://"];
    if known.iter().any(|it| text.starts_with(it)) && redis::Client::open(text).is_ok() {
        return Ok(());
    }
    let help = "such as \"redis://127.0.0.1:6379/0\"".into();
    Err(("takes a redis://, rediss:// or unix:// URL".into(), help))
}

/// Where secrets are looked for, and how strictly.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) cwd: PathBuf,
    /// `$CREDENTIALS_DIRECTORY` of systemd.
    pub(crate) credentials: Option<PathBuf>,
    /// Absent secret files only warn: the files are checked where the secrets are not.
    pub(crate) offline: bool,
}

/// The three ways in which one secret may be given.
pub(crate) struct Given<'a> {
    /// `token`
    pub(crate) key: &'a str,
    pub(crate) inline: Option<&'a SecretString>,
    pub(crate) file: Option<&'a str>,
    /// Place of the `…_file` key.
    pub(crate) place: &'a dyn Fn() -> Place,
    /// Name of the systemd credential, where it may come from there.
    pub(crate) credential: Option<&'a str>,
}

impl Ground {
    /// An absent thing that only this machine lacks: an error, offline a warning.
    pub(crate) fn absent(&self) -> Level {
        if self.offline { Level::Warning } else { Level::Error }
    }

    /// The secret, from the file's own text or a variable, from a file, or from systemd.
    pub(crate) fn secret(
        &self,
        given: &Given<'_>,
        findings: &mut Vec<Finding>,
    ) -> Option<SecretString> {
        let key = given.key;
        if given.inline.is_some() && given.file.is_some() {
            let message = format!("`{key}` is given, and `{key}_file` too");
            findings.push(Finding::error((given.place)(), message, "take one away"));
            return None;
        }
        if let Some(inline) = given.inline {
            if inline.expose_secret().trim().is_empty() {
                let place = (given.place)();
                findings.push(Finding::error(place, format!("`{key}` is empty"), "take it away"));
                return None;
            }
            return Some(inline.clone());
        }
        if let Some(file) = given.file {
            return self.secret_file(&self.cwd.join(file), file, given, findings);
        }
        let credential = given.credential?;
        let path = self.credentials.as_ref()?.join(credential);
        path.exists().then(|| self.secret_file(&path, credential, given, findings)).flatten()
    }

    fn secret_file(
        &self,
        path: &Path,
        shown: &str,
        given: &Given<'_>,
        findings: &mut Vec<Finding>,
    ) -> Option<SecretString> {
        let mut text = String::new();
        let opened = fs::File::open(path).and_then(|file| {
            let mode = file.metadata()?.permissions().mode();
            file.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
            Ok(mode)
        });
        let key = given.key;
        match opened {
            Err(error) => {
                let message = format!("`{key}_file`: cannot read {shown:?}: {error}");
                let help = "put the secret there, readable by this user alone";
                let (level, place) = (self.absent(), (given.place)());
                findings.push(Finding { level, message, place, help: help.into() });
                return None;
            }
            Ok(mode) if mode & 0o004 != 0 => {
                let message = format!("{shown:?} can be read by everybody on this machine");
                findings.push(Finding::warning(
                    (given.place)(),
                    message,
                    format!("chmod 600 {shown}"),
                ));
            }
            Ok(_) => {}
        }
        let text = text.trim();
        if text.is_empty() {
            let message = format!("`{key}_file`: {shown:?} is empty");
            findings.push(Finding::error((given.place)(), message, "put the secret there"));
            return None;
        }
        Some(SecretString::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them_and_refused_with_the_mend() {
        let range = from_to(1_000, 48);
        for (text, seconds) in
            [("90s", 90), ("5m", 300), ("1h 30m", 5_400), ("1d", 86_400), ("2 minutes", 120)]
        {
            assert_eq!(duration(text, range), Ok(SignedDuration::from_secs(seconds)), "{text}");
        }
        for (text, said) in [
            ("90", "needs a unit"),
            ("", "is not a duration"),
            ("soon", "is not a duration"),
            ("-5s", "takes 1s to 2d"),
            ("0s", "takes 1s to 2d"),
            ("3d", "takes 1s to 2d"),
            ("1 month", "is not a duration"),
            ("99999999999999999999s", "is not a duration"),
        ] {
            let refused = duration(text, range).expect_err(text);
            assert!(refused.0.contains(said), "{text}: {refused:?}");
        }
        for (seconds, text) in [(90, "90s"), (300, "5m"), (5_400, "1h 30m"), (172_800, "2d")] {
            assert_eq!(words(SignedDuration::from_secs(seconds)), text);
        }
    }
}
