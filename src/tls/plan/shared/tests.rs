use super::*;
use crate::tls::library::LIBRARIES;

/// Code of real libraries; `fixtures/elf/code.sh` made it.
const CODE: &str = include_str!("../../../../fixtures/elf/code.txt");

/// A program of code at given addresses, and nothing else.
struct Image {
    bytes: Vec<u8>,
    functions: Vec<(String, Function)>,
}

/// Where the code begins in the file.
const START: u64 = 0x1000;

impl Image {
    fn new<'a>(parts: impl Iterator<Item = (&'a str, u64, Vec<u8>)> + Clone) -> Self {
        let base = parts.clone().map(|part| part.1).min().unwrap() & !0xfff;
        let end = parts.clone().map(|part| part.1 + part.2.len() as u64);
        // Room after the last, as in a file.
        let length = end.max().unwrap() + 64 - base;
        let mut bytes = vec![0; (START + length) as usize];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(0, b"\x7fELF\x02\x01\x01");
        put(16, &[3, 0, 62, 0, 1]);
        put(32, &64_u64.to_le_bytes());
        put(52, &[64, 0, 56, 0, 1, 0, 64]);
        put(64, &[1, 0, 0, 0, 5]);
        for (at, value) in [(72, START), (80, base), (96, length), (104, length)] {
            put(at, &value.to_le_bytes());
        }
        let mut functions = Vec::new();
        for (name, address, code) in parts {
            let offset = address - base + START;
            put(offset as usize, &code);
            let size = code.len() as u64;
            functions.push((
                name.to_owned(),
                Function {
                    offset,
                    address,
                    size,
                },
            ));
        }
        Self { bytes, functions }
    }

    /// The code of a version of OpenSSL.
    fn openssl(version: &str) -> Self {
        let parts: Vec<_> = CODE
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .filter(|words| words[0] == version)
            .map(|words| {
                let address = u64::from_str_radix(words[2], 16).unwrap();
                (words[1], address, bytes_of(words[3]))
            })
            .collect();
        Self::new(parts.into_iter())
    }

    fn symbol(&self, name: &str) -> Option<Function> {
        let found = self.functions.iter().find(|(symbol, _)| symbol == name);
        found.map(|(_, function)| *function)
    }

    fn find(&self, pair: usize) -> Option<Shared> {
        let elf = Elf::open(&self.bytes[..]).unwrap();
        find(&elf, &LIBRARIES[0].pairs[pair], |name| self.symbol(name))
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

#[test]
fn the_functions_behind_openssl_are_found_in_every_version() {
    use CountAt::{Fifth, Fourth};
    for (version, written, slide) in [
        ("1.1.1w", Fourth, 0),
        ("3.0.19", Fourth, 0),
        // `endbr64; push`: at the push.
        ("3.5.7", Fifth, 4),
        ("3.6.5", Fifth, 0),
        ("4.0.3", Fifth, 0),
    ] {
        let image = Image::openssl(version);
        let behind: Vec<u64> = image
            .functions
            .iter()
            .filter(|(name, _)| name == "behind")
            .map(|(_, function)| function.offset + slide)
            .collect();
        let expected = |offset, count| Some(Shared { offset, count });
        assert_eq!(image.find(0), expected(behind[0], Fourth), "{version}");
        assert_eq!(image.find(1), expected(behind[1], written), "{version}");
    }
}

#[test]
fn a_shell_that_only_jumps_through_the_table_of_imports_is_known() {
    for (version, jumps) in [("1.1.1w", false), ("3.0.19", false), ("3.5.7", true)] {
        let image = Image::openssl(version);
        let elf = Elf::open(&image.bytes[..]).unwrap();
        let function = |name| image.symbol(name).unwrap();
        assert_eq!(
            jumps_on(&elf, &function("SSL_write_ex")),
            jumps,
            "{version}"
        );
        assert!(!jumps_on(&elf, &function("SSL_read_ex")), "{version}");
    }
}

#[test]
fn what_the_import_leads_to_must_be_in_the_file() {
    let mut image = Image::openssl("3.5.7");
    image.functions.retain(|(name, _)| name != "SSL_write_ex2");
    assert_eq!(image.find(1), None);
}

const PLAIN: u64 = 0x1000;
const EX: u64 = 0x1100;
const INNER: u64 = 0x1200;
const OTHER: u64 = 0x1300;
const IMPORT: u64 = 0x1400;

/// Assembles hand-written code: `call ADDRESS`, `jmp ADDRESS`, or hex.
fn assemble(address: u64, lines: &[&str]) -> Vec<u8> {
    let mut code = Vec::new();
    for line in lines {
        let target = |line: &str| u64::from_str_radix(line, 16).unwrap();
        let (opcode, target) = if let Some(to) = line.strip_prefix("call ") {
            (0xe8, target(to))
        } else if let Some(to) = line.strip_prefix("jmp ") {
            (0xe9, target(to))
        } else {
            code.extend(bytes_of(line));
            continue;
        };
        code.push(opcode);
        let next = address + code.len() as u64 + 4;
        code.extend((target.wrapping_sub(next) as u32).to_le_bytes());
    }
    code
}

/// What is found behind two functions of hand-written code.
fn behind(plain: &[&str], ex: &[&str]) -> Option<Shared> {
    let import = bytes_of("f30f1efa ff2500000000");
    let parts = [
        ("SSL_read", PLAIN, assemble(PLAIN, plain)),
        ("SSL_read_ex", EX, assemble(EX, ex)),
        ("inner", INNER, bytes_of("55 5d c3")),
        ("other", OTHER, bytes_of("55 5d c3")),
        ("import", IMPORT, import),
    ];
    Image::new(parts.into_iter()).find(0)
}

/// `sub $0x18,%rsp`, `lea 8(%rsp),%rcx`, `movslq %edx,%rdx`; then the call.
const BEFORE: &str = "4883ec18 488d4c2408 4863d2";
/// `add $0x18,%rsp; ret`.
const AFTER: &str = "4883c418 c3";
const FOUND: Option<Shared> = Some(Shared {
    offset: START + INNER - PLAIN,
    count: CountAt::Fourth,
});

#[test]
fn arguments_are_followed_through_registers_and_the_stack() {
    let plain = [BEFORE, "call 1200", AFTER];
    for (what, before) in [
        ("nothing between", &[""; 1][..]),
        (
            "kept in registers and pushed over a call",
            &[
                "53 55 4154 4889fb 4889f5 4989d4 51 31f6",
                "call 1300",
                "59 4889df 4889ee 4c89e2",
            ],
        ),
        (
            "kept on the stack over a call",
            &[
                "4883ec28 48893c24 4889742408 4889542410 48894c2418 31f6",
                "call 1300",
                "488b3c24 488b742408 488b542410 488b4c2418 4883c428",
            ],
        ),
        (
            "with a frame: push %rbp; mov %rsp,%rbp; sub $0x10,%rsp",
            &["55 4889e5 4883ec10 488975f8 31f6", "488b75f8"],
        ),
    ] {
        let ex = [before, &["4883ec08", "call 1200", "4883c408 c3"]].concat();
        assert_eq!(behind(&plain, &ex), FOUND, "{what}");
    }
}

#[test]
fn without_proof_nothing_is_found() {
    let plain: [&str; 3] = [BEFORE, "call 1200", AFTER];
    let ex = ["4883ec08", "call 1200", "4883c408 c3"];
    assert_eq!(behind(&plain, &ex), FOUND);
    for (what, plain, ex) in [
        (
            "different functions",
            &plain[..],
            &["4883ec08", "call 1300", "4883c408 c3"][..],
        ),
        (
            "xor %edi,%edi",
            &plain,
            &["31ff 4883ec08", "call 1200", "4883c408 c3"],
        ),
        (
            "mov %rdx,%rsi",
            &plain,
            &["4889d6 4883ec08", "call 1200", "4883c408 c3"],
        ),
        (
            "mov %dl,%sil: a part of a register",
            &plain,
            &["4088d6 4883ec08", "call 1200", "4883c408 c3"],
        ),
        (
            "only 32 bits of a size_t",
            &plain,
            &["89d2 4883ec08", "call 1200", "4883c408 c3"],
        ),
        (
            "no pointer to a count",
            &["4883ec18 31c9", "call 1200", AFTER],
            &ex,
        ),
        (
            "two pointers to a count",
            &[BEFORE, "4989c8", "call 1200", AFTER],
            &ex,
        ),
        (
            "lost in a call before",
            &plain,
            &["4883ec08", "call 1300", "call 1200", "4883c408 c3"],
        ),
        (
            "on one of two paths: test %edx,%edx; je +2; xor %esi,%esi",
            &plain,
            &["85d2 7402 31f6 4883ec08", "call 1200", "4883c408 c3"],
        ),
        (
            "two candidates",
            &plain,
            &[
                "4883ec08 85d2 740a",
                "call 1200",
                "4883c408 c3",
                "call 1300",
                "4883c408 c3",
            ],
        ),
        (
            "call *0x38(%rax): it may read there too",
            &plain,
            &["4883ec08", "call 1200", "ff5038 4883c408 c3"],
        ),
        (
            "an import",
            &[BEFORE, "call 1400", AFTER],
            &["4883ec08", "call 1400", "4883c408 c3"],
        ),
        (
            "outside of the file",
            &[BEFORE, "call 9200", AFTER],
            &["4883ec08", "call 9200", "4883c408 c3"],
        ),
        ("no code: an invalid instruction", &plain, &["06"]),
        (
            "a slot that something else is written to: \
          sub $0x18,%rsp; mov %rsi,8(%rsp); movb $0,9(%rsp); mov 8(%rsp),%rsi",
            &plain,
            &[
                "4883ec18 4889742408 c644240900 488b742408",
                "call 1200",
                AFTER,
            ],
        ),
        (
            "a slot whose address a call has had: \
          push %rbx; sub $0x10,%rsp; mov %rdi,(%rsp); mov %rdi,%rbx; …",
            &plain,
            &[
                "4156 4155 4154 53 4883ec18 48893424 4989fc 4989d5 4989ce 4889e7",
                "call 1300",
                "4c89e7 488b3424 4c89ea 4c89f1",
                "call 1200",
                AFTER,
            ],
        ),
    ] {
        assert_eq!(behind(plain, ex), None, "{what}");
    }
}

#[test]
fn a_loop_ends() {
    // jmp to itself; and `mov %rdi,%rsi; mov %rax,%rdi; jmp back`.
    assert_eq!(behind(&["ebfe"], &["ebfe"]), None);
    assert_eq!(behind(&["4889fe 4889c7 ebf8"], &["ebfe"]), None);
}

#[test]
fn damaged_code_never_panics_and_always_ends() {
    // xorshift: the same damage every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut image = Image::openssl("4.0.3");
    let whole = image.bytes.clone();
    for _ in 0..4_000 {
        for _ in 0..=next(6) {
            let (_, function) = &image.functions[next(image.functions.len())];
            let at = function.offset as usize + next(function.size as usize);
            image.bytes[at] = next(256) as u8;
        }
        let _ = (image.find(0), image.find(1));
        image.bytes.copy_from_slice(&whole);
    }
}
