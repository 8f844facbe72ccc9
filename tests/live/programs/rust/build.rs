//! Links BoringSSL to the two programs that use it: what `scripts/peers.sh` has
//! built in the folder `PEERS_BORINGSSL`.

fn main() {
    println!("cargo::rerun-if-env-changed=PEERS_BORINGSSL");
    let Ok(folder) = std::env::var("PEERS_BORINGSSL") else {
        return;
    };
    for argument in [
        format!("{folder}/libssl.a"),
        format!("{folder}/libcrypto.a"),
        "-lstdc++".to_owned(),
    ] {
        println!("cargo::rustc-link-arg-bin=boringssl_static={argument}");
    }
    for argument in [
        format!("-L{folder}"),
        "-lboringssl".to_owned(),
        format!("-Wl,-rpath,{folder}"),
    ] {
        println!("cargo::rustc-link-arg-bin=boringssl_shared={argument}");
    }
}
