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

#[test]
fn this_machines_openssl_is_probed_at_its_symbols_or_behind_them_not_both() {
    for path in [
        "/usr/lib/x86_64-linux-gnu/libssl.so.3",
        "/usr/lib64/libssl.so.3",
        "/usr/bin/node",
    ] {
        let Ok(file) = std::fs::File::open(path) else {
            eprintln!("skipped: no {path} here");
            continue;
        };
        let mut found = plan(&file, "OpenSSL 3.0.0");
        found.retain(|probe| !matches!(probe.0, NewExit | Free | HandshakeEnter | HandshakeExit));
        let roles: Vec<_> = found.iter().map(|probe| probe.0).collect();
        match roles[..] {
            [
                ReadExEnter,
                ReadSharedExit,
                WriteExEnter | WriteFlagsEnter,
                WriteExExit,
            ] => {}
            [ReadEnter, ReadExit, WriteEnter, WriteExit, ..] => {
                assert!(!roles.contains(&ReadSharedExit) && !roles.contains(&WriteFlagsEnter));
                eprintln!("{path}: at its symbols");
            }
            // Debian's own node has its TLS in a library.
            [] if path.ends_with("/node") => eprintln!("skipped: no TLS in {path}"),
            _ => panic!("{path}: {found:?}"),
        }
    }
}
