//! Conversations for the pcapng tests, as the engine hands them to a sink.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test support, not every test uses all of it"
)]

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use httpsniff::event::{
    Action, ConnectionInfo, ConnectionKey, Direction, Endpoint, Event, MissingReason, Source,
    Timestamp,
};
use httpsniff::output::pcapng::Pcapng;
use httpsniff::output::{Content, Sink, Wire};
use httpsniff::process::Process;
use httpsniff::read::Item;

pub const START: u64 = 1_700_000_000_000_000_000;
pub const MS: u64 = 1_000_000;

/// A file in memory.
#[derive(Clone, Default)]
pub struct Memory(pub Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink and the time.
pub struct Run {
    pub sink: Pcapng,
    pub file: Memory,
    pub now: u64,
    /// What the views saw.
    pub log: Log,
}

/// A stretch of a direction as one view had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stretch {
    Bytes(Vec<u8>),
    Missing(u64, MissingReason),
    End,
    Reset,
}

/// When, who (pid, thread id, thread), what.
pub type Entry = (u64, Option<u32>, u32, Vec<u8>, Stretch);

/// By connection number and direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log(pub std::collections::BTreeMap<(u64, usize), Vec<Entry>>);

impl Log {
    pub fn add(&mut self, connection: u64, direction: Direction, entry: Entry) {
        let list = self.0.entry((connection, direction.index())).or_default();
        // Where calls and packets begin and end does not matter.
        if let Some(last) = list.last_mut()
            && (last.0, last.1, last.2, &last.3) == (entry.0, entry.1, entry.2, &entry.3)
        {
            match (&mut last.4, &entry.4) {
                (Stretch::Bytes(a), Stretch::Bytes(b)) => return a.extend_from_slice(b),
                (Stretch::Missing(a, x), Stretch::Missing(b, y)) if x == y => {
                    *a += b;
                    return;
                }
                _ => {}
            }
        }
        list.push(entry);
    }

    /// Takes an event as a reader gives it.
    pub fn event(&mut self, event: &Event<'_>) {
        let connection = event.connection.number.unwrap();
        let entry = |stretch| {
            (
                event.time.0,
                event.process.map(|p| p.pid),
                event.tid,
                event.thread.to_vec(),
                stretch,
            )
        };
        match event.action {
            Action::Data(data) => {
                if !data.bytes.is_empty() {
                    let bytes = Stretch::Bytes(data.bytes.to_vec());
                    self.add(connection, data.direction, entry(bytes));
                }
                if data.missing > 0 {
                    let missing = Stretch::Missing(data.missing, data.reason);
                    self.add(connection, data.direction, entry(missing));
                }
            }
            Action::End { direction, .. } => {
                self.add(connection, direction, entry(Stretch::End));
            }
            Action::Close { reset: true } => {
                self.add(connection, Direction::Send, entry(Stretch::Reset));
            }
            _ => {}
        }
    }
}

/// What a file gives back, and the facts of its connections by number.
pub fn read_back(bytes: &[u8]) -> (Log, std::collections::BTreeMap<u64, ConnectionInfo>) {
    let mut log = Log::default();
    let mut infos = std::collections::BTreeMap::new();
    httpsniff::read::read(bytes, &mut |item| {
        if let Item::Event(event) = item {
            infos.insert(event.connection.number.unwrap(), event.connection.clone());
            log.event(event);
        }
        Ok(true)
    })
    .unwrap();
    (log, infos)
}

impl Run {
    pub fn new() -> Self {
        let file = Memory::default();
        Self {
            sink: Pcapng::new(Box::new(file.clone())).unwrap(),
            file,
            now: START,
            log: Log::default(),
        }
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.sink.finish(Timestamp(self.now)).unwrap();
        std::mem::take(&mut self.file.0.lock().unwrap())
    }

    pub fn tick(&mut self) {
        self.now += 100 * MS;
        self.sink.tick(Timestamp(self.now)).unwrap();
    }
}

/// One process's view of a connection.
pub struct View {
    pub number: u64,
    pub info: Arc<ConnectionInfo>,
    pub process: Option<Arc<Process>>,
    pub tid: u32,
    pub thread: Vec<u8>,
    pub offsets: [u64; 2],
}

pub fn process(pid: u32, exe: &str, arguments: &[&str]) -> Arc<Process> {
    Arc::new(Process {
        pid,
        start: u64::from(pid) * 1000,
        comm: exe.rsplit('/').next().unwrap().as_bytes().to_vec(),
        exe: Some(exe.as_bytes().to_vec()),
        cmdline: arguments.iter().map(|a| a.as_bytes().to_vec()).collect(),
        cmdline_cut: false,
        uid: Some(1000),
        container: None,
        container_name: None,
    })
}

pub fn curl() -> Arc<Process> {
    process(
        4242,
        "/usr/bin/curl",
        &["curl", "-s", "https://example.com/x"],
    )
}

pub fn nginx() -> Arc<Process> {
    process(77, "/usr/sbin/nginx", &["nginx: worker process"])
}

pub fn endpoint(text: &str) -> Option<Endpoint> {
    match text {
        "" => None,
        text => Some(match text.strip_prefix("unix:") {
            Some(path) => Endpoint::Unix(path.into()),
            None => Endpoint::Tcp(text.parse().unwrap()),
        }),
    }
}

