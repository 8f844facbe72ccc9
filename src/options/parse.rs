//! Values: sizes, times, counts, lists, each with the sentence for a wrong
//! one.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::Failure;

/// The items of a comma-separated option that may be repeated.
pub(super) fn items<'a>(option: &str, values: &'a [String]) -> Result<Vec<&'a str>, Failure> {
    let items: Vec<&str> = values
        .iter()
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .collect();
    if items.iter().any(|i| i.is_empty()) {
        return Err(Failure::usage(format!("{option} has an empty value")));
    }
    Ok(items)
}

/// Bytes: `20M`, `64k`, `1MiB`, `1000`. k, M, G and KiB, MiB, GiB are powers
/// of 1024; kB, MB, GB powers of 1000.
pub(super) fn size(option: &str, text: &str) -> Result<u64, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "{option} does not know “{text}”: it takes a size such as 64k, 20M or 1MiB"
        ))
    };
    let (digits, unit) = split_number(text);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// A time: `500ms`, `10s`, `1.5s`, `5m`, `1h`; a bare number is seconds.
pub(super) fn duration(option: &str, text: &str) -> Result<Duration, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "{option} does not know “{text}”: it takes a time such as 500ms, 10s, 5m or 1h"
        ))
    };
    let (number, unit) = split_number(text);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong()),
    }
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A number of exchanges, at least 1.
pub(super) fn count(option: &str, text: &str) -> Result<u64, Failure> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(Failure::usage(format!(
            "{option} does not know “{text}”: it takes a number from 1"
        ))),
    }
}

/// The patterns of an option that may be repeated, each compiled. Only where
/// no pattern has a comma are they also split at commas.
pub(super) fn patterns<T>(option: &str, values: &[String], commas: bool) -> Result<Vec<T>, Failure>
where
    T: FromStr<Err: Display>,
{
    let texts = if commas {
        items(option, values)?
    } else {
        values.iter().map(String::as_str).collect()
    };
    texts
        .into_iter()
        .map(|text| {
            text.parse()
                .map_err(|error| wrong_pattern(option, text, &error))
        })
        .collect()
}

/// The sentence for a pattern that cannot be used.
pub(super) fn wrong_pattern(option: &str, text: &str, error: &dyn Display) -> Failure {
    Failure::usage(format!("{option} “{text}”: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("64k", 65536),
            ("20M", 20 << 20),
            ("1MiB", 1 << 20),
            ("1kB", 1000),
            ("2G", 2 << 30),
        ] {
            assert_eq!(size("--max-body", text).ok(), Some(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1.5M", "1T", "99999999999G", "1 M"] {
            assert!(size("--max-body", text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("10", 10_000),
            ("1.5s", 1500),
            ("1m", 60_000),
            ("1h", 3_600_000),
        ] {
            let parsed = duration("--duration", text).unwrap();
            assert_eq!(parsed.as_millis(), ms, "{text}");
        }
        for text in [
            "",
            "0",
            "0s",
            "s",
            "-1s",
            "1d",
            "1.2.3s",
            "99999999999999999999h",
        ] {
            assert!(duration("--duration", text).is_err(), "{text}");
        }
    }
}
