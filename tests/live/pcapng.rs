//! What Wireshark makes of the capture files, and what `-r` makes of them.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::clients::{Client, curl, run};
use crate::support::exchange::{Exchange, short};
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::{Httpsniff, Outcome, PROGRAM};
use crate::support::limit;
use crate::support::lock;
use crate::support::process::{Process, eventually};
use crate::support::servers::{Nginx, PYTHON, Server, free_port, http_server, nginx, program};
use crate::support::skip::{needs, skipped};
use crate::support::tshark;

/// Fields that `-r` cannot give back (docs/PCAPNG.md): pointers of objects and
/// keys. The ciphertext in a tunnel is counted and not written.
const NOT_IN_THE_FILE: [(&str, &str); 1] = [("", "tunnel")];

/// Reads the file again and compares with the live run's JSON.
fn assert_same_when_read(outcome: &Outcome) {
    let again = Httpsniff::reader()
        .json()
        .arg("-r")
        .arg(outcome.pcapng())
        .finish()
        .success();
    let (mut live, mut read) = (outcome.exchanges(), again.exchanges());
    let id = |exchange: &Exchange| exchange.text("/id").to_owned();
    live.sort_by_key(id);
    read.sort_by_key(id);
    assert_eq!(
        live.len(),
        read.len(),
        "exchanges in the file: {}",
        again.stderr
    );
    for (live, read) in live.iter_mut().zip(&mut read) {
        for (pointer, key) in NOT_IN_THE_FILE {
            for exchange in [&mut live.0, &mut read.0] {
                if let Some(Value::Object(object)) = exchange.pointer_mut(pointer) {
                    object.remove(key);
                }
            }
        }
        assert!(
            live.0 == read.0,
            "live {}\nread {}",
            short(live),
            short(read)
        );
    }
}

/// The file's HTTP as tshark dissects it, against the JSON of the same run
/// where each exchange may be there from both ends.
fn assert_dissected(outcome: &Outcome) {
    let file = outcome.pcapng();
    tshark::assert_sound(&file);
    let mut wanted: Vec<_> = outcome
        .exchanges()
        .iter()
        .map(|e| format!("{} {}", e.text("/request/method"), e.target()))
        .collect();
    wanted.sort();
    wanted.dedup();
    let (mut requests, responses) = tshark::http(&file);
    requests.sort();
    assert_eq!(requests, wanted);
    assert_eq!(responses.len(), requests.len(), "responses {responses:?}");
}

/// Some requests of several sizes and kinds to a watched server.
fn capture(
    server: &Server,
    docroot: &Docroot,
    who: &[&str],
    certificate: Option<&Certificate>,
) -> Outcome {
    let watch = Httpsniff::new().json().pcapng().args(who).start();
    let targets: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| format!("/{name}"))
        .collect();
    let kept = folder();
    run(&mut Client::Curl.get(&server.url(), &targets, kept.path(), certificate));
    watch.stop().success()
}

fn on_port(port: u16, certificate: Option<&Certificate>) {
    let docroot = Docroot::new(&[0, 1, 100, 16_385, 200_000]);
    let start = || {
        Nginx {
            docroot: docroot.path(),
            host: "127.0.0.1",
            port: Some(port),
            certificate,
            upstream: None,
        }
        .start()
    };
    let server = start();
    let (port, pid) = (port.to_string(), server.pid().to_string());
    for who in [["--port", port.as_str()], ["--pid", pid.as_str()]] {
        let outcome = capture(&server, &docroot, &who, certificate);
        let ends = if who[0] == "--port" { 2 } else { 1 };
        assert_eq!(
            outcome.exchanges().len(),
            ends * docroot.names().len(),
            "{}",
            outcome.stderr
        );
        assert_dissected(&outcome);
        assert_same_when_read(&outcome);
        let ports = tshark::fields(&outcome.pcapng(), "http.request", &["tcp.dstport"]);
        assert!(ports.iter().all(|fields| fields[0] == port), "{ports:?}");
    }
}

macro_rules! ports {
    ($($clear:ident $tls:ident $port:literal),* $(,)?) => { $(
        #[test]
        fn $clear() {
            needs!("nginx", "curl", "tshark");
            let _guard = lock::alone();
            if !is_free($port) {
                skipped(concat!("live::pcapng::", stringify!($clear)), "the port is taken");
                return;
            }
            on_port($port, None);
        }

        #[test]
        fn $tls() {
            needs!("nginx", "curl", "tshark", "openssl");
            let _guard = lock::alone();
            if !is_free($port) {
                skipped(concat!("live::pcapng::", stringify!($tls)), "the port is taken");
                return;
            }
            on_port($port, Some(&Certificate::new()));
        }
    )* };
}

