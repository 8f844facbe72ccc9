//! No file, however damaged, makes the ELF reader panic, loop or answer with
//! an offset outside the file.
#![no_main]

use httpsniff::tls::Returns;
use httpsniff::tls::elf::Elf;
use httpsniff::tls::golang;
use httpsniff::tls::library::LIBRARIES;
use httpsniff::tls::plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(elf) = Elf::open(bytes) else { return };
    let _ = elf.native();
    let _ = elf.build_id();
    let _ = elf.dynamic();
    for probe in golang::look(&elf).map_or_else(Vec::new, |go| go.probes.unwrap_or_default()) {
        assert!(probe.offset < bytes.len() as u64);
    }
    for library in LIBRARIES {
        let names: Vec<&str> = library.calls.iter().map(|call| call.symbol).collect();
        let version = elf.find_constant(library.version_mark, library.version);
        let Ok(functions) = elf.functions(&names) else {
            return;
        };
        let version = version.unwrap_or_default();
        for returns in [Returns::Probes, Returns::Exits] {
            let probes = plan::probes(&elf, library, &functions, &version, returns);
            for probe in probes.unwrap_or_default() {
                assert!(probe.offset < bytes.len() as u64);
            }
        }
    }
});
