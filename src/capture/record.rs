//! Raw bytes of the ring buffer to a record, with every length checked.

use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::bpf::types;
use crate::event::{Direction, Endpoint, MissingReason, Source};

/// What kind of record it is; see `bpf/include/record.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    End,
    Close,
    Exec,
    Exe,
    Fork,
    Exit,
    Bound,
    Cgroup,
    CgroupGone,
}

impl Kind {
    const ALL: [(types::record_kind, Self); 10] = [
        (types::record_kind::RECORD_DATA, Self::Data),
        (types::record_kind::RECORD_END, Self::End),
        (types::record_kind::RECORD_CLOSE, Self::Close),
        (types::record_kind::RECORD_EXEC, Self::Exec),
        (types::record_kind::RECORD_EXE, Self::Exe),
        (types::record_kind::RECORD_FORK, Self::Fork),
        (types::record_kind::RECORD_EXIT, Self::Exit),
        (types::record_kind::RECORD_BOUND, Self::Bound),
        (types::record_kind::RECORD_CGROUP, Self::Cgroup),
        (types::record_kind::RECORD_CGROUP_GONE, Self::CgroupGone),
    ];
}

/// A source's number in records.
pub(super) const fn number_of(source: Source) -> types::record_source {
    match source {
        Source::Tcp => types::record_source::SOURCE_TCP,
        Source::OpenSsl => types::record_source::SOURCE_OPENSSL,
        Source::GnuTls => types::record_source::SOURCE_GNUTLS,
        Source::Nss => types::record_source::SOURCE_NSS,
        Source::Go => types::record_source::SOURCE_GO,
        Source::Rustls => types::record_source::SOURCE_RUSTLS,
        Source::WolfSsl => types::record_source::SOURCE_WOLFSSL,
        Source::MbedTls => types::record_source::SOURCE_MBEDTLS,
    }
}

/// A record: its header by value, its payload borrowed from the ring.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) head: types::record,
    pub(super) payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// `None` for what is too short, says more payload than it has, or is of
    /// an unknown kind.
    pub(super) fn parse(raw: &'a [u8]) -> Option<Self> {
        let (head, rest) = raw.split_at_checked(size_of::<types::record>())?;
        // SAFETY: `head` has exactly the size of the struct, which is `repr(C)`
        // and made of integers and arrays of integers only, so every bit
        // pattern is a value of it. The read does not need alignment.
        let head = unsafe { head.as_ptr().cast::<types::record>().read_unaligned() };
        let kind = Kind::ALL
            .into_iter()
            .find(|(raw, _)| raw.0 == u32::from(head.kind))?
            .1;
        let payload = rest.get(..usize::try_from(head.len).ok()?)?;
        Some(Self {
            kind,
            head,
            payload,
        })
    }

    pub(super) const fn has(&self, flag: types::record_flag) -> bool {
        self.head.flags as u32 & flag.0 != 0
    }

    /// Where its bytes were read; an unknown one is taken for a socket.
    pub(super) fn source(&self) -> Source {
        Source::ALL
            .into_iter()
            .find(|source| number_of(*source).0 == u32::from(self.head.source))
            .unwrap_or(Source::Tcp)
    }

    pub(super) fn direction(&self) -> Direction {
        if u32::from(self.head.direction) == types::record_direction::DIRECTION_RECEIVE.0 {
            Direction::Receive
        } else {
            Direction::Send
        }
    }

    /// The thread's name up to its NUL.
    pub(super) fn thread(&self) -> ([u8; 16], usize) {
        let name = self.head.thread.map(i8::cast_unsigned);
        let length = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        (name, length)
    }

    /// Local and peer address, if the record has them.
    pub(super) fn addresses(&self) -> Option<(Endpoint, Endpoint)> {
        let ip = |bytes: [u8; 16]| -> Option<IpAddr> {
            match i32::from(self.head.family) {
                libc::AF_INET => {
                    let [a, b, c, d, ..] = bytes;
                    Some(Ipv4Addr::new(a, b, c, d).into())
                }
                libc::AF_INET6 => Some(Ipv6Addr::from(bytes).into()),
                _ => None,
            }
        };
        let endpoint = |bytes, port| Some(Endpoint::from_socket(SocketAddr::new(ip(bytes)?, port)));
        Some((
            endpoint(self.head.local, self.head.local_port)?,
            endpoint(self.head.peer, self.head.peer_port)?,
        ))
    }

    /// Why `missing` bytes are missing.
    pub(super) fn reason(&self) -> MissingReason {
        match types::record_reason(u32::from(self.head.reason)) {
            types::record_reason::REASON_CALL_LIMIT => MissingReason::CallLimit,
            types::record_reason::REASON_NO_BUFFER => MissingReason::NoBuffer,
            types::record_reason::REASON_UNREADABLE => MissingReason::Unreadable,
            _ => MissingReason::NotSeen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(kind: u8, len: u32, payload: &[u8]) -> Vec<u8> {
        let head = types::record {
            kind,
            len,
            ..types::record::default()
        };
        // SAFETY: any value of the struct may be read as bytes; it has no
        // padding that is not written (all of it was zeroed by default()).
        let mut bytes = unsafe {
            std::slice::from_raw_parts(
                std::ptr::from_ref(&head).cast::<u8>(),
                size_of::<types::record>(),
            )
        }
        .to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn reserved_space_behind_the_payload_is_not_payload() {
        let bytes = raw(1, 3, b"abc\0\0\0\0\0");
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(record.kind, Kind::Data);
        assert_eq!(record.payload, b"abc");
    }

    #[test]
    fn short_lying_and_unknown_records_are_refused() {
        assert!(Record::parse(&[]).is_none());
        assert!(Record::parse(&raw(1, 0, b"")[..40]).is_none());
        assert!(Record::parse(&raw(1, 4, b"abc")).is_none());
        assert!(Record::parse(&raw(1, u32::MAX, b"abc")).is_none());
        assert!(Record::parse(&raw(0, 0, b"")).is_none());
        assert!(Record::parse(&raw(200, 0, b"")).is_none());
    }
}
