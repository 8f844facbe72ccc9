//! Silence explained: after five seconds without an exchange, one line that
//! says what there was instead; again only when that has changed.

use std::time::{Duration, Instant};

use super::say::{bytes, number};
use crate::stats::Stats;

/// How long nothing is shown before it is explained.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a line is made of.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    /// The engine's counts.
    pub(super) stats: &'a Stats,
    /// Processes that sent or received something.
    pub(super) processes: u64,
    /// Processes were named by the user.
    pub(super) named: bool,
    /// Programs whose TLS cannot be read; the reasons have been said.
    pub(super) unread: &'a [String],
}

/// Watches for silence.
#[derive(Debug)]
pub(super) struct Silence {
    since: Instant,
    /// What was shown when `since` was set.
    shown: u64,
    /// The counts at that time: what came before explains nothing.
    before: Stats,
    /// The kinds of facts of the last line.
    said: Option<Vec<String>>,
}

impl Silence {
    /// Nothing has been shown yet.
    #[must_use]
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            shown: 0,
            before: Stats::default(),
            said: None,
        }
    }

    /// Whether it is time to gather the facts and to ask for a line.
    #[must_use]
    pub(super) fn is_due(&mut self, now: Instant, stats: &Stats) -> bool {
        let shown = stats.shown + stats.upgraded + stats.messages;
        if shown > self.shown {
            self.shown = shown;
            self.since = now;
            self.before = stats.clone();
        }
        now.duration_since(self.since) >= PATIENCE
    }

    /// The line, if there is something new to say. Asked for when
    /// [`Silence::is_due`].
    pub(super) fn line(&mut self, now: Instant, facts: &Facts<'_>) -> Option<String> {
        self.since = now;
        let (kinds, parts) = self.parts(facts);
        if self.shown > 0 && kinds.is_empty() {
            // What is watched works, and rests.
            return None;
        }
        if self.said.as_ref() == Some(&kinds) {
            return None;
        }
        self.said = Some(kinds);
        if parts.is_empty() {
            let who = if facts.named {
                "the watched processes have"
            } else {
                "no process has"
            };
            let verb = if facts.named {
                " neither sent nor received anything"
            } else {
                " sent or received anything"
            };
            return Some(format!("no HTTP yet: {who}{verb}"));
        }
        let yet = if self.shown > 0 {
            "for 5 seconds"
        } else {
            "yet"
        };
        Some(format!("no HTTP {yet}: {}", parts.join("; ")))
    }

    /// Kinds of facts (a change of these is news) and the facts with their
    /// numbers.
    fn parts(&self, facts: &Facts<'_>) -> (Vec<String>, Vec<String>) {
        let (now, before) = (facts.stats, &self.before);
        let (mut kinds, mut parts) = (Vec::new(), Vec::new());
        let mut add = |kind: &str, text: String| {
            kinds.push(kind.to_owned());
            parts.push(text);
        };
        if self.shown == 0 && now.connections > 0 {
            let processes = match facts.processes {
                1 => "1 process".to_owned(),
                count => format!("{count} processes"),
            };
            let sockets = number(now.connections, "socket");
            add("seen", format!("{processes} with {sockets}"));
        } else if now.connections > before.connections {
            let sockets = number(now.connections - before.connections, "new socket");
            add("seen", sockets);
        }
        let tls = now.tls_connections.saturating_sub(before.tls_connections);
        if tls > 0 {
            add("tls", format!("TLS on {}", number(tls, "socket")));
        }
        let other = now.other_bytes.saturating_sub(before.other_bytes);
        if other > 0 {
            add("other", format!("{} that are not HTTP", bytes(other)));
        }
        // Of a connection that was there before, the next message is waited for.
        let waiting = now.bytes.saturating_sub(now.other_bytes);
        if now.http_connections == 0 && waiting > 0 {
            let text = format!("{} in which no message of HTTP begins", bytes(waiting));
            add("waiting", text);
        }
        let filtered = now.filtered.saturating_sub(before.filtered);
        if filtered > 0 {
            add(
                "filtered",
                format!("the filter kept out {}", number(filtered, "exchange")),
            );
        }
        let lacking = now.lacking.saturating_sub(before.lacking);
        if lacking > 0 {
            add(
                "lacking",
                format!(
                    "{} lack what the filter asks for",
                    number(lacking, "exchange")
                ),
            );
        }
        let tunnel = now.tunnel_bytes.saturating_sub(before.tunnel_bytes);
        if tunnel > 0 {
            add("tunnel", format!("{} in tunnels", bytes(tunnel)));
        }
        let lost = now.lost_bytes().saturating_sub(before.lost_bytes());
        if lost > 0 {
            add("lost", format!("{} lost", bytes(lost)));
        }
        if !facts.unread.is_empty() {
            let programs = facts.unread.join(", ");
            let kind = format!("unread {programs}");
            add(&kind, format!("TLS that cannot be read in {programs}"));
        }
        (kinds, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(stats: &Stats) -> Facts<'_> {
        Facts {
            stats,
            processes: 2,
            named: false,
            unread: &[],
        }
    }

    #[test]
    fn it_speaks_after_five_seconds_and_again_only_with_news() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silence = Silence::new(start);
        let mut stats = Stats {
            connections: 3,
            other_bytes: 10,
            ..Stats::default()
        };
        assert!(!silence.is_due(at(4), &stats));
        assert!(silence.is_due(at(5), &stats));
        assert_eq!(
            silence.line(at(5), &facts(&stats)).unwrap(),
            "no HTTP yet: 2 processes with 3 sockets; 10 B that are not HTTP"
        );
        stats.other_bytes = 4000;
        assert!(silence.is_due(at(10), &stats));
        assert_eq!(silence.line(at(10), &facts(&stats)), None);
        stats.filtered = 1;
        let line = silence.line(at(15), &facts(&stats)).unwrap();
        assert!(line.contains("filter kept out 1 exchange"), "{line}");
        let mut with_tls = facts(&stats);
        let fox = ["fox".to_owned()];
        with_tls.unread = &fox;
        let line = silence.line(at(20), &with_tls).unwrap();
        assert!(line.contains("cannot be read in fox"), "{line}");
    }

    #[test]
    fn what_is_waited_with_is_told_from_what_is_not_http() {
        let mut silence = Silence::new(Instant::now());
        let stats = Stats {
            connections: 1,
            bytes: 432,
            other_bytes: 32,
            ..Stats::default()
        };
        assert_eq!(
            silence.line(Instant::now(), &facts(&stats)).unwrap(),
            "no HTTP yet: 2 processes with 1 socket; 32 B that are not HTTP; \
             400 B in which no message of HTTP begins"
        );
    }

    #[test]
    fn nothing_at_all_is_said_once() {
        let start = Instant::now();
        let stats = Stats::default();
        let mut silence = Silence::new(start);
        assert!(silence.line(start, &facts(&stats)).is_some());
        assert!(silence.line(start, &facts(&stats)).is_none());
    }

    #[test]
    fn what_has_been_shown_may_rest() {
        let start = Instant::now();
        let stats = Stats {
            connections: 1,
            shown: 1,
            seen: 1,
            ..Stats::default()
        };
        let mut silence = Silence::new(start);
        assert!(!silence.is_due(start + Duration::from_secs(9), &stats));
        assert!(silence.is_due(start + Duration::from_secs(14), &stats));
        assert_eq!(silence.line(start, &facts(&stats)), None);
    }
}
