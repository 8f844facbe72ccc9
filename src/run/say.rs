//! What is said on stderr: whole lines, each with the program's name, safe
//! for a terminal whatever is in it.

use std::io::{self, Write};

use crate::output::escape;

/// Says a line on stderr. That stderr may be gone is no reason to stop.
pub fn say(line: &str) {
    let _stderr_gone = io::stderr().lock().write_all(framed(line).as_bytes());
}

/// The line with the program's name, control characters and what else
/// misleads escaped: names of processes and files are in it.
fn framed(line: &str) -> String {
    let mut text = String::with_capacity(line.len() + 16);
    text.push_str("httpsniff: ");
    escape::push(&mut text, line.as_bytes());
    text.push('\n');
    text
}

/// A number of bytes as people read it: `512 B`, `1.5 KiB`, `20.0 MiB`.
#[must_use]
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS.get(unit).unwrap_or(&"PiB"))
}

/// `1 exchange`, `2 exchanges`.
#[must_use]
pub(super) fn number(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_line_or_move_the_cursor() {
        assert_eq!(
            framed("a\nb\x1b[2Jc\u{202e}d\u{9b}é"),
            "httpsniff: a\\x0ab\\x1b[2Jc\\u{202e}d\\u{9b}é\n"
        );
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(20 << 20), "20.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
    }
}
