//! HTTP/2 between real programs: every exchange with its stream, host and
//! target, and bodies and fields as the endpoints have them, seen from either
//! end, in clear and inside TLS.

use std::process::Command;

use crate::support::clients::run;
use crate::support::exchange::{Exchange, Expected, assert_exchanges, short};
use crate::support::files::{Certificate, Docroot, SIZES, folder};
use crate::support::golang;
use crate::support::h2::{self, Client, assert_http2, fields};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::process::Process;
use crate::support::servers::{Server, http_server};
use crate::support::skip::needs;
use crate::views::check;

/// Ends the test here unless Debian's Python has the module.
macro_rules! needs_module {
    ($module:literal) => {
        let mut import = std::process::Command::new($crate::support::servers::PYTHON);
        import.args(["-c", concat!("import ", $module)]);
        if !import.output().is_ok_and(|output| output.status.success()) {
            fn here() {}
            let reason = concat!("Python has no ", $module, " (scripts/setup.sh test)");
            $crate::support::skip::skipped(std::any::type_name_of_val(&here), reason);
            return;
        }
    };
}
pub(crate) use needs_module;

/// In clear and inside TLS.
pub(crate) fn both(check: impl Fn(Option<&Certificate>)) {
    let _guard = lock::shared();
    check(None);
    check(Some(&Certificate::new()));
}

/// Everything is got by every client, and posted with `posts`; both ends are
/// watched, and agree.
fn talk(
    server: &Server,
    docroot: &Docroot,
    clients: &[Client],
    certificate: Option<&Certificate>,
    posts: bool,
) {
    let kept = folder();
    let modes = if posts {
        &[("get", "/"), ("post", "/echo/")][..]
    } else {
        &[("get", "/")]
    };
    let expected = |client: &Client, mode: &str, prefix: &str| -> Vec<_> {
        let expected = if mode == "get" {
            Expected::get
        } else {
            Expected::echo
        };
        let targets = client.targets(prefix, docroot);
        let all = targets.iter().zip(docroot.names());
        all.map(|(target, name)| expected(target, docroot.content(name)))
            .collect()
    };
    let mut script = "set -e\n".to_owned();
    let mut of_script = Vec::new();
    for client in clients {
        for (mode, prefix) in modes {
            let of_mode = expected(client, mode, prefix);
            if client.is_apart(certificate) {
                let folder = kept.path().join(format!("{client:?}/{mode}"));
                std::fs::create_dir_all(&folder).unwrap();
                let mut command = client.command(mode, prefix, server, docroot, certificate);
                watch(server, command.current_dir(folder), &of_mode);
            } else {
                of_script.extend(of_mode);
            }
        }
        if !client.is_apart(certificate) {
            script.push_str(&client.script(server, docroot, certificate, posts));
        }
    }
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]).current_dir(kept.path());
    watch(server, &shell, &of_script);
    for client in clients {
        for (mode, _) in modes {
            for (number, name) in docroot.names().iter().enumerate() {
                let file = kept.path().join(format!("{client:?}/{mode}/{number}"));
                // curl makes no file for an empty body.
                let got = std::fs::read(file).unwrap_or_default();
                let should = docroot.content(name);
                assert!(got == should, "{client:?} itself got another {name}");
            }
        }
    }
}

/// Runs a command against a server, and compares both ends.
fn watch(server: &Server, command: &Command, expected: &[Expected]) {
    let (of_client, of_server) = check(server, command, expected, &[]);
    assert_http2("client's view", &of_client.of_role("client"), server);
    assert_http2("server's view", &of_server.of_role("server"), server);
}

/// Whether Go speaks HTTP/2 in clear.
pub(crate) fn go_in_clear() -> bool {
    golang::minor().is_some_and(|minor| minor >= 24)
}

#[test]
fn nginx() {
    needs!("nginx", "curl", "nghttp", "node", "openssl");
    let docroot = Docroot::new(&SIZES);
    both(|certificate| {
        let server = h2::nginx(&docroot, certificate, None);
        let clients = [
            Client::Curl,
            Client::CurlAtOnce,
            Client::Nghttp,
            Client::Node,
        ];
        talk(&server, &docroot, &clients, certificate, false);
    });
}

