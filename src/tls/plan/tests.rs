use super::super::ProbeRole::{self, *};
use super::super::library::LIBRARIES;
use super::*;

const OPENSSL: &[u8] = include_bytes!("../../../fixtures/elf/openssl.so");
const LIBRESSL: &[u8] = include_bytes!("../../../fixtures/elf/libressl.so");

fn plan<R: ReadAt + ?Sized>(file: &R, version: &str) -> Vec<(ProbeRole, Placement)> {
    let elf = Elf::open(file).unwrap();
    let names: Vec<&str> = LIBRARIES[0].calls.iter().map(|c| c.symbol).collect();
    let functions = elf.functions(&names).unwrap();
    probes(&elf, &LIBRARIES[0], &functions, version, Returns::Probes)
        .unwrap()
        .into_iter()
        .map(|probe| (probe.role, probe.placement))
        .collect()
}

#[test]
fn without_return_probes_every_end_is_a_probe_on_an_instruction() {
    for file in [OPENSSL, LIBRESSL] {
        let elf = Elf::open(file).unwrap();
        let names: Vec<&str> = LIBRARIES[0].calls.iter().map(|c| c.symbol).collect();
        let functions = elf.functions(&names).unwrap();
        let with = |returns| probes(&elf, &LIBRARIES[0], &functions, "", returns).unwrap();
        let entries = |probes: &[Probe]| {
            let mut roles: Vec<_> = probes.iter().map(|p| p.role).collect();
            roles.retain(|role| !role.is_exit());
            roles.len()
        };
        let (by_return, by_exit) = (with(Returns::Probes), with(Returns::Exits));
        assert!(by_exit.iter().all(|p| p.placement == Placement::At));
        assert!(by_exit.iter().any(|p| p.role.is_exit()));
        assert_eq!(entries(&by_return), entries(&by_exit));
    }
}

const PLAIN: [(ProbeRole, Placement); 5] = [
    (ReadEnter, Placement::At),
    (ReadExit, Placement::Return),
    (WriteEnter, Placement::At),
    (WriteExit, Placement::Return),
    (Free, Placement::At),
];

#[test]
fn openssl_is_probed_at_all_its_functions() {
    let found = plan(OPENSSL, "OpenSSL 3.0.19");
    assert_eq!(found.len(), 9);
    for probe in PLAIN {
        assert!(found.contains(&probe));
    }
    assert!(found.contains(&(ReadExEnter, Placement::At)));
    assert!(found.contains(&(WriteExExit, Placement::Return)));
}

#[test]
fn a_wrapper_is_left_to_what_it_calls() {
    // By its code, whatever it is called …
    assert_eq!(plan(LIBRESSL, "OpenSSL 9.9.9"), PLAIN);
    // … and by its name, where the call goes through a table.
    assert_eq!(plan(OPENSSL, "AWS-LC 1.29.0"), PLAIN);
}

/// Where the files of Debian's OpenSSL are: this machine's, and those that
/// `scripts/tls-fetch.sh` unpacks.
fn debians() -> Vec<(&'static str, String)> {
    const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tls/openssl-");
    [
        ("this machine's", format!("/{LIBRARIES}/libssl.so.3")),
        (
            "1.1.1",
            format!("{unpacked}1.1.1/{LIBRARIES}/libssl.so.1.1"),
        ),
        ("3.5", format!("{unpacked}3.5/{LIBRARIES}/libssl.so.3")),
        ("3.6", format!("{unpacked}3.6/{LIBRARIES}/libssl.so.3")),
        ("4.0", format!("{unpacked}4.0/{LIBRARIES}/libssl.so.4")),
    ]
    .into()
}

/// Each version is probed behind its symbols. The table is what was found in
/// November 2026: the compilers of the last two save registers by `mov`, so
/// that there is no instruction to emulate before the return address is away
/// from the top of the stack.
#[test]
fn debians_openssl_is_probed_behind_its_symbols() {
    for (version, path) in debians() {
        let Ok(file) = std::fs::File::open(&path) else {
            eprintln!("skipped: no {path} here");
            continue;
        };
        let elf = Elf::open(&file).unwrap();
        if elf.machine() != EM_X86_64 {
            eprintln!("skipped: {path} is not for x86-64");
            continue;
        }
        let names: Vec<&str> = LIBRARIES[0].calls.iter().map(|c| c.symbol).collect();
        let functions = elf.functions(&names).unwrap();
        let with = |returns| probes(&elf, &LIBRARIES[0], &functions, "OpenSSL", returns);
        let found = with(Returns::Probes).unwrap();
        let written = match version {
            "1.1.1" | "this machine's" => WriteExEnter,
            // From 3.3 on.
            _ => WriteFlagsEnter,
        };
        let roles: Vec<_> = found.iter().take(4).map(|probe| probe.role).collect();
        let behind = [ReadExEnter, ReadSharedExit, written, WriteExExit];
        assert_eq!(roles, behind, "{version}: {found:?}");
        for probe in &found[..4] {
            assert!(functions.iter().flatten().all(|f| f.offset != probe.offset));
            let code = elf.bytes_at(probe.offset, 2).unwrap();
            let push = matches!(code[..], [0x50..=0x57, _] | [0x40 | 0x41, 0x50..=0x57]);
            let emulated = !matches!(version, "3.6" | "4.0");
            assert_eq!(
                push, emulated,
                "{version}: {:?} sits on {code:02x?}",
                probe.role
            );
            eprintln!("{version}: {:?} at {:#x}", probe.role, probe.offset);
        }
        // Early data is not covered by these in every build, and others never.
        for role in [EarlyWriteExit, HandshakeEnter, NewExit, Free] {
            assert!(
                found[4..].iter().any(|probe| probe.role == role),
                "{role:?}"
            );
        }
        // Without return probes too, but for what is dispensable.
        let exits = with(Returns::Exits).unwrap();
        for role in [ReadExit, WriteExit, Free] {
            assert!(exits.iter().any(|probe| probe.role == role), "{role:?}");
        }
    }
}

/// A program that holds the library is probed at its symbols or behind them.
#[test]
fn node_is_probed_at_its_symbols_or_behind_them_not_both() {
    let path = "/usr/bin/node";
    let Ok(file) = std::fs::File::open(path) else {
        eprintln!("skipped: no {path} here");
        return;
    };
    let found = plan(&file, "OpenSSL 3.0.0");
    let roles: Vec<_> = found.iter().map(|probe| probe.0).collect();
    match roles[..] {
        [
            ReadExEnter,
            ReadSharedExit,
            WriteExEnter | WriteFlagsEnter,
            WriteExExit,
            ..,
        ] => assert!(!roles.contains(&ReadExit)),
        [ReadEnter, ReadExit, WriteEnter, WriteExit, ..] => {
            assert!(!roles.contains(&ReadSharedExit));
            eprintln!("{path}: at its symbols");
        }
        // Debian's own node has its TLS in a library.
        [] => eprintln!("skipped: no TLS in {path}"),
        _ => panic!("{path}: {found:?}"),
    }
}
