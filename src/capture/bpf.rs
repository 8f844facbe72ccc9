//! The skeleton that build.rs generates from `bpf/`: programs, maps, and the
//! types of the records.

// Generated code: its style is not ours, its unsafe is libbpf-cargo's.
#![allow(
    clippy::all,
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    dead_code
)]

include!(concat!(env!("OUT_DIR"), "/httpsniff.skel.rs"));