#[test]
fn nghttpd() {
    needs!("nghttpd", "curl", "nghttp", "openssl");
    needs_module!("httpx");
    let docroot = Docroot::new(&SIZES);
    both(|certificate| {
        let server = h2::nghttpd(&docroot, certificate, &["-b", "100"]);
        let clients = [Client::Curl, Client::Nghttp, Client::Httpx];
        talk(&server, &docroot, &clients, certificate, true);
    });
}

#[test]
fn node() {
    needs!("node", "curl", "nghttp", "openssl");
    needs_module!("httpx");
    let docroot = Docroot::new(&SIZES);
    both(|certificate| {
        let server = h2::node(&docroot, certificate);
        let clients = [
            Client::CurlAtOnce,
            Client::Nghttp,
            Client::Node,
            Client::Httpx,
        ];
        talk(&server, &docroot, &clients, certificate, true);
    });
}

#[test]
fn go() {
    needs!("go", "nghttp", "openssl");
    needs_module!("httpx");
    let docroot = Docroot::new(&SIZES);
    both(|certificate| {
        if certificate.is_none() && !go_in_clear() {
            return;
        }
        let server = h2::go(&docroot, certificate);
        let clients = [Client::Nghttp, Client::Curl, Client::Go, Client::Httpx];
        talk(&server, &docroot, &clients, certificate, true);
    });
}

/// nginx speaks HTTP/2 with the client and HTTP/1.1 with the server behind it;
/// one httpsniff shows both.
#[test]
fn two_versions_in_one_process() {
    needs!("nginx", "curl", "openssl");
    let docroot = Docroot::new(&SIZES);
    both(|certificate| {
        let upstream = http_server(&docroot, None);
        let server = h2::nginx(&docroot, certificate, Some(&upstream.address));
        let watch = Httpsniff::new()
            .json()
            .args(["--pid", &server.pid().to_string()])
            .start();
        let mut before = Vec::new();
        let mut behind = Vec::new();
        for name in docroot.names() {
            let url = format!("{}/proxied/echo/{name}", server.url());
            let mut command = h2::curl(certificate);
            command.args(["-o", "/dev/null", "--data-binary"]);
            command.arg(format!("@{}", docroot.path().join(name).display()));
            run(command.arg(url));
            let content = docroot.content(name);
            before.push(Expected::echo(
                &format!("/proxied/echo/{name}"),
                content.clone(),
            ));
            behind.push(Expected::echo(&format!("/echo/{name}"), content));
        }
        let outcome = watch.stop().success();
        let of_server = outcome.of_role("server");
        assert_exchanges("before nginx", &of_server, &before);
        assert_http2("before nginx", &of_server, &server);
        let of_client = outcome.of_role("client");
        assert_exchanges("behind nginx", &of_client, &behind);
        assert!(of_client.iter().all(|e| e.text("/protocol") == "HTTP/1.1"));
    });
}

/// nghttpx takes the upgrade; curl's request in HTTP/1.1 is the first stream,
/// and further requests follow on it.
#[test]
fn upgrades() {
    needs!("nghttpx", "nghttpd", "curl", "nghttp");
    let _guard = lock::shared();
    // curl 7.88 gives up when much comes at once after the 101.
    let docroot = Docroot::new(&SIZES[..5]);
    let behind = h2::nghttpd(&docroot, None, &[]);
    let server = h2::nghttpx(&behind);
    let kept = folder();
    let mut script = "set -e\n".to_owned();
    let mut expected = Vec::new();
    for (number, name) in docroot.names().iter().enumerate() {
        let url = server.url();
        script +=
            &format!("curl -q -sS --fail --http2 --noproxy '*' -o {number} '{url}/{name}?curl'\n");
        script += &format!("nghttp -u -n '{url}/{name}?first' '{url}/{name}?second'\n");
        for more in ["curl", "first", "second"] {
            let target = format!("/{name}?{more}");
            expected.push(Expected::get(&target, docroot.content(name)));
        }
    }
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]).current_dir(kept.path());
    let of_server = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let of_client = Httpsniff::new().json().run(&shell).success();
    let of_server = of_server.stop().success();
    for (view, mut exchanges) in [
        ("client's view", of_client.of_role("client")),
        ("server's view", of_server.of_role("server")),
        // nghttpx is also the client of what is behind it.
        ("behind", of_server.of_role("client")),
    ] {
        let all = exchanges.len();
        exchanges.retain(|exchange| exchange.text("/upgraded_to") != "h2c");
        let upgrades = if view == "behind" {
            0
        } else {
            2 * docroot.names().len()
        };
        assert_eq!(all - exchanges.len(), upgrades, "{view}");
        assert_exchanges(view, &exchanges, &expected);
        for exchange in &exchanges {
            let version = exchange.text("/response/version");
            assert_eq!(version, "HTTP/2", "{}", short(exchange));
            let stream = exchange.number("/stream");
            assert!(stream.is_some_and(|s| s % 2 == 1), "{}", short(exchange));
        }
    }
}

