//! The line of a TLS connection that was not read:
//!
//! ```text
//! 12:00:00.123  java[4242]  → TLS  example.com (10.0.0.1:443)  TLS 1.3  h2  1.20 KiB ↑  34.0 KiB ↓  120 ms  Java is not read
//! ```

use super::line::{Align, Layout};
use super::style;
use super::units::{push_duration, push_size};
use crate::exchange::{Role, State};
use crate::output::escape;
use crate::tls_flow::TlsFlow;

/// Longest list of protocols.
const PROTOCOLS: usize = 32;

impl Layout {
    /// Everything after the time, and the end of the line.
    pub(super) fn flow(&mut self, out: &mut String, flow: &TlsFlow) {
        let arrow = match flow.role {
            Some(Role::Client) => "→",
            Some(Role::Server) => "←",
            None => "↔",
        };
        self.whose(out, flow.process.as_deref(), &flow.info, arrow);
        self.cell.clear();
        self.cell.push_str("TLS");
        self.put(out, style::STRONG, self.method, Align::Left);
        self.space(out, 1);
        self.server(out, flow);
        self.facts(out, flow);
        self.bytes(out, flow);
        self.reason(out, flow);
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }

    /// The server's name and address.
    fn server(&mut self, out: &mut String, flow: &TlsFlow) {
        self.text.clear();
        self.cell.clear();
        match flow.sni() {
            Some(name) => escape::push(&mut self.text, name),
            None if flow.client.is_some() => self.text.push_str("(no server name)"),
            None => self.text.push_str("(server name not seen)"),
        }
        // A name has at most 253 characters; what is longer is none.
        let columns = if self.narrow() { 30 } else { 80 };
        escape::push_cut(&mut self.cell, &self.text, columns);
        let style = match flow.sni() {
            Some(_) => style::PLAIN,
            None => style::FAINT,
        };
        let width = escape::width(&self.cell);
        self.put(out, style, width, Align::Left);
        // Without a process both addresses stand before the name.
        if flow.process.is_some() && !self.narrow() {
            let server = match flow.role {
                Some(Role::Server) => &flow.info.local,
                _ => &flow.info.peer,
            };
            self.cell.clear();
            self.cell.push_str(" (");
            self.endpoint(server.as_ref(), 48);
            self.cell.push(')');
            let width = escape::width(&self.cell);
            self.put(out, style::FAINT, width, Align::Left);
        }
    }

    /// Version and protocols: what was chosen, else what was offered.
    fn facts(&mut self, out: &mut String, flow: &TlsFlow) {
        if let Some(server) = &flow.server {
            self.word(out, style::PLAIN, &server.version.to_string());
        }
        if self.narrow() {
            return;
        }
        self.text.clear();
        match flow.server.as_ref().and_then(|hello| hello.alpn.as_ref()) {
            Some(protocol) => escape::push(&mut self.text, protocol),
            None => {
                for (n, protocol) in flow.alpn().iter().take(16).enumerate() {
                    if n > 0 {
                        self.text.push(',');
                    }
                    escape::push(&mut self.text, protocol);
                }
            }
        }
        if !self.text.is_empty() {
            let mut protocols = String::new();
            escape::push_cut(&mut protocols, &self.text, PROTOCOLS);
            self.word(out, style::PLAIN, &protocols);
        }
    }

    /// Bytes and time.
    fn bytes(&mut self, out: &mut String, flow: &TlsFlow) {
        for (count, sign) in [(flow.sent, "↑"), (flow.received, "↓")] {
            let mut text = String::new();
            match count {
                Some(count) => push_size(&mut text, count),
                None => text.push('?'),
            }
            text.push(' ');
            text.push_str(sign);
            self.word(out, style::PLAIN, &text);
        }
        let mut text = String::new();
        push_duration(&mut text, flow.end.nanos_since(flow.start));
        self.word(out, style::FAINT, &text);
    }

    /// How it ended, and why it was not read.
    fn reason(&mut self, out: &mut String, flow: &TlsFlow) {
        if flow.state != State::Complete {
            let style = match flow.state {
                State::Open => style::WARN,
                _ => style::BAD,
            };
            self.word(out, style, flow.state.name());
        }
        if let Some(alert) = flow.refused {
            self.word(out, style::BAD, &format!("refused (alert {alert})"));
        }
        if !flow.info.from_start {
            self.word(out, style::FAINT, "joined late");
        }
        let mut text = String::new();
        match &flow.unread.why {
            Some(why) => escape::push(&mut text, why.as_bytes()),
            None => text.push_str("not read"),
        }
        self.word(out, style::FAINT, &text);
    }

    /// A cell of its own width behind a gap.
    pub(super) fn word(&mut self, out: &mut String, style: anstyle::Style, text: &str) {
        self.space(out, self.gap);
        self.cell.clear();
        self.cell.push_str(text);
        let width = escape::width(&self.cell);
        self.put(out, style, width, Align::Left);
    }
}
