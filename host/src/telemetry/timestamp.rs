//! Points in time as text: RFC 3339 in UTC, with microseconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// Appends `2026-01-31T23:59:59.000123Z`. A time before 1970 becomes 1970, one after 9999 the end of 9999.
pub fn write_rfc3339(out: &mut Vec<u8>, time: SystemTime) {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs().min(LAST_SECOND);
    let (days, second_of_day) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil_from_days(days);
    let micros = since_epoch.subsec_micros();

    let mut text = *b"0000-00-00T00:00:00.000000Z";
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], second_of_day / 3600);
    digits(&mut text[14..16], second_of_day / 60 % 60);
    digits(&mut text[17..19], second_of_day % 60);
    digits(&mut text[20..26], u64::from(micros));
    out.extend_from_slice(&text);
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar. The algorithm counts
/// from 0000-03-01, so that the leap day is the last of its year ("chrono-Compatible Low-Level Date Algorithms",
/// H. Hinnant, `civil_from_days`).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Fills all of `place` with the last digits of `number`.
fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

const DAY: u64 = 86_400;

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn text(seconds: u64, micros: u64) -> String {
        let mut out = Vec::new();
        write_rfc3339(&mut out, UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn known_times() {
        for (seconds, micros, expected) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, 1, "2000-03-01T00:00:00.000001Z"),
            (1_234_567_890, 123_456, "2009-02-13T23:31:30.123456Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
            (LAST_SECOND, 0, "9999-12-31T23:59:59.000000Z"),
            (LAST_SECOND + 1, 0, "9999-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(text(seconds, micros), expected);
        }
    }

    #[test]
    fn agrees_with_the_http_date_of_every_day_for_two_centuries() {
        for day in 0..73_000 {
            let time = UNIX_EPOCH + Duration::from_secs(day * DAY);
            let ours = text(day * DAY, 0);
            let parsed = httpdate::fmt_http_date(time);
            let (year, day_of_month) = (&parsed[12..16], &parsed[5..7]);
            assert_eq!((&ours[0..4], &ours[8..10]), (year, day_of_month), "day {day}");
        }
    }

    #[test]
    fn before_1970_is_1970() {
        let mut out = Vec::new();
        write_rfc3339(&mut out, UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(out, b"1970-01-01T00:00:00.000000Z");
    }
}