impl View {
    pub fn new(
        number: u64,
        source: Source,
        local: &str,
        peer: &str,
        process: Option<Arc<Process>>,
    ) -> Self {
        let tid = process.as_ref().map_or(0, |p| p.pid);
        let thread = process.as_ref().map_or(Vec::new(), |p| p.comm.clone());
        Self {
            number,
            info: Arc::new(ConnectionInfo {
                key: ConnectionKey {
                    source,
                    object: number * 64,
                    born: number,
                },
                local: endpoint(local),
                peer: endpoint(peer),
                namespace: 4_026_531_840,
                from_start: true,
                tls_library: source.is_tls().then(|| "OpenSSL 3.0.17".into()),
                perspective_unknown: false,
                number: None,
            }),
            process,
            tid,
            thread,
            offsets: [number * 1000, number * 7000],
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut ConnectionInfo)) -> Self {
        let mut info = (*self.info).clone();
        change(&mut info);
        self.info = Arc::new(info);
        self
    }

    pub fn put(&mut self, run: &mut Run, direction: Direction, content: Content<'_>) {
        self.put_at(run, run.now, direction, content);
    }

    /// A piece stamped `time`, arriving now.
    pub fn put_at(&mut self, run: &mut Run, time: u64, direction: Direction, content: Content<'_>) {
        let offset = self.offsets[direction.index()];
        self.offsets[direction.index()] += match content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Gap { length, .. } => length,
            _ => 0,
        };
        let stretch = match content {
            Content::Bytes(bytes) => Some(Stretch::Bytes(bytes.to_vec())),
            Content::Gap { length, reason } => Some(Stretch::Missing(length, reason)),
            Content::End { synthetic: true } => None,
            Content::End { synthetic: false } => Some(Stretch::End),
            Content::Reset => Some(Stretch::Reset),
        };
        if let Some(stretch) = stretch {
            let pid = self.process.as_ref().map(|p| p.pid);
            let entry = (time, pid, self.tid, self.thread.clone(), stretch);
            run.log.add(self.number, direction, entry);
        }
        run.sink
            .wire(&Wire {
                connection: self.number,
                info: &self.info,
                direction,
                time: Timestamp(time),
                process: self.process.as_ref(),
                tid: self.tid,
                thread: &self.thread,
                offset,
                http2: None,
                websocket: None,
                content,
            })
            .unwrap();
    }

    pub fn send(&mut self, run: &mut Run, bytes: &[u8]) {
        run.now += 1000;
        self.put(run, Direction::Send, Content::Bytes(bytes));
    }

    pub fn receive(&mut self, run: &mut Run, bytes: &[u8]) {
        run.now += 1000;
        self.put(run, Direction::Receive, Content::Bytes(bytes));
    }

    pub fn gap(&mut self, run: &mut Run, direction: Direction, length: u64) {
        let reason = MissingReason::RingFull;
        self.put(run, direction, Content::Gap { length, reason });
    }

    pub fn end(&mut self, run: &mut Run, direction: Direction, synthetic: bool) {
        run.now += 1000;
        self.put(run, direction, Content::End { synthetic });
    }

    pub fn close(&mut self, run: &mut Run) {
        self.end(run, Direction::Send, false);
        self.end(run, Direction::Receive, false);
    }
}

pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n").into_bytes()
}

pub fn ok(body: &[u8]) -> Vec<u8> {
    let mut message = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    message.extend_from_slice(body);
    message
}

/// Bytes that do not compress and hold no line ends to trip over.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

/// Whether `program` is there; a test that needs it is skipped with a message,
/// but not in CI.
pub fn have(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    assert!(
        there || std::env::var("CI").as_deref() != Ok("true"),
        "{program} is not installed, and in CI it has to be"
    );
    if !there {
        println!("skipped: {program} is not installed");
    }
    there
}

/// Runs tshark on a file and gives its lines.
pub fn tshark(file: &Path, arguments: &[&str]) -> Vec<String> {
    let output = Command::new("tshark")
        .arg("-r")
        .arg(file)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "tshark: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Lines of one field for the packets that a display filter lets through.
pub fn fields(file: &Path, filter: &str, names: &[&str]) -> Vec<String> {
    let mut arguments = vec!["-Y", filter, "-T", "fields"];
    for name in names {
        arguments.extend(["-e", name]);
    }
    tshark(file, &arguments)
}

/// A directory with the capture in it.
pub fn save(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("capture.pcapng");
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

/// What holds of every file: capinfos and pcap-file read it, every packet
/// names a process, tshark has nothing to remark on.
pub fn check_sound(bytes: &[u8]) {
    let mut reader = pcap_file::pcapng::PcapNgReader::new(bytes).unwrap();
    let mut packets = 0;
    while let Some(block) = reader.next_block() {
        packets += usize::from(block.unwrap().0.into_enhanced_packet().is_some());
    }
    if !have("tshark") {
        return;
    }
    let (_directory, path) = save(bytes);
    let remarks = tshark(
        &path,
        &[
            "-o",
            "ip.check_checksum:TRUE",
            "-o",
            "tcp.check_checksum:TRUE",
            "-Y",
            "!(frame.comment contains \"PID: \") || tcp.analysis.flags || _ws.malformed \
             || ip.checksum.status == 0 || tcp.checksum.status == 0",
            "-T",
            "fields",
            "-e",
            "frame.number",
            "-e",
            "frame.comment",
            "-e",
            "_ws.col.Info",
        ],
    );
    assert!(remarks.is_empty(), "{packets} packets: {remarks:#?}");
    let output = Command::new("capinfos").arg(&path).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("nanoseconds (9)"));
}

/// The request URIs and response codes that tshark's http dissector finds, in
/// order.
pub fn dissected(bytes: &[u8]) -> Vec<String> {
    let (_directory, path) = save(bytes);
    fields(&path, "http", &["http.request.uri", "http.response.code"])
        .iter()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}
