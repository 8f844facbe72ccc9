//! The static function behind a pair of exported ones.
//!
//! `SSL_read` and `SSL_read_ex` of OpenSSL 1.1.1 and later are shells around
//! one function, `ssl_read_internal(object, buffer, length, &count)`, which
//! returns more than 0 when it has read. The library's own `BIO_f_ssl` (`openssl
//! s_server -WWW` and others) calls it directly. It has no symbol in a
//! stripped library, so it is found by what both shells call.

use iced_x86::{Mnemonic, OpKind, Register};

use super::state::{State, Value};
use super::walk::{Walk, decode, is_import, walk};
use crate::tls::elf::{Elf, Function, ReadAt};
use crate::tls::library::Pair;

/// Which argument points at the number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CountAt {
    /// `(object, buffer, length, &count)`.
    Fourth,
    /// `(object, buffer, length, flags, &count)`: OpenSSL 3.3 for writing.
    Fifth,
}

/// A function that both of a pair call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// Where its probes go: offset in the file.
    pub(super) offset: u64,
    pub(super) count: CountAt,
}

/// How a shell takes the number of bytes.
#[derive(Clone, Copy)]
enum Shell {
    /// `(object, buffer, int length)`, returns the count: the pointer is to
    /// its own stack.
    Plain,
    /// `(object, buffer, length, &count)`.
    Ex,
    /// `(object, buffer, length, flags, &count)`.
    Flags,
}

/// Finds the function behind a pair, or `None` when it is not certain: both
/// call exactly one function with what they were called with, and it is the
/// same. `symbol` finds a function of the file by its name.
pub(super) fn find<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    pair: &Pair,
    symbol: impl Fn(&str) -> Option<Function>,
) -> Option<Shared> {
    let inner = behind(elf, &symbol(pair.plain)?, Shell::Plain)?;
    if inner != behind_ex(elf, pair, symbol)? {
        return None;
    }
    let (address, count) = inner;
    Some(Shared {
        offset: elf.code_offset(entry(elf, address)?)?,
        count,
    })
}

/// As `behind`, for the `_ex` function. From OpenSSL 3.3 on the one for
/// writing only jumps to one that takes flags too, perhaps as an import.
fn behind_ex<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    pair: &Pair,
    symbol: impl Fn(&str) -> Option<Function>,
) -> Option<(u64, CountAt)> {
    let walked = walk(elf, &symbol(pair.ex)?)?;
    if is_jump_on(&walked) {
        return behind(elf, &symbol(pair.with_flags?)?, Shell::Flags);
    }
    single(elf, &walked.calls, Shell::Ex)
}

/// Whether an `_ex` function is nothing but a jump, through the table of
/// imports, to one that takes flags too.
pub(super) fn jumps_on<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, function: &Function) -> bool {
    walk(elf, function).is_some_and(|walked| is_jump_on(&walked))
}

fn is_jump_on(walked: &Walk) -> bool {
    let passed = |state: &State| passes(state, Shell::Ex) == Some(CountAt::Fifth);
    walked.calls.is_empty() && matches!(&walked.imports[..], [state] if passed(state))
}

fn behind<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    function: &Function,
    shell: Shell,
) -> Option<(u64, CountAt)> {
    single(elf, &walk(elf, function)?.calls, shell)
}

/// The one function of this file that is called with the arguments.
fn single<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    calls: &[(u64, State)],
    shell: Shell,
) -> Option<(u64, CountAt)> {
    let mut found = None;
    for (target, state) in calls {
        let Some(count) = passes(state, shell) else {
            continue;
        };
        if found.is_some_and(|found| found != (*target, count)) {
            return None;
        }
        found = Some((*target, count));
    }
    found.filter(|(target, _)| !is_import(elf, *target))
}

/// Which argument points at the count, if a call passes the arguments on.
fn passes(state: &State, shell: Shell) -> Option<CountAt> {
    use Value::{Argument, LowHalf, Stack};
    let length = state.get(Register::RDX);
    if state.get(Register::RDI) != Argument(0)
        || state.get(Register::RSI) != Argument(1)
        || !(length == Argument(2) || matches!(shell, Shell::Plain) && length == LowHalf(2))
    {
        return None;
    }
    let is_count = |value| match shell {
        Shell::Plain => matches!(value, Stack(_)),
        Shell::Ex => value == Argument(3),
        Shell::Flags => value == Argument(4),
    };
    match (
        is_count(state.get(Register::RCX)),
        is_count(state.get(Register::R8)),
    ) {
        (true, false) => Some(CountAt::Fourth),
        (false, true) => Some(CountAt::Fifth),
        _ => None,
    }
}

/// Where in a function its entry and return probes go. The kernel emulates
/// `push` and single-steps `endbr64`, which is several times dearer; one
/// instruction later the registers and the stack are still the same.
fn entry<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, address: u64) -> Option<u64> {
    let first = decode(elf, address)?;
    if first.mnemonic() != Mnemonic::Endbr64 {
        return Some(address);
    }
    let second = decode(elf, first.next_ip())?;
    let emulated = second.mnemonic() == Mnemonic::Push && second.op0_kind() == OpKind::Register;
    Some(if emulated { second.ip() } else { address })
}

#[cfg(test)]
mod tests;
