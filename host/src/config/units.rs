//! Amounts with units, as people write them: durations, sizes and rates.
//!
//! Each is a newtype over the value that the code computes with, read from text and shown as text. A bare number is
//! refused: `"timeout": 30` does not say thirty of what, and gateways differ (nginx: seconds, haproxy: milliseconds).
//! Bounds keep every later sum far from overflow.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::text::{Written, quoted, written_as_text};

/// A length of time: `"250ms"`, `"5s"`, `"2m"`, `"1h"`, `"1d"`. From one millisecond to 365 days.
///
/// Zero is refused, because it means "at once" to some software and "never" to other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

impl Duration {
    pub const fn milliseconds(milliseconds: u64) -> Duration {
        Duration(std::time::Duration::from_millis(milliseconds))
    }

    pub const fn seconds(seconds: u64) -> Duration {
        Duration(std::time::Duration::from_secs(seconds))
    }

    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Duration, String> {
        let milliseconds = amount(text, &DURATION_UNITS)?;
        if milliseconds == 0 {
            return Err("zero is not a duration here; leave the key out for its default".to_owned());
        }
        if milliseconds > LONGEST_MILLISECONDS {
            return Err("longer than 365 days".to_owned());
        }
        Ok(Duration::milliseconds(milliseconds))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A Duration is at most 365 days, so the cast loses no bits.
        show(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Written for Duration {
    const FORMAT: &'static str = "gateway-duration";
    const NOUN: &'static str = "a duration";
    const HINT: &'static str = "a whole number and one of the units ms, s, m, h, d: \"250ms\", \"5s\", \"2m\"";
    const PATTERN: Option<&'static str> = Some("^[0-9]+(ms|s|m|h|d)$");
    const EXAMPLES: &'static [&'static str] = &["250ms", "5s", "2m", "1h"];
}
written_as_text!(Duration);

/// A number of bytes: `"512B"`, `"64KiB"`, `"1MiB"`, `"10MB"`. At most 1 TiB; zero is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    pub const fn bytes(bytes: u64) -> Size {
        Size(bytes)
    }

    pub const fn kibibytes(kibibytes: u64) -> Size {
        Size(kibibytes.saturating_mul(1 << 10))
    }

    pub const fn mebibytes(mebibytes: u64) -> Size {
        Size(mebibytes.saturating_mul(1 << 20))
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// The same as a `usize`; a larger value becomes its maximum.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let bytes = amount(text, &SIZE_UNITS)?;
        if bytes > LARGEST_BYTES {
            return Err("more than 1TiB".to_owned());
        }
        Ok(Size(bytes))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0, &SIZE_UNITS)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Written for Size {
    const FORMAT: &'static str = "gateway-size";
    const NOUN: &'static str = "a size";
    const HINT: &'static str =
        "a whole number and one of the units B, KiB, MiB, GiB, KB, MB, GB: \"512B\", \"64KiB\", \"10MB\"";
    const PATTERN: Option<&'static str> = Some("^[0-9]+(B|KiB|MiB|GiB|TiB|KB|MB|GB)$");
    const EXAMPLES: &'static [&'static str] = &["64KiB", "1MiB", "10MB"];
}
written_as_text!(Size);

/// A count per unit of time: `"5/s"`, `"100/min"`, `"1000/h"`, `"10000/d"`. The count is from 1 to 1,000,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    pub count: u32,
    pub per: std::time::Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let Some((count, unit)) = text.split_once('/') else {
            return Err("there is no \"/\" between the count and the unit of time".to_owned());
        };
        let Some((_, seconds)) = RATE_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("the unit {} is unknown", quoted(unit)));
        };
        let count = whole_number(count)?;
        let count = u32::try_from(count).ok().filter(|count| (1..=MOST_PER_UNIT).contains(count));
        let Some(count) = count else {
            return Err(format!("the count is not from 1 to {MOST_PER_UNIT}"));
        };
        Ok(Rate { count, per: std::time::Duration::from_secs(*seconds) })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = RATE_UNITS.iter().find(|(_, seconds)| *seconds == self.per.as_secs());
        match unit {
            Some((unit, _)) => write!(f, "{}/{unit}", self.count),
            None => write!(f, "{}/{}s", self.count, self.per.as_secs()),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Written for Rate {
    const FORMAT: &'static str = "gateway-rate";
    const NOUN: &'static str = "a rate";
    const HINT: &'static str = "a count, a slash and one of s, min, h, d: \"5/s\", \"100/min\"";
    const PATTERN: Option<&'static str> = Some("^[0-9]+/(s|min|h|d)$");
    const EXAMPLES: &'static [&'static str] = &["5/s", "100/min", "1000/h"];
}
written_as_text!(Rate);

