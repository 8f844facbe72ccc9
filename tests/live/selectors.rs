//! What is not wanted is in no output.

use std::process::Command;

use crate::support::clients::{Client, curl, run};
use crate::support::exchange::{Expected, assert_exchanges};
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::process::Process;
use crate::support::servers::{PYTHON, Server, http_server, nginx, program};
use crate::support::skip::needs;
use crate::support::tshark;

/// A curl that makes `count` requests on one connection to the server.
fn busy(server: &Server, path: &str, count: usize, certificate: Option<&Certificate>) -> Process {
    let mut command = curl(certificate);
    command.args(["-o", "/dev/null"]);
    command.arg(format!("{}{path}?n=[1-{count}]", server.url()));
    Process::spawn(&mut command)
}

#[test]
fn pid_of_one_of_two_busy_servers() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[500]);
    let certificate = Certificate::new();
    for certificate in [None, Some(&certificate)] {
        let wanted = nginx(&docroot, certificate);
        let other = nginx(&docroot, certificate);
        let watch = Httpsniff::new()
            .json()
            .args(["--pid", &wanted.pid().to_string()])
            .start();
        let clients = [
            busy(&wanted, "/500.bin", 300, certificate),
            busy(&other, "/500.bin", 300, certificate),
        ];
        for client in clients {
            client.finish();
        }
        let outcome = watch.stop().success();
        let expected: Vec<_> = (1..=300)
            .map(|n| Expected::get(&format!("/500.bin?n={n}"), docroot.content("500.bin")))
            .collect();
        assert_exchanges("the wanted server", &outcome.exchanges(), &expected);
        for exchange in outcome.exchanges() {
            assert_eq!(exchange.pid(), u64::from(wanted.pid()));
            assert_eq!(exchange.text("/local"), wanted.address);
        }
    }
}

/// Requests to four hosts; two of them begin with `api.`.
fn four_hosts(server: &Server, certificate: Option<&Certificate>) -> Command {
    let mut command = curl(certificate);
    for (number, host) in [
        "api.example.test",
        "www.example.test",
        "API.other.example.test",
        "notapi.example.test",
    ]
    .iter()
    .enumerate()
    {
        if number > 0 {
            command.args(["--next", "-q", "-sS", "--fail", "--http1.1"]);
            if let Some(certificate) = certificate {
                command.arg("--cacert").arg(certificate.path());
            }
        }
        command.args(["-o", "/dev/null", "-H", &format!("Host: {host}")]);
        command.arg(format!("{}/35.bin?host={number}", server.url()));
    }
    command
}

fn host_filter(certificate: Option<&Certificate>) {
    let docroot = Docroot::new(&[35]);
    let server = nginx(&docroot, certificate);
    let port = server.port().to_string();
    let filter = ["--port", &port, "--host", "api.*"];
    let watch = Httpsniff::new().json().pcapng().args(filter).start();
    let text = Httpsniff::new().text().args(filter).start();
    run(&mut four_hosts(&server, certificate));
    let outcome = watch.stop().success();
    let text = text.stop().success().text();

    let expected: Vec<_> = [0, 2]
        .iter()
        .map(|n| Expected::get(&format!("/35.bin?host={n}"), docroot.content("35.bin")))
        .collect();
    assert_exchanges("client's view", &outcome.of_role("client"), &expected);
    assert_exchanges("server's view", &outcome.of_role("server"), &expected);

    for (number, there) in [(0, true), (1, false), (2, true), (3, false)] {
        let lines = text.matches(&format!("/35.bin?host={number}")).count();
        assert_eq!(
            lines,
            if there { 2 } else { 0 },
            "host {number} in the text:\n{text}"
        );
    }

    let file = outcome.pcapng();
    tshark::assert_sound(&file);
    let (mut requests, responses) = tshark::http(&file);
    requests.sort();
    assert_eq!(requests, ["GET /35.bin?host=0", "GET /35.bin?host=2"]);
    assert_eq!(responses, ["200", "200"]);
    // Comments may hold them: they are in curl's command line.
    let unwanted = "tcp contains \"host=1\" or tcp contains \"host=3\"";
    assert_eq!(
        tshark::count(&file, unwanted),
        0,
        "bytes of a host that is not wanted"
    );
}

#[test]
fn host_in_text_json_and_pcapng() {
    needs!("nginx", "curl", "tshark");
    let _guard = lock::shared();
    host_filter(None);
}

#[test]
fn host_in_text_json_and_pcapng_tls() {
    needs!("nginx", "curl", "tshark", "openssl");
    let _guard = lock::shared();
    host_filter(Some(&Certificate::new()));
}

/// Runs curl for `/35.bin` and `/missing` and a HEAD against a watched server.
fn three_requests(arguments: &[&str]) -> Outcome {
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    let url = server.url();
    let watch = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .args(arguments)
        .start();
    let get = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command
            .args(["-q", "-sS", "-o", "/dev/null"])
            .args(arguments);
        run(&mut command);
    };
    get(&[&format!("{url}/35.bin?a=b")]);
    get(&[&format!("{url}/missing")]);
    get(&["-I", &format!("{url}/35.bin")]);
    watch.stop().success()
}

