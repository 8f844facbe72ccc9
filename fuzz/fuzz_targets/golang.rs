//! No table of functions of a Go program, and no code that it refers to, makes
//! the reader panic, loop or answer with an offset outside the file.
#![no_main]

use httpsniff::tls::elf::Elf;
use httpsniff::tls::golang;
use libfuzzer_sys::fuzz_target;

/// Where code and table are in the file.
const CODE: usize = 0x1000;
const TABLE: usize = 0x2000;

fuzz_target!(|bytes: &[u8]| {
    let file = program(bytes);
    let Ok(elf) = Elf::open(&file[..]) else {
        return;
    };
    let Some(go) = golang::look(&elf) else { return };
    for probe in go.probes.unwrap_or_default() {
        assert!(probe.offset < file.len() as u64);
    }
});

/// A program without section headers: the first bytes are the code, the rest
/// is the table behind its magic.
fn program(bytes: &[u8]) -> Vec<u8> {
    let (code, table) = bytes.split_at(bytes.len().min(512));
    let mut file = vec![0; TABLE];
    file[CODE..CODE + code.len()].copy_from_slice(code);
    file.extend_from_slice(&[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]);
    file.extend_from_slice(table);
    let length = (file.len() - TABLE) as u64;
    let mut put = |at: usize, part: &[u8]| file[at..at + part.len()].copy_from_slice(part);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[2, 0, 62, 0, 1]);
    put(32, &64_u64.to_le_bytes());
    put(52, &[64, 0, 56, 0, 2, 0, 64]);
    for (at, flags, start, length) in [(64, 5, CODE, 0x1000), (120, 4, TABLE, length)] {
        put(at, &[1, 0, 0, 0, flags]);
        for (field, value) in [
            (8, start as u64),
            (16, start as u64),
            (32, length),
            (40, length),
        ] {
            put(at + field, &u64::to_le_bytes(value));
        }
    }
    file
}
