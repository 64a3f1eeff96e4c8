//! Show: one watch or incident, a labelled line for each thing known.

use jiff::Timestamp;

use super::{Scene, incidents, lists::progress, mood, status::note, why};
use crate::{
    control::{
        agents::AgentView,
        next::NextView,
        show::{AgentDetail, IncidentDetail, PartDetail, RhythmView, ShowView, StepView},
        why::DeliveryView,
    },
    domain::watch::agent::Beats,
    edges::cli::terminal::{Mood, Table},
};

/// A skew below this is not worth a line (docs/BEHAVIOUR.md 3).
const SKEW_SECONDS_SHOWN: i64 = 30;

/// Deliveries that are shown, the newest.
const TOLD_MAX: usize = 5;

pub(super) fn text(view: &ShowView, scene: &Scene) -> String {
    match view {
        ShowView::Agent(detail) => agent(detail, scene),
        ShowView::Part(detail) => part(detail, scene),
        ShowView::Incident(detail) => incident(detail, scene),
    }
}

/// Lines with a label each.
struct Page<'a> {
    scene: &'a Scene,
    lines: Vec<String>,
}

impl Page<'_> {
    fn line(&mut self, label: &str, text: impl AsRef<str>) {
        self.lines.push(format!("{label:<11}{}", text.as_ref()));
    }

    fn coming(&mut self, next: &[NextView]) {
        for next in next {
            let at = next.at.map(|at| format!("{} ", self.scene.clock(at))).unwrap_or_default();
            self.line("next", format!("{at}{}", next.what));
        }
    }

    fn told(&mut self, told: &[DeliveryView]) {
        let newest = &told[told.len().saturating_sub(TOLD_MAX)..];
        for line in why::deliveries(newest, self.scene) {
            self.line("told", line);
        }
    }
}

fn agent(detail: &AgentDetail, scene: &Scene) -> String {
    let it = &detail.agent;
    let mut page = Page { scene, lines: vec![headline(it, scene)] };
    page.line("pulse", pulse(detail, scene));
    if let Some(now) = &it.progress {
        let still = it.progress_at.map(|at| format!(", still since {}", scene.clock(at)));
        let stalls = detail.stall_after.as_ref().map(|it| format!(" (stalls after {it})"));
        page.line(
            "progress",
            format!("{}{}{}", progress(now), still.unwrap_or_default(), stalls.unwrap_or_default()),
        );
    }
    if let Some(lease) = &detail.lease {
        page.line("lease", format!("{} until {}", lease.op, scene.clock(lease.until)));
    }
    if let Some(asked) = detail.asked_at {
        let told = detail.needs_input.as_ref().map(|it| format!(" (people are told after {it})"));
        let since = scene.clock(asked);
        page.line("input", format!("waits for a person since {since}{}", told.unwrap_or_default()));
    }
    if let Some(task) = &it.task {
        page.line("task", task);
    }
    if let Some(beats) = beats(&detail.rhythm, &it.verdict, scene) {
        page.line("beats", beats);
    }
    if let Some(skew) = detail.skew_seconds.filter(|it| SKEW_SECONDS_SHOWN < it.abs()) {
        let way = if 0 < skew { "ahead of" } else { "behind" };
        page.line("clock", format!("its clock is {}s {way} ours", skew.abs()));
    }
    if let Some(since) = it.quarantined_since {
        let retry = format!("{} retry agent/{}", scene.program, it.id);
        page.line(
            "unwatched",
            format!("its actor keeps failing, set aside {}: {retry}", scene.clock(since)),
        );
    }
    for open in &detail.open {
        page.line("open", format!("#{} {} {}", open.id, open.condition, note(open, scene)));
    }
    for silence in &detail.silences {
        let until = scene.minute(silence.until);
        page.line("silenced", format!("{} until {until} by {}", silence.target, silence.by));
    }
    page.coming(&detail.next);
    page.told(&detail.told);
    page.line("would tell", would_tell(&detail.would_tell));
    if !detail.depends_on.is_empty() {
        page.line("depends on", detail.depends_on.join(", "));
    }
    if !it.aliases.is_empty() {
        page.line("aliases", it.aliases.join(", "));
    }
    if let Some(group) = &it.group {
        page.line("group", group);
    }
    page.line("from", origin(it, scene));
    page.lines.join("\n")
}

fn headline(it: &AgentView, scene: &Scene) -> String {
    let name = if it.name == it.id { String::new() } else { format!(" \"{}\"", it.name) };
    let idle = if it.idle { ", idle" } else { "" };
    let verdict = scene.paint(mood(&it.verdict), &it.verdict.to_uppercase());
    let silent = match (it.verdict.as_str(), it.last_beat) {
        ("down" | "late", Some(last)) => format!(" (silent {})", scene.age(last)),
        _ => String::new(),
    };
    let incident = it.incident.map(|id| format!("   #{id}")).unwrap_or_default();
    let since = scene.clock(it.since);
    format!("agent/{}{name}   {verdict}{idle} since {since}{silent}{incident}", it.id)
}

