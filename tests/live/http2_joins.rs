//! httpsniff comes in the middle of HTTP/2 connections, of six clients at each
//! of four servers. What it shows then is right or a placeholder, by what the
//! clients say that they sent and got; what is said anew is never unknown.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::TempDir;

use crate::http2::{Pairs, assert_right_or_unknown, go_in_clear, needs_module};
use crate::support::clients::run;
use crate::support::exchange::{Exchange, short};
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::h2::{self, Client, fields};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::process::Process;
use crate::support::servers::Server;
use crate::support::skip::needs;

/// Exchanges of a connection before httpsniff comes, and after.
const BEFORE: usize = 5;
const AFTER: usize = 9;

/// An exchange as its client tells it.
struct Told {
    stream: u64,
    method: String,
    target: String,
    status: u64,
    sent: Pairs,
    received: Pairs,
    body: Vec<u8>,
}

/// What a client is held up by, and let go: a port at which the server waits
/// until somebody hangs up.
struct Gate {
    listener: TcpListener,
    waiting: Vec<TcpStream>,
}

impl Gate {
    fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            waiting: Vec::new(),
        }
    }

    fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Waits until one more is held up.
    fn reached(&mut self) {
        self.waiting.push(self.listener.accept().unwrap().0);
    }

    /// Lets all go; nginx gets the file by the way.
    fn open(self, content: &[u8]) {
        for mut stream in self.waiting {
            write!(
                stream,
                "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n",
                content.len()
            )
            .unwrap();
            stream.write_all(content).unwrap();
        }
    }
}

/// A server and what is known of it.
struct At<'a> {
    server: &'a Server,
    docroot: &'a Docroot,
    certificate: Option<&'a Certificate>,
    /// Whether it answers POST to `/echo/`.
    echoes: bool,
    /// Whether it answers what is not there.
    misses: bool,
    /// What comes before `/gate/`.
    gate: String,
}

/// A client that has had some exchanges on its connection, and shall have more.
enum Talk {
    /// Asks when it is told to.
    Lines(Client, Process, Vec<Told>),
    /// curl writes a body into a FIFO, whose first byte was read.
    Curl(Process, TempDir, File, Vec<String>),
    /// nghttp waits for a page at the gate; what the page needs is fetched
    /// then.
    Nghttp(Process),
    /// h2load waits at the gate between others.
    H2load(Process, TempDir, Vec<String>),
}

/// Fields of the request of a number: what stays the same, what has been
/// before, what is new, and what is said only since httpsniff has come.
fn own_fields(name: &str, number: usize) -> Pairs {
    let mut list = vec![
        ("x-same".to_owned(), "same-value".to_owned()),
        ("x-turn".to_owned(), format!("{}", number % 3)),
        ("x-number".to_owned(), format!("{name}-{number}")),
    ];
    if number >= BEFORE {
        list.push(("x-late".to_owned(), format!("late-{name}")));
    }
    list
}

