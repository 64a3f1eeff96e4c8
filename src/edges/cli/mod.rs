//! The command line: a few verbs of its own, all others asked of the daemon and rendered here.

pub mod exit;
pub mod find;
pub mod local;
pub mod terminal;

mod child;
mod client;
mod demo;
mod doctor;
mod exec;
mod out;
mod plan;
mod render;
mod replay;
mod run;

use std::{
    ffi::OsString,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, parser::ValueSource};
use secrecy::SecretString;
use serde::Serialize;

use self::{
    exit::Exit,
    find::Address,
    local::{Checked, Files, Local, Reach, Which},
    render::Scene,
    terminal::{Colour, Mood, Terminal},
};
use crate::{
    control::{
        Command, Refusal, Reply,
        agents::{AgentView, Agents},
        status::Status,
    },
    domain::{registry::Wanted, text::Text},
    edges::http::api::Problem,
};

/// A node's name and a line of a refusal are shown cut to so many characters.
const NODE_SHOWN_MAX: usize = 80;
const REFUSAL_SHOWN_MAX: usize = 400;

/// The watch that never sleeps: liveness, incidents and alerts for fleets of agents
#[derive(Debug, Parser)]
#[command(name = "atalaya", version, after_help = exit::HELP, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
struct Everywhere {
    /// The daemon's settings [default: the first of ./config, ~/.config/atalaya, /etc/atalaya]
    #[arg(long, global = true, env = "ATALAYA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is watched: a file, or a folder of them
    #[arg(long, global = true, env = "ATALAYA_REGISTRY", value_name = "FILE")]
    registry: Option<PathBuf>,
    /// Ask the daemon at this address
    #[arg(long, global = true, env = "ATALAYA_URL")]
    url: Option<String>,
    /// Ask the daemon over this Unix socket
    #[arg(long, global = true, env = "ATALAYA_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print the answer as JSON, times in UTC
    #[arg(long, global = true)]
    json: bool,
    /// Colours; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Colour,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon; or with --once or --duration judge, say so and end: for cron and CI
    Run(run::Run),
    /// Check the configuration and the registry
    Check {
        /// Without network and secrets, as in CI
        #[arg(long)]
        offline: bool,
    },
    /// Look at all that must be in order (files, store, receivers, daemon), and say how to mend what is not
    Doctor,
    /// What a draft of the registry would start, stop, change and page: `plan --registry DRAFT`
    Plan,
    /// What history would have told under a draft of the registry: `replay --registry DRAFT`
    Replay(replay::Replay),
    /// Run a command and beat for it while it runs: `exec --agent mary -- COMMAND`
    Exec(exec::Exec),
    /// See it work: a daemon of its own, and agents that stall, die and come back, for half a minute
    Demo,
    #[command(hide = true)]
    DemoPart(demo::DemoPart),
    /// Print the JSON Schema of a file
    Schema {
        #[arg(default_value = "daemon")]
        of: Which,
    },
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the man page, or write one for each command
    Man {
        /// Write into this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    #[command(flatten)]
    Ask(Command),
}

/// Parses the arguments and does what they say. `local` does what needs no daemon.
pub fn main(arguments: impl IntoIterator<Item = OsString>, local: &dyn Local) -> ExitCode {
    let ended = called(&arguments.into_iter().collect::<Vec<_>>(), local);
    out::write(&ended);
    ExitCode::from(ended.code)
}

/// How a call ended and what is to be printed; printing is the caller's.
struct Ended {
    code: u8,
    out: Vec<u8>,
    errors: String,
}

impl Ended {
    fn said(exit: Exit, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Self { code: exit.code(), out: text.into_bytes(), errors: String::new() }
    }

