//! What the fields of a gRPC call say, for people.

use std::borrow::Cow;

/// Service and method of a path: `/helloworld.Greeter/SayHello`.
#[must_use]
pub fn method(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = path.strip_prefix(b"/")?;
    let end = memchr::memchr2(b'?', b'#', path).unwrap_or(path.len());
    let path = path.get(..end)?;
    let slash = memchr::memrchr(b'/', path)?;
    let (service, method) = (path.get(..slash)?, path.get(slash + 1..)?);
    (!service.is_empty() && !method.is_empty()).then_some((service, method))
}

/// The name of a `grpc-status` (gRPC's statuscodes.md): `CANCELLED` for 1.
#[must_use]
pub fn status_name(status: u32) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::try_from(status).ok()?).copied()
}

/// A `grpc-message` with its percent-encoding undone.
#[must_use]
pub fn message(value: &[u8]) -> Cow<'_, [u8]> {
    crate::content::percent_decoded(value)
}

/// A `grpc-timeout` as number and unit: `100m` is 100 `ms`. At most eight
/// digits, as the protocol has it.
#[must_use]
pub fn timeout(value: &[u8]) -> Option<(u32, &'static str)> {
    let (unit, digits) = value.split_last()?;
    let unit = match unit {
        b'H' => "h",
        b'M' => "min",
        b'S' => "s",
        b'm' => "ms",
        b'u' => "µs",
        b'n' => "ns",
        _ => return None,
    };
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, wanted) in [
            (
                "/helloworld.Greeter/SayHello",
                Some(("helloworld.Greeter", "SayHello")),
            ),
            ("/a/b/C/M", Some(("a/b/C", "M"))),
            ("/S/M?x=/y", Some(("S", "M"))),
            ("/S/", None),
            ("//M", None),
            ("/S", None),
            ("S/M", None),
            ("*", None),
        ] {
            let wanted = wanted.map(|(s, m)| (s.as_bytes(), m.as_bytes()));
            assert_eq!(method(path.as_bytes()), wanted, "{path}");
        }
    }

    #[test]
    fn statuses() {
        assert_eq!(status_name(0), Some("OK"));
        assert_eq!(status_name(5), Some("NOT_FOUND"));
        assert_eq!(status_name(16), Some("UNAUTHENTICATED"));
        assert_eq!(status_name(17), None);
    }

    #[test]
    fn messages() {
        for (value, wanted) in [
            ("plain", "plain"),
            ("na%C3%AFve", "naïve"),
            ("100% sure%", "100% sure%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%+1", "%+1"),
        ] {
            assert_eq!(&*message(value.as_bytes()), wanted.as_bytes(), "{value}");
        }
    }

    #[test]
    fn timeouts() {
        assert_eq!(timeout(b"100m"), Some((100, "ms")));
        assert_eq!(timeout(b"99999999H"), Some((99_999_999, "h")));
        for none in ["", "m", "1", "1x", "123456789S", "-1S", "+1S", "1 S"] {
            assert_eq!(timeout(none.as_bytes()), None, "{none}");
        }
    }
}
