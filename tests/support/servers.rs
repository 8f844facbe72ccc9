//! Real servers on loopback, ready when their constructor returns.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use super::files::{Certificate, Docroot, folder};
use super::golang::{self, Build};
use super::process::{Process, eventually};
use super::skip::find;
use super::versions::OpenSsl;

/// Debian's own Python, which uses the system's OpenSSL; another one found
/// first in `PATH` may have been built with something else.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// Debian's own Perl, which has Debian's IO::Socket::SSL.
pub(crate) const PERL: &str = "/usr/bin/perl";

/// A program of `tests/live/programs`.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/live/programs")
        .join(name)
}

/// A loopback port that nobody listens on: below the range that the kernel
/// gives to clients, another one at each call.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = u16::try_from(std::process::id() % 15_000).unwrap();
        let port = 12_000 + (start + step) % 18_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A server of any kind.
pub(crate) struct Server {
    /// Its process.
    pub(crate) process: Process,
    /// Its address, `127.0.0.1:8080` or `[::1]:8080`.
    pub(crate) address: String,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Holds what it needs while it runs.
    pub(crate) _folder: TempDir,
}

impl Server {
    /// One that has been started elsewhere and needs `folder`.
    pub(crate) fn of(
        process: Process,
        address: String,
        scheme: &'static str,
        folder: TempDir,
    ) -> Self {
        Self {
            process,
            address,
            scheme,
            _folder: folder,
        }
    }

    /// `https://localhost:8443`, or the address for IPv6.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }
}

fn scheme(certificate: Option<&Certificate>) -> &'static str {
    if certificate.is_some() {
        "https"
    } else {
        "http"
    }
}

/// What an nginx shall serve.
pub(crate) struct Nginx<'a> {
    /// Files.
    pub(crate) docroot: &'a Path,
    /// `127.0.0.1`, `[::1]`.
    pub(crate) host: &'a str,
    /// The port; a free one if `None`.
    pub(crate) port: Option<u16>,
    /// TLS if there is one.
    pub(crate) certificate: Option<&'a Certificate>,
    /// An address that `/proxied/` goes to.
    pub(crate) upstream: Option<&'a str>,
}

impl Nginx<'_> {
    /// One process, sendfile off.
    pub(crate) fn start(&self) -> Server {
        self.start_with("sendfile off;")
    }

    /// As [`start`](Self::start), with directives of its `http` block.
    pub(crate) fn start_with(&self, directives: &str) -> Server {
        self.listen_with("", directives)
    }

    /// As [`start_with`](Self::start_with), with parameters of `listen`.
    pub(crate) fn listen_with(&self, parameters: &str, directives: &str) -> Server {
        let folder = folder();
        let here = folder.path().display();
        let port = self.port.unwrap_or_else(free_port);
        let address = format!("{}:{port}", self.host);
        let mut config = String::new();
        writeln!(
            config,
            "daemon off; master_process off; user root; pid {here}/pid;"
        )
        .unwrap();
        writeln!(
            config,
            "error_log {here}/error.log; events {{ worker_connections 1024; }}"
        )
        .unwrap();
        writeln!(
            config,
            "http {{ access_log off; {directives} default_type application/octet-stream;"
        )
        .unwrap();
        writeln!(
            config,
            "keepalive_requests 1000000; client_max_body_size 64m;"
        )
        .unwrap();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(config, "{kind}_temp_path {here}/{kind};").unwrap();
        }
        let tls = if let Some(certificate) = self.certificate {
            let (cert, key) = (certificate.path(), certificate.key());
            writeln!(
                config,
                "ssl_certificate {}; ssl_certificate_key {};",
                cert.display(),
                key.display()
            )
            .unwrap();
            " ssl"
        } else {
            ""
        };
        writeln!(
            config,
            "server {{ listen {address}{tls} {parameters}; root {};",
            self.docroot.display()
        )
        .unwrap();
        if let Some(upstream) = self.upstream {
            writeln!(
                config,
                "location /proxied/ {{ proxy_pass http://{upstream}/; proxy_http_version 1.1; }}"
            )
            .unwrap();
        }
        writeln!(config, "}} }}").unwrap();
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();

        let mut command = Command::new(find("nginx").unwrap());
        command.arg("-c").arg(&file);
        let mut process = Process::spawn(&mut command);
        eventually("nginx accepts connections", || {
            if !process.is_running() {
                // Says what is wrong with its configuration.
                process.line();
            }
            TcpStream::connect(&address).is_ok()
        });
        Server {
            process,
            address,
            scheme: scheme(self.certificate),
            _folder: folder,
        }
    }
}

