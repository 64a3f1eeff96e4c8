//! Could we hear? Silence is evidence only while the sources of a watch work (docs/BEHAVIOUR.md 4).
//!
//! ```text
//!            proof: our own echo came back, or anything was heard
//!  Working(proved_at) ──no echo within 2 s, connection lost──▶ Blind(since = last proof)
//!        ▲                                                          │
//!        └───────────────── an echo or a message came ──────────────┘   (period kept: since, until)
//! ```
//!
//! For the shells: whoever takes a beat over a source that [`Source::is_blind`] calls [`Source::proved`]
//! with the time of the beat first; a source that returned wakes the watches that are heard over it.

use jiff::{SignedDuration, Timestamp};

use super::id::SourceId;

/// Periods of blindness that a source remembers; beyond that the two with the least time between
/// them become one, so that a flapping source is never taken for one that could hear.
pub const PERIODS_MAX: usize = 16;

/// Shifts that are remembered; older ones matter to no live deadline.
pub const SHIFTS_MAX: usize = 16;

/// What a watch gets on top of one interval before a late verdict (docs/BEHAVIOUR.md 2 and 4).
pub const RESPITE: SignedDuration = SignedDuration::from_secs(5);

/// A time in which a source could not hear. `until` is none while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub since: Timestamp,
    pub until: Option<Timestamp>,
}

/// What is known of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The last moment up to which we are sure to have heard all that was said.
    pub proved_at: Timestamp,
    /// Oldest first, at most [`PERIODS_MAX`]; only the last may be open.
    pub periods: Vec<Period>,
}

impl Source {
    /// A source that begins at `now` and has proved nothing yet: blind until its first proof.
    pub fn new(now: Timestamp) -> Self {
        Self { proved_at: now, periods: vec![Period { since: now, until: None }] }
    }

    /// It cannot hear, and has not since `since`, or since its last proof if that is later. While it is blind
    /// already: nothing.
    pub fn blind(&mut self, since: Timestamp) {
        if !self.is_blind() {
            self.proved_at = self.proved_at.max(since);
            self.add(self.proved_at, None);
        }
    }

    /// It is back since `at`, though nothing proves yet that it hears all.
    pub fn returned(&mut self, at: Timestamp) {
        if let Some(Period { since, until: until @ None }) = self.periods.last_mut() {
            *until = Some(at.max(*since));
        }
    }

    /// All that was said up to `at` was heard; ends a blindness that began before. An older proof than the one
    /// that stands changes nothing.
    pub fn proved(&mut self, at: Timestamp) {
        let began = self.blind_since();
        if began.is_none_or(|since| since < at) {
            self.proved_at = self.proved_at.max(at);
            self.returned(at);
        }
    }

    /// It turned beats away or we did not run for a while that is over. While it is blind: nothing.
    pub fn missed(&mut self, since: Timestamp, until: Timestamp) {
        if since < until {
            self.add(since, Some(until));
        }
    }

    pub fn is_blind(&self) -> bool {
        self.blind_since().is_some()
    }

    pub fn blind_since(&self) -> Option<Timestamp> {
        self.periods.last().filter(|it| it.until.is_none()).map(|it| it.since)
    }

    fn add(&mut self, since: Timestamp, until: Option<Timestamp>) {
        let floor = match self.periods.last() {
            Some(Period { until: None, .. }) => return,
            Some(Period { until: Some(end), .. }) => *end,
            None => Timestamp::MIN,
        };
        let since = since.max(floor);
        self.periods.push(Period { since, until: until.map(|it| it.max(since)) });
        if PERIODS_MAX < self.periods.len() {
            self.join_nearest();
        }
    }

    fn join_nearest(&mut self) {
        let between = |at: usize| {
            let end = self.periods[at].until.unwrap_or(Timestamp::MAX);
            self.periods[at + 1].since.duration_since(end)
        };
        if let Some(at) = (0..self.periods.len().saturating_sub(1)).min_by_key(|at| between(*at)) {
            let later = self.periods.remove(at + 1);
            self.periods[at].until = later.until;
        }
    }

    /// Its periods as a watch of this interval sees them: a source that breaks again within one interval
    /// never returned.
    fn joined(&self, interval: SignedDuration) -> Vec<Period> {
        let mut joined: Vec<Period> = Vec::new();
        for period in &self.periods {
            match joined.last_mut() {
                Some(Period { until: until @ Some(_), .. })
                    if until.is_some_and(|end| period.since <= after(end, interval)) =>
                {
                    *until = period.until;
                }
                _ => joined.push(*period),
            }
        }
        joined
    }
}

/// All sources, by [`SourceId`]: what the machines are shown. Cheap to clone behind an `Arc`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hearing {
    pub sources: Vec<Source>,
    /// Shifts of every deadline by gaps of our own scheduler of 2 to 10 s: (when it ended, how long).
    pub shifts: Vec<(Timestamp, SignedDuration)>,
}

