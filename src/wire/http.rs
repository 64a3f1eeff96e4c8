//! One HTTP client for all that is asked of others: bounded in time and size, follows no redirect.

use std::{error::Error, time::Duration};

use reqwest::{Client, Response, redirect};

/// A TCP and TLS handshake that takes longer is a host that is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The shared client. It names itself `atalaya/<version>` and follows no redirect: a receiver's address is
/// what was configured, and a signature or token goes nowhere else. It has no time-out for a whole request,
/// which each caller sets (a long poll and a message differ).
///
/// # Errors
/// The machine's trusted certificates cannot be read.
pub fn client() -> reqwest::Result<Client> {
    Client::builder()
        .user_agent(concat!("atalaya/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none())
        .build()
}

/// The body, or its first `bytes_max` bytes.
///
/// # Errors
/// The connection broke, or the request's time-out passed.
pub async fn read_bounded(mut response: Response, bytes_max: usize) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < bytes_max
        && let Some(chunk) = response.chunk().await?
    {
        let room = bytes_max - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(body)
}

/// An error and its causes in one line, without the address: it may hold a token.
pub fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
