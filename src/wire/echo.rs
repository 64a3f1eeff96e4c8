//! Echo: a request of our own over HTTP that proves that the listener takes requests, and its answer.

use std::net::SocketAddr;

/// Where it goes.
pub const PATH: &str = "/livez";

/// Carries the nonce there and back.
pub const NONCE_HEADER: &str = "x-atalaya-echo";

/// How many requests the listener has turned away since it began.
pub const TURNED_AWAY_HEADER: &str = "x-atalaya-turned-away";

/// The whole request, on a connection that it closes.
pub fn request(host: SocketAddr, nonce: &str) -> String {
    format!(
        "GET {PATH} HTTP/1.1\r\nhost: {host}\r\n{NONCE_HEADER}: {nonce}\r\nconnection: close\r\n\r\n"
    )
}

/// How many requests were turned away, if this is a 200 that brings our nonce back.
pub fn read_answer(answer: &str, nonce: &str) -> Option<u64> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    if lines.next()?.split(' ').nth(1)? != "200" {
        return None;
    }
    let (mut returned, mut turned_away) = (false, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case(NONCE_HEADER) {
            returned = value.trim() == nonce;
        } else if name.eq_ignore_ascii_case(TURNED_AWAY_HEADER) {
            turned_away = value.trim().parse().ok();
        }
    }
    turned_away.filter(|_| returned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_answer_counts() {
        let ours =
            "HTTP/1.1 200 OK\r\nX-Atalaya-Echo: n1\r\nx-atalaya-turned-away: 3\r\n\r\nalive\n";
        for (answer, nonce, said) in [
            (ours, "n1", Some(3)),
            (ours, "n2", None),
            (&ours.replace("200 OK", "429 Too Many"), "n1", None),
            ("HTTP/1.1 200 OK\r\n\r\nx-atalaya-echo: n1", "n1", None),
            ("", "n1", None),
            ("garbage\r\n\r\n", "n1", None),
        ] {
            assert_eq!(read_answer(answer, nonce), said, "{answer:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in ".*", nonce in ".*") {
            let _ = read_answer(&answer, &nonce);
        }
    }
}
