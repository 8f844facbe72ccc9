//! Go's crypto/tls: bodies equal those of the endpoints to the last byte, from
//! either end, however the program was built, whatever its goroutines do; and
//! the program notices nothing.

use std::process::{Command, Output};

use crate::support::exchange::{Exchange, Expected, assert_exchanges};
use crate::support::files::{Certificate, Docroot, SIZES, folder, random_bytes};
use crate::support::golang::{self, Build};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::process::Process;
use crate::support::servers::{Server, go};
use crate::support::skip::{needs, skipped};
use crate::views::check;

/// A Go client with its certificate's file.
fn client(build: Build, mode: &str, certificate: &Certificate) -> Command {
    let mut command = Command::new(golang::web(build));
    command.arg(mode).arg(certificate.path());
    command
}

/// Ends the test here unless this Go is installed.
macro_rules! needs_go {
    ($build:expr) => {
        needs!("openssl", "gcc");
        if std::process::Command::new($build.go)
            .arg("version")
            .output()
            .is_err()
        {
            fn here() {}
            let reason = format!("{} is not installed (scripts/setup.sh test)", $build.go);
            skipped(std::any::type_name_of_val(&here), &reason);
            return;
        }
    };
}

/// Everything is got and posted, and both ends are watched.
fn fetches(build: Build) {
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = go(build, &docroot, &certificate, &[]);
    let kept = folder();

    let mut get = client(build, "get", &certificate);
    get.arg(server.url()).current_dir(kept.path());
    let mut expected = Vec::new();
    for prefix in ["/", "/chunked/", "/close/"] {
        for name in docroot.names() {
            let target = format!("{prefix}{name}");
            get.arg(&target);
            expected.push(Expected::get(&target, docroot.content(name)));
        }
    }
    check(&server, &get, &expected, &[]);
    for (number, should) in expected.iter().enumerate() {
        let got = std::fs::read(kept.path().join(number.to_string())).unwrap();
        assert!(
            got == should.response_body,
            "Go itself got another {number}"
        );
    }

    let mut post = client(build, "post", &certificate);
    post.arg(server.url()).arg(docroot.path());
    post.args(docroot.names()).current_dir(kept.path());
    let expected: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| Expected::echo(&format!("/echo/{name}"), docroot.content(name)))
        .collect();
    check(&server, &post, &expected, &[]);
}

macro_rules! builds {
    ($($name:ident $build:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs_go!(golang::$build);
            let _guard = lock::shared();
            fetches(golang::$build);
        }
    )* };
}

builds!(
    plain PLAIN,
    stripped STRIPPED,
    loaded_anywhere PIE,
    linked_by_another EXTERNAL,
    not_optimized DEBUG,
    go_1_19 OLD,
    go_1_19_linked_by_another OLD_EXTERNAL,
);

/// Runs a program to its end.
fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Many goroutines on several threads, garbage collected all the time, are seen
/// from both ends by one httpsniff, each exchange with its own connection's
/// peer.
fn storms(build: Build) {
    let (workers, each, size) = (12, 20, 20_000);
    let docroot = Docroot::new(&[1]);
    let certificate = Certificate::new();
    let server = go(build, &docroot, &certificate, &["gc"]);
    let mut storm = client(build, "storm", &certificate);
    storm.arg(server.url());
    storm.args([workers, each, size].map(|number: usize| number.to_string()));
    storm.arg("gc").env("GOMAXPROCS", "4");
    let mut storm = Process::spawn(&mut storm);
    let pids = format!("{},{}", server.pid(), storm.pid());
    let watch = Httpsniff::new().json().args(["--pid", &pids]).start();
    storm.send("go");
    storm.finish();
    let outcome = watch.stop().success();

    let expected: Vec<_> = (0..workers * each)
        .map(|place| {
            let target = format!("/echo/{}-{}", place / each, place % each);
            Expected::echo(&target, pattern(size, place))
        })
        .collect();
    for role in ["client", "server"] {
        assert_exchanges(role, &outcome.of_role(role), &expected);
    }
    same_connections(&outcome, &server);
}

/// As `pattern` in `web.go`.
fn pattern(size: usize, seed: usize) -> Vec<u8> {
    let mut state = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..size)
        .map(|_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
        })
        .collect()
}

