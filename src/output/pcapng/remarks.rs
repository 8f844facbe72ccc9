//! Ports on which tshark takes HTTP for something else.

use std::collections::BTreeSet;

/// TCP ports whose dissector keeps HTTP/1 for itself (measured with tshark
/// 4.0.17 over all ports that `tshark -G decodes` names).
const TAKEN: &[u16] = &[5432, 6379, 7000, 9092];

/// The ports of this file that need an option.
#[derive(Default)]
pub(super) struct Ports {
    seen: BTreeSet<u16>,
}

impl Ports {
    /// A stream has this server port.
    pub(super) fn note(&mut self, port: u16) {
        if TAKEN.binary_search(&port).is_ok() {
            self.seen.insert(port);
        }
    }

    /// One line, if any port needs it.
    pub(super) fn remarks(&self) -> Vec<String> {
        if self.seen.is_empty() {
            return Vec::new();
        }
        let options: Vec<String> = self
            .seen
            .iter()
            .map(|port| format!("-d tcp.port=={port},http"))
            .collect();
        vec![format!(
            "tshark and wireshark need {} to show this file's HTTP on {}",
            options.join(" "),
            if self.seen.len() == 1 {
                "that port"
            } else {
                "those ports"
            }
        )]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_option_is_given_for_ports_that_need_it() {
        let mut ports = Ports::default();
        ports.note(8080);
        assert!(ports.remarks().is_empty());
        ports.note(5432);
        assert_eq!(
            ports.remarks(),
            [
                "tshark and wireshark need -d tcp.port==5432,http to show this file's HTTP on that port"
            ]
        );
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(TAKEN.is_sorted());
    }
}
