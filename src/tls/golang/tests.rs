use super::*;

/// Where in the file, and at which addresses, code and table are.
const CODE: u64 = 0x1000;
const TABLE: u64 = 0x4000;
const NOTE: u64 = 0x8000;
const BASE: u64 = 0x40_0000;

/// `cmp 0x10(%r14),%rsp; jbe grow`, then `push %rbp` and a frame …
const NEW: &[u8] = b"\x49\x3b\x66\x10\x76\x0e\x55\x48\x89\xe5\x48\x83\xec\x10\x48\x83\xc4\x10\x5d\xc3\xe8\0\0\0\0\xeb\xe5";
/// … or a frame at once, as before Go 1.21.
const OLD: &[u8] =
    b"\x49\x3b\x66\x10\x76\x09\x48\x83\xec\x10\x48\x83\xc4\x10\xc3\xe8\0\0\0\0\xeb\xea";

/// What a Go linker writes, without section headers.
struct Program {
    magic: u32,
    text: u64,
    code: &'static [u8],
    names: Vec<&'static str>,
    version: &'static [u8],
}

impl Program {
    fn new() -> Self {
        Self {
            magic: 0xffff_fff1,
            text: BASE + CODE,
            code: NEW,
            names: vec![
                "crypto/tls.(*Conn).Close",
                "crypto/tls.(*Conn).Read",
                "crypto/tls.(*Conn).ReadFrom",
                "vendor/crypto/tls.(*Conn).Write",
                "crypto/tls.(*Conn).Write",
                "main.main",
            ],
            version: b"go1.26.8",
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 0x9000];
        let mut put = |at: u64, part: &[u8]| {
            let at = at as usize;
            bytes[at..at + part.len()].copy_from_slice(part);
        };
        put(0, b"\x7fELF\x02\x01\x01");
        put(16, &[2, 0, 62, 0, 1]);
        put(32, &64_u64.to_le_bytes());
        put(52, &[64, 0, 56, 0, 3, 0, 64]);
        for (number, (flags, at)) in [(5, CODE), (4, TABLE), (6, NOTE)].into_iter().enumerate() {
            let header = 64 + 56 * number as u64;
            put(header, &[1, 0, 0, 0, flags]);
            let length = if flags == 6 { 0x1000 } else { 0x3000 };
            for (field, value) in [(8, at), (16, BASE + at), (32, length), (40, length)] {
                put(header + field, &u64::to_le_bytes(value));
            }
        }
        let mut names = vec![0];
        let mut entries = Vec::new();
        let count = self.names.len();
        let mut functions = Vec::new();
        for (number, name) in self.names.iter().enumerate() {
            let entry = number as u32 * 0x40;
            put(CODE + u64::from(entry), &[0xcc; 0x40]);
            put(CODE + u64::from(entry), self.code);
            entries.extend([entry, (8 * count + 8 + 16 * number) as u32]);
            functions.extend([entry, names.len() as u32, 0, 0]);
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        entries.extend([count as u32 * 0x40, 0]);
        put(TABLE + 72, &names);
        for (number, word) in entries.into_iter().chain(functions).enumerate() {
            put(TABLE + 0x1000 + 4 * number as u64, &word.to_le_bytes());
        }
        put(TABLE, &self.magic.to_le_bytes());
        put(TABLE + 4, &[0, 0, 1, 8]);
        let names_end = 72 + names.len() as u64;
        let words = [
            count as u64,
            1,
            self.text,
            72,
            names_end,
            names_end,
            names_end,
            0x1000,
        ];
        for (number, word) in words.into_iter().enumerate() {
            put(TABLE + 8 + 8 * number as u64, &word.to_le_bytes());
        }
        put(NOTE + 0x40, b"\xff Go buildinf:\x08\x02");
        put(NOTE + 0x60, &[self.version.len() as u8]);
        put(NOTE + 0x61, self.version);
        bytes
    }

    fn look(&self) -> Option<CryptoTls> {
        let bytes = self.bytes();
        look(&Elf::open(&bytes[..]).unwrap())
    }
}

fn probes(found: Option<CryptoTls>) -> Vec<(ProbeRole, u64)> {
    let found = found.unwrap().probes.unwrap();
    assert!(
        found
            .iter()
            .all(|p| p.placement == Placement::At && p.stack == 0)
    );
    found.iter().map(|p| (p.role, p.offset - CODE)).collect()
}

#[test]
fn functions_are_found_by_the_table_alone() {
    let found = Program::new().look();
    assert_eq!(found.as_ref().unwrap().library, "Go 1.26.8");
    use ProbeRole::{Free, ReadEnter, ReadExit, WriteEnter, WriteExit};
    let expected = [
        // At the push, which is reached once.
        (ReadEnter, 0x40 + 6),
        (ReadExit, 0x40 + 19),
        (WriteEnter, 4 * 0x40 + 6),
        (WriteExit, 4 * 0x40 + 19),
        (Free, 6),
    ];
    assert_eq!(probes(found), expected);
}

#[test]
fn without_a_push_the_jump_is_probed() {
    let program = Program {
        magic: 0xffff_fff0,
        code: OLD,
        version: b"go1.19.8",
        ..Program::new()
    };
    let found = probes(program.look());
    assert_eq!(found[0], (ProbeRole::ReadEnter, 0x40 + 4));
    assert_eq!(found[1], (ProbeRole::ReadExit, 0x40 + 14));
}

#[test]
fn a_program_without_crypto_tls_is_none() {
    let mut program = Program::new();
    program.names = vec![
        "main.main",
        "notcrypto/tls.(*Conn).Read",
        "crypto/tls.(*Conn).",
    ];
    assert_eq!(program.look(), None);
    program.magic = 0x1234_5678;
    assert_eq!(program.look(), None);
}

#[test]
fn what_is_not_as_it_should_be_is_not_probed() {
    let reason = |program: Program| program.look().unwrap().probes.unwrap_err();
    // Arguments on the stack: the goroutine is in thread-local storage.
    let code = b"\x64\x48\x8b\x0c\x25\xf8\xff\xff\xff\x48\x3b\x61\x10\x76\x01\xc3\xeb\xed";
    let program = Program {
        code,
        ..Program::new()
    };
    assert_eq!(reason(program), Unreadable::Code);
    // The code is elsewhere.
    let program = Program {
        text: BASE + CODE + 8,
        ..Program::new()
    };
    assert_eq!(reason(program), Unreadable::Code);
    let program = Program {
        text: 0,
        ..Program::new()
    };
    assert_eq!(reason(program), Unreadable::Code);
    // jmp *%rcx somewhere: cmp; jbe; push; jmp; ret
    let program = Program {
        code: b"\x49\x3b\x66\x10\x76\x02\x55\xff\xe1\xc3",
        ..Program::new()
    };
    assert_eq!(reason(program), Unreadable::Exits);
}

#[test]
fn damage_is_survived() {
    let whole = Program::new().bytes();
    for at in (0..0x100).chain(0x4000..0x4100).chain(0x5000..0x5080) {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            if let Ok(elf) = Elf::open(&bytes[..])
                && let Some(found) = look(&elf)
                && let Ok(probes) = found.probes
            {
                assert!(probes.iter().all(|p| p.offset < bytes.len() as u64));
            }
        }
    }
    for length in (0..whole.len()).step_by(61) {
        if let Ok(elf) = Elf::open(&whole[..length]) {
            let _ = look(&elf);
        }
    }
}
