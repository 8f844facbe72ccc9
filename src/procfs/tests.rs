use std::os::unix::ffi::OsStrExt as _;

use super::*;
use std::process::{Child, Command, Stdio};

const ID: &str = "4f3a9c1e7b2d4f3a9c1e7b2d4f3a9c1e7b2d4f3a9c1e7b2d4f3a9c1e7b2d0123";

#[test]
fn containers_are_told_by_the_cgroups_of_their_runtimes() {
    let with_id = [
        // Docker, version 1 and 2, cgroupfs and systemd drivers.
        "12:memory:/docker/ID\n1:name=systemd:/docker/ID\n0::/system.slice/containerd.service",
        "0::/system.slice/docker-ID.scope",
        "0::/docker/ID",
        // systemd inside a container.
        "0::/system.slice/docker-ID.scope/init.scope",
        "1:name=systemd:/docker/ID/system.slice/nginx.service",
        // Podman: root, user, with a cgroup of its own below, cgroupfs.
        "0::/machine.slice/libpod-ID.scope/container",
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
        "11:cpu,cpuacct:/libpod_parent/libpod-ID",
        // Kubernetes: containerd, CRI-O, Docker; both drivers.
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8d3f0b51_6b2c_4f7b_9a93_5d0f1c1f0a11.slice/cri-containerd-ID.scope",
        "0::/kubepods.slice/kubepods-pod8d3f0b51_6b2c_4f7b_9a93_5d0f1c1f0a11.slice/crio-ID.scope",
        "0::/kubepods/besteffort/pod8d3f0b51-6b2c-4f7b-9a93-5d0f1c1f0a11/ID",
        "4:pids:/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/docker-ID.scope",
        "9:devices:/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:ID",
        // Seen from another container: the path leads up first.
        "0::/../../kubepods-burstable-pod1.slice/cri-containerd-ID.scope",
        // Amazon ECS, nerdctl, a container in a container.
        "3:cpuset:/ecs/cluster/6e7c0b1f0d5a4a3f8f6f6e7c0b1f0d5a/ID",
        "0::/system.slice/nerdctl-ID.scope",
        "0::/docker/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/docker/ID",
    ];
    for text in with_id {
        let text = text.replace("ID", ID);
        assert_eq!(container_of(&text).as_deref(), Some(ID), "{text}");
    }
    let named = [
        ("0::/lxc.payload.web/system.slice/x.service", "web"),
        ("2:memory:/lxc/web/init.scope", "web"),
        (
            "1:cpu:/ecs/34dc0b5e626f2c5c4c5170e34b10e765/34dc0b5e626f2c5c4c5170e34b10e765-1234567890",
            "34dc0b5e626f2c5c4c5170e34b10e765-1234567890",
        ),
    ];
    for (text, name) in named {
        assert_eq!(container_of(text).as_deref(), Some(name), "{text}");
    }
    let none = [
        "",
        "0::/",
        "0::/init.scope",
        "0::/user.slice/user-1000.slice/session-3.scope",
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-4242.scope",
        "0::/system.slice/docker.service",
        "0::/system.slice/system-getty.slice/getty@tty1.service",
        // What watches a container is not in it.
        "0::/machine.slice/libpod-conmon-ID.scope",
        "0::/kubepods.slice/kubepods-pod1.slice/crio-conmon-ID.scope",
        // Other lengths, other digits.
        "0::/docker/4f3a9c1e7b2d",
        "0::/x/4F3A9C1E7B2D4f3a9c1e7b2d4f3a9c1e7b2d4f3a9c1e7b2d4f3a9c1e7b2d0123",
        "nonsense",
    ];
    for text in none {
        let text = text.replace("ID", ID);
        assert_eq!(container_of(&text), None, "{text}");
    }
    let directory = format!("docker-{ID}.scope");
    assert_eq!(container_of_directory(&directory).as_deref(), Some(ID));
}

/// A process that is ended with the test.
struct Waiting(Child);

impl Waiting {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Starts a copy of cat and waits until it works: `spawn` returns a moment
    /// before the new program has its name and arguments.
    fn cat(program: &str, arguments: &[&str]) -> Self {
        use std::io::Write;
        let mut cat = Self::start(program, arguments);
        cat.0.stdin.as_mut().unwrap().write_all(b"7\n").unwrap();
        assert_eq!(cat.numbers(1), [7]);
        cat
    }

