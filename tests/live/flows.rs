//! TLS that is not read (`--tls-flows`): server names, bytes and ends against
//! what the endpoints and the wire say.

use std::process::Command;

use serde_json::Value;

use crate::support::clients::{curl, run};
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::process::{Process, eventually};
use crate::support::servers::{PYTHON, nginx, program};
use crate::support::skip::needs;

/// What an endpoint says of a connection.
#[derive(Debug)]
struct Said {
    word: String,
    sent: u64,
    received: u64,
    /// The client's port.
    port: u64,
}

impl Said {
    fn by(process: &mut Process) -> Self {
        let line = process.line();
        let mut words = line.split(' ');
        let word = words.next().unwrap().to_owned();
        let mut number = || words.next().unwrap().trim().parse().unwrap();
        Self {
            word,
            sent: number(),
            received: number(),
            port: number(),
        }
    }
}

fn talk(arguments: &[&str]) -> Command {
    let mut command = Command::new(PYTHON);
    command
        .arg("-u")
        .arg(program("talk_tls.py"))
        .args(arguments);
    command
}

struct Server {
    process: Process,
    port: String,
    _certificate: Certificate,
}

impl Server {
    fn start() -> Self {
        let certificate = Certificate::new();
        let (path, key) = (certificate.path(), certificate.key());
        let files = [path.to_str().unwrap(), key.to_str().unwrap()];
        let mut process = Process::spawn(&mut talk(&["serve", files[0], files[1]]));
        let port = process.line().trim().to_owned();
        Self {
            process,
            port,
            _certificate: certificate,
        }
    }

    fn client(&self, words: &[&str]) -> Process {
        let start = ["ask", &self.port, "some.example", "h2,http/1.1"];
        Process::spawn(&mut talk(&[&start, words].concat()))
    }
}

/// The lines of kind `tls`.
fn flows(outcome: &Outcome) -> Vec<Value> {
    let text = std::fs::read_to_string(outcome.folder().join("out.json")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["kind"] == "tls")
        .collect()
}

/// The line of the client or server whose client has this port.
fn flow<'a>(flows: &'a [Value], role: &str, port: u64) -> &'a Value {
    let end = if role == "client" { "local" } else { "peer" };
    let address = format!("127.0.0.1:{port}");
    let mut found = flows.iter().filter(|flow| flow[end] == address.as_str());
    let flow = found
        .next()
        .unwrap_or_else(|| panic!("no {role} at {port} in {flows:#?}"));
    assert!(found.next().is_none(), "{flows:#?}");
    flow
}

fn assert_counts(flow: &Value, said: &Said) {
    let counts = (&flow["sent_bytes"], &flow["received_bytes"]);
    let (sent, received) = (Value::from(said.sent), Value::from(said.received));
    assert_eq!(counts, (&sent, &received), "{said:?} {flow:#}");
}

/// One that reads no TLS and sees only the connections of a port.
fn watch(server: &Server) -> Httpsniff {
    Httpsniff::new().args(["--no-tls", "--tls-flows", "--port", &server.port])
}

/// Bytes of TCP payload from a client's port and to it, by tshark, each byte
/// once: where in the stream the last one is.
fn on_the_wire(file: &std::path::Path, port: u64) -> (u64, u64) {
    let last = |filter: String| -> u64 {
        let mut command = Command::new("tshark");
        command.args(["-r", file.to_str().unwrap(), "-Y", &filter]);
        command.args(["-T", "fields", "-e", "tcp.seq", "-e", "tcp.len"]);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let end = |line: &str| -> u64 { line.split('\t').map(|n| n.parse::<u64>().unwrap()).sum() };
        // Counted from the SYN.
        text.lines()
            .map(end)
            .max()
            .map_or(0, |end| end.saturating_sub(1))
    };
    (
        last(format!("tcp.len>0 && tcp.srcport=={port}")),
        last(format!("tcp.len>0 && tcp.dstport=={port}")),
    )
}

