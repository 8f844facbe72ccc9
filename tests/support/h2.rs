//! Servers and clients that speak HTTP/2, and what must hold of every exchange
//! of theirs.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::TcpStream;
use std::process::Command;

use super::exchange::{Exchange, short};
use super::files::{Certificate, Docroot, folder};
use super::golang;
use super::process::{Process, eventually};
use super::rust;
use super::servers::{Nginx, PYTHON, Server, free_port, program};
use super::skip::find;

/// nginx with HTTP/2 only, in clear or inside TLS.
pub(crate) fn nginx(
    docroot: &Docroot,
    certificate: Option<&Certificate>,
    upstream: Option<&str>,
) -> Server {
    let nginx = Nginx {
        docroot: docroot.path(),
        host: "127.0.0.1",
        port: None,
        certificate,
        upstream,
    };
    // The buffer for a body that it passes on, and for large fields.
    nginx.listen_with(
        "http2",
        "sendfile off; client_body_buffer_size 2m; large_client_header_buffers 8 128k;",
    )
}

/// A server of nghttp2 that says nothing of itself: it is ready when it accepts.
fn nghttp2(name: &str, port: u16, scheme: &'static str, command: &mut Command) -> Server {
    let address = format!("127.0.0.1:{port}");
    let mut process = Process::spawn(command);
    eventually(name, || {
        if !process.is_running() {
            process.line();
        }
        TcpStream::connect(&address).is_ok()
    });
    Server::of(process, address, scheme, folder())
}

/// nghttpd with the files of a docroot; POST is echoed.
pub(crate) fn nghttpd(
    docroot: &Docroot,
    certificate: Option<&Certificate>,
    arguments: &[&str],
) -> Server {
    let port = free_port();
    let mut command = Command::new(find("nghttpd").unwrap());
    command.args(["-a", "127.0.0.1", "--echo-upload", "-d"]);
    command.arg(docroot.path()).args(arguments);
    let scheme = if let Some(certificate) = certificate {
        command.arg(port.to_string());
        command.arg(certificate.key()).arg(certificate.path());
        "https"
    } else {
        command.arg("--no-tls").arg(port.to_string());
        "http"
    };
    nghttp2("nghttpd accepts", port, scheme, &mut command)
}

/// nghttpx in clear, which takes upgrades to HTTP/2, before an HTTP/2 server
/// in clear.
pub(crate) fn nghttpx(before: &Server) -> Server {
    nghttpx_of(before, "h2", None, &[])
}

/// nghttpx before a server that speaks `protocol` (`h2`, `http/1.1`) in clear.
pub(crate) fn nghttpx_of(
    before: &Server,
    protocol: &str,
    certificate: Option<&Certificate>,
    arguments: &[&str],
) -> Server {
    let port = free_port();
    let mut command = Command::new(find("nghttpx").unwrap());
    command.args(["--conf=/dev/null", "--workers=1", "--single-process"]);
    command.arg(format!(
        "--backend=127.0.0.1,{};;proto={protocol}",
        before.port()
    ));
    command.args(arguments);
    let front = format!("--frontend=127.0.0.1,{port}");
    let scheme = if let Some(certificate) = certificate {
        command
            .arg(front)
            .arg(certificate.key())
            .arg(certificate.path());
        "https"
    } else {
        command.arg(front + ";no-tls");
        "http"
    };
    nghttp2("nghttpx accepts", port, scheme, &mut command)
}

/// `tests/live/programs/h2_node.js`.
pub(crate) fn node(docroot: &Docroot, certificate: Option<&Certificate>) -> Server {
    let mut command = Command::new("node");
    command.arg(program("h2_node.js")).arg("serve");
    serve(command, docroot, certificate)
}

/// `tests/live/programs/h2_ends.js`.
pub(crate) fn node_ends(docroot: &Docroot, certificate: Option<&Certificate>) -> Server {
    let mut command = Command::new("node");
    command.arg(program("h2_ends.js")).arg("serve");
    serve(command, docroot, certificate)
}

