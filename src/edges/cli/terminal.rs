//! Terminal: what it can show. Colours only where somebody looks, glyphs only where they can be drawn.

use clap::builder::styling::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

/// `--color`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

/// What a stretch of text means; each has a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Plain,
    Good,
    Warning,
    Bad,
    /// Beside the point: times, origins.
    Faint,
    Strong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    pub colour: bool,
    pub unicode: bool,
}

impl Terminal {
    /// `variable` reads the environment.
    pub fn of(
        choice: Colour,
        is_terminal: bool,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let set = |name: &str| variable(name).filter(|it| !it.is_empty());
        let colour = match choice {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                is_terminal && set("NO_COLOR").is_none() && set("TERM").as_deref() != Some("dumb")
            }
        };
        // The first that is set decides, as the C library has it.
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        let locale = locale.unwrap_or_default().to_lowercase();
        Self { colour, unicode: locale.contains("utf-8") || locale.contains("utf8") }
    }

    pub(super) fn paint(self, mood: Mood, text: &str) -> String {
        let style = match mood {
            Mood::Plain => return text.to_owned(),
            Mood::Good => AnsiColor::Green.on_default(),
            Mood::Warning => AnsiColor::Yellow.on_default(),
            Mood::Bad => AnsiColor::Red.on_default().bold(),
            Mood::Faint => Style::new().dimmed(),
            Mood::Strong => Style::new().bold(),
        };
        if self.colour && !text.is_empty() {
            return format!("{style}{text}{style:#}");
        }
        text.to_owned()
    }

    /// A glyph, or what stands for it in ASCII.
    pub(super) fn glyph(self, glyph: &'static str) -> &'static str {
        if self.unicode {
            return glyph;
        }
        match glyph {
            "✗" => "x",
            "✓" => "+",
            "·" => "-",
            "→" => "->",
            other => other,
        }
    }

    /// Own words with glyphs in them, made fit for the terminal.
    pub(super) fn fit(self, text: &str) -> String {
        if self.unicode {
            return text.to_owned();
        }
        text.replace('→', "->").replace('…', "...").replace('✗', "x").replace('✓', "+")
    }
}

/// Columns that stand below each other, whatever the width of their characters.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<(Mood, String)>>,
}

impl Table {
    pub(super) fn row(&mut self, cells: Vec<(Mood, String)>) {
        self.rows.push(cells);
    }

    /// One line for each row, columns `gap` spaces apart; nothing trails.
    pub(super) fn lines(&self, terminal: Terminal, gap: usize) -> Vec<String> {
        self.lines_within(terminal, gap, usize::MAX)
    }

    /// As [`Self::lines`]; a cell that is wider than `width_max` moves what is behind it in its own row alone.
    pub(super) fn lines_within(
        &self,
        terminal: Terminal,
        gap: usize,
        width_max: usize,
    ) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widths = cells.map(|(_, text)| text.width()).filter(|it| *it <= width_max);
            widths.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.rows.iter().map(|row| line(row, &widths, terminal, gap)).collect()
    }
}

fn line(row: &[(Mood, String)], widths: &[usize], terminal: Terminal, gap: usize) -> String {
    let mut line = String::new();
    let mut owed = 0;
    for ((mood, text), width) in row.iter().zip(widths) {
        if !text.is_empty() {
            line.push_str(&" ".repeat(owed));
            line.push_str(&terminal.paint(*mood, text));
            owed = 0;
        }
        // A column that is empty in every row takes no room.
        let taken = (*width).max(text.width());
        owed += if taken == 0 { 0 } else { taken - text.width() + gap };
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_glyphs_only_where_they_can_be_seen() {
        let with = |choice, is_terminal, set: &'static [(&str, &str)]| {
            Terminal::of(choice, is_terminal, move |name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, it)| (*it).to_owned())
            })
        };
        assert!(with(Colour::Auto, true, &[("LANG", "en_US.UTF-8")]).colour);
        assert!(!with(Colour::Auto, false, &[]).colour);
        assert!(!with(Colour::Auto, true, &[("NO_COLOR", "1")]).colour);
        assert!(with(Colour::Auto, true, &[("NO_COLOR", "")]).colour);
        assert!(!with(Colour::Auto, true, &[("TERM", "dumb")]).colour);
        assert!(with(Colour::Always, false, &[("NO_COLOR", "1")]).colour);
        assert!(with(Colour::Never, true, &[("LANG", "de_DE.utf8")]).unicode);
        assert!(!with(Colour::Auto, true, &[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]).unicode);
        assert!(!with(Colour::Auto, true, &[]).unicode);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let terminal = Terminal { colour: false, unicode: true };
        let mut table = Table::default();
        let plain = |cells: &[&str]| {
            cells.iter().map(|it| (Mood::Plain, (*it).to_owned())).collect::<Vec<_>>()
        };
        table.row(plain(&["✗", "agent/日本", "", "down", ""]));
        table.row(plain(&["!", "agent/x", "", "up", "#1"]));
        assert_eq!(table.lines(terminal, 2), ["✗  agent/日本  down", "!  agent/x     up    #1"]);
        let mut uneven = Table::default();
        uneven.row(plain(&["a", "far too wide", "b"]));
        uneven.row(plain(&["a", "wide", "b"]));
        uneven.row(plain(&["a", "", "b"]));
        let lines = uneven.lines_within(terminal, 2, 4);
        assert_eq!(lines, ["a  far too wide  b", "a  wide  b", "a        b"]);
        let painted = Terminal { colour: true, unicode: true };
        let mut table = Table::default();
        table.row(vec![(Mood::Good, "ok".to_owned()), (Mood::Plain, "then".to_owned())]);
        assert_eq!(table.lines(painted, 1), ["\u{1b}[32mok\u{1b}[0m then"]);
    }
}