impl At<'_> {
    /// What a client that we tell what to do asks for.
    fn request(&self, name: &str, number: usize) -> (&'static str, String) {
        match number % 4 {
            3 if self.echoes => ("POST", format!("/echo/{name}?{name}-{number}")),
            _ => {
                let names = &self.docroot.names()[..3];
                let file = &names[number % names.len()];
                ("GET", format!("/{file}?{name}-{number}"))
            }
        }
    }

    fn ask(&self, client: Client, process: &mut Process, told: &mut Vec<Told>) {
        let name = format!("{client:?}");
        let number = told.len();
        let (method, target) = self.request(&name, number);
        let mut line = format!("{method}\t{target}");
        for (name, value) in own_fields(&name, number) {
            line.push_str(&format!("\t{name}\t{value}"));
        }
        process.send(&line);
        let got: serde_json::Value = serde_json::from_str(&process.line()).unwrap();
        told.push(Told {
            stream: 2 * number as u64 + 1,
            method: method.to_owned(),
            target,
            status: got["status"].as_u64().unwrap(),
            sent: serde_json::from_value(got["sent"].clone()).unwrap(),
            received: serde_json::from_value(got["fields"].clone()).unwrap(),
            body: got["body"].as_str().unwrap().as_bytes().to_vec(),
        });
    }

    fn lines(&self, client: Client) -> Talk {
        let mut process = Process::spawn(&mut client.ours("lines", self.server, self.certificate));
        let mut told = Vec::new();
        for _ in 0..BEFORE {
            self.ask(client, &mut process, &mut told);
        }
        Talk::Lines(client, process, told)
    }

    fn curl(&self) -> Talk {
        let kept = folder();
        let fifo = kept.path().join("4");
        run(Command::new("mkfifo").arg(&fifo));
        let mut command = Command::new("curl");
        command.args(["-v", "--stderr", "-"]);
        let mut targets = Vec::new();
        for number in 0..BEFORE + AFTER {
            if number > 0 {
                command.arg("--next");
            }
            let arguments = h2::curl(self.certificate);
            command.args(
                arguments
                    .get_args()
                    .filter(|a| *a != "--fail" && *a != "-q"),
            );
            for (name, value) in own_fields("curl", number) {
                command.arg("-H").arg(format!("{name}: {value}"));
            }
            let (method, mut target) = self.request("curl", number);
            if method == "POST" {
                command.arg("--data-binary").arg(format!("data {number}"));
            }
            if number + 1 == BEFORE {
                // More than a pipe holds.
                target = format!("/large.bin?curl-{number}");
            } else if number % 4 == 2 && self.misses {
                target = format!("/none?curl-{number}");
            }
            command.arg("-o").arg(kept.path().join(number.to_string()));
            command.arg(format!("{}{target}", self.server.url()));
            targets.push(target);
        }
        let process = Process::spawn(&mut command);
        // Waits until curl has opened it.
        let mut pipe = File::open(&fifo).unwrap();
        pipe.read_exact(&mut [0]).unwrap();
        Talk::Curl(process, kept, pipe, targets)
    }

    fn nghttp(&self) -> Talk {
        let mut command = Command::new("nghttp");
        command.args(["-nva", "--no-dep", "-H", "x-same: same-value"]);
        for number in 0..BEFORE {
            let file = &self.docroot.names()[number % 3];
            command.arg(format!("{}/{file}?nghttp-{number}", self.server.url()));
        }
        command.arg(format!(
            "{}{}/page.html?nghttp-page",
            self.server.url(),
            self.gate
        ));
        Talk::Nghttp(Process::spawn(&mut command))
    }

    fn h2load(&self) -> Talk {
        let kept = folder();
        let mut targets = Vec::new();
        for number in 0..BEFORE + AFTER {
            targets.push(if number + 1 == BEFORE {
                format!("{}/page.html?h2load-{number}", self.gate)
            } else {
                let (_, target) = self.request("h2load", number % 4 * 4);
                target.replace("h2load-", &format!("h2load-{number}-"))
            });
        }
        let urls: Vec<_> = targets
            .iter()
            .map(|t| format!("{}{t}", self.server.url()))
            .collect();
        let list = kept.path().join("urls");
        std::fs::write(&list, urls.join("\n") + "\n").unwrap();
        let mut command = Command::new("h2load");
        command.args(["-c", "1", "-m", "1", "-H", "x-same: same-value"]);
        command
            .arg("-n")
            .arg(targets.len().to_string())
            .arg("-i")
            .arg(list);
        Talk::H2load(Process::spawn(&mut command), kept, targets)
    }

    /// The content of a target that is a file.
    fn content(&self, target: &str) -> Vec<u8> {
        let path = target.split('?').next().unwrap();
        self.docroot.content(path.rsplit('/').next().unwrap())
    }

    /// Has the rest of a talk. All that it was is told.
    fn finish(&self, talk: Talk) -> Vec<Told> {
        match talk {
            Talk::Lines(client, mut process, mut told) => {
                for _ in 0..AFTER {
                    self.ask(client, &mut process, &mut told);
                }
                process.finish();
                told
            }
            Talk::Curl(process, kept, mut pipe, targets) => {
                let mut rest = Vec::new();
                pipe.read_to_end(&mut rest).unwrap();
                let mut told = told_by_curl(&process.finish());
                assert_eq!(told.len(), targets.len());
                for (number, (told, target)) in told.iter_mut().zip(&targets).enumerate() {
                    assert_eq!(&told.target, target);
                    if number + 1 != BEFORE {
                        let file = kept.path().join(number.to_string());
                        told.body = std::fs::read(file).unwrap_or_default();
                    }
                }
                told
            }
            Talk::Nghttp(process) => {
                let mut told = told_by_nghttp(&process.finish());
                assert_eq!(told.len(), BEFORE + 1 + 3);
                for told in &mut told {
                    told.body = self.content(&told.target);
                }
                told
            }
            Talk::H2load(process, _kept, targets) => {
                let lines = process.finish();
                let all = format!("{} succeeded, 0 failed", targets.len());
                assert!(lines.iter().any(|line| line.contains(&all)), "{lines:?}");
                let version = run(Command::new("h2load").arg("--version"));
                let told = |(number, target): (usize, &String)| Told {
                    stream: 2 * number as u64 + 1,
                    method: "GET".to_owned(),
                    target: target.clone(),
                    status: 200,
                    sent: vec![
                        ("x-same".to_owned(), "same-value".to_owned()),
                        ("user-agent".to_owned(), version.trim().to_owned()),
                    ],
                    // It does not say; curl does.
                    received: Vec::new(),
                    body: self.content(target),
                };
                let mut told: Vec<_> = targets.iter().enumerate().map(told).collect();
                let mut heads = HashMap::<String, Pairs>::new();
                for told in told.iter_mut().skip(BEFORE) {
                    let path = told.target.split('?').next().unwrap().to_owned();
                    let head = heads.entry(path).or_insert_with_key(|path| {
                        let mut curl = h2::curl(self.certificate);
                        curl.args(["-D", "-", "-o", "/dev/null"]);
                        let head = run(curl.arg(format!("{}{path}", self.server.url())));
                        head.lines().filter_map(pair).collect()
                    });
                    told.received.clone_from(head);
                }
                told
            }
        }
    }
}