/// Whether nobody listens there, once other tests on this machine are done.
fn is_free(port: u16) -> bool {
    let end = Instant::now() + limit();
    loop {
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return true,
            Err(_) if Instant::now() > end => return false,
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

ports! {
    port_80 port_80_tls 80,
    port_443 port_443_tls 443,
    port_8443 port_8443_tls 8443,
    port_34567 port_34567_tls 34567,
}

#[test]
fn follow_http_shows_the_body() {
    needs!("nginx", "curl", "tshark", "openssl");
    let _guard = lock::shared();
    let mut docroot = Docroot::new(&[]);
    docroot.add("poem.txt", b"whose woods these are I think I know");
    let certificate = Certificate::new();
    for certificate in [None, Some(&certificate)] {
        let server = nginx(&docroot, certificate);
        let pid = server.pid().to_string();
        let outcome = capture(&server, &docroot, &["--pid", &pid], certificate);
        let streams = tshark::fields(&outcome.pcapng(), "http.response", &["tcp.stream"]);
        let text = tshark::follow_http(&outcome.pcapng(), &streams[0][0]);
        assert!(text.contains("GET /poem.txt HTTP/1.1"), "{text}");
        assert!(
            text.contains("whose woods these are I think I know"),
            "{text}"
        );
    }
}

/// Chunked answers with trailers and uploads: the bytes are those of the wire.
#[test]
fn chunked_and_uploads() {
    needs!("curl", "tshark", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35_000]);
    let certificate = Certificate::new();
    for certificate in [None, Some(&certificate)] {
        let server = http_server(&docroot, certificate);
        let port = server.port().to_string();
        let watch = Httpsniff::new()
            .json()
            .pcapng()
            .args(["--port", &port])
            .start();
        let kept = folder();
        let targets = ["/chunked/35000.bin".to_owned()];
        run(&mut Client::Curl.get(&server.url(), &targets, kept.path(), certificate));
        let url = format!("{}/echo/", server.url());
        let names = docroot.names();
        run(&mut Client::Curl.post(&url, docroot.path(), names, kept.path(), certificate));
        let outcome = watch.stop().success();
        assert_dissected(&outcome);
        assert_same_when_read(&outcome);
        let lengths = tshark::fields(&outcome.pcapng(), "http.response", &["http.file_data"]);
        assert_eq!(lengths.len(), 2);
    }
}

/// Capturing begins when the connection has long been in use.
#[test]
fn joined_in_mid_connection() {
    needs!("tshark", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[100, 40_000]);
    let certificate = Certificate::new();
    for certificate in [None, Some(&certificate)] {
        let server = http_server(&docroot, certificate);
        let mut command = Command::new(PYTHON);
        command.arg(program("keepalive.py")).arg(server.url());
        if let Some(certificate) = certificate {
            command.arg("--cafile").arg(certificate.path());
        }
        let mut client = Process::spawn(&mut command);
        client.line();
        client.send("/40000.bin?before");
        assert_eq!(client.line(), "40000");
        let pid = client.pid().to_string();
        let watch = Httpsniff::new()
            .json()
            .pcapng()
            .args(["--pid", &pid])
            .start();
        client.send("/100.bin?after=1");
        assert_eq!(client.line(), "100");
        client.send("/40000.bin?after=2");
        assert_eq!(client.line(), "40000");
        let outcome = watch.stop().success();
        let targets: Vec<_> = outcome
            .exchanges()
            .iter()
            .map(|e| e.target().to_owned())
            .collect();
        assert_eq!(
            targets,
            ["/100.bin?after=1", "/40000.bin?after=2"],
            "{}",
            outcome.stderr
        );
        for exchange in outcome.exchanges() {
            assert_eq!(exchange.text("/state"), "complete");
            assert_eq!(exchange.number("/lost_bytes"), Some(0));
        }
        assert_dissected(&outcome);
        assert_same_when_read(&outcome);
        client.finish();
    }
}

/// CONNECT, and then TLS on the same socket: both are there, in streams that
/// tshark does not mix up.
#[test]
fn after_connect() {
    needs!("curl", "tshark", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[100]);
    let certificate = Certificate::new();
    let server = http_server(&docroot, Some(&certificate));
    let mut proxy = Process::spawn(Command::new(PYTHON).arg(program("connect_proxy.py")));
    let proxy_port = proxy.line();
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "--http1.1", "-o", "/dev/null"]);
    command.args(["-x", &format!("http://127.0.0.1:{proxy_port}")]);
    command.arg("--cacert").arg(certificate.path());
    command.arg(format!("{}/100.bin", server.url()));
    let outcome = Httpsniff::new().json().pcapng().run(&command).success();
    let exchanges = outcome.exchanges();
    let shown: Vec<_> = exchanges
        .iter()
        .map(|e| (e.text("/request/method"), e.target(), e.text("/source")))
        .collect();
    let authority = server.address.as_str();
    assert_eq!(
        {
            let mut shown = shown.clone();
            shown.sort_unstable();
            shown
        },
        [
            ("CONNECT", authority, "tcp"),
            ("GET", "/100.bin", "openssl")
        ],
        "{}",
        outcome.stderr
    );
    let connect = exchanges
        .iter()
        .find(|e| e.text("/source") == "tcp")
        .unwrap();
    assert_eq!(connect.text("/upgraded_to"), "tunnel");
    // What went through the tunnel is no part of the exchange.
    assert_eq!(connect.number("/lost_bytes"), Some(0));
    assert_dissected(&outcome);
    assert_same_when_read(&outcome);
}

