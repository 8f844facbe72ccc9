//! What a TLS connection says of itself before it is encrypted: the first
//! handshake message of each direction (RFC 8446 4.1.2, 4.1.3), read from TLS
//! records for connections whose plaintext is not read.
//!
//! Bytes in, facts out: no I/O, and no length of the wire is trusted. At most
//! [`LIMIT`] bytes of a direction are held.

use std::fmt;

mod fields;
mod message;
mod suites;

pub use message::{ClientHello, ServerHello};
pub use suites::suite_name;

/// Bytes of a direction that are looked at: four records (RFC 8446 5.1).
pub const LIMIT: usize = 4 * (16384 + 5);

/// Longest fragment that is believed: 2^14 and 2048 of expansion (RFC 5246
/// 6.2.3).
const FRAGMENT_LIMIT: usize = 16384 + 2048;

/// Types of records (RFC 8446 5.1) and of handshake messages (4).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// A version of the protocol by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0x0300 => f.write_str("SSL 3.0"),
            0x0301 => f.write_str("TLS 1.0"),
            0x0302 => f.write_str("TLS 1.1"),
            0x0303 => f.write_str("TLS 1.2"),
            0x0304 => f.write_str("TLS 1.3"),
            // Drafts of TLS 1.3 were 0x7f and the draft's number.
            number => write!(f, "0x{number:04x}"),
        }
    }
}

/// What a direction begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The client's.
    Client(ClientHello),
    /// The server's.
    Server(ServerHello),
    /// The other end's hello was refused: the alert's description (RFC 8446
    /// 6).
    Alert(u8),
    /// No handshake: the connection was joined later, or it is no TLS.
    None,
}

/// How far a direction has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes from the beginning are needed to go on.
    More(usize),
    /// It is known.
    Done(Hello),
}

/// Reads the hello from the beginning of a direction.
#[must_use]
pub fn read(bytes: &[u8]) -> Progress {
    scan(bytes, false)
}

/// As [`read`] when nothing more will come: a hello that is cut off gives what
/// there is of it.
#[must_use]
pub fn read_cut(bytes: &[u8]) -> Hello {
    match scan(bytes, true) {
        Progress::Done(hello) => hello,
        Progress::More(_) => Hello::None,
    }
}

/// A record: its type, its fragment as far as it is there, its whole length.
struct Record<'a> {
    kind: u8,
    fragment: &'a [u8],
    length: usize,
}

/// The record at the beginning of `bytes`: `Ok(None)` is too short to say.
fn record(bytes: &[u8]) -> Result<Option<Record<'_>>, ()> {
    let plausible = |at: usize, test: fn(u8) -> bool| bytes.get(at).is_none_or(|b| test(*b));
    if !plausible(0, |b| (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&b))
        || !plausible(1, |b| b == 3)
        || !plausible(2, |b| b <= 4)
    {
        return Err(());
    }
    let [kind, _, _, high, low, rest @ ..] = bytes else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length == 0 || length > FRAGMENT_LIMIT {
        return Err(());
    }
    Ok(Some(Record {
        kind: *kind,
        fragment: rest.get(..length).unwrap_or(rest),
        length,
    }))
}

fn scan(bytes: &[u8], last: bool) -> Progress {
    let last = last || bytes.len() >= LIMIT;
    // The handshake's bytes, which may span records.
    let mut message: Vec<u8> = Vec::new();
    let mut at = 0;
    loop {
        let record = match record(bytes.get(at..).unwrap_or_default()) {
            Ok(Some(record)) => record,
            Ok(None) if !last => return Progress::More(at + 5),
            _ => return Progress::Done(parse(&message)),
        };
        let whole = record.fragment.len() == record.length;
        match record.kind {
            HANDSHAKE => {
                message.extend_from_slice(record.fragment);
                let is_other = |kind: &u8| ![CLIENT_HELLO, SERVER_HELLO].contains(kind);
                let is_there = length(&message).is_some_and(|length| message.len() >= length);
                if is_there || message.first().is_some_and(is_other) {
                    return Progress::Done(parse(&message));
                }
            }
            ALERT if message.is_empty() && record.length == 2 => {
                if let [_, description] = record.fragment {
                    return Progress::Done(Hello::Alert(*description));
                }
            }
            // Before a client's second hello (RFC 8446 D.4).
            CHANGE_CIPHER_SPEC if message.is_empty() && record.length == 1 => {}
            _ => return Progress::Done(parse(&message)),
        }
        at += 5 + record.length;
        if !whole {
            return if last {
                Progress::Done(parse(&message))
            } else {
                Progress::More(at)
            };
        }
    }
}

/// The length of a handshake message with its header (RFC 8446 4).
fn length(message: &[u8]) -> Option<usize> {
    let [_, a, b, c, ..] = message else {
        return None;
    };
    let length = u32::from_be_bytes([0, *a, *b, *c]);
    Some(usize::try_from(length).ok()?.saturating_add(4))
}

/// What a message says, as far as it is there.
fn parse(message: &[u8]) -> Hello {
    let end = length(message).unwrap_or(0).min(message.len());
    let body = message.get(4..end).unwrap_or_default();
    match message.first() {
        Some(&CLIENT_HELLO) => ClientHello::parse(body).map_or(Hello::None, Hello::Client),
        Some(&SERVER_HELLO) => ServerHello::parse(body).map_or(Hello::None, Hello::Server),
        _ => Hello::None,
    }
}

#[cfg(test)]
mod tests;