/// `name: value`.
fn pair(line: &str) -> Option<(String, String)> {
    let colon = line.get(1..)?.find(": ")? + 1;
    Some((line[..colon].to_owned(), line[colon + 2..].to_owned()))
}

/// The output of `curl -v`.
fn told_by_curl(lines: &[String]) -> Vec<Told> {
    let mut all = Vec::<Told>::new();
    for line in lines {
        if let Some(line) = line.strip_prefix("> ") {
            if let Some(start) = line.trim_end().strip_suffix(" HTTP/2") {
                let (method, target) = start.split_once(' ').unwrap();
                all.push(Told {
                    stream: 2 * all.len() as u64 + 1,
                    method: method.to_owned(),
                    target: target.to_owned(),
                    status: 0,
                    sent: Vec::new(),
                    received: Vec::new(),
                    body: Vec::new(),
                });
            } else if let Some((name, value)) = pair(line.trim_end()).filter(|p| p.0 != "Host") {
                all.last_mut().unwrap().sent.push((name, value));
            }
        } else if let Some(line) = line.strip_prefix("< ") {
            let told = all.last_mut().unwrap();
            if let Some(status) = line.strip_prefix("HTTP/2 ") {
                told.status = status.trim().parse().unwrap();
            } else {
                told.received.extend(pair(line.trim_end()));
            }
        }
    }
    all
}

