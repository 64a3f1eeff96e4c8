//! A message as Telegram takes it: HTML of `b i code blockquote` alone, never nested, everything else escaped,
//! condensed to fit.

use crate::{
    domain::delivery::{Message, Span},
    wire::telegram::units,
};

/// Most UTF-16 units of a message, counted without its tags (Bot API, `sendMessage`).
pub(super) const UNITS_MAX: usize = 4096;
/// From this many lines on a quotation is shown folded.
const QUOTE_LINES_OPEN: usize = 3;
/// Room for "and 123456 more".
const MORE_UNITS: usize = 24;

/// The message as HTML.
pub(super) fn html(message: &Message) -> String {
    let mut text = String::new();
    text.push_str(&spans(&first_line(message)));
    for line in &message.lines {
        text.push('\n');
        text.push_str(&spans(line));
    }
    if !message.quote.is_empty() {
        let fold = if QUOTE_LINES_OPEN < message.quote.len() { " expandable" } else { "" };
        let lines: Vec<_> = message.quote.iter().map(|it| escape(it)).collect();
        text.push_str("\n<blockquote");
        text.push_str(fold);
        text.push('>');
        text.push_str(&lines.join("\n"));
        text.push_str("</blockquote>");
    }
    if !message.footer.is_empty() {
        text.push('\n');
        text.push_str(&tag("i", &message.footer));
    }
    text
}

/// The message as plain text: the same words without their dress.
pub(super) fn plain(message: &Message) -> String {
    let words = |line: &[Span]| line.iter().map(|it| clean(content(it))).collect::<String>();
    let mut lines = vec![words(&first_line(message))];
    lines.extend(message.lines.iter().map(|it| words(it)));
    lines.extend(message.quote.iter().map(|it| clean(it)));
    if !message.footer.is_empty() {
        lines.push(clean(&message.footer));
    }
    lines.join("\n")
}

/// The message in at most `units_max` UTF-16 units: first the quotation shrinks to its last lines, then the
/// lines to their first and a count, never the first line (but for one that alone is too long) nor the footer.
pub(super) fn condense(message: &Message, units_max: usize) -> Message {
    let mut short = message.clone();
    if units(&plain(&short)) <= units_max {
        return short;
    }
    short.lines = Vec::new();
    short.quote = Vec::new();
    if units_max < units(&plain(&short)) {
        short.footer.clear();
        let glyph = units(message.glyph) + 1;
        short.headline = cut(&message.headline, units_max.saturating_sub(glyph));
    }
    let mut room = units_max.saturating_sub(units(&plain(&short)));
    short.lines = first_lines(&message.lines, &mut room);
    let whole = short.lines.len() == message.lines.len();
    for line in message.quote.iter().rev().take_while(|_| whole) {
        let taken = units(line) + 1;
        if room < taken {
            break;
        }
        room -= taken;
        short.quote.insert(0, line.clone());
    }
    short
}

fn first_lines(lines: &[Vec<Span>], room: &mut usize) -> Vec<Vec<Span>> {
    let length = |line: &[Span]| line.iter().map(|it| units(content(it))).sum::<usize>() + 1;
    if lines.iter().map(|it| length(it)).sum::<usize>() <= *room {
        *room -= lines.iter().map(|it| length(it)).sum::<usize>();
        return lines.to_vec();
    }
    let mut kept = Vec::new();
    let Some(mut left) = room.checked_sub(MORE_UNITS) else { return kept };
    *room = 0;
    for (index, line) in lines.iter().enumerate() {
        if length(line) <= left {
            left -= length(line);
            kept.push(line.clone());
            continue;
        }
        if 1 < left {
            kept.push(cut(line, left - 1));
        }
        let more = lines.len() - index - usize::from(1 < left);
        if 0 < more {
            kept.push(vec![Span::Italic(format!("and {more} more"))]);
        }
        break;
    }
    kept
}

/// The beginning of a line in at most `units_max` units, an ellipsis in the last one.
fn cut(line: &[Span], units_max: usize) -> Vec<Span> {
    if line.iter().map(|it| units(content(it))).sum::<usize>() <= units_max {
        return line.to_vec();
    }
    let mut room = units_max.saturating_sub(1);
    let mut kept = Vec::new();
    for span in line {
        let mut text = String::new();
        for it in content(span).chars() {
            if room < it.len_utf16() {
                text.push('…');
                kept.push(like(span, text));
                return kept;
            }
            room -= it.len_utf16();
            text.push(it);
        }
        kept.push(like(span, text));
    }
    kept
}

fn first_line(message: &Message) -> Vec<Span> {
    let glyph = (!message.glyph.is_empty()).then(|| Span::Plain(format!("{} ", message.glyph)));
    glyph.into_iter().chain(message.headline.iter().cloned()).collect()
}

fn content(span: &Span) -> &str {
    match span {
        Span::Plain(text) | Span::Bold(text) | Span::Italic(text) | Span::Code(text) => text,
    }
}

fn like(span: &Span, text: String) -> Span {
    match span {
        Span::Plain(_) => Span::Plain(text),
        Span::Bold(_) => Span::Bold(text),
        Span::Italic(_) => Span::Italic(text),
        Span::Code(_) => Span::Code(text),
    }
}

