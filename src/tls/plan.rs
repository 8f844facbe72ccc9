//! Where in a file each probe sits.
//!
//! This module alone answers that; nobody else may conclude anything about an
//! offset. The answer is the function behind several of the library's, where
//! the code proves that there is one: it sees every caller, and it usually
//! begins with an instruction that the kernel emulates instead of
//! single-stepping. Otherwise it is the symbols.

use goblin::elf::header::{EM_AARCH64, EM_X86_64};

use super::elf::{Elf, Function, ReadAt};
use super::library::Library;
use super::{Placement, Probe, ProbeRole, Returns};
pub use ciphertext::ciphertext;
use shared::CountAt;
pub(super) use walk::decode;

mod ciphertext;
mod emulated;
pub mod exits;
mod shared;
mod state;
mod walk;

/// How far into a function a call of its inner one is searched, in bytes.
const MAX_WRAPPER: u64 = 512;
/// How many calls by way of the procedure linkage table are followed in it.
const MAX_IMPORTS: u32 = 16;

/// The probes for a library whose functions were found in a file, `functions`
/// in the order of `library.calls`. `version` is what the file calls itself.
/// `None` when the ends of the functions cannot be watched as `returns` says.
pub fn probes<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    library: &Library,
    functions: &[Option<Function>],
    version: &str,
    returns: Returns,
) -> Option<Vec<Probe>> {
    // Of the functions behind them no size is known.
    let size = |offset| {
        let own = functions.iter().flatten().find(|f| f.offset == offset);
        own.map_or(0, |function| function.size)
    };
    let place = |probes: Vec<Probe>| match returns {
        Returns::Probes => Some(probes),
        Returns::Exits => at_exits(elf, &probes, size),
    };
    let find = |symbol: &str| {
        let Some(index) = library.calls.iter().position(|c| c.symbol == symbol) else {
            // What is not probed is looked for only where it is asked about.
            return *elf.functions(&[symbol]).ok()?.first()?;
        };
        *functions.get(index)?
    };
    let mut probes = if library.wraps(version) {
        Vec::new()
    } else {
        // Often they end in a jump through a table: then the symbols are left.
        place(behind(elf, library, find)).unwrap_or_default()
    };
    let covered = !probes.is_empty();
    let mut symbols = Vec::with_capacity(2 * library.calls.len());
    for (call, function) in library.calls.iter().zip(functions) {
        let Some(function) = function else { continue };
        // Or every byte would be seen twice.
        if covered && library.in_pair(call.symbol) {
            continue;
        }
        if let Some(symbol) = call.inner
            && let Some(inner) = find(symbol)
            && (library.wraps(version) || calls(elf, function, &inner, symbol))
        {
            continue;
        }
        if leads_on(elf, library, call.symbol, find) {
            continue;
        }
        push(&mut symbols, call.enter, call.exit, function.offset);
    }
    probes.extend(place(symbols)?);
    Some(probes)
}

/// Whether a function only jumps to another one of the table, which then sees
/// all that it does.
fn leads_on<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    library: &Library,
    symbol: &str,
    find: impl Fn(&str) -> Option<Function>,
) -> bool {
    elf.machine() == EM_X86_64
        && library.pairs.iter().any(|pair| {
            let probed = |flags: &str| {
                library.calls.iter().any(|call| call.symbol == flags) && find(flags).is_some()
            };
            pair.ex == symbol
                && pair.with_flags.is_some_and(probed)
                && find(symbol).is_some_and(|function| shared::jumps_on(elf, &function))
        })
}

/// The same probes with those on returns as `returns` says; `None` when they
/// cannot be so.
pub fn place<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    probes: Vec<Probe>,
    returns: Returns,
) -> Option<Vec<Probe>> {
    match returns {
        Returns::Probes => Some(probes),
        Returns::Exits => at_exits(elf, &probes, |_| 0),
    }
}

