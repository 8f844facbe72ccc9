//! httpsniff shows the HTTP that a Linux process sends and receives, in clear
//! and inside TLS, without proxy, certificate or restart.
//!
//! A byte goes one way through the modules, and each knows only the one
//! before it:
//!
//! ```text
//! capture ─▶ event ─▶ flow ─▶ http ─▶ exchange ─▶ filter ─▶ output
//!    read ─┘
//! ```
//!
//! Everything right of [`event`] is plain Rust over `&[u8]`: no kernel, no
//! `/proc`, no opening of files. docs/ARCHITECTURE.md has the whole picture.

pub mod caller;
#[cfg(feature = "live")]
pub mod capture;
pub mod cli;
pub mod command;
pub mod container;
pub mod content;
pub mod engine;
pub mod event;
pub mod exchange;
pub mod filter;
pub mod flow;
pub mod glob;
pub mod http;
pub mod message;
pub mod options;
pub mod output;
pub mod process;
pub mod procfs;
pub mod read;
pub mod redact;
pub mod run;
pub mod stats;
pub mod tls;
pub mod tls_flow;
pub mod tls_hello;