#[test]
fn both_ends_are_shown_as_they_and_the_wire_say() {
    needs!("openssl", "tcpdump", "tshark");
    let _guard = lock::shared();
    let mut server = Server::start();
    let here = folder();
    let file = here.path().join("wire.pcap");
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "exec tcpdump -i lo -B 65536 -U --immediate-mode -w \"$0\" tcp port $1 2>&1",
    ]);
    command.arg(&file).arg(&server.port);
    let mut tcpdump = Process::spawn(&mut command);
    tcpdump.line_with("listening on");
    let watch = watch(&server).json().start();
    let mut pairs = Vec::new();
    for words in [&["get:0"][..], &["get:1", "get:100000"], &["get:5000000"]] {
        let mut client = server.client(words);
        let client_said = Said::by(&mut client);
        client.finish();
        let server_said = Said::by(&mut server.process);
        assert_eq!(server_said.word, "done");
        pairs.push((client_said, server_said));
    }
    let outcome = watch.stop().success();
    let last = &pairs[2].0;
    eventually("tcpdump has written all", || {
        on_the_wire(&file, last.port) == (last.sent, last.received)
    });
    tcpdump.interrupt();
    tcpdump.finish();

    let lines = flows(&outcome);
    assert_eq!(lines.len(), 6, "{lines:#?}");
    let read = Httpsniff::reader()
        .arg("-r")
        .arg(&file)
        .arg("--tls-flows")
        .json()
        .finish()
        .success();
    let from_file = flows(&read);
    assert_eq!(from_file.len(), 3, "{from_file:#?}");
    for (client, server) in &pairs {
        assert_eq!(
            on_the_wire(&file, client.port),
            (client.sent, client.received)
        );
        let views = [
            (flow(&lines, "client", client.port), client, "client"),
            (flow(&lines, "server", client.port), server, "server"),
            (flow(&from_file, "client", client.port), client, "client"),
        ];
        for (flow, said, role) in views {
            assert_counts(flow, said);
            assert_eq!(flow["role"], role);
            assert_eq!(flow["state"], "complete");
            assert_eq!(flow["notes"], Value::Array(Vec::new()));
            let tls = &flow["tls"];
            assert_eq!(tls["sni"], "some.example");
            assert_eq!(tls["alpn"], serde_json::json!(["h2", "http/1.1"]));
            assert_eq!(tls["version"], "TLS 1.3");
            assert_eq!(tls["cipher"], "TLS_AES_256_GCM_SHA384");
        }
        let client = flow(&lines, "client", client.port);
        assert_eq!(client["process"]["comm"], "python3");
        let why = client["tls"]["why"].as_str().unwrap();
        assert!(why.contains("--no-tls"), "{why}");
    }
}

#[test]
fn a_reset_and_what_is_left_unread_are_told() {
    needs!("openssl");
    let _guard = lock::shared();
    let mut server = Server::start();
    let watch = watch(&server).json().start();
    let mut said = Vec::new();
    for word in ["reset", "leave"] {
        let mut client = server.client(&["get:1000", word]);
        let client_said = Said::by(&mut client);
        client.finish();
        said.push((client_said, Said::by(&mut server.process)));
    }
    let lines = flows(&watch.stop().success());
    let (client, server) = &said[0];
    for (role, said) in [("client", client), ("server", server)] {
        let flow = flow(&lines, role, client.port);
        assert_counts(flow, said);
        assert_eq!(flow["state"], "reset", "{flow:#}");
    }
    let (client, server) = &said[1];
    assert_counts(flow(&lines, "client", client.port), client);
    assert_counts(flow(&lines, "server", client.port), server);
}

#[test]
fn what_is_still_open_at_the_end_has_its_counts() {
    needs!("openssl");
    let _guard = lock::shared();
    let server = Server::start();
    let watch = watch(&server).json().start();
    let mut client = server.client(&["get:123456", "wait"]);
    let said = Said::by(&mut client);
    let lines = flows(&watch.stop().success());
    let flow = flow(&lines, "client", said.port);
    assert_counts(flow, &said);
    assert_eq!(flow["state"], "open");
    assert_eq!(flow["tls"]["sni"], "some.example");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    client.send("go on");
    client.finish();
}

#[test]
fn what_was_open_before_is_counted_from_then_on() {
    needs!("openssl");
    let _guard = lock::shared();
    let mut server = Server::start();
    let mut client = server.client(&["get:50000", "wait", "get:70000"]);
    let before = Said::by(&mut client);
    let watch = watch(&server).json().start();
    client.send("go on");
    let after = Said::by(&mut client);
    client.finish();
    let end = Said::by(&mut server.process);
    let lines = flows(&watch.stop().success());
    let since = |all: &Said, sent: u64, received: u64| Said {
        word: String::new(),
        sent: all.sent - sent,
        received: all.received - received,
        port: all.port,
    };
    let client = flow(&lines, "client", after.port);
    assert_counts(client, &since(&after, before.sent, before.received));
    let server = flow(&lines, "server", after.port);
    assert_counts(server, &since(&end, before.received, before.sent));
    assert_eq!(client["tls"]["sni"], Value::Null);
    assert_eq!(client["role"], Value::Null);
    let note = "joined in mid-connection: counted from there";
    assert_eq!(client["notes"][0], note);
}