/// Fields of requests are those that the server got, fields of responses those
/// that the client got; also sections that need CONTINUATION.
#[test]
fn fields_are_those_of_the_endpoints() {
    needs!("node", "go", "curl", "openssl");
    let docroot = Docroot::new(&[1]);
    both(|certificate| {
        let go = (certificate.is_some() || go_in_clear()).then(|| h2::go(&docroot, certificate));
        for server in [Some(h2::node(&docroot, certificate)), go]
            .into_iter()
            .flatten()
        {
            let kept = folder();
            let long = "v".repeat(900);
            let mut script = "set -e\n".to_owned();
            let curl = h2::curl(certificate);
            let curl: Vec<_> = curl
                .get_args()
                .map(|a| format!("'{}'", a.to_str().unwrap()))
                .collect();
            let curl = format!("curl {}", curl.join(" "));
            for (number, count) in [0, 10, 60].into_iter().enumerate() {
                let many: String = (0..count)
                    .map(|n| format!("-H 'x-{n}: {n}-{long}' "))
                    .collect();
                script += &format!(
                    "{curl} {many} -o {number} '{}/headers?{number}'\n",
                    server.url()
                );
            }
            for (place, target) in ["/many/20/10", "/many/60/900", "/many/3/20000"]
                .iter()
                .enumerate()
            {
                script += &format!(
                    "{curl} -D head{place} -o /dev/null '{}{target}'\n",
                    server.url()
                );
            }
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &script]).current_dir(kept.path());
            let of_server = Httpsniff::new()
                .json()
                .args(["--pid", &server.pid().to_string()])
                .start();
            let of_client = Httpsniff::new().json().run(&shell).success();
            let of_server = of_server.stop().success();
            for exchanges in [of_client.of_role("client"), of_server.of_role("server")] {
                assert_eq!(exchanges.len(), 6, "{}", of_server.stderr);
                assert_http2("either", &exchanges, &server);
                for (number, count) in [0, 10, 60].into_iter().enumerate() {
                    let exchange = by_target(&exchanges, &format!("/headers?{number}"));
                    let file = std::fs::read(kept.path().join(number.to_string())).unwrap();
                    let got: Vec<(String, String)> = serde_json::from_slice(&file).unwrap();
                    assert_eq!(
                        sorted(fields(exchange, "/request/headers")),
                        sorted(got.clone())
                    );
                    assert_eq!(got.len(), count + 2);
                }
                for (place, target) in ["/many/20/10", "/many/60/900", "/many/3/20000"]
                    .iter()
                    .enumerate()
                {
                    let exchange = by_target(&exchanges, target);
                    let head =
                        std::fs::read_to_string(kept.path().join(format!("head{place}"))).unwrap();
                    let got: Vec<_> = head
                        .lines()
                        .filter_map(|line| line.split_once(": "))
                        .map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .collect();
                    assert_eq!(fields(exchange, "/response/headers"), got);
                }
            }
        }
    });
}

