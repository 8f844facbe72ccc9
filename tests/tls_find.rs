//! Finds TLS libraries in real processes: python, curl and node, if they are
//! installed. What is not there is said and skipped.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use httpsniff::tls::find::{Finder, TlsError};
use httpsniff::tls::guess::Guesses;
use httpsniff::tls::named::Named;
use httpsniff::tls::{Placement, ProbeRole, Target};

/// A process that waits for its standard input to end.
struct Waiting(Child);

impl Waiting {
    /// Starts a program and waits until it has printed a line.
    fn start(command: &mut Command) -> Option<Self> {
        let program = command.get_program().to_owned();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: cannot start {}", program.display());
            return None;
        };
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let waiting = Self(child);
        if line != "ready\n" {
            eprintln!("skipped: {} did not get ready", program.display());
            return None;
        }
        Some(waiting)
    }

    fn python(program: &str) -> Option<Self> {
        let code = "import ssl, sys; print('ready', flush=True); sys.stdin.read()";
        Self::start(Command::new(program).args(["-c", code]))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Those of the targets that hold OpenSSL: a machine has other libraries too,
/// and libcrypto, which only tells sockets.
fn openssl(mut targets: Vec<Target>) -> Vec<Target> {
    targets.retain(|target| target.library.starts_with("OpenSSL "));
    targets
}

/// The library that a process seems to use, of which nothing else is known.
fn guessed(pid: u32) -> Option<String> {
    Guesses::default().explain(&Finder::default(), pid)?.library
}

/// How many files with OpenSSL a process uses.
fn used_by(finder: &Finder, pid: u32) -> usize {
    let used = finder.used_by(pid);
    let openssl = used.iter().filter(|f| f.library.starts_with("OpenSSL "));
    openssl.count()
}

/// Checks what every OpenSSL target has to fulfil.
fn check(target: &Target) {
    assert!(target.library.starts_with("OpenSSL "), "{target:?}");
    assert_eq!(target.file.metadata().unwrap().ino(), target.identity.inode);
    let size = target.file.metadata().unwrap().len();
    assert!(target.probes.iter().all(|probe| probe.offset < size));
    let at: Vec<_> = target
        .probes
        .iter()
        .filter(|probe| probe.placement == Placement::At)
        .map(|probe| probe.role)
        .filter(|role| {
            use ProbeRole::{Ciphertext, HandshakeEnter, SendFileEnter};
            let other = matches!(role, Ciphertext | HandshakeEnter | SendFileEnter);
            !other && !role.is_of_early_data()
        })
        .collect();
    // At the symbols, or at what is behind them.
    use ProbeRole::{Free, ReadEnter, ReadExEnter, WriteEnter, WriteExEnter, WriteFlagsEnter};
    assert!(
        matches!(
            at[..],
            [ReadExEnter, WriteExEnter | WriteFlagsEnter, Free]
                | [ReadEnter, WriteEnter, ReadExEnter, WriteExEnter, Free]
        ),
        "{target:?}"
    );
}

/// The Pythons of this machine.
fn pythons() -> Vec<String> {
    let mut found = vec!["/usr/bin/python3".to_owned()];
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    if let Ok(versions) = std::fs::read_dir(home.join(".pyenv/versions")) {
        for version in versions {
            let path = version.unwrap().path().join("bin/python3");
            found.extend(path.exists().then(|| path.display().to_string()));
        }
    }
    found.retain(|path| Path::new(path).exists());
    found
}

#[test]
fn the_libssl_of_every_python_is_found() {
    for python in pythons() {
        let Some(process) = Waiting::python(&python) else {
            continue;
        };
        let mut finder = Finder::default();
        let targets = openssl(finder.process(process.pid()));
        assert_eq!(targets.len(), 1, "{python}: {targets:?}");
        check(&targets[0]);
        assert!(targets[0].path.contains("libssl"), "{targets:?}");
        // Only what is new, but still known.
        assert!(finder.process(process.pid()).is_empty());
        assert_eq!(used_by(&finder, process.pid()), 1, "{python}");
        assert_eq!(guessed(process.pid()).as_deref(), Some("OpenSSL"));
    }
}

/// What was written over is looked into anew, by whichever way it is met.
#[test]
fn a_file_that_was_forgotten_is_given_out_again() {
    let mut finder = Finder::default();
    let Some(target) = openssl(finder.system()).pop() else {
        eprintln!("skipped: this system has no OpenSSL");
        return;
    };
    let found = finder.found().count();
    finder.forget(&target.identity);
    assert_eq!(finder.found().count(), found - 1);
    let copy = target.file.try_clone().unwrap();
    let again = finder.again(copy, &target.path).unwrap();
    assert_eq!((&again.identity, again.key), (&target.identity, target.key));
    assert_eq!(again.library, target.library);
    assert_eq!(finder.found().count(), found);
    // It is known now, and given out once.
    assert!(finder.again(again.file, &again.path).is_none());
    let Some(process) = Waiting::python("/usr/bin/python3") else {
        return;
    };
    assert!(finder.process(process.pid()).is_empty());
    assert_eq!(used_by(&finder, process.pid()), 1);
}

#[test]
fn the_systems_libraries_are_found_before_anybody_uses_them() {
    let mut finder = Finder::default();
    let targets = openssl(finder.system());
    if targets.is_empty() {
        eprintln!("skipped: this system has no OpenSSL");
        return;
    }
    targets.iter().for_each(check);
    let Some(process) = Waiting::python("/usr/bin/python3") else {
        return;
    };
    assert!(finder.process(process.pid()).is_empty());
    assert_eq!(used_by(&finder, process.pid()), 1);
}

#[test]
fn node_has_openssl_in_its_program() {
    let code = "console.log('ready'); process.stdin.resume()";
    let Some(process) = Waiting::start(Command::new("/usr/bin/node").args(["-e", code])) else {
        return;
    };
    let mut finder = Finder::default();
    let targets = finder.process(process.pid());
    let program = targets.iter().find(|target| target.path.ends_with("/node"));
    let Some(program) = program else {
        // Debian's own node uses the system's libssl.
        assert!(
            targets.iter().any(|t| t.path.contains("libssl")),
            "{targets:?}"
        );
        return;
    };
    check(program);
    assert!(
        finder
            .used_by(process.pid())
            .iter()
            .any(|found| found.library == program.library)
    );
}

#[test]
fn a_command_is_covered_before_it_starts() {
    let curl = Path::new("/usr/bin/curl");
    if !curl.exists() {
        eprintln!("skipped: no curl");
        return;
    }
    let by_path = openssl(Finder::default().executable(curl));
    assert_eq!(by_path.len(), 1, "{by_path:?}");
    check(&by_path[0]);
    let by_name = openssl(Finder::default().executable(Path::new("curl")));
    assert_eq!(by_name[0].identity, by_path[0].identity);
    assert!(
        Finder::default()
            .executable(Path::new("/nonexistent"))
            .is_empty()
    );

    // A script stands for its interpreter; what it loads later comes from the
    // system's libraries.
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/usr/bin/curl\n").unwrap();
    assert_eq!(
        openssl(Finder::default().executable(&script))[0].identity,
        by_path[0].identity
    );
}

/// A copy of the system's libssl under this name, and its path.
fn copy_of_libssl(name: &str) -> Option<(tempfile::TempDir, PathBuf)> {
    let Some(system) = openssl(Finder::default().system()).into_iter().next() else {
        eprintln!("skipped: this system has no OpenSSL");
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join(name);
    std::fs::copy(&system.path, &copy).unwrap();
    Some((dir, copy))
}

#[test]
fn a_library_in_an_odd_place_is_found_in_the_process() {
    let Some((dir, copy)) = copy_of_libssl("libssl.so.3") else {
        return;
    };
    let code = "import ssl, sys; print('ready', flush=True); sys.stdin.read()";
    let Some(process) = Waiting::start(
        Command::new("/usr/bin/python3")
            .args(["-c", code])
            .env("LD_LIBRARY_PATH", dir.path()),
    ) else {
        return;
    };
    let mut finder = Finder::default();
    finder.system();
    let targets = openssl(finder.executed(process.pid()));
    assert_eq!(targets.len(), 1, "{targets:?}");
    assert_eq!(targets[0].path, copy.display().to_string());
    // No libcrypto beside it: only its name says something.
    assert_eq!(targets[0].library.as_ref(), "OpenSSL 3");
    assert!(finder.executed(process.pid()).is_empty());
}

#[test]
fn a_library_in_another_mount_namespace_is_found() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root makes mount namespaces");
        return;
    }
    let Some((dir, copy)) = copy_of_libssl("libssl.so.3") else {
        return;
    };
    let inner = tempfile::tempdir().unwrap();
    let code = format!(
        "import ctypes, sys; ctypes.CDLL('{}/libssl.so.3'); \
         print('ready', flush=True); sys.stdin.read()",
        inner.path().display()
    );
    let script = format!(
        "mount -t tmpfs none {inner} && cp {copy} {inner} && exec /usr/bin/python3 -c \"$0\"",
        inner = inner.path().display(),
        copy = copy.display()
    );
    let Some(process) =
        Waiting::start(Command::new("unshare").args(["-m", "sh", "-c", &script, &code]))
    else {
        return;
    };
    drop(dir);
    assert!(!inner.path().join("libssl.so.3").exists());
    let mut finder = Finder::default();
    finder.system();
    let targets = openssl(finder.process(process.pid()));
    assert_eq!(targets.len(), 1, "{:?}", finder.skipped());
    check(&targets[0]);
    assert!(targets[0].path.starts_with(inner.path().to_str().unwrap()));
}

