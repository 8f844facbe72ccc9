//! The command line as users meet it: every usage error with its sentence and
//! exit status, what is written where, and files. No root needed; what can
//! only be tried as root says so when it is skipped.

// clippy's exception for tests knows only functions marked #[test].
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Output, Stdio};

use common::{hello, httpsniff, is_root, pcap, run, stderr, stdout};
use tempfile::TempDir;

/// A folder with a capture `in.pcap` of one exchange.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.pcap"), hello()).unwrap();
    dir
}

/// Runs in a folder.
fn run_in(dir: &Path, arguments: &[&str]) -> Output {
    httpsniff(arguments).current_dir(dir).output().unwrap()
}

/// Asserts exit status 2 and one line on stderr that has `part`.
fn usage(arguments: &[&str], part: &str) {
    let output = run(arguments);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    assert!(text.starts_with("httpsniff: "), "{arguments:?}: {text}");
    assert!(text.contains(part), "{arguments:?}: {text}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
}

#[test]
fn usage_errors_say_the_likely_cure() {
    usage(
        &["curl", "http://x/"],
        "put -- before the command: httpsniff -- curl http://x/",
    );
    usage(
        &["-v", "curl", "-s", "http://x/"],
        "httpsniff -v -- curl -s http://x/",
    );
    usage(&["-p", "1", "2"], "-p 1,2");
    usage(&["--pid", "1", "--", "true"], "exclude each other");
    usage(&["--pid", "0"], "--pid 0 is no process");
    usage(&["--pid", "nginx"], "--comm");
    usage(&["-o", "yaml"], "it takes text, json");
    usage(&["--color", "maybe"], "auto, always, never");
    usage(&["--backend", "magic"], "auto, kprobe, socket");
    usage(&["--status", "4"], "404, 5xx or 400-499");
    usage(&["--port", "http"], "from 1 to 65535");
    usage(&["--host", "http://x/y"], "not a URL");
    usage(&["--host", ""], "empty");
    usage(&["--path", "api"], "begins with a slash");
    usage(&["--uid", "no-such-user"], "no such user");
    usage(&["--max-body", "big"], "20M");
    usage(&["--duration", "long"], "10s");
    usage(&["-c", "0"], "from 1");
    usage(&["--hots", "x"], "did you mean --host");
    usage(&["--follow"], "--follow needs --pid");
    usage(&["-w"], "--write needs a value");
    usage(&["-w", "-", "--", "true"], "refused with a command");
    usage(&["-w", "-", "-o", "json"], "-O FILE");
    usage(&["-o", "json", "--", "true"], "needs -O FILE");
}

#[test]
fn live_options_are_refused_with_a_file() {
    for option in [
        &["--follow"][..],
        &["--backend", "auto"],
        &["--no-tcp"],
        &["--no-tls"],
        &["--lib", "x"],
        &["--check"],
        &["--ready-file", "x"],
        &["--duration", "1s"],
        &["--buffer", "1M"],
        &["--", "true"],
    ] {
        let mut arguments = vec!["-r", "x"];
        arguments.extend(option);
        usage(&arguments, "for live capturing");
    }
}

#[test]
fn what_is_not_there_fails_with_one_sentence() {
    for (arguments, status, part) in [
        (&["--pid", "4194305"][..], 1, "no process 4194305"),
        (&["--lib", "/no/such"], 1, "no such file"),
        (&["-r", "/no/such"], 1, "no such file"),
        (&["-r", "/"], 1, "folder"),
        (&["--", "no-such-command"], 127, "no such command"),
        (&["--", "/no/such"], 127, "no such file"),
        (&["--", "/etc/passwd"], 126, "not an executable"),
    ] {
        let output = run(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    for (option, part) in [
        ("-h", "Usage:"),
        ("--help", "Examples:"),
        ("-V", env!("CARGO_PKG_VERSION")),
    ] {
        let output = run(&[option]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains(part), "{option}");
        assert_eq!(stderr(&output), "", "{option}");
    }
    let help = stdout(&run(&["--help"]));
    for heading in ["Who:", "What:", "Output:", "Stop:", "Capture:"] {
        assert!(help.contains(heading), "{heading}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100));
    assert!(help.contains("- har"), "{help}");
}

#[test]
fn a_file_is_shown_as_text_and_json() {
    let dir = folder();
    let text = run_in(dir.path(), &["-r", "in.pcap", "--utc"]);
    assert_eq!(text.status.code(), Some(0), "{}", stderr(&text));
    let line = stdout(&text);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("http://example.com/hello"), "{line}");
    assert!(line.contains("200"), "{line}");
    assert!(
        stderr(&text).contains("1 exchange seen, all shown"),
        "{}",
        stderr(&text)
    );

    let json = run_in(dir.path(), &["-r", "in.pcap", "-o", "json"]);
    let value: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(value["schema"], 1);
    assert_eq!(value["request"]["target"], "/hello?token=s3cret");
    assert_eq!(value["response"]["body"]["text"], "hello");
}

#[test]
fn a_capture_on_stdin_is_read_like_a_file() {
    let dir = folder();
    let input = File::open(dir.path().join("in.pcap")).unwrap();
    let output = httpsniff(&["-r", "-", "-o", "json"])
        .stdin(input)
        .output()
        .unwrap();
    assert_eq!(stdout(&output).lines().count(), 1, "{}", stderr(&output));

    let mut child = httpsniff(&["-r", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&hello()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output).lines().count(), 1, "{}", stderr(&output));
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("empty", &b""[..]),
        ("text", b"this is not a capture at all, is it"),
    ] {
        fs::write(dir.path().join(name), content).unwrap();
        let output = run_in(dir.path(), &["-r", name]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(name),
            "{name}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn filters_hold_in_every_output() {
    let dir = tempfile::tempdir().unwrap();
    let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let capture = pcap(&[
        (b"GET /a HTTP/1.1\r\nHost: api.example.com\r\n\r\n", answer),
        (b"GET /b HTTP/1.1\r\nHost: www.example.com\r\n\r\n", answer),
    ]);
    fs::write(dir.path().join("in.pcap"), capture).unwrap();
    for (filter, expected) in [
        (&["--host", "api.*"][..], 1),
        (&["--status", "4xx"], 2),
        (&["--status", "200"], 0),
        (&["--path", "/b", "--path", "/c"], 1),
        (&["--path", "/b", "--host", "api.*"], 0),
        (&["--port", "80"], 2),
        (&["--port", "81,50001"], 1),
        (&["-m", "post"], 0),
        (&["-c", "1"], 1),
    ] {
        let mut arguments = vec!["-r", "in.pcap", "-o", "json", "-w", "out.pcapng"];
        arguments.extend(filter);
        let output = run_in(dir.path(), &arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{filter:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output).lines().count(), expected, "{filter:?}");
        let again = run_in(dir.path(), &["-r", "out.pcapng", "-o", "json"]);
        assert_eq!(
            stdout(&again).lines().count(),
            expected,
            "{filter:?}: {}",
            stderr(&again)
        );
    }
}

#[test]
fn written_files_are_private_even_if_they_were_not() {
    let dir = folder();
    for name in ["new", "old"] {
        let path = dir.path().join(name);
        if name == "old" {
            fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        }
        let output = run_in(dir.path(), &["-r", "in.pcap", "-w", name]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(
            stdout(&output),
            "",
            "with -w and no terminal nothing is shown"
        );
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(meta.mode() & 0o777, 0o600, "{name}");
        assert!((1..100_000).contains(&meta.len()), "{name}");
        assert_eq!(stderr(&output).matches("passwords").count(), 1);
        let again = run_in(dir.path(), &["-r", name, "-o", "json"]);
        assert_eq!(stdout(&again).lines().count(), 1, "{}", stderr(&again));
    }
    let output = run_in(dir.path(), &["-r", "in.pcap", "-O", "shown"]);
    assert_eq!(stdout(&output), "");
    let meta = fs::metadata(dir.path().join("shown")).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o600);
}

#[test]
fn a_symbolic_link_is_never_written_through() {
    let dir = folder();
    fs::write(dir.path().join("precious"), "old").unwrap();
    symlink("precious", dir.path().join("link")).unwrap();
    for option in ["-w", "-O"] {
        let output = run_in(dir.path(), &["-r", "in.pcap", option, "link"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("symbolic link"),
            "{}",
            stderr(&output)
        );
        assert_eq!(fs::read(dir.path().join("precious")).unwrap(), b"old");
    }
}

#[test]
fn one_file_is_not_read_and_written() {
    let dir = folder();
    fs::hard_link(dir.path().join("in.pcap"), dir.path().join("same")).unwrap();
    let before = fs::read(dir.path().join("in.pcap")).unwrap();
    for arguments in [
        &["-r", "in.pcap", "-w", "in.pcap"][..],
        &["-r", "in.pcap", "-w", "./in.pcap"],
        &["-r", "in.pcap", "-w", "same"],
        &["-r", "in.pcap", "-O", "same"],
        &["-r", "in.pcap", "-w", "x", "-O", "./x"],
    ] {
        let output = run_in(dir.path(), arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(fs::read(dir.path().join("in.pcap")).unwrap(), before);
    }
}

#[test]
fn stdout_by_any_name_takes_a_pcapng() {
    let dir = folder();
    for name in ["-", "/dev/stdout", "/dev/fd/1"] {
        let output = run_in(dir.path(), &["-r", "in.pcap", "-w", name]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
        assert_eq!(
            output.stdout.get(..4),
            Some(&[0x0a, 0x0d, 0x0d, 0x0a][..]),
            "{name}"
        );
    }
}

#[test]
fn a_fifo_takes_an_output() {
    let dir = folder();
    let path = dir.path().join("fifo");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &path,
        rustix::fs::Mode::from_raw_mode(0o600),
    )
    .unwrap();
    let child = httpsniff(&["-r", "in.pcap", "-o", "json", "-O", "fifo"])
        .current_dir(dir.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    File::open(&path)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_full_disk_is_said_and_fails() {
    let dir = folder();
    for arguments in [
        &["-r", "in.pcap", "-w", "/dev/full"][..],
        &["-r", "in.pcap", "-O", "/dev/full"],
        &["-r", "in.pcap", "-o", "json", "-O", "/dev/full"],
    ] {
        let output = run_in(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = stderr(&output);
        assert!(
            text.contains("cannot write /dev/full: no space is left"),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn a_reader_that_goes_is_a_clean_end() {
    let dir = folder();
    for form in [&["-o", "json"][..], &["-o", "text", "-vv"], &["-w", "-"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut arguments = vec!["-r", "in.pcap"];
        arguments.extend(form);
        let output = httpsniff(&arguments)
            .current_dir(dir.path())
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{form:?}: {}",
            stderr(&output)
        );
        assert!(
            !stderr(&output).contains("cannot"),
            "{form:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_closed_stderr_does_not_matter() {
    let dir = folder();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = httpsniff(&["-r", "in.pcap"])
        .current_dir(dir.path())
        .stderr(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output).lines().count(), 1);
}

#[test]
fn secrets_are_masked_in_every_output() {
    let dir = folder();
    let output = run_in(
        dir.path(),
        &["-r", "in.pcap", "--redact", "-o", "json", "-w", "out"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("token=******"),
        "{}",
        stdout(&output)
    );
    let file = fs::read(dir.path().join("out")).unwrap();
    let has = |part: &[u8]| file.windows(part.len()).any(|w| w == part);
    assert!(has(b"token=******"));
    assert!(!has(b"s3cret"));
}

#[test]
fn who_may_not_capture_is_told_what_to_do() {
    // Root's build folder may be closed to others.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("httpsniff");
    // By another process: a descriptor that writes the copy, inherited by a
    // child that another test starts meanwhile, would make it busy (ETXTBSY).
    let copied = std::process::Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_httpsniff"))
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for arguments in [&[][..], &["-w", "out"], &["--", "true"]] {
        let mut command = std::process::Command::new(&program);
        command.args(arguments).current_dir(dir.path());
        if is_root() {
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        let part = if cfg!(feature = "live") {
            "run it with sudo"
        } else {
            "built without live capturing"
        };
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
}

/// As under sudo, called by a user without any rights.
fn as_nobody(dir: &Path, arguments: &[&str]) -> Option<Output> {
    if !is_root() {
        // Not eprintln!, which libtest would keep to itself.
        let line = b"SKIPPED cli::under_sudo: giving up root's rights needs root\n";
        std::io::stderr().write_all(line).unwrap();
        return None;
    }
    let output = httpsniff(arguments)
        .current_dir(dir)
        .env("SUDO_UID", "65534")
        .env("SUDO_GID", "65534")
        .env("SUDO_USER", "nobody")
        .output();
    Some(output.unwrap())
}

#[test]
fn under_sudo_files_are_opened_with_the_callers_rights() {
    let dir = folder();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("roots"), "old").unwrap();
    for (arguments, part) in [
        (
            &["-r", "in.pcap", "-w", "out"][..],
            "cannot write out: permission denied for nobody",
        ),
        (
            &["-r", "in.pcap", "-w", "roots"],
            "cannot write roots: permission denied for nobody",
        ),
        (
            &["-r", "/etc/shadow"],
            "cannot read /etc/shadow: permission denied for nobody",
        ),
    ] {
        let Some(output) = as_nobody(dir.path(), arguments) else {
            return;
        };
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            stderr(&output).contains(part),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(fs::read(dir.path().join("roots")).unwrap(), b"old");

    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let output = as_nobody(dir.path(), &["-r", "in.pcap", "-w", "out"]).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let meta = fs::metadata(dir.path().join("out")).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o777),
        (65534, 65534, 0o600)
    );

    // Writable for all, but not the caller's: its mode is not theirs to set.
    fs::set_permissions(dir.path().join("roots"), fs::Permissions::from_mode(0o666)).unwrap();
    let output = as_nobody(dir.path(), &["-r", "in.pcap", "-w", "roots"]).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(dir.path().join("roots")).unwrap(), b"old");
}
