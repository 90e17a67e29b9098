//! Patterns of secrets.

use std::ops::Range;

use gatewright_sdk::{config, schemars, serde};
use regex::bytes::{Regex, RegexBuilder};

/// What is masked: a built-in pattern by its name, or a regular expression.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gatewright_sdk::serde", untagged)]
#[schemars(crate = "gatewright_sdk::schemars")]
pub enum Pattern {
    /// A built-in pattern.
    Named(Named),
    /// A custom regular expression.
    Custom(Custom),
}

/// Built-in patterns.
#[config]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Email addresses.
    Email,
    /// Payment card numbers: 13 to 19 digits, in one piece or in groups of at least three separated by a space or a
    /// hyphen, with a valid check digit.
    Card,
    /// International bank account numbers with valid check digits.
    Iban,
    /// United States social security numbers, `078-05-1120`.
    UsSsn,
    /// Signed tokens, `eyJ...`.
    Jwt,
}

/// A custom regular expression.
#[config]
#[derive(Debug)]
pub struct Custom {
    /// A regular expression. Lines and strings are searched one by one, so it finds nothing that spans several.
    regex: String,
}

/// All of them, ready to search.
#[derive(Debug)]
pub(crate) struct Patterns(Vec<Search>);

#[derive(Debug)]
struct Search {
    regex: Regex,
    /// Which parts of a match are real.
    real: fn(&[u8]) -> Vec<Range<usize>>,
}

impl Patterns {
    pub(crate) fn new(patterns: Vec<Pattern>) -> Result<Self, String> {
        let numbered = patterns.into_iter().enumerate();
        let searches =
            numbered.map(|(index, pattern)| Search::new(&pattern).map_err(|why| format!("patterns.{index}: {why}")));
        searches.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with a mask for each match; `None` where there is none.
    pub(crate) fn mask(&self, text: &[u8], mask: &str) -> Option<Vec<u8>> {
        let mut masked = None;
        for search in &self.0 {
            let found = search.mask(masked.as_deref().unwrap_or(text), mask.as_bytes());
            masked = found.or(masked);
        }
        masked
    }
}

impl Search {
    fn new(pattern: &Pattern) -> Result<Self, String> {
        let text = match pattern {
            Pattern::Named(Named::Email) => r"(?-u)[a-zA-Z0-9._%+'-]{1,64}@[a-zA-Z0-9.-]{1,253}\.[a-zA-Z]{2,24}",
            Pattern::Named(Named::Card) => r"(?-u)[0-9]{3,}(?:[ -][0-9]{3,})*",
            Pattern::Named(Named::Iban) => r"(?-u)\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,}\b",
            Pattern::Named(Named::UsSsn) => r"(?-u)\b[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}\b",
            Pattern::Named(Named::Jwt) => r"(?-u)\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
            Pattern::Custom(Custom { regex }) => regex,
        };
        let regex = RegexBuilder::new(text).size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT).build();
        let regex = regex.map_err(|error| format!("{text:?} is no pattern: {error}"))?;
        if regex.is_match(b"") {
            return Err(format!("{text:?} finds something in a text of no letters"));
        }
        let real = match pattern {
            Pattern::Named(Named::Card) => cards,
            Pattern::Named(Named::Iban) => ibans,
            _ => whole,
        };
        Ok(Self { regex, real })
    }

    fn mask(&self, text: &[u8], mask: &[u8]) -> Option<Vec<u8>> {
        let mut masked = None;
        let mut done = 0;
        for found in self.regex.find_iter(text) {
            for part in (self.real)(found.as_bytes()) {
                let masked = masked.get_or_insert_with(|| Vec::with_capacity(text.len()));
                masked.extend_from_slice(text.get(done..found.start() + part.start).unwrap_or_default());
                masked.extend_from_slice(mask);
                done = found.start() + part.end;
            }
        }
        let mut masked = masked?;
        masked.extend_from_slice(text.get(done..).unwrap_or_default());
        Some(masked)
    }
}

fn whole(text: &[u8]) -> Vec<Range<usize>> {
    std::iter::once(0..text.len()).collect()
}

/// Numbers of cards, in groups of at least three digits. Other groups may stand before or behind one, so each may be its
/// beginning, and each its end.
fn cards(text: &[u8]) -> Vec<Range<usize>> {
    groups(text, 24, |part| {
        let digits = part.iter().filter(|byte| byte.is_ascii_digit()).count();
        (13..=19).contains(&digits) && is_card(part)
    })
}

/// The same for account numbers, which begin where the text does.
fn ibans(text: &[u8]) -> Vec<Range<usize>> {
    groups(text, 42, |part| (15..=34).contains(&part.iter().filter(|byte| **byte != b' ').count()) && is_iban(part))
}

