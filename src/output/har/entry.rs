//! One entry: an exchange with its times, its connection and its process.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::json::grpc;
use super::super::json::value::Writer;
use super::{message, words};
use crate::event::{Direction, Endpoint, Timestamp};
use crate::exchange::{Exchange, Interim, Role, State, Times, Upgrade};
use crate::process::Process;

/// What was written last of a process: most entries are of the same few.
#[derive(Default)]
pub(super) struct Facts(Option<(Arc<Process>, Vec<u8>)>);

/// Appends the entry of `exchange` but for its closing brace.
pub(super) fn push(w: &mut Writer, exchange: &Exchange, facts: &mut Facts) {
    let timing = Timing::of(&exchange.times);
    w.raw("{\"startedDateTime\":");
    started(w, &exchange.times);
    w.raw(",\"time\":");
    millis(w, timing.parts.iter().sum());
    message::request(w, exchange);
    message::response(w, exchange);
    w.raw(",\"cache\":{}");
    timing.push(w);
    connection(w, exchange);
    about(w, exchange);
    who(w, exchange, facts);
}

/// The address of the server's end, if it is known.
pub(super) fn server(exchange: &Exchange) -> Option<&Endpoint> {
    match exchange.role {
        Role::Client => exchange.info.peer.as_ref(),
        Role::Server => exchange.info.local.as_ref(),
    }
}

/// The first time that is known, in microseconds: some importers take no more
/// digits.
fn started(w: &mut Writer, times: &Times) {
    let known = [
        times.request_start,
        times.request_end,
        times.response_start,
        times.response_end,
    ];
    w.time(known.into_iter().flatten().next().unwrap_or_default());
    let whole = w.buffer.len().saturating_sub("789Z\"".len());
    w.buffer.truncate(whole);
    w.raw("Z\"");
}

/// Milliseconds of so many microseconds.
fn millis(w: &mut Writer, micros: u64) {
    w.number(micros / 1000);
    let rest = micros % 1000;
    if rest > 0 {
        // 1042 without its first digit is the fraction .042.
        w.raw(".");
        let digits = (1000 + rest).to_string();
        w.raw(digits.get(1..).unwrap_or_default());
    }
}

/// How long sending, waiting and receiving took, in microseconds; 0 if not
/// known, for HAR has no other value for these three.
struct Timing {
    parts: [u64; 3],
    unknown: [bool; 3],
}

impl Timing {
    fn of(times: &Times) -> Self {
        let marks = [
            times.request_start,
            times.request_end,
            times.response_start,
            times.response_end,
        ];
        let mut timing = Self {
            parts: [0; 3],
            unknown: [false; 3],
        };
        // A response may begin before its request ends: its time then counts
        // from there, so that the parts never add up to more than the whole.
        let mut latest: Option<Timestamp> = None;
        let mut before: Option<Timestamp> = None;
        for (n, mark) in marks.into_iter().enumerate() {
            let now = mark.map(|mark| latest.map_or(mark, |latest| latest.max(mark)));
            if let Some(part) = n.checked_sub(1)
                && let (Some(micros), Some(unknown)) =
                    (timing.parts.get_mut(part), timing.unknown.get_mut(part))
            {
                match (before, now) {
                    (Some(from), Some(to)) => *micros = to.micros_since(from),
                    _ => *unknown = true,
                }
            }
            before = now;
            latest = now.or(latest);
        }
        timing
    }

    fn push(&self, w: &mut Writer) {
        const NAMES: [&str; 3] = ["send", "wait", "receive"];
        w.raw(",\"timings\":{\"blocked\":-1,\"dns\":-1,\"connect\":-1");
        for (name, micros) in NAMES.iter().zip(self.parts) {
            w.raw(",\"");
            w.raw(name);
            w.raw("\":");
            millis(w, micros);
        }
        w.raw(",\"ssl\":-1");
        let unknown = NAMES
            .iter()
            .zip(self.unknown)
            .filter(|(_, unknown)| *unknown);
        let unknown: Vec<&str> = unknown.map(|(name, _)| *name).collect();
        if !unknown.is_empty() {
            w.raw(",\"comment\":");
            w.string(&format!("not known: {}", unknown.join(", ")));
        }
        w.raw("}");
    }
}

