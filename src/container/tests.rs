//! Cgroup trees and engines' files are made in a temporary folder; the forms
//! are those of Docker 20.10 to 28, containers/storage 1.36 to 1.57, CRI-O
//! 1.2x, containerd 1.6 and 2, and nerdctl.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

fn id(beginning: &str) -> String {
    format!("{beginning:0<64}")
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A machine with these cgroups in version 2.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new(cgroups: &[&str]) -> Self {
        let machine = Self {
            root: tempfile::tempdir().unwrap(),
        };
        for path in cgroups {
            machine.cgroup("unified", path, None);
        }
        machine
    }

    fn cgroup(&self, hierarchy: &str, path: &str, process: Option<u32>) {
        let path = format!("/cgroup/{hierarchy}{path}/cgroup.procs");
        let procs = process.map_or_else(String::new, |pid| format!("{pid}\n"));
        write(self.root.path(), &path, &procs);
    }

    fn docker(&self, id: &str, name: &str) {
        self.write(
            &format!("/var/lib/docker/containers/{id}/config.v2.json"),
            &format!(
                r#"{{"State":{{"Running":true,"Pid":7}},"ID":"{id}","Config":{{"Labels":{{}}}},"Name":"/{name}"}}"#
            ),
        );
    }

    fn write(&self, path: &str, content: &str) {
        write(self.root.path(), path, content);
    }

    fn tree(&self) -> Tree {
        let hierarchy = |number, controllers: &[&str], name: &str| Hierarchy {
            number,
            controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
            mount: self.root.path().join("cgroup").join(name),
        };
        Tree::below(vec![
            hierarchy(2, &["memory"], "memory"),
            hierarchy(3, &["pids"], "pids"),
            hierarchy(0, &[], "unified"),
        ])
    }

    fn select(&self, typed: &[&str]) -> Result<Selection, NotFound> {
        let typed: Vec<String> = typed.iter().map(|t| (*t).to_owned()).collect();
        Selection::among(&typed, &self.tree(), Names::read(self.root.path()))
            .map_err(|(_, error)| error)
    }

    /// The paths that are selected.
    fn paths(&self, typed: &[&str]) -> Vec<String> {
        let selection = self.select(typed).unwrap();
        let mut paths: Vec<String> = selection.cgroups.into_iter().map(|c| c.path).collect();
        paths.sort();
        paths
    }
}

#[test]
fn by_id_beginning_and_directory_of_every_engine() {
    let (a, b) = (id("aaa1"), id("aaa2"));
    for path in [
        format!("/docker/{a}"),
        format!("/system.slice/docker-{a}.scope"),
        format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{a}.scope"),
        format!("/kubepods/besteffort/pod1/{a}"),
        format!("/kubepods.slice/crio-{a}.scope"),
        format!("/machine.slice/libpod-{a}.scope"),
        format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{a}.scope"),
        format!("/system.slice/nerdctl-{a}.scope"),
    ] {
        let machine = Machine::new(&[&path, &format!("/docker/{b}"), "/system.slice/x.service"]);
        for typed in [a.as_str(), "aaa1", "AAA1", &a[..12]] {
            assert_eq!(machine.paths(&[typed]), [path.as_str()], "{typed}");
        }
        assert_eq!(machine.paths(&["aaa1", "aaa2"]).len(), 2);
        assert!(matches!(
            machine.select(&["aaa"]),
            Err(NotFound::Ambiguous(_))
        ));
        assert_eq!(machine.select(&["aa"]).unwrap_err(), NotFound::TooShort);
        assert!(matches!(
            machine.select(&["abc"]),
            Err(NotFound::Unknown(_))
        ));
    }
    assert_eq!(Machine::new(&["/lxc/web"]).paths(&["web"]), ["/lxc/web"]);
    let machine = Machine::new(&["/lxc.payload.web", "/lxc.monitor.web"]);
    assert_eq!(machine.paths(&["web"]), ["/lxc.payload.web"]);
}

#[test]
fn conmon_and_what_is_within_are_not_selected_twice() {
    let a = id("a");
    let scope = format!("/machine.slice/libpod-{a}.scope");
    let machine = Machine::new(&[
        &format!("/machine.slice/libpod-conmon-{a}.scope"),
        &format!("{scope}/container"),
        &format!("{scope}/libpod-payload-{a}"),
    ]);
    assert_eq!(machine.paths(&[&a]), [scope]);
}

