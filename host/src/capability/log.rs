//! `log`: a plugin's lines, made harmless before they reach a log.
//!
//! A plugin's text often contains what a client sent. So it is truncated, every character that a terminal or a log
//! reader could interpret as a command or a new record is escaped, and one exchange may write only a limited number of
//! lines; further ones are counted, and the count is logged instead.

/// How urgent a line is, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// How many lines one exchange may still write. One value per exchange and plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineLimiter {
    left: u32,
    dropped: u32,
}

impl LineLimiter {
    /// `lines` is [`DEFAULT_LINES`] unless the operator says otherwise.
    pub fn new(lines: u32) -> LineLimiter {
        LineLimiter { left: lines, dropped: 0 }
    }

    /// Whether one more line may be written. Ask before formatting it.
    pub fn admit(&mut self) -> bool {
        let admitted = self.left > 0;
        if admitted {
            self.left -= 1;
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
        admitted
    }

    /// How many lines were refused.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

impl Default for LineLimiter {
    fn default() -> LineLimiter {
        LineLimiter::new(DEFAULT_LINES)
    }
}

/// One line of at most [`MAX_LINE_BYTES`]: the message, then each field as ` name=value`, with the value in quotation
/// marks if it is empty or contains a space, `"` or `=`. A truncated line ends in `…`.
pub fn line(message: &str, fields: &[(String, String)]) -> String {
    let mut line = Line { text: String::with_capacity(message.len().min(MAX_LINE_BYTES) + 64), is_cut: false };
    line.push_escaped(message, false);
    for (name, value) in fields {
        line.push(" ");
        line.push_escaped(name, false);
        line.push("=");
        let is_quoted = value.is_empty() || value.contains([' ', '"', '=']);
        line.push(if is_quoted { "\"" } else { "" });
        line.push_escaped(value, is_quoted);
        line.push(if is_quoted { "\"" } else { "" });
    }
    if line.is_cut {
        line.text.push('…');
    }
    line.text
}

struct Line {
    text: String,
    is_cut: bool,
}

impl Line {
    fn push(&mut self, text: &str) {
        self.is_cut |= self.text.len() + text.len() > MAX_LINE_BYTES - '…'.len_utf8();
        if !self.is_cut {
            self.text.push_str(text);
        }
    }

    fn push_escaped(&mut self, text: &str, is_quoted: bool) {
        for character in text.chars() {
            match character {
                '\n' => self.push("\\n"),
                '\r' => self.push("\\r"),
                '\t' => self.push("\\t"),
                '\\' => self.push("\\\\"),
                '"' if is_quoted => self.push("\\\""),
                _ if is_risky(character) => self.push(&format!("\\u{{{:x}}}", u32::from(character))),
                _ => self.push(character.encode_utf8(&mut [0; 4])),
            }
            // A plugin may send megabytes; nothing after the cut is processed.
            if self.is_cut {
                return;
            }
        }
    }
}

/// Control characters (ESC begins an ANSI sequence), line and paragraph separators, and the marks that change the
/// direction of text on a screen.
fn is_risky(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 4 << 10;
/// Lines per exchange and plugin.
pub const DEFAULT_LINES: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, fields: &[(&str, &str)], expected: &str) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(line(message, &fields), expected);
    }

    #[test]
    fn lines() {
        check("hello", &[], "hello");
        check(
            "hello",
            &[("a", "1"), ("b", "two words"), ("c", ""), ("d", "x=\"y\"")],
            r#"hello a=1 b="two words" c="" d="x=\"y\"""#,
        );
        check("a\nb\r\tc\\n", &[], r"a\nb\r\tc\\n");
        check("\u{1b}[31mred\u{7}\0\u{9b}", &[("x\n", "\u{1b}]0;t")], r"\u{1b}[31mred\u{7}\u{0}\u{9b} x\n=\u{1b}]0;t");
        check("\u{202e}evil\u{2028}", &[], r"\u{202e}evil\u{2028}");
        check("größe 漢字 🦀", &[], "größe 漢字 🦀");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        for text in ["x".repeat(MAX_LINE_BYTES * 300), "漢".repeat(5_000), "\n".repeat(5_000), "🦀".repeat(3_000)] {
            for fields in [vec![], vec![(text.clone(), text.clone())]] {
                let line = line(&text, &fields);
                assert!((MAX_LINE_BYTES - 8..=MAX_LINE_BYTES).contains(&line.len()), "{}", line.len());
                assert!(line.ends_with('…'));
            }
        }
        assert_eq!(line(&"x".repeat(MAX_LINE_BYTES - 3), &[]).len(), MAX_LINE_BYTES - 3);
    }

    #[test]
    fn lines_over_the_limit_are_counted() {
        let mut limiter = LineLimiter::new(2);
        let admitted: Vec<_> = (0..5).map(|_| limiter.admit()).collect();
        assert_eq!(admitted, [true, true, false, false, false]);
        assert_eq!(limiter.dropped(), 3);
        assert!(Level::Error > Level::Info && Level::Debug > Level::Trace);
    }
}
