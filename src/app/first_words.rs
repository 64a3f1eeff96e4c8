//! First words: what a start prints, with hints that can be pasted. To standard output: the log
//! goes to standard error.

use std::{fmt::Write as _, net::SocketAddr};

use super::daemon::Start;
use crate::{actors::context::Shared, domain::registry::Wanted};

/// Where things are and what to try first.
pub fn words(start: &Start, bound: SocketAddr, context: &Shared) -> String {
    let wanted = context.wanted();
    let files: Vec<String> = start.files.iter().map(|it| it.display().to_string()).collect();
    let from = if files.is_empty() { "built-in settings".to_owned() } else { files.join(", ") };
    let node = wanted.desk.node.as_str();
    let mut text = format!("atalaya {} on {node}, {from}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: &str| {
        // Writing into a `String` cannot fail.
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    if files.is_empty() {
        line("no files", "./config, ~/.config/atalaya, /etc/atalaya");
    }
    let socket = start.daemon.http.socket.display();
    line("listening", &format!("http://{bound}, {socket}"));
    line("store", &start.daemon.store.path.display().to_string());
    line("watching", &watching(context.slots.len(), &wanted));
    let receivers: Vec<String> = wanted.desk.receivers.iter().map(|it| it.id.to_string()).collect();
    let telling = if receivers.is_empty() {
        "this terminal only".to_owned()
    } else if start.daemon.delivery.dry_run {
        format!("this terminal only: [delivery] dry_run holds {}", receivers.join(", "))
    } else {
        format!("this terminal, {}", receivers.join(", "))
    };
    line("telling", &telling);
    if let Some(telegram) = &start.daemon.telegram
        && telegram.chat.is_none()
    {
        line("telegram", "a token and no chat: set [telegram] chat, or TELEGRAM_CHAT_ID");
    }
    text.push('\n');
    let program = &start.program;
    for (name, hint) in [
        ("first beat", format!("curl http://{bound}/ping/mary")),
        ("any command", format!("{program} exec --agent mary -- COMMAND")),
        ("look", format!("{program} status")),
        ("why", format!("{program} why mary")),
        ("settings", format!("{program} check")),
        ("see it work", format!("{program} demo")),
    ] {
        let _ = writeln!(text, "  {name:<13} {hint}");
    }
    text.push('\n');
    text
}

fn watching(agents: usize, wanted: &Wanted) -> String {
    let known = match agents {
        0 => "itself".to_owned(),
        1 => "itself and 1 agent".to_owned(),
        many => format!("itself and {many} agents"),
    };
    if wanted.auto_register.is_some() {
        return format!("{known}, and whatever pings it");
    }
    match wanted.patterns.as_slice() {
        [] => known,
        [only] => format!("{known}, and whatever pings it as {}", only.id),
        many => format!("{known}, and whatever pings it under {} patterns", many.len()),
    }
}