/// The output of `nghttp -nv`.
fn told_by_nghttp(lines: &[String]) -> Vec<Told> {
    let mut all = Vec::<Told>::new();
    let mut sends = false;
    let number = |line: &str| -> u64 {
        let rest = line.split("stream_id=").nth(1).unwrap();
        rest.split(['>', ')']).next().unwrap().parse().unwrap()
    };
    for line in lines {
        if line.contains("] send HEADERS frame ") {
            all.push(Told {
                stream: number(line),
                method: String::new(),
                target: String::new(),
                status: 0,
                sent: Vec::new(),
                received: Vec::new(),
                body: Vec::new(),
            });
        }
        if line.starts_with('[') {
            sends = line.contains("] send HEADERS frame ");
        }
        if let Some((_, rest)) = line.split_once("] recv (stream_id=") {
            let (stream, field) = rest.split_once(") ").unwrap();
            let stream: u64 = stream.parse().unwrap();
            let told = all.iter_mut().find(|told| told.stream == stream).unwrap();
            match pair(field) {
                Some((name, value)) if name == ":status" => told.status = value.parse().unwrap(),
                field => told.received.extend(field),
            }
        } else if let Some(field) = line.strip_prefix("          ").filter(|_| sends)
            && !field.starts_with([';', '('])
        {
            let told = all.last_mut().unwrap();
            match pair(field).unwrap() {
                (name, value) if name == ":method" => told.method = value,
                (name, value) if name == ":path" => told.target = value,
                (name, _) if name.starts_with(':') => {}
                field => told.sent.push(field),
            }
        }
    }
    all
}

/// Whether it is said not to be known.
fn unknown(text: &str) -> bool {
    text.starts_with("<unknown")
}

/// Compares what is shown of a connection with what its client tells.
fn compare(view: &str, server: &Server, exchanges: &[&Exchange], told: &[Told]) -> usize {
    let mut left: HashMap<u64, &Told> = told[BEFORE..].iter().map(|t| (t.stream, t)).collect();
    if told.len() == BEFORE + 1 + 3 {
        // nghttp was held up by one more.
        left.remove(&told[BEFORE].stream);
    }
    let mut placeholders = 0;
    for exchange in exchanges {
        let view = format!("{view}: {}", short(exchange));
        let stream = exchange.number("/stream").unwrap();
        let told = told.iter().find(|told| told.stream == stream);
        let told = told.unwrap_or_else(|| panic!("no such stream: {view}"));
        let whole = left.remove(&stream).is_some();
        let mut sent = told.sent.clone();
        sent.retain(|(name, _)| {
            let not_of_http2 = ["host", "connection", "transfer-encoding"];
            !name.starts_with(':') && !not_of_http2.contains(&name.as_str())
        });
        if exchange.0["request"].is_object() {
            let seen = fields(exchange, "/request/headers");
            placeholders += assert_right_or_unknown(&view, &seen, &sent);
            let late = told.sent.iter().find(|(name, _)| name == "x-late");
            assert!(late.is_none_or(|late| seen.contains(late)), "{view}");
            for (pointer, should) in [
                ("/request/method", told.method.as_str()),
                ("/request/target", &told.target),
                ("/request/scheme", server.scheme),
                ("/request/host", &server.address),
            ] {
                let is = exchange.text(pointer);
                assert!(
                    is == should || unknown(is) || is.is_empty(),
                    "{pointer}: {view}"
                );
            }
        }
        let mut seen = fields(exchange, "/response/headers");
        let mut received = told.received.clone();
        // The second may be another.
        for list in [&mut seen, &mut received] {
            list.retain(|(name, _)| name != "date");
        }
        if !received.is_empty() {
            placeholders += assert_right_or_unknown(&view, &seen, &received);
        }
        let status = exchange.number("/response/status");
        assert!(status.is_none_or(|status| status == told.status), "{view}");
        if whole {
            // curl leaves a stream whose body it has without its last frame; that
            // it has all is not known if Content-Length is from before.
            let notes = exchange.0["notes"].as_array().unwrap();
            let left = notes
                .iter()
                .any(|note| note == "stream reset: STREAM_CLOSED");
            let length = seen.iter().any(|(name, _)| name == "content-length");
            let state = if left && !length { "reset" } else { "complete" };
            assert_eq!(exchange.text("/state"), state, "{view}");
            assert!(status.is_some(), "{view}");
            assert_eq!(exchange.text("/request/target"), told.target, "{view}");
            assert_eq!(exchange.text("/request/method"), told.method, "{view}");
            assert!(exchange.body("response").unwrap() == told.body, "{view}");
        }
    }
    let left: Vec<_> = left.values().map(|told| &told.target).collect();
    assert!(left.is_empty(), "{left:?} not seen: {view}");
    placeholders
}

