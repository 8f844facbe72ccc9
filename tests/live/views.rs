//! One conversation seen from both ends at once, by two httpsniffs: the
//! server's by `--pid`, the client's by `-- COMMAND`. Both must show what the
//! endpoints know, and nothing else.

use std::process::Command;

use crate::support::clients::Client;
use crate::support::exchange::{Expected, assert_exchanges};
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::servers::Server;

/// Runs the client's command under httpsniff against the watched server, and
/// compares both views with `expected`: the client's and the server's, which
/// are returned.
pub(crate) fn check(
    server: &Server,
    client: &Command,
    expected: &[Expected],
    options: &[&str],
) -> (Outcome, Outcome) {
    let of_server = Httpsniff::new()
        .json()
        .args(options)
        .args(["--pid", &server.pid().to_string()])
        .start();
    let of_client = Httpsniff::new().json().args(options).run(client);
    let of_server = of_server.stop().success();
    let of_client = of_client.success();
    // What was lost is in the summary.
    for (view, role, outcome) in [
        ("client's view", "client", &of_client),
        ("server's view", "server", &of_server),
    ] {
        let view = format!("{view} ({})", outcome.stderr.trim());
        assert_exchanges(&view, &outcome.of_role(role), expected);
    }
    assert!(
        of_client.of_role("server").is_empty(),
        "another process in the view of the command"
    );
    for exchange in of_server.exchanges() {
        assert_eq!(
            exchange.pid(),
            u64::from(server.pid()),
            "another process than --pid's"
        );
    }
    (of_client, of_server)
}

/// Gets every file of the docroot below `prefix` (`/` or `/chunked/`).
pub(crate) fn check_get(
    server: &Server,
    client: Client,
    docroot: &Docroot,
    prefix: &str,
    certificate: Option<&Certificate>,
) {
    check_get_from(&server.url(), server, client, docroot, prefix, certificate);
}

/// As [`check_get`], at a URL of the caller's.
pub(crate) fn check_get_from(
    url: &str,
    server: &Server,
    client: Client,
    docroot: &Docroot,
    prefix: &str,
    certificate: Option<&Certificate>,
) {
    let targets: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| format!("{prefix}{name}"))
        .collect();
    let expected: Vec<_> = docroot
        .names()
        .iter()
        .zip(&targets)
        .map(|(name, target)| Expected::get(target, docroot.content(name)))
        .collect();
    let kept = folder();
    let command = client.get(url, &targets, kept.path(), certificate);
    check(server, &command, &expected, &[]);
    for (number, name) in docroot.names().iter().enumerate() {
        // curl makes no file for an empty body.
        let got = std::fs::read(kept.path().join(number.to_string())).unwrap_or_default();
        assert!(
            got == docroot.content(name),
            "{client:?} itself got another {name}"
        );
    }
}

/// Posts every file of the docroot to `prefix` and its name, to be echoed.
pub(crate) fn check_post(
    server: &Server,
    client: Client,
    docroot: &Docroot,
    prefix: &str,
    certificate: Option<&Certificate>,
) {
    let kept = folder();
    let url = format!("{}{prefix}", server.url());
    let names = docroot.names();
    let command = client.post(&url, docroot.path(), names, kept.path(), certificate);
    let expected: Vec<_> = names
        .iter()
        .map(|name| Expected::echo(&format!("{prefix}{name}"), docroot.content(name)))
        .collect();
    check(server, &command, &expected, &[]);
}
