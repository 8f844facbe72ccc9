//! What `--check` says of who uses which library.

use std::path::Path;
use std::process::Command;

use super::{LIBSSL, STATIC, Scene, client};
use crate::support::clients::run;
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::process::Process;
use crate::support::skip::needs;

/// The lines of `--check` below a title, without their indentation.
fn section(text: &str, title: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| *line != title).skip(1);
    let lines = lines.by_ref().take_while(|line| line.starts_with("  "));
    lines.map(|line| line.trim().to_owned()).collect()
}

/// `--check` says of every program with TLS how it is read or why it is not.
#[test]
fn check_lists_who_uses_which_library() {
    needs!("nginx", "openssl", "cc", "strip");
    let _guard = lock::shared();
    let scene = Scene::new();
    // Many of one program, with a library of their own, in no library's name.
    let own = scene.path("_bundle.so");
    std::fs::copy(LIBSSL, &own).unwrap();
    let late = client(scene.folder.path(), &["-ldl"]);
    let mut users: Vec<Process> = (0..5)
        .map(|_| scene.start(&mut Command::new(&late)))
        .collect();
    for user in &mut users {
        user.send(&format!("load {}", own.display()));
        user.line_with("loaded");
    }
    let folder = scene.path("static");
    std::fs::create_dir(&folder).unwrap();
    let stripped = client(&folder, &STATIC);
    run(Command::new("strip").arg(&stripped));
    let stripped_user = scene.start(&mut Command::new(&stripped));

    let outcome = Httpsniff::new().arg("--check").finish().success();
    let text = String::from_utf8(outcome.stdout).unwrap();
    let line = |title: &str, file: &Path| {
        let lines = section(&text, title);
        let file = file.to_str().unwrap();
        let found: Vec<_> = lines
            .into_iter()
            .filter(|line| line.contains(file))
            .collect();
        assert_eq!(found.len(), 1, "{file}: {text}");
        found[0].clone()
    };
    let server = scene.server.pid();
    let read = section(&text, "TLS that is read");
    assert!(
        read.iter().any(|line| line.starts_with("OpenSSL ")
            && line.contains("libssl.so.3")
            && line.contains("probes behind the symbols")),
        "{text}"
    );
    assert!(
        text.contains(&format!("nginx[{server}]")) || text.contains(" more "),
        "{text}"
    );

    let bundle = line("TLS that is read", &own);
    let named = users
        .iter()
        .filter(|user| bundle.contains(&format!("[{}]", user.pid())));
    assert_eq!(named.count(), 3, "{bundle}");
    assert!(
        bundle.contains(" and 2 more ") && bundle.contains("probes"),
        "{bundle}"
    );

    let unread = line("TLS that is not read", &stripped);
    assert!(unread.starts_with("OpenSSL "), "{unread}");
    assert!(
        unread.contains(&format!("tls_client[{}]", stripped_user.pid())),
        "{unread}"
    );
    assert!(unread.contains("linked in without symbols"), "{unread}");
}
