//! What the command line means.

use super::*;
use crate::cli::parse;

fn around() -> Surroundings {
    Surroundings {
        path: "/usr/bin:/bin".into(),
        ..Surroundings::default()
    }
}

fn on_terminal() -> Surroundings {
    Surroundings {
        stdin_terminal: true,
        stdout_terminal: true,
        stderr_terminal: true,
        ..around()
    }
}

fn with(arguments: &str, around: &Surroundings) -> Result<Options, Failure> {
    let all = std::iter::once("httpsniff").chain(arguments.split_whitespace());
    Options::new(parse(all.map(OsString::from)).unwrap(), around)
}

fn failure(arguments: &str) -> Failure {
    with(arguments, &around()).unwrap_err()
}

fn shown(arguments: &str, around: &Surroundings) -> Option<(Form, Place)> {
    let options = with(arguments, around).unwrap();
    options.shown.map(|s| (s.form, s.place))
}

#[test]
fn contradictions_are_usage_errors_with_a_cure() {
    for (arguments, part) in [
        ("--pid 1 -- true", "exclude each other"),
        ("-r x -- true", "a command is for live"),
        ("-r x --follow", "--follow is for live"),
        ("--container x -- true", "exclude each other"),
        ("--container /", "id or name is needed"),
        ("-r x --container nginx.service", "no systemd units"),
        ("-r x --backend auto", "--backend is for live"),
        ("-r x --no-tcp", "--no-tcp is for live"),
        ("-r x --no-tls", "--no-tls is for live"),
        ("-r x --lib y", "--lib is for live"),
        ("-r x --check", "--check is for live"),
        ("-r x --ready-file y", "--ready-file is for live"),
        ("-r x --duration 1s", "--duration is for live"),
        ("-r x --buffer 1M", "--buffer is for live"),
        ("-r x -w x", "read and written"),
        ("-w - -- true", "refused with a command"),
        ("-o json -- true", "json with a command needs -O FILE"),
        ("-o har -- true", "har with a command needs -O FILE"),
        ("-o har --partial", "whole exchanges"),
        ("-o har -O x -w x", "both har and pcapng"),
        ("-w x.har -O x.har", "both text and har"),
        ("-w - -o text", "-O FILE"),
        ("-w x -O x", "both text and pcapng"),
        ("-w - -O -", "both text and pcapng"),
        ("-w /dev/stdout -o json", "both json and pcapng"),
        ("--follow", "--follow needs --pid"),
        ("--no-tcp --no-tls", "nothing to watch"),
        ("--pid 0", "--pid 0"),
        ("--pid nginx", "--comm"),
        ("--status 4", "5xx"),
        ("--port 0", "65535"),
        ("--max-body lots", "1MiB"),
        ("--buffer 1k", "256k"),
        ("--duration soon", "10s"),
        ("--count 0", "from 1"),
        ("--uid nobody-of-that-name", "no such user"),
        ("--host=", "empty"),
    ] {
        let failure = failure(arguments);
        assert_eq!(failure.status, 2, "{arguments}: {failure}");
        assert!(failure.message.contains(part), "{arguments}: {failure}");
        assert!(!failure.message.contains('\n'), "{arguments}: {failure}");
    }
}

#[test]
fn what_is_not_there_has_the_exit_status_of_its_kind() {
    assert_eq!(failure("--pid 4194305").status, 1);
    assert_eq!(failure("--lib /no/such/lib").status, 1);
    assert_eq!(failure("-- no-such-command").status, 127);
    assert_eq!(failure("-- /etc/passwd").status, 126);
}

#[test]
fn a_terminal_gets_no_pcapng() {
    for arguments in ["-w -", "-w /dev/stdout", "-w /dev/stderr"] {
        let failure = with(arguments, &on_terminal()).unwrap_err();
        assert!(
            failure.message.contains("terminal"),
            "{arguments}: {failure}"
        );
        assert_eq!(failure.status, 2);
    }
    assert_eq!(with("-r -", &on_terminal()).unwrap_err().status, 2);
}

#[test]
fn stdout_carries_results() {
    let pipe = around();
    let terminal = on_terminal();
    let stdout = |form| Some((form, Place::Stdout));
    let file = |name: &str| Place::Path(name.into());
    assert_eq!(shown("", &pipe), stdout(Form::Text));
    assert_eq!(shown("-o json", &pipe), stdout(Form::Json));
    assert_eq!(shown("-O x", &pipe), Some((Form::Text, file("x"))));
    assert_eq!(shown("-w f", &pipe), None);
    assert_eq!(shown("-w f", &terminal), stdout(Form::Text));
    assert_eq!(shown("-w f -o text", &pipe), stdout(Form::Text));
    assert_eq!(shown("-w f -v", &pipe), stdout(Form::Text));
    assert_eq!(shown("-w f -o json", &pipe), stdout(Form::Json));
    assert_eq!(shown("-w -", &pipe), None);
    assert_eq!(
        shown("-w - -o json -O x", &pipe),
        Some((Form::Json, file("x")))
    );
}

#[test]
fn with_a_command_stdout_is_its_own() {
    let pipe = around();
    assert_eq!(shown("-- true", &pipe), Some((Form::Text, Place::Stderr)));
    assert_eq!(
        shown("-O - -- true", &pipe),
        Some((Form::Text, Place::Stdout))
    );
    assert_eq!(
        shown("-o json -O - -- true", &pipe),
        Some((Form::Json, Place::Stdout))
    );
    assert_eq!(shown("-w f -- true", &pipe), None);
    assert_eq!(
        shown("-w f -o text -- true", &pipe),
        Some((Form::Text, Place::Stderr))
    );
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let color = |arguments: &str, around: &Surroundings| {
        with(arguments, around).unwrap().shown.unwrap().color
    };
    let plain = Surroundings {
        plain: true,
        ..on_terminal()
    };
    assert!(color("", &on_terminal()));
    assert!(!color("", &around()));
    assert!(!color("", &plain));
    assert!(!color("-O x", &on_terminal()));
    assert!(color("--color always", &plain));
    assert!(!color("--color never", &on_terminal()));
}

#[test]
fn a_command_is_followed_and_resolved() {
    let options = with("-- true -x", &around()).unwrap();
    let Source::Live(live) = options.source else {
        panic!("not live")
    };
    let command = live.command.unwrap();
    assert!(live.follow);
    assert_eq!(command.words, ["true", "-x"]);
    assert_eq!(command.path, Path::new("/usr/bin/true"));
}