/// Each exchange has the same two addresses at both ends, and the server's is
/// the server's.
fn same_connections(outcome: &Outcome, server: &Server) {
    let address = format!("127.0.0.1:{}", server.port());
    let of_server = outcome.of_role("server");
    for exchange in outcome.of_role("client") {
        let find = |other: &&Exchange| other.target() == exchange.target();
        let other = of_server.iter().find(find).unwrap();
        assert_eq!(exchange.text("/peer"), address);
        assert_eq!(other.text("/local"), address);
        assert_eq!(exchange.text("/local"), other.text("/peer"));
    }
}

/// Goroutines whose stacks grow while they read into a buffer on it and while
/// they write; the program prints the same with and without httpsniff.
fn grows(build: Build) {
    let (depths, size) = (120, 400);
    let mut docroot = Docroot::new(&[]);
    docroot.add("size.bin", &random_bytes(size, 7));
    let certificate = Certificate::new();
    let server = go(build, &docroot, &certificate, &["gc"]);
    let mut deep = client(build, "deep", &certificate);
    deep.arg(&server.address);
    deep.args([depths, size].map(|number: usize| number.to_string()));
    deep.arg("gc");
    let without = output(&mut deep);
    assert!(without.status.success(), "{without:?}");

    let watch = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let with = Httpsniff::new().json().run(&deep).success();
    let watch = watch.stop().success();
    assert_eq!(with.stdout, without.stdout);
    let expected: Vec<_> = (0..depths)
        .map(|depth| {
            let target = format!("/size.bin?depth={depth}");
            Expected::get(&target, docroot.content("size.bin"))
        })
        .collect();
    assert_exchanges("client", &with.of_role("client"), &expected);
    assert_exchanges("server", &watch.of_role("server"), &expected);
}

macro_rules! both {
    ($check:ident: $($name:ident $build:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs_go!(golang::$build);
            let _guard = lock::shared();
            $check(golang::$build);
        }
    )* };
}

both!(storms: many_goroutines STRIPPED, many_goroutines_go_1_19 OLD);
both!(grows: stacks_that_grow STRIPPED, stacks_that_grow_go_1_19 OLD);

/// Goroutines that write to one connection at the same time: whichever comes
/// first, each of their requests is shown once.
fn crowds(build: Build) {
    let (writers, each): (usize, usize) = (8, 60);
    let docroot = Docroot::new(&[400]);
    let certificate = Certificate::new();
    let server = go(build, &docroot, &certificate, &[]);
    let mut crowd = client(build, "crowd", &certificate);
    crowd.arg(&server.address);
    crowd.args([writers, each].map(|number| number.to_string()));
    crowd.arg("400.bin").env("GOMAXPROCS", "4");
    let mut crowd = Process::spawn(&mut crowd);
    let pids = format!("{},{}", server.pid(), crowd.pid());
    let watch = Httpsniff::new().json().args(["--pid", &pids]).start();
    crowd.send("go");
    crowd.finish();
    let outcome = watch.stop().success();
    let expected: Vec<_> = (0..writers * each)
        .map(|place| {
            let target = format!("/400.bin?{}-{}", place / each, place % each);
            Expected::get(&target, docroot.content("400.bin"))
        })
        .collect();
    for role in ["client", "server"] {
        assert_exchanges(role, &outcome.of_role(role), &expected);
    }
}

both!(crowds: one_connection_for_all STRIPPED, one_connection_for_all_go_1_19 OLD);

/// A connection that is open and idle when httpsniff comes, where a goroutine
/// waits for the answer to a request that is not made yet: everything from
/// then on is seen.
fn idles(build: Build) {
    let docroot = Docroot::new(&[1, 400, 16_385]);
    let certificate = Certificate::new();
    let server = go(build, &docroot, &certificate, &[]);
    let mut idle = client(build, "idle", &certificate);
    idle.arg(server.url());
    idle.args(docroot.names().iter().map(|name| format!("/{name}")));
    let mut idle = Process::spawn(&mut idle);
    idle.send("before");
    idle.line_with("/1.bin");

    let pids = format!("{},{}", server.pid(), idle.pid());
    let watch = Httpsniff::new().json().args(["--pid", &pids]).start();
    let mut expected = Vec::new();
    for name in &docroot.names()[1..] {
        idle.send("now");
        idle.line_with(name);
        expected.push(Expected::get(&format!("/{name}"), docroot.content(name)));
    }
    idle.finish();
    let outcome = watch.stop().success();
    for role in ["client", "server"] {
        assert_exchanges(role, &outcome.of_role(role), &expected);
    }
    same_connections(&outcome, &server);
}

