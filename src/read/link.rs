//! From a captured frame to the IP packet in it.

/// Why a frame holds nothing for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// Another protocol (ARP, UDP …).
    Protocol,
    /// A link type that is not read.
    LinkType,
    /// A piece of an IP packet that was sent in several.
    Fragment,
    /// Headers that are cut or cannot be right.
    Malformed,
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// The IP packet in a frame of a link type (LINKTYPE_ numbers of
/// <https://www.tcpdump.org/linktypes.html>).
pub(super) fn ip_packet(link: u32, frame: &[u8]) -> Result<&[u8], Other> {
    match link {
        // BSD loopback: an address family in the byte order of the machine
        // that captured, or (108) of the network. The version says it too.
        0 | 108 => rest(frame, 4),
        1 => ethernet(frame),
        // Raw IP, under the numbers that have been used for it.
        12 | 14 | 101 | 228 | 229 => Ok(frame),
        113 => ethertype(frame, 14, 16),
        276 => ethertype(frame, 0, 20),
        _ => Err(Other::LinkType),
    }
}

fn rest(frame: &[u8], at: usize) -> Result<&[u8], Other> {
    frame.get(at..).ok_or(Other::Malformed)
}

fn ethernet(frame: &[u8]) -> Result<&[u8], Other> {
    ethertype(frame, 12, 14)
}

/// Follows an EtherType at `at`, with the packet at `start`, through VLAN tags
/// (802.1Q, 802.1ad, and the older QinQ number).
fn ethertype(frame: &[u8], at: usize, start: usize) -> Result<&[u8], Other> {
    let (mut at, mut start) = (at, start);
    // Two tags are usual; a bound keeps a crafted frame short.
    for _ in 0..8 {
        let kind = read_u16(frame, at).ok_or(Other::Malformed)?;
        match kind {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => return rest(frame, start),
            0x8100 | 0x88a8 | 0x9100 => {
                at = start + 2;
                start += 4;
            }
            _ => return Err(Other::Protocol),
        }
    }
    Err(Other::Malformed)
}

/// A big-endian 16-bit number.
pub(super) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// A big-endian 32-bit number.
pub(super) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlan_tags_are_stepped_over() {
        let mut frame = vec![0; 12];
        frame.extend([0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x08, 0, 0x45]);
        assert_eq!(ip_packet(1, &frame), Ok(&[0x45][..]));
    }

    #[test]
    fn cooked_frames_of_both_versions() {
        let mut one = vec![0; 14];
        one.extend([0x86, 0xdd, 0x60]);
        assert_eq!(ip_packet(113, &one), Ok(&[0x60][..]));
        let mut two = vec![0x08, 0];
        two.resize(20, 0);
        two.push(0x45);
        assert_eq!(ip_packet(276, &two), Ok(&[0x45][..]));
    }

    #[test]
    fn what_is_cut_or_foreign_is_said_to_be() {
        assert_eq!(ip_packet(1, &[0; 13]), Err(Other::Malformed));
        assert_eq!(ip_packet(1, &[0; 60]), Err(Other::Protocol));
        assert_eq!(ip_packet(105, &[0; 60]), Err(Other::LinkType));
    }
}
