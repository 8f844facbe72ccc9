//! The live tests: httpsniff as root on real servers and clients, compared
//! byte by byte with what the endpoints say.
//!
//! They choose the backend by `HTTPSNIFF_TEST_BACKEND` (default: httpsniff's
//! own choice). The tests in [`kernel`] also run inside virtual machines
//! (`make test-kernels`). What cannot run prints why; in CI that is a failure.
#![cfg(feature = "live")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on shall panic"
)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod boringssl;
mod command;
mod containers;
mod finding;
mod flows;
mod golang;
mod grpc;
mod har;
mod harm;
mod http2;
mod http2_ends;
mod http2_joins;
mod http2_websocket;
mod inplace;
mod kernel;
mod lifecycle;
mod load;
mod openssl;
mod other_tls;
mod pcapng;
mod peers;
mod processes;
mod reqwest;
mod runtimes;
mod rustls;
mod selectors;
mod streams;
mod views;
mod websocket;
mod websocket_joins;
