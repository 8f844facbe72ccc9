//! From an IP packet to the TCP segment in it (RFC 791, RFC 8200, RFC 9293).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::link::{Other, read_u16, read_u32};

const TCP: u8 = 6;

/// A TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) sequence: u32,
    pub(super) acknowledge: u32,
    pub(super) flags: u8,
    /// What was captured of the payload.
    pub(super) payload: &'a [u8],
    /// The payload's length on the wire.
    pub(super) length: usize,
}

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

impl Segment<'_> {
    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Reads the segment of a packet; `original` is the packet's length on the
/// wire, where its own length says nothing (offloaded segments).
pub(super) fn parse(packet: &[u8], original: usize) -> Result<Segment<'_>, Other> {
    match packet.first().ok_or(Other::Malformed)? >> 4 {
        4 => ipv4(packet, original),
        6 => ipv6(packet, original),
        _ => Err(Other::Protocol),
    }
}

fn ipv4(packet: &[u8], original: usize) -> Result<Segment<'_>, Other> {
    let header = usize::from(packet.first().ok_or(Other::Malformed)? & 15) * 4;
    let total = match read_u16(packet, 2).ok_or(Other::Malformed)? {
        0 => original,
        total => usize::from(total),
    };
    if header < 20 || total < header {
        return Err(Other::Malformed);
    }
    // More fragments, or an offset.
    if read_u16(packet, 6).ok_or(Other::Malformed)? & 0x3fff != 0 {
        return Err(Other::Fragment);
    }
    if *packet.get(9).ok_or(Other::Malformed)? != TCP {
        return Err(Other::Protocol);
    }
    let address = |at| read_u32(packet, at).map(|n| IpAddr::V4(Ipv4Addr::from_bits(n)));
    let addresses = [address(12), address(16)];
    let end = packet.len().min(total);
    let body = packet.get(header..end).ok_or(Other::Malformed)?;
    tcp(body, total - header, addresses)
}

fn ipv6(packet: &[u8], original: usize) -> Result<Segment<'_>, Other> {
    let total = match read_u16(packet, 4).ok_or(Other::Malformed)? {
        0 => original,
        length => usize::from(length) + 40,
    };
    let address = |at: usize| {
        let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
    };
    let addresses = [address(8), address(24)];
    let mut next = *packet.get(6).ok_or(Other::Malformed)?;
    let mut at = 40;
    // A packet has each extension header once or twice (RFC 8200 4.1).
    for _ in 0..16 {
        match next {
            TCP => {
                let end = packet.len().min(total);
                let body = packet.get(at..end).ok_or(Other::Malformed)?;
                return tcp(
                    body,
                    total.checked_sub(at).ok_or(Other::Malformed)?,
                    addresses,
                );
            }
            // Hop-by-hop, routing, destination options, mobility, HIP, shim6.
            0 | 43 | 60 | 135 | 139 | 140 => {
                next = *packet.get(at).ok_or(Other::Malformed)?;
                let length = *packet.get(at + 1).ok_or(Other::Malformed)?;
                at += (usize::from(length) + 1) * 8;
            }
            // Authentication header: its length counts 4-byte words, less 2.
            51 => {
                next = *packet.get(at).ok_or(Other::Malformed)?;
                let length = *packet.get(at + 1).ok_or(Other::Malformed)?;
                at += (usize::from(length) + 2) * 4;
            }
            44 => {
                // An “atomic” fragment (RFC 6946) is whole.
                if read_u16(packet, at + 2).ok_or(Other::Malformed)? & 0xfff9 != 0 {
                    return Err(Other::Fragment);
                }
                next = *packet.get(at).ok_or(Other::Malformed)?;
                at += 8;
            }
            _ => return Err(Other::Protocol),
        }
    }
    Err(Other::Malformed)
}

fn tcp(body: &[u8], length: usize, addresses: [Option<IpAddr>; 2]) -> Result<Segment<'_>, Other> {
    let [Some(source), Some(destination)] = addresses else {
        return Err(Other::Malformed);
    };
    let parts = || {
        let header = usize::from(*body.get(12)? >> 4) * 4;
        Some(Segment {
            source: SocketAddr::new(source, read_u16(body, 0)?),
            destination: SocketAddr::new(destination, read_u16(body, 2)?),
            sequence: read_u32(body, 4)?,
            acknowledge: read_u32(body, 8)?,
            flags: *body.get(13)?,
            // The options may be cut away; then so is the payload.
            payload: body.get(header..).unwrap_or_default(),
            length: length.checked_sub(header).filter(|_| header >= 20)?,
        })
    };
    parts().ok_or(Other::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_header(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![
            0, 80, 1, 0, 0, 0, 0, 9, 0, 0, 0, 7, 0x50, 0x18, 1, 1, 0, 0, 0, 0,
        ];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn v4(payload: &[u8], options: usize) -> Vec<u8> {
        let body = tcp_header(payload);
        let header = 20 + options;
        let mut packet = vec![0; header];
        packet[0] = 0x40 | u8::try_from(header / 4).unwrap();
        let total = u16::try_from(header + body.len()).unwrap();
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[9] = 6;
        packet[12..20].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        packet.extend(body);
        packet
    }

    #[test]
    fn ethernet_padding_is_not_payload() {
        let mut packet = v4(b"x", 0);
        packet.extend([0; 5]);
        let segment = parse(&packet, packet.len()).unwrap();
        assert_eq!((segment.payload, segment.length), (&b"x"[..], 1));
        assert_eq!(segment.source.to_string(), "1.2.3.4:80");
        assert_eq!(segment.sequence, 9);
    }

    #[test]
    fn options_and_a_cut_payload() {
        let mut packet = v4(b"hello", 8);
        packet.truncate(packet.len() - 3);
        let segment = parse(&packet, 100).unwrap();
        assert_eq!((segment.payload, segment.length), (&b"he"[..], 5));
    }

    #[test]
    fn fragments_are_told_from_whole_packets() {
        let mut packet = v4(b"x", 0);
        packet[6] = 0x40;
        assert!(parse(&packet, 41).is_ok());
        packet[6] = 0x20;
        assert_eq!(parse(&packet, 41), Err(Other::Fragment));
    }

    #[test]
    fn ipv6_extension_headers_are_stepped_over() {
        let body = tcp_header(b"x");
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[5] = u8::try_from(body.len() + 24).unwrap();
        packet[39] = 1;
        packet.extend([60, 0, 0, 0, 0, 0, 0, 0]); // hop-by-hop
        packet.extend([44, 0, 0, 0, 0, 0, 0, 0]); // destination options
        packet.extend([6, 0, 0, 0, 0, 0, 0, 0]); // atomic fragment
        packet.extend(body);
        let segment = parse(&packet, packet.len()).unwrap();
        assert_eq!((segment.payload, segment.length), (&b"x"[..], 1));
        assert_eq!(segment.destination.to_string(), "[::1]:256");
    }
}