type Units<const N: usize> = [(&'static str, u64); N];

/// Reads `text` as a whole number with one of `units`, in the smallest of them.
fn amount<const N: usize>(text: &str, units: &Units<N>) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = if number.is_empty() { Err(NO_NUMBER.to_owned()) } else { whole_number(number) }?;
    if unit.is_empty() {
        return Err("the unit is missing".to_owned());
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_unit(unit, units));
    };
    number.checked_mul(*factor).ok_or_else(|| TOO_LARGE.to_owned())
}

fn whole_number(digits: &str) -> Result<u64, String> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NO_NUMBER.to_owned());
    }
    digits.parse().map_err(|_| TOO_LARGE.to_owned())
}

fn unknown_unit<const N: usize>(unit: &str, units: &Units<N>) -> String {
    if unit.starts_with(['.', ',']) {
        return "only whole numbers are read; use a smaller unit".to_owned();
    }
    match units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim())) {
        Some((name, _)) => format!("the unit is written \"{name}\", right after the number"),
        None => format!("the unit {} is unknown", quoted(unit)),
    }
}

/// Writes `value` in the largest unit that divides it.
fn show<const N: usize>(f: &mut fmt::Formatter<'_>, value: u64, units: &Units<N>) -> fmt::Result {
    let fitting = units
        .iter()
        .filter(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
        .max_by_key(|(_, factor)| *factor);
    let (unit, factor) = fitting.unwrap_or(&units[0]);
    write!(f, "{}{unit}", value / factor)
}

const DURATION_UNITS: Units<5> = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// Binary units come first, so that a size that both divide is shown in the binary one.
const SIZE_UNITS: Units<8> = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];
const RATE_UNITS: [(&str, u64); 4] = [("s", 1), ("min", 60), ("h", 3_600), ("d", 86_400)];

const LONGEST_MILLISECONDS: u64 = 365 * 86_400_000;
const LARGEST_BYTES: u64 = 1 << 40;
const MOST_PER_UNIT: u32 = 1_000_000_000;
const NO_NUMBER: &str = "it does not begin with a whole number";
const TOO_LARGE: &str = "the number is too large";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("250ms", 250), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("1d", 86_400_000), ("007s", 7_000)]
        {
            assert_eq!(text.parse(), Ok(Duration::milliseconds(milliseconds)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            " 5s",
            "5S",
            "-5s",
            "+5s",
            "1.5s",
            "5sec",
            "0s",
            "366d",
            "1m30s",
            "٥s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text:?} must be refused");
        }
        assert_eq!("5S".parse::<Duration>().unwrap_err(), "the unit is written \"s\", right after the number");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("10MB", 10_000_000), ("1TiB", 1 << 40)]
        {
            assert_eq!(text.parse(), Ok(Size::bytes(bytes)), "{text}");
        }
        for text in ["", "64", "64k", "64kib", "64 KiB", "-1B", "2TiB", "1e3B", "1.5MiB", "18446744073709551615GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn rates() {
        let rate: Rate = "100/min".parse().unwrap();
        assert_eq!((rate.count, rate.per.as_secs()), (100, 60));
        for text in ["", "100", "/s", "0/s", "100/", "100/m", "100 / s", "1.5/s", "-1/s", "4294967296/s", "1/s/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for text in ["1ms", "1500ms", "90s", "3m", "1h", "365d"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
        for text in ["0B", "1023B", "64KiB", "5MB", "1TiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["5/s", "100/min", "7/h", "1/d"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }
}
