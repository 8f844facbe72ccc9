//! Who it was: right also for what lives for a few milliseconds.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::support::clients::{curl, run};
use crate::support::files::{Docroot, folder};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::servers::{http_server, nginx, program};
use crate::support::skip::needs;

#[test]
fn a_process_of_five_milliseconds() {
    needs!("gcc");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    let built = folder();
    let short = built.path().join("short-lived");
    run(Command::new("gcc")
        .args(["-static", "-O2", "-o"])
        .arg(&short)
        .arg(program("short.c")));

    let port = server.port().to_string();
    let watch = Httpsniff::new()
        .json()
        .args(["--port", &port, "--uid", "65534"])
        .start();
    let mut pids = Vec::new();
    for number in 0..50 {
        let target = format!("/35.bin?n={number}");
        let mut child = Command::new(&short)
            .args([&port, &target])
            .uid(65534)
            .spawn()
            .unwrap();
        pids.push((target, child.id()));
        assert!(child.wait().unwrap().success());
    }
    let outcome = watch.stop().success();
    let exchanges = outcome.exchanges();
    assert_eq!(exchanges.len(), pids.len(), "{}", outcome.stderr);
    for (target, pid) in pids {
        let exchange = exchanges.iter().find(|e| e.target() == target).unwrap();
        let process = &exchange.0["process"];
        assert_eq!(process["pid"], pid, "{process}");
        assert_eq!(process["comm"], "short-lived", "{process}");
        assert_eq!(process["exe"], short.to_str().unwrap(), "{process}");
        let cmdline = serde_json::json!([short.to_str().unwrap(), port, target]);
        assert_eq!(process["cmdline"], cmdline, "{process}");
        assert_eq!(process["uid"], 65534, "{process}");
    }
}

#[test]
fn a_server_that_was_there_before() {
    needs!("nginx", "curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = nginx(&docroot, None);
    let pid = server.pid().to_string();
    let watch = Httpsniff::new().json().args(["--pid", &pid]).start();
    let mut command = curl(None);
    command.args(["-o", "/dev/null", &format!("{}/35.bin", server.url())]);
    run(&mut command);
    let outcome = watch.stop().success();
    let process = &outcome.exchanges()[0].0["process"];
    assert_eq!(process["pid"], server.pid());
    assert_eq!(process["tid"], server.pid());
    assert_eq!(process["comm"], "nginx");
    assert_eq!(process["uid"], 0);
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(process["exe"], exe.to_str().unwrap());
    // nginx writes its title over its arguments; what was seen is what is there.
    assert!(
        process["cmdline"][0].as_str().unwrap().contains("nginx"),
        "{process}"
    );
}

/// Threads of a process: one process, its threads told apart.
#[test]
fn threads_of_a_server() {
    needs!("curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    let watch = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let mut command = curl(None);
    command.args(["-o", "/dev/null", &format!("{}/35.bin", server.url())]);
    run(&mut command);
    let outcome = watch.stop().success();
    let process = &outcome.exchanges()[0].0["process"];
    assert_eq!(process["pid"], server.pid());
    assert_ne!(
        process["tid"], process["pid"],
        "http.server answers in a thread of its own"
    );
}
