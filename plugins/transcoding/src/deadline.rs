//! `grpc-timeout`: one to eight digits and a unit.

use std::time::Duration;

/// The time limit in a header: in gRPC's format (`250m`), or a number of seconds (`0.25`). `None` if it is neither.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count = || digits.parse::<u64>().ok().filter(|_| is_number);
    match unit {
        "H" => count().map(|count| Duration::from_secs(count * 3600)),
        "M" => count().map(|count| Duration::from_secs(count * 60)),
        "S" => count().map(Duration::from_secs),
        "m" => count().map(Duration::from_millis),
        "u" => count().map(Duration::from_micros),
        "n" => count().map(Duration::from_nanos),
        _ => {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let seconds = text.parse::<f64>().ok().filter(|_| is_plain)?;
            Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST)
        }
    }
}

/// In gRPC's format, never longer than the given time.
#[must_use]
pub fn text(time: Duration) -> String {
    const MOST: u128 = 99_999_999;
    for (unit, amount) in [("n", time.as_nanos()), ("u", time.as_micros()), ("m", time.as_millis())] {
        if amount <= MOST {
            return format!("{amount}{unit}");
        }
    }
    format!("{}S", u128::from(time.as_secs()).min(MOST))
}

const LONGEST: Duration = Duration::from_secs(99_999_999);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (header, written) in [
            ("5S", Some("5000000u")),
            ("250m", Some("250000u")),
            ("1.5", Some("1500000u")),
            ("0.00001", Some("10000n")),
            ("99999999H", Some("99999999S")),
            ("2H", Some("7200000m")),
            ("", None),
            ("S", None),
            ("-1", None),
            ("1e9", None),
            ("123456789m", None),
            ("nan", None),
        ] {
            assert_eq!(parse(header).map(text).as_deref(), written, "{header}");
        }
    }
}