/// All that was shown is right, in each view.
fn check(outcome: &Outcome, server: &Server, talks: &[(u32, Vec<Told>)]) {
    for (pid, told) in talks {
        let name = told[0].target.split(['?', '-']).nth(1).unwrap();
        let is_client = |e: &&Exchange| e.pid() == u64::from(*pid);
        let all = outcome.exchanges();
        let of_client: Vec<_> = all.iter().filter(is_client).collect();
        let of_client: Vec<_> = of_client
            .into_iter()
            .filter(|e| e.role() == "client")
            .collect();
        let unknown = compare(&format!("{name}'s view"), server, &of_client, told);
        eprintln!("{name}: {unknown} placeholders at the client");
        // The server's connection with it is the one with its targets.
        let own = |e: &&Exchange| told.iter().any(|told| told.target == e.target());
        let of_server: Vec<_> = all
            .iter()
            .filter(|e| e.role() == "server" && e.pid() == u64::from(server.pid()))
            .collect();
        let one = of_server.iter().copied().find(own);
        let one = one.unwrap_or_else(|| panic!("{name} is not in the server's view"));
        let connection = one.number("/connection");
        let of_server: Vec<_> = of_server
            .into_iter()
            .filter(|e| e.number("/connection") == connection)
            .collect();
        let unknown = compare(
            &format!("server's view of {name}"),
            server,
            &of_server,
            told,
        );
        eprintln!("{name}: {unknown} placeholders at the server");
    }
}

/// The file has each exchange once, for us and for Wireshark.
fn check_file(outcome: &Outcome, server: &Server, talks: &[(u32, Vec<Told>)]) {
    let file = outcome.pcapng();
    let again = Httpsniff::reader()
        .json()
        .arg("-r")
        .arg(&file)
        .finish()
        .success();
    let mut command = Command::new("tshark");
    let option = format!("tcp.port=={},http", server.port());
    command
        .args(["-n", "-d", &option, "-T", "fields", "-r"])
        .arg(&file);
    for field in [
        "http2.headers.method",
        "http2.headers.path",
        "http2.headers.status",
        "_ws.malformed",
        "tcp.analysis.flags",
    ] {
        command.args(["-e", field]);
    }
    let text = run(&mut command);
    let columns = |column: usize| -> Vec<&str> {
        let of = text.lines().filter_map(|line| line.split('\t').nth(column));
        of.flat_map(|values| values.split(','))
            .filter(|v| !v.is_empty())
            .collect()
    };
    let (methods, paths, statuses) = (columns(0), columns(1), columns(2));
    assert_eq!(columns(3), Vec::<&str>::new(), "malformed");
    assert_eq!(columns(4), Vec::<&str>::new(), "TCP");
    let told: Vec<_> = talks
        .iter()
        .flat_map(|(_, told)| {
            let held = usize::from(told.len() == BEFORE + 1 + 3);
            &told[BEFORE + held..]
        })
        .collect();
    for told in &told {
        let times = paths.iter().filter(|path| **path == told.target).count();
        assert_eq!(times, 1, "{} in tshark: {paths:?}", told.target);
        let found = again.exchanges();
        let found: Vec<_> = found.iter().filter(|e| e.target() == told.target).collect();
        // Both ends are one connection there, with a role each.
        assert!(!found.is_empty(), "{} in the file", told.target);
        for exchange in found {
            assert!(
                exchange.body("response").unwrap() == told.body,
                "{}",
                short(exchange)
            );
            assert_eq!(exchange.number("/response/status"), Some(told.status));
        }
    }
    for wanted in ["200", "404"] {
        let status: u64 = wanted.parse().unwrap();
        let should = told.iter().filter(|told| told.status == status).count();
        let is = statuses.iter().filter(|status| **status == wanted).count();
        // What was under way when httpsniff came may be there too.
        let held = if wanted == "200" { talks.len() } else { 0 };
        assert!(
            (should..=should + held).contains(&is),
            "{wanted}: {is}, not {should}"
        );
    }
    let posts = told.iter().filter(|told| told.method == "POST").count();
    assert_eq!(
        methods.iter().filter(|method| **method == "POST").count(),
        posts
    );
}

