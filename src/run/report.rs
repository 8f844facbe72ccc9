//! The summary at the end: what was seen, what was shown, what was lost and
//! what to do about it.

use super::say::{bytes, number};
use crate::event::MissingReason;
use crate::stats::Stats;

/// The lines of the summary.
#[must_use]
pub(super) fn summary(stats: &Stats) -> Vec<String> {
    let mut first = match stats.seen {
        0 => "no exchange".to_owned(),
        seen => number(seen, "exchange"),
    };
    first.push_str(" seen");
    if stats.seen == 0 {
        // Nothing to say of showing.
    } else if stats.shown == stats.seen {
        first.push_str(", all shown");
    } else {
        first.push_str(&format!(", {} shown", stats.shown));
    }
    if stats.filtered > 0 {
        first.push_str(&format!(", {} filtered out", stats.filtered));
    }
    if stats.lacking > 0 {
        first.push_str(&format!(
            ", {} left out for lacking what the filter asks for",
            stats.lacking
        ));
    }
    first.push_str(&format!(
        "; {}, {}",
        number(stats.connections, "connection"),
        bytes(stats.bytes)
    ));
    if stats.seen == 0 && stats.connections == 0 {
        first = match stats.tls_connections {
            0 => "nothing was sent or received".to_owned(),
            count => format!(
                "nothing but TLS on {} that was not read",
                number(count, "socket")
            ),
        };
    }
    let mut lines = vec![first];
    let others: Vec<String> = [
        (stats.other_bytes, "that are not HTTP"),
        (stats.tunnel_bytes, "in tunnels"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", bytes(count)))
    .collect();
    if !others.is_empty() {
        lines.push(format!("of these {}", others.join(", ")));
    }
    if stats.messages > 0 {
        let messages = number(stats.messages, "message");
        lines.push(format!("{messages} within exchanges"));
    }
    lines.extend(flows(stats));
    if stats.evicted_connections > 0 {
        lines.push(format!(
            "{} given up because too many were open at once",
            number(stats.evicted_connections, "connection")
        ));
    }
    if stats.late_requests > 0 {
        lines.push(format!(
            "{} came too late for the response, which is shown without",
            number(stats.late_requests, "request")
        ));
    }
    if stats.malformed > 0 {
        lines.push(format!(
            "{} could not be parsed",
            number(stats.malformed, "message")
        ));
    }
    lines.extend(lost(stats));
    lines
}

/// What became of TLS connections that were not read (`--tls-flows`).
fn flows(stats: &Stats) -> Option<String> {
    let parts: Vec<String> = [
        (stats.flows, "shown"),
        (stats.filtered_flows, "filtered out"),
        (
            stats.unsure_flows,
            "left out because they may have been read: whose they are is not known",
        ),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    (!parts.is_empty()).then(|| {
        let all = stats.flows + stats.filtered_flows + stats.unsure_flows;
        let what = number(all, "TLS connection");
        format!("{what} not read: {}", parts.join(", "))
    })
}

/// What was lost, by reason.
fn lost(stats: &Stats) -> Option<String> {
    let parts: Vec<String> = MissingReason::ALL
        .iter()
        .zip(stats.lost)
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{} {}", bytes(count), why(*reason)))
        .collect();
    (!parts.is_empty()).then(|| format!("lost: {}", parts.join("; ")))
}

/// The reason in words, with the cure where there is one.
const fn why(reason: MissingReason) -> &'static str {
    match reason {
        MissingReason::RingFull => "because the buffer was full (a larger --buffer helps)",
        MissingReason::CallLimit => "beyond what is copied of one call",
        MissingReason::Unreadable => "in memory that could not be read",
        MissingReason::NoBuffer => "sent without a buffer to read (sendfile, splice, io_uring)",
        MissingReason::NotSeen => "that went past every probe",
        MissingReason::MemoryLimit => "at the bound on memory",
        MissingReason::CaptureFile => "that are missing in the capture file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_is_not_spoken_of() {
        let stats = Stats {
            connections: 1,
            bytes: 2048,
            seen: 1,
            shown: 1,
            ..Stats::default()
        };
        assert_eq!(
            summary(&stats),
            ["1 exchange seen, all shown; 1 connection, 2.0 KiB"]
        );
        assert_eq!(summary(&Stats::default()), ["nothing was sent or received"]);
    }

    #[test]
    fn every_loss_and_every_exchange_left_out_is_told() {
        let mut stats = Stats {
            connections: 3,
            bytes: 1 << 20,
            seen: 9,
            shown: 4,
            filtered: 3,
            lacking: 2,
            malformed: 1,
            late_requests: 7,
            other_bytes: 10,
            tunnel_bytes: 20,
            flows: 5,
            unsure_flows: 1,
            ..Stats::default()
        };
        for (bytes, reason) in (1..).zip(MissingReason::ALL) {
            stats.lose(reason, bytes);
        }
        let text = summary(&stats).join("\n");
        assert!(text.starts_with("9 exchanges seen, 4 shown, 3 filtered out, 2 left out"));
        assert!(text.contains("7 requests came too late"));
        assert!(text.contains("6 TLS connections not read: 5 shown, 1 left out"));
        for bytes in 1..=MissingReason::ALL.len() {
            assert!(text.contains(&format!("{bytes} B ")), "{text}");
        }
        assert!(text.contains("--buffer"));
    }
}
