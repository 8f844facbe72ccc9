//! Folders, files with known content, certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Sizes of bodies at which something changes: nothing, one byte, around the
/// largest TLS record (16,384 bytes), and many records.
pub(crate) const SIZES: [usize; 6] = [0, 1, 16_383, 16_384, 16_385, 1 << 20];

/// A temporary folder that other users can look into.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("httpsniff-test-")
        .tempdir()
        .unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Bytes that look random and are the same in each run (xorshift64*).
pub(crate) fn random_bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A folder of files for servers to serve.
pub(crate) struct Docroot {
    folder: TempDir,
    names: Vec<String>,
}

impl Docroot {
    /// One file `SIZE.bin` for each of the sizes.
    pub(crate) fn new(sizes: &[usize]) -> Self {
        let mut docroot = Self {
            folder: folder(),
            names: Vec::new(),
        };
        for &size in sizes {
            docroot.add(&format!("{size}.bin"), &random_bytes(size, size as u64 + 1));
        }
        docroot
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join(name), content).unwrap();
        self.names.push(name.to_owned());
    }

    /// Where the files are.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Names of the files, in the order in which they were added.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// What the file holds.
    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }
}

/// A certificate for localhost that is its own authority, and its key.
pub(crate) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Makes one by the openssl program.
    pub(crate) fn new() -> Self {
        let folder = folder();
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=localhost", "-addext"])
            .arg("subjectAltName=DNS:localhost,DNS:*.example.test,IP:127.0.0.1,IP:::1")
            .arg("-keyout")
            .arg(folder.path().join("key.pem"))
            .arg("-out")
            .arg(folder.path().join("cert.pem"))
            .output()
            .unwrap();
        assert!(output.status.success(), "openssl req: {output:?}");
        // Servers that drop root read it too; it guards nothing.
        let open = fs::Permissions::from_mode(0o644);
        fs::set_permissions(folder.path().join("key.pem"), open).unwrap();
        Self { folder }
    }

    /// The certificate's file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The key's file.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}
