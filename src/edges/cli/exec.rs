//! Verb exec: runs a command and beats for it. The command comes first: that nobody hears of it neither stops nor
//! delays it, and is said once.

use std::{
    ffi::OsString,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use reqwest::{RequestBuilder, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

use super::{
    Call, Ended,
    child::{Child, Counted, NotRun},
    client::{self, Place},
    exit::Exit,
    out,
};
use crate::{control::words::parse_length, domain::id::Name};

/// A beat is taken within this, or was not heard.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// How long the command's end may be told, at most, before we end too.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The command finds here as whom it is watched.
const AGENT_VARIABLE: &str = "ATALAYA_AGENT";

/// Commands beat no faster.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// Runs a command in its own place: its input, its output and its exit code are as they would be without.
///
/// Says that a run began, then that it works, and how it ended: 0 is well, any other code is `failed`. Signals that
/// are to end it reach the command. Without a daemon it runs all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: the command's; 128 and the number of a signal that ended it; \
    127 if there is no such command, 126 if it cannot be run.")]
pub(super) struct Exec {
    /// As whom it beats: an agent's id or one of its aliases
    #[arg(long, value_name = "NAME")]
    agent: Name,
    /// How often it beats; a third of the agent's timeout at most
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = every)]
    every: Duration,
    /// What is progress [default: output that does not go to a terminal]
    #[arg(long, value_name = "WHAT")]
    progress: Option<Progress>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Progress {
    /// All output, a spinner too; the command then sees a pipe in place of a terminal
    Output,
    /// What the command itself tells by beats as `$ATALAYA_AGENT`: here it only lives
    Hooks,
    /// Nothing: it works while it runs
    None,
}

fn every(text: &str) -> Result<Duration, String> {
    let length = parse_length(text)?;
    let every = Duration::try_from(length).unwrap_or_default();
    if every < EVERY_MIN {
        return Err(format!("{text:?} is too often; write 100ms or more"));
    }
    Ok(every)
}

impl Call<'_> {
    /// Runs the command; the code is the command's.
    pub(super) fn exec(&self, exec: &Exec) -> Ended {
        // Without a configuration that can be read, the usual places are left.
        let named = self.everywhere.config.is_some();
        let places =
            self.places().or_else(|why| if named { Err(why) } else { Ok(self.places_of(None)) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let text = format!("error: starting the runtime: {error}");
                return Ended::complained(Exit::BadNews, text);
            }
        };
        let messenger =
            Messenger { agent: exec.agent.clone(), rid: Uuid::new_v4(), places, remark: None };
        let ended = runtime.block_on(run(exec, messenger));
        // Whoever is stuck in a write that nobody reads is not waited for.
        runtime.shutdown_background();
        ended
    }
}

async fn run(exec: &Exec, messenger: Messenger) -> Ended {
    let counted = match exec.progress {
        None => Counted::Files,
        Some(Progress::Output) => Counted::Everything,
        Some(Progress::Hooks | Progress::None) => Counted::Nothing,
    };
    let started = Child::start(&exec.command, (AGENT_VARIABLE, exec.agent.as_str()), counted);
    let mut child = match started {
        Ok(child) => child,
        Err(NotRun { code, why }) => {
            let (_, known) = watch::channel(Some(code));
            tell(exec, messenger, None, known).await;
            let mut ended = Ended::complained(Exit::BadNews, format!("error: {why}"));
            ended.code = code;
            return ended;
        }
    };
    let (end, known) = watch::channel(None);
    let written = child.written.clone();
    let work = async {
        let code = child.ends().await;
        end.send_replace(Some(code));
        child.passed_on().await;
        code
    };
    let (code, ()) = tokio::join!(work, tell(exec, messenger, written, known));
    Ended { code, out: Vec::new(), errors: String::new() }
}

/// Tells of a run while it lasts, and for a moment of its end.
async fn tell(
    exec: &Exec,
    mut messenger: Messenger,
    written: Option<Arc<AtomicU64>>,
    mut known: watch::Receiver<Option<u8>>,
) {
    let mut limit = known.clone();
    let telling = async {
        if known.borrow().is_none() {
            messenger.say(Word::Start).await;
        }
        let mut first = true;
        let code = loop {
            tokio::select! {
                code = ended(&mut known) => break code,
                () = tokio::time::sleep(exec.every) => {}
            }
            // The first beat waits for an interval: a run that fails sooner leaves the failure before it standing.
            let written = written.as_ref().map(|it| progress(first, it.load(Ordering::Relaxed)));
            let lives = Word::Lives { written, works: exec.progress != Some(Progress::Hooks) };
            first &= !messenger.say(lives).await;
        };
        messenger.say(Word::Ended(code)).await;
    };
    let too_long = async {
        ended(&mut limit).await;
        tokio::time::sleep(END_WITHIN).await;
    };
    let untold = tokio::select! {
        () = telling => false,
        () = too_long => true,
    };
    if untold {
        messenger.complain("its end was not taken within 2 s");
    }
    if let Some(remark) = messenger.remark {
        // Whoever reads our errors has had his time.
        let _ = tokio::time::timeout(END_WITHIN, remark).await;
    }
}

