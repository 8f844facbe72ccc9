//! Programs whose functions the user points at with `--lib FILE@NAME=ADDRESS`.

use std::process::Command;

use super::{STATIC, Scene, client, watch};
use crate::support::clients::run;
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::skip::needs;

/// A program that has OpenSSL linked in and no symbols: nobody but its user
/// knows where the functions are.
#[test]
fn addresses_from_the_user_find_what_has_no_symbols() {
    needs!("nginx", "openssl", "cc", "nm", "strip");
    let _guard = lock::shared();
    let scene = Scene::new();
    for arguments in [["-no-pie"], ["-pie"]] {
        let program = client(scene.folder.path(), &[&STATIC[..], &arguments[..]].concat());
        let names = ["SSL_read", "SSL_write", "SSL_free", "SSL_new"];
        let symbols = run(Command::new("nm").arg(&program));
        let at: Vec<String> = names
            .iter()
            .map(|name| {
                let line = symbols
                    .lines()
                    .find(|line| line.ends_with(&format!(" T {name}")));
                format!("{name}=0x{}", line.unwrap().split(' ').next().unwrap())
            })
            .collect();
        run(Command::new("strip").arg(&program));

        let (_, address) = at[0].split_once("=0x").unwrap();
        let wrong = u64::from_str_radix(address, 16).unwrap() + 1;
        let library = format!("{}@SSL_read={wrong},{}", program.display(), at[1]);
        let refused = Httpsniff::new().args(["--lib", &library]).finish();
        assert!(
            refused.stderr.contains("no function begins at 0x"),
            "{}",
            refused.stderr
        );

        let mut process = scene.start(&mut Command::new(&program));
        let outcome = watch(process.pid());
        scene.order(&mut process, "get", "1.bin");
        let shown = outcome.stop().success();
        scene.check(&shown, process.pid(), &[]);

        let library = format!("{}@{}", program.display(), at.join(","));
        let outcome = Httpsniff::new()
            .json()
            .args(["--pid", &process.pid().to_string(), "--lib", &library])
            .start();
        scene.order(&mut process, "get", "20000.bin");
        scene.order(&mut process, "get", "1.bin");
        let shown = outcome.stop().success();
        scene.check(&shown, process.pid(), &["20000.bin", "1.bin"]);
        let tls = shown.exchanges()[0].text("/tls/library").to_owned();
        assert!(tls.starts_with("OpenSSL"), "{tls}");
    }
}

/// What cannot be right is one sentence with the cure.
#[test]
fn addresses_that_cannot_be_are_refused() {
    needs!();
    let _guard = lock::shared();
    let program = "/bin/sh";
    for (library, code, part) in [
        (
            "@SSL_read=0x1,SSL_write=0x2",
            1,
            "SSL_read cannot be at 0x1: its code is at 0x",
        ),
        ("@SSL_read=0x1", 2, "the address of SSL_write is needed too"),
        ("@SSL_raed=0x1", 2, "it knows SSL_read, SSL_write"),
        ("", 1, "--lib FILE@SSL_read=ADDRESS"),
    ] {
        let library = format!("{program}{library}");
        let outcome = Httpsniff::new().args(["--lib", &library]).finish();
        assert_eq!(outcome.status.code(), Some(code), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
        assert!(outcome.stderr.lines().count() <= 2, "{}", outcome.stderr);
    }
}
