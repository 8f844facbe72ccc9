//! HTTP/2 in the file: what tshark makes of it with no option, or with the one
//! that the summary prints, and what `-r` gives back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

#[path = "../pcapng_support/mod.rs"]
mod pcapng_support;

mod dissection;
mod filtered;
mod frames;
mod partial;
mod run;
mod views;
mod whole;