#[test]
fn units_by_name_path_and_without_their_ending() {
    let machine = Machine::new(&[
        "/system.slice/nginx.service/worker",
        "/user.slice/user-1000.slice/session-1.scope",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app.service",
        "/user.slice/user-1001.slice/user@1001.service/app.slice/app.service",
    ]);
    for typed in ["nginx.service", "nginx", "/system.slice/nginx.service"] {
        assert_eq!(machine.paths(&[typed]), ["/system.slice/nginx.service"]);
    }
    assert_eq!(
        machine.paths(&["user-1000.slice", "session-1.scope"]),
        ["/user.slice/user-1000.slice"]
    );
    let both = machine.select(&["app.service"]).unwrap();
    assert_eq!(both.cgroups.len(), 2);
    assert_eq!(
        both.notes,
        ["--container app.service: 2 cgroups are called so, all are watched"]
    );
    assert!(matches!(
        machine.select(&["no.service"]),
        Err(NotFound::Unknown(_))
    ));
    assert_eq!(machine.select(&["/"]).unwrap_err(), NotFound::Empty);
}

#[test]
fn names_of_docker() {
    let (a, b) = (id("abc1"), id("d"));
    let scope = format!("/system.slice/docker-{a}.scope");
    let machine = Machine::new(&[&scope, "/docker/buildkit"]);
    machine.docker(&a, "abc");
    machine.docker(&b, "stopped");
    assert_eq!(
        machine.paths(&["abc"]),
        [scope.as_str()],
        "a name before a beginning"
    );
    assert_eq!(machine.paths(&["/abc"]), [scope.as_str()]);
    assert_eq!(
        machine.select(&["web"]).unwrap_err().to_string(),
        "no container, systemd unit or cgroup is called so, and no id begins so; \
         running are abc (abc100000000)"
    );
}