/// The connection, and where it leads.
fn connection(w: &mut Writer, exchange: &Exchange) {
    if let Some(Endpoint::Tcp(address)) = server(exchange) {
        w.raw(",\"serverIPAddress\":");
        w.string(&address.ip().to_string());
        // As browsers have it: DevTools take it for the address's port.
        w.raw(",\"connection\":\"");
        w.number(address.port().into());
        w.raw("\"");
    }
    w.raw(",\"_connectionId\":\"");
    w.number(exchange.connection);
    w.raw("\",\"_id\":\"");
    w.number(exchange.connection);
    w.raw(".");
    w.number(exchange.ordinal);
    w.raw("\"");
    if let Some(stream) = exchange.stream {
        w.raw(",\"_stream\":");
        w.number(stream.into());
    }
    w.raw(",\"_local\":");
    endpoint(w, exchange.info.local.as_ref());
    w.raw(",\"_peer\":");
    endpoint(w, exchange.info.peer.as_ref());
    w.raw(",\"_source\":");
    w.name(exchange.info.key.source.name());
    if let Some(library) = &exchange.info.tls_library {
        w.raw(",\"_tls_library\":");
        w.string(library);
    }
}

fn endpoint(w: &mut Writer, endpoint: Option<&Endpoint>) {
    match endpoint {
        Some(endpoint) => w.endpoint(endpoint),
        None => w.raw("null"),
    }
}

/// What the JSON output says of an exchange and HAR has no place for.
fn about(w: &mut Writer, exchange: &Exchange) {
    w.raw(",\"_role\":");
    w.name(exchange.role.name());
    w.raw(",\"_state\":");
    w.name(exchange.state.name());
    w.raw(",\"_protocol\":");
    let version = exchange.request.as_ref().map(|r| r.version);
    match version.or(exchange.response.as_ref().map(|r| r.version)) {
        Some(version) => w.name(version.name()),
        None => w.raw("null"),
    }
    let interim: &[Interim] = match &exchange.response {
        Some(response) => &response.interim,
        None => &exchange.interim,
    };
    if !interim.is_empty() {
        w.raw(",\"_interim\":");
        w.list(interim.iter(), |w, response| {
            w.raw("{\"status\":");
            w.number(response.status.into());
            w.raw(",\"headers\":");
            message::fields(w, &response.headers);
            w.raw("}");
        });
    }
    if let Some(upgrade) = exchange.upgraded_to {
        if upgrade == Upgrade::WebSocket {
            // DevTools show the messages of what is called so.
            w.raw(",\"_resourceType\":\"websocket\"");
        }
        w.raw(",\"_upgraded_to\":");
        w.name(upgrade.name());
        let bytes = |direction: Direction| exchange.tunnel_bytes.get(direction.index()).copied();
        w.raw(",\"_tunnel\":{\"sent\":");
        w.number_or_null(bytes(Direction::Send));
        w.raw(",\"received\":");
        w.number_or_null(bytes(Direction::Receive));
        w.raw("}");
    }
    grpc::push(w, ",\"_grpc\":", exchange);
    w.raw(",\"_lost_bytes\":");
    w.number(exchange.lost_bytes);
    w.raw(",\"_notes\":");
    w.list(exchange.notes.iter(), |w, note| w.string(note));
    if let Some(comment) = comment(exchange) {
        w.raw(",\"comment\":");
        w.string(&comment);
    }
}

