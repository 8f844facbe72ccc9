//! `-o json`: one object per line, schema 1.
//!
//! The lines are a promise: names, meaning and order of the
//! fields stay, fields are only added. `null` is unknown; what does not apply
//! is absent. Every line is written whole, and holds no character that a
//! terminal would obey, though it is not meant for one: JSON has escapes for
//! them that lose nothing.
//!
//! Where the general rules leave a choice:
//! - While there is no final response, `response` is `null` and the 1xx
//!   responses that were seen are in `interim` beside it, not inside.
//! - `upgraded_to` comes with `tunnel`: `{"sent":N,"received":N}`, bytes after
//!   the upgrade from the process's view.
//! - `cmdline_cut` is there, and `true`, when arguments are missing.
//! - A line of kind `request` has what is known by then: no `response`,
//!   `timing` or trailers, `body` is `null`, `state` is `open`.
//! - `missing` is there only if something is.

use std::io::{self, Write};
use std::sync::Arc;

use super::{Sink, Wants};
use crate::event::{ConnectionInfo, Direction, Timestamp};
use crate::exchange::{Body, Exchange, Fields, Interim, State, Times};
use crate::message::{Message, MessageKind};
use crate::process::Process;
use crate::tls_flow::TlsFlow;

mod flow;
pub(super) mod grpc;
mod message;
mod parts;
pub(super) mod value;

use value::Writer;

/// Lines are collected up to so many bytes before they are written.
const ENOUGH: usize = 64 << 10;

/// What may vary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A line of kind `request` as soon as a request's header is there.
    pub partial: bool,
    /// Write after every line (a terminal), not only when enough has been
    /// collected or time has passed.
    pub line_buffered: bool,
}

/// Writes JSON lines.
pub struct Json {
    out: Box<dyn Write>,
    options: Options,
    writer: Writer,
    /// What was written last of a process that never changes, its command
    /// line above all: most lines are of the same few processes.
    facts: Option<(Arc<Process>, Vec<u8>)>,
}

impl Json {
    /// A sink that writes to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write>, options: Options) -> Self {
        Self {
            out,
            options,
            writer: Writer::default(),
            facts: None,
        }
    }

    fn line_done(&mut self) -> io::Result<()> {
        self.writer.raw("\n");
        if self.options.line_buffered || self.writer.buffer.len() >= ENOUGH {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.writer.buffer.is_empty() {
            return Ok(());
        }
        let written = self.out.write_all(&self.writer.buffer);
        // Cleared after a failure too, so that the end of the run does not
        // write a second time what may have been written in part.
        self.writer.buffer.clear();
        // One huge body must not be paid for during the rest of the run.
        self.writer.buffer.shrink_to(4 * ENOUGH);
        written?;
        self.out.flush()
    }
}

impl Sink for Json {
    fn wants(&self) -> Wants {
        Wants {
            bodies: true,
            wire: false,
            requests: self.options.partial,
            messages: true,
            ..Wants::default()
        }
    }

    fn request(&mut self, exchange: &Exchange) -> io::Result<()> {
        let w = &mut self.writer;
        head(w, exchange, "request", State::Open, &mut self.facts);
        request(w, exchange, Progress::Head);
        tail(w, exchange);
        self.line_done()
    }

    fn message(&mut self, exchange: &Exchange, message: &Message<'_>) -> io::Result<()> {
        // Those of gRPC are in the body, and listed with it.
        if message.kind == MessageKind::Grpc {
            return Ok(());
        }
        message::push(&mut self.writer, exchange, message);
        self.line_done()
    }

    fn exchange(&mut self, exchange: &Exchange) -> io::Result<()> {
        let w = &mut self.writer;
        head(w, exchange, "exchange", exchange.state, &mut self.facts);
        request(w, exchange, Progress::Whole);
        response(w, exchange);
        grpc::push(w, ",\"grpc\":", exchange);
        timing(w, &exchange.times);
        tail(w, exchange);
        self.line_done()
    }

    fn tls(&mut self, flow: &TlsFlow) -> io::Result<()> {
        flow::push(&mut self.writer, flow, &mut self.facts);
        self.line_done()
    }

    fn tick(&mut self, _now: Timestamp) -> io::Result<()> {
        self.flush()
    }

    fn finish(&mut self, _now: Timestamp) -> io::Result<()> {
        self.flush()
    }
}

/// How much of a request is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Head,
    Whole,
}