both!(idles: idle_connections STRIPPED, idle_connections_go_1_19 OLD);

/// What the table of functions says is what `nm` says of the symbols, and each
/// `ret` that `objdump` shows has its probe.
fn placed(build: Build) {
    let program = golang::web(build);
    let nm = output(Command::new("nm").arg(&program));
    let symbols = String::from_utf8(nm.stdout).unwrap();
    let file = std::fs::File::open(&program).unwrap();
    let elf = httpsniff::tls::elf::Elf::open(&file).unwrap();
    let probes = httpsniff::tls::golang::look(&elf).unwrap().probes.unwrap();
    let probes: Vec<u64> = probes.iter().map(|probe| probe.offset).collect();
    for name in ["Read", "Write", "clientHandshake", "serverHandshake"] {
        let name = format!("crypto/tls.(*Conn).{name}");
        let line = symbols.lines().find(|line| line.ends_with(&name)).unwrap();
        let address = u64::from_str_radix(&line[..16], 16).unwrap();
        let option = format!("--disassemble={name}");
        let objdump = output(Command::new("objdump").args(["-d", &option]).arg(&program));
        let listing = String::from_utf8(objdump.stdout).unwrap();
        let returns: Vec<u64> = listing
            .lines()
            .filter(|line| line.trim_end().ends_with("ret"))
            .map(|line| u64::from_str_radix(line.trim().split(':').next().unwrap(), 16).unwrap())
            .collect();
        assert!(returns.len() > 1, "{name}: {listing}");
        for place in returns {
            // These programs are loaded as they lie in the file.
            let offset = place - 0x40_0000;
            assert!(probes.contains(&offset), "{name}: {place:x}");
        }
        let near =
            |offset: &&u64| (address - 0x40_0000..address - 0x40_0000 + 0x40).contains(*offset);
        assert!(probes.iter().any(|offset| near(&offset)), "{name}");
    }
}

both!(placed: as_nm_and_objdump_say PLAIN, as_nm_and_objdump_say_go_1_19 OLD);

/// Programs end as they would, with what they print: well, by an error of
/// their own, by a panic, killed.
#[test]
fn programs_notice_nothing() {
    needs_go!(golang::STRIPPED);
    let _guard = lock::shared();
    let docroot = Docroot::new(&[400]);
    let certificate = Certificate::new();
    let server = go(golang::STRIPPED, &docroot, &certificate, &[]);
    for (end, status) in [("well", 0), ("exit", 7), ("panic", 2), ("kill", 128 + 9)] {
        let kept = folder();
        let mut command = client(golang::STRIPPED, "end", &certificate);
        command.arg(server.url()).args(["/400.bin", end]);
        command.current_dir(kept.path());
        let without = output(&mut command);
        let with = Httpsniff::new().json().run(&command);
        assert_eq!(with.status.code(), Some(status), "{end}: {}", with.stderr);
        assert_eq!(without.status.code().unwrap_or(128 + 9), status, "{end}");
        assert_eq!(with.stdout, without.stdout, "{end}");
        let expected = [Expected::get("/400.bin", docroot.content("400.bin"))];
        assert_exchanges(end, &with.of_role("client"), &expected);
    }
}

/// A Go whose functions are called otherwise is not read, and why is said.
#[test]
fn an_older_go_is_named() {
    needs_go!(golang::STRIPPED);
    let _guard = lock::shared();
    let folder = folder();
    let program = folder.path().join("old");
    let mut bytes = std::fs::read(golang::web(golang::STRIPPED)).unwrap();
    let table = b"\xf1\xff\xff\xff\0\0\x01\x08";
    let at = bytes.windows(8).position(|window| window == table).unwrap();
    bytes[at] = 0xfa;
    std::fs::write(&program, bytes).unwrap();
    let outcome = Httpsniff::new()
        .arg("--lib")
        .arg(&program)
        .args(["--duration", "1s"])
        .finish();
    let reason = "programs made by Go 1.17 or older are not read";
    assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
}