/// A file of tcpdump's, read without a kernel.
#[test]
fn reads_a_file_of_tcpdump() {
    needs!("nginx", "curl", "tcpdump");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[0, 35, 100_000]);
    let server = nginx(&docroot, None);
    let kept = folder();
    let file = kept.path().join("tcpdump.pcap");
    // It says on stderr when it has begun.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]);
    command.arg(crate::support::skip::find("tcpdump").unwrap());
    command.args([
        "-i",
        "lo",
        "-U",
        "--immediate-mode",
        "-s",
        "0",
        "-Z",
        "root",
        "-w",
    ]);
    command
        .arg(&file)
        .args(["tcp", "port", &server.port().to_string()]);
    let mut tcpdump = Process::spawn(&mut command);
    tcpdump.line_with("listening on");
    let targets: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| format!("/{name}"))
        .collect();
    run(&mut Client::Curl.get(&server.url(), &targets, kept.path(), None));
    eventually("tcpdump has written the largest answer", || {
        std::fs::metadata(&file).is_ok_and(|metadata| metadata.len() > 100_000)
    });
    tcpdump.interrupt();
    tcpdump.finish();
    let outcome = Httpsniff::reader()
        .json()
        .arg("-r")
        .arg(&file)
        .finish()
        .success();
    let expected: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| {
            crate::support::exchange::Expected::get(&format!("/{name}"), docroot.content(name))
        })
        .collect();
    crate::support::exchange::assert_exchanges("the file", &outcome.exchanges(), &expected);
}

/// `httpsniff --port N -w - | tshark -r - -l`: packets come as they happen.
#[test]
fn live_into_tshark() {
    needs!("nginx", "curl", "tshark", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let port = server.port().to_string();
    // The pipe between them is a pair of our own, so that either can be waited
    // for alone.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-l", "-r", "-", "-Y", "http.response", "-T", "fields"]);
    tshark.args(["-e", "http.response.code", "-e", "http.response_for.uri"]);
    let mut tshark = Process::spawn_with(&mut tshark, Stdio::from(reader));
    let watch = Httpsniff::new()
        .args(["--port", &port, "-w", "-"])
        .start_with(Stdio::from(writer));
    for number in 0..3 {
        let mut command = curl(Some(&certificate));
        let url = format!("{}/35.bin?n={number}", server.url());
        run(command.args(["-o", "/dev/null", &url]));
        // Comes while both still run, or not in time.
        let line = tshark.line();
        assert!(line.starts_with("200"), "{line}");
    }
    watch.stop().success();
    tshark.finish();
}

/// A run that is killed leaves a file that opens.
#[test]
fn a_killed_run_leaves_a_good_file() {
    needs!("nginx", "curl", "tshark");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = nginx(&docroot, None);
    let port = server.port().to_string();
    let watch = Httpsniff::new().pcapng().args(["--port", &port]).start();
    let mut command = curl(None);
    command.args(["-o", "/dev/null", &format!("{}/35.bin", server.url())]);
    run(&mut command);
    let file = watch.folder().join("out.pcapng");
    eventually("the exchange is in the file", || {
        std::fs::read(&file).is_ok_and(|b| memchr::memmem::find(&b, b"HTTP/1.1 200").is_some())
    });
    let outcome = watch.kill();
    assert_eq!(tshark::http(&outcome.pcapng()).0, ["GET /35.bin"]);
}

/// Whatever is read is written again in the same way.
#[test]
fn a_file_through_httpsniff_again() {
    needs!("nginx", "curl", "tshark");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35, 70_000]);
    let server = nginx(&docroot, None);
    let port = server.port().to_string();
    let outcome = capture(&server, &docroot, &["--port", &port], None);
    let again = Httpsniff::reader()
        .json()
        .pcapng()
        .arg("-r")
        .arg(outcome.pcapng())
        .finish()
        .success();
    assert_dissected(&again);
    assert_eq!(
        tshark::http(&again.pcapng()),
        tshark::http(&outcome.pcapng())
    );
}

