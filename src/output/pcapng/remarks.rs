//! Ports on which tshark takes HTTP for something else.

use std::collections::BTreeSet;

/// TCP ports, first and last of each range, whose dissector keeps HTTP/1 for
/// itself: measured with tshark 4.0.17 by a GET and a POST with their responses
/// on each of the 573 ports that `tshark -G decodes` names.
#[rustfmt::skip]
const TAKEN: &[(u16, u16)] = &[
    (7, 7), (13, 13), (19, 23), (25, 25), (37, 37), (42, 43), (49, 49), (53, 53), (70, 70), (79,
    79), (88, 88), (102, 102), (110, 111), (119, 119), (123, 123), (139, 139), (143, 143), (161,
    162), (179, 179), (210, 210), (323, 323), (389, 389), (427, 427), (445, 445), (464, 464),
    (500, 500), (512, 515), (524, 524), (547, 548), (554, 554), (564, 564), (587, 587), (639,
    639), (647, 647), (674, 674), (705, 705), (854, 854), (862, 862), (873, 873), (925, 925),
    (988, 988), (1080, 1080), (1090, 1090), (1099, 1099), (1102, 1102), (1153, 1153), (1194,
    1194), (1213, 1213), (1433, 1433), (1533, 1533), (1547, 1547), (1723, 1723), (1861, 1861),
    (1863, 1863), (1883, 1883), (1935, 1935), (2099, 2099), (2123, 2123), (2126, 2126), (2152,
    2152), (2234, 2234), (2240, 2240), (2269, 2269), (2321, 2322), (2345, 2345), (2401, 2401),
    (2404, 2404), (2433, 2433), (2501, 2502), (2571, 2571), (2575, 2575), (2600, 2600), (2812,
    2812), (2944, 2945), (3014, 3014), (3016, 3019), (3245, 3248), (3268, 3268), (3288, 3288),
    (3306, 3306), (3357, 3357), (3369, 3369), (3452, 3452), (3478, 3478), (3632, 3632), (3671,
    3671), (3724, 3724), (3804, 3804), (3860, 3860), (3863, 3863), (3868, 3868), (3918, 3918),
    (4002, 4002), (4155, 4155), (4189, 4189), (4223, 4223), (4342, 4342), (4420, 4420), (4551,
    4551), (4555, 4556), (4712, 4712), (4730, 4730), (4739, 4739), (4788, 4788), (4840, 4840),
    (4880, 4880), (5010, 5010), (5060, 5060), (5084, 5084), (5222, 5222), (5253, 5253), (5353,
    5353), (5432, 5432), (5445, 5445), (5500, 5501), (5534, 5534), (5672, 5672), (5683, 5683),
    (5701, 5701), (5900, 5901), (5997, 5997), (6000, 6063), (6068, 6068), (6084, 6084), (6121,
    6121), (6160, 6160), (6346, 6346), (6379, 6379), (6417, 6417), (6653, 6653), (6667, 6668),
    (6881, 6889), (7000, 7000), (7075, 7075), (7171, 7172), (7236, 7236), (7275, 7276), (7871,
    7871), (7911, 7911), (8009, 8009), (8023, 8023), (8074, 8074), (8085, 8085), (8554, 8554),
    (8567, 8567), (9009, 9009), (9092, 9092), (9300, 9300), (9418, 9418), (9956, 9956), (10288,
    10288), (11211, 11211), (13400, 13400), (14001, 14001), (15740, 15740), (17500, 17500),
    (17755, 17756), (19006, 19006), (19042, 19043), (19506, 19506), (19543, 19543), (21064,
    21064), (22222, 22222), (24800, 24800), (29418, 29418), (34980, 34980), (44321, 44322),
    (44818, 44818), (48049, 48049), (48898, 48898), (57000, 57000),
];

/// Ports on which tshark takes everything for HTTP: the other port of the
/// connection, if higher, is then not looked at.
const HTTP: &[u16] = &[80, 3128, 3132, 5985, 8080, 8088];

/// Ports on which tshark finds HTTP/2 by its preface: those of its HTTP
/// dissector. On others it looks for HTTP/1 only (measured as above).
const PREFACE: &[u16] = &[
    80, 1900, 2710, 2869, 3128, 3132, 3689, 5985, 8080, 8088, 11371,
];

/// Ports that are named in the remark.
const NAMED: usize = 16;

