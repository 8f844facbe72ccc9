//! The entry points of the fuzz targets without a fuzzer.

#![allow(clippy::expect_used, reason = "tests")]

#[path = "../../fuzz/entry.rs"]
mod entry;

mod corpus;
mod random;
