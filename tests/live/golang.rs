//! Go's crypto/tls: bodies equal those of the endpoints to the last byte, from
//! either end, however the program was built, whatever its goroutines do; and
//! the program notices nothing.

use std::process::{Command, Output};

use crate::support::exchange::{Exchange, Expected, assert_exchanges};
use crate::support::files::{Certificate, Docroot, SIZES, folder, random_bytes};
use crate::support::golang::{self, Build};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::process::Process;
use crate::support::servers::{Server, go, http_server};
use crate::support::skip::{needs, skipped};
use crate::views::check;

/// A Go client with its certificate's file.
fn client(build: Build, mode: &str, certificate: &Certificate) -> Command {
    let mut command = Command::new(golang::web(build));
    command.arg(mode).arg(certificate.path());
    command
}

/// Ends the test here unless this Go is installed.
macro_rules! needs_go {
    ($build:expr) => {
        needs!("openssl", "gcc");
        if std::process::Command::new($build.go)
            .arg("version")
            .output()
            .is_err()
        {
            fn here() {}
            let reason = format!("{} is not installed (scripts/setup.sh test)", $build.go);
            skipped(std::any::type_name_of_val(&here), &reason);
            return;
        }
    };
}

/// Everything is got and posted, and both ends are watched.
fn fetches(build: Build) {
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = go(build, &docroot, &certificate, &[]);
    let kept = folder();

    let mut get = client(build, "get", &certificate);
    get.arg(server.url()).current_dir(kept.path());
    let mut expected = Vec::new();
    for prefix in ["/", "/chunked/", "/close/"] {
        for name in docroot.names() {
            let target = format!("{prefix}{name}");
            get.arg(&target);
            expected.push(Expected::get(&target, docroot.content(name)));
        }
    }
    check(&server, &get, &expected, &[]);
    for (number, should) in expected.iter().enumerate() {
        let got = std::fs::read(kept.path().join(number.to_string())).unwrap();
        assert!(
            got == should.response_body,
            "Go itself got another {number}"
        );
    }

    let mut post = client(build, "post", &certificate);
    post.arg(server.url()).arg(docroot.path());
    post.args(docroot.names()).current_dir(kept.path());
    let expected: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| Expected::echo(&format!("/echo/{name}"), docroot.content(name)))
        .collect();
    check(&server, &post, &expected, &[]);
}

macro_rules! builds {
    ($($name:ident $build:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs_go!(golang::$build);
            let _guard = lock::shared();
            fetches(golang::$build);
        }
    )* };
}

builds!(
    plain PLAIN,
    stripped STRIPPED,
    loaded_anywhere PIE,
    linked_by_another EXTERNAL,
    not_optimized DEBUG,
    go_1_19 OLD,
    go_1_19_linked_by_another OLD_EXTERNAL,
);
