//! Real containers: Podman with programs of this machine and its network, so
//! that no image is needed.

use std::process::Command;

use tempfile::TempDir;

use super::cgroups::unique;
use super::files::{Certificate, folder};

/// A name for containers, and what they need. What is left of them is removed
/// when it is dropped.
pub(crate) struct Podman {
    /// What they are called.
    pub(crate) name: String,
    root: TempDir,
}

impl Podman {
    /// An error is the reason why Podman cannot run containers here.
    pub(crate) fn new(certificate: &Certificate) -> Result<Self, String> {
        let root = folder();
        for name in ["bin", "lib", "lib64", "sbin"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
        }
        std::fs::copy(certificate.path(), root.path().join("cert.pem")).unwrap();
        let podman = Self {
            name: format!("web-{}", unique()),
            root,
        };
        let output = podman.run(&Command::new("/usr/bin/true")).output().unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("podman cannot run containers: {said}"));
        }
        Ok(podman)
    }

    /// A container that runs the command and is gone after it. It finds the
    /// certificate in `/cert.pem`.
    pub(crate) fn run(&self, command: &Command) -> Command {
        self.container("run", command)
    }

    /// A container that does not run yet.
    pub(crate) fn create(&self, command: &Command) -> Command {
        self.container("create", command)
    }

    /// Runs what was created.
    pub(crate) fn start(&self) -> Command {
        let mut podman = podman("start");
        podman.args(["--attach", &self.name]);
        podman
    }

    fn container(&self, verb: &str, command: &Command) -> Command {
        let mut podman = podman(verb);
        podman.args(["--interactive", "--rm", "--name", &self.name]);
        podman.args(["--network", "host", "--security-opt", "seccomp=unconfined"]);
        // No more than what a container or virtual machine may be allowed.
        podman.args(["--ulimit", "nofile=1024:1024"]);
        podman.args(["--ulimit", "nproc=1024:1024"]);
        podman.args(["-v", "/usr:/usr:ro", "-v", "/etc:/etc:ro", "--rootfs"]);
        podman.arg(self.root.path()).arg(command.get_program());
        podman.args(command.get_args());
        podman
    }
}

/// crun of Debian 12 refuses machines with both versions of cgroups.
fn podman(verb: &str) -> Command {
    let mut podman = Command::new("podman");
    podman.args(["--runtime", "runc", "--cgroup-manager", "cgroupfs", verb]);
    podman
}

impl Drop for Podman {
    fn drop(&mut self) {
        let mut remove = podman("rm");
        remove.args(["--force", "--ignore", &self.name]);
        drop(remove.output());
    }
}
