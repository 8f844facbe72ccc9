//! BoringSSL as a shared library.

#[path = "../boringssl.rs"]
mod boringssl;

fn main() {
    boringssl::main();
}