    fn complained(exit: Exit, text: impl Into<String>) -> Self {
        let said = Self::said(exit, text);
        Self { errors: String::from_utf8_lossy(&said.out).into_owned(), out: Vec::new(), ..said }
    }
}

fn called(arguments: &[OsString], local: &dyn Local) -> Ended {
    let program = arguments.first().map(|it| it.to_string_lossy().into_owned());
    let matches = match Arguments::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error, local),
    };
    let parsed = match Arguments::from_arg_matches(&matches) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error, local),
    };
    let drafted = matches
        .subcommand()
        .is_some_and(|(_, sub)| sub.value_source("registry") == Some(ValueSource::CommandLine));
    let terminal = Terminal::of(parsed.everywhere.color, std::io::stdout().is_terminal(), |it| {
        local.variable(it)
    });
    let call = Call {
        local,
        program: program.unwrap_or_else(|| "atalaya".to_owned()),
        terminal,
        drafted,
        everywhere: parsed.everywhere,
    };
    call.answer(parsed.verb)
}

/// Help and version are no errors; what is one, clap words.
fn usage(error: &clap::Error, local: &dyn Local) -> Ended {
    let terminal =
        Terminal::of(Colour::Auto, std::io::stdout().is_terminal(), |it| local.variable(it));
    let text = error.render();
    let text = if terminal.colour { text.ansi().to_string() } else { text.to_string() };
    if error.use_stderr() {
        return Ended::complained(Exit::WrongUse, text);
    }
    Ended::said(Exit::Well, text)
}

/// One call of the program.
struct Call<'a> {
    local: &'a dyn Local,
    /// As it was called: hints can be pasted.
    program: String,
    terminal: Terminal,
    /// `--registry` stands on the command line, not in the environment.
    drafted: bool,
    everywhere: Everywhere,
}

/// What came of asking, ready to be rendered.
struct Told {
    scene: Scene,
    json: String,
}

