//! Days and months of the Gregorian calendar, at an offset from UTC.

use std::{borrow::Cow, time::Duration};

use gatewright_sdk::{schemars, serde};

/// The period of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Period {
    Day,
    Month,
}

impl Period {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The start and the end of the period that contains `now`, all since 1970 (UTC).
    pub(crate) fn around(self, now: Duration, zone: Zone) -> (Duration, Duration) {
        let local = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_add(zone.seconds());
        let today = local.div_euclid(DAY);
        let (begins, ends) = match self {
            Self::Day => (today, today + 1),
            Self::Month => {
                let (year, month) = month_of(today);
                let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                (first_day(year, month), first_day(next.0, next.1))
            }
        };
        let utc = |day: i64| Duration::from_secs(u64::try_from(day * DAY - zone.seconds()).unwrap_or(0));
        (utc(begins), utc(ends))
    }
}

const DAY: i64 = 86_400;

/// The year and the month of a day, counted from 1970-01-01. Computed in eras of 400 years that begin in March, so that
/// a leap day is the last day of a year (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn month_of(day: i64) -> (i64, i64) {
    let since = day + 719_468;
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_based = (5 * of_year + 2) / 153;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    (year + era * 400 + i64::from(month <= 2), month)
}

/// The first day of a month, counted from 1970-01-01.
fn first_day(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// An offset from UTC in minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zone(i16);

impl Zone {
    /// # Errors
    /// Says what is expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not \"Z\" or an offset such as \"+02:00\", at most 14 hours");
        if text == "Z" {
            return Ok(Self(0));
        }
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(wrong()),
        };
        let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
        let number = |digits: &str| match digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<i16>().map_err(|_| wrong()),
            false => Err(wrong()),
        };
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let offset = hours * 60 + minutes;
        if minutes > 59 || offset > 14 * 60 {
            return Err(wrong());
        }
        Ok(Self(sign * offset))
    }

    fn seconds(self) -> i64 {
        i64::from(self.0) * 60
    }
}

impl<'de> serde::Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs();
        match minutes {
            0 => serializer.serialize_str("Z"),
            _ => serializer.collect_str(&format_args!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)),
        }
    }
}

impl schemars::JsonSchema for Zone {
    fn schema_name() -> Cow<'static, str> {
        "Zone".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// 2026-03-01T00:00:00Z and the like, as printed by `date -d`.
    #[test]
    fn periods() {
        for (period, zone, now, begins, ends) in [
            (Period::Day, "Z", 0, 0, 86_400),
            (Period::Day, "Z", 1_772_323_199, 1_772_236_800, 1_772_323_200),
            (Period::Day, "Z", 1_772_323_200, 1_772_323_200, 1_772_409_600),
            (Period::Day, "+02:00", 1_772_315_999, 1_772_229_600, 1_772_316_000),
            (Period::Day, "+02:00", 1_772_316_000, 1_772_316_000, 1_772_402_400),
            (Period::Day, "-05:30", 1_772_323_200, 1_772_256_600, 1_772_343_000),
            // February 2026, and the leap year 2028.
            (Period::Month, "Z", 1_772_323_199, 1_769_904_000, 1_772_323_200),
            (Period::Month, "Z", 1_772_323_200, 1_772_323_200, 1_775_001_600),
            (Period::Month, "Z", 1_835_395_200, 1_832_976_000, 1_835_481_600),
            // The turn of the year.
            (Period::Month, "Z", 1_798_761_599, 1_796_083_200, 1_798_761_600),
            (Period::Month, "Z", 1_798_761_600, 1_798_761_600, 1_801_440_000),
            (Period::Month, "+14:00", 1_798_711_200, 1_798_711_200, 1_801_389_600),
        ] {
            let (from, to) = period.around(Duration::from_secs(now), Zone::parse(zone).unwrap());
            assert_eq!((from.as_secs(), to.as_secs()), (begins, ends), "{period:?} {zone} {now}");
        }
    }

    #[test]
    fn every_day_is_in_its_month() {
        let mut months = 0;
        for day in 0..146_097 {
            let now = Duration::from_secs(day * 86_400 + 43_200);
            let (from, to) = Period::Month.around(now, Zone::default());
            assert!(from <= now && now < to);
            let days = (to - from).as_secs() / 86_400;
            assert!((28..=31).contains(&days), "{day}: {days}");
            months += usize::from(from.as_secs() == day * 86_400);
        }
        assert_eq!(months, 400 * 12);
    }

    #[test]
    fn zones() {
        for (text, minutes) in [("Z", 0), ("+00:00", 0), ("+02:00", 120), ("-05:30", -330), ("+14:00", 840)] {
            assert_eq!(Zone::parse(text), Ok(Zone(minutes)), "{text}");
        }
        for text in [
            "",
            "UTC",
            "+2",
            "+2:00",
            "02:00",
            "+02:60",
            "+14:01",
            "+99:00",
            "+02:00:00",
            "Europe/Rome",
            "\u{2212}05:00",
        ] {
            assert!(Zone::parse(text).is_err(), "{text}");
        }
    }
}