/// Whether silence up to a deadline is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// We could hear after the deadline: the silence is real.
    Proven,
    /// Ask these sources for a proof later than the deadline, and look again when they answer.
    Needed(Vec<SourceId>),
    /// None of the sources works.
    Blind,
}

/// The sources that count for one watch at one time, each with the last that this watch said over it,
/// which proves as much as an echo.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ears {
    pub sources: Vec<(SourceId, Option<Timestamp>)>,
    /// A watch that was never heard is deaf as soon as one of them is; else all of them must be.
    pub all_must_work: bool,
}

/// A time that counts towards no deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub since: Timestamp,
    /// None while it lasts.
    pub until: Option<Timestamp>,
    /// Blindness, with its respite afterwards; else a shift, which merely stops the clock.
    pub blind: bool,
}

impl Hearing {
    pub fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(usize::from(id.0))
    }

    /// Our own scheduler stood still for `length` up to `at`, 2 to 10 s: every deadline moves by that.
    pub fn shift(&mut self, at: Timestamp, length: SignedDuration) {
        if !length.is_positive() {
            return;
        }
        self.shifts.push((at, length));
        if SHIFTS_MAX < self.shifts.len() {
            self.shifts.remove(0);
        }
    }

    /// We did not run: all sources were blind meanwhile and return with us.
    pub fn slept(&mut self, since: Timestamp, until: Timestamp) {
        for source in &mut self.sources {
            source.missed(since, until);
        }
    }

    /// Whether any of these sources was blind, or the clock shifted, after `from`. Allocates nothing.
    pub fn disturbed(&self, sources: impl Iterator<Item = SourceId>, from: Timestamp) -> bool {
        let blind = |source: &Source| {
            source.periods.last().is_some_and(|it| it.until.is_none_or(|until| from < until))
        };
        self.shifts.iter().any(|(at, _)| from < *at)
            || sources.filter_map(|id| self.source(id)).any(blind)
    }

    /// The times after `from` in which a watch with these ears could not be heard, by their beginning;
    /// what began before `from` is cut there.
    pub fn stretches(
        &self,
        ears: &Ears,
        from: Timestamp,
        interval: SignedDuration,
    ) -> Vec<Stretch> {
        let mut each = ears
            .sources
            .iter()
            .filter_map(|(id, _)| self.source(*id))
            .map(|source| source.joined(interval));
        let blind = if ears.all_must_work {
            either(each.flatten().collect())
        } else {
            let first = each.next().unwrap_or_default();
            each.fold(first, |left, right| both(&left, &right))
        };
        let blind = blind.into_iter().map(|it| (it, true));
        let shifts = self.shifts.iter().map(|(at, length)| {
            let since = at.checked_sub(*length).unwrap_or(Timestamp::MIN);
            (Period { since, until: Some(*at) }, false)
        });
        let mut stretches: Vec<Stretch> = blind
            .chain(shifts)
            .filter(|(period, _)| period.until.is_none_or(|until| from < until))
            .map(|(period, blind)| Stretch {
                since: period.since.max(from),
                until: period.until,
                blind,
            })
            .collect();
        stretches.sort_by_key(|it| it.since);
        stretches
    }

    /// Whether those of these sources that work could hear after `deadline`.
    pub fn proof(&self, ears: &Ears, deadline: Timestamp) -> Proof {
        let mut proven = false;
        let mut needed = Vec::new();
        for (id, heard) in &ears.sources {
            let Some(source) = self.source(*id) else { continue };
            if deadline < source.proved_at || heard.is_some_and(|at| deadline < at) {
                proven = true;
            } else if !source.is_blind() || ears.all_must_work {
                needed.push(*id);
            }
        }
        match (needed.is_empty(), proven) {
            (true, true) => Proof::Proven,
            (true, false) => Proof::Blind,
            (false, _) => Proof::Needed(needed),
        }
    }
}

/// Where a deadline comes to stand. Blind time that began by the deadline stops the clock; what returns gets
/// what was left, or one interval plus 5 s, whichever is longer. None: it stands still.
pub fn extend(
    base: Timestamp,
    stretches: &[Stretch],
    interval: SignedDuration,
) -> Option<Timestamp> {
    let respite = interval.saturating_add(RESPITE);
    let mut deadline = base;
    let mut counted = Timestamp::MIN;
    for stretch in stretches {
        // What begins after the deadline does not help: the silence was provable before.
        if deadline < stretch.since {
            break;
        }
        let until = stretch.until?;
        let since = stretch.since.max(counted);
        if since < until {
            let left = deadline.duration_since(since);
            deadline = after(until, if stretch.blind { left.max(respite) } else { left });
            counted = until;
        }
    }
    Some(deadline)
}

