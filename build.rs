//! Builds the BPF object from `bpf/`.

fn main() {}