/// A server that is told docroot, certificate and key, and prints its port.
fn serve(mut command: Command, docroot: &Docroot, certificate: Option<&Certificate>) -> Server {
    command.arg(docroot.path());
    if let Some(certificate) = certificate {
        command.arg(certificate.path()).arg(certificate.key());
    }
    let mut process = Process::spawn(&mut command);
    let port = process.line();
    let scheme = if certificate.is_some() {
        "https"
    } else {
        "http"
    };
    Server::of(process, format!("localhost:{port}"), scheme, folder())
}

/// `tests/live/programs/h2.go`.
pub(crate) fn go(docroot: &Docroot, certificate: Option<&Certificate>) -> Server {
    let mut command = Command::new(golang::built("h2", golang::PLAIN));
    command.arg("serve");
    serve(command, docroot, certificate)
}

/// A client program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// curl: one connection and one stream after the other inside TLS, a
    /// connection for each in clear (curl 7.88 cannot use such a one again).
    Curl,
    /// curl, all at once; in clear as the other.
    CurlAtOnce,
    /// nghttp, with padding.
    Nghttp,
    /// node's http2, all at once on a connection.
    Node,
    /// Python's httpx and h2, one stream after the other.
    Httpx,
    /// Go's net/http, all at once on a connection.
    Go,
    /// reqwest on OpenSSL's library, all at once on a connection.
    ReqwestNative,
    /// reqwest on rustls, likewise.
    ReqwestRustls,
}

impl Client {
    /// Targets of the docroot's files that no other client asks for.
    pub(crate) fn targets(self, prefix: &str, docroot: &Docroot) -> Vec<String> {
        let names = docroot.names().iter();
        names
            .map(|name| format!("{prefix}{name}?{self:?}"))
            .collect()
    }

    /// Our program of a language, in a mode, with its URL.
    pub(crate) fn ours(
        self,
        mode: &str,
        server: &Server,
        certificate: Option<&Certificate>,
    ) -> Command {
        let mut command = match self {
            Self::Node => Command::new("node"),
            Self::Httpx => Command::new(PYTHON),
            Self::Go => Command::new(golang::built("h2", golang::PLAIN)),
            Self::ReqwestNative | Self::ReqwestRustls => {
                Command::new(rust::path("release/h2_reqwest"))
            }
            _ => panic!("{self:?} is not ours"),
        };
        match self {
            Self::Node => _ = command.arg(program("h2_node.js")),
            Self::Httpx => _ = command.arg(program("h2_httpx.py")),
            Self::ReqwestNative => _ = command.arg("native"),
            Self::ReqwestRustls => _ = command.arg("rustls"),
            _ => {}
        }
        command.arg(mode);
        if let Some(certificate) = certificate {
            command.arg("--cafile").arg(certificate.path());
        }
        command.arg(server.url());
        command
    }

    /// Whether it must be the command itself that is watched: a large program
    /// with a TLS of its own may be done with its talk before it is found
    /// behind a shell.
    pub(crate) const fn is_apart(self, certificate: Option<&Certificate>) -> bool {
        let has_its_own = matches!(
            self,
            Self::Node | Self::Go | Self::ReqwestNative | Self::ReqwestRustls
        );
        certificate.is_some() && has_its_own
    }

    /// Our program that gets (`get`) or posts (`post`) the docroot's files.
    pub(crate) fn command(
        self,
        mode: &str,
        prefix: &str,
        server: &Server,
        docroot: &Docroot,
        certificate: Option<&Certificate>,
    ) -> Command {
        let mut command = self.ours(mode, server, certificate);
        if mode == "post" {
            command.arg(docroot.path());
        }
        command.args(self.targets(prefix, docroot));
        command
    }