/// The same probes with those on returns placed on the instructions that
/// return; `None` when it is not certain that all of them have been found.
/// `size` is that of the function at an offset, 0 is not known.
fn at_exits<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    probes: &[Probe],
    size: impl Fn(u64) -> u64,
) -> Option<Vec<Probe>> {
    let mut placed: Vec<Probe> = Vec::with_capacity(2 * probes.len());
    for probe in probes {
        if probe.placement == Placement::At {
            placed.push(*probe);
            continue;
        }
        let function = Function {
            offset: probe.offset,
            address: elf.code_address(probe.offset)?,
            size: size(probe.offset),
        };
        let Some(exits) = exits::of(elf, &function) else {
            match probe.role {
                // What it tells is known a little later without it.
                ProbeRole::NewExit => continue,
                // The rest is seen without these too.
                role => {
                    let entry = role.dispensable_with()?;
                    placed.retain(|p| p.role != entry);
                    continue;
                }
            }
        };
        for exit in exits {
            // Two functions may share an exit; what ends there is known by its
            // entry, if both mean the same.
            let shared = placed
                .iter()
                .find(|p| p.offset == exit.offset && p.role.is_exit());
            match shared {
                Some(same) if same.role == probe.role && same.stack == exit.stack => continue,
                Some(_) => return None,
                None => {}
            }
            placed.push(Probe {
                role: probe.role,
                offset: exit.offset,
                placement: Placement::At,
                stack: exit.stack,
            });
        }
    }
    Some(placed)
}

/// The probes on the functions behind the pairs; none if one of them is not
/// certain.
fn behind<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    library: &Library,
    find: impl Fn(&str) -> Option<Function>,
) -> Vec<Probe> {
    if elf.machine() != EM_X86_64 {
        return Vec::new();
    }
    let mut probes = Vec::with_capacity(library.calls.len());
    for pair in library.pairs {
        let before = probes.len();
        let shared = shared::find(elf, pair, &find);
        let enter = shared.and_then(|shared| match shared.count {
            CountAt::Fourth => Some(pair.enter),
            CountAt::Fifth => pair.enter_fifth,
        });
        if let (Some(shared), Some(enter)) = (shared, enter) {
            push(&mut probes, Some(enter), Some(pair.exit), shared.offset);
        }
        if probes.len() == before {
            return Vec::new();
        }
    }
    probes
}

/// Probes a function, unless it is: of two names of one function the first
/// in the table stands for both.
fn push(probes: &mut Vec<Probe>, enter: Option<ProbeRole>, exit: Option<ProbeRole>, offset: u64) {
    if probes.iter().any(|probe| probe.offset == offset) {
        return;
    }
    if let Some(role) = enter {
        probes.push(Probe {
            role,
            offset,
            placement: Placement::At,
            stack: 0,
        });
    }
    if let Some(role) = exit {
        probes.push(Probe {
            role,
            offset,
            placement: Placement::Return,
            stack: 0,
        });
    }
}

/// Whether the code of `outer` has a direct call of, or jump to, `inner`, whose
/// symbol is `name`; on x86-64 also through the procedure linkage table.
///
/// Every byte position is tried instead of decoding instructions: that a
/// constant equals this one distance by chance is one in four billion.
fn calls<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    outer: &Function,
    inner: &Function,
    name: &str,
) -> bool {
    let length = match outer.size {
        0 => 0,
        size => size.min(MAX_WRAPPER),
    };
    let Ok(code) = elf.bytes_at(outer.offset, length as usize) else {
        return false;
    };
    // A slot is looked up in the relocations: a hostile function has hundreds.
    let mut looks = MAX_IMPORTS;
    let mut slot_holds = |slot: u64| {
        looks = looks.saturating_sub(1);
        looks > 0 && elf.slot_holds(slot, name)
    };
    match elf.machine() {
        EM_X86_64 => code.windows(5).enumerate().any(|(at, window)| {
            let [0xe8 | 0xe9, distance @ ..] = window else {
                return false;
            };
            let Ok(distance) = <[u8; 4]>::try_from(distance) else {
                return false;
            };
            let target = outer
                .address
                .wrapping_add(at as u64 + 5)
                .wrapping_add_signed(i64::from(i32::from_le_bytes(distance)));
            target == inner.address || walk::import_slot(elf, target).is_some_and(&mut slot_holds)
        }),
        EM_AARCH64 => code.chunks_exact(4).enumerate().any(|(at, word)| {
            let Ok(word) = <[u8; 4]>::try_from(word).map(u32::from_le_bytes) else {
                return false;
            };
            // BL or B: 26 bits of distance in words.
            if word >> 26 & 0x1f != 0b00101 {
                return false;
            }
            let distance = i64::from((word << 6) as i32 >> 6) * 4;
            outer
                .address
                .wrapping_add(at as u64 * 4)
                .wrapping_add_signed(distance)
                == inner.address
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