fn docroot() -> Docroot {
    let mut docroot = Docroot::new(&[]);
    for (name, size) in [("a.txt", 30), ("b.txt", 2000), ("c.txt", 70_000)] {
        docroot.add(name, "some text ".repeat(size / 10).as_bytes());
    }
    docroot.add("large.bin", &vec![b'l'; 400_000]);
    let page = r#"<html><head><link rel="stylesheet" href="/a.txt?nghttp-css">
<script src="/b.txt?nghttp-js"></script></head>
<body><img src="/c.txt?nghttp-image"></body></html>"#;
    docroot.add("page.html", page.as_bytes());
    // nginx gives up root.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(docroot.path(), open).unwrap();
    docroot
}

/// Clients come to where they are held up, httpsniff comes, they go on.
fn joins(at: &At<'_>, mut gate: Gate, lines: &[Client], gated: bool) {
    let mut talks: Vec<_> = lines.iter().map(|client| at.lines(*client)).collect();
    if at.certificate.is_some() {
        // In clear curl 7.88 has a connection for each request.
        talks.push(at.curl());
    }
    if gated {
        for talk in [at.nghttp(), at.h2load()] {
            talks.push(talk);
            gate.reached();
        }
    }
    let pids: Vec<_> = talks
        .iter()
        .map(|talk| match talk {
            Talk::Lines(_, process, _)
            | Talk::Curl(process, ..)
            | Talk::Nghttp(process)
            | Talk::H2load(process, ..) => process.pid(),
        })
        .collect();
    let all: Vec<_> = pids
        .iter()
        .chain([&at.server.pid()])
        .map(u32::to_string)
        .collect();
    let watch = Httpsniff::new()
        .json()
        .pcapng()
        .args(["--pid", &all.join(",")])
        .start();
    gate.open(&at.docroot.content("page.html"));
    let told: Vec<_> = talks.into_iter().map(|talk| at.finish(talk)).collect();
    let outcome = watch.stop().success();
    let talks: Vec<_> = pids.into_iter().zip(told).collect();
    check(&outcome, at.server, &talks);
    check_file(&outcome, at.server, &talks);
}

const LINES: [Client; 3] = [Client::Node, Client::Httpx, Client::Go];

fn programs() -> Vec<Client> {
    let known = |client: &&Client| **client != Client::Go;
    LINES.iter().filter(known).copied().collect()
}

#[test]
fn at_nginx() {
    needs!(
        "nginx", "curl", "nghttp", "h2load", "node", "go", "openssl", "tshark"
    );
    needs_module!("httpx");
    let _guard = lock::shared();
    let docroot = docroot();
    let certificate = Certificate::new();
    let gate = Gate::new();
    let server = h2::nginx(&docroot, Some(&certificate), Some(&gate.address()));
    let at = At {
        server: &server,
        docroot: &docroot,
        certificate: Some(&certificate),
        echoes: false,
        misses: true,
        gate: "/proxied/gate".to_owned(),
    };
    joins(&at, gate, &LINES, true);
}

#[test]
fn at_nghttpd() {
    needs!("nghttpd", "curl", "node", "go", "openssl", "tshark");
    needs_module!("httpx");
    let _guard = lock::shared();
    let docroot = docroot();
    let certificate = Certificate::new();
    let server = h2::nghttpd(&docroot, Some(&certificate), &[]);
    let at = At {
        server: &server,
        docroot: &docroot,
        certificate: Some(&certificate),
        echoes: true,
        misses: true,
        gate: String::new(),
    };
    joins(&at, Gate::new(), &LINES, false);
}