    /// Lines for a shell, in which every file of the docroot is got into
    /// `CLIENT/get/0`, `1`, … and, with `posts`, posted to `/echo/` with the
    /// answers in `CLIENT/post/`.
    pub(crate) fn script(
        self,
        server: &Server,
        docroot: &Docroot,
        certificate: Option<&Certificate>,
        posts: bool,
    ) -> String {
        let mut script = String::new();
        for (mode, prefix) in [("get", "/"), ("post", "/echo/")] {
            if mode == "post" && !posts {
                break;
            }
            writeln!(script, "mkdir -p {self:?}/{mode}; cd {self:?}/{mode}").unwrap();
            let targets = self.targets(prefix, docroot);
            let from = docroot.path().display();
            match self {
                Self::Curl | Self::CurlAtOnce => {
                    let curl = line(&curl(certificate));
                    let mut next = curl.clone();
                    if self == Self::CurlAtOnce && certificate.is_some() {
                        next.push_str(" --parallel");
                    }
                    let once = certificate.is_some();
                    for (number, target) in targets.iter().enumerate() {
                        let url = format!("{}{target}", server.url());
                        write!(script, "{next} -o {number} '{url}'").unwrap();
                        if mode == "post" {
                            let name = &docroot.names()[number];
                            write!(script, " --data-binary @{from}/{name}").unwrap();
                        }
                        if once && number + 1 < targets.len() {
                            script.push_str(" --next");
                            next = curl.trim_start_matches("curl ").to_owned();
                            next.insert(0, ' ');
                        } else {
                            script.push('\n');
                        }
                    }
                }
                Self::Nghttp => {
                    for (number, target) in targets.iter().enumerate() {
                        let url = format!("{}{target}", server.url());
                        let data = if mode == "post" {
                            format!("-d {from}/{}", docroot.names()[number])
                        } else {
                            String::new()
                        };
                        writeln!(script, "nghttp -y -b 200 {data} '{url}' > {number}").unwrap();
                    }
                }
                _ => {
                    let command = self.command(mode, prefix, server, docroot, certificate);
                    writeln!(script, "{}", line(&command)).unwrap();
                }
            }
            script.push_str("cd ../..\n");
        }
        script
    }
}

/// A command as a shell takes it.
fn line(command: &Command) -> String {
    let mut words = vec![command.get_program()];
    words.extend(command.get_args());
    let quoted = words.iter().map(|word| {
        let word = word.to_str().unwrap();
        if word == "curl" {
            word.to_owned()
        } else {
            format!("'{word}'")
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// curl that speaks HTTP/2: by prior knowledge in clear.
pub(crate) fn curl(certificate: Option<&Certificate>) -> Command {
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "--fail", "--noproxy", "*"]);
    match certificate {
        Some(certificate) => command
            .arg("--http2")
            .arg("--cacert")
            .arg(certificate.path()),
        None => command.arg("--http2-prior-knowledge"),
    };
    command
}

/// Panics unless each is HTTP/2's, on a stream of its own, and says where it
/// went.
pub(crate) fn assert_http2(view: &str, exchanges: &[Exchange], server: &Server) {
    let mut streams = HashSet::new();
    for exchange in exchanges {
        for (pointer, should) in [
            ("/protocol", "HTTP/2"),
            ("/request/version", "HTTP/2"),
            ("/response/version", "HTTP/2"),
            ("/request/scheme", server.scheme),
            ("/request/host", &server.address),
            (
                "/request/url",
                &format!("{}{}", server.url(), exchange.target()),
            ),
        ] {
            assert_eq!(
                exchange.text(pointer),
                should,
                "{view}: {}",
                short(exchange)
            );
        }
        let stream = exchange.number("/stream").unwrap();
        let connection = exchange.number("/connection").unwrap();
        assert_eq!(stream % 2, 1, "{view}: {}", short(exchange));
        assert!(
            streams.insert((connection, stream)),
            "{view}: {}",
            short(exchange)
        );
    }
}

/// Header fields of `request` or `response`.
pub(crate) fn fields(exchange: &Exchange, pointer: &str) -> Vec<(String, String)> {
    serde_json::from_value(exchange.0.pointer(pointer).unwrap().clone()).unwrap()
}
