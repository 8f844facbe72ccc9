//! What the run counts: for the summary at the end and for explaining silence.

use crate::event::MissingReason;

/// Counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections (views) with any byte, ciphertext left out.
    pub connections: u64,
    /// Of them: recognised as HTTP.
    pub http_connections: u64,
    /// Sockets that carry TLS (17 03 03 and the like).
    pub tls_connections: u64,
    /// Of them: HTTP/2.
    pub http2_connections: u64,
    /// Of them: forgotten because too many were open at once.
    pub evicted_connections: u64,
    /// TLS connections that were not read, given to the outputs
    /// (`--tls-flows`).
    pub flows: u64,
    /// Such that the filter kept out.
    pub filtered_flows: u64,
    /// Such that are not shown because they may be among those that were read
    /// without their socket being known.
    pub unsure_flows: u64,
    /// Bytes in both directions of all connections.
    pub bytes: u64,
    /// Bytes on connections that are not HTTP, TLS apart.
    pub other_bytes: u64,
    /// Bytes in tunnels and upgraded connections.
    pub tunnel_bytes: u64,
    /// Exchanges that ended.
    pub seen: u64,
    /// Of them: given to the outputs.
    pub shown: u64,
    /// Of them: kept out by the filter.
    pub filtered: u64,
    /// Of them: kept out because they lack what the filter asks for.
    pub lacking: u64,
    /// Exchanges that were shown when they became WebSockets.
    pub upgraded: u64,
    /// Messages within exchanges that were given to the outputs.
    pub messages: u64,
    /// Requests of HTTP/2 that came when their response had been given out
    /// without them.
    pub late_requests: u64,
    /// Messages that could not be parsed.
    pub malformed: u64,
    /// Bytes that were transferred and are not there, by
    /// [`MissingReason::ALL`].
    pub lost: [u64; MissingReason::ALL.len()],
}

impl Stats {
    /// Counts `bytes` lost for `reason`.
    pub fn lose(&mut self, reason: MissingReason, bytes: u64) {
        for (count, r) in self.lost.iter_mut().zip(MissingReason::ALL) {
            if r == reason {
                *count = count.saturating_add(bytes);
            }
        }
    }

    /// All lost bytes.
    #[must_use]
    pub fn lost_bytes(&self) -> u64 {
        self.lost.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }
}
