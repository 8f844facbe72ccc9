//! What the fuzzer found worth keeping (`fuzz/corpus`), run through the entry
//! points of its targets: what once led somewhere does no harm.

use std::fs;
use std::path::{Path, PathBuf};

use super::entry;

/// Says which file it was if its run panics.
struct Named(PathBuf);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}

/// Runs all inputs of a target, which are few and small enough to be kept.
fn run(target: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut size = 0;
    let mut files = 0;
    for file in fs::read_dir(folder.join(target)).expect("the target has a corpus") {
        let named = Named(file.expect("the folder can be read").path());
        let input = fs::read(&named.0).expect("the file can be read");
        size += input.len();
        files += 1;
        entry(&input);
    }
    assert!(files > 0, "the corpus of {target} is empty");
    let small = files <= 400 && size <= 200 << 10;
    assert!(
        small,
        "the corpus of {target} has {files} files, {size} bytes"
    );
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            run(stringify!($target), entry::$target);
        })*
    };
}

targets!(chunked content engine h2 hello hpack http1 outputs websocket);