/// Whether HTTP on a port is taken for something else.
pub(super) fn is_taken(port: u16) -> bool {
    let after = TAKEN.partition_point(|(first, _)| *first <= port);
    TAKEN[..after].last().is_some_and(|(_, last)| port <= *last)
}

/// The ports of this file that need an option.
#[derive(Default)]
pub(super) struct Ports {
    seen: BTreeSet<u16>,
    /// Those of WebSockets whose upgrade is not in the file.
    websockets: BTreeSet<u16>,
}

impl Ports {
    /// A stream has these ports. tshark tries the lower one first.
    pub(super) fn note(&mut self, ports: [u16; 2]) {
        let low = ports[0].min(ports[1]);
        let high = ports[0].max(ports[1]);
        if is_taken(low) {
            self.seen.insert(low);
        } else if is_taken(high) && !HTTP.contains(&low) {
            self.seen.insert(high);
        }
    }

    /// A stream is HTTP/2 from its first byte on; the first port is that of
    /// the end that opened it. tshark tries the other one first, whose SYN-ACK
    /// it sees. As `http` it shows HTTP/1 on the same port too.
    pub(super) fn note_http2(&mut self, [_, server]: [u16; 2]) {
        if !PREFACE.contains(&server) {
            self.seen.insert(server);
        }
    }

    /// A stream begins in the midst of a WebSocket, which nothing tells but an
    /// option.
    pub(super) fn note_websocket(&mut self, [_, server]: [u16; 2]) {
        self.websockets.insert(server);
    }

    /// A line for the ports that need it, and one for those of WebSockets.
    pub(super) fn remarks(&self) -> Vec<String> {
        let what = [
            (&self.seen, "http", "this file's HTTP on"),
            (
                &self.websockets,
                "websocket",
                "the WebSockets that were there before on",
            ),
        ];
        what.into_iter()
            .filter_map(|(ports, protocol, what)| remark(ports, protocol, what))
            .collect()
    }
}

fn remark(ports: &BTreeSet<u16>, protocol: &str, what: &str) -> Option<String> {
    if ports.is_empty() {
        return None;
    }
    let options: Vec<String> = ports
        .iter()
        .take(NAMED)
        .map(|port| format!("-d tcp.port=={port},{protocol}"))
        .collect();
    let more = match ports.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" (and so on for {more} more)"),
    };
    Some(format!(
        "tshark and wireshark need {}{more} to show {what} {}",
        options.join(" "),
        if ports.len() == 1 {
            "that port"
        } else {
            "those ports"
        }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_option_is_given_for_ports_that_need_it() {
        let mut ports = Ports::default();
        ports.note([50000, 8080]);
        ports.note([57000, 80]);
        assert!(ports.remarks().is_empty());
        ports.note([50000, 5432]);
        assert_eq!(
            ports.remarks(),
            [
                "tshark and wireshark need -d tcp.port==5432,http to show this file's HTTP on that port"
            ]
        );
    }

    #[test]
    fn a_clients_port_counts_where_the_servers_is_nobodys() {
        let mut ports = Ports::default();
        ports.note([57000, 34567]);
        assert!(ports.remarks()[0].contains("-d tcp.port==57000,http"));
    }

    #[test]
    fn a_websocket_without_its_upgrade_needs_an_option_on_any_port() {
        let mut ports = Ports::default();
        ports.note_websocket([50_000, 80]);
        assert_eq!(
            ports.remarks(),
            [
                "tshark and wireshark need -d tcp.port==80,websocket to show the WebSockets that were there before on that port"
            ]
        );
    }

    #[test]
    fn http2_is_found_on_few_ports() {
        let mut ports = Ports::default();
        for server in [80, 8080, 11371] {
            ports.note_http2([443, server]);
        }
        assert!(ports.remarks().is_empty());
        ports.note_http2([80, 443]);
        assert!(ports.remarks()[0].contains("-d tcp.port==443,http to show"));
        for server in 20_000..20_100 {
            ports.note_http2([50_000, server]);
        }
        let line = &ports.remarks()[0];
        assert_eq!(line.matches("-d tcp.port==").count(), NAMED);
        assert!(line.contains("(and so on for 85 more)"), "{line}");
    }

    #[test]
    fn the_ranges_are_sorted() {
        assert!(TAKEN.is_sorted());
        for port in [5432, 6379, 7000, 9092, 6000, 6063] {
            assert!(is_taken(port), "{port}");
        }
        for port in [1, 80, 443, 8443, 8080, 34567, 65535] {
            assert!(!is_taken(port), "{port}");
        }
    }
}
