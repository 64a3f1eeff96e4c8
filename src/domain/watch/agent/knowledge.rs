//! Knowledge: what a run that ends soon can say of an agent. What was said before it is believed while the promise
//! that was made then still holds.

use jiff::Timestamp;

use super::{Knowledge, Spec, State, Unknown, Verdict};
use crate::domain::{
    hearing::{Hearing, RESPITE, after},
    watch,
};

impl Spec {
    /// What a run that began at `began` can say at `now`. Trouble from before it stands, and is settled when there was
    /// time to hear of its end.
    pub fn knowledge(
        &self,
        state: &State,
        hearing: &Hearing,
        began: Timestamp,
        now: Timestamp,
    ) -> Knowledge {
        let said = |verdict| Ok(watch::Verdict::Agent(verdict));
        if state.said.condition().is_some() {
            let had_its_time = after(began, self.interval.saturating_add(RESPITE)) < now;
            let heard = state.last.is_some_and(|last| began <= last);
            let settled = had_its_time || heard || began <= state.said_since;
            return Knowledge { said: said(state.said), settled };
        }
        if state.paused {
            return Knowledge { said: said(Verdict::Paused), settled: true };
        }
        let heard = state.last.is_some_and(|last| state.watched_since <= last);
        let kept = match (self.pulse_base(state), state.last) {
            (Some((due, _)), _) => now <= due,
            // No beat was promised: it may have begun to work, and died of it, while nobody listened.
            (None, Some(last)) => {
                !hearing.disturbed(self.steady(state), last) || now <= after(last, self.timeout)
            }
            (None, None) => true,
        };
        let known = match (self.is_deaf(state, hearing), heard, kept) {
            (true, _, _) => Err(Unknown::Deaf),
            (false, false, _) => Err(Unknown::NeverHeard),
            (false, true, false) => Err(Unknown::NobodyListened),
            (false, true, true) => said(self.or_late(self.standing(state), state, now)),
        };
        Knowledge { said: known, settled: known.is_ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tower::{AGENT, Tower, Way, second};

    /// What is said at `now` after this story, by a run that began at `began`; `…` where waiting may add to it.
    #[track_caller]
    fn check(script: &str, began: i64, now: i64, expected: &str) {
        check_with(AGENT, script, began, now, expected);
    }

    #[track_caller]
    fn check_with(kind: &str, script: &str, began: i64, now: i64, expected: &str) {
        let mut tower = Tower::new(kind);
        tower.play(script, Way::Actor);
        let known = tower.spec.knowledge(&tower.state, &tower.hearing, second(began), second(now));
        let said = known.said.map_or_else(|why| format!("{why:?}"), |it| it.word().to_owned());
        let open = if known.settled { "" } else { "…" };
        assert_eq!(format!("{said}{open}"), expected, "{script} from {began} to {now}");
    }

    #[test]
    fn who_was_heard_within_its_timeout_is_up_whoever_listened_meanwhile() {
        check("beat@100", 90, 101, "up");
        check("beat@100 slept40@140", 140, 141, "up");
        check("beat@100 slept60@160", 160, 161, "late");
        check("beat@100 slept90@190", 190, 190, "late");
        check("beat@100 slept91@191", 191, 191, "NobodyListened…");
        check("beat@100 slept300@400", 400, 420, "NobodyListened…");
        check("beat@100 slept300@400 beat@410", 400, 411, "up");
        // What was left of its time when we fell asleep has passed: now it is known.
        check("beat@100 slept300@400 tick@491", 400, 491, "down");
        check("beat@100 slept300@480 tick@516", 480, 516, "down");
    }

    #[test]
    fn who_was_never_heard_and_whom_nobody_can_hear_is_unknown() {
        check("tick@10", 0, 10, "NeverHeard…");
        check("stamp-400@1", 0, 10, "NeverHeard…");
        check("tick@121", 0, 121, "down");
        check("beat:0@5 blind:0@10", 0, 11, "Deaf…");
        check("beat:0@5 blind:1@10", 0, 11, "up");
        check("blind:1@10", 0, 11, "Deaf…");
    }

    #[test]
    fn trouble_from_before_stands_and_has_its_time_to_be_over() {
        check("beat@0 tick@91 slept100@200", 200, 201, "down…");
        check("beat@0 tick@91 slept100@200", 200, 236, "down");
        check("beat@0 tick@91 slept100@200 beat@210", 200, 211, "up");
        check("fail@0 slept50@50", 50, 51, "failed…");
        check("fail@0 slept50@50 log@52", 50, 53, "failed");
        check("fail@52", 50, 53, "failed");
    }

    #[test]
    fn who_is_paused_or_said_that_it_goes_is_known() {
        check("beat@0 pause@10 slept900@950", 950, 951, "paused");
        check("beat@0 stop@10 slept500@520", 520, 521, "leaving");
        check("beat@0 stop@10 slept900@920", 920, 921, "NobodyListened…");
    }

    #[test]
    fn who_promised_no_beat_is_known_only_as_long_as_somebody_listened() {
        let acts = "interval=30 timeout=90 activity";
        check_with(acts, "work@0 idle@10 tick@5000", 0, 5000, "up");
        check_with(acts, "work@0 idle@10 slept40@60", 60, 61, "up");
        check_with(acts, "work@0 idle@10 slept900@920", 920, 921, "NobodyListened…");
        check_with(acts, "tick@10", 0, 10, "NeverHeard…");
        check("beat@0 ask@10 tick@5000", 0, 5000, "needs_input");
        check("beat@0 ask@10 slept900@920", 920, 921, "NobodyListened…");
        check("beat@0 ask@10 slept900@920 beat@921", 920, 922, "needs_input");
    }
}
