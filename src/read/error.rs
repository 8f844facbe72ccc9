//! What can be wrong with a capture file.

use std::io;

/// Why a capture file could not be read to its end. The texts are for the
/// user.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The input could not be read.
    #[error("cannot read the capture: {0}")]
    Io(#[from] io::Error),
    /// The input is empty.
    #[error("the capture is empty: nothing was written to it")]
    Empty,
    /// The first bytes are of no capture file.
    #[error("this is not a pcapng or pcap file: {0}")]
    NotACapture(&'static str),
    /// Something in the file cannot be right.
    #[error(
        "the capture is damaged at byte {offset}: {what}; what came before was read \
         (pcapfix or `editcap` may save the rest)"
    )]
    Damaged {
        /// Bytes from the beginning of the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// What the caller's function answered.
    #[error(transparent)]
    Handler(anyhow::Error),
}
