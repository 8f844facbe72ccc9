//! Which addresses and ports a stream gets: the real ones where they are
//! known and not taken in this file.

use std::hash::{BuildHasher, BuildHasherDefault};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustc_hash::{FxHashSet, FxHasher};

use super::remarks::is_taken;
use crate::event::Endpoint;

/// The pairs of addresses that streams of this file have had.
///
/// A second stream on a pair would be shown by tshark as `[TCP Port numbers
/// reused]` (tcp.analysis.flags), with the same sequence number even as a part
/// of the first; so it gets another port for the end that opened it. Only a
/// hash is kept of each pair (9 bytes of memory): taking two pairs for the
/// same merely costs one of them its real port.
#[derive(Default)]
pub(super) struct Addresses {
    taken: FxHashSet<u64>,
    count: u32,
    sequences: u32,
}

/// Addresses of a stream: `ends[0]` is the one that opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) ends: [SocketAddr; 2],
    /// Which of them are not the real ones.
    pub(super) made_up: [bool; 2],
}

impl Addresses {
    /// Chooses for a stream between `ends`, the opening one first.
    pub(super) fn choose(&mut self, ends: [Option<&Endpoint>; 2], tls: bool) -> Pair {
        self.count = self.count.wrapping_add(1);
        let number = self.count;
        let real = ends.map(|end| match end {
            Some(Endpoint::Tcp(address)) => Some(*address),
            _ => None,
        });
        let v6 = real
            .iter()
            .flatten()
            .any(|address| address.ip().to_canonical().is_ipv6());
        // The server's port only decides by which dissector it is tried.
        let ports = [spread(number), if tls { 443 } else { 80 }];
        let mut pair = Pair {
            ends: [0, 1].map(|i| {
                real[i].unwrap_or_else(|| {
                    let unix = matches!(ends[i], Some(Endpoint::Unix(_)));
                    SocketAddr::new(stand_in(number, i, unix, v6), ports[i])
                })
            }),
            made_up: real.map(|address| address.is_none()),
        };
        if v6 {
            // Both of one family: a header has one version.
            for end in &mut pair.ends {
                if let IpAddr::V4(v4) = end.ip() {
                    end.set_ip(IpAddr::V6(v4.to_ipv6_mapped()));
                }
            }
        }
        let mut attempt = number;
        while pair.made_up[0] && is_taken(pair.ends[0].port()) || !self.take(&pair) {
            attempt = attempt.wrapping_add(0x9e37);
            pair.ends[0].set_port(spread(attempt));
            pair.made_up[0] = true;
            if attempt.wrapping_sub(number) > 0x9e37 * 40_000 {
                // Every port of this address has been used: nothing is left.
                break;
            }
        }
        pair
    }

    /// A first sequence number unlike all others of this file (up to 2^31
    /// streams): the multiplier is odd.
    pub(super) fn initial_sequence(&mut self, end: usize) -> u32 {
        self.sequences = self.sequences.wrapping_add(1);
        let number = self
            .sequences
            .wrapping_mul(2)
            .wrapping_add(u32::from(end == 0));
        number.wrapping_mul(0x9e37_79b1)
    }

    fn take(&mut self, pair: &Pair) -> bool {
        // tshark knows no direction: the smaller first.
        let [a, b] = pair.ends;
        let hasher = BuildHasherDefault::<FxHasher>::default();
        self.taken
            .insert(hasher.hash_one(if a <= b { (a, b) } else { (b, a) }))
    }
}

/// A port above those of well-known services, different for 40,000 numbers in
/// a row.
fn spread(number: u32) -> u16 {
    20_000 + u16::try_from(number % 40_000).unwrap_or(0)
}

/// An address that is visibly not a real one (RFC 5737, RFC 3849); for a unix
/// socket the loopback's.
fn stand_in(number: u32, end: usize, unix: bool, v6: bool) -> IpAddr {
    let low = u16::try_from(number % 250).unwrap_or(0) + 1;
    match (unix, v6) {
        (true, false) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (true, true) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (false, false) => {
            let low = u8::try_from(low).unwrap_or(1);
            // Two unknown ends differ by the last one, 251 to 255 being free.
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, if end == 0 { 251 } else { low }))
        }
        (false, true) => {
            let end = u16::from(end == 0);
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, end, low))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Endpoint {
        Endpoint::Tcp(text.parse().unwrap())
    }

    #[test]
    fn a_pair_is_real_once_and_then_gets_another_client_port() {
        let mut addresses = Addresses::default();
        let (a, b) = (end("127.0.0.1:5000"), end("127.0.0.1:80"));
        let first = addresses.choose([Some(&a), Some(&b)], false);
        let second = addresses.choose([Some(&a), Some(&b)], false);
        let mirrored = addresses.choose([Some(&b), Some(&a)], false);
        assert_eq!(first.made_up, [false, false]);
        assert_eq!(second.ends[1], first.ends[1]);
        assert_ne!(second.ends[0], first.ends[0]);
        assert_eq!(second.made_up, [true, false]);
        assert_eq!(mirrored.made_up, [true, false]);
    }

    #[test]
    fn unknown_ends_get_documentation_addresses_that_differ() {
        let mut addresses = Addresses::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let pair = addresses.choose([None, None], true);
            assert!(pair.ends[0].to_string().starts_with("192.0.2."));
            assert_eq!(pair.ends[1].port(), 443);
            assert!(seen.insert(pair.ends));
        }
        let known = end("[::1]:5000");
        let pair = addresses.choose([Some(&known), None], true);
        assert!(pair.ends[1].to_string().starts_with("[2001:db8:"));
    }

    #[test]
    fn a_port_for_each_of_many_streams_on_one_pair() {
        let mut addresses = Addresses::default();
        let (a, b) = (end("10.0.0.1:5000"), end("10.0.0.2:80"));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..5000 {
            assert!(seen.insert(addresses.choose([Some(&a), Some(&b)], false).ends));
        }
    }
}