/// `-r` needs no root.
#[test]
fn read_without_root() {
    needs!("nginx", "curl");
    let _guard = lock::shared();
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let docroot = Docroot::new(&[35]);
    let server = nginx(&docroot, None);
    let port = server.port().to_string();
    let outcome = capture(&server, &docroot, &["--port", &port], None);
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(outcome.pcapng(), open).unwrap();
    // The build folder may be closed to other users: a copy elsewhere is not.
    let copy = outcome.folder().join("httpsniff");
    // By another process, or a child that another test starts meanwhile
    // may hold the copy open for writing (ETXTBSY).
    let copied = Command::new("cp").arg(PROGRAM).arg(&copy).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(&copy);
    command
        .arg("-r")
        .arg(outcome.pcapng())
        .args(["-o", "json"])
        .uid(65534)
        .gid(65534);
    let json = run(command.current_dir("/"));
    assert_eq!(Exchange::parse(json.as_bytes()).len(), 2);
}

/// Ports without a server: nothing to see, an empty but good file.
#[test]
fn nothing_seen_is_a_good_file() {
    needs!("tshark");
    let _guard = lock::shared();
    let port = free_port().to_string();
    let outcome = Httpsniff::new()
        .pcapng()
        .args(["--port", &port])
        .start()
        .stop()
        .success();
    assert_eq!(tshark::count(&outcome.pcapng(), "frame"), 0);
}

/// HTTP/2 with many streams at once, both ends watched, as it is and written
/// anew.
#[test]
fn http2_of_both_ends() {
    needs!("nghttpd", "h2load", "tshark", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[100, 60_000]);
    let certificate = Certificate::new();
    let port = free_port().to_string();
    let mut command = Command::new("nghttpd");
    command.arg("-d").arg(docroot.path()).arg(&port);
    command.arg(certificate.key()).arg(certificate.path());
    let _server = Process::spawn(&mut command);
    eventually("nghttpd listens", || {
        std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
    });
    let by_stream = |outcome: &Outcome| {
        let mut list = outcome.exchanges();
        for exchange in &mut list {
            exchange.0.as_object_mut().unwrap().remove("id");
        }
        list.sort_by_key(|e| (e.number("/connection"), e.number("/stream")));
        list
    };
    for (arguments, count) in [
        (&[][..], 60),
        (&["--redact"], 60),
        (&["--path", "/60000.bin"], 20),
        (&["--status", "404"], 20),
    ] {
        let watch = Httpsniff::new()
            .json()
            .pcapng()
            .args(["--port", &port])
            .args(arguments)
            .start();
        let mut load = Command::new("h2load");
        load.args(["-n", "60", "-c", "2", "-m", "10"]);
        for path in ["100.bin", "60000.bin", "missing"] {
            load.arg(format!("https://127.0.0.1:{port}/{path}"));
        }
        run(&mut load);
        let outcome = watch.stop().success();
        let live = by_stream(&outcome);
        assert_eq!(live.len(), 2 * count, "{arguments:?} {}", outcome.stderr);
        let again = Httpsniff::reader()
            .json()
            .arg("-r")
            .arg(outcome.pcapng())
            .finish()
            .success();
        let read = by_stream(&again);
        assert_eq!(live.len(), read.len(), "{arguments:?}");
        for (live, read) in live.iter().zip(&read) {
            assert!(
                live.0 == read.0,
                "{arguments:?} live {}\nread {}",
                short(live),
                short(read)
            );
        }
        tshark::assert_sound(&outcome.pcapng());
        let option = format!("tcp.port=={port},http");
        assert!(
            outcome.stderr.contains(&format!("-d {option} ")),
            "{}",
            outcome.stderr
        );
        let mut command = Command::new("tshark");
        command.args(["-n", "-r"]).arg(outcome.pcapng());
        command.args(["-d", &option, "-T", "fields"]);
        command.args(["-e", "http2.headers.path", "-e", "http2.headers.status"]);
        let text = run(command.args(["-Y", "http2.headers.path || http2.headers.status"]));
        let values: Vec<_> = text.split([',', '\t', '\n']).collect();
        let of = |wanted: fn(&&&str) -> bool| values.iter().filter(wanted).count();
        assert_eq!(of(|v| v.starts_with('/')), count, "{arguments:?}");
        assert_eq!(of(|v| v.parse::<u16>().is_ok()), count, "{arguments:?}");
    }
}
