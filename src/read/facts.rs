//! What the comments of a packet say: our own notes, and the process in
//! ptcpdump's form.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use crate::event::{ConnectionInfo, ConnectionKey, Endpoint, Source};
use crate::output::pcapng::note::PREFIX;
use crate::process::Process;

/// Processes remembered by their text, so that packets of one share it.
const MAX_REMEMBERED: usize = 4096;

/// A note of our own (`output/pcapng/note.rs` has its fields).
pub(super) struct Note {
    fields: Map<String, Value>,
    /// About the view at the packet's source, else at its destination.
    pub(super) at_source: bool,
}

impl Note {
    /// Reads a comment; `None` if it is not a note.
    pub(super) fn parse(comment: &str) -> Option<Self> {
        let text = comment.strip_prefix(PREFIX)?;
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
            return None;
        };
        let at_source = fields.get("end")?.as_str()? == "src";
        Some(Self { fields, at_source })
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name)?.as_u64()
    }

    pub(super) fn signed(&self, name: &str) -> Option<i64> {
        self.fields.get(name)?.as_i64()
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.fields.get(name).and_then(Value::as_bool) == Some(true)
    }

    pub(super) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        bytes(self.fields.get(name)?)
    }

    /// The entries of a list: bytes, nanoseconds, reason.
    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = (u64, i64, Option<&str>)> {
        let list = self.fields.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|entry| {
            Some((
                entry.get(0)?.as_u64()?,
                entry.get(1)?.as_i64()?,
                entry.get(2).and_then(Value::as_str),
            ))
        })
    }

    /// The process, where the note says something of it: `Some(None)` is one
    /// that is not known.
    pub(super) fn process(&self, remembered: &mut Processes) -> Option<Option<Arc<Process>>> {
        match self.fields.get("process")? {
            Value::Object(fields) => Some(remembered.get(fields)),
            _ => Some(None),
        }
    }

    /// The connection's facts, where the note has them: its number within its
    /// run, and the rest.
    pub(super) fn connection(&self) -> Option<ConnectionInfo> {
        let number = self.number("connection")?;
        let source = Source::from_name(self.text("layer")?)?;
        let endpoint = |name| self.text(name).and_then(parse_endpoint);
        Some(ConnectionInfo {
            key: ConnectionKey {
                source,
                object: number,
                born: self.number("run").unwrap_or(0),
            },
            local: endpoint("local"),
            peer: endpoint("peer"),
            namespace: self.number("namespace").unwrap_or(0),
            from_start: self.flag("from_start"),
            tls_library: self.text("tls").map(Arc::from),
            perspective_unknown: self.flag("guess"),
            number: Some(number),
        })
    }
}

fn parse_endpoint(text: &str) -> Option<Endpoint> {
    match text.strip_prefix("unix:") {
        Some(path) => Some(Endpoint::Unix(path.into())),
        None => Some(Endpoint::Tcp(text.parse().ok()?)),
    }
}

/// A string, or `{"base64":"…"}`.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    use base64::Engine as _;
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        other => base64::engine::general_purpose::STANDARD
            .decode(other.get("base64")?.as_str()?)
            .ok(),
    }
}

/// The processes seen so far.
#[derive(Default)]
pub(super) struct Processes {
    known: FxHashMap<String, Option<Arc<Process>>>,
}

impl Processes {
    fn get(&mut self, fields: &Map<String, Value>) -> Option<Arc<Process>> {
        let text = Value::Object(fields.clone()).to_string();
        self.remember(text, || from_json(fields))
    }

    /// The process of a comment in ptcpdump's form (`PID: 7`, `Cmd: …`,
    /// `Args: …`, a line each); `None` if it names none.
    pub(super) fn named_by(&mut self, comment: &str) -> Option<Arc<Process>> {
        if !comment.contains("PID: ") {
            return None;
        }
        self.remember(comment.to_owned(), || from_lines(comment))
    }

    fn remember(
        &mut self,
        text: String,
        make: impl FnOnce() -> Option<Process>,
    ) -> Option<Arc<Process>> {
        if self.known.len() >= MAX_REMEMBERED && !self.known.contains_key(&text) {
            self.known.clear();
        }
        self.known
            .entry(text)
            .or_insert_with(|| make().map(Arc::new))
            .clone()
    }
}

fn from_json(fields: &Map<String, Value>) -> Option<Process> {
    let number = |name: &str| fields.get(name).and_then(Value::as_u64);
    let small = |name: &str| number(name).and_then(|n| u32::try_from(n).ok());
    Some(Process {
        pid: small("pid")?,
        start: number("start").unwrap_or(0),
        comm: fields.get("comm").and_then(bytes).unwrap_or_default(),
        exe: fields.get("exe").and_then(bytes),
        cmdline: fields
            .get("cmdline")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(bytes).collect())
            .unwrap_or_default(),
        cmdline_cut: fields.get("cut").and_then(Value::as_bool) == Some(true),
        uid: small("uid"),
        container: fields
            .get("container")
            .and_then(Value::as_str)
            .map(str::to_owned),
        container_name: fields
            .get("container_name")
            .and_then(Value::as_str)
            .map(str::to_owned),
    })
}

fn from_lines(comment: &str) -> Option<Process> {
    let mut process = Process::default();
    let mut named = false;
    for line in comment.lines() {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        match name {
            "PID" if !named => {
                process.pid = value.trim().parse().ok()?;
                named = true;
            }
            "Cmd" => {
                let name = value.rsplit('/').next().unwrap_or(value).as_bytes();
                process.comm = name.get(..15).unwrap_or(name).to_vec();
                process.exe = Some(value.as_bytes().to_vec());
            }
            "Args" => {
                let words = value.split(' ').map(|word| word.as_bytes().to_vec());
                process.cmdline = words.collect();
            }
            "UserId" => process.uid = value.trim().parse().ok(),
            "ContainerName" if !value.is_empty() => {
                process.container_name = Some(value.trim_start_matches('/').to_owned());
            }
            "ContainerId" if !value.is_empty() => process.container = Some(value.to_owned()),
            _ => {}
        }
    }
    named.then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ptcpdumps_comments_name_a_process() {
        let mut processes = Processes::default();
        let text = "PID: 7\nCmd: /usr/bin/curl\nArgs: curl -s x\nUserId: 1000";
        let process = processes.named_by(text).unwrap();
        assert_eq!((process.pid, process.uid), (7, Some(1000)));
        assert_eq!(process.comm, b"curl");
        assert_eq!(process.cmdline, [&b"curl"[..], b"-s", b"x"]);
        assert!(Arc::ptr_eq(&process, &processes.named_by(text).unwrap()));
        for text in ["PID: ?", "hello", "PID: 99999999999", "Cmd: x"] {
            assert_eq!(processes.named_by(text), None, "{text}");
        }
    }

    #[test]
    fn a_second_pid_line_changes_nothing() {
        let process = from_lines("PID: 7\nCmd: /bin/x\nPID: 1").unwrap();
        assert_eq!(process.pid, 7);
    }

    #[test]
    fn what_is_not_a_note_is_none() {
        for text in [
            "",
            "httpsniff: ",
            "httpsniff: []",
            "httpsniff: {}",
            "{\"end\":\"src\"}",
        ] {
            assert!(Note::parse(text).is_none(), "{text}");
        }
        assert!(Note::parse("httpsniff: {\"end\":\"dst\"}").is_some_and(|n| !n.at_source));
    }
}