/// `at` plus `span`, at the end of time where it does not fit.
pub(crate) fn after(at: Timestamp, span: SignedDuration) -> Timestamp {
    let end = if span.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    at.checked_add(span).unwrap_or(end)
}

/// Times in which both are blind; each list by its beginning and without overlaps.
fn both(left: &[Period], right: &[Period]) -> Vec<Period> {
    let end = |period: &Period| period.until.unwrap_or(Timestamp::MAX);
    let mut met: Vec<Period> = left
        .iter()
        .flat_map(|a| right.iter().map(move |b| (a, b)))
        .map(|(a, b)| Period {
            since: a.since.max(b.since),
            until: if end(a) <= end(b) { a.until } else { b.until },
        })
        .filter(|it| it.since < end(it))
        .collect();
    met.sort_by_key(|it| it.since);
    met
}

/// Times in which at least one is blind.
fn either(mut periods: Vec<Period>) -> Vec<Period> {
    periods.sort_by_key(|it| it.since);
    let mut joined: Vec<Period> = Vec::new();
    for period in periods {
        match joined.last_mut() {
            Some(Period { until: None, .. }) => {}
            Some(Period { until: Some(end), .. }) if *end < period.since => joined.push(period),
            Some(Period { until, .. }) => {
                *until = until.zip(period.until).map(|(a, b)| a.max(b));
            }
            None => joined.push(period),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: SignedDuration = SignedDuration::from_secs(30);

    fn second(at: i64) -> Timestamp {
        Timestamp::from_second(at).unwrap()
    }

    /// A source with the periods written `50-80 100-`.
    fn source(text: &str) -> Source {
        let mut source = Source { proved_at: second(0), periods: Vec::new() };
        for word in text.split_whitespace() {
            let (since, until) = word.split_once('-').unwrap();
            source.blind(second(since.parse().unwrap()));
            if !until.is_empty() {
                source.proved(second(until.parse().unwrap()));
            }
        }
        source
    }

    fn write(periods: impl Iterator<Item = (Timestamp, Option<Timestamp>)>) -> String {
        let end = |it: Option<Timestamp>| it.map_or(String::new(), |at| at.as_second().to_string());
        periods
            .map(|(since, until)| format!("{}-{}", since.as_second(), end(until)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Watches heard over all `sources`, and never over any: where each cannot be heard.
    #[track_caller]
    fn check_joint(sources: &[&str], heard: &str, never_heard: &str) {
        let hearing =
            Hearing { sources: sources.iter().map(|it| source(it)).collect(), shifts: Vec::new() };
        for (all_must_work, expected) in [(false, heard), (true, never_heard)] {
            let ids = (0..).map(SourceId).take(sources.len());
            let ears = Ears { sources: ids.map(|id| (id, None)).collect(), all_must_work };
            let stretches = hearing.stretches(&ears, second(0), INTERVAL);
            let said = write(stretches.iter().map(|it| (it.since, it.until)));
            assert_eq!(said, expected, "{sources:?}, all must work: {all_must_work}");
        }
    }

    #[test]
    fn a_watch_is_deaf_while_all_that_count_are_and_a_new_one_while_any_is() {
        check_joint(&["50-80"], "50-80", "50-80");
        check_joint(&["50-"], "50-", "50-");
        check_joint(&["50-80", ""], "", "50-80");
        check_joint(&["50-80", "70-100"], "70-80", "50-100");
        check_joint(&["50-", "70-100 200-"], "70-100 200-", "50-");
        check_joint(&["50-80 85-90 95-100"], "50-100", "50-100");
        check_joint(&["50-80 110-120"], "50-120", "50-120");
        check_joint(&["50-80 111-120"], "50-80 111-120", "50-80 111-120");
        check_joint(&[], "", "");
    }

    #[test]
    fn deadlines_stand_still_while_blind_and_get_their_respite_after() {
        let cases = [
            ("", 90, Some(90)),
            ("50-80", 90, Some(120)),  // 40 s were left
            ("80-100", 90, Some(135)), // 10 s were left: one interval and 5 s
            ("50-", 90, None),
            ("90-100", 90, Some(135)), // nothing was proved after the deadline
            ("91-100", 90, Some(90)),  // provable before
            ("50-80 150-160", 90, Some(120)),
            ("50-80 115-", 90, None),
            ("50-80 115-200", 90, Some(235)),
        ];
        for (periods, base, expected) in cases {
            let hearing = Hearing { sources: vec![source(periods)], shifts: Vec::new() };
            let ears = Ears { sources: vec![(SourceId(0), None)], all_must_work: false };
            let stretches = hearing.stretches(&ears, second(0), INTERVAL);
            let said = extend(second(base), &stretches, INTERVAL);
            assert_eq!(said.map(Timestamp::as_second), expected, "{periods}");
        }
    }

    #[test]
    fn a_shift_moves_the_deadlines_that_were_pending_by_its_length() {
        let mut hearing = Hearing { sources: vec![source("100-120")], shifts: Vec::new() };
        hearing.shift(second(60), SignedDuration::from_secs(8));
        hearing.shift(second(110), SignedDuration::from_secs(8)); // inside the blindness: no more time
        let ears = Ears { sources: vec![(SourceId(0), None)], all_must_work: false };
        for (from, base, expected) in
            [(0, 90, 98), (0, 50, 50), (56, 90, 94), (60, 90, 90), (0, 95, 155)]
        {
            let stretches = hearing.stretches(&ears, second(from), INTERVAL);
            let said = extend(second(base), &stretches, INTERVAL);
            assert_eq!(said, Some(second(expected)), "{base} from {from}");
        }
        for at in 0..40 {
            hearing.shift(second(200 + at), SignedDuration::from_secs(2));
        }
        assert_eq!(hearing.shifts.len(), SHIFTS_MAX);
        assert_eq!(hearing.shifts.last().map(|it| it.0), Some(second(239)));
    }

    #[test]
    fn proof_is_a_sign_of_every_working_source_after_the_deadline() {
        let proved = |at: i64| Source { proved_at: second(at), periods: Vec::new() };
        let needed = |ids: &[u8]| Proof::Needed(ids.iter().copied().map(SourceId).collect());
        let cases = [
            (vec![proved(91)], false, Proof::Proven),
            (vec![proved(90)], false, needed(&[0])),
            (vec![proved(91), proved(80)], false, needed(&[1])),
            (vec![proved(91), source("50-")], false, Proof::Proven),
            (vec![proved(91), source("50-")], true, needed(&[1])),
            (vec![source("50-"), source("60-")], false, Proof::Blind),
            (vec![], false, Proof::Blind),
        ];
        for (sources, all_must_work, expected) in cases {
            let ids = (0..).map(SourceId).take(sources.len());
            let ears = Ears { sources: ids.map(|id| (id, None)).collect(), all_must_work };
            let hearing = Hearing { sources, shifts: Vec::new() };
            assert_eq!(hearing.proof(&ears, second(90)), expected, "{hearing:?}");
        }
        let hearing = Hearing { sources: vec![proved(80)], shifts: Vec::new() };
        let ears = Ears { sources: vec![(SourceId(0), Some(second(91)))], all_must_work: false };
        assert_eq!(hearing.proof(&ears, second(90)), Proof::Proven, "a beat is proof too");
    }

    #[test]
    fn a_source_begins_blind_and_an_old_proof_does_not_end_a_blindness() {
        let mut source = Source::new(second(10));
        assert!(source.is_blind());
        source.proved(second(20));
        source.blind(second(30));
        source.proved(second(25));
        source.blind(second(5));
        assert_eq!(source.blind_since(), Some(second(30)));
        source.returned(second(40));
        let last_proof = second(30); // it was blind since then, so it heard all until then
        assert_eq!((source.is_blind(), source.proved_at), (false, last_proof));
        source.missed(second(35), second(50));
        assert_eq!(
            write(source.periods.iter().map(|it| (it.since, it.until))),
            "10-20 30-40 40-50"
        );
    }

    #[test]
    fn a_source_that_flaps_for_hours_is_remembered_as_blind_from_its_first_break() {
        let mut source = source("");
        for at in 0..1_000 {
            source.blind(second(100 + at * 10));
            source.proved(second(105 + at * 10));
        }
        assert_eq!(source.periods.len(), PERIODS_MAX);
        let hearing = Hearing { sources: vec![source], shifts: Vec::new() };
        let ears = Ears { sources: vec![(SourceId(0), None)], all_must_work: false };
        let stretches = hearing.stretches(&ears, second(0), INTERVAL);
        assert_eq!(write(stretches.iter().map(|it| (it.since, it.until))), "100-10095");
    }

    #[test]
    fn nothing_overflows_at_the_ends_of_time() {
        let stretches =
            [Stretch { since: Timestamp::MIN, until: Some(Timestamp::MAX), blind: true }];
        assert_eq!(extend(Timestamp::MAX, &stretches, SignedDuration::MAX), Some(Timestamp::MAX));
        let mut hearing =
            Hearing { sources: vec![Source::new(Timestamp::MIN)], shifts: Vec::new() };
        hearing.shift(Timestamp::MIN, SignedDuration::MAX);
        hearing.slept(Timestamp::MIN, Timestamp::MAX);
        let ears =
            Ears { sources: vec![(SourceId(0), None), (SourceId(9), None)], all_must_work: true };
        assert!(!hearing.stretches(&ears, Timestamp::MIN, SignedDuration::MAX).is_empty());
    }
}