/// The one exchange with this target.
fn by_target<'a>(exchanges: &'a [Exchange], target: &str) -> &'a Exchange {
    let mut found = exchanges.iter().filter(|e| e.target() == target);
    let exchange = found
        .next()
        .unwrap_or_else(|| panic!("{target} is not there"));
    assert!(found.next().is_none(), "{target} is there twice");
    exchange
}

fn sorted(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    fields.sort();
    fields
}

/// Trailers of either direction, and what comes before the response.
#[test]
fn trailers_and_interim_responses() {
    needs!("node", "nghttp", "nghttpd", "curl", "openssl");
    let docroot = Docroot::new(&[0, 35, 70_000]);
    both(|certificate| {
        let server = h2::node(&docroot, certificate);
        let url = server.url();
        let file = docroot.path().join("70000.bin");
        let script = format!(
            "set -e
            nghttp -ny '{url}/interim/35.bin' '{url}/trailers/0.bin' '{url}/trailers/70000.bin'
            nghttp -ny --trailer 'x-end: 1' --trailer 'x-other: two' -d {} '{url}/echo/a'",
            file.display()
        );
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script]);
        let expected = [
            Expected::get("/interim/35.bin", docroot.content("35.bin")),
            Expected::get("/trailers/0.bin", docroot.content("0.bin")),
            Expected::get("/trailers/70000.bin", docroot.content("70000.bin")),
            Expected::echo("/echo/a", docroot.content("70000.bin")),
        ];
        let (of_client, of_server) = check(&server, &shell, &expected, &[]);
        for exchanges in [of_client.of_role("client"), of_server.of_role("server")] {
            assert_http2("either", &exchanges, &server);
            let of = |target: &str, pointer: &str| fields(by_target(&exchanges, target), pointer);
            let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let trailers = "/response/trailers";
            assert_eq!(of("/trailers/0.bin", trailers), [pair("x-length", "0")]);
            assert_eq!(
                of("/trailers/70000.bin", trailers),
                [pair("x-length", "70000")]
            );
            let sent = [pair("x-end", "1"), pair("x-other", "two")];
            assert_eq!(of("/echo/a", "/request/trailers"), sent);
            assert_eq!(of("/echo/a", trailers), sent);
            let interim = by_target(&exchanges, "/interim/35.bin");
            assert_eq!(
                interim.number("/response/interim/0/status"),
                Some(103),
                "{}",
                short(interim)
            );
        }
    });
}

/// 1,000 streams on 10 connections, of which h2load opens 100 at a time, at a
/// server that answers none of a connection's before it has all 100.
#[test]
fn a_thousand_at_once_on_ten_connections() {
    needs!("node", "nghttpd", "h2load", "openssl");
    let docroot = Docroot::new(&[1000]);
    both(|certificate| {
        let late = h2::node(&docroot, certificate);
        let quick = h2::nghttpd(&docroot, certificate, &[]);
        for (server, target, content) in [
            (&late, "/late/100", b"/late/100".to_vec()),
            (&quick, "/1000.bin", docroot.content("1000.bin")),
        ] {
            let mut command = Command::new("h2load");
            command.args(["-n", "1000", "-c", "10", "-m", "100"]);
            command.arg(format!("{}{target}", server.url()));
            let of_server = Httpsniff::new()
                .json()
                .args(["--pid", &server.pid().to_string()])
                .start();
            let of_client = Httpsniff::new().json().run(&command).success();
            let of_server = of_server.stop().success();
            for (view, exchanges) in [
                ("client's view", of_client.of_role("client")),
                ("server's view", of_server.of_role("server")),
            ] {
                assert_eq!(exchanges.len(), 1000, "{view}: {}", of_server.stderr);
                assert_http2(view, &exchanges, server);
                let mut connections = std::collections::HashMap::<_, usize>::new();
                for exchange in &exchanges {
                    assert_eq!(exchange.text("/state"), "complete", "{}", short(exchange));
                    assert_eq!(exchange.target(), target);
                    assert_eq!(exchange.number("/response/status"), Some(200));
                    assert!(exchange.body("response").unwrap() == content, "{view}");
                    *connections
                        .entry(exchange.number("/connection"))
                        .or_default() += 1;
                }
                assert_eq!(connections.len(), 10, "{view}");
                assert!(
                    connections.values().all(|count| *count == 100),
                    "{connections:?}"
                );
            }
        }
    });
}

