//! Find: where the daemon is, without asking the person who calls (docs/BEHAVIOUR.md 12).
//!
//! ```text
//!  --url, --socket (or their variables) ─▶ that one alone
//!  --config (or ATALAYA_CONFIG)         ─▶ its [http] socket, then bind
//!  nothing                              ─▶ those of the configuration found, then the usual places
//! ```
//!
//! What was named is not left for another place: an act must not reach a daemon that nobody meant.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::local::Reach;

/// Where a daemon listens unless it is told otherwise.
const USUAL_BIND: &str = "127.0.0.1:7717";

/// One place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Socket(PathBuf),
    /// Without a slash at its end.
    Url(String),
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(out, "{}", path.display()),
            Self::Url(url) => out.write_str(url),
        }
    }
}

/// What the caller named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    pub url: Option<String>,
    pub socket: Option<PathBuf>,
    /// A configuration was named, and `reach` is of it.
    pub config: bool,
}

/// The places to try, in order, each once.
pub fn places(named: &Named, reach: Option<&Reach>, runtime_dir: Option<&Path>) -> Vec<Address> {
    let mut places = Vec::new();
    if let Some(url) = &named.url {
        places.push(address_of_url(url));
    }
    if let Some(socket) = &named.socket {
        places.push(Address::Socket(socket.clone()));
    }
    if !places.is_empty() {
        return places;
    }
    if let Some(reach) = reach {
        places.extend(reach.socket.clone().map(Address::Socket));
        places.extend(reach.bind.as_deref().map(address_of_bind));
    }
    if named.config {
        return places;
    }
    let runtime = runtime_dir.map(|it| it.join("atalaya.sock"));
    let sockets = [Some(PathBuf::from("./var/atalaya.sock")), runtime]
        .into_iter()
        .chain([Some(PathBuf::from("/run/atalaya/atalaya.sock"))]);
    places.extend(sockets.flatten().map(Address::Socket));
    places.push(address_of_bind(USUAL_BIND));
    let mut once: Vec<Address> = Vec::new();
    for place in places {
        if !once.contains(&place) {
            once.push(place);
        }
    }
    once
}

fn address_of_url(url: &str) -> Address {
    let url = url.trim_end_matches('/');
    if url.contains("://") {
        return Address::Url(url.to_owned());
    }
    Address::Url(format!("http://{url}"))
}

/// Who listens on every address is asked over loopback.
pub(super) fn address_of_bind(bind: &str) -> Address {
    let reached = bind.parse::<SocketAddr>().map(|it| match it.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, it.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, it.port())),
        IpAddr::V4(_) | IpAddr::V6(_) => it,
    });
    Address::Url(reached.map_or_else(|_| format!("http://{bind}"), |it| format!("http://{it}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(named: &Named, reach: Option<&Reach>, expected: &[&str]) {
        let places = places(named, reach, Some(Path::new("/run/user/1000")));
        let places: Vec<String> = places.iter().map(ToString::to_string).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn the_daemon_is_looked_for_in_a_known_order() {
        let usual = [
            "./var/atalaya.sock",
            "/run/user/1000/atalaya.sock",
            "/run/atalaya/atalaya.sock",
            "http://127.0.0.1:7717",
        ];
        check(&Named::default(), None, &usual);

        let reach = |socket: &str, bind: &str| {
            Some(Reach { socket: Some(socket.into()), bind: Some(bind.to_owned()), token: None })
        };
        let found: Vec<&str> =
            ["/srv/a.sock", "http://127.0.0.1:8000"].into_iter().chain(usual).collect();
        check(&Named::default(), reach("/srv/a.sock", "0.0.0.0:8000").as_ref(), &found);
        // Found by its own settings and by the usual places: tried once.
        check(
            &Named::default(),
            reach("./var/atalaya.sock", "127.0.0.1:7717").as_ref(),
            &[usual[0], usual[3], usual[1], usual[2]],
        );
    }

    #[test]
    fn what_is_named_is_tried_alone() {
        let reach = || Some(Reach { socket: Some("/srv/a.sock".into()), ..Reach::default() });
        let named = Named { url: Some("tower:7717/".to_owned()), ..Named::default() };
        check(&named, reach().as_ref(), &["http://tower:7717"]);
        let named = Named { socket: Some("/x.sock".into()), ..Named::default() };
        check(&named, reach().as_ref(), &["/x.sock"]);
        let named = Named {
            url: Some("https://watch.example.org".to_owned()),
            socket: Some("/x.sock".into()),
            config: true,
        };
        check(&named, reach().as_ref(), &["https://watch.example.org", "/x.sock"]);
        check(&Named { config: true, ..Named::default() }, reach().as_ref(), &["/srv/a.sock"]);
    }
}
