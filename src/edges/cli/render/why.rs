//! Why: the chain, one link a line, then who was told, then what comes.

use super::{Scene, faint, mood, plain};
use crate::{
    control::{
        next::NextView,
        why::{DeliveryView, LinkView, WhyView},
        words,
    },
    edges::cli::terminal::{Mood, Table},
};

/// What is longer stands out of its column, so that the others stay within a terminal.
const COLUMN_MAX: usize = 24;

pub(super) fn text(view: &WhyView, scene: &Scene) -> String {
    let mut lines = vec![head(view, scene)];
    if view.chain.is_empty() {
        lines.push("nothing was decided about it yet".to_owned());
    }
    let mut table = Table::default();
    for link in &view.chain {
        table.row(row(link, scene));
    }
    for next in &view.next {
        table.row(coming("now", next, scene));
    }
    lines.extend(table.lines_within(scene.terminal, 2, COLUMN_MAX));
    if !view.deliveries.is_empty() {
        lines.push(String::new());
        lines.extend(deliveries(&view.deliveries, scene));
    }
    lines.join("\n")
}

fn head(view: &WhyView, scene: &Scene) -> String {
    let name = if view.name == view.watch { String::new() } else { format!(" \"{}\"", view.name) };
    let since = view.since.map(|at| format!(" since {}", scene.clock(at))).unwrap_or_default();
    let verdict = scene.paint(mood(&view.verdict), &view.verdict);
    let open: Vec<String> =
        view.incidents.iter().filter(|it| it.is_open()).map(|it| format!("#{}", it.id)).collect();
    let origin = view.origin.as_ref().map(|it| format!("   {it}")).unwrap_or_default();
    let open = if open.is_empty() { String::new() } else { format!("   {}", open.join(" ")) };
    format!("{}{name}   {verdict}{since}{open}{}", view.watch, scene.paint(Mood::Faint, &origin))
}

pub(super) fn row(link: &LinkView, scene: &Scene) -> Vec<(Mood, String)> {
    let outcome = match link.incident {
        Some(id) if link.stage == "incident" && !link.outcome.contains('#') => {
            format!("#{id} {}", link.outcome)
        }
        _ => link.outcome.clone(),
    };
    vec![
        faint(scene.precise(link.at)),
        plain(link.receiver.as_deref().unwrap_or(&link.stage)),
        plain(scene.terminal.fit(&outcome)),
        plain(scene.terminal.fit(&link.rule)),
        faint(&link.origin),
    ]
}

/// A line of what is to come, in the columns of the chain.
pub(super) fn coming(label: &str, next: &NextView, scene: &Scene) -> Vec<(Mood, String)> {
    let at = next.at.map(|at| scene.clock(at)).unwrap_or_default();
    vec![plain(label), plain(at), plain(&next.what)]
}

pub(super) fn deliveries(list: &[DeliveryView], scene: &Scene) -> Vec<String> {
    let mut table = Table::default();
    for delivery in list {
        let kind = match delivery.kind.as_str() {
            "new" => "rings",
            "quiet" => "no sound",
            other => other,
        };
        let members = match delivery.incidents {
            0 | 1 => String::new(),
            many => format!("of {many} incidents"),
        };
        table.row(vec![
            faint(scene.clock(delivery.created_at)),
            plain(&delivery.receiver),
            plain(kind),
            plain(fate(delivery, scene)),
            plain(members),
            plain(delivery.error.clone().unwrap_or_default()),
        ]);
    }
    table.lines(scene.terminal, 2)
}

/// From its making to the receiver's word that it was taken.
fn took(delivery: &DeliveryView) -> String {
    let took = delivery.changed_at.duration_since(delivery.created_at);
    let tenths = took.as_millis().max(0).div_euclid(100);
    match tenths {
        0..100 => format!("{}.{}s", tenths / 10, tenths % 10),
        _ => words::age(took),
    }
}

fn fate(delivery: &DeliveryView, scene: &Scene) -> String {
    let over = if delivery.failed_over { ", the next was told" } else { "" };
    match (delivery.state.as_str(), delivery.attempts) {
        ("sent", 0 | 1) => format!("sent ({})", took(delivery)),
        ("sent", many) => format!("sent at attempt {many} ({})", took(delivery)),
        ("pending", 0) => "waits".to_owned(),
        ("pending", many) => {
            format!("{many} attempts, next {}{over}", scene.clock(delivery.next_at))
        }
        ("failed", many) => format!("given up after {many}{over}"),
        ("rehearsed", _) => "dry run: not sent".to_owned(),
        ("superseded", _) => "a later one says it".to_owned(),
        (other, _) => other.to_owned(),
    }
}
