//! IP and TCP headers of our own: what a captured segment would have looked
//! like on the wire.

use std::net::{IpAddr, SocketAddr};

/// TCP flag FIN (RFC 9293 3.1).
pub(super) const FIN: u8 = 0x01;
/// TCP flag SYN.
pub(super) const SYN: u8 = 0x02;
/// TCP flag RST.
pub(super) const RST: u8 = 0x04;
/// TCP flag PSH.
pub(super) const PSH: u8 = 0x08;
/// TCP flag ACK.
pub(super) const ACK: u8 = 0x10;

/// Payload of the largest segment: below 65,535 − 60, so that one IP packet
/// holds it with either version's header.
pub(super) const MAX_SEGMENT: usize = 65_000;

/// Options of a SYN: maximum segment size 65,475 and a window scale of 14, so
/// that 1 GiB may be in flight before tshark remarks on a full window.
const SYN_OPTIONS: [u8; 8] = [2, 4, 0xff, 0xc3, 1, 3, 3, 14];

/// What the headers of one packet say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) sequence: u32,
    pub(super) acknowledge: u32,
    pub(super) flags: u8,
}

impl Segment {
    /// Appends the headers for a payload of `length` bytes to `out`; the
    /// caller appends the payload. `payload` is what the checksum is computed
    /// over: shorter than `length` when the payload is not stored, and then
    /// nobody can check it.
    ///
    /// Both addresses must be of one family; `length` is at most
    /// [`MAX_SEGMENT`].
    pub(super) fn append_headers(&self, out: &mut Vec<u8>, payload: &[u8], length: usize) {
        let options: &[u8] = if self.flags & SYN == 0 {
            &[]
        } else {
            &SYN_OPTIONS
        };
        let tcp_length = 20 + options.len() + length;
        let mut pseudo = Sum::default();
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = [0; 20];
                header[0] = 0x45;
                header[2..4].copy_from_slice(&low16(20 + tcp_length).to_be_bytes());
                header[6] = 0x40; // do not fragment
                header[8] = 64;
                header[9] = 6;
                header[12..16].copy_from_slice(&source.octets());
                header[16..20].copy_from_slice(&destination.octets());
                let mut sum = Sum::default();
                sum.add(&header);
                header[10..12].copy_from_slice(&sum.finish().to_be_bytes());
                pseudo.add(&header[12..20]);
                out.extend_from_slice(&header);
            }
            (source, destination) => {
                let (source, destination) = (v6(source), v6(destination));
                let mut header = [0; 40];
                header[0] = 0x60;
                header[4..6].copy_from_slice(&low16(tcp_length).to_be_bytes());
                header[6] = 6;
                header[7] = 64;
                header[8..24].copy_from_slice(&source);
                header[24..40].copy_from_slice(&destination);
                pseudo.add(&header[8..40]);
                out.extend_from_slice(&header);
            }
        }
        let mut tcp = [0; 20];
        tcp[0..2].copy_from_slice(&self.source.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&self.destination.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.acknowledge.to_be_bytes());
        tcp[12] = if options.is_empty() { 0x50 } else { 0x70 };
        tcp[13] = self.flags;
        tcp[14..16].copy_from_slice(&[0xff, 0xff]);
        pseudo.add(&[0, 6]);
        pseudo.add(&low16(tcp_length).to_be_bytes());
        pseudo.add(&tcp);
        pseudo.add(options);
        pseudo.add(payload);
        tcp[16..18].copy_from_slice(&pseudo.finish().to_be_bytes());
        out.extend_from_slice(&tcp);
        out.extend_from_slice(options);
    }
}

/// The Internet checksum (RFC 1071). Every part but the last has an even
/// length.
#[derive(Default)]
struct Sum(u64);

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let mut sum = self.0;
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_be_bytes(*word));
        }
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.0 = sum + u64::from(u32::from_be_bytes(last));
    }

    fn finish(&self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !low16(usize::try_from(sum).unwrap_or(0))
    }
}

/// The low 16 bits: lengths here fit by construction.
#[expect(clippy::cast_possible_truncation, reason = "that is its purpose")]
const fn low16(value: usize) -> u16 {
    (value & 0xffff) as u16
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(source: &str, destination: &str) -> Segment {
        Segment {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            sequence: 1,
            acknowledge: 2,
            flags: ACK | PSH,
        }
    }

    fn folded(parts: &[&[u8]]) -> u16 {
        let mut sum = Sum::default();
        for part in parts {
            sum.add(part);
        }
        !sum.finish()
    }

    #[test]
    fn checksums_add_up_to_all_ones() {
        for payload in [&b""[..], b"x", b"odd", b"even", b"hello world"] {
            let mut out = Vec::new();
            segment("1.2.3.4:80", "5.6.7.8:90").append_headers(&mut out, payload, payload.len());
            out.extend_from_slice(payload);
            assert_eq!(folded(&[&out[..20]]), 0xffff);
            let length = u16::try_from(out.len() - 20).unwrap().to_be_bytes();
            assert_eq!(
                folded(&[&out[12..20], &[0, 6], &length, &out[20..]]),
                0xffff
            );
            assert_eq!(usize::from(u16::from_be_bytes([out[2], out[3]])), out.len());
        }
    }

    #[test]
    fn ipv6_has_its_header_and_a_valid_checksum() {
        let mut out = Vec::new();
        segment("[::1]:80", "[2001:db8::2]:90").append_headers(&mut out, b"abc", 3);
        out.extend_from_slice(b"abc");
        assert_eq!(out.len(), 40 + 20 + 3);
        let length = u16::try_from(out.len() - 40).unwrap().to_be_bytes();
        assert_eq!(folded(&[&out[8..40], &[0, 6], &length, &out[40..]]), 0xffff);
    }
}
