//! Values: sizes, times, counts, lists, each with the sentence for a wrong
//! one.

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

/// TCP ports.
pub(super) fn ports(values: &[String]) -> Result<Vec<u16>, Failure> {
    items("--port", values)?
        .into_iter()
        .map(|text| match text.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(Failure::usage(format!(
                "--port does not know “{text}”: it takes a number from 1 to 65535"
            ))),
        })
        .collect()
}

/// Statuses as inclusive ranges: `404`, `5xx`, `400-499`.
pub(super) fn statuses(values: &[String]) -> Result<Vec<(u16, u16)>, Failure> {
    items("--status", values)?
        .into_iter()
        .map(|text| {
            status_range(text).ok_or_else(|| {
                Failure::usage(format!(
                    "--status does not know “{text}”: it takes 404, 5xx or 400-499"
                ))
            })
        })
        .collect()
}

fn status_range(text: &str) -> Option<(u16, u16)> {
    let single = |s: &str| {
        let status: u16 = s.parse().ok()?;
        (s.len() == 3 && status >= 100).then_some(status)
    };
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (single(first)?, single(last)?);
        return (first <= last).then_some((first, last));
    }
    let lower = text.to_ascii_lowercase();
    if let Some(class) = lower.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|c| (1..=9).contains(c))?;
        return Some((class * 100, class * 100 + 99));
    }
    single(text).map(|status| (status, status))
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

    #[test]
    fn status_forms() {
        let parse = |s: &str| statuses(&[s.to_owned()]).ok();
        assert_eq!(parse("404"), Some(vec![(404, 404)]));
        assert_eq!(parse("5xx,2XX"), Some(vec![(500, 599), (200, 299)]));
        assert_eq!(parse("400-499"), Some(vec![(400, 499)]));
        for text in [
            "", "4", "40", "4x", "0xx", "xx", "499-400", "4040", "404,", "a-b",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn port_forms() {
        let parse = |s: &str| ports(&[s.to_owned()]).ok();
        assert_eq!(parse("80,443"), Some(vec![80, 443]));
        for text in ["0", "65536", "http", ""] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
