//! Verb ping: a sign of life for an agent, as `/ping/{agent}` takes it over HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Refusal};
use crate::{
    domain::{
        id::{Name, SourceId},
        watch::beat::{Beat, Report},
    },
    ports::source::Took,
};

#[derive(Debug, Clone, PartialEq, Default, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ping {
    /// The agent: its id or one of its aliases
    pub agent: String,
    /// It failed
    #[arg(long, group = "what")]
    pub fail: bool,
    /// A run began
    #[arg(long, group = "what")]
    pub start: bool,
    /// Only proves life
    #[arg(long, group = "what")]
    pub log: bool,
    /// A run ended with this exit code: 0 is well, all else failed
    #[arg(long, group = "what", value_name = "CODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
}

impl Ping {
    fn report(&self) -> Result<Report, Refusal> {
        match (self.fail, self.start, self.log, self.exit) {
            (false, false, false, None | Some(0)) => Ok(Report::Success),
            (true, false, false, None) => Ok(Report::Fail { exit: None }),
            (false, true, false, None) => Ok(Report::Start),
            (false, false, true, None) => Ok(Report::Log),
            (false, false, false, exit) => Ok(Report::Fail { exit }),
            _ => Err(Refusal::wrong_use("of fail, start, log and exit one at most can be said")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PingView {
    pub agent: String,
    /// `taken`, `registered`, `unknown`, `full`.
    pub took: String,
}

impl PingView {
    /// Nobody watches what pinged.
    pub fn is_bad_news(&self) -> bool {
        !matches!(self.took.as_str(), "taken" | "registered")
    }
}

/// What became of a beat, as every answer says it.
pub fn took_word(took: Took) -> &'static str {
    match took {
        Took::Taken => "taken",
        Took::Registered => "registered",
        Took::Unknown => "unknown",
        Took::Full => "full",
    }
}

impl Controller {
    pub(super) fn ping(&self, it: &Ping) -> Result<PingView, Refusal> {
        let report = it.report()?;
        let agent = it.agent.strip_prefix("agent/").unwrap_or(&it.agent);
        let name: Name =
            agent.parse().map_err(|bad| Refusal::wrong_use(format!("the agent's id: {bad}")))?;
        let beat = Beat { report, ..Beat::plain(self.tower.now(), self.http()) };
        let took = self.tower.ear().beat(&name, beat);
        Ok(PingView { agent: name.to_string(), took: took_word(took).to_owned() })
    }

    /// The source as which pings over any face count.
    fn http(&self) -> SourceId {
        let place = self.sources.iter().position(|it| it == "http");
        SourceId(place.and_then(|it| u8::try_from(it).ok()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_says_one_thing() {
        let ping = |fail, start, log, exit| Ping { agent: "mary".into(), fail, start, log, exit };
        for (ping, report) in [
            (ping(false, false, false, None), Report::Success),
            (ping(true, false, false, None), Report::Fail { exit: None }),
            (ping(false, true, false, None), Report::Start),
            (ping(false, false, true, None), Report::Log),
            (ping(false, false, false, Some(0)), Report::Success),
            (ping(false, false, false, Some(3)), Report::Fail { exit: Some(3) }),
        ] {
            assert_eq!(ping.report(), Ok(report));
        }
        assert!(ping(true, true, false, None).report().is_err());
        assert!(ping(true, false, false, Some(0)).report().is_err());
    }
}