/// Everything before `request`.
fn head(
    w: &mut Writer,
    exchange: &Exchange,
    kind: &str,
    state: State,
    facts: &mut Option<(Arc<Process>, Vec<u8>)>,
) {
    w.raw("{\"schema\":1,\"kind\":");
    w.name(kind);
    w.raw(",\"id\":\"");
    w.number(exchange.connection);
    w.raw(".");
    w.number(exchange.ordinal);
    w.raw("\",\"ts\":");
    let times = &exchange.times;
    match times.request_start.or(times.response_start) {
        Some(time) => w.time(time),
        None => w.raw("null"),
    }
    w.raw(",\"role\":");
    w.name(exchange.role.name());
    w.raw(",\"state\":");
    w.name(state.name());
    w.raw(",\"protocol\":");
    let version = exchange.request.as_ref().map(|r| r.version);
    match version.or(exchange.response.as_ref().map(|r| r.version)) {
        Some(version) => w.name(version.name()),
        None => w.raw("null"),
    }
    w.raw(",\"source\":");
    w.name(exchange.info.key.source.name());
    w.raw(",\"connection\":");
    w.number(exchange.connection);
    w.raw(",\"stream\":");
    match exchange.stream {
        Some(stream) => w.number(u64::from(stream)),
        None => w.raw("null"),
    }
    who(
        w,
        exchange.process.as_ref(),
        exchange.tid,
        &exchange.thread,
        facts,
    );
    ends(w, &exchange.info);
    if exchange.info.key.source.is_tls() {
        w.raw(",\"tls\":{\"library\":");
        match &exchange.info.tls_library {
            Some(library) => w.string(library),
            None => w.raw("null"),
        }
        w.raw("}");
    }
}

/// `process`.
fn who(
    w: &mut Writer,
    process: Option<&Arc<Process>>,
    tid: u32,
    thread: &[u8],
    facts: &mut Option<(Arc<Process>, Vec<u8>)>,
) {
    w.raw(",\"process\":");
    let Some(process) = process else {
        return w.raw("null");
    };
    w.raw("{\"pid\":");
    w.number(process.pid.into());
    w.raw(",\"tid\":");
    w.number_or_null((tid != 0).then_some(tid.into()));
    w.raw(",\"comm\":");
    w.bytes_or_null(&process.comm);
    w.raw(",\"thread\":");
    w.bytes_or_null(thread);
    match facts {
        Some((known, json)) if Arc::ptr_eq(known, process) => {
            w.buffer.extend_from_slice(json);
        }
        _ => {
            let start = w.buffer.len();
            self::facts(w, process);
            let json = w.buffer.get(start..).unwrap_or_default();
            *facts = Some((Arc::clone(process), json.to_vec()));
        }
    }
}

/// `local` and `peer`.
fn ends(w: &mut Writer, info: &ConnectionInfo) {
    for (key, end) in [(",\"local\":", &info.local), (",\"peer\":", &info.peer)] {
        w.raw(key);
        match end {
            Some(end) => w.endpoint(end),
            None => w.raw("null"),
        }
    }
}

/// The rest of `process`: what is the same in each of its lines.
fn facts(w: &mut Writer, process: &Process) {
    w.raw(",\"exe\":");
    w.bytes_or_null(process.exe.as_deref().unwrap_or_default());
    w.raw(",\"cmdline\":");
    if process.cmdline.is_empty() {
        w.raw("null");
    } else {
        w.list(process.cmdline.iter(), |w, argument| w.bytes(argument));
    }
    if process.cmdline_cut {
        w.raw(",\"cmdline_cut\":true");
    }
    w.raw(",\"uid\":");
    w.number_or_null(process.uid.map(u64::from));
    w.raw(",\"container\":");
    match &process.container {
        Some(container) => {
            w.string(container);
            w.raw(",\"container_name\":");
            match &process.container_name {
                Some(name) => w.string(name),
                None => w.raw("null"),
            }
        }
        None => w.raw("null"),
    }
    w.raw("}");
}

fn request(w: &mut Writer, exchange: &Exchange, progress: Progress) {
    w.raw(",\"request\":");
    let Some(request) = &exchange.request else {
        return w.raw("null");
    };
    w.raw("{\"method\":");
    w.bytes(&request.method);
    w.raw(",\"scheme\":");
    w.name(request.scheme);
    w.raw(",\"host\":");
    match &request.host {
        Some(host) => w.bytes(host),
        None => w.raw("null"),
    }
    w.raw(",\"target\":");
    w.bytes(&request.target);
    w.raw(",\"url\":");
    w.bytes_of(&request.url_parts());
    w.raw(",\"version\":");
    w.name(request.version.name());
    w.raw(",\"headers\":");
    fields(w, &request.headers);
    match progress {
        Progress::Head => w.raw(",\"body\":null"),
        Progress::Whole => {
            w.raw(",\"trailers\":");
            fields(w, &request.trailers);
            body(w, &request.body, &request.headers);
        }
    }
    w.raw("}");
}