fn spans(line: &[Span]) -> String {
    line.iter()
        .map(|span| match span {
            Span::Plain(text) => escape(text),
            Span::Bold(text) => tag("b", text),
            Span::Italic(text) => tag("i", text),
            Span::Code(text) => tag("code", text),
        })
        .collect()
}

fn tag(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

/// A line break inside a span would make a line of its own, so it becomes a space.
fn clean(text: &str) -> String {
    text.chars()
        .map(|it| if matches!(it, '\n' | '\r' | '\t') { ' ' } else { it })
        .filter(|it| !it.is_control())
        .collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for it in clean(text).chars() {
        match it {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            it => escaped.push(it),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(headline: &str, lines: &[&str], quote: &[&str], footer: &str) -> Message {
        Message {
            glyph: "🔴",
            headline: vec![Span::Bold(headline.into()), Span::Plain(": silent".into())],
            lines: lines.iter().map(|it| vec![Span::Code((*it).into())]).collect(),
            quote: quote.iter().map(|it| (*it).into()).collect(),
            footer: footer.into(),
            buttons: Vec::new(),
        }
    }

    /// Strips tags as Telegram does. Panics on a tag that is unknown, nested or left open, and on a bare `&`.
    fn parse(html: &str) -> String {
        let (mut text, mut open, mut rest) = (String::new(), None, html);
        while let Some(it) = rest.chars().next() {
            let (taken, said) = match it {
                '<' => {
                    let end = rest.find('>').expect("the tag ends");
                    let name = &rest[1..end];
                    open = match (open, name.strip_prefix('/')) {
                        (None, None) => Some(name.split(' ').next().expect("a name")),
                        (Some(begun), Some(ended)) if begun == ended => None,
                        (begun, _) => panic!("<{name}> after {begun:?} in {html}"),
                    };
                    assert!(
                        matches!(open, None | Some("b" | "i" | "code" | "blockquote")),
                        "{html}"
                    );
                    (end + 1, String::new())
                }
                '&' => {
                    let end = rest.find(';').expect("the entity ends");
                    let said = match &rest[1..end] {
                        "lt" => "<",
                        "gt" => ">",
                        "amp" => "&",
                        other => panic!("unknown entity {other}"),
                    };
                    (end + 1, said.to_owned())
                }
                it => (it.len_utf8(), it.to_string()),
            };
            text.push_str(&said);
            rest = &rest[taken..];
        }
        assert_eq!(open, None, "{html}");
        text
    }

    #[test]
    fn a_message_is_set_as_the_faces_show_it() {
        let quote = ["ModuleNotFoundError: <x>", "Main process exited"];
        let it = message("Mary & <b>", &["agent@mary.service"], &quote, "tower-1 · #412");
        assert_eq!(
            html(&it),
            "🔴 <b>Mary &amp; &lt;b&gt;</b>: silent\n<code>agent@mary.service</code>\n\
             <blockquote>ModuleNotFoundError: &lt;x&gt;\nMain process exited</blockquote>\n\
             <i>tower-1 · #412</i>"
        );
        assert_eq!(parse(&html(&it)), plain(&it));
    }

    #[test]
    fn too_long_loses_the_quotation_first_then_lines_and_never_the_first_line() {
        let long = "😀".repeat(300);
        let quote: Vec<_> = (0..20).map(|it| format!("{it} {long}")).collect();
        let quote: Vec<_> = quote.iter().map(String::as_str).collect();
        let short = condense(&message("Mary", &["one", "two"], &quote, "f"), UNITS_MAX);
        assert_eq!(short.lines.len(), 2);
        assert_eq!(short.quote.len(), 6);
        assert_eq!(short.quote.last().map(String::as_str), quote.last().copied());

        let short = condense(&message("Mary", &quote, &quote, "f"), UNITS_MAX);
        assert!(short.quote.is_empty());
        assert_eq!(short.lines.last(), Some(&vec![Span::Italic("and 13 more".into())]));
        assert!(plain(&short).starts_with("🔴 Mary: silent\n0 😀"));
        assert!(plain(&short).ends_with("\nf"));

        let all = "Lisa, ".repeat(2000);
        let short = plain(&condense(&message("Mary", &[&all], &[], "f"), UNITS_MAX));
        assert!(short.contains("Lisa, Lisa") && short.contains('…') && short.ends_with("\nf"));

        let short = condense(&message(&all, &["one"], &[], "f"), UNITS_MAX);
        assert_eq!(units(&plain(&short)), UNITS_MAX);
    }

    proptest! {
        #[test]
        fn no_text_breaks_out_of_its_tag_or_over_the_limit(
            headline in any::<String>(),
            lines in prop::collection::vec("(\\PC|[<>&\"\n\r\t\u{0}]|😀){0,60}", 0..12),
            quote in prop::collection::vec("(</blockquote>|&lt;|\\PC|😀){0,60}", 0..12),
            units_max in 30_usize..700,
        ) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let quote: Vec<_> = quote.iter().map(String::as_str).collect();
            let whole = message(&headline, &lines, &quote, "tower-1");
            prop_assert_eq!(parse(&html(&whole)), plain(&whole));
            let short = condense(&whole, units_max);
            prop_assert_eq!(parse(&html(&short)), plain(&short));
            prop_assert!(units(&plain(&short)) <= units_max);
            prop_assert_eq!(plain(&whole).lines().count(), 2 + lines.len() + quote.len());
        }
    }
}
