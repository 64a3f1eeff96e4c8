//! Lane: one agent judged again by its machine.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    Noticed,
    steps::{Rhythm, Step},
};
use crate::domain::{
    hearing::{Hearing, Source, after},
    id::SourceId,
    text::Text,
    watch::{
        Cause, Change, Flip, Signal, Subject, Verdict, Wake,
        agent::{self, Beats, Notable, Spec, State},
        beat::{Beat, Progress, Report},
    },
};

/// How soon after a deadline the sources prove that they heard, and it is said.
const NOTICED_WITHIN: SignedDuration = SignedDuration::from_millis(10);

pub(super) struct Lane<'a> {
    subject: &'a Arc<Subject>,
    spec: &'a Spec,
    hearing: Hearing,
    /// None: not watched.
    state: Option<State>,
    rhythm: Option<Going>,
    /// What it said last; the beats of a rhythm say the same.
    report: Report,
    progress: u64,
    n: u64,
    /// The deadline at which it was looked last, in vain or not.
    looked_at: Option<Timestamp>,
    now: Timestamp,
    noticed: Vec<Noticed>,
    /// When it was shown as late, or down.
    late: Vec<(Timestamp, Timestamp)>,
}

/// A rhythm under way.
struct Going {
    rhythm: Rhythm,
    /// The last of its beats so far.
    at: Timestamp,
}

impl Going {
    fn next(&self, interval: SignedDuration) -> Option<Timestamp> {
        let Rhythm { until, advanced, .. } = &self.rhythm;
        let next = after(self.at, interval).min(*until);
        let next = advanced.filter(|it| self.at < *it).map_or(next, |it| it.min(next));
        (self.at < *until).then_some(next)
    }
}

impl<'a> Lane<'a> {
    /// So many sources, all of which hear.
    pub(super) fn new(subject: &'a Arc<Subject>, spec: &'a Spec, sources: usize) -> Self {
        let source = Source { proved_at: Timestamp::MIN, periods: Vec::new() };
        Self {
            subject,
            spec,
            hearing: Hearing { sources: vec![source; sources], shifts: Vec::new() },
            state: None,
            rhythm: None,
            report: Report::Alive,
            progress: 0,
            n: 0,
            looked_at: None,
            now: Timestamp::MIN,
            noticed: Vec::new(),
            late: Vec::new(),
        }
    }

    /// All that is noticed of it up to the end, and when it was late.
    pub(super) fn run(
        mut self,
        steps: Vec<(Timestamp, Step)>,
        end: Timestamp,
    ) -> (Vec<Noticed>, Vec<(Timestamp, Timestamp)>) {
        for (at, step) in steps {
            if end < at {
                break;
            }
            self.pass(at);
            self.step(step, at);
        }
        self.pass(end);
        self.silent_until(end);
        (self.noticed, self.late)
    }

    fn silent_until(&mut self, at: Timestamp) {
        if self.spec.beats == Beats::OnActivity {
            return;
        }
        let last = self.state.as_ref().and_then(|it| it.last);
        let late = last.map(|last| after(last, self.spec.patience())).filter(|it| *it < at);
        self.late.extend(late.map(|since| (since, at)));
    }

    /// Beats and deadlines up to this moment, in their order.
    fn pass(&mut self, to: Timestamp) {
        loop {
            let Some(state) = &self.state else { return };
            // A deadline that a look does not settle waits for a beat or for the hearing to change.
            let deadline = state.deadline.filter(|it| self.looked_at != Some(*it));
            let due = deadline.map(|it| after(it, NOTICED_WITHIN).max(self.now));
            let due = due.filter(|it| *it < to);
            let beat = self.rhythm.as_ref().and_then(|it| it.next(self.spec.interval));
            let beat = beat.filter(|it| *it < to);
            match (due, beat) {
                (Some(due), beat) if beat.is_none_or(|it| due <= it) => {
                    self.looked_at = deadline;
                    self.signal(Signal::Tick, due);
                }
                (_, Some(beat)) => self.beat_on(beat),
                (_, None) => return,
            }
        }
    }

