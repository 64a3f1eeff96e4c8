//! Summary: what a run that ends found, as Markdown: the summary of a CI job. All that came from outside is escaped:
//! it is text there, no link, no image, no mention and no new column.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{
    Scene,
    once::{counts, of_parts, sent},
};
use crate::control::{incidents::IncidentView, once::OnceView, words};

/// Rows of a table; GitHub takes 1 MiB for a step.
const ROWS_MAX: usize = 200;

pub(super) fn text(view: &OnceView, scene: &Scene) -> String {
    let node = escaped(&view.node);
    let headline = if view.well {
        format!("### ✅ {node}: well")
    } else {
        format!("### ❌ {node}: {}", escaped(&view.unwell.join(", ")))
    };
    let watched = words::age(view.ended_at.duration_since(view.began_at));
    let mut text = format!(
        "{headline}\n\nWatched for {watched}, until {}.\n",
        escaped(&moment(view.ended_at, scene))
    );
    let rows: Vec<String> = amiss(view, scene).chain(parts(view, scene)).collect();
    // Writing into a `String` cannot fail.
    if !rows.is_empty() {
        text.push_str(
            "\n| watch | verdict | since | why | incident |\n| --- | --- | --- | --- | --- |\n",
        );
        rows.iter().take(ROWS_MAX).for_each(|row| text.push_str(row));
    }
    if let Some(more) = rows.len().checked_sub(ROWS_MAX).filter(|it| 0 < *it) {
        let _ = writeln!(text, "\nAnd {more} more.");
    }
    let watches = words::counted(view.watches.len(), "watch");
    let _ = writeln!(text, "\n{watches}: {}.", escaped(&counts(view)));
    if !view.ended.is_empty() {
        let ended: Vec<String> = view.ended.iter().take(ROWS_MAX).map(ended).collect();
        let _ = writeln!(text, "\nOver by now: {}.", ended.join(", "));
    }
    if let Some(sent) = sent(view) {
        let _ = writeln!(text, "\n{}.", escaped(&sent));
    }
    text
}

fn amiss<'a>(view: &'a OnceView, scene: &'a Scene) -> impl Iterator<Item = String> + 'a {
    view.watches.iter().filter(|it| it.amiss).map(move |watch| {
        let incident = view.troubles.iter().find(|it| Some(it.id) == watch.incident);
        let mut why = incident.map_or_else(|| watch.why.clone(), |it| it.cause.clone());
        if let Some(task) = &watch.task {
            why = format!("{why} (it was doing: {task})");
        }
        row(&watch.watch, &watch.verdict, watch.since, &why, incident, scene)
    })
}

fn parts<'a>(view: &'a OnceView, scene: &'a Scene) -> impl Iterator<Item = String> + 'a {
    of_parts(view)
        .map(|it| row(&it.watch, &it.condition, Some(it.broke_at), &it.cause, Some(it), scene))
}

fn row(
    watch: &str,
    verdict: &str,
    since: Option<Timestamp>,
    why: &str,
    incident: Option<&IncidentView>,
    scene: &Scene,
) -> String {
    let since = since.map(|it| scene.clock(it)).unwrap_or_default();
    // A number that GitHub would take for one of its own issues is set as code.
    let number = incident.map(|it| format!("`#{}`", it.id)).unwrap_or_default();
    let [watch, verdict, since, why] = [watch, verdict, &since, why].map(escaped);
    format!("| {watch} | **{verdict}** | {since} | {why} | {number} |\n")
}

fn ended(incident: &IncidentView) -> String {
    format!("{} {}", escaped(&incident.watch), escaped(&incident.condition))
}

/// With its date and zone: it is read later, and elsewhere.
fn moment(at: Timestamp, scene: &Scene) -> String {
    at.to_zoned(scene.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Text in a line of Markdown: each mark that could mean something is escaped, and a mention is broken.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for it in text.chars() {
        if it.is_control() {
            escaped.push(' ');
            continue;
        }
        if it.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(it);
        if it == '@' {
            escaped.push('\u{200B}');
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edges::cli::render::{once::tests::once_view, tests::scene};

    #[test]
    fn a_summary_says_it_in_its_headline_and_lists_what_is_amiss() {
        let said = text(&once_view(), &scene(true));
        assert_eq!(
            said,
            r"### ❌ tower\-1: 1 watch is down\, 1 watch is unknown

Watched for 1m, until 2026\-11\-21 03\:15\:20 UTC.

| watch | verdict | since | why | incident |
| --- | --- | --- | --- | --- |
| agent\/mary | **down** | 03\:13\:34 | silence \> 90s | `#412` |
| agent\/lisa | **unknown** |  | never heard yet |  |
| source\/redis | **blind** | 03\:13\:34 | connection refused | `#420` |

4 watches: 1 down\, 1 unknown\, 1 late\, 1 up.

Over by now: agent\/paula down.

Nothing was sent\: 2 messages stay owed\; \-\-notify sends.
",
            "\n{said}\n"
        );
    }

    #[test]
    fn what_comes_from_outside_is_only_text() {
        for (raw, expected) in [
            ("a|b\n# c", r"a\|b \# c"),
            ("[x](http://evil)", r"\[x\]\(http\:\/\/evil\)"),
            ("![](x) <img src=x>", r"\!\[\]\(x\) \<img src\=x\>"),
            ("`*_~&amp;\\", r"\`\*\_\~\&amp\;\\"),
            ("@ana #412 é 日本", "\\@\u{200B}ana \\#412 é 日本"),
        ] {
            assert_eq!(escaped(raw), expected);
        }
        let mut view = once_view();
        let nasty = "| x | y |\n</td><script>&[a](b)@all";
        view.watches[0].task = Some(nasty.to_owned());
        view.troubles[0].cause = nasty.to_owned();
        let said = text(&view, &scene(true));
        let row = said.lines().find(|it| it.contains("mary")).expect("her row");
        let bare = row.as_bytes().windows(2).filter(|it| it[1] == b'|' && it[0] != b'\\').count();
        assert_eq!(bare, 5, "six bars, the first at the beginning: {row}");
        assert!(!row.contains('<') || row.matches('<').count() == row.matches("\\<").count());
        view.watches = vec![view.watches[1].clone(); 500];
        view.troubles.clear();
        assert!(text(&view, &scene(true)).contains("\nAnd 300 more.\n"));
    }
}