fn pulse(detail: &AgentDetail, scene: &Scene) -> String {
    let it = &detail.agent;
    let limits = if detail.beats_expected == Beats::OnActivity.word() {
        format!("down after {} without a beat while it works", it.timeout)
    } else {
        format!("every {}, down after {}", it.interval, it.timeout)
    };
    match (it.last_beat, &it.source) {
        (Some(last), Some(source)) => {
            format!("last {} over {source}, {limits}", scene.clock(last))
        }
        (Some(last), None) => format!("last {}, {limits}", scene.clock(last)),
        (None, _) if detail.beats_expected == Beats::OnActivity.word() => {
            format!("never heard since {}, {limits}", scene.clock(detail.watched_since))
        }
        (None, _) => format!(
            "never heard since {}, first beat within {}",
            scene.clock(detail.watched_since),
            detail.first_beat_within
        ),
    }
}

/// The last intervals as bars, the longest the highest.
fn beats(rhythm: &RhythmView, verdict: &str, scene: &Scene) -> Option<String> {
    if rhythm.recent_seconds.is_empty() {
        return None;
    }
    let bars: Vec<char> =
        if scene.terminal.unicode { "▁▂▃▄▅▆▇█" } else { "_.-~=+*#" }.chars().collect();
    let highest = rhythm.recent_seconds.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of 0 to 7, and casts of floats saturate"
    )]
    let bar = |seconds: &f32| {
        let place = (seconds / highest * (bars.len() - 1) as f32).round() as usize;
        bars.get(place).or(bars.last()).copied().unwrap_or_default()
    };
    let drawn: String = rhythm.recent_seconds.iter().map(bar).collect();
    let end = if verdict == "down" { " ✗" } else { "" };
    let (usual, longest) = (rhythm.usual_seconds.round(), rhythm.longest_seconds.round());
    Some(format!("{drawn}{end}    usual {usual}s, longest {longest}s"))
}

fn would_tell(steps: &[StepView]) -> String {
    if steps.is_empty() {
        return "nobody: no receiver is set up".to_owned();
    }
    let step = |it: &StepView| {
        let to = if it.to.is_empty() { "nobody".to_owned() } else { it.to.join(", ") };
        match &it.after {
            Some(after) => format!("after {after} without acknowledgement: {to}"),
            None => to,
        }
    };
    let steps_said: Vec<String> = steps.iter().map(step).collect();
    let origin = steps.first().map(|it| it.origin.as_str()).unwrap_or_default();
    format!("{} ({origin})", steps_said.join("; "))
}

fn origin(it: &AgentView, scene: &Scene) -> String {
    if it.self_registered {
        return format!(
            "{}: it registered itself; to drop it: {} forget {}",
            it.origin, scene.program, it.id
        );
    }
    it.origin.clone()
}

fn part(detail: &PartDetail, scene: &Scene) -> String {
    let it = &detail.part;
    let verdict = it.trouble.as_deref().unwrap_or("up");
    let verdict = scene.paint(mood(verdict), &verdict.to_uppercase());
    let since = scene.clock(it.since);
    let mut page = Page { scene, lines: vec![format!("{}   {verdict} since {since}", it.watch)] };
    if !it.detail.is_empty() {
        page.line("detail", &it.detail);
    }
    if let Some(owed) = it.owed {
        page.line("owed", format!("{owed} not yet sent"));
    }
    for line in incidents::lines(&detail.open, scene) {
        page.line("open", line);
    }
    page.coming(&detail.next);
    page.told(&detail.told);
    page.lines.join("\n")
}

fn incident(detail: &IncidentDetail, scene: &Scene) -> String {
    let it = &detail.incident;
    let state = scene.paint(if it.is_open() { Mood::Bad } else { Mood::Good }, &it.status);
    let head = format!("#{} {} {}   {}, {state}", it.id, it.watch, it.condition, it.severity);
    let mut page = Page { scene, lines: vec![head] };
    page.line("since", format!("{} ({})", scene.clock(it.opened_at), it.cause));
    if let Some(at) = it.resolved_at {
        let lasted = crate::control::words::age(at.duration_since(it.opened_at));
        let ending = it.ending.clone().unwrap_or_default();
        page.line("until", format!("{} after {lasted}: {ending}", scene.clock(at)));
    }
    if let Some(task) = &it.task {
        page.line("task", task);
    }
    if it.acknowledged_by.is_some() {
        let reason = it.acknowledged_reason.as_ref().map(|it| format!(": {it}"));
        page.line("held", format!("{}{}", note(it, scene), reason.unwrap_or_default()));
    }
    if !detail.relapses.is_empty() {
        let times: Vec<String> =
            detail.relapses.iter().map(|at: &Timestamp| scene.clock(*at)).collect();
        page.line("relapses", times.join(", "));
    }
    page.coming(&detail.next);
    page.told(&detail.deliveries);
    page.line("from", &it.origin);
    let mut table = Table::default();
    for link in &detail.chain {
        table.row(why::row(link, scene));
    }
    page.lines.extend(table.lines(scene.terminal, 2));
    page.lines.join("\n")
}
