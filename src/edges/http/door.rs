//! The door: who may bring beats, and how many at once.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Problem;
use crate::domain::id::Name;

/// Carries a token where `Authorization` is taken by a proxy.
const TOKEN_HEADER: &str = "x-atalaya-token";

/// Tokens for beats: one for all, or one for some agents; without any, everybody may. Only digests are kept and
/// compared, so that the time of a comparison tells nothing about the token.
#[derive(Default)]
pub struct Tokens {
    any: AtomicBool,
    kept: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    all: Option<[u8; 32]>,
    agents: HashMap<Name, [u8; 32]>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tokens").field("any", &self.any).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Takes the tokens of the present settings; those before are forgotten.
    pub fn replace<'a>(
        &self,
        all: Option<&SecretString>,
        agents: impl IntoIterator<Item = (Name, &'a SecretString)>,
    ) {
        let kept = Kept {
            all: all.map(|it| digest(it.expose_secret())),
            agents: agents
                .into_iter()
                .map(|(it, token)| (it, digest(token.expose_secret())))
                .collect(),
        };
        let any = kept.all.is_some() || !kept.agents.is_empty();
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
        self.any.store(any, Relaxed);
    }

    /// Whether `given` opens the door for beats of `name`: its own token or the one for all. Looked at only
    /// where a token is needed.
    pub(super) fn admits<'a>(&self, name: &Name, given: impl FnOnce() -> Option<&'a str>) -> bool {
        if !self.any.load(Relaxed) {
            return true;
        }
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let own = kept.agents.get(name);
        if kept.all.is_none() && own.is_none() {
            return true;
        }
        let given = given().map(digest);
        given.is_some_and(|it| kept.all == Some(it) || own == Some(&it))
    }
}

impl Tokens {
    /// Whether a request brings the token for all: who holds it may act.
    pub fn holds_key(&self, headers: &HeaderMap) -> bool {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.all.is_some() && kept.all == given(headers).map(digest)
    }
}

/// The token that a request brings in its headers.
pub(super) fn given(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    bearer.or_else(|| headers.get(TOKEN_HEADER)?.to_str().ok())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// How much is let in. What is beyond it gets 429 and is counted.
pub struct Limits {
    /// Nanoseconds between two requests at the full rate; 0 is no limit.
    apart: i64,
    /// When the next request would come if all came evenly, in nanoseconds of the epoch.
    next: AtomicI64,
    bodies: Semaphore,
    turned_away: AtomicU64,
    told: AtomicBool,
}

/// A second's worth may come at once.
const BURST: i64 = NANOSECONDS;

const NANOSECONDS: i64 = 1_000_000_000;

impl Limits {
    /// `per_second` requests, 0 for no limit; `bodies` bodies of `/api/v1/beats` read at once.
    pub fn new(per_second: u32, bodies: usize) -> Self {
        let apart = if per_second == 0 { 0 } else { (NANOSECONDS / i64::from(per_second)).max(1) };
        Self {
            apart,
            next: AtomicI64::new(i64::MIN),
            bodies: Semaphore::new(bodies),
            turned_away: AtomicU64::new(0),
            told: AtomicBool::new(false),
        }
    }

    /// Lets one request in, or says that it is too early. One atomic, no lock (GCRA).
    pub(super) fn admit(&self, now: Timestamp) -> Result<(), TurnedAway> {
        if self.apart == 0 {
            return Ok(());
        }
        // Up to the year 2262 it fits; later there is no limit.
        let now = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
        let taken = self.next.fetch_update(Relaxed, Relaxed, |next| {
            let next = next.max(now);
            (next - now < BURST).then(|| next.saturating_add(self.apart))
        });
        taken.map(|_| ()).map_err(|_| TurnedAway::Rate)
    }

    pub(super) fn body(&self) -> Result<SemaphorePermit<'_>, TurnedAway> {
        self.bodies.try_acquire().map_err(|_| TurnedAway::Bodies)
    }

    /// Counts one that was turned away; true for the first since the last proof.
    pub(super) fn count(&self) -> bool {
        self.turned_away.fetch_add(1, Relaxed);
        !self.told.swap(true, Relaxed)
    }

    /// How many were turned away so far; asked for by the proof.
    pub(super) fn turned_away(&self) -> u64 {
        self.told.store(false, Relaxed);
        self.turned_away.load(Relaxed)
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Limits").field("turned_away", &self.turned_away).finish_non_exhaustive()
    }
}

/// Which limit turned a request away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnedAway {
    Rate,
    Bodies,
    /// No connection could be accepted: file descriptors have run out.
    Descriptors,
}

impl TurnedAway {
    /// What to say of the source.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Rate => "requests were turned away: more than the limit in a second",
            Self::Bodies => "requests were turned away: too many large bodies at once",
            Self::Descriptors => "connections could not be accepted: no file descriptor is left",
        }
    }
}

/// What a client is asked to wait: the burst is a second's worth.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl IntoResponse for TurnedAway {
    fn into_response(self) -> Response {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests")
            .detail(self.why())
            .mend("send again after Retry-After seconds, or many beats in one POST /api/v1/beats");
        ([(header::RETRY_AFTER, RETRY_AFTER.as_secs().to_string())], problem).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_its_own_door_only() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let secret = |text: &str| SecretString::from(text);
        let tokens = Tokens::default();
        let check = |agent: &str, given: Option<&'static str>, opens: bool| {
            assert_eq!(tokens.admits(&name(agent), || given), opens, "{agent} {given:?}");
        };
        check("mary", None, true);

        tokens.replace(None, [(name("mary"), &secret("m"))]);
        check("mary", None, false);
        check("mary", Some("x"), false);
        check("mary", Some("m"), true);
        check("paula", None, true);

        tokens.replace(Some(&secret("all")), [(name("mary"), &secret("m"))]);
        check("paula", None, false);
        check("paula", Some("m"), false);
        check("paula", Some("all"), true);
        check("mary", Some("all"), true);
        check("mary", Some("m"), true);
        check("mary", Some(""), false);
    }

    #[test]
    fn a_second_may_come_at_once_and_then_the_rate_holds() {
        let limits = Limits::new(10, 1);
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        let admitted = |milliseconds, tries: u32| {
            (0..tries).filter(|_| limits.admit(at(milliseconds)).is_ok()).count()
        };
        assert_eq!(admitted(0, 50), 10);
        assert_eq!(admitted(100, 50), 1);
        assert_eq!(admitted(500, 50), 4);
        assert_eq!(admitted(60_000, 50), 10);
        assert!(Limits::new(0, 1).admit(at(0)).is_ok());
    }

    #[test]
    fn what_was_turned_away_is_told_once_between_two_proofs() {
        let limits = Limits::new(1, 1);
        assert!(limits.count());
        assert!(!limits.count());
        assert_eq!(limits.turned_away(), 2);
        assert!(limits.count());
        let held = limits.body();
        assert!(held.is_ok() && limits.body().is_err());
    }
}
