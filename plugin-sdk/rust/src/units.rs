//! Quantities with their unit, as the operator writes them: `"5s"`, `"64KiB"`, `"100/min"`.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time: a whole number and `ms`, `s`, `m`, `h` or `d`, such as `"250ms"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// # Errors
    /// Says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a length of time such as \"250ms\", \"5s\", \"2m\", \"1h\" or \"1d\"");
        let (number, unit) = split_number(text).ok_or_else(wrong)?;
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        Ok(Self(Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(wrong)?)))
    }
}

/// A number of bytes: `"512B"`, `"64KiB"`, `"1MiB"`, `"10MB"`; at most 1 TiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// # Errors
    /// Says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size such as \"512B\", \"64KiB\", \"1MiB\" or \"10MB\"");
        let (number, unit) = split_number(text).ok_or_else(wrong)?;
        let unit_bytes: u64 = match unit {
            "B" => 1,
            "KB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(wrong()),
        };
        let bytes = number.checked_mul(unit_bytes).filter(|bytes| *bytes <= 1 << 40);
        Ok(Self(bytes.ok_or_else(|| format!("{text:?} is more than 1TiB"))?))
    }
}

/// How many in what time: `"100/min"`, `"5/s"`, `"1000/h"`, `"10/10s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    /// At least a millisecond, at most 31 days, so that it fits what the limiter takes.
    pub per: Duration,
}

impl Rate {
    /// # Errors
    /// Says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a rate such as \"5/s\", \"100/min\", \"1000/h\" or \"10/10s\"");
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count = match split_number(count) {
            Some((count, "")) if count > 0 => u32::try_from(count).map_err(|_| wrong())?,
            _ => return Err(wrong()),
        };
        let per = match per {
            "s" | "sec" | "second" => Duration::from_secs(1),
            "m" | "min" | "minute" => Duration::from_secs(60),
            "h" | "hour" => Duration::from_secs(3600),
            "d" | "day" => DAY,
            other => Span::parse(other).map_err(|_| wrong())?.0,
        };
        if per.is_zero() || per > 31 * DAY {
            return Err(format!("{text:?}: the time of a rate is between 1ms and 31d"));
        }
        Ok(Self { count, per })
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit))
}

const DAY: Duration = Duration::from_secs(86_400);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Cow::<str>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Cow::<str>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Cow::<str>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = self.0.as_millis();
        match ms % 1000 {
            0 => serializer.collect_str(&format_args!("{}s", ms / 1000)),
            _ => serializer.collect_str(&format_args!("{ms}ms")),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = units.iter().find(|(bits, _)| self.0 > 0 && self.0.trailing_zeros() >= *bits);
        match whole {
            Some((bits, unit)) => serializer.collect_str(&format_args!("{}{unit}", self.0 >> bits)),
            None => serializer.collect_str(&format_args!("{}B", self.0)),
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|min|h|d)$",
            "description": "A length of time, such as \"250ms\", \"5s\", \"2m\", \"1h\" or \"1d\".",
        })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB|KB|MB|GB)$",
            "description": "A number of bytes, such as \"512B\", \"64KiB\", \"1MiB\" or \"10MB\".",
        })
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^0*[1-9][0-9]*/(s|sec|second|m|min|minute|h|hour|d|day|[0-9]+(ms|s|m|min|h|d))$",
            "description": "How many in what time, such as \"5/s\", \"100/min\", \"1000/h\" or \"10/10s\".",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, ms) in
            [("0s", 0), ("250ms", 250), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("1d", 86_400_000)]
        {
            assert_eq!(Span::parse(text), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 s", "1.5s", "5S", "5s ", "18446744073709551615d", "99999999999999999999s"]
        {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("10MB", 10_000_000),
            ("1TiB", 1 << 40),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "5", "MiB", "-5B", "5 MiB", "1.5MiB", "5mib", "2TiB", "5MiB ", "99999999999999999999B"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, count, ms) in [
            ("5/s", 5, 1000),
            ("100/min", 100, 60_000),
            ("1000/hour", 1000, 3_600_000),
            ("1/d", 1, 86_400_000),
            ("10/10s", 10, 10_000),
            ("1/31d", 1, 31 * 86_400_000),
        ] {
            assert_eq!(Rate::parse(text), Ok(Rate { count, per: Duration::from_millis(ms) }), "{text}");
        }
        for text in [
            "",
            "5",
            "/s",
            "0/s",
            "-1/s",
            "5/",
            "5/0s",
            "5/32d",
            "4294967296/s",
            "5/s/s",
            "5 /s",
            "1.5/s",
            "5/fortnight",
        ] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn both_are_read_from_json_text() {
        assert_eq!(serde_json::from_str::<Span>(r#""5s""#).unwrap(), Span(Duration::from_secs(5)));
        assert_eq!(serde_json::from_str::<Rate>(r#""5\/s""#).unwrap().count, 5);
        assert!(serde_json::from_str::<Rate>("5").unwrap_err().to_string().contains("string"));
        for (bytes, text) in
            [(0, "0B"), (1, "1B"), (1000, "1000B"), (1024, "1KiB"), (10 << 20, "10MiB"), (1 << 40, "1024GiB")]
        {
            assert_eq!(serde_json::to_value(Size(bytes)).unwrap(), text);
        }
        assert!(serde_json::from_str::<Span>(r#""soon""#).unwrap_err().to_string().contains("250ms"));
    }
}