/// How the command ended, once it has.
async fn ended(known: &mut watch::Receiver<Option<u8>>) -> u8 {
    // Nobody is left to say it only after it was said.
    let code = known.wait_for(Option::is_some).await.ok().and_then(|it| *it);
    code.unwrap_or_default()
}

/// A run begins at 0, so that even a silent one is another than the silent one before it; then each byte counts.
fn progress(first: bool, written: u64) -> u64 {
    if first { 0 } else { written.saturating_add(1) }
}

/// What is told of a run.
#[derive(Debug, Clone, Copy)]
enum Word {
    Start,
    Lives { written: Option<u64>, works: bool },
    Ended(u8),
}

/// What became of a word.
enum Heard {
    Taken,
    /// By atalaya, which does not take it.
    Refused(String),
    Nowhere(String),
}

/// Carries words to the first daemon that is there.
struct Messenger {
    agent: Name,
    /// One for each run.
    rid: Uuid,
    places: Result<Vec<Place>, String>,
    /// That nobody hears is said once, beside the beats: whoever reads our errors may be slow.
    remark: Option<JoinHandle<()>>,
}

impl Messenger {
    /// Whether it was heard.
    async fn say(&mut self, word: Word) -> bool {
        let carried = self.carry(word).await;
        carried.inspect_err(|trouble| self.complain(trouble)).is_ok()
    }

    fn complain(&mut self, trouble: &str) {
        let agent = &self.agent;
        let line =
            format!("atalaya: nobody hears of {agent}: {trouble}; the command is not affected");
        self.remark.get_or_insert_with(|| tokio::task::spawn_blocking(move || out::remark(&line)));
    }

    async fn carry(&self, word: Word) -> Result<(), String> {
        let places = self.places.as_ref().map_err(|it| {
            it.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })?;
        let mut tried = Vec::new();
        for place in places {
            match self.bring(place, word).await {
                Heard::Taken => return Ok(()),
                Heard::Refused(why) => return Err(why),
                Heard::Nowhere(why) => tried.push(format!("{}: {why}", place.address)),
            }
        }
        Err(format!("no daemon answers; tried {}", tried.join(", ")))
    }

    async fn bring(&self, place: &Place, word: Word) -> Heard {
        let (client, base) = match client::connected(&place.address, HEARD_WITHIN) {
            Ok(connected) => connected,
            Err(error) => return Heard::Nowhere(client::chain(&error)),
        };
        let mut request = self.request(&client, &base, word);
        if let Some(token) = &place.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Heard::Nowhere(client::chain(&error)),
        };
        let status = response.status();
        let knows_pings = response.headers().contains_key("ping-body-limit");
        let body = response.text().await.unwrap_or_default();
        let took = serde_json::from_str::<Value>(&body).is_ok_and(|it| it["took"].is_string());
        self.heard(status, knows_pings || took)
    }

    fn request(&self, client: &reqwest::Client, base: &str, word: Word) -> RequestBuilder {
        let (agent, rid) = (&self.agent, self.rid);
        let ping = |what: &str| client.get(format!("{base}/ping/{agent}/{what}?rid={rid}"));
        match word {
            Word::Start => ping("start"),
            Word::Ended(code) => ping(&code.to_string()),
            Word::Lives { written, works } => {
                let mut beat = json!({ "agent": agent.as_str() });
                if works {
                    beat["status"] = "working".into();
                }
                if let Some(written) = written {
                    beat["progress"] = written.into();
                }
                client.post(format!("{base}/api/v1/beats")).json(&beat)
            }
        }
    }

    /// `ours`: atalaya's own answer, by its form.
    fn heard(&self, status: StatusCode, ours: bool) -> Heard {
        let agent = &self.agent;
        match status.as_u16() {
            200 | 201 if ours => Heard::Taken,
            404 if ours => Heard::Refused(format!(
                "the daemon does not watch it; add {agent} to the registry, or set auto_register"
            )),
            401 | 403 => Heard::Refused("its token is missing or wrong; set ATALAYA_TOKEN".into()),
            429 | 503 => Heard::Refused(format!("the daemon is busy (HTTP {status})")),
            _ => Heard::Nowhere(format!("something else answers there (HTTP {status})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_another_than_the_one_before_it() {
        let told = |written: [u64; 3]| [true, false, false].into_iter().zip(written);
        let told =
            |written| told(written).map(|(first, it)| progress(first, it)).collect::<Vec<_>>();
        assert_eq!(told([0, 0, 0]), [0, 1, 1], "a silent one, again and again");
        assert_eq!(told([7, 9, 9]), [0, 10, 10]);
        assert_eq!(progress(false, u64::MAX), u64::MAX);
    }

    #[test]
    fn beats_are_neither_too_often_nor_nonsense() {
        assert_eq!(every("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(every("100ms"), Ok(EVERY_MIN));
        assert!(every("99ms").is_err() && every("0s").is_err() && every("often").is_err());
    }
}
