//! Verb doctor: everything that must be in order, looked at one by one, each trouble with what mends it.

use serde::Serialize;

use super::{
    Call, Ended,
    exit::Exit,
    json,
    local::{Examined, Health},
    render::Scene,
    terminal::{Mood, Terminal},
};
use crate::control::{
    Command, Reply,
    agents::{AgentView, Agents},
    status::{PartView, SignView, Status, StatusView},
    words,
};

/// Agents that were never heard and are named singly.
const NAMED_MAX: usize = 5;

/// Names stand in a column so wide.
const PART_COLUMN: usize = 10;

#[derive(Serialize)]
struct Report<'a> {
    problems: usize,
    warnings: usize,
    findings: &'a [Examined],
}

impl Call<'_> {
    pub(super) fn doctor(&self) -> Ended {
        let mut local = self.local.examine(&self.files()).into_iter();
        let mut findings: Vec<Examined> = local.next().into_iter().collect();
        let (daemon, of_daemon) = self.daemon();
        findings.push(daemon);
        findings.extend(local);
        // What both looked at and found wrong is said once.
        let is_known = |part: &str, found: &[Examined]| {
            let name = part.strip_prefix("receiver/").unwrap_or(part);
            found.iter().any(|it| it.health == Health::Problem && it.part == name)
        };
        let news: Vec<Examined> =
            of_daemon.into_iter().filter(|it| !is_known(&it.part, &findings)).collect();
        findings.extend(news);
        let count = |health| findings.iter().filter(|it| it.health == health).count();
        let (problems, warnings) = (count(Health::Problem), count(Health::Warning));
        let exit = if problems == 0 { Exit::Well } else { Exit::BadNews };
        if self.everywhere.json {
            let report = Report { problems, warnings, findings: &findings };
            return Ended::said(exit, json(&report));
        }
        let mut lines: Vec<String> =
            findings.iter().flat_map(|it| lines(it, self.terminal)).collect();
        let trouble =
            [words::counted(problems, "problem"), words::counted(warnings, "warning")].join(", ");
        lines.push(if problems + warnings == 0 { "all is well".to_owned() } else { trouble });
        Ended::said(exit, lines.join("\n"))
    }

    /// The daemon, and what it knows of its parts and agents.
    fn daemon(&self) -> (Examined, Vec<Examined>) {
        let asked = Command::Status(Status {});
        let told = match self.tell(&asked) {
            Ok(told) => told,
            Err(refused) => {
                // The refusal is worded for a call of its own.
                let why = String::from_utf8_lossy(&refused.out) + refused.errors.as_str();
                let why = why.trim().trim_start_matches("error: ");
                let why = why.split("\nstart it: ").next().unwrap_or(why);
                let mend = format!("{} run", self.program);
                return (Examined::problem("daemon", why, mend), Vec::new());
            }
        };
        let Ok(Reply::Status(status)) = Reply::read(&asked, &told.json) else {
            let text = "its answer is not understood: another version?";
            return (Examined::problem("daemon", text, "install one version"), Vec::new());
        };
        let mut found: Vec<Examined> =
            status.parts.iter().filter_map(|it| self.part(it, &told.scene)).collect();
        found.extend(status.signs.iter().map(|it| sign(it, &told.scene)));
        found.push(self.watchdog(&status));
        let asked = Command::Agents(Agents::default());
        let agents = self.tell(&asked).ok().and_then(|it| Reply::read(&asked, &it.json).ok());
        if let Some(Reply::Agents(agents)) = agents {
            found.extend(self.never_heard(&agents));
        }
        (self.alive(&status, &told.scene), found)
    }

    fn alive(&self, status: &StatusView, scene: &Scene) -> Examined {
        let (node, version) = (&status.node, &status.version);
        let up = words::age(status.now.duration_since(status.started_at));
        let text = format!("{node}, atalaya {version}, up {up}");
        if !status.ready {
            let mend = format!("{} status", self.program);
            return Examined::warning("daemon", format!("{text}, does not judge yet"), mend);
        }
        let own = env!("CARGO_PKG_VERSION");
        if version != own {
            let text = format!("{text}; this program is {own}");
            return Examined::warning("daemon", text, "start the daemon again");
        }
        let of = scene.clock(status.registry_read_at);
        Examined::well("daemon", format!("{text}, registry of {of}"))
    }

    /// What the running daemon finds wrong with a part of its own.
    fn part(&self, part: &PartView, scene: &Scene) -> Option<Examined> {
        let trouble = part.trouble.as_ref()?;
        let text = format!("{trouble} since {}: {}", scene.clock(part.since), part.detail);
        let text = text.trim_end_matches([':', ' ']);
        Some(Examined::problem(&part.watch, text, format!("{} why {}", self.program, part.watch)))
    }

    fn watchdog(&self, status: &StatusView) -> Examined {
        if let Some(seconds) = status.watchdog_seconds {
            let text = format!("systemd starts it again after {seconds}s without a sign of life");
            return Examined::well("watchdog", text);
        }
        let text = "nobody starts it again when it hangs or dies";
        let program = &self.program;
        let mend = format!(
            "systemd-run --user --unit=atalaya --same-dir -p Type=notify -p WatchdogSec=60 -p \
             Restart=always {program} run"
        );
        Examined::warning("watchdog", text, mend)
    }

    fn never_heard(&self, agents: &[AgentView]) -> Vec<Examined> {
        let silent: Vec<&AgentView> = agents.iter().filter(|it| it.last_beat.is_none()).collect();
        let mut found: Vec<Examined> =
            silent.iter().take(NAMED_MAX).map(|it| self.never(it)).collect();
        if let Some(more) = silent.len().checked_sub(NAMED_MAX).filter(|it| 0 < *it) {
            let text = format!("{} more were never heard", words::counted(more, "agent"));
            found.push(Examined::warning("agents", text, format!("{} agents", self.program)));
        }
        found
    }

    fn never(&self, agent: &AgentView) -> Examined {
        let id = &agent.id;
        let reach = self.local.reach(self.everywhere.config.as_deref()).ok().flatten();
        let mend = match reach {
            // Its own requests would have to show the token.
            Some(reach) if reach.token.is_some() => format!("{} ping {id}", self.program),
            Some(super::local::Reach { bind: Some(bind), .. }) => {
                format!("curl {}/ping/{id}", super::find::address_of_bind(&bind))
            }
            Some(_) | None => format!("curl http://127.0.0.1:7717/ping/{id}"),
        };
        Examined::warning(format!("agent/{id}"), "never heard", mend)
    }
}