/// The same in words, for those who look at it in a browser.
fn comment(exchange: &Exchange) -> Option<String> {
    let mut parts: Vec<Cow<'_, str>> = Vec::new();
    match exchange.state {
        State::Complete => {}
        // Of HTTP/2 a note says that it was the stream.
        State::Reset if has_reset_stream(exchange) => {}
        State::Reset => parts.push("the connection was reset".into()),
        State::Closed => parts.push("the connection ended early".into()),
        State::Open => parts.push("still running when the capture ended".into()),
    }
    if exchange.lost_bytes > 0 {
        parts.push(format!("{} bytes are not there", exchange.lost_bytes).into());
    }
    parts.extend(exchange.notes.iter().map(|note| Cow::Borrowed(*note)));
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Whether it was the stream that was reset, not the connection.
pub(super) fn has_reset_stream(exchange: &Exchange) -> bool {
    let mut notes = exchange.notes.iter();
    notes.any(|note| note.starts_with("stream reset"))
}

/// The process, as its thread was.
fn who(w: &mut Writer, exchange: &Exchange, facts: &mut Facts) {
    let Some(process) = &exchange.process else {
        return w.raw(",\"_pid\":null");
    };
    match &facts.0 {
        Some((known, json)) if Arc::ptr_eq(known, process) => {
            w.buffer.extend_from_slice(json);
        }
        _ => {
            let start = w.buffer.len();
            lasting(w, process);
            let json = w.buffer.get(start..).unwrap_or_default();
            facts.0 = Some((Arc::clone(process), json.to_vec()));
        }
    }
    if exchange.tid != 0 {
        w.raw(",\"_tid\":");
        w.number(exchange.tid.into());
    }
    if !exchange.thread.is_empty() {
        w.raw(",\"_thread\":");
        words::push(w, &exchange.thread);
    }
}

/// What is the same in each entry of a process.
fn lasting(w: &mut Writer, process: &Process) {
    w.raw(",\"_pid\":");
    w.number(process.pid.into());
    w.raw(",\"_comm\":");
    words::push(w, &process.comm);
    if let Some(exe) = &process.exe {
        w.raw(",\"_exe\":");
        words::push(w, exe);
    }
    if !process.cmdline.is_empty() {
        w.raw(",\"_cmdline\":");
        w.list(process.cmdline.iter(), |w, argument| {
            words::push(w, argument);
        });
    }
    if process.cmdline_cut {
        w.raw(",\"_cmdline_cut\":true");
    }
    if let Some(uid) = process.uid {
        w.raw(",\"_uid\":");
        w.number(uid.into());
    }
    for (key, name) in [
        (",\"_container\":", &process.container),
        (",\"_container_name\":", &process.container_name),
    ] {
        if let Some(name) = name {
            w.raw(key);
            w.string(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_never_add_up_to_more_than_the_whole() {
        let at = |micros: u64| Some(Timestamp(micros * 1000));
        let parts = |marks: [Option<Timestamp>; 4]| {
            let [request_start, request_end, response_start, response_end] = marks;
            let timing = Timing::of(&Times {
                request_start,
                request_end,
                response_start,
                response_end,
            });
            (timing.parts, timing.unknown)
        };
        assert_eq!(
            parts([at(10), at(20), at(50), at(90)]),
            ([10, 30, 40], [false; 3])
        );
        // Answered before the request was over.
        assert_eq!(
            parts([at(10), at(60), at(50), at(90)]),
            ([50, 0, 30], [false; 3])
        );
        assert_eq!(
            parts([None, None, at(50), at(90)]),
            ([0, 0, 40], [true, true, false])
        );
        assert_eq!(parts([at(10), None, at(50), None]), ([0, 0, 0], [true; 3]));
        assert_eq!(parts([None; 4]), ([0; 3], [true; 3]));
    }

    #[test]
    fn milliseconds_keep_their_microseconds() {
        for (micros, text) in [(0, "0"), (1, "0.001"), (2040, "2.040"), (5000, "5")] {
            let mut w = Writer::default();
            millis(&mut w, micros);
            assert_eq!(String::from_utf8(w.buffer).unwrap(), text);
        }
    }
}
