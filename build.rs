//! Builds the BPF object from `bpf/` and its skeleton, with clang.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "live")]
    live::build();
}

#[cfg(feature = "live")]
mod live {
    use std::env;
    use std::ffi::OsStr;
    use std::path::PathBuf;

    use libbpf_cargo::SkeletonBuilder;

    const SOURCE: &str = "bpf/httpsniff.bpf.c";

    pub(super) fn build() {
        println!("cargo::rerun-if-changed=bpf");
        let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
        assert!(
            arch == "x86_64",
            "live capture is written for x86_64 only as yet, not for {arch}: \
             build with --no-default-features to read capture files"
        );
        let out =
            PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("httpsniff.skel.rs");
        let built = SkeletonBuilder::new()
            .source(SOURCE)
            .clang_args([
                OsStr::new("-Wall"),
                OsStr::new("-Wextra"),
                OsStr::new("-Werror"),
                // The instructions that every kernel from 5.10 on knows.
                OsStr::new("-mcpu=v2"),
            ])
            .build_and_generate(&out);
        if let Err(error) = built {
            panic!(
                "cannot build {SOURCE} (is clang installed? `make` installs it on Debian): {error:#}"
            );
        }
    }
}
