//! Finds crypto/tls in Go programs, stripped or not, and where its probes go.
//!
//! A Go program carries the table of its functions with it (`.gopclntab`),
//! because its runtime walks stacks by it: `-ldflags "-s -w"` takes the symbols
//! away, not this. Where a table cannot be followed to the end the program is
//! not probed, and the reason said.
//!
//! Go moves a goroutine's stack while functions on it run, and a return probe
//! leaves an address on it that the runtime does not know: it ends the program.
//! So the probes are on entries and on every `ret`.

use super::elf::{Elf, Place, ReadAt};
use super::plan::exits;
use super::{Placement, Probe, ProbeRole};
use pclntab::Table;

mod buildinfo;
mod pclntab;
mod prologue;
#[cfg(test)]
mod tests;

/// The functions of crypto/tls that are probed, without what their names begin
/// with: what entry and exits mean, and whether a program without it cannot be
/// read. What is not used the linker leaves out.
///
/// `Handshake` and `HandshakeContext` are called, or inlined, with every
/// read and write; these two do a handshake, once in a connection's life.
const CALLS: [(&str, Option<ProbeRole>, Option<ProbeRole>, bool); 5] = [
    (
        "Read",
        Some(ProbeRole::ReadEnter),
        Some(ProbeRole::ReadExit),
        true,
    ),
    (
        "Write",
        Some(ProbeRole::WriteEnter),
        Some(ProbeRole::WriteExit),
        true,
    ),
    ("Close", Some(ProbeRole::Free), None, false),
    (
        "clientHandshake",
        Some(ProbeRole::HandshakeEnter),
        Some(ProbeRole::HandshakeExit),
        false,
    ),
    (
        "serverHandshake",
        Some(ProbeRole::HandshakeEnter),
        Some(ProbeRole::HandshakeExit),
        false,
    ),
];

/// How the names of the functions begin.
const PREFIX: &str = "crypto/tls.(*Conn).";
/// The section of the table of functions: as it is called in programs, and in
/// those that may be loaded anywhere up to Go 1.25.
const TABLES: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// Sections of every Go program, whoever linked it.
const MARKS: [&str; 3] = [".go.buildinfo", ".note.go.buildid", ".go.module"];
/// Where a foreign linker puts the table (a program that can be loaded anywhere
/// with C in it).
const MERGED: &str = ".data.rel.ro";
/// How much is searched for the table where no section says where it is.
const MAX_SEARCH: u64 = 64 << 20;
/// The longest table, in bytes, that is searched for names.
const MAX_TABLE: u64 = 256 << 20;

/// crypto/tls in a program.
#[derive(Debug, PartialEq, Eq)]
pub struct CryptoTls {
    /// Name and version for users: `Go 1.26.8`.
    pub library: String,
    /// Where to attach, or why that cannot be done.
    pub probes: Result<Vec<Probe>, Unreadable>,
}

/// Why crypto/tls of a program is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Up to Go 1.17 the table is another one; up to 1.16 functions also take
    /// their arguments from the stack.
    #[error("programs made by Go 1.17 or older are not read")]
    Old,
    /// A table of a later Go.
    #[error("the table of its functions is of a kind that httpsniff does not know")]
    Unknown,
    /// The table contradicts itself or the code.
    #[error("its functions are not where the table of its functions has them")]
    Code,
    /// The exits of a function are not certain.
    #[error("it is not certain where its functions return")]
    Exits,
    /// Only x86-64 is known.
    #[error("Go is read on x86-64 only")]
    Machine,
}

/// Looks for crypto/tls; `None` in what is no Go program, and in a Go program
/// without it.
///
/// What is no Go program costs a look at the names of its sections.
pub fn look<R: ReadAt + ?Sized>(elf: &Elf<'_, R>) -> Option<CryptoTls> {
    let table = find_table(elf)?;
    let probes = match Table::open(elf, table) {
        Ok(table) => probes(elf, &table)?,
        Err(reason) => {
            // Of other tables only the names are known, which all have.
            elf.search(table, MAX_TABLE, PREFIX.as_bytes(), |_| Some(()))?;
            Err(reason)
        }
    };
    Some(CryptoTls {
        library: buildinfo::version(elf)
            .map_or_else(|| "Go".to_owned(), |version| format!("Go {version}")),
        probes,
    })
}

/// Where the table of functions is.
fn find_table<R: ReadAt + ?Sized>(elf: &Elf<'_, R>) -> Option<Place> {
    let [first, second] = TABLES;
    let [mark_1, mark_2, mark_3] = MARKS;
    let places = elf.named_sections(&[first, second, MERGED, mark_1, mark_2, mark_3]);
    let [first, second, merged, marks @ ..] = &places[..] else {
        return None;
    };
    let named = first.or(*second);
    if named.is_some() {
        return named;
    }
    if marks.iter().any(Option::is_some) {
        return pclntab::search(elf, (*merged)?, MAX_SEARCH);
    }
    if elf.has_sections() {
        return None;
    }
    // All section headers have been taken away.
    let mut budget = MAX_SEARCH;
    for place in [elf.loaded(false), elf.loaded(true)].concat() {
        let found = pclntab::search(elf, place, budget);
        if found.is_some() {
            return found;
        }
        budget = budget.saturating_sub(place.size);
    }
    None
}

/// The probes; `None` in a program without crypto/tls.
fn probes<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    table: &Table<'_, '_, R>,
) -> Option<Result<Vec<Probe>, Unreadable>> {
    let names = table.names(PREFIX, &CALLS.map(|call| call.0));
    let missing = CALLS
        .iter()
        .zip(&names)
        .any(|(call, name)| call.3 && name.is_none());
    if missing {
        return None;
    }
    Some(placed(elf, table, &names))
}

fn placed<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    table: &Table<'_, '_, R>,
    names: &[Option<u32>],
) -> Result<Vec<Probe>, Unreadable> {
    if elf.machine() != goblin::elf::header::EM_X86_64 {
        return Err(Unreadable::Machine);
    }
    let functions = table.functions(names).ok_or(Unreadable::Code)?;
    let mut probes = Vec::new();
    for ((_, enter, exit, required), function) in CALLS.into_iter().zip(functions) {
        let Some(function) = function else {
            if required {
                return Err(Unreadable::Code);
            }
            continue;
        };
        // What follows from it: the function is where the table has it, and
        // takes its arguments in registers.
        let entry = prologue::entry(elf, &function).ok_or(Unreadable::Code)?;
        let probe = |role, offset, stack| Probe {
            role,
            offset,
            placement: Placement::At,
            stack,
        };
        probes.extend(enter.map(|role| probe(role, entry, 0)));
        if let Some(mut role) = exit {
            if role == ProbeRole::ReadExit && prologue::keeps_arguments(elf, &function) {
                role = ProbeRole::ReadKeptExit;
            }
            let exits = exits::of_go(elf, &function).ok_or(Unreadable::Exits)?;
            probes.extend(
                exits
                    .into_iter()
                    .map(|exit| probe(role, exit.offset, exit.stack)),
            );
        }
    }
    Ok(probes)
}
