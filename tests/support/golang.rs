//! Builds Go programs with the versions of Go that are here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::servers::program;

/// How a Go program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Build {
    /// The `go` that builds it.
    pub(crate) go: &'static str,
    /// Its arguments.
    pub(crate) arguments: &'static [&'static str],
}

/// The newest Go of this machine.
pub(crate) const NEWEST: &str = "go";
/// Debian 12's.
pub(crate) const GO_1_19: &str = "/usr/lib/go-1.19/bin/go";

/// The newest Go's minor version: 26 of `go version go1.26.8 linux/amd64`.
pub(crate) fn minor() -> Option<u32> {
    let version = Command::new(NEWEST).arg("version").output().ok()?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    version.split(['.', ' ']).nth(3)?.parse().ok()
}

/// As most are built.
pub(crate) const PLAIN: Build = Build {
    go: NEWEST,
    arguments: &[],
};
/// Without symbols and debugging information.
pub(crate) const STRIPPED: Build = Build {
    go: NEWEST,
    arguments: &["-ldflags=-s -w"],
};
/// Loaded at another address in each run.
pub(crate) const PIE: Build = Build {
    go: NEWEST,
    arguments: &["-buildmode=pie", "-ldflags=-s -w"],
};
/// Linked by C's linker.
pub(crate) const EXTERNAL: Build = Build {
    go: NEWEST,
    arguments: &["-buildmode=pie", "-ldflags=-s -w -linkmode=external"],
};
/// crypto/tls without optimization.
pub(crate) const DEBUG: Build = Build {
    go: NEWEST,
    arguments: &["-gcflags=crypto/tls=-N -l"],
};
/// An older Go.
pub(crate) const OLD: Build = Build {
    go: GO_1_19,
    arguments: &[],
};
/// An older Go's, loaded anywhere, by C's linker, without symbols.
pub(crate) const OLD_EXTERNAL: Build = Build {
    go: GO_1_19,
    arguments: &["-buildmode=pie", "-ldflags=-s -w -linkmode=external"],
};
/// All of these.
pub(crate) const ALL: [Build; 7] = [PLAIN, STRIPPED, PIE, EXTERNAL, DEBUG, OLD, OLD_EXTERNAL];

/// `tests/live/programs/web.go`, built once.
pub(crate) fn web(build: Build) -> PathBuf {
    built("web", build)
}

/// A program of ours, `NAME.go`, built once. Go's caches are in the target
/// directory, and nothing is fetched.
pub(crate) fn built(name: &'static str, build: Build) -> PathBuf {
    type Built = HashMap<(&'static str, Build), PathBuf>;
    static BUILT: LazyLock<Mutex<Built>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(&(name, build)) {
        return path.clone();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    std::fs::create_dir_all(&folder).unwrap();
    let place = ALL.iter().position(|other| *other == build).unwrap();
    let path = folder.join(format!("{name}-{place}"));
    let output = Command::new(build.go)
        .arg("build")
        .args(build.arguments)
        .arg("-o")
        .arg(&path)
        .arg(program(&format!("{name}.go")))
        .env("GOCACHE", folder.join("cache"))
        .env("GOFLAGS", "-buildvcs=false")
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("GO111MODULE", "off")
        .output()
        .unwrap();
    assert!(output.status.success(), "{build:?}: {output:?}");
    built.insert((name, build), path.clone());
    path
}
