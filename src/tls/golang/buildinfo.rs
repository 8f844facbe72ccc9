//! The version of Go that a program says it was made with.

use crate::tls::elf::{Elf, Place, ReadAt};

/// How the note begins; it lies at a multiple of 16.
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The version stands behind a length, 32 bytes from the beginning (Go 1.18).
const INLINE: u8 = 2;
const LENGTH_AT: usize = 32;
/// The longest version that is shown, in bytes.
const MAX_VERSION: usize = 48;
/// How far into its data a program without sections is searched, in bytes, as
/// Go's own `debug/buildinfo` does; in all segments together.
const MAX_SEARCH: u64 = 1 << 20;

/// The version without its `go`: `1.26.8`, `1.27rc1`, `1.24.4 X:nocoverageredesign`.
pub(super) fn version<R: ReadAt + ?Sized>(elf: &Elf<'_, R>) -> Option<String> {
    let named = elf
        .named_sections(&[".go.buildinfo"])
        .first()
        .copied()
        .flatten();
    let place = match named {
        Some(place) => place,
        None if elf.has_sections() => return None,
        None => search(elf)?,
    };
    let note = elf
        .bytes_at(place.offset, LENGTH_AT + 2 + MAX_VERSION)
        .ok()?;
    let rest = note.strip_prefix(MAGIC)?;
    let [pointer_size, flags] = *rest.first_chunk::<2>()?;
    if flags & INLINE != 0 {
        return text(note.get(LENGTH_AT..)?);
    }
    // Before: the address of a Go string, its own address and length.
    if pointer_size != 8 || flags & 1 != 0 {
        return None;
    }
    let [string] = elf.words([place.address.checked_add(16)?]);
    let [start, length] = elf.words([string?, string?.checked_add(8)?]);
    let length = usize::try_from(length?)
        .ok()
        .filter(|l| *l <= MAX_VERSION)?;
    plain(&elf.memory(start?, length))
}

fn search<R: ReadAt + ?Sized>(elf: &Elf<'_, R>) -> Option<Place> {
    let mut budget = MAX_SEARCH;
    elf.loaded(true).into_iter().find_map(|place| {
        let limit = budget;
        budget = budget.saturating_sub(place.size);
        elf.search(place, limit, MAGIC, |offset| {
            let inside = offset - place.offset;
            (inside % 16 == 0).then_some(Place {
                address: place.address.checked_add(inside)?,
                offset,
                size: place.size.checked_sub(inside)?,
            })
        })
    })
}

/// A text behind its length (a varint, of which one byte is enough here).
fn text(bytes: &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first()?;
    let length = usize::from(*length);
    (length <= MAX_VERSION)
        .then(|| plain(rest.get(..length)?))
        .flatten()
}

/// `go1.26.8`, or what a build of Go of one's own is called.
fn plain(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let printable = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    printable.then(|| text.strip_prefix("go").unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_printable_or_none() {
        assert_eq!(text(b"\x08go1.26.8").as_deref(), Some("1.26.8"));
        assert_eq!(text(b"\x05devel").as_deref(), Some("devel"));
        assert_eq!(text(b"\x08go1.26"), None);
        assert_eq!(text(b"\x04go\x1b["), None);
        assert_eq!(text(b"\0"), None);
        assert_eq!(text(b"\xffgo1.26.8"), None);
    }
}