/// nginx on 127.0.0.1 with the files of a docroot.
pub(crate) fn nginx(docroot: &Docroot, certificate: Option<&Certificate>) -> Server {
    Nginx {
        docroot: docroot.path(),
        host: "127.0.0.1",
        port: None,
        certificate,
        upstream: None,
    }
    .start()
}

/// A Python program of ours that serves the files, echoes POST to `/echo…`, and
/// gives `/chunked/FILE` in chunks.
pub(crate) fn python(
    name: &str,
    docroot: &Docroot,
    host: &str,
    port: u16,
    certificate: Option<&Certificate>,
) -> Server {
    let mut command = Command::new(PYTHON);
    command.arg("-u").arg(program(name));
    command.arg(docroot.path()).arg(host).arg(port.to_string());
    if let Some(certificate) = certificate {
        command.arg(certificate.path()).arg(certificate.key());
    }
    let mut process = Process::spawn(&mut command);
    let port = process.line();
    let address = match host.strip_prefix("::ffff:") {
        Some(mapped) => format!("{mapped}:{port}"),
        None if host.contains(':') => format!("[{host}]:{port}"),
        None => format!("{host}:{port}"),
    };
    Server {
        process,
        address,
        scheme: scheme(certificate),
        _folder: folder(),
    }
}

/// A server of ours in some language, on 127.0.0.1 inside TLS: serves the files
/// and echoes POST.
pub(crate) fn runtime(
    interpreter: &str,
    name: &str,
    docroot: &Docroot,
    certificate: &Certificate,
) -> Server {
    let mut command = Command::new(interpreter);
    command.arg(program(name)).arg(docroot.path());
    command.arg(certificate.path()).arg(certificate.key());
    let mut process = Process::spawn(&mut command);
    let port = process.line();
    Server {
        process,
        address: format!("127.0.0.1:{port}"),
        scheme: "https",
        _folder: folder(),
    }
}

/// Python's http.server, a thread per connection.
pub(crate) fn http_server(docroot: &Docroot, certificate: Option<&Certificate>) -> Server {
    python("http_server.py", docroot, "127.0.0.1", 0, certificate)
}

/// Python's asyncio, whose TLS goes through memory BIOs.
pub(crate) fn asyncio(docroot: &Docroot, certificate: Option<&Certificate>) -> Server {
    python("asyncio_server.py", docroot, "127.0.0.1", 0, certificate)
}

/// `openssl s_server -WWW`: HTTP/1.0, bodies that end with the connection.
pub(crate) fn s_server(docroot: &Docroot, certificate: &Certificate) -> Server {
    s_server_of(&OpenSsl::own(), docroot, certificate)
}

/// As [`s_server`], of a version of OpenSSL.
pub(crate) fn s_server_of(
    openssl: &OpenSsl,
    docroot: &Docroot,
    certificate: &Certificate,
) -> Server {
    let mut command = openssl.openssl();
    command
        .args([
            "s_server",
            "-WWW",
            "-accept",
            "127.0.0.1:0",
            "-naccept",
            "1000000",
        ])
        .arg("-cert")
        .arg(certificate.path())
        .arg("-key")
        .arg(certificate.key())
        .current_dir(docroot.path());
    let mut process = Process::spawn(&mut command);
    let line = process.line_with("ACCEPT ");
    let address = line.trim_start_matches("ACCEPT ").trim().to_owned();
    Server {
        process,
        address,
        scheme: "https",
        _folder: folder(),
    }
}

/// Go's net/http inside TLS, as [`python`]; `arguments` follow.
pub(crate) fn go(
    build: Build,
    docroot: &Docroot,
    certificate: &Certificate,
    arguments: &[&str],
) -> Server {
    let mut command = Command::new(golang::web(build));
    command.arg("serve").arg(docroot.path());
    command.arg(certificate.path()).arg(certificate.key());
    command.args(arguments);
    let mut process = Process::spawn(&mut command);
    let port = process.line();
    Server {
        process,
        address: format!("localhost:{port}"),
        scheme: "https",
        _folder: folder(),
    }
}
