//! Real clients. Each fetches targets and keeps what it got in files, so that
//! httpsniff can be compared with both ends.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use super::files::Certificate;
use super::limit;
use super::process::{collect, wait};
use super::servers::{PERL, PYTHON, program};

/// A client program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// curl, HTTP/1.1, one connection.
    Curl,
    /// wget, clear text only: Debian's links GnuTLS.
    Wget,
    /// Python's urllib, a connection for each request.
    Urllib,
    /// Python's asyncio streams, one connection; TLS through memory BIOs.
    Asyncio,
    /// node's http and https with a keep-alive agent; TLS through memory BIOs.
    Node,
    /// Ruby's net/http, one connection.
    Ruby,
    /// Perl's HTTP::Tiny on IO::Socket::SSL.
    Perl,
    /// PHP's streams, a connection for each request.
    Php,
}

impl Client {
    /// A command that gets each target below `url` into a file of `folder`:
    /// `0`, `1`, … in the order of the targets.
    pub(crate) fn get(
        self,
        url: &str,
        targets: &[String],
        folder: &Path,
        certificate: Option<&Certificate>,
    ) -> Command {
        let mut command = match self {
            Self::Curl => curl(certificate),
            Self::Wget => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", r#"i=0; for url; do wget -q --no-config -O $i "$url" || exit; i=$((i + 1)); done"#, "sh"]);
                command
            }
            Self::Urllib => python("fetch_urllib.py", certificate),
            Self::Asyncio => python("fetch_asyncio.py", certificate),
            Self::Node => script("node", "fetch_node.js", certificate),
            Self::Ruby => script("ruby", "fetch_ruby.rb", certificate),
            Self::Perl => script(PERL, "fetch_perl.pl", certificate),
            Self::Php => script("php", "fetch_php.php", certificate),
        };
        command.current_dir(folder);
        for (number, target) in targets.iter().enumerate() {
            if self == Self::Curl {
                command.arg("-o").arg(number.to_string());
            }
            command.arg(format!("{url}{target}"));
        }
        command
    }

    /// A command that posts files of `from` to `url` and their names, and
    /// keeps the answers in files of `folder`: `0`, `1`, … in their order.
    pub(crate) fn post(
        self,
        url: &str,
        from: &Path,
        names: &[String],
        folder: &Path,
        certificate: Option<&Certificate>,
    ) -> Command {
        let mut command = match self {
            Self::Curl => Command::new("curl"),
            Self::Urllib => python("fetch_urllib.py", certificate),
            Self::Node => script("node", "fetch_node.js", certificate),
            Self::Ruby => script("ruby", "fetch_ruby.rb", certificate),
            Self::Perl => script(PERL, "fetch_perl.pl", certificate),
            Self::Php => script("php", "fetch_php.php", certificate),
            Self::Wget | Self::Asyncio => panic!("{self:?} does not post here"),
        };
        command.current_dir(folder);
        if self != Self::Curl {
            command.arg("--post").arg(from);
        }
        for (number, name) in names.iter().enumerate() {
            if self == Self::Curl {
                if number > 0 {
                    command.arg("--next");
                }
                command.args(curl(certificate).get_args());
                command.args(["-H", "Content-Type: application/octet-stream"]);
                command.arg("--data-binary");
                command.arg(format!("@{}", from.join(name).display()));
                command.arg("-o").arg(number.to_string());
            }
            command.arg(format!("{url}{name}"));
        }
        command
    }
}

/// curl without its configuration file, failing on HTTP errors.
pub(crate) fn curl(certificate: Option<&Certificate>) -> Command {
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "--fail", "--http1.1", "--noproxy", "*"]);
    if let Some(certificate) = certificate {
        command.arg("--cacert").arg(certificate.path());
    }
    command
}

fn python(name: &str, certificate: Option<&Certificate>) -> Command {
    script(PYTHON, name, certificate)
}

/// A client of ours in some language.
fn script(interpreter: &str, name: &str, certificate: Option<&Certificate>) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(program(name));
    if let Some(certificate) = certificate {
        command.arg("--cafile").arg(certificate.path());
    }
    command
}

/// Runs a command to its end and panics unless it succeeds in time; its stdout.
pub(crate) fn run(command: &mut Command) -> String {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child, limit() * 3);
    let text =
        |bytes: JoinHandle<Vec<u8>>| String::from_utf8_lossy(&bytes.join().unwrap()).into_owned();
    assert!(
        status.is_some_and(|status| status.success()),
        "{command:?}: {status:?} (None: not in time): {}",
        text(stderr)
    );
    text(stdout)
}
