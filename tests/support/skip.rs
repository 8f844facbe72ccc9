//! Skips that are seen: a test that cannot run here says so on the real
//! stderr (libtest captures only the print macros) and passes; in CI it fails,
//! because CI installs what the tests need. What hangs on the kernel is no
//! failure: CI runs the tests of `kernel` in other kernels too. Nor is what the
//! distribution's packages are too old for.

use std::io::Write as _;

/// Ends the test here unless it runs as root and each program is installed.
macro_rules! needs {
    ($($program:literal),* $(,)?) => {{
        fn here() {}
        let missing = crate::support::skip::missing(&[$($program),*]);
        if let Some(reason) = missing {
            crate::support::skip::skipped(std::any::type_name_of_val(&here), &reason);
            return;
        }
    }};
}
pub(crate) use needs;

/// What this machine lacks, if anything.
pub(crate) fn missing(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("capturing from the kernel needs root".to_owned());
    }
    programs
        .iter()
        .find(|program| find(program).is_none())
        .map(|program| format!("{program} is not installed (scripts/setup.sh test)"))
}

/// The program's path, looked for in `PATH` and the administrator's folders.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Reports the skip of the test that holds the function `place`.
pub(crate) fn skipped(place: &str, reason: &str) {
    let test = place.trim_end_matches("::here");
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci.is_empty() || ci == "false"),
        "{test} cannot run, which in CI is a failure: {reason}"
    );
    say(test, reason);
}

/// Reports the skip of a test for which this kernel has not what it takes.
pub(crate) fn not_in_this_kernel(test: &str, reason: &str) {
    say(test, reason);
}

/// Reports the skip of a test for which a program's newest package is too old.
pub(crate) fn too_old(test: &str, reason: &str) {
    say(test, reason);
}

fn say(test: &str, reason: &str) {
    // Not eprintln!, which libtest would keep to itself.
    let line = format!("SKIPPED {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