/// What a server says for `/headers`, and a client of ours for a line.
pub(crate) type Pairs = Vec<(String, String)>;

/// httpsniff begins when a connection has had requests whose fields are in the
/// tables; whatever it shows then is right or a placeholder.
pub(crate) fn joins(server: &Server, client: Client, certificate: Option<&Certificate>) {
    let mut process = Process::spawn(&mut client.ours("lines", server, certificate));
    let ask = |process: &mut Process, number: usize| -> (Pairs, Pairs) {
        // What stays the same, what has been before, and what is new.
        let line = format!(
            "GET\t/headers?{number}\tx-same\tsame-value\tx-turn\t{}\tx-number\tnumber-{number}",
            number % 3
        );
        process.send(&line);
        let got: serde_json::Value = serde_json::from_str(&process.line()).unwrap();
        let request = serde_json::from_str(got["body"].as_str().unwrap()).unwrap();
        (
            request,
            serde_json::from_value(got["fields"].clone()).unwrap(),
        )
    };
    for number in 0..5 {
        ask(&mut process, number);
    }
    let pids = format!("{},{}", process.pid(), server.pid());
    let watch = Httpsniff::new().json().args(["--pid", &pids]).start();
    let truth: Vec<_> = (5..15).map(|number| ask(&mut process, number)).collect();
    process.finish();
    let outcome = watch.stop().success();
    for role in ["client", "server"] {
        let view = format!("{client:?}, {role}'s view");
        let exchanges = outcome.of_role(role);
        assert_eq!(exchanges.len(), truth.len(), "{view}: {}", outcome.stderr);
        let mut streams: Vec<_> = exchanges.iter().map(|e| (e.number("/stream"), e)).collect();
        streams.sort_by_key(|(stream, _)| *stream);
        let mut placeholders = 0;
        for (number, ((_, exchange), (request, response))) in streams.iter().zip(&truth).enumerate()
        {
            let view = format!("{view}, {number}: {}", short(exchange));
            for (pointer, truth) in [
                ("/request/headers", request),
                ("/response/headers", response),
            ] {
                placeholders += assert_right_or_unknown(&view, &fields(exchange, pointer), truth);
            }
            let target = exchange.target();
            let should = format!("/headers?{}", number + 5);
            assert!(target == should || target.starts_with("<unknown"), "{view}");
            let method = exchange.text("/request/method");
            assert!(method == "GET" || method.starts_with("<unknown"), "{view}");
            assert_eq!(exchange.number("/response/status"), Some(200), "{view}");
            let body: Pairs = serde_json::from_slice(&exchange.body("response").unwrap()).unwrap();
            assert_eq!(&body, request, "{view}");
        }
        eprintln!("{view}: {placeholders} placeholders");
    }
}

/// Each field is what was sent, or says that it is not known. Gives how many
/// do that.
pub(crate) fn assert_right_or_unknown(view: &str, seen: &Pairs, truth: &Pairs) -> usize {
    let unknown = |text: &str| text.starts_with("<unknown");
    let mut left = truth.clone();
    let mut placeholders = 0;
    for (name, value) in seen {
        if unknown(name) || unknown(value) {
            placeholders += 1;
            continue;
        }
        let place = left.iter().position(|(n, v)| n == name && v == value);
        let place = place.unwrap_or_else(|| panic!("{name}: {value} was not sent: {view}"));
        left.swap_remove(place);
    }
    assert!(left.len() <= placeholders, "{left:?} is missing: {view}");
    placeholders
}

#[test]
fn a_join_in_the_middle() {
    needs!("node", "openssl", "go");
    needs_module!("httpx");
    let docroot = Docroot::new(&[1]);
    both(|certificate| {
        let server = h2::node(&docroot, certificate);
        joins(&server, Client::Node, certificate);
        joins(&server, Client::Httpx, certificate);
        if certificate.is_some() || go_in_clear() {
            let server = h2::go(&docroot, certificate);
            joins(&server, Client::Go, certificate);
        }
    });
}