#[test]
fn containers_that_share_an_image_share_its_library() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root makes mount namespaces");
        return;
    }
    let Some((lower, _)) = copy_of_libssl("libssl.so.3") else {
        return;
    };
    let mut finder = Finder::default();
    finder.system();
    let mut given = Vec::new();
    for _ in 0..2 {
        let merged = tempfile::tempdir().unwrap();
        let code = format!(
            "import ctypes, sys; ctypes.CDLL('{}/m/libssl.so.3'); \
             print('ready', flush=True); sys.stdin.read()",
            merged.path().display()
        );
        let script = format!(
            "cd {} && mount -t tmpfs none . && cd $PWD && mkdir u w m && \
             mount -t overlay none -o lowerdir={},upperdir=u,workdir=w m && \
             exec /usr/bin/python3 -Sc \"$0\"",
            merged.path().display(),
            lower.path().display()
        );
        let mut unshare = Command::new("unshare");
        let Some(process) = Waiting::start(unshare.args(["-m", "sh", "-c", &script, &code])) else {
            return;
        };
        given.extend(openssl(finder.process(process.pid())));
        assert_eq!(used_by(&finder, process.pid()), 1, "{:?}", finder.skipped());
    }
    assert_eq!(given.len(), 1, "{given:?}");
}

#[test]
fn a_deleted_library_is_still_reached() {
    let Some((_dir, copy)) = copy_of_libssl("libssl copy.so.3") else {
        return;
    };
    let code = format!(
        "import ctypes, os, sys; ctypes.CDLL({copy:?}); os.unlink({copy:?}); \
         print('ready', flush=True); sys.stdin.read()"
    );
    let Some(process) = Waiting::start(Command::new("/usr/bin/python3").args(["-c", &code])) else {
        return;
    };
    let mut finder = Finder::default();
    finder.system();
    let targets = openssl(finder.process(process.pid()));
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root reaches deleted files");
        return;
    }
    assert_eq!(targets.len(), 1, "{:?}", finder.skipped());
    check(&targets[0]);
    assert_eq!(targets[0].path, copy.display().to_string());
}