impl Call<'_> {
    fn files(&self) -> Files {
        Files { config: self.everywhere.config.clone(), registry: self.everywhere.registry.clone() }
    }

    fn answer(&self, verb: Verb) -> Ended {
        match verb {
            Verb::Run(it) => self.run(&it),
            Verb::Check { offline } => self.check(offline),
            Verb::Doctor => self.doctor(),
            Verb::Plan => self.plan(),
            Verb::Replay(it) => self.replay(&it),
            Verb::Exec(it) => self.exec(&it),
            Verb::Demo => self.demo(),
            Verb::DemoPart(it) => self.demo_part(&it),
            Verb::Schema { of } => Ended::said(Exit::Well, self.local.schema(of)),
            Verb::Completions { shell } => {
                let mut out = Vec::new();
                clap_complete::generate(shell, &mut Arguments::command(), "atalaya", &mut out);
                Ended { code: Exit::Well.code(), out, errors: String::new() }
            }
            Verb::Man { out } => man(out.as_deref()),
            Verb::Ask(command) => self.ask(&command),
        }
    }

    fn ask(&self, command: &Command) -> Ended {
        let told = match self.tell(command) {
            Ok(told) => told,
            Err(ended) => return ended,
        };
        let reply = match Reply::read(command, &told.json) {
            Ok(reply) => reply,
            Err(error) => {
                let text = format!("error: the daemon's answer could not be read: {error}");
                return Ended::complained(Exit::BadNews, text);
            }
        };
        let exit = if reply.is_bad_news() { Exit::BadNews } else { Exit::Well };
        if self.everywhere.json {
            return Ended::said(exit, told.json);
        }
        Ended::said(exit, render::reply(&reply, &told.scene))
    }

    /// Asks the daemon; what it refuses is worded with the hint that helps.
    fn tell(&self, command: &Command) -> Result<Told, Ended> {
        let untold = |exit, text: String| Ended::complained(exit, format!("error: {text}"));
        let places = self.places().map_err(|error| untold(Exit::WrongUse, error))?;
        // Under cron or systemd nobody is logged in; the account still has a name.
        let by = ["USER", "LOGNAME", "SUDO_USER"].iter().find_map(|it| self.local.variable(it));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| untold(Exit::BadNews, format!("starting the client: {error}")))?;
        let answered = runtime.block_on(client::ask(&places, by.as_deref(), command));
        let answered = answered.map_err(|error| match error {
            client::NoAnswer::Nowhere(_) => {
                untold(Exit::NoDaemon, format!("{error}\nstart it: {} run", self.program))
            }
            client::NoAnswer::BrokeOff { .. } => untold(
                Exit::BadNews,
                format!(
                    "{error}; whether it was done is not known, look with: {} status",
                    self.program
                ),
            ),
        })?;
        let scene = self.scene(&answered);
        match answered.result {
            Ok(json) => Ok(Told { scene, json }),
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    /// Where and when what a daemon answered is read.
    fn scene(&self, answered: &client::Answered) -> Scene {
        Scene {
            node: Text::clean(&answered.node, NODE_SHOWN_MAX).as_str().to_owned(),
            zone: answered.now.time_zone().clone(),
            now: answered.now.timestamp(),
            program: self.program.clone(),
            terminal: self.terminal,
        }
    }

    /// Where the daemon is looked for.
    ///
    /// # Errors
    /// When its configuration is needed to find it and cannot be read.
    fn places(&self) -> Result<Vec<client::Place>, String> {
        let named = self.everywhere.url.is_some() || self.everywhere.socket.is_some();
        match self.local.reach(self.everywhere.config.as_deref()) {
            Ok(reach) => Ok(self.places_of(reach.as_ref())),
            // Where the daemon is was said; its settings are not needed to find it.
            Err(_) if named => Ok(self.places_of(None)),
            Err(error) => Err(error),
        }
    }

    fn places_of(&self, reach: Option<&Reach>) -> Vec<client::Place> {
        let named = find::Named {
            url: self.everywhere.url.clone(),
            socket: self.everywhere.socket.clone(),
            config: self.everywhere.config.is_some(),
        };
        let runtime_dir = self.local.variable("XDG_RUNTIME_DIR");
        let places = find::places(&named, reach, runtime_dir.as_ref().map(Path::new));
        places.into_iter().map(|it| self.with_token(it, reach)).collect()
    }

    /// The token of the environment for any address over TCP; that of the configuration for its own alone.
    fn with_token(&self, address: Address, reach: Option<&Reach>) -> client::Place {
        let bound = || {
            let reach = reach?;
            let bind = find::address_of_bind(reach.bind.as_deref()?);
            (bind == address).then(|| reach.token.clone())?
        };
        let token = match address {
            Address::Socket(_) => None,
            Address::Url(_) => {
                self.local.variable("ATALAYA_TOKEN").map(SecretString::from).or_else(bound)
            }
        };
        client::Place { address, token }
    }

    fn refused(&self, refusal: Refusal) -> Ended {
        let exit = Exit::of_refusal(refusal.class);
        if self.everywhere.json {
            return Ended::said(exit, json(&Problem::from(refusal)));
        }
        // The text came over a wire: nothing in it may steer the terminal.
        let lines = refusal.text.lines().map(|it| Text::clean(it, REFUSAL_SHOWN_MAX).to_string());
        let text = format!("error: {}", lines.collect::<Vec<_>>().join("\n"));
        Ended::complained(
            exit,
            match &refusal.hint {
                Some(hint) => format!("{text}\ntry: {} {}", self.program, Text::clean(hint, 80)),
                None => text,
            },
        )
    }

    fn check(&self, offline: bool) -> Ended {
        let checked = self.local.check(&self.files(), offline);
        if self.everywhere.json {
            let exit = if checked.ok { Exit::Well } else { Exit::BadNews };
            return Ended::said(exit, json(&checked));
        }
        if checked.ok {
            return Ended::said(Exit::Well, self.found_well(&checked));
        }
        let mut text = checked.text;
        // A bad edit changes nothing, which is worth knowing to who just made one.
        if !offline
            && let Ok(told) = self.tell(&Command::Status(Status {}))
            && let Ok(Reply::Status(status)) = Reply::read(&Command::Status(Status {}), &told.json)
        {
            text = format!("{}\n{}", text.trim_end(), render::keeps_running(&status, &told.scene));
        }
        Ended::said(Exit::BadNews, text)
    }

    fn found_well(&self, checked: &Checked) -> String {
        let what = match checked.files.as_slice() {
            [] => "no files: built-in settings".to_owned(),
            files => format!("{}: no mistakes", files.join(", ")),
        };
        let well = self.terminal.paint(Mood::Good, self.terminal.glyph("✓"));
        if checked.text.is_empty() {
            return format!("{well} {what}");
        }
        format!("{}\n{well} {what}", checked.text)
    }

    /// The registry that stands and the draft of the command line, for `verb`, which compares them.
    fn drafts(&self, verb: &str) -> Result<Drafts, Ended> {
        let Some(draft) = self.everywhere.registry.clone().filter(|_| self.drafted) else {
            let text = format!("error: which draft? {} {verb} --registry draft.toml", self.program);
            return Err(Ended::complained(Exit::WrongUse, text));
        };
        let config = self.everywhere.config.clone();
        let standing = Files {
            config: config.clone(),
            registry: self.local.variable("ATALAYA_REGISTRY").map(Into::into),
        };
        let wanted = |files: &Files| {
            self.local.wanted(files).map_err(|text| Ended::complained(Exit::BadNews, text))
        };
        let new = wanted(&Files { config, registry: Some(draft.clone()) })?;
        Ok(Drafts { old: wanted(&standing)?, new, file: draft })
    }

    fn plan(&self) -> Ended {
        let Drafts { old, new, file } = match self.drafts("plan") {
            Ok(drafts) => drafts,
            Err(ended) => return ended,
        };
        let live = self.live();
        let plan = plan::Plan::between(&old, &new, live.as_ref().map(|it| it.agents.as_slice()), {
            live.as_ref().map(|it| it.scene.now)
        });
        if self.everywhere.json {
            return Ended::said(Exit::Well, json(&plan));
        }
        let against = live.as_ref().map(|it| (&it.scene, it.registry_read_at));
        Ended::said(Exit::Well, plan.text(against, self.terminal, &self.program, &file))
    }

    /// What the running daemon says, if one runs.
    fn live(&self) -> Option<Live> {
        let asked = Command::Status(Status {});
        let told = self.tell(&asked).ok()?;
        let Reply::Status(status) = Reply::read(&asked, &told.json).ok()? else { return None };
        let asked = Command::Agents(Agents::default());
        let Reply::Agents(agents) = Reply::read(&asked, &self.tell(&asked).ok()?.json).ok()? else {
            return None;
        };
        Some(Live { scene: told.scene, registry_read_at: status.registry_read_at, agents })
    }
}

struct Drafts {
    old: Wanted,
    new: Wanted,
    /// Where the new one stands.
    file: PathBuf,
}

struct Live {
    scene: Scene,
    registry_read_at: jiff::Timestamp,
    agents: Vec<AgentView>,
}

/// Views are made of text, numbers and lists, which JSON can always write.
fn json(view: &impl Serialize) -> String {
    serde_json::to_string(view).unwrap_or_default()
}

fn man(folder: Option<&Path>) -> Ended {
    let command = Arguments::command();
    let mut out = Vec::new();
    let written = match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder))
        }
        None => clap_mangen::Man::new(command).render(&mut out),
    };
    match written {
        Ok(()) => Ended { code: Exit::Well.code(), out, errors: String::new() },
        Err(error) => {
            Ended::complained(Exit::BadNews, format!("error: writing the man page: {error}"))
        }
    }
}

#[cfg(test)]
mod tests;
