//! Where TLS records are seen that are written into memory.
//!
//! A program that has its library write to a socket does not come by here, or
//! it would pay for what only others need: the probes are not on `BIO_write`,
//! but on the functions of the BIOs that keep what they are given. Those have
//! no symbols. They are in tables, whose addresses exported functions return.

use iced_x86::{Mnemonic, OpKind, Register};

use super::walk::decode;
use super::{Placement, Probe, ProbeRole, emulated};
use crate::tls::elf::{Elf, Function, ReadAt};
use crate::tls::library::CIPHERTEXT;

/// Where `BIO_METHOD` has its function for writing: after a number and a name.
/// From OpenSSL 1.1.1 on it is one that all BIOs share, and calls the next.
const WRITE: u64 = 16;
const OLD_WRITE: u64 = 24;

/// The probes on the functions by which records come into memory. `symbol`
/// finds those of [`CIPHERTEXT`].
pub fn ciphertext<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    symbol: impl Fn(&str) -> Option<Function>,
) -> Vec<Probe> {
    let mut functions = in_tables(elf, &symbol);
    functions.extend(CIPHERTEXT.functions.iter().filter_map(|name| symbol(name)));
    let mut probes: Vec<Probe> = Vec::with_capacity(functions.len());
    for function in functions {
        let probe = probe(elf, &function);
        if !probes.contains(&probe) {
            probes.push(probe);
        }
    }
    probes
}

/// The probe on the function that all records come by, into memory or not.
pub fn all_ciphertext<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    symbol: impl Fn(&str) -> Option<Function>,
) -> Option<Probe> {
    Some(probe(elf, &symbol(CIPHERTEXT.all)?))
}

fn probe<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, function: &Function) -> Probe {
    Probe {
        role: ProbeRole::Ciphertext,
        offset: emulated::find(elf, function).unwrap_or(function.offset),
        placement: Placement::At,
        stack: 0,
    }
}

/// The functions in the tables that the library's functions return; none
/// unless it is certain which they are.
fn in_tables<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    symbol: impl Fn(&str) -> Option<Function>,
) -> Vec<Function> {
    let [Some(one), Some(other)] = CIPHERTEXT.tables.map(symbol) else {
        return Vec::new();
    };
    let (Some(one), Some(other)) = (returned(elf, &one), returned(elf, &other)) else {
        return Vec::new();
    };
    let at = |table: u64, offset| table.wrapping_add(offset);
    let [first, second, old_first, old_second] = elf.words([
        at(one, WRITE),
        at(other, WRITE),
        at(one, OLD_WRITE),
        at(other, OLD_WRITE),
    ]);
    let chosen = if first == second {
        [old_first, old_second]
    } else {
        [first, second]
    };
    chosen
        .into_iter()
        .flatten()
        .filter_map(|address| {
            Some(Function {
                offset: elf.code_offset(address)?,
                address,
                size: 0,
            })
        })
        .collect()
}

/// The constant address that a function returns and does nothing else.
fn returned<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, function: &Function) -> Option<u64> {
    let mut first = decode(elf, function.address)?;
    if first.mnemonic() == Mnemonic::Endbr64 {
        first = decode(elf, first.next_ip())?;
    }
    if first.op0_register().full_register() != Register::RAX {
        return None;
    }
    let address = match (first.mnemonic(), first.op1_kind()) {
        (Mnemonic::Lea, OpKind::Memory) if first.is_ip_rel_memory_operand() => {
            first.ip_rel_memory_address()
        }
        (Mnemonic::Mov, OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64) => {
            first.immediate(1)
        }
        _ => return None,
    };
    (decode(elf, first.next_ip())?.mnemonic() == Mnemonic::Ret).then_some(address)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use iced_x86::FlowControl;

    use super::*;

    /// Files of this machine that hold memory BIOs, and those of the versions
    /// that the live tests unpack.
    fn files() -> Vec<std::path::PathBuf> {
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tls");
        let mut files = vec!["/usr/bin/node".into()];
        let folders = std::fs::read_dir(tests).into_iter().flatten().flatten();
        for root in folders.map(|entry| entry.path()).chain(["/".into()]) {
            for name in ["libcrypto.so.1.1", "libcrypto.so.3", "libcrypto.so.4"] {
                files.push(root.join("usr/lib/x86_64-linux-gnu").join(name));
            }
        }
        files
    }

    #[test]
    fn memory_is_written_by_two_functions_and_nodes_own_on_emulated_instructions() {
        for path in files() {
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let path = path.display().to_string();
            let elf = Elf::open(&file).unwrap();
            let symbol = |name: &str| elf.functions(&[name]).unwrap()[0];
            let probes = ciphertext(&elf, symbol);
            let expected = if path.ends_with("node") { 3 } else { 2 };
            assert_eq!(probes.len(), expected, "{path}: {probes:?}");
            let all = all_ciphertext(&elf, symbol).unwrap();
            assert!(!probes.contains(&all), "{path}");
            let emulated = |probe: &&Probe| {
                let code = elf.bytes_at(probe.offset, 15).unwrap();
                let instruction = iced_x86::Decoder::new(64, &code, 0).decode();
                instruction.mnemonic() == Mnemonic::Push
                    || instruction.flow_control() == FlowControl::ConditionalBranch
            };
            assert!(emulated(&&probes[0]), "{path}: BIO_s_mem");
            assert!(emulated(&&all), "{path}: BIO_write");
            // From 3.6 on, BIO pairs load other arguments before that.
            let others = probes.iter().skip(1).filter(emulated).count();
            assert!(
                others > 0 || path.contains("3.6") || path.ends_with(".so.4"),
                "{path}"
            );
        }
    }
}
