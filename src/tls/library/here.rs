//! The libraries that are installed here: which are skipped is said.

use std::collections::BTreeSet;
use std::fs::File;

use crate::event::Source;
use crate::tls::Returns;
use crate::tls::elf::Elf;
use crate::tls::inspect::{Inspection, inspect};
use crate::tls::root::Root;

fn look(name: &str) -> Option<(File, Inspection)> {
    let path = format!("/usr/lib/x86_64-linux-gnu/{name}");
    let Ok(file) = File::open(&path) else {
        eprintln!("skipped: no {path} here");
        return None;
    };
    let root = Root::own().unwrap();
    let found = inspect(&file, path.as_bytes(), Some(&root), Returns::Probes).unwrap();
    Some((file, found.unwrap()))
}

/// Which of these symbols are probed.
fn probed<'a>(file: &File, found: &Inspection, symbols: &[&'a str]) -> BTreeSet<&'a str> {
    let functions = Elf::open(file).unwrap().functions(symbols).unwrap();
    let offsets: BTreeSet<u64> = found.probes.iter().map(|probe| probe.offset).collect();
    symbols
        .iter()
        .zip(functions)
        .filter(|(_, function)| function.is_some_and(|f| offsets.contains(&f.offset)))
        .map(|(symbol, _)| *symbol)
        .collect()
}

#[test]
fn gnutls_is_probed_where_its_sending_functions_meet() {
    let Some((file, found)) = look("libgnutls.so.30") else {
        return;
    };
    assert_eq!(found.source, Source::GnuTls);
    assert!(found.library.starts_with("GnuTLS 3."), "{}", found.library);
    let probed = probed(
        &file,
        &found,
        &[
            "gnutls_record_send",
            "gnutls_record_send2",
            "gnutls_record_recv",
        ],
    );
    assert_eq!(
        probed,
        BTreeSet::from(["gnutls_record_send2", "gnutls_record_recv"])
    );
}

#[test]
fn both_parts_of_nss_know_its_version() {
    for (name, symbol) in [("libssl3.so", "SSL_ImportFD"), ("libnspr4.so", "PR_Write")] {
        let Some((file, found)) = look(name) else {
            return;
        };
        assert_eq!(found.source, Source::Nss);
        assert!(found.library.starts_with("NSS 3."), "{}", found.library);
        assert!(probed(&file, &found, &[symbol]).contains(symbol), "{name}");
    }
}

#[test]
fn wolfssl_and_mbed_tls_are_found() {
    for (name, source, library) in [
        ("libwolfssl.so", Source::WolfSsl, "wolfSSL 5."),
        ("libmbedtls.so", Source::MbedTls, "Mbed TLS "),
    ] {
        let Some((_, found)) = look(name) else {
            continue;
        };
        assert_eq!(found.source, source);
        assert!(found.library.starts_with(library), "{}", found.library);
    }
}
