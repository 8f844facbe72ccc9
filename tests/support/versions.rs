//! OpenSSL in the versions that are here: this machine's own, and those that
//! `scripts/tls-fetch.sh` has unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::skip::find;

/// Where Debian has libraries.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// An OpenSSL.
#[derive(Clone, Debug)]
pub(crate) struct OpenSsl {
    /// `1.1.1`, or `3.0` for this machine's.
    pub(crate) version: &'static str,
    /// Root of the files it came with; `/` for this machine's.
    root: PathBuf,
}

impl OpenSsl {
    /// This machine's own.
    pub(crate) fn own() -> Self {
        Self {
            version: "3.0",
            root: "/".into(),
        }
    }

    /// One that was unpacked; an error says why there is none.
    pub(crate) fn unpacked(version: &'static str) -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/tls")
            .join(format!("openssl-{version}"));
        if root.join(".unpacked").exists() {
            Ok(Self { version, root })
        } else {
            Err(format!(
                "OpenSSL {version} is not unpacked (scripts/tls-fetch.sh)"
            ))
        }
    }

    /// Its libssl.
    pub(crate) fn libssl(&self) -> PathBuf {
        let folder = self.root.join(LIBRARIES);
        ["libssl.so.4", "libssl.so.3", "libssl.so.1.1"]
            .iter()
            .map(|name| folder.join(name))
            .find(|path| path.exists())
            .unwrap_or_else(|| panic!("no libssl in {}", folder.display()))
    }

    /// A command that runs a program of this machine or of the version with
    /// the version's libraries, through its own loader if it came with one.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let folder = self.root.join(LIBRARIES);
        let loader = folder.join("ld-linux-x86-64.so.2");
        if self.root == Path::new("/") {
            return Command::new(program);
        }
        if !loader.exists() {
            let mut command = Command::new(program);
            command.env("LD_LIBRARY_PATH", folder);
            return command;
        }
        let mut command = Command::new(loader);
        command.arg("--library-path").arg(folder).arg(program);
        command
    }

    /// Its own program `openssl`.
    pub(crate) fn openssl(&self) -> Command {
        if self.root == Path::new("/") {
            return Command::new(find("openssl").unwrap());
        }
        let mut command = self.command(&self.root.join("usr/bin/openssl"));
        // That of another version may name what this one has not.
        command.env("OPENSSL_CONF", "/dev/null");
        command
    }
}
