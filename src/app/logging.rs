//! Logging: to standard error; short lines on a terminal and under systemd (whose journal has the time),
//! JSON elsewhere or where asked.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, fmt::time::FormatTime, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::settings::{Log, LogFormat};

/// Local wall time for people's eyes: `03:13:34`.
struct Clock;

impl FormatTime for Clock {
    fn format_time(
        &self,
        out: &mut tracing_subscriber::fmt::format::Writer<'_>,
    ) -> std::fmt::Result {
        #[expect(clippy::disallowed_methods, reason = "the time of a log line is for display only")]
        let now = jiff::Zoned::now();
        write!(out, "{}", now.strftime("%H:%M:%S"))
    }
}

/// Installs the log of the process. `under_systemd`: the journal adds the time itself.
pub fn install(log: &Log, under_systemd: bool) {
    // ractor's loop is a span per live actor; the clients' own lines say nothing an operator can use.
    let directives = format!(
        "{},ractor=warn,refinery_core=warn,hyper=warn,reqwest=warn,teloxide=error",
        log.level
    );
    let filter = EnvFilter::new(directives);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let terminal = std::io::stderr().is_terminal();
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !terminal && !under_systemd,
    };
    // A second installation (tests) keeps the first.
    let _ = if json {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else if under_systemd {
        registry.with(layer.with_ansi(false).without_time()).try_init()
    } else {
        registry.with(layer.with_ansi(terminal).with_timer(Clock)).try_init()
    };
}
