//! `-v` and `-vv`: what follows the line of an exchange, in the manner of
//! `curl -v`. `>` is the request and `<` the response, whoever sent them;
//! `*` is what httpsniff has to say. Bodies are indented, so that nothing in
//! them can pass for one of these.

use std::fmt::Write as _;

use super::body::{self, Look};
use super::style::{self, styled};
use super::units::push_size;
use crate::container::short;
use crate::content::grpc;
use crate::content::media::MediaType;
use crate::event::Direction;
use crate::exchange::{Body, Exchange, Fields, Interim, Role, Version};
use crate::output::call::Call;
use crate::output::escape;
use crate::process::Process;

/// What is shown of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bodies {
    None,
    /// Not those whose messages were shown; so many events were.
    WithoutMessages(u64),
    All,
}

/// Appends everything, and an empty line.
pub(super) fn push(out: &mut String, exchange: &Exchange, look: Look, bodies: Bodies) {
    let mut writer = Writer {
        out,
        color: look.color,
    };
    writer.facts(exchange);
    let version = exchange
        .response
        .as_ref()
        .map(|response| response.version)
        .or(exchange.request.as_ref().map(|request| request.version))
        .map_or("HTTP/1.1", Version::name);
    if let Some(request) = &exchange.request {
        writer.start_line('>', |out| {
            escape::push(out, &request.method);
            out.push(' ');
            escape::push(out, &request.target);
            out.push(' ');
            out.push_str(request.version.name());
        });
        writer.fields('>', &request.headers);
        writer.line('>', |_| {});
        body(writer.out, &request.body, &request.headers, look, bodies);
        writer.trailers('>', &request.trailers);
    }
    for interim in &exchange.interim {
        writer.interim(interim, version);
    }
    if let Some(response) = &exchange.response {
        for interim in &response.interim {
            writer.interim(interim, version);
        }
        writer.start_line('<', |out| {
            let _ = match response.status {
                // Not known (HTTP/2 joined late).
                0 => write!(out, "{} ???", response.version.name()),
                status => write!(out, "{} {status}", response.version.name()),
            };
            if !response.reason.is_empty() {
                out.push(' ');
                escape::push(out, &response.reason);
            }
        });
        writer.fields('<', &response.headers);
        writer.line('<', |_| {});
        body(writer.out, &response.body, &response.headers, look, bodies);
        writer.trailers('<', &response.trailers);
    }
    out.push('\n');
}

/// Appends a body, unless its messages were shown as they came.
fn body(out: &mut String, body: &Body, headers: &Fields, look: Look, bodies: Bodies) {
    match bodies {
        Bodies::None => {}
        Bodies::WithoutMessages(_) if body.messages.is_some() => {}
        Bodies::WithoutMessages(events) if events > 0 && is_event_stream(headers) => {
            body::push_events(out, events, look);
        }
        _ => body::push(out, body, headers, look),
    }
}

fn is_event_stream(headers: &Fields) -> bool {
    headers
        .get("content-type")
        .and_then(MediaType::parse)
        .is_some_and(|media| media.is_event_stream())
}

/// Appends the notes alone.
pub(super) fn notes(out: &mut String, exchange: &Exchange, color: bool) {
    let mut writer = Writer { out, color };
    for note in &exchange.notes {
        writer.line('*', |out| escape::push(out, note.as_bytes()));
    }
}

struct Writer<'a> {
    out: &'a mut String,
    color: bool,
}

