//! Verb notify: tries the ways by which people are told. A test message takes the real path: incident,
//! outbox, receiver.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Controller, Done, Refusal, target};
use crate::domain::{desk::Ask, id::ReceiverId, text::Text};

#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Clone, PartialEq, clap::Subcommand, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Verb {
    /// Send a test message
    Test {
        /// One receiver; every receiver where none is named
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receiver: Option<String>,
    },
}

impl Controller {
    pub(super) async fn notify(&self, it: Notify, by: &Text) -> Result<Done, Refusal> {
        let Verb::Test { receiver } = it.verb;
        let settings = (self.settings)();
        let known: Vec<ReceiverId> = settings.receivers.iter().map(|it| it.id.clone()).collect();
        let mut done = Vec::new();
        for receiver in meant(receiver.as_deref(), &known)? {
            match self.tower.ask(Ask::Test { receiver, by: by.clone() }).await? {
                Ok(sentence) => done.push(sentence),
                Err(sentence) => return Err(Refusal::refused(sentence)),
            }
        }
        Ok(Done { done })
    }
}

fn meant(typed: Option<&str>, known: &[ReceiverId]) -> Result<Vec<ReceiverId>, Refusal> {
    let Some(typed) = typed else {
        return match known {
            [] => Err(Refusal::refused(
                "nobody is told yet: set chat in [telegram] of atalaya.toml, or a [[receiver]] in registry.toml",
            )),
            all => Ok(all.to_vec()),
        };
    };
    let name = typed.strip_prefix("receiver/").unwrap_or(typed);
    if let Some(receiver) = known.iter().find(|it| *it.0 == *name) {
        return Ok(vec![receiver.clone()]);
    }
    let all: Vec<&str> = known.iter().map(|it| &*it.0).collect();
    let meant = target::nearest(name, all.iter().copied()).map_or_else(
        || format!("known are {}", all.join(", ")),
        |it| format!("did you mean {it}?"),
    );
    let typed = Text::clean(typed, 60);
    Err(Refusal::unknown(format!("no receiver is named \"{typed}\"; {meant}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_goes_to_the_receiver_named_or_to_all_and_a_typo_is_told() {
        let known = [ReceiverId::new("telegram"), ReceiverId::new("hook")];
        assert_eq!(meant(None, &known), Ok(known.to_vec()));
        assert_eq!(meant(Some("receiver/hook"), &known), Ok(vec![known[1].clone()]));
        let refusal = meant(Some("telegarm"), &known).expect_err("no such receiver");
        assert_eq!(refusal.text, "no receiver is named \"telegarm\"; did you mean telegram?");
        let refusal = meant(Some("zzz"), &known).expect_err("no such receiver");
        assert!(refusal.text.ends_with("known are telegram, hook"), "{refusal}");
        assert!(meant(None, &[]).is_err());
    }
}
