//! The comments that `-r` reads: `httpsniff: {…}`, one JSON object each, on
//! the packets where something changes.
//!
//! A note is about the view of one end of the packet, `"end":"src"` or
//! `"end":"dst"`, and its fields are all optional:
//!
//! | field | meaning |
//! |---|---|
//! | `v`, `run`, `connection`, `layer`, `local`, `peer`, `namespace`, `from_start`, `tls`, `guess` | the connection's facts; they begin a view |
//! | `made_up` | these ends of the packet (`src`, `dst`) have addresses or ports that are not real |
//! | `process`, `tid`, `thread` | who does what follows |
//! | `time` | nanoseconds from the packet's time to the view's own |
//! | `gap` | the view does not have this packet's payload, and why |
//! | `fake` | the payload is made up: nobody has it |
//! | `skip_src`, `skip_dst` | so many bytes of the packet's source (destination) that no packet stands for, with `gap` |
//! | `got`, `sent` | `[bytes, nanoseconds, reason?]…`: when this view received (sent) bytes that are written from the other view |
//! | `from` | with the first of these: it begins so many bytes before the end of what is written |
//! | `fin` | `synthetic`: nothing on the wire said so |
//! | `eof` | nanoseconds: when the other end saw the end |

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::event::{ConnectionInfo, Endpoint};
use crate::process::Process;

/// What such a comment begins with.
pub(crate) const PREFIX: &str = "httpsniff: ";

/// Bytes of a process in a note. With [`MAX_ENTRIES`] of at most 56 bytes and
/// the connection's facts that is below the 65,535 of an option.
const MAX_PROCESS: usize = 34_000;
/// Entries of a list in one note.
pub(super) const MAX_ENTRIES: usize = 500;

/// Writes one note.
pub(super) struct Note {
    text: String,
}

impl Note {
    /// A note about the view at the packet's source (`true`) or destination.
    pub(super) fn new(at_source: bool) -> Self {
        let end = if at_source { "src" } else { "dst" };
        Self {
            text: format!("{PREFIX}{{\"end\":\"{end}\""),
        }
    }

    fn raw(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = write!(self.text, ",\"{name}\":{value}");
        self
    }

    pub(super) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.raw(name, value)
    }

    pub(super) fn signed(&mut self, name: &str, value: i64) -> &mut Self {
        self.raw(name, value)
    }

    pub(super) fn flag(&mut self, name: &str) -> &mut Self {
        self.raw(name, true)
    }

    pub(super) fn string(&mut self, name: &str, value: &str) -> &mut Self {
        let value = Value::from(value);
        self.raw(name, value)
    }

    pub(super) fn list(&mut self, name: &str, values: &[Value]) -> &mut Self {
        let value = Value::from(values);
        self.raw(name, value)
    }

    /// The facts of a connection.
    pub(super) fn connection(&mut self, number: u64, run: u64, info: &ConnectionInfo) -> &mut Self {
        let endpoint = |e: &Option<Endpoint>| {
            e.as_ref()
                .map_or(Value::Null, |e| Value::from(e.to_string()))
        };
        self.number("v", 1)
            .number("run", run)
            .number("connection", number)
            .string("layer", info.key.source.name())
            .raw("local", endpoint(&info.local))
            .raw("peer", endpoint(&info.peer))
            .number("namespace", info.namespace)
            .raw("from_start", info.from_start);
        if let Some(library) = &info.tls_library {
            self.string("tls", library);
        }
        if info.perspective_unknown {
            self.flag("guess");
        }
        self
    }

    /// A process, in the form that [`process`] gives.
    pub(super) fn process(&mut self, text: &str) -> &mut Self {
        self.raw("process", text)
    }

    /// A string that need not be UTF-8.
    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        let value = bytes(value);
        self.raw(name, value)
    }

    /// Bytes so far.
    pub(super) fn length(&self) -> usize {
        self.text.len()
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

/// The facts of a process, `null` when there is none. What would make the
/// comment longer than the format allows is left out.
pub(super) fn process(process: Option<&Process>) -> String {
    let Some(process) = process else {
        return "null".to_owned();
    };
    let mut map = Map::new();
    map.insert("pid".into(), process.pid.into());
    map.insert("start".into(), process.start.into());
    map.insert("comm".into(), bytes(&process.comm));
    map.insert("uid".into(), process.uid.into());
    map.insert("container".into(), process.container.clone().into());
    if let Some(name) = &process.container_name {
        map.insert("container_name".into(), name.clone().into());
    }
    let exe = process.exe.as_deref();
    map.insert("exe".into(), exe.map_or(Value::Null, bytes));
    let cmdline = process.cmdline.iter().map(|a| bytes(a)).collect();
    map.insert("cmdline".into(), cmdline);
    if process.cmdline_cut {
        map.insert("cut".into(), true.into());
    }
    let mut value = Value::from(map);
    let mut text = value.to_string();
    for name in ["cmdline", "exe", "container_name", "container"] {
        if text.len() <= MAX_PROCESS {
            break;
        }
        if let Some(map) = value.as_object_mut() {
            map.remove(name);
        }
        text = value.to_string();
    }
    text
}

/// A string, or `{"base64":"…"}` when it is not UTF-8.
fn bytes(value: &[u8]) -> Value {
    use base64::Engine as _;
    match std::str::from_utf8(value) {
        Ok(text) => Value::from(text),
        Err(_) => {
            let text = base64::engine::general_purpose::STANDARD.encode(value);
            Value::from(Map::from_iter([("base64".to_owned(), Value::from(text))]))
        }
    }
}