fn response(w: &mut Writer, exchange: &Exchange) {
    w.raw(",\"response\":");
    match &exchange.response {
        Some(response) => {
            w.raw("{\"status\":");
            // 0 stands for one that is not known (HTTP/2 joined late).
            let status = (response.status != 0).then_some(response.status.into());
            w.number_or_null(status);
            w.raw(",\"reason\":");
            w.bytes(&response.reason);
            w.raw(",\"version\":");
            w.name(response.version.name());
            w.raw(",\"headers\":");
            fields(w, &response.headers);
            w.raw(",\"trailers\":");
            fields(w, &response.trailers);
            interim(w, &response.interim);
            body(w, &response.body, &response.headers);
            w.raw("}");
        }
        None => {
            w.raw("null");
            if !exchange.interim.is_empty() {
                interim(w, &exchange.interim);
            }
        }
    }
    if let Some(upgrade) = exchange.upgraded_to {
        w.raw(",\"upgraded_to\":");
        w.name(upgrade.name());
        let bytes = |direction: Direction| exchange.tunnel_bytes.get(direction.index()).copied();
        w.raw(",\"tunnel\":{\"sent\":");
        w.number_or_null(bytes(Direction::Send));
        w.raw(",\"received\":");
        w.number_or_null(bytes(Direction::Receive));
        w.raw("}");
        if let Some([sent, received]) = exchange.messages {
            w.raw(",\"messages\":{\"sent\":");
            w.number(sent);
            w.raw(",\"received\":");
            w.number(received);
            w.raw("}");
        }
    }
}

fn interim(w: &mut Writer, interim: &[Interim]) {
    w.raw(",\"interim\":");
    w.list(interim.iter(), |w, response| {
        w.raw("{\"status\":");
        w.number(response.status.into());
        w.raw(",\"headers\":");
        fields(w, &response.headers);
        w.raw("}");
    });
}

fn fields(w: &mut Writer, fields: &Fields) {
    w.list(fields.iter(), |w, (name, value)| {
        w.raw("[");
        w.bytes(name);
        w.raw(",");
        w.bytes(value);
        w.raw("]");
    });
}

fn body(w: &mut Writer, body: &Body, headers: &Fields) {
    w.raw(",\"body\":{\"size\":");
    w.number_or_null(body.size);
    w.raw(",\"encoded_size\":");
    w.number(body.encoded_size);
    w.raw(",\"encodings\":");
    w.list(body.encodings.iter(), |w, encoding| w.string(encoding));
    w.raw(",\"state\":");
    w.name(body.state.name());
    if !body.missing.is_empty() {
        w.raw(",\"missing\":");
        w.missing(&body.missing);
    }
    match body.text() {
        Some(text) => {
            w.raw(",\"text\":");
            w.string(text);
        }
        None => {
            w.raw(",\"base64\":");
            w.base64(&body.bytes);
        }
    }
    parts::push(w, body, headers);
    grpc::push_messages(w, body);
    w.raw("}");
}

fn timing(w: &mut Writer, times: &Times) {
    let between = |from: Option<Timestamp>, to: Option<Timestamp>| Some(to?.micros_since(from?));
    for (key, from, to) in [
        (
            ",\"timing\":{\"request_us\":",
            times.request_start,
            times.request_end,
        ),
        (",\"wait_us\":", times.request_end, times.response_start),
        (
            ",\"response_us\":",
            times.response_start,
            times.response_end,
        ),
        (",\"total_us\":", times.request_start, times.response_end),
    ] {
        w.raw(key);
        w.number_or_null(between(from, to));
    }
    w.raw("}");
}

/// What stands behind the messages.
fn tail(w: &mut Writer, exchange: &Exchange) {
    w.raw(",\"lost_bytes\":");
    w.number(exchange.lost_bytes);
    w.raw(",\"notes\":");
    w.list(exchange.notes.iter(), |w, note| w.string(note));
    w.raw("}");
}

#[cfg(test)]
mod tests;
