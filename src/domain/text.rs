//! Text that came from outside: bounded and stripped of what could deceive a reader, once, at the
//! door. Escaping for HTML or JSON is done by whoever writes that format.

use std::{fmt, sync::Arc};

/// Text of an agent or a person: no control and no bidirectional characters, a bounded length.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Arc<str>);

impl Text {
    /// Cleans `raw` and cuts it to `characters_max`, with an ellipsis in the last place if it was longer.
    /// Line breaks and tabs become spaces.
    pub fn clean(raw: &str, characters_max: usize) -> Self {
        let mut kept = String::with_capacity(raw.len().min(characters_max * 4));
        let mut last_at = 0;
        for (place, it) in raw.chars().filter_map(readable).enumerate() {
            if place == characters_max {
                kept.truncate(last_at);
                kept.push('…');
                break;
            }
            last_at = kept.len();
            kept.push(it);
        }
        Self(kept.trim().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn readable(it: char) -> Option<char> {
    match it {
        '\n' | '\r' | '\t' => Some(' '),
        it if it.is_control() || deceives(it) => None,
        it => Some(it),
    }
}

/// Bidirectional controls and isolates, zero-width marks, line and paragraph separators, tags.
fn deceives(it: char) -> bool {
    matches!(it,
        '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_bounded_and_cannot_turn_a_line_around() {
        for (raw, max, clean) in [
            ("refactor billing", 40, "refactor billing"),
            ("a\u{202E}b\u{0007}c\nd", 40, "abc d"),
            ("😀 fine", 40, "😀 fine"),
            ("123456", 5, "1234…"),
            ("  \u{200B} ", 40, ""),
        ] {
            assert_eq!(Text::clean(raw, max).as_str(), clean);
        }
    }
}