impl Writer<'_> {
    /// A line that begins with `sign`.
    fn line(&mut self, sign: char, write: impl FnOnce(&mut String)) {
        styled(self.out, style::FAINT, self.color, |out| out.push(sign));
        let start = self.out.len();
        self.out.push(' ');
        write(self.out);
        if self.out.len() == start + 1 {
            self.out.truncate(start);
        }
        self.out.push('\n');
    }

    fn start_line(&mut self, sign: char, write: impl FnOnce(&mut String)) {
        let color = self.color;
        self.line(sign, |out| styled(out, style::STRONG, color, write));
    }

    fn fields(&mut self, sign: char, fields: &Fields) {
        for (name, value) in fields.iter() {
            self.line(sign, |out| {
                escape::push(out, name);
                out.push(':');
                if !value.is_empty() {
                    out.push(' ');
                    escape::push(out, value);
                }
            });
        }
    }

    fn trailers(&mut self, sign: char, trailers: &Fields) {
        if !trailers.is_empty() {
            self.line('*', |out| out.push_str("trailers after the body:"));
            self.fields(sign, trailers);
        }
    }

    fn interim(&mut self, interim: &Interim, version: &str) {
        self.start_line('<', |out| {
            let _ = write!(out, "{version} {}", interim.status);
        });
        self.fields('<', &interim.headers);
        self.line('<', |_| {});
    }

    /// Connection, process and notes.
    fn facts(&mut self, exchange: &Exchange) {
        self.line('*', |out| {
            let info = &exchange.info;
            for (n, end) in [&info.local, &info.peer].into_iter().enumerate() {
                if n > 0 {
                    out.push_str(match exchange.role {
                        Role::Client => " → ",
                        Role::Server => " ← ",
                    });
                }
                match end {
                    Some(end) => {
                        let start = out.len();
                        let _ = write!(out, "{end}");
                        escape_from(out, start);
                    }
                    None => out.push_str("unknown address"),
                }
            }
            if info.key.source.is_tls() {
                out.push_str(", ");
                let library = info.tls_library.as_deref();
                escape::push(out, library.unwrap_or(info.key.source.name()).as_bytes());
            }
            let _ = write!(
                out,
                ", exchange {}.{}",
                exchange.connection, exchange.ordinal
            );
            if let Some(stream) = exchange.stream {
                let _ = write!(out, ", stream {stream}");
            }
        });
        if let Some(process) = &exchange.process {
            self.line('*', |out| facts_of(out, process, exchange));
            if !process.cmdline.is_empty() {
                self.line('*', |out| command_line(out, process));
            }
        }
        if let Some(call) = Call::of(exchange) {
            self.line('*', |out| push_call(out, &call, exchange));
        }
        for note in &exchange.notes {
            self.line('*', |out| escape::push(out, note.as_bytes()));
        }
    }
}

/// A gRPC call: what was called, what went to and fro, how it ended.
fn push_call(out: &mut String, call: &Call<'_>, exchange: &Exchange) {
    out.push_str("gRPC");
    if let Some((service, method)) = call.method {
        out.push(' ');
        escape::push(out, service);
        out.push('/');
        escape::push(out, method);
    }
    let timeout = exchange
        .request
        .as_ref()
        .and_then(|request| request.headers.get("grpc-timeout"))
        .and_then(grpc::timeout);
    if let Some((number, unit)) = timeout {
        let _ = write!(out, ", timeout {number} {unit}");
    }
    for (way, direction) in [("sent", Direction::Send), ("received", Direction::Receive)] {
        let Some(messages) = call.messages(direction) else {
            continue;
        };
        let noun = if messages.count == 1 {
            "message"
        } else {
            "messages"
        };
        let _ = write!(out, ", {} {noun} {way}", messages.count);
        if messages.count > 0 && messages.unlisted() == 0 {
            out.push_str(" (");
            push_size(out, messages.listed.iter().map(|m| m.size).sum());
            out.push(')');
        }
    }
    if let Some(status) = call.status {
        let _ = write!(out, "; status {status}");
        if let Some(name) = call.status_name() {
            let _ = write!(out, " {name}");
        }
    }
    if let Some(message) = call.message.as_deref().filter(|m| !m.is_empty()) {
        out.push_str(": ");
        escape::push(out, message);
    }
}

fn facts_of(out: &mut String, process: &Process, exchange: &Exchange) {
    escape::push(out, &process.comm);
    let _ = write!(out, "[{}]", process.pid);
    if !exchange.thread.is_empty() && exchange.thread != process.comm {
        out.push_str(", thread ");
        escape::push(out, &exchange.thread);
        if exchange.tid != 0 {
            let _ = write!(out, "[{}]", exchange.tid);
        }
    }
    if let Some(exe) = &process.exe {
        out.push_str(", ");
        escape::push(out, exe);
    }
    if let Some(uid) = process.uid {
        let _ = write!(out, ", uid {uid}");
    }
    if let Some(container) = &process.container {
        out.push_str(", container ");
        // As long as docker shows it.
        let id = short(container).as_bytes();
        match &process.container_name {
            Some(name) => {
                escape::push(out, name.as_bytes());
                out.push_str(" (");
                escape::push(out, id);
                out.push(')');
            }
            None => escape::push(out, id),
        }
    }
}

/// The arguments, in quotes where a shell would want them.
fn command_line(out: &mut String, process: &Process) {
    for (n, argument) in process.cmdline.iter().enumerate() {
        if n > 0 {
            out.push(' ');
        }
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,~^".contains(b) || *b >= 0x80;
        let quote = argument.is_empty() || !argument.iter().all(plain);
        if quote {
            out.push('\'');
        }
        escape::push(out, argument);
        if quote {
            out.push('\'');
        }
    }
    if process.cmdline_cut {
        out.push_str(" …");
    }
}

/// Escapes what stands in `out` from `start` on.
fn escape_from(out: &mut String, start: usize) {
    if out
        .get(start..)
        .is_some_and(|new| new.chars().any(escape::is_unsafe))
    {
        let raw = out.split_off(start);
        escape::push(out, raw.as_bytes());
    }
}