    fn step(&mut self, step: Step, at: Timestamp) {
        self.looked_at = None;
        match step {
            Step::Begin => {
                self.rhythm = None;
                self.report = Report::Alive;
                self.state = Some(State::new(at));
                self.signal(Signal::Tick, at);
            }
            Step::Rhythm(rhythm) => self.begin_rhythm(rhythm, at),
            Step::Beat(notable) => self.kept(notable),
            Step::Pause => self.signal(Signal::Pause { by: by() }, at),
            Step::Resume => self.signal(Signal::Resume { by: by() }, at),
            Step::End => self.end(at),
            Step::Deaf(source) => {
                if let Some(source) = self.source(source) {
                    source.blind(at);
                }
                self.signal(Signal::Tick, at);
            }
            Step::Hears(source) => {
                if let Some(source) = self.source(source) {
                    source.proved(at);
                }
                self.signal(Signal::Tick, at);
            }
            Step::Shift(length) => {
                self.hearing.shift(at, length);
                self.signal(Signal::Tick, at);
            }
        }
    }

    /// A rhythm that goes on from the kept beat at `at`, or begins with a beat there.
    fn begin_rhythm(&mut self, rhythm: Rhythm, at: Timestamp) {
        let unheard = self.state.as_ref().is_some_and(|it| it.last.is_none());
        self.rhythm = Some(Going { rhythm, at });
        if unheard {
            self.beat_on(at);
        }
        self.learn();
    }

    /// One beat of the rhythm over each of its sources. One that could not be heard was none.
    fn beat_on(&mut self, at: Timestamp) {
        let Some(going) = &mut self.rhythm else { return };
        going.at = at;
        let advances = going.rhythm.advanced.is_some_and(|it| at <= it);
        let over = going.rhythm.over.clone();
        for (place, source) in over.into_iter().enumerate() {
            if self.hearing.source(source).is_none_or(Source::is_blind) {
                continue;
            }
            let mut beat = Beat { report: Report::Log, ..Beat::plain(at, source) };
            if advances && place == 0 {
                self.progress += 1;
                beat.report = self.report.clone();
                beat.progress = Some(Progress::Count(self.progress));
            }
            self.beat(beat);
        }
        self.learn();
    }

    /// At the end of a rhythm the detector knows what it knew then.
    fn learn(&mut self) {
        let Some(going) = &mut self.rhythm else { return };
        if going.at < going.rhythm.until {
            return;
        }
        let at = going.at;
        let learnt = going.rhythm.learnt.take();
        if let (Some(learnt), Some(state)) = (learnt, &mut self.state) {
            state.rhythm = learnt;
            self.signal(Signal::Tick, at);
        }
    }

    fn kept(&mut self, notable: Notable) {
        let Notable { at, source, report, busy, advanced, before: _ } = notable;
        self.rhythm = None;
        self.silent_until(at);
        if self.state.is_none() {
            self.state = Some(State::new(at));
        }
        // As the ear does it: a beat over any source ends its blindness at once.
        if let Some(source) = self.source(source) {
            source.proved(at);
        }
        if report != Report::Log {
            self.report = report.clone();
        }
        self.progress += u64::from(advanced);
        let progress = advanced.then_some(Progress::Count(self.progress));
        self.beat(Beat { report, progress, busy, ..Beat::plain(at, source) });
    }

    fn beat(&mut self, beat: Beat) {
        let at = beat.at;
        self.prove(at);
        let Some(state) = &mut self.state else { return };
        match self.spec.hear(state, beat, &self.hearing) {
            Wake::No => {}
            Wake::Yes => self.signal(Signal::Tick, at),
        }
    }

    fn signal(&mut self, signal: Signal, at: Timestamp) {
        self.prove(at);
        let Some(state) = &self.state else { return };
        let (state, effects) = self.spec.on(state, signal, &self.hearing, at);
        self.state = Some(state);
        for change in effects.changes {
            self.notice(change, at);
        }
    }

    fn end(&mut self, at: Timestamp) {
        let Some(state) = self.state.take() else { return };
        self.rhythm = None;
        let from = Verdict::Agent(state.said);
        let to = Verdict::Agent(agent::Verdict::Waiting);
        self.notice(Change { from, to, at, cause: Cause::Removed }, at);
    }

    fn notice(&mut self, change: Change, at: Timestamp) {
        self.n += 1;
        let flip = Flip {
            subject: Arc::clone(self.subject),
            epoch: 1,
            n: self.n,
            from: change.from,
            to: change.to,
            at: change.at,
            cause: change.cause,
            task: None,
        };
        self.noticed.push(Noticed { at, flip });
    }

    /// Sources that hear have proved it up to now; when they did not, history says so.
    fn prove(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        for source in self.hearing.sources.iter_mut().filter(|it| !it.is_blind()) {
            source.proved(at);
        }
    }

    fn source(&mut self, id: SourceId) -> Option<&mut Source> {
        self.hearing.sources.get_mut(usize::from(id.0))
    }
}

/// Whoever it was then.
fn by() -> Text {
    Text::clean("replay", 40)
}
