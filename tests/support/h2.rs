//! Servers and clients that speak HTTP/2, and what must hold of every exchange
//! of theirs.

use std::collections::HashSet;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use super::exchange::{Exchange, short};
use super::files::{Certificate, Docroot, folder};
use super::process::{Process, eventually};
use super::servers::{Nginx, Server, free_port, program};
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
    let port = free_port();
    let mut command = Command::new(find("nghttpx").unwrap());
    command.args(["--conf=/dev/null", "--workers=1", "--single-process"]);
    command.arg(format!("--frontend=127.0.0.1,{port};no-tls"));
    command.arg(format!("--backend=127.0.0.1,{};;proto=h2", before.port()));
    nghttp2("nghttpx accepts", port, "http", &mut command)
}

/// `tests/live/programs/h2_node.js`.
pub(crate) fn node(docroot: &Docroot, certificate: Option<&Certificate>) -> Server {
    let mut command = Command::new("node");
    command.arg(program("h2_node.js")).arg("serve");
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

/// A client program. Each has its answers in files `0`, `1`, … of its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// curl: one connection and one stream after the other inside TLS, a
    /// connection for each in clear (curl 7.88 cannot use such a one again).
    Curl,
    /// curl, all at once.
    CurlAtOnce,
    /// node's http2, all at once on a connection.
    Node,
}

impl Client {
    fn ours(self, mode: &str, certificate: Option<&Certificate>) -> Command {
        let mut command = match self {
            Self::Node => Command::new("node"),
            Self::Curl | Self::CurlAtOnce => panic!("{self:?} is not ours"),
        };
        command.arg(program("h2_node.js"));
        command.arg(mode);
        if let Some(certificate) = certificate {
            command.arg("--cafile").arg(certificate.path());
        }
        command
    }

    /// Gets the targets.
    pub(crate) fn get(
        self,
        server: &Server,
        targets: &[String],
        kept: &Path,
        certificate: Option<&Certificate>,
    ) -> Command {
        let mut command = match self {
            Self::Curl | Self::CurlAtOnce => {
                let mut urls = Command::new("sh");
                urls.args(["-c", LOOP, "sh"]);
                if certificate.is_some() {
                    urls = curl(certificate);
                    if self == Self::CurlAtOnce {
                        urls.arg("--parallel");
                    }
                }
                for (number, target) in targets.iter().enumerate() {
                    if certificate.is_some() {
                        urls.arg("-o").arg(number.to_string());
                    }
                    urls.arg(format!("{}{target}", server.url()));
                }
                urls
            }
            Self::Node => {
                let mut command = self.ours("get", certificate);
                command.arg(server.url()).args(targets);
                command
            }
        };
        command.current_dir(kept);
        command
    }

    /// Posts files of the docroot to `/echo/NAME`.
    pub(crate) fn post(
        self,
        server: &Server,
        docroot: &Docroot,
        kept: &Path,
        certificate: Option<&Certificate>,
    ) -> Command {
        let names = docroot.names();
        let mut command = match self {
            Self::Curl | Self::CurlAtOnce if certificate.is_none() => {
                let mut command = Command::new("sh");
                command.args(["-c", LOOP_POST, "sh"]);
                command.arg(server.url()).arg(docroot.path()).args(names);
                command
            }
            Self::Curl | Self::CurlAtOnce => {
                let mut command = Command::new("curl");
                for (number, name) in names.iter().enumerate() {
                    if number > 0 {
                        command.arg("--next");
                    }
                    command.args(curl(certificate).get_args());
                    if self == Self::CurlAtOnce && number == 0 {
                        command.arg("--parallel");
                    }
                    command.arg("--data-binary");
                    command.arg(format!("@{}", docroot.path().join(name).display()));
                    command.arg("-o").arg(number.to_string());
                    command.arg(format!("{}/echo/{name}", server.url()));
                }
                command
            }
            Self::Node => {
                let mut command = self.ours("post", certificate);
                command.arg(server.url()).arg(docroot.path()).args(names);
                command
            }
        };
        command.current_dir(kept);
        command
    }
}

/// A curl for each URL.
const LOOP: &str = r#"i=0; for url; do
curl -q -sS --fail --http2-prior-knowledge --noproxy '*' -o $i "$url" || exit
i=$((i + 1)); done"#;
/// A curl for each name: URL FOLDER NAME...
const LOOP_POST: &str = r#"i=0; url=$1 from=$2; shift 2; for name; do
curl -q -sS --fail --http2-prior-knowledge --noproxy '*' --data-binary @"$from/$name" -o $i "$url/echo/$name" || exit
i=$((i + 1)); done"#;

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
/// went. Of `connections`, if that is known.
pub(crate) fn assert_http2(
    view: &str,
    exchanges: &[Exchange],
    server: &Server,
    connections: Option<usize>,
) {
    let mut streams = HashSet::new();
    let mut seen = HashSet::new();
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
        seen.insert(connection);
    }
    if let Some(connections) = connections {
        assert_eq!(seen.len(), connections, "{view}");
    }
}

/// Header fields of `request` or `response`.
pub(crate) fn fields(exchange: &Exchange, pointer: &str) -> Vec<(String, String)> {
    serde_json::from_value(exchange.0.pointer(pointer).unwrap().clone()).unwrap()
}