#[test]
fn named_files_are_taken_or_refused_with_a_reason() {
    let mut finder = Finder::default();
    let error = finder
        .file(&Named::plain(Path::new("/nonexistent")))
        .unwrap_err();
    assert!(matches!(error, TlsError::Open { .. }));
    assert!(error.to_string().contains("/nonexistent"), "{error}");
    let error = finder
        .file(&Named::plain(Path::new("/bin/ls")))
        .unwrap_err();
    assert!(matches!(error, TlsError::NoLibrary { .. }), "{error}");
    let error = finder
        .file(&Named::plain(Path::new("/etc/passwd")))
        .unwrap_err();
    assert!(error.to_string().contains("not an ELF file"), "{error}");
    assert!(finder.file(&Named::plain(Path::new("/dev/null"))).is_err());

    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/elf/openssl.so");
    if std::env::consts::ARCH != "x86_64" {
        return;
    }
    let targets = finder.file(&Named::plain(&fixture)).unwrap();
    assert_eq!(targets.len(), 1);
    check(&targets[0]);
    assert_eq!(targets[0].library.as_ref(), "OpenSSL 3.0.19");
    assert!(finder.file(&Named::plain(&fixture)).unwrap().is_empty());
}

#[test]
fn what_is_named_like_a_library_and_is_none_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let fake = dir.path().join("libssl.so.9");
    // By another process, or a child that another test starts meanwhile
    // may hold the copy open for writing (ETXTBSY).
    let copied = Command::new("cp").arg("/bin/sleep").arg(&fake).status();
    assert!(copied.unwrap().success());
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let process = Command::new(&fake).arg("1000").spawn().unwrap();
    let process = Waiting(process);
    // exec has happened: spawn returns after it.
    let mut finder = Finder::default();
    finder.process(process.pid());
    let skipped = finder.skipped();
    assert!(
        skipped
            .iter()
            .any(|s| s.path == fake.display().to_string() && s.reason.contains("SSL_read")),
        "{skipped:?}"
    );
}

