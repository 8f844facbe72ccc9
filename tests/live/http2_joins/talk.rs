//! Clients that have had some exchanges on a connection when httpsniff comes, are
//! held up there, and go on then.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use super::told::{Told, pair, told_by_curl, told_by_nghttp};
use crate::http2::Pairs;
use crate::support::clients::run;
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::h2::{self, Client};
use crate::support::process::Process;
use crate::support::servers::Server;

/// Exchanges of a connection before httpsniff comes, and after.
pub(super) const BEFORE: usize = 5;
const AFTER: usize = 9;

/// What a client is held up by, and let go: a port at which the server waits
/// until somebody hangs up.
pub(super) struct Gate {
    listener: TcpListener,
    waiting: Vec<TcpStream>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            waiting: Vec::new(),
        }
    }

    pub(super) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Waits until one more is held up.
    pub(super) fn reached(&mut self) {
        self.waiting.push(self.listener.accept().unwrap().0);
    }

    /// Lets all go; nginx gets the file by the way.
    pub(super) fn open(self, content: &[u8]) {
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
pub(super) struct At<'a> {
    pub(super) server: &'a Server,
    pub(super) docroot: &'a Docroot,
    pub(super) certificate: Option<&'a Certificate>,
    /// Whether it answers POST to `/echo/`.
    pub(super) echoes: bool,
    /// Whether it answers what is not there.
    pub(super) misses: bool,
    /// What comes before `/gate/`.
    pub(super) gate: String,
}

/// A client that has had some exchanges on its connection, and shall have more.
pub(super) enum Talk {
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

impl Talk {
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Lines(_, process, _)
            | Self::Curl(process, ..)
            | Self::Nghttp(process)
            | Self::H2load(process, ..) => process.pid(),
        }
    }
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

    pub(super) fn lines(&self, client: Client) -> Talk {
        let mut process = Process::spawn(&mut client.ours("lines", self.server, self.certificate));
        let mut told = Vec::new();
        for _ in 0..BEFORE {
            self.ask(client, &mut process, &mut told);
        }
        Talk::Lines(client, process, told)
    }

    pub(super) fn curl(&self) -> Talk {
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

    pub(super) fn nghttp(&self) -> Talk {
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

    pub(super) fn h2load(&self) -> Talk {
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
    pub(super) fn content(&self, target: &str) -> Vec<u8> {
        let path = target.split('?').next().unwrap();
        self.docroot.content(path.rsplit('/').next().unwrap())
    }

    /// Has the rest of a talk. All that it was is told.
    pub(super) fn finish(&self, talk: Talk) -> Vec<Told> {
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