#[test]
fn filters_work_and_text_is_one_line() {
    needs!("openssl");
    let _guard = lock::shared();
    let mut server = Server::start();
    let port = server.port.clone();
    let host = format!("*.EXAMPLE:{port}");
    let watches: Vec<_> = [
        &["--host", &host][..],
        &["--host", "other.example"],
        &["--method", "GET"],
        &["--comm", "no-such-program"],
    ]
    .into_iter()
    .map(|filter| watch(&server).args(filter).args(["--utc"]).text().start())
    .collect();
    let mut client = server.client(&["get:2000"]);
    let pid = client.pid();
    let said = Said::by(&mut client);
    client.finish();
    Said::by(&mut server.process);
    let texts: Vec<_> = watches.into_iter().map(|w| w.stop().success()).collect();
    for (outcome, dropped) in texts.iter().zip([false, true, true, true]) {
        assert_eq!(outcome.text().is_empty(), dropped, "{}", outcome.text());
    }
    assert!(
        texts[1].stderr.contains("filtered out"),
        "{}",
        texts[1].stderr
    );
    let text = texts[0].text();
    let line = text.lines().find(|line| line.contains('→')).unwrap();
    let from = line.split_once("python3").unwrap().1;
    let words: Vec<_> = from.split_whitespace().collect();
    let address = format!("(127.0.0.1:{port})");
    let process = format!("[{pid}]");
    let start = [
        &process,
        "→",
        "TLS",
        "some.example",
        &address,
        "TLS",
        "1.3",
        "h2,http/1.1",
    ];
    assert_eq!(words[..8], start, "{line}");
    let (arrows, why) = (line.matches(['↑', '↓']).count(), "left alone (--no-tls)");
    assert!(arrows == 2 && line.ends_with(why), "{line}");
    assert!(
        line.contains(&format!(" {} B ↑", said.sent)) || said.sent >= 1000,
        "{line}"
    );
}

#[test]
fn what_is_read_is_no_flow_and_a_failed_handshake_is_one() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35, 100_000]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let port = server.port().to_string();
    let watch = Httpsniff::new()
        .args(["--tls-flows", "--port", &port])
        .json()
        .start();
    for name in docroot.names() {
        let mut command = curl(Some(&certificate));
        run(command.args(["-o", "/dev/null", &format!("{}/{name}", server.url())]));
    }
    let mut distrusting = Command::new("curl");
    distrusting.args(["-s", &server.url()]);
    assert!(!distrusting.status().unwrap().success());
    let mut last = curl(Some(&certificate));
    run(last.args(["-o", "/dev/null", &format!("{}/35.bin?last", server.url())]));
    let outcome = watch.stop().success();
    assert_eq!(outcome.exchanges().len(), 6, "{}", outcome.stderr);
    let lines = flows(&outcome);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for line in &lines {
        let why = line["tls"]["why"].as_str().unwrap();
        if line["role"] == "client" && why.starts_with("the program ended") {
            continue;
        }
        assert!(why.starts_with("nothing was read or written"), "{line:#}");
        let library = line["tls"]["library"].as_str().unwrap();
        assert!(library.starts_with("OpenSSL 3."), "{library}");
    }
    let roles: Vec<_> = lines.iter().map(|l| l["role"].as_str().unwrap()).collect();
    assert!(roles.contains(&"client") && roles.contains(&"server"));
}

#[test]
fn a_program_that_cannot_be_read_is_named_once_at_once() {
    needs!("nginx", "curl", "openssl", "java");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let (certificate, source) = (Certificate::new(), program("Https.java"));
    let secure = nginx(&docroot, Some(&certificate));
    let plain = nginx(&docroot, None);
    let (secure, plain) = (format!("https://localhost:{}", secure.port()), plain.url());
    let source = source.display();
    let script = format!(
        "curl -s {plain}/35.bin?1 && java {source} {secure}/35.bin {secure}/35.bin && \
         java {source} {secure}/35.bin && curl -s {plain}/35.bin?2"
    );
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]);
    let outcome = Httpsniff::new()
        .arg("--tls-flows")
        .json()
        .run(&shell)
        .success();
    let named = outcome.stderr.matches("TLS in ").count();
    assert_eq!(named, 1, "{}", outcome.stderr);
    let line = outcome.stderr.lines().find(|line| line.contains("TLS in "));
    assert!(line.unwrap().contains("TLS in java["), "{}", outcome.stderr);
    assert_eq!(outcome.exchanges().len(), 2);
    let lines = flows(&outcome);
    assert!(lines.len() >= 2, "{lines:#?}");
    for line in lines {
        assert_eq!(line["tls"]["library"], "Java");
        assert_eq!(line["tls"]["offered"][0], "TLS 1.3");
        assert_eq!(line["role"], "client");
        assert!(line["received_bytes"].as_u64().unwrap() > 35);
    }
}
