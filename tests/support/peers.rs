//! The small HTTP client and server of `tests/live/programs/tls`, on each TLS
//! library that Debian has.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use super::clients::run;
use super::exchange::Expected;
use super::files::{Certificate, Docroot, folder};
use super::process::Process;
use super::servers::{Server, program};

/// A TLS library that the program is linked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    GnuTls,
    Nss,
    WolfSsl,
    MbedTls,
    /// Mbed TLS in the program, which is linked statically.
    MbedTlsStatic,
}

impl Peer {
    /// The name of its source in JSON.
    pub(crate) fn source(self) -> &'static str {
        match self {
            Self::GnuTls => "gnutls",
            Self::Nss => "nss",
            Self::WolfSsl => "wolfssl",
            Self::MbedTls | Self::MbedTlsStatic => "mbedtls",
        }
    }

    /// Name and version of the library by its headers, as in `tls.library`.
    pub(crate) fn library(self) -> String {
        let (name, file, mark) = match self {
            Self::GnuTls => ("GnuTLS", "gnutls/gnutls.h", "GNUTLS_VERSION \""),
            Self::Nss => ("NSS", "nss/nss.h", "NSS_VERSION \""),
            Self::WolfSsl => (
                "wolfSSL",
                "wolfssl/version.h",
                "LIBWOLFSSL_VERSION_STRING \"",
            ),
            Self::MbedTls => (
                "Mbed TLS",
                "mbedtls/version.h",
                "MBEDTLS_VERSION_STRING         \"",
            ),
            // The text is linked in only where somebody asks for it.
            Self::MbedTlsStatic => return "Mbed TLS".to_owned(),
        };
        let text = std::fs::read(Path::new("/usr/include").join(file)).unwrap();
        let text = String::from_utf8_lossy(&text);
        let (_, rest) = text.split_once(mark).unwrap();
        let version = rest.split(['"', ' ']).next().unwrap();
        format!("{name} {version}")
    }

    /// Why it cannot be built here, if so.
    pub(crate) fn missing(self) -> Option<String> {
        let header = match self {
            Self::GnuTls => "gnutls/gnutls.h",
            Self::Nss => "nss/ssl.h",
            Self::WolfSsl => "wolfssl/ssl.h",
            Self::MbedTls | Self::MbedTlsStatic => "mbedtls/ssl.h",
        };
        let header = Path::new("/usr/include").join(header);
        (!header.exists())
            .then(|| format!("there is no {} (scripts/setup.sh test)", header.display()))
    }

    /// The program, built the first time that it is asked for.
    pub(crate) fn program(self) -> PathBuf {
        static BUILT: Mutex<Vec<Peer>> = Mutex::new(Vec::new());
        let (source, flags): (_, &[&str]) = match self {
            Self::GnuTls => ("gnutls.c", &["-lgnutls"]),
            Self::Nss => (
                "nss.c",
                &[
                    "-I/usr/include/nss",
                    "-I/usr/include/nspr",
                    "-lssl3",
                    "-lnss3",
                    "-lnspr4",
                ],
            ),
            Self::WolfSsl => ("wolfssl.c", &["-lwolfssl"]),
            Self::MbedTls => ("mbedtls.c", &["-lmbedtls", "-lmbedx509", "-lmbedcrypto"]),
            Self::MbedTlsStatic => (
                "mbedtls.c",
                &["-static", "-lmbedtls", "-lmbedx509", "-lmbedcrypto"],
            ),
        };
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peer-{self:?}"));
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        if !built.contains(&self) {
            build(&place, source, flags);
            built.push(self);
        }
        place
    }

    /// A server of the docroot's files that echoes POST.
    pub(crate) fn serve(self, style: &str, docroot: &Docroot, certificate: &Certificate) -> Server {
        let folder = folder();
        let mut command = Command::new(self.program());
        command.args(["server", style]);
        if self == Self::Nss {
            nss_database(certificate, folder.path());
            command.arg(folder.path()).arg("localhost");
        } else {
            command.arg(certificate.path()).arg(certificate.key());
        }
        command.arg(docroot.path());
        let mut process = Process::spawn(&mut command);
        let address = format!("127.0.0.1:{}", process.line());
        Server::of(process, address, "https", folder)
    }

    /// A client that is to be told what to get from `server`; it writes the
    /// answers to files of `kept`.
    pub(crate) fn client(
        self,
        style: &str,
        server: &Server,
        certificate: &Certificate,
        kept: &Path,
    ) -> Command {
        let mut command = Command::new(self.program());
        command.args(["client", style]).arg(certificate.path());
        command.arg(server.port().to_string());
        command.current_dir(kept);
        command
    }
}

/// What a client gets that asks for every file of the docroot.
pub(crate) fn gets(docroot: &Docroot) -> Vec<Expected> {
    let names = docroot.names().iter();
    names
        .map(|name| Expected::get(&format!("/{name}"), docroot.content(name)))
        .collect()
}

/// What a client gets that posts every file of the docroot.
pub(crate) fn echoes(docroot: &Docroot) -> Vec<Expected> {
    let names = docroot.names().iter();
    names
        .map(|name| Expected::echo(&format!("/{name}"), docroot.content(name)))
        .collect()
}

/// Makes a database of NSS with the certificate as `localhost`.
pub(crate) fn nss_database(certificate: &Certificate, at: &Path) {
    let bundle: TempDir = folder();
    let bundle = bundle.path().join("bundle.p12");
    run(Command::new("openssl")
        .args([
            "pkcs12",
            "-export",
            "-name",
            "localhost",
            "-passout",
            "pass:",
        ])
        .arg("-in")
        .arg(certificate.path())
        .arg("-inkey")
        .arg(certificate.key())
        .arg("-out")
        .arg(&bundle));
    let database = format!("sql:{}", at.display());
    run(Command::new("certutil").args(["-N", "--empty-password", "-d", &database]));
    run(Command::new("pk12util")
        .args(["-W", "", "-d", &database, "-i"])
        .arg(&bundle));
}

/// Builds in another place first: tests of another run may be using it.
fn build(place: &Path, source: &str, flags: &[&str]) {
    let sources = program("tls");
    let fresh = place.with_extension(std::process::id().to_string());
    run(Command::new("gcc")
        .args(["-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-o"])
        .arg(&fresh)
        .arg(sources.join("peer.c"))
        .arg(sources.join(source))
        .args(flags));
    std::fs::rename(&fresh, place).unwrap();
}