#[test]
fn at_node() {
    needs!(
        "curl", "nghttp", "h2load", "node", "go", "openssl", "tshark"
    );
    needs_module!("httpx");
    let _guard = lock::shared();
    let docroot = docroot();
    let certificate = Certificate::new();
    for certificate in [Some(&certificate), None] {
        let gate = Gate::new();
        let server = h2::node(&docroot, certificate);
        let at = At {
            server: &server,
            docroot: &docroot,
            certificate,
            echoes: true,
            misses: false,
            gate: format!("/gate/{}", gate.listener.local_addr().unwrap().port()),
        };
        if certificate.is_some() || go_in_clear() {
            joins(&at, gate, &LINES, true);
        } else {
            joins(&at, gate, &programs(), true);
        }
    }
}

#[test]
fn at_go() {
    needs!(
        "curl", "nghttp", "h2load", "node", "go", "openssl", "tshark"
    );
    needs_module!("httpx");
    let _guard = lock::shared();
    let docroot = docroot();
    let certificate = Certificate::new();
    let gate = Gate::new();
    let server = h2::go(&docroot, Some(&certificate));
    let at = At {
        server: &server,
        docroot: &docroot,
        certificate: Some(&certificate),
        echoes: true,
        misses: false,
        gate: format!("/gate/{}", gate.listener.local_addr().unwrap().port()),
    };
    joins(&at, gate, &LINES, true);
}

/// On each of 10 connections 100 streams wait for their response when
/// httpsniff comes; then there are 100 more on each.
#[test]
fn a_thousand_streams_of_ten_connections() {
    needs!("node", "h2load", "openssl");
    let _guard = lock::shared();
    let docroot = docroot();
    for certificate in [None, Some(&Certificate::new())] {
        let mut gate = Gate::new();
        let port = gate.listener.local_addr().unwrap().port();
        let server = h2::node(&docroot, certificate);
        let targets: Vec<_> = (0..200).map(|n| format!("/join/100/{port}/{n}")).collect();
        let urls: Vec<_> = targets
            .iter()
            .map(|target| format!("{}{target}\n", server.url()))
            .collect();
        let kept = folder();
        let list = kept.path().join("urls");
        std::fs::write(&list, urls.concat()).unwrap();
        let mut command = Command::new("h2load");
        command.args(["-n", "2000", "-c", "10", "-m", "100", "-i"]);
        let client = Process::spawn(command.arg(list));
        (0..10).for_each(|_| gate.reached());
        let pids = format!("{},{}", client.pid(), server.pid());
        let watch = Httpsniff::new().json().args(["--pid", &pids]).start();
        drop(gate);
        let lines = client.finish();
        assert!(
            lines.iter().any(|line| line.contains("2000 succeeded")),
            "{lines:?}"
        );
        let outcome = watch.stop().success();
        for role in ["client", "server"] {
            // By connection and stream: each is there once.
            let mut seen = HashMap::new();
            for exchange in outcome.of_role(role) {
                let stream = exchange.number("/stream").unwrap();
                let target = &targets[usize::try_from(stream / 2).unwrap()];
                let line = format!("{role}'s view of {target}: {}", short(&exchange));
                if stream > 200 {
                    assert_eq!(exchange.target(), target, "{line}");
                    assert_eq!(exchange.text("/request/method"), "GET", "{line}");
                    assert_eq!(exchange.text("/state"), "complete", "{line}");
                    assert!(
                        ["", server.url().split_once("//").unwrap().1]
                            .contains(&exchange.text("/request/host")),
                        "{line}"
                    );
                } else {
                    assert!(exchange.0["request"].is_null(), "{line}");
                }
                assert_eq!(exchange.number("/response/status"), Some(200), "{line}");
                let body = exchange.body("response").unwrap();
                assert_eq!(String::from_utf8_lossy(&body), *target, "{line}");
                let place = (exchange.number("/connection"), stream);
                assert!(seen.insert(place, ()).is_none(), "{line}");
            }
            assert_eq!(seen.len(), 2000, "{role}'s view: {}", outcome.stderr);
        }
    }
}