#[test]
fn docker_elsewhere() {
    let a = id("a");
    let machine = Machine::new(&[&format!("/docker/{a}")]);
    machine.write("/etc/docker/daemon.json", r#"{"data-root":"/srv/docker"}"#);
    machine.write(
        &format!("/srv/docker/containers/{a}/config.v2.json"),
        r#"{"Name":"/web"}"#,
    );
    assert_eq!(machine.paths(&["web"]), [format!("/docker/{a}")]);
}

#[test]
fn names_of_podman() {
    let (a, b) = (id("a"), id("b"));
    let machine = Machine::new(&[
        &format!("/machine.slice/libpod-{a}.scope"),
        &format!("/machine.slice/libpod-{b}.scope"),
    ]);
    let storage = "/var/lib/containers/storage/overlay-containers";
    machine.write(
        &format!("{storage}/containers.json"),
        &format!(r#"[{{"id":"{a}","names":["web"],"image":"1","layer":"2","metadata":"{{}}","flags":{{}}}}]"#),
    );
    machine.write(
        &format!("{storage}/volatile-containers.json"),
        &format!(r#"[{{"id":"{b}","names":["once"]}},{{"id":7}},[],null]"#),
    );
    assert_eq!(
        machine.paths(&["web"]),
        [format!("/machine.slice/libpod-{a}.scope")]
    );
    assert_eq!(
        machine.paths(&["once"]),
        [format!("/machine.slice/libpod-{b}.scope")]
    );
}

#[test]
fn users_name_their_own_containers_only() {
    let (own, foreign) = (id("a"), id("b"));
    let own_path =
        format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{own}.scope");
    let machine = Machine::new(&[&own_path, &format!("/system.slice/docker-{foreign}.scope")]);
    machine.write(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbroken\n",
    );
    machine.write(
        "/home/ann/.local/share/containers/storage/overlay-containers/containers.json",
        &format!(r#"[{{"id":"{own}","names":["web"]}},{{"id":"{foreign}","names":["web"]}}]"#),
    );
    assert_eq!(machine.paths(&["web"]), [own_path]);
}

#[test]
fn names_of_kubernetes() {
    let ids = ["a", "b", "c", "d"].map(id);
    let paths = ids
        .clone()
        .map(|id| format!("/kubepods.slice/cri-containerd-{id}.scope"));
    let machine = Machine::new(&paths.each_ref().map(String::as_str));
    for (id, kind, name, pod) in [
        (&ids[0], "container", "app", "shop-1"),
        (&ids[1], "container", "app", "shop-2"),
        (&ids[2], "sandbox", "", "shop-1"),
    ] {
        machine.write(
            &format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json"),
            &format!(
                r#"{{"ociVersion":"1.0.2","annotations":{{"io.kubernetes.cri.container-type":"{kind}","io.kubernetes.cri.container-name":"{name}","io.kubernetes.cri.sandbox-name":"{pod}"}}}}"#
            ),
        );
    }
    machine.write(
        &format!(
            "/run/containerd/io.containerd.runtime.v2.task/default/{}/config.json",
            ids[3]
        ),
        r#"{"annotations":{"nerdctl/name":"tool","nerdctl/namespace":"default"}}"#,
    );
    assert_eq!(machine.paths(&["app"]), paths[..2]);
    assert_eq!(machine.paths(&["shop-2/app"]), paths[1..2]);
    assert_eq!(
        machine.paths(&["shop-1"]),
        paths[..1],
        "without the pause container"
    );
    assert_eq!(machine.paths(&["tool"]), paths[3..]);
}

#[test]
fn names_of_crio() {
    let a = id("a");
    let machine = Machine::new(&[&format!("/kubepods.slice/crio-{a}.scope")]);
    let storage = "/var/lib/containers/storage/overlay-containers";
    machine.write(
        &format!("{storage}/containers.json"),
        &format!(r#"[{{"id":"{a}","names":["k8s_app_shop_default_uid_0"]}}]"#),
    );
    machine.write(
        &format!("{storage}/{a}/userdata/config.json"),
        r#"{"annotations":{"io.kubernetes.container.name":"app","io.kubernetes.pod.name":"shop","io.kubernetes.cri-o.ContainerType":"container"}}"#,
    );
    for typed in ["app", "shop", "shop/app", "k8s_app_shop_default_uid_0"] {
        assert_eq!(machine.paths(&[typed]).len(), 1, "{typed}");
    }
}

#[test]
fn files_that_are_not_as_expected_say_nothing() {
    let a = id("a");
    let path = format!("/docker/{a}");
    for content in ["", "[]", "{", "{\"Name\":7}", "\0\0", &"[".repeat(100_000)] {
        let machine = Machine::new(&[&path]);
        machine.docker(&a, "web");
        machine.write(
            &format!("/var/lib/docker/containers/{}/config.v2.json", id("b")),
            content,
        );
        machine.write(
            "/var/lib/containers/storage/overlay-containers/containers.json",
            content,
        );
        machine.write("/etc/docker/daemon.json", content);
        assert_eq!(machine.paths(&["web"]), [path.as_str()], "{content:.20}");
    }
    let machine = Machine::new(&[&path]);
    machine.docker(&a, "web");
    let fifo = machine.root.path().join("etc/passwd");
    fs::create_dir_all(fifo.parent().unwrap()).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    assert_eq!(
        machine.paths(&["web"]),
        [path.as_str()],
        "nobody waits for a FIFO"
    );
}

#[test]
fn version_1_by_the_controller_that_all_have() {
    let a = format!("/docker/{}", id("a"));
    let machine = Machine::new(&[]);
    machine.cgroup("memory", &a, Some(7));
    let memory = machine.select(&["aaaa"]);
    assert!(memory.is_err());
    let memory = machine.select(&[&id("a")]).unwrap();
    let controller = |selection: &Selection| selection.controller.clone().map(|c| c.name);
    assert_eq!(
        (memory.unified, controller(&memory)),
        (false, Some("memory".to_owned()))
    );
    machine.cgroup("pids", &a, Some(7));
    let pids = machine.select(&[&id("a")]).unwrap();
    assert_eq!(
        (pids.unified, controller(&pids)),
        (false, Some("pids".to_owned()))
    );
    assert_eq!(pids.cgroups.len(), 1);
    // Version 2 knows it too, but its processes are elsewhere.
    machine.cgroup("unified", &a, None);
    let both = machine.select(&[&id("a")]).unwrap();
    assert_eq!(
        (both.unified, controller(&both)),
        (true, Some("pids".to_owned()))
    );
    assert_eq!(both.cgroups.len(), 2);
    machine.cgroup("unified", &a, Some(7));
    let unified = machine.select(&[&id("a")]).unwrap();
    assert_eq!((unified.unified, controller(&unified)), (true, None));
    // One in version 2 and one in version 1.
    machine.cgroup("memory", "/system.slice/x.service", Some(8));
    let mixed = machine.select(&[&id("a"), "x.service"]).unwrap();
    assert_eq!(
        (mixed.unified, controller(&mixed)),
        (true, Some("memory".to_owned()))
    );
}

#[test]
fn what_starts_again_is_recognised() {
    let (old, new, other) = (id("a"), id("b"), id("c"));
    let machine = Machine::new(&[&format!("/docker/{old}"), "/system.slice/nginx.service"]);
    machine.docker(&old, "web");
    let mut selection = machine.select(&["web", "nginx"]).unwrap();
    let old = format!("/docker/{old}");
    assert_eq!(
        selection.ended(&old).as_deref(),
        Some("web has ended: it is watched again when it starts again")
    );
    machine.docker(&new, "web");
    machine.docker(&other, "db");
    assert_eq!(selection.wants(&format!("/docker/{other}")), Wants::No);
    assert_eq!(selection.wants("/system.slice/other.service"), Wants::No);
    let new = format!("/docker/{new}");
    assert_eq!(selection.wants(&new), Wants::Yes);
    assert_eq!(
        selection.started(&new).as_deref(),
        Some("web runs again: b00000000000")
    );
    assert_eq!(selection.wants("/user.slice/nginx.service"), Wants::Yes);
}

#[test]
fn what_does_not_run_yet_is_awaited() {
    let (a, b) = (id("abc1"), id("abd"));
    let machine = Machine::new(&["/system.slice/x.service", "/docker/y"]);
    machine.cgroup("pids", "/system.slice/x.service", Some(7));
    machine.cgroup("memory", "/elsewhere", None);
    machine.docker(&a, "web");
    machine.docker(&b, "db");
    machine.write("/etc/systemd/system/api.service", "");
    machine.write("/lib/systemd/system/job@.service", "");
    let expected = |typed: &str| {
        let selection = machine.select(&[typed]).unwrap();
        assert!(selection.cgroups.is_empty());
        assert!(selection.unified);
        assert_eq!(selection.controller.map(|c| c.hierarchy), Some(3));
        assert_eq!(
            selection.notes,
            [format!(
                "--container {typed} does not run: it is watched when it starts"
            )]
        );
        let places = selection.expected.into_iter();
        let mut places: Vec<_> = places.map(|c| (c.hierarchy, c.path)).collect();
        places.sort();
        places
    };
    let scope = format!("/system.slice/docker-{a}.scope");
    let of_web = [
        (0, format!("/docker/{a}")),
        (0, scope.clone()),
        (3, scope.clone()),
    ];
    for typed in ["web", "/web", "abc", a.as_str()] {
        assert_eq!(expected(typed), of_web, "{typed}");
    }
    for (typed, unit) in [
        ("api", "api.service"),
        ("api.service", "api.service"),
        ("job@1.service", "job@1.service"),
    ] {
        let path = format!("/system.slice/{unit}");
        assert_eq!(expected(typed), [(0, path.clone()), (3, path)]);
    }
    assert!(matches!(machine.select(&["ab"]), Err(NotFound::Unknown(_))));
    assert!(matches!(
        machine.select(&["nothing.service"]),
        Err(NotFound::Unknown(_))
    ));
    machine.docker(&id("abc2"), "other");
    assert_eq!(
        machine.select(&["abc"]).unwrap_err(),
        NotFound::Ambiguous("abc100000000000000000000, abc200000000000000000000".to_owned())
    );
    let mut selection = machine.select(&["web"]).unwrap();
    assert_eq!(selection.wants(&scope), Wants::Yes);
    assert_eq!(
        selection.started(&scope).as_deref(),
        Some("web runs: abc100000000")
    );
}

#[test]
fn what_starts_later_is_among_the_processes() {
    let (old, new) = (id("a"), id("b"));
    let (old, new) = (format!("/docker/{old}"), format!("/docker/{new}"));
    let machine = Machine::new(&[]);
    machine.docker(&id("a"), "web");
    machine.docker(&id("b"), "web");
    machine.cgroup("unified", &old, Some(11));
    let mut selection = machine.select(&["web"]).unwrap();
    assert_eq!(selection.processes(), [11]);
    machine.cgroup("unified", &new, Some(22));
    machine.cgroup("unified", &format!("{new}/within"), Some(23));
    let at = |path: &str| {
        let tree = machine.tree();
        tree.cgroups.into_iter().find(|c| c.path == path).unwrap()
    };
    let (old, new) = (at(&old), at(&new));
    for _ in 0..2 {
        selection.add(new.clone());
        assert_eq!(selection.cgroups.len(), 2);
    }
    assert_eq!(selection.processes(), [11, 22, 23]);
    selection.remove(old.hierarchy, old.id);
    assert_eq!(selection.processes(), [22, 23]);
    // That others are gone is not heard of.
    for id in 0..2000 {
        let directory = old.directory.join("gone");
        selection.add(Cgroup {
            id,
            directory,
            ..old.clone()
        });
    }
    assert!(selection.cgroups.len() <= 1024 + 1);
    assert_eq!(selection.processes(), [22, 23]);
}

#[test]
fn what_is_remembered_of_names_is_bounded() {
    let machine = Machine::new(&[]);
    let long = "x".repeat(513);
    let list: Vec<String> = (0..20).map(|n| format!(r#""n{n}""#)).collect();
    let storage = "/var/lib/containers/storage/overlay-containers/containers.json";
    machine.write(
        storage,
        &format!(
            r#"[{{"id":"{}","names":["{long}",{}]}},{{"id":"{long}","names":["y"]}}]"#,
            id("a"),
            list.join(",")
        ),
    );
    let names = Names::read(machine.root.path());
    let known: Vec<&str> = names.of(&id("a"), "/").collect();
    assert_eq!((known.len(), known.first()), (16, Some(&"n0")));
    assert_eq!(names.ids("y").count(), 0);
    // One container in a list many times over.
    let one = format!(r#"{{"id":"{}","names":["web"]}}"#, id("b"));
    machine.write(storage, &format!("[{}]", vec![one.as_str(); 100].join(",")));
    let names = Names::read(machine.root.path());
    assert_eq!(names.of(&id("b"), "/").count(), 16);
}

#[test]
fn more_containers_than_are_remembered() {
    let machine = Machine::new(&[]);
    machine.docker(&id("a"), "web");
    machine.docker(&id("b"), "db");
    let mut names = Names::read(machine.root.path());
    let (a, b) = (id("a"), id("b"));
    for n in 0..40_000 {
        names.first(&format!("{n:064}"), "/");
    }
    assert!(names.begun("").count() <= names::MAX_KNOWN);
    assert!(names.begun("").count() > 1);
    // Room is made for the newest.
    let web = || names.first(&a, "/").as_deref() == Some("web");
    assert!(until(web));
    assert!(until(|| names.look_again(&b)));
    assert_eq!(names.of(&b, "/").next(), Some("db"));
    names.keep(&["db"]);
    assert_eq!(names.begun("").collect::<Vec<_>>(), [&b]);
    names.forget(&b);
    assert_eq!(names.begun("").count(), 0);
}

#[test]
fn others_names_are_not_remembered() {
    let machine = Machine::new(&[]);
    machine.docker(&id("a"), "web");
    machine.docker(&id("b"), "db");
    let mut selection = machine.select(&["web"]).unwrap();
    for _ in 0..2 {
        assert_eq!(selection.wants(&format!("/docker/{}", id("b"))), Wants::No);
        assert_eq!(selection.names_known(), 1);
    }
    assert_eq!(selection.wants(&format!("/docker/{}", id("a"))), Wants::Yes);
}

/// A file that takes long to read is not read for every container at once.
#[test]
fn reading_names_leaves_time() {
    let machine = Machine::new(&[]);
    machine.docker(&id("a"), "web");
    let filler = vec!["0"; 1 << 17].join(",");
    machine.write(
        "/var/lib/containers/storage/overlay-containers/containers.json",
        &format!("[{filler}]"),
    );
    let mut selection = machine.select(&["web"]).unwrap();
    let path = format!("/docker/{}", id("a"));
    assert!(until(|| selection.wants(&path) == Wants::Later));
    assert!(until(|| selection.wants(&path) == Wants::Yes));
}

/// Waits for what comes with time, a minute at most.
fn until(mut is_so: impl FnMut() -> bool) -> bool {
    let start = std::time::Instant::now();
    while start.elapsed().as_secs() < 60 {
        if is_so() {
            return true;
        }
    }
    false
}
