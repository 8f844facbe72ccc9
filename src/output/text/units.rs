//! Sizes, durations and times of day as people read them: short, at most
//! seven columns wide, so that columns of them stay narrow.

use jiff::tz::TimeZone;

use crate::event::Timestamp;

/// Appends a number with `width` digits at least.
fn push_padded(out: &mut String, number: u64, width: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number);
    for _ in digits.len()..width {
        out.push('0');
    }
    out.push_str(digits);
}

/// Appends `value / scale` with three significant digits, at most two of
/// them behind the point.
fn push_scaled(out: &mut String, value: u64, scale: u64) {
    let places = match value / scale {
        0..10 => 2,
        10..100 => 1,
        _ => 0,
    };
    let unit = 10_u64.pow(places);
    // u128: the product with a hundred may not fit.
    let scaled = u128::from(value) * u128::from(unit) / u128::from(scale);
    let scaled = u64::try_from(scaled).unwrap_or(u64::MAX);
    push_padded(out, scaled / unit, 1);
    if places > 0 {
        out.push('.');
        push_padded(out, scaled % unit, places as usize);
    }
}

/// Appends `5 B`, `1.23 KiB`, `640 MiB`. Rounded down.
pub(super) fn push_size(out: &mut String, bytes: u64) {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1000 {
        push_padded(out, bytes, 1);
        return out.push_str(" B");
    }
    let mut scale = 1_u64 << 10;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    // From a thousand on the next unit: `0.97 MiB` is shorter than `1000 KiB`.
    while bytes / scale >= 1000
        && let Some(next) = units.next()
    {
        scale <<= 10;
        unit = next;
    }
    push_scaled(out, bytes, scale);
    out.push(' ');
    out.push_str(unit);
}

/// Appends `88.0 µs`, `0.88 ms`, `12.3 s`, `10.0 min`. Rounded down.
pub(super) fn push_duration(out: &mut String, nanos: u64) {
    const MICRO: u64 = 1000;
    const MILLI: u64 = 1000 * MICRO;
    const SECOND: u64 = 1000 * MILLI;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    let (scale, unit) = match nanos {
        n if n < MILLI / 10 => (MICRO, " µs"),
        n if n < SECOND => (MILLI, " ms"),
        n if n < 10 * MINUTE => (SECOND, " s"),
        n if n < 10 * HOUR => (MINUTE, " min"),
        _ => (HOUR, " h"),
    };
    push_scaled(out, nanos, scale);
    out.push_str(unit);
}

/// Turns timestamps into times of day in one time zone.
pub(super) struct Clock {
    /// `None` is UTC.
    zone: Option<TimeZone>,
    /// The quarter of an hour that `offset` was looked up for: no zone
    /// changes within one.
    quarter: Option<u64>,
    /// Seconds east of UTC.
    offset: i64,
}

impl Clock {
    const QUARTER: u64 = 15 * 60;

    /// A clock in the machine's zone, or in UTC.
    pub(super) fn new(utc: bool) -> Self {
        Self {
            zone: (!utc).then(TimeZone::system),
            quarter: None,
            offset: 0,
        }
    }

    /// Appends `HH:MM:SS.mmm`.
    pub(super) fn push(&mut self, out: &mut String, time: Timestamp) {
        let seconds = time.0 / 1_000_000_000;
        let quarter = seconds / Self::QUARTER;
        if let Some(zone) = &self.zone
            && self.quarter != Some(quarter)
        {
            self.quarter = Some(quarter);
            self.offset = i64::try_from(seconds)
                .ok()
                .and_then(|s| jiff::Timestamp::from_second(s).ok())
                .map_or(0, |t| i64::from(zone.to_offset(t).seconds()));
        }
        let local = seconds.saturating_add_signed(self.offset);
        push_padded(out, local / 3600 % 24, 2);
        out.push(':');
        push_padded(out, local / 60 % 60, 2);
        out.push(':');
        push_padded(out, local % 60, 2);
        out.push('.');
        push_padded(out, time.0 / 1_000_000 % 1000, 3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(bytes: u64) -> String {
        let mut out = String::new();
        push_size(&mut out, bytes);
        out
    }

    fn duration(nanos: u64) -> String {
        let mut out = String::new();
        push_duration(&mut out, nanos);
        out
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0.97 KiB"),
            (1024, "1.00 KiB"),
            (16_384, "16.0 KiB"),
            (1_023_999, "999 KiB"),
            (1_024_000, "0.97 MiB"),
            (5 << 20, "5.00 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_are_short() {
        for (nanos, text) in [
            (0, "0.00 µs"),
            (99_999, "99.9 µs"),
            (882_000, "0.88 ms"),
            (12_345_000, "12.3 ms"),
            (999_999_999, "999 ms"),
            (1_000_000_000, "1.00 s"),
            (599_999_999_999, "599 s"),
            (600_000_000_000, "10.0 min"),
            (36_000_000_000_000, "10.0 h"),
        ] {
            assert_eq!(duration(nanos), text);
        }
    }

    #[test]
    fn a_zone_is_looked_up_again_when_it_may_have_changed() {
        let mut clock = Clock {
            zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").ok(),
            quarter: None,
            offset: 0,
        };
        let mut at = |second: u64| {
            let mut out = String::new();
            clock.push(&mut out, Timestamp(second * 1_000_000_000 + 7_999_999));
            out
        };
        // 2026-03-29 00:59:59 and 01:00:00 UTC: summer time begins.
        assert_eq!(at(1_774_745_999), "01:59:59.007");
        assert_eq!(at(1_774_746_000), "03:00:00.007");
        assert_eq!(at(1_774_745_999), "01:59:59.007");
    }

    #[test]
    fn utc_needs_no_zone() {
        let mut out = String::new();
        Clock::new(true).push(&mut out, Timestamp(1_795_176_000_123_456_789));
        assert_eq!(out, "12:00:00.123");
    }

    proptest! {
        #[test]
        fn columns_stay_narrow(number: u64) {
            prop_assert!(size(number).len() <= 8);
            prop_assert!(duration(number).chars().count() <= 9);
        }
    }
}
