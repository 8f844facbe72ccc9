//! `--redact`: masks secrets by `*` of equal length.

use std::ops::Range;

/// The names of what is secret.
#[derive(Clone, Debug, Default)]
pub struct Redact {}

impl Redact {
    /// The usual names and `extra` ones (header fields and query parameters,
    /// ASCII case ignored).
    #[must_use]
    pub fn new(_extra: &[String]) -> Self {
        Self {}
    }

    /// The ranges to mask in a whole HTTP/1 head (start line to empty line)
    /// or a trailer section (`start_line` false), in order, not overlapping:
    /// values of secret fields, values of secret query parameters in the
    /// target and in Referer and Location.
    #[must_use]
    pub fn spans(&self, _head: &[u8], _start_line: bool) -> Vec<Range<usize>> {
        Vec::new()
    }

    /// Masks what follows `-u`, `--user`, `-H` and the like, and secret query
    /// parameters in URLs.
    pub fn mask_cmdline(&self, _arguments: &mut [Vec<u8>]) {}
}
