//! Colours, used sparingly: what is the same on every line steps back, what
//! went wrong stands out, and nothing is said by colour alone.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Effects, Style};

/// Time, arrows, marks: there to be found when looked for.
pub(super) const FAINT: Style = Style::new().effects(Effects::DIMMED);
/// The process.
pub(super) const WHO: Style = AnsiColor::Cyan.on_default();
/// Start lines and methods.
pub(super) const STRONG: Style = Style::new().effects(Effects::BOLD);
/// Something to notice.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
/// Something is missing or failed.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// Everything else.
pub(super) const PLAIN: Style = Style::new();

/// The style of a status. Not blue for any: on black it cannot be read.
pub(super) const fn of_status(status: u16) -> Style {
    match status {
        200..=299 => AnsiColor::Green.on_default(),
        300..=399 => WHO,
        400..=499 => WARN,
        500..=599 => BAD,
        _ => PLAIN,
    }
}

/// Appends what `write` appends, in a style.
pub(super) fn styled(out: &mut String, style: Style, color: bool, write: impl FnOnce(&mut String)) {
    let color = color && style != PLAIN;
    // Writing to a string does not fail.
    if color {
        let _ = write!(out, "{style}");
    }
    write(out);
    if color {
        let _ = write!(out, "{style:#}");
    }
}
