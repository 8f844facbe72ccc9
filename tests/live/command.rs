//! `httpsniff … -- COMMAND`.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use crate::support::clients::{curl, run};
use crate::support::exchange::{Expected, assert_exchanges};
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::{Httpsniff, PROGRAM};
use crate::support::lock;
use crate::support::servers::{http_server, nginx};
use crate::support::skip::needs;

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

#[test]
fn its_exit_status_is_the_commands() {
    needs!();
    let _guard = lock::shared();
    let code = |command: &Command| Httpsniff::new().run(command).status.code();
    assert_eq!(code(&shell("exit 0")), Some(0));
    assert_eq!(code(&shell("exit 7")), Some(7));
    assert_eq!(code(&shell("kill -TERM $$")), Some(128 + 15));
    assert_eq!(code(&Command::new("/no/such/program")), Some(127));
    assert_eq!(code(&Command::new("/etc/passwd")), Some(126));
}

#[test]
fn stdout_belongs_to_the_command() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let mut docroot = Docroot::new(&[]);
    docroot.add("hello", b"hello from the server");
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let mut command = curl(Some(&certificate));
    command.arg(format!("{}/hello", server.url()));
    let outcome = Httpsniff::new().run(&command).success();
    assert_eq!(outcome.stdout, b"hello from the server");
    assert!(outcome.stderr.contains("/hello"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(" 200 "), "{}", outcome.stderr);
}

#[test]
fn json_of_a_command_into_a_file() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let mut command = curl(Some(&certificate));
    command.args(["-o", "/dev/null", &format!("{}/35.bin", server.url())]);
    let outcome = Httpsniff::new().json().run(&command).success();
    let expected = [Expected::get("/35.bin", docroot.content("35.bin"))];
    assert_exchanges("the command", &outcome.exchanges(), &expected);
    let exchange = &outcome.exchanges()[0];
    assert_eq!(exchange.text("/process/comm"), "curl");
    assert_eq!(exchange.text("/peer"), server.address);
    assert_eq!(
        exchange.text("/request/url"),
        format!("{}/35.bin", server.url())
    );
    assert!(
        exchange.text("/tls/library").starts_with("OpenSSL 3"),
        "{}",
        exchange.0["tls"]
    );
}

#[test]
fn descendants_of_the_command_are_traced() {
    needs!("curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    let url = server.url();
    let script = format!(
        "(curl -q -sS -o /dev/null {url}/35.bin?n=1; sh -c 'curl -q -sS -o /dev/null {url}/35.bin?n=2') & wait"
    );
    let outcome = Httpsniff::new().json().run(&shell(&script)).success();
    let expected =
        [1, 2].map(|n| Expected::get(&format!("/35.bin?n={n}"), docroot.content("35.bin")));
    assert_exchanges("descendants", &outcome.exchanges(), &expected);
}

#[test]
fn into_jq() {
    needs!("nginx", "curl", "jq");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = nginx(&docroot, None);
    let work = folder();
    let backend = std::env::var("HTTPSNIFF_TEST_BACKEND").unwrap_or_else(|_| "auto".to_owned());
    // The named pipe becomes readable when capturing has begun.
    let script = format!(
        "mkfifo ready && {{ {PROGRAM} --backend {backend} -o json --pid {} --count 2 --ready-file ready | \
         jq -r .request.target >out & }} && timeout 120 cat ready && \
         curl -q -sS -o /dev/null '{}/35.bin?n=[1-2]' && wait",
        server.pid(),
        server.url(),
    );
    run(shell(&script).current_dir(work.path()));
    let out = std::fs::read_to_string(work.path().join("out")).unwrap();
    assert_eq!(out, "/35.bin?n=1\n/35.bin?n=2\n");
}

#[test]
fn a_closed_pipe_is_a_normal_end() {
    needs!("curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    let (reader, writer) = std::io::pipe().unwrap();
    let watch = Httpsniff::new()
        .args(["-o", "json", "--pid", &server.pid().to_string()])
        .start_with(writer.into());
    drop(reader);
    let mut command = curl(None);
    command.args([
        "-o",
        "/dev/null",
        &format!("{}/35.bin?n=[1-5]", server.url()),
    ]);
    run(&mut command);
    let outcome = watch.join();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
}

/// Called by sudo, files and the command belong to the user who called it.
#[test]
fn under_sudo_files_and_command_are_the_users() {
    needs!();
    let _guard = lock::shared();
    let work = folder();
    std::os::unix::fs::chown(work.path(), Some(65534), Some(65534)).unwrap();
    let (json, pcapng) = (work.path().join("x.json"), work.path().join("x.pcapng"));
    let mut command = shell("id -u; id -g; id -G");
    command.current_dir(work.path());
    let outcome = Httpsniff::new()
        .env("SUDO_UID", "65534")
        .env("SUDO_GID", "65534")
        .env("SUDO_USER", "nobody")
        .args(["-o", "json", "-O"])
        .arg(&json)
        .arg("-w")
        .arg(&pcapng)
        .run(&command)
        .success();
    let ids = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(ids, "65534\n65534\n65534\n", "{}", outcome.stderr);
    for file in [json, pcapng] {
        let metadata = std::fs::metadata(&file).unwrap();
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (65534, 65534),
            "{}",
            file.display()
        );
        assert_eq!(metadata.mode() & 0o777, 0o600, "{}", file.display());
    }
}

#[test]
fn usage_errors_with_a_command() {
    needs!();
    let _guard = lock::shared();
    let code = |arguments: &[&str]| {
        Httpsniff::new()
            .args(arguments)
            .run(&shell("exit 0"))
            .status
            .code()
    };
    assert_eq!(code(&["-w", "-"]), Some(2));
    assert_eq!(code(&["-o", "json"]), Some(2), "JSON of a command needs -O");
    assert_eq!(code(&["--pid", "1"]), Some(2));
}