/// The runs of groups that are what is looked for, from the left, as long as possible and within `longest` bytes.
fn groups(text: &[u8], longest: usize, is_real: impl Fn(&[u8]) -> bool) -> Vec<Range<usize>> {
    let is_gap = |byte: &u8| matches!(byte, b' ' | b'-');
    let starts = (0..text.len()).filter(|at| *at == 0 || text.get(at - 1).is_some_and(is_gap));
    let mut found: Vec<Range<usize>> = Vec::new();
    for start in starts {
        if found.last().is_some_and(|last| start < last.end) {
            continue;
        }
        let most = text.len().min(start + longest);
        let mut ends = (start + 1..=most).rev().filter(|end| *end == text.len() || text.get(*end).is_some_and(is_gap));
        if let Some(end) = ends.find(|end| text.get(start..*end).is_some_and(&is_real)) {
            found.push(start..end);
        }
    }
    found
}

/// ISO/IEC 7812: the check digit makes the sum a multiple of ten.
fn is_card(text: &[u8]) -> bool {
    let digits = text.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let doubled = |digit: u32| digit * 2 / 10 + digit * 2 % 10;
    let sum: u32 = digits.enumerate().map(|(place, digit)| if place % 2 == 0 { digit } else { doubled(digit) }).sum();
    sum.is_multiple_of(10)
}

/// ISO 13616: read as a number, with the first four behind the others, it leaves one over 97.
fn is_iban(text: &[u8]) -> bool {
    let signs: Vec<u8> = text.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
    let (front, back) = signs.split_at(signs.len().min(4));
    let rest = back.iter().chain(front).fold(0_u32, |rest, sign| match sign {
        b'0'..=b'9' => (rest * 10 + u32::from(sign - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
    });
    rest == 1 && text.first().is_some_and(u8::is_ascii_uppercase)
}

/// What an expression may compile to, and what it may use while it searches.
const SIZE_LIMIT: usize = 1 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn masked(pattern: Pattern, text: &str) -> Option<String> {
        let patterns = Patterns::new(vec![pattern]).unwrap();
        patterns.mask(text.as_bytes(), "#").map(|masked| String::from_utf8(masked).unwrap())
    }

    #[test]
    fn kinds() {
        for (kind, text, expected) in [
            (Named::Email, "to ada@example.org, bob.b+x@mail.example.co.uk!", Some("to #, #!")),
            (Named::Email, "a@b, @example.org, ada@", None),
            (Named::Card, "4111111111111111", Some("#")),
            (Named::Card, "card 4111-1111-1111-1111.", Some("card #.")),
            (Named::Card, "3782 822463 10005", Some("#")),
            (Named::Card, "4111111111111112", None),
            (Named::Card, "411111111111", None),
            (Named::Card, "1 4111111111111111 22", Some("1 # 22")),
            (Named::Card, "4111111111111111 5500-0000-0000-0004", Some("# #")),
            (Named::Iban, "DE89 3704 0044 0532 0130 00 is mine", Some("# is mine")),
            (Named::Iban, "GB82WEST12345698765432", Some("#")),
            (Named::Iban, "DE89 3704 0044 0532 0130 00 AND MORE", Some("# AND MORE")),
            (Named::Iban, "GB83WEST12345698765432", None),
            (Named::UsSsn, "078-05-1120", Some("#")),
            (Named::UsSsn, "1078-05-11200", None),
            (Named::Jwt, "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", Some("Bearer #")),
        ] {
            assert_eq!(masked(Pattern::Named(kind), text).as_deref(), expected, "{kind:?} {text}");
        }
    }

    #[test]
    fn expressions_of_one_s_own() {
        let own = |regex: &str| Pattern::Custom(Custom { regex: regex.to_owned() });
        assert_eq!(masked(own(r"(?i)größe \d+"), "GRÖSSE 1 Größe 12"), Some("GRÖSSE 1 #".to_owned()));
        assert_eq!(masked(own("a"), "banana"), Some("b#n#n#".to_owned()));
        for bad in ["(", "a*", "", "(a{1000}){1000}", "(?=a)", r"(a)\1"] {
            assert!(Patterns::new(vec![own(bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_after_the_other() {
        let patterns = Patterns::new(vec![Pattern::Named(Named::Email), Pattern::Named(Named::UsSsn)]).unwrap();
        let both = patterns.mask(b"ada@example.org 078-05-1120", "#").unwrap();
        assert_eq!(both, b"# #");
        assert_eq!(patterns.mask(b"nothing here", "#"), None);
    }
}
