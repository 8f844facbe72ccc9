//! Secrets in URLs, in targets, and in whatever looks like `name=value`.

use std::ops::Range;

use super::names::Names;

/// Where the text stands: decides what ends a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum In {
    /// A request target: all of it is one URL.
    Target,
    /// A field's value: URLs among other things.
    Field,
    /// An argument of a command: it may be a parameter as a whole.
    Argument,
}

/// A quick look that spares most fields the work.
pub(super) fn may_have_secrets(text: &[u8]) -> bool {
    memchr::memchr2(b'=', b'@', text).is_some()
}

/// The ranges of secrets: user information, and values of parameters with
/// secret names. In order, not overlapping.
pub(super) fn spans(text: &[u8], names: &Names, place: In) -> Vec<Range<usize>> {
    let mut spans = user_information(text, place);
    let end_of_value = |b: &u8| match place {
        In::Target => b"&#".contains(b),
        In::Field => b"&#\">".contains(b),
        In::Argument => b"&#\"' \t\n".contains(b),
    };
    let separator =
        |b: &u8| b"?&;#".contains(b) || (place == In::Argument && b"\"' ,\n\t".contains(b));
    // The start of what may be a name. An argument begins with one.
    let mut at = match place {
        In::Argument => 0,
        _ => match text.iter().position(separator) {
            Some(found) => found + 1,
            None => text.len(),
        },
    };
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(stop) = rest.iter().position(|b| *b == b'=' || separator(b)) else {
            break;
        };
        let name = rest.get(..stop).unwrap_or_default();
        let whole = at == 0;
        at += stop + 1;
        if rest.get(stop) == Some(&b'=') && names.is_secret_parameter(name) {
            let value = text.get(at..).unwrap_or_default();
            // A quoted value ends with its quote.
            let (skip, end) = match value.first() {
                // `PASSWORD=what ever`: there is no telling where it ends.
                _ if whole && place == In::Argument => (0, value.len()),
                Some(quote @ (b'"' | b'\'')) if place == In::Argument => {
                    let inner = value.get(1..).unwrap_or_default();
                    (1, memchr::memchr(*quote, inner).unwrap_or(inner.len()) + 1)
                }
                _ => (
                    0,
                    value.iter().position(end_of_value).unwrap_or(value.len()),
                ),
            };
            if skip < end {
                spans.push(at + skip..at + end);
            }
            at += end;
            // What ended it separates it from the next.
            at += usize::from(at < text.len());
        }
    }
    merge(spans)
}

/// What stands between `//` and `@` in the authority of each URL; of a
/// target that is one itself (CONNECT) what stands before the `@`.
fn user_information(text: &[u8], place: In) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let bare = place == In::Target && !text.trim_ascii_start().starts_with(b"/");
    let mut starts: Vec<usize> = memchr::memmem::find_iter(text, b"//")
        .map(|at| at + 2)
        .collect();
    if bare {
        starts.push(text.len() - text.trim_ascii_start().len());
    }
    for start in starts {
        let rest = text.get(start..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|b| b"/?#\"'<> \t".contains(b))
            .unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        if let Some(at) = memchr::memrchr(b'@', authority)
            && at > 0
        {
            spans.push(start..start + at);
        }
    }
    spans
}

/// In order and without overlaps.
pub(super) fn merge(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_unstable_by_key(|span| span.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}
