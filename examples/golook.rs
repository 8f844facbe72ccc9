fn main() {
    for f in std::env::args().skip(1) {
        let file = std::fs::File::open(&f).unwrap();
        let t = std::time::Instant::now();
        let e = httpsniff::tls::elf::Elf::open(&file).unwrap();
        let r = httpsniff::tls::golang::look(&e);
        println!("{f} {:?}", t.elapsed());
        if let Some(r) = r {
            println!(
                "  {} {:?}",
                r.library,
                r.probes.map(|p| p
                    .iter()
                    .map(|p| format!("{:?}@{:x}", p.role, p.offset))
                    .collect::<Vec<_>>()
                    .join(" "))
            );
        }
    }
}