    /// Waits for so many lines of output with a number each.
    fn numbers(&mut self, count: usize) -> Vec<u32> {
        use std::io::{BufRead, BufReader};
        let output = BufReader::new(self.0.stdout.take().unwrap());
        let lines = output.lines().take(count);
        lines.map(|line| line.unwrap().parse().unwrap()).collect()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_process_is_described() {
    let cat = Waiting::cat("/bin/cat", &["-", "", "-u"]);
    let pid = cat.0.id();
    let found = process(pid).unwrap();
    let expected = Process {
        pid,
        start: start(pid).unwrap(),
        comm: b"cat".to_vec(),
        exe: Some(
            fs::canonicalize("/bin/cat")
                .unwrap()
                .into_os_string()
                .into_vec(),
        ),
        cmdline: [&b"/bin/cat"[..], b"-", b"", b"-u"]
            .map(<[u8]>::to_vec)
            .to_vec(),
        cmdline_cut: false,
        uid: Some(rustix::process::geteuid().as_raw()),
        container: container(std::process::id()),
        container_name: None,
    };
    assert_eq!(found, expected);
    assert!(found.start >= start(std::process::id()).unwrap());
    assert_eq!(pid_namespace(pid), pid_namespace(std::process::id()));
    assert!(all().contains(&pid));
}

#[test]
fn a_long_command_line_is_cut_and_a_deleted_program_keeps_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("c (at");
    // By another process, or a child that another test starts meanwhile
    // may hold the copy open for writing (ETXTBSY).
    let copied = Command::new("cp").arg("/bin/cat").arg(&program).status();
    assert!(copied.unwrap().success());
    let long = "x".repeat(5000);
    let cat = Waiting::cat(program.to_str().unwrap(), &["-", &long]);
    fs::remove_file(&program).unwrap();
    let found = process(cat.0.id()).unwrap();
    assert!(found.cmdline_cut);
    assert_eq!(found.cmdline.len(), 3);
    let kept: usize = found.cmdline.iter().map(|a| a.len() + 1).sum();
    assert_eq!(kept, MAX_CMDLINE + 1);
    assert_eq!(found.exe.unwrap(), program.as_os_str().as_bytes());
    assert_eq!(found.comm, b"c (at");
}

#[test]
fn families_are_followed() {
    let mut shell = Waiting::start(
        "/bin/sh",
        &["-c", "sh -c 'sleep 1000 & echo $!; wait' & echo $!; wait"],
    );
    let mut expected = shell.numbers(2);
    let mut found = descendants(shell.0.id());
    assert_eq!(children(shell.0.id()), &found[..1]);
    assert_eq!(children(found[0]), &found[1..]);
    assert_eq!(
        families().remove(&shell.0.id()).unwrap(),
        children(shell.0.id())
    );
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    // They would outlive the shell.
    for pid in found {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

#[test]
fn a_thread_means_its_process() {
    let (send, wait) = std::sync::mpsc::channel::<()>();
    let (tid_send, tid_wait) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        tid_send.send(u32::try_from(tid).unwrap()).unwrap();
        wait.recv().unwrap_err();
    });
    let tid = tid_wait.recv().unwrap();
    assert_ne!(tid, std::process::id());
    assert_eq!(process_of(tid), Some(std::process::id()));
    assert_eq!(process(tid).unwrap().pid, std::process::id());
    assert!(threads(std::process::id()).contains(&tid));
    drop(send);
    thread.join().unwrap();
}

#[test]
fn a_listening_socket_is_no_connection() {
    // In processes of their own: other tests of this one have sockets.
    let holding = |socket: std::os::fd::OwnedFd| {
        let child = Command::new("/bin/sleep")
            .arg("60")
            .stdin(Stdio::from(socket))
            .spawn();
        Waiting(child.unwrap())
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let listening = holding(listener.into());
    assert_eq!(has_connections(listening.0.id()), Some(false));
    let connected = holding(stream.into());
    assert_eq!(has_connections(connected.0.id()), Some(true));
}

#[test]
fn a_process_that_is_gone_has_no_facts() {
    let mut child = Command::new("/bin/true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    assert_eq!(process(pid), None);
    assert_eq!(process_of(pid), None);
    assert_eq!(has_connections(pid), None);
    assert!(children(pid).is_empty() && descendants(pid).is_empty());
    // One that has ended and was not waited for has a few.
    let mut child = Command::new("/bin/sh")
        .args(["-c", "exec >&-; exit 0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut output)
        .unwrap();
    if let Some(process) = process(child.id()) {
        assert_eq!(process.comm, b"sh");
    }
    child.wait().unwrap();
}

#[test]
fn names_that_look_like_fields_do_not_mislead() {
    let stat = Stat::parse(b"7 (a) S 9 (b) R 42 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2\n");
    let stat = stat.unwrap();
    assert_eq!((stat.parent, stat.start), (42, 777));
    let status = Status::parse(b"Name:\tTgid: 9\nUmask:\t0022\nTgid:\t7\nUid:\t1\t0\t2\t3\n");
    let status = status.unwrap();
    assert_eq!((status.tgid, status.uid), (7, Some(0)));
    for (uids, capabilities, may) in [
        (&[0][..], "0", true),
        (&[3], "0", true),
        (&[9], "0", false),
        (&[9, 1], "0", true),
        (&[9], "0000000000000080", true),
        (&[9], "000001ffffffff7f", false),
        (&[9], "", false),
    ] {
        let text = format!("Tgid:\t7\nUid:\t1\t0\t2\t3\nCapPrm:\t{capabilities}\n");
        let status = Status::parse(text.as_bytes()).unwrap();
        assert_eq!(status.may_be_of(uids), may, "{uids:?} {capabilities}");
    }
    for text in [&b""[..], b"(", b"7 (a)", b"7 (a) S", b"7 (a) S x", b")"] {
        assert!(Stat::parse(text).is_none());
    }
}

#[test]
fn a_title_over_the_arguments_is_one_argument() {
    let title = b"nginx: worker process\0\0\0\0\0\0";
    assert_eq!(arguments(title), [b"nginx: worker process".to_vec()]);
    assert_eq!(arguments(b"curl\0\0"), [b"curl".to_vec(), b"".to_vec()]);
    assert_eq!(arguments(b"a\0b"), [b"a".to_vec(), b"b".to_vec()]);
    assert!(arguments(b"").is_empty());
}
