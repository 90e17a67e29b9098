//! What `${..}` brought into a plugin's configuration, to be taken out of what the plugin says about it.
//!
//! A plugin quotes its configuration, because the operator has to find the mistake. But it cannot know which of its
//! values the operator wrote, and which came from a variable or a file and may be a secret. So whatever a plugin says
//! in `configure` is shown with `${..}` in the place of such a value.

use std::borrow::Cow;

use serde_json::Value;

/// Every spelling of the values, the longest first, with what was written in their place.
#[derive(Default)]
pub struct Substitutions(Vec<(String, String)>);

impl Substitutions {
    /// Takes what was written, each with the value that took its place.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Substitutions {
        let mut found: Vec<(String, String)> = Vec::new();
        for (written, value) in pairs {
            // What is written anyway, such as a default, is shown anyway.
            let hidden = spellings(value).into_iter().filter(|one| !one.is_empty() && !written.contains(one.as_str()));
            found.extend(hidden.map(|one| (one, written.to_owned())));
        }
        found.sort_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        found.dedup_by(|(one, _), (other, _)| one == other);
        Substitutions(found)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with `${..}` in the place of the values, whole or, if they are long, truncated.
    pub fn undo<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut pieces = vec![Piece::Said(text)];
        // All whole values come first: a value may begin like a longer one.
        for least in [usize::MAX, RECOGNIZED_CHARACTERS] {
            for (value, written) in &self.0 {
                let beginning = beginning(value, least);
                if text.contains(beginning) && !written.contains(beginning) {
                    let replaced = pieces.into_iter().flat_map(|piece| match piece {
                        Piece::Said(text) => split(text, value, beginning, written),
                        Piece::Written(_) => vec![piece],
                    });
                    pieces = replaced.collect();
                }
            }
        }
        let texts = pieces.iter().map(|piece| match piece {
            Piece::Said(text) | Piece::Written(text) => *text,
        });
        Cow::Owned(texts.collect())
    }

    /// Whether a text that [`Substitutions::undo`] gave has something written in it.
    pub fn show_in(&self, text: &str) -> bool {
        self.0.iter().any(|(_, written)| text.contains(written.as_str()))
    }
}

#[derive(Clone, Copy)]
enum Piece<'a> {
    Said(&'a str),
    Written(&'a str),
}

/// Cuts out each run of characters that begins like `value`, at least with `beginning`.
fn split<'a>(text: &'a str, value: &str, beginning: &str, written: &'a str) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, found)) = rest.find(beginning).and_then(|at| rest.split_at_checked(at)) {
        let same = found.chars().zip(value.chars()).take_while(|(one, other)| one == other);
        let length: usize = same.map(|(one, _)| one.len_utf8()).sum();
        pieces.extend([Piece::Said(before), Piece::Written(written)]);
        rest = found.get(length..).unwrap_or_default();
    }
    pieces.push(Piece::Said(rest));
    pieces
}

/// The first characters of a value, at most `count`.
fn beginning(value: &str, count: usize) -> &str {
    value.char_indices().nth(count).and_then(|(end, _)| value.get(..end)).unwrap_or(value)
}

/// A value as it is, without the blanks around it, and as Rust, most messages and JSON quote it.
fn spellings(value: &str) -> [String; 5] {
    let inner = |quoted: String| {
        let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        inner.map(str::to_owned).unwrap_or_default()
    };
    [
        value.to_owned(),
        value.trim().to_owned(),
        inner(format!("{value:?}")),
        value.chars().flat_map(char::escape_debug).collect(),
        inner(Value::from(value).to_string()),
    ]
}

/// A message may truncate a long value; so many characters of its beginning are enough to recognize it.
const RECOGNIZED_CHARACTERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_they_were_written() {
        let long = "0123456789abcdef0123456789abcdef-and-more";
        let pairs = [
            ("${S}", "hunter2"),
            ("id-${S}:x", "id-hunter2:x"),
            ("${LONGER}", "hunter2-and-3"),
            ("${QUOTED}", "it's \"a\"\n\u{1}é\\"),
            ("${BLANKS}", " blanks\n"),
            ("${EMPTY}", ""),
            ("${DEFAULT:-plain}", "plain"),
            ("${LONG}", long),
            ("${LONGEST}", "0123456789abcdef0123456789abcdef-and-even-more"),
            ("${SELF}", "SELF"),
        ];
        let substitutions = Substitutions::new(pairs);
        for (said, expected) in [
            ("nothing of it", "nothing of it"),
            ("\"hunter2\" and hunter2hunter2", "\"${S}\" and ${S}${S}"),
            ("hunter2-and-3, hunter2-and-4", "${LONGER}, ${S}-and-4"),
            ("id-hunter2:x, id-hunter2:y", "id-${S}:x, id-${S}:y"),
            ("it's \"a\"\n\u{1}é\\", "${QUOTED}"),
            (r#""it's \"a\"\n\u{1}é\\""#, "\"${QUOTED}\""),
            (r#""it\'s \"a\"\n\u{1}é\\""#, "\"${QUOTED}\""),
            (r#""it's \"a\"\n\u0001é\\""#, "\"${QUOTED}\""),
            ("blanks and  blanks\n", "${BLANKS} and ${BLANKS}"),
            ("plain SELF", "plain SELF"),
            ("0123456789abcdef0123456789abcdef-and-more", "${LONG}"),
            ("0123456789abcdef0123456789abcdef-and-even-more", "${LONGEST}"),
            ("0123456789abcdef0123456789abcdef-an… 0123456789abcdef", "${LONGEST}… 0123456789abcdef"),
        ] {
            let shown = substitutions.undo(said);
            assert_eq!(shown, expected, "{said}");
            assert_eq!(substitutions.show_in(&shown), shown != said, "{said}");
        }
        assert_eq!(Substitutions::default().undo("hunter2"), "hunter2");
    }
}