/// A sign of life of its own, and whether somebody takes it.
fn sign(sign: &SignView, scene: &Scene) -> Examined {
    match (sign.failing_since, sign.taken_at) {
        (Some(since), _) => {
            let text = format!("nobody takes it since {}: {}", scene.clock(since), sign.detail);
            Examined::warning(&sign.name, text, format!("{} why self/{}", scene.program, sign.name))
        }
        (None, Some(at)) => Examined::well(&sign.name, format!("taken at {}", scene.clock(at))),
        (None, None) => Examined::well(&sign.name, "not due yet"),
    }
}

fn lines(it: &Examined, terminal: Terminal) -> Vec<String> {
    let (mood, glyph) = match it.health {
        Health::Well => (Mood::Good, "✓"),
        Health::Warning => (Mood::Warning, "!"),
        Health::Problem => (Mood::Bad, "✗"),
    };
    let indent = " ".repeat(PART_COLUMN + 3);
    let text = terminal.fit(&it.text).replace('\n', &format!("\n{indent}"));
    let glyph = terminal.paint(mood, terminal.glyph(glyph));
    let mut lines = vec![format!("{glyph} {:<PART_COLUMN$} {text}", it.part)];
    lines.extend(it.mend.as_ref().map(|mend| format!("{indent}mend: {}", terminal.fit(mend))));
    lines
}
