//! Status line: how it goes in one line, for `systemctl status`. What is wrong comes first.

use super::context::Shared;
use crate::domain::watch::{Verdict, agent};

/// In which order the words of verdicts are counted: what is wrong first.
const ORDER: [agent::Verdict; 13] = [
    agent::Verdict::Down,
    agent::Verdict::Failed,
    agent::Verdict::Overrun,
    agent::Verdict::Stalled,
    agent::Verdict::Looping,
    agent::Verdict::Degraded,
    agent::Verdict::NeedsInput,
    agent::Verdict::Blind,
    agent::Verdict::Late,
    agent::Verdict::Waiting,
    agent::Verdict::Leaving,
    agent::Verdict::Paused,
    agent::Verdict::Up,
];

/// `unwell` says why the watchdog is not fed; none: all is well.
pub(super) fn line(context: &Shared, unwell: Option<&str>) -> String {
    let said: Vec<Verdict> = context.slots.all().iter().map(|slot| slot.verdict().0).collect();
    let counts: Vec<String> = ORDER
        .into_iter()
        .map(agent::Verdict::word)
        .map(|word| (word, said.iter().filter(|it| it.word() == word).count()))
        .filter(|(_, count)| 0 < *count)
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let agents = match said.len() {
        0 => "no agents yet".to_owned(),
        1 => format!("1 agent: {}", counts.join(", ")),
        many => format!("{many} agents: {}", counts.join(", ")),
    };
    let troubles = context.board.parts().into_iter().filter_map(|part| {
        part.trouble.map(|condition| format!("{} {}", part.watch, condition.word()))
    });
    let unwell = unwell.map(|why| format!("NOT WELL, {why}"));
    unwell.into_iter().chain([agents]).chain(troubles).collect::<Vec<_>>().join("; ")
}
