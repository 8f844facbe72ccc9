//! Servers and clients that are built for these tests: on rustls and on
//! BoringSSL, and of gRPC (`scripts/peers.sh`).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::files::{Certificate, Docroot, folder};
use super::process::Process;
use super::servers::Server;

/// Ends the test here unless it runs as root, each program is installed, and
/// the peers are built.
macro_rules! needs_peers {
    ($($program:literal),* $(,)?) => {
        crate::support::skip::needs!($($program),*);
        if let Some(reason) = crate::support::rust::missing() {
            fn here() {}
            crate::support::skip::skipped(std::any::type_name_of_val(&here), &reason);
            return;
        }
    };
}
pub(crate) use needs_peers;

/// What has not been built, if anything.
pub(crate) fn missing() -> Option<String> {
    [
        "release/boringssl_shared",
        "release/boringssl_static",
        "release/grpc_tonic",
        "release/h2_reqwest",
        "release/rustls21",
        "debug/rustls_stream",
        "debug/rustls_tokio",
    ]
    .into_iter()
    .find(|name| !path(name).exists())
    .map(|name| format!("target/peers/{name} is not built (scripts/peers.sh)"))
}

/// The program, with its profile: `release/rustls21`.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/peers")
        .join(name)
}

/// Serves the files of a docroot and echoes posts, as `servers::python` does.
/// `environment` may say `PEER_TLS=1.2`.
pub(crate) fn serve(
    program: &Path,
    docroot: &Docroot,
    certificate: &Certificate,
    environment: &[(&str, &str)],
) -> Server {
    let mut command = Command::new(program);
    command.arg(docroot.path()).args(["127.0.0.1", "0"]);
    command.arg(certificate.path()).arg(certificate.key());
    command.envs(environment.iter().copied());
    let mut process = Process::spawn(&mut command);
    let port = process.line();
    Server {
        process,
        address: format!("127.0.0.1:{port}"),
        scheme: "https",
        _folder: folder(),
    }
}

/// A command that gets each target below `url`, or posts the files of `post`
/// that they name, and keeps the answers in files of `folder`: `0`, `1`, …
pub(crate) fn fetch(
    program: &Path,
    url: &str,
    targets: &[String],
    post: Option<&Path>,
    folder: &Path,
    certificate: &Certificate,
) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .arg("--cafile")
        .arg(certificate.path());
    if let Some(from) = post {
        command.arg("--post").arg(from);
    }
    command.args(targets.iter().map(|target| format!("{url}{target}")));
    command
}