#[test]
fn the_library_is_guessed_by_what_is_mapped() {
    for (library, expected) in [
        ("libgnutls.so.30", Some("GnuTLS")),
        ("libnss3.so", Some("NSS")),
        ("libc.so.6", None),
    ] {
        let code = format!(
            "import ctypes, sys; ctypes.CDLL('{library}'); \
             print('ready', flush=True); sys.stdin.read()"
        );
        let mut python = Command::new("/usr/bin/python3");
        let Some(process) = Waiting::start(python.args(["-Sc", &code]).stderr(Stdio::null()))
        else {
            continue;
        };
        assert_eq!(guessed(process.pid()).as_deref(), expected);
    }
}

#[test]
fn processes_that_are_gone_give_nothing() {
    let mut child = Command::new("/bin/true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let mut finder = Finder::default();
    assert!(finder.process(pid).is_empty());
    assert!(finder.executed(pid).is_empty());
    assert!(finder.used_by(pid).is_empty());
    assert!(finder.skipped().is_empty());
    assert_eq!(guessed(pid), None);
}

/// Prints how long a look at all processes takes, with 200 Pythons among
/// them; run with `--release --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn time_of_a_scan() {
    let mut processes = Vec::new();
    for _ in 0..200 {
        processes.extend(Waiting::python("/usr/bin/python3"));
    }
    let pids: Vec<u32> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let mut finder = Finder::default();
    for round in ["first", "second"] {
        let start = std::time::Instant::now();
        let targets = finder.scan(pids.iter().copied());
        println!(
            "{round} scan of {} processes: {:?}, {} targets, {} skipped",
            pids.len(),
            start.elapsed(),
            targets.len(),
            finder.skipped().len()
        );
    }
    let found: Vec<_> = finder.found().collect();
    println!("{found:?}\n{:?}", finder.skipped());
}
