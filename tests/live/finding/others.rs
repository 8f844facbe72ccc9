//! What is not selected is not probed.

use std::path::Path;
use std::process::Command;

use super::{LIBSSL, Scene, client};
use crate::lifecycle::text_is_untouched_of;
use crate::support::cgroups::{Cgroup, container_id, hierarchies};
use crate::support::exchange::Exchange;
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::process::eventually;
use crate::support::skip::needs;

/// Probes cost all who use their file: a library of those who are not selected
/// stays as it is, until one who is selected uses it too.
#[test]
fn files_of_others_are_left_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    needs!("nginx", "openssl", "cc");
    // Another that watches the whole machine would attach to these files.
    let _guard = lock::alone();
    let scene = Scene::new();
    let client = client(scene.folder.path(), &["-ldl"]);
    // For what the client keeps, who is not root.
    std::fs::set_permissions(scene.folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // Users of no other test.
    let (selected, other) = (64_201, 64_202);
    let mut cases = Vec::new();
    cases.push((["--uid".to_owned(), selected.to_string()], None));
    for hierarchy in hierarchies() {
        let id = container_id();
        let cgroup = Cgroup::new(&hierarchy, &format!("docker/{id}"));
        cases.push((["--container".to_owned(), id], Some(cgroup)));
    }
    for (number, (selector, cgroup)) in cases.into_iter().enumerate() {
        let start = || {
            let mut command = Command::new(&client);
            let command = match &cgroup {
                Some(cgroup) => &mut cgroup.run(&command),
                None => command.uid(selected),
            };
            scene.start(command)
        };
        let library = |name: &str| {
            let path = scene.path(&format!("libssl-{number}{name}.so.3"));
            std::fs::copy(LIBSSL, &path).unwrap();
            path
        };
        let (before, during, own) = (library("before"), library("during"), library("own"));
        let untouched = |pid: u32, file: &Path| {
            let file = file.to_str().unwrap();
            text_is_untouched_of(pid, |path| path == file)
        };
        let load = |file: &Path| {
            let mut process = scene.start(Command::new(&client).uid(other));
            process.send(&format!("load {}", file.display()));
            process.line_with("loaded");
            process
        };
        let mut first = load(&before);
        let watch = Httpsniff::new().json().args(&selector).start();
        let second = load(&during);
        let use_it = |library: &Path, name: &str| {
            let mut process = start();
            process.send(&format!("load {}", library.display()));
            process.line_with("loaded");
            let pid = process.pid();
            eventually("a library is attached to", || !untouched(pid, library));
            scene.order(&mut process, "get", name);
            process.finish();
            pid
        };
        let pid = use_it(&own, "1.bin");
        assert!(untouched(first.pid(), &before), "{selector:?}");
        assert!(untouched(second.pid(), &during), "{selector:?}");
        let again = use_it(&during, "20000.bin");
        assert!(!untouched(second.pid(), &during), "{selector:?}");
        let mut shown = vec![u64::from(pid), u64::from(again)];
        if let Some(cgroup) = &cgroup {
            // Who comes later with a file of one's own is found by what is sent.
            std::fs::remove_file(scene.path("kept")).unwrap();
            cgroup.take(first.pid());
            eventually("who has joined is found", || {
                scene.order(&mut first, "get", "1.bin");
                !untouched(first.pid(), &before)
            });
            scene.order(&mut first, "get", "20000.bin");
            shown.push(u64::from(first.pid()));
        }
        let outcome = watch.stop().success();
        scene.check(&outcome, pid, &["1.bin"]);
        scene.check(&outcome, again, &["20000.bin"]);
        let exchanges = outcome.exchanges();
        assert!(exchanges.iter().all(|e| shown.contains(&e.pid())));
        let is_first = |e: &&Exchange| e.pid() == u64::from(first.pid());
        if let Some(last) = exchanges.iter().rfind(is_first) {
            assert_eq!(last.target(), "/20000.bin");
        } else {
            assert!(cgroup.is_none(), "{}", outcome.stderr);
        }
        for process in [first, second] {
            process.finish();
        }
    }
}