fn shown(outcome: &Outcome) -> Vec<String> {
    outcome
        .exchanges()
        .iter()
        .map(|e| format!("{} {}", e.text("/request/method"), e.target()))
        .collect()
}

#[test]
fn method_path_and_status() {
    needs!("curl");
    let _guard = lock::shared();
    let all = ["GET /35.bin?a=b", "GET /missing", "HEAD /35.bin"];
    assert_eq!(shown(&three_requests(&[])), all);
    assert_eq!(shown(&three_requests(&["--method", "HEAD"])), all[2..]);
    assert_eq!(shown(&three_requests(&["--status", "4xx"])), all[1..2]);
    assert_eq!(shown(&three_requests(&["--status", "400-499"])), all[1..2]);
    assert_eq!(
        shown(&three_requests(&["--path", "/35*"])),
        [all[0], all[2]]
    );
    assert_eq!(
        shown(&three_requests(&["--path", "/35*", "--method", "GET"])),
        all[..1]
    );
    assert_eq!(shown(&three_requests(&["--host", "no.such.host"])), [""; 0]);
}

#[test]
fn comm_exe_and_uid() {
    needs!("curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    let port = server.port().to_string();
    for (selector, value) in [("--comm", "cur?"), ("--exe", "*/curl")] {
        let watch = Httpsniff::new()
            .json()
            .args(["--port", &port, selector, value])
            .start();
        let kept = folder();
        let targets = ["/35.bin".to_owned()];
        for client in [Client::Curl, Client::Urllib] {
            run(&mut client.get(&server.url(), &targets, kept.path(), None));
        }
        let outcome = watch.stop().success();
        let roles: Vec<_> = outcome
            .exchanges()
            .iter()
            .map(|e| (e.role().to_owned(), e.text("/process/comm").to_owned()))
            .collect();
        assert_eq!(
            roles,
            [("client".to_owned(), "curl".to_owned())],
            "{selector}"
        );
    }

    use std::os::unix::process::CommandExt as _;
    let watch = Httpsniff::new()
        .json()
        .args(["--port", &port, "--uid", "65534"])
        .start();
    let mut command = curl(None);
    command.args([
        "-o",
        "/dev/null",
        &format!("{}/35.bin?of=root", server.url()),
    ]);
    run(&mut command);
    let mut command = curl(None);
    command.args([
        "-o",
        "/dev/null",
        &format!("{}/35.bin?of=nobody", server.url()),
    ]);
    run(command.uid(65534));
    let outcome = watch.stop().success();
    assert_eq!(shown(&outcome), ["GET /35.bin?of=nobody"]);
    assert_eq!(outcome.exchanges()[0].number("/process/uid"), Some(65534));
}

#[test]
fn follow_shows_descendants() {
    needs!("curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    let url = server.url();
    // A shell that runs a curl for each line it reads.
    let mut shell = Process::spawn(Command::new("/bin/sh").args([
        "-c",
        "while read -r target; do curl -q -sS -o /dev/null \"$0$target\"; echo done; done",
        &url,
    ]));
    let pid = shell.pid().to_string();
    let alone = Httpsniff::new().json().args(["--pid", &pid]).start();
    let follow = Httpsniff::new()
        .json()
        .args(["--follow", "--pid", &pid])
        .start();
    shell.send("/35.bin?n=1");
    shell.line();
    shell.send("/35.bin?n=2");
    shell.line();
    let alone = alone.stop().success();
    let follow = follow.stop().success();
    assert!(
        alone.exchanges().is_empty(),
        "without --follow children are shown"
    );
    assert_eq!(shown(&follow), ["GET /35.bin?n=1", "GET /35.bin?n=2"]);
    drop(shell);
}

#[test]
fn ends_with_its_targets() {
    needs!();
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    let mut client = Process::spawn(
        Command::new(PYTHON)
            .arg(program("keepalive.py"))
            .arg(server.url()),
    );
    client.line();
    let watch = Httpsniff::new()
        .json()
        .args(["--pid", &client.pid().to_string()])
        .start();
    client.send("/35.bin");
    assert_eq!(client.line(), "35");
    client.finish();
    let outcome = watch.join().success();
    assert_eq!(shown(&outcome), ["GET /35.bin"]);
}

#[test]
fn count_and_duration_end_it() {
    needs!("curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    let watch = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string(), "--count", "2"])
        .start();
    busy(&server, "/35.bin", 4, None).finish();
    let outcome = watch.join().success();
    assert_eq!(shown(&outcome), ["GET /35.bin?n=1", "GET /35.bin?n=2"]);

    let watch = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string(), "--duration", "1s"])
        .start();
    watch.join().success();
}
