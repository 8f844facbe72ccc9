//! BoringSSL inside the program, with its symbols.

#[path = "../boringssl.rs"]
mod boringssl;

fn main() {
    boringssl::main();
}
