//! Verb run: the daemon; or a run that ends and says how it found things, for cron and CI.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ArgGroup;

use super::{
    Call, Ended,
    exit::Exit,
    json,
    local::{NotStarted, Once, Seen},
    render::{self, Scene},
};
use crate::control::words::parse_length;

/// How long a run watches that ends as soon as all is known: two beats of the usual 30 s.
const AT_MOST: Duration = Duration::from_mins(1);
/// Where GitHub shows the summary of a step.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("ends").args(["once", "duration"]).multiple(true)))]
pub(super) struct Run {
    /// Judge once and end, as soon as all is known (60s at most): exit code 0 only if nothing is down
    #[arg(long)]
    once: bool,
    /// Watch for so long, then judge and end; with --once no longer than this
    #[arg(long, value_name = "DURATION", value_parser = length)]
    duration: Option<Duration>,
    /// A run that ends sends nothing but with this: then all that is owed, before it ends
    #[arg(long, requires = "ends")]
    notify: bool,
    /// Write what it found as Markdown; without it, where $GITHUB_STEP_SUMMARY says
    #[arg(long, value_name = "FILE", requires = "ends")]
    summary: Option<PathBuf>,
}

fn length(text: &str) -> Result<Duration, String> {
    parse_length(text).map(|it| Duration::try_from(it).unwrap_or_default())
}

impl Call<'_> {
    pub(super) fn run(&self, run: &Run) -> Ended {
        if !run.once && run.duration.is_none() {
            return self.serve();
        }
        let once = Once {
            as_soon_as_known: run.once,
            at_most: run.duration.unwrap_or(AT_MOST),
            notify: run.notify,
        };
        let seen = match self.local.once(&self.files(), once) {
            Ok(seen) => seen,
            Err(why) => return not_started(&why),
        };
        let exit = if seen.view.well { Exit::Well } else { Exit::BadNews };
        let scene = self.scene_of(&seen);
        let mut ended = if self.everywhere.json {
            Ended::said(exit, json(&seen.view))
        } else {
            Ended::said(exit, render::once(&seen.view, &scene))
        };
        if let Err((path, error)) = self.summarise(run, &seen, &scene) {
            ended.code = Exit::BadNews.code();
            ended.errors =
                format!("error: the summary cannot be written to {}: {error}\n", path.display());
        }
        ended
    }

    /// Runs the daemon until it is told to stop.
    pub(super) fn serve(&self) -> Ended {
        match self.local.run(&self.files()) {
            Ok(code) => Ended { code, out: Vec::new(), errors: String::new() },
            Err(why) => not_started(&why),
        }
    }

    fn scene_of(&self, seen: &Seen) -> Scene {
        Scene {
            node: seen.view.node.clone(),
            now: seen.now.timestamp(),
            zone: seen.now.time_zone().clone(),
            program: self.program.clone(),
            terminal: self.terminal,
        }
    }

    /// Replaces the file that was named; to GitHub's it is added, as every step does.
    fn summarise(&self, run: &Run, seen: &Seen, scene: &Scene) -> Result<(), (PathBuf, io::Error)> {
        let named = run.summary.as_deref();
        let of_step = self.local.variable(STEP_SUMMARY).map(PathBuf::from);
        let Some(path) = named.or(of_step.as_deref()) else { return Ok(()) };
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(named.is_none()).truncate(named.is_some());
        write(&options, path, &render::summary(&seen.view, scene))
            .map_err(|error| (path.to_owned(), error))
    }
}

fn write(options: &OpenOptions, path: &Path, text: &str) -> io::Result<()> {
    options.open(path)?.write_all(text.as_bytes())
}

fn not_started(why: &NotStarted) -> Ended {
    let mut ended = Ended::complained(Exit::BadNews, format!("error: {}", why.text));
    ended.code = why.code;
    ended
}
