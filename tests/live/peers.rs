//! The right socket for every TLS object: many connections at once, on one
//! thread and through memory, all of whose messages have equal lengths. Every
//! end writes down with whom it spoke, and httpsniff must say the same: never
//! another peer, and an unknown one for less than one exchange in a hundred.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::support::clients::run;
use crate::support::exchange::{Exchange, short};
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::process::{Process, eventually};
use crate::support::servers::{PYTHON, free_port, nginx, program};
use crate::support::skip::{find, needs};

/// What an end of the connections is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// asyncio: memory BIOs.
    Asyncio,
    /// node: BIOs of its own, in memory.
    Node,
    /// OpenSSL on sockets, by one thread that polls.
    Socket,
    /// OpenSSL on BIO pairs; another thread sends.
    Pairs,
    /// The same, into BIOs that the program itself has made.
    Own,
}

/// When httpsniff comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Before the connections are made.
    Early,
    /// When they have been used once.
    Late,
}

/// What stands between the two ends, with TLS on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxy {
    Nginx,
    Haproxy,
}

/// Where everything of a test is kept.
struct Scene {
    folder: tempfile::TempDir,
    certificate: Certificate,
}

impl Scene {
    fn new(ends: &[End]) -> Self {
        let scene = Self {
            folder: folder(),
            certificate: Certificate::new(),
        };
        if ends
            .iter()
            .any(|end| !matches!(end, End::Asyncio | End::Node))
        {
            run(Command::new("gcc")
                .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
                .arg(scene.path("peers"))
                .arg(program("peers.c"))
                .args(["-lssl", "-lcrypto", "-lpthread"]));
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program of an end, with the arguments that it is told apart by.
    fn program(&self, end: End) -> (Command, Option<&'static str>) {
        let script = |interpreter: &str, name: &str| {
            let mut command = Command::new(interpreter);
            command.arg(program(name));
            command
        };
        match end {
            End::Asyncio => (script(PYTHON, "peers_asyncio.py"), None),
            End::Node => (script("node", "peers_node.js"), None),
            End::Socket => (Command::new(self.path("peers")), Some("socket")),
            End::Pairs => (Command::new(self.path("peers")), Some("pairs")),
            End::Own => (Command::new(self.path("peers")), Some("own")),
        }
    }

    /// Starts a server on many ports.
    fn serve(&self, end: End, ports: usize) -> (Process, Vec<String>) {
        let (mut command, kind) = self.program(end);
        command.arg("serve").arg(self.path("server.log"));
        command.arg(ports.to_string());
        command.args([self.certificate.path(), self.certificate.key()]);
        command.args(kind);
        let mut process = Process::spawn(&mut command);
        let ports = process.line().split(' ').map(str::to_owned).collect();
        (process, ports)
    }

    /// Starts a client, which waits for a line before it asks.
    fn ask(&self, end: End, load: Load, when: When, ports: &[String]) -> Process {
        let (mut command, kind) = self.program(end);
        command.arg("ask").arg(self.path("client.log"));
        command.arg(self.certificate.path());
        command.args([load.connections, load.requests].map(|n| n.to_string()));
        command.arg(match when {
            When::Early => "early",
            When::Late => "late",
        });
        command.args(kind).args(ports);
        let mut process = Process::spawn(&mut command);
        process.line_with("ready");
        process
    }

    /// What a log says: local and peer address by role and target.
    fn log(&self, name: &str) -> Vec<[String; 4]> {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        text.lines()
            .map(|line| {
                let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
                words.try_into().unwrap()
            })
            .collect()
    }

    /// Starts a proxy before servers on these ports; it and its port.
    fn proxy(&self, proxy: Proxy, ports: &[String]) -> (Process, String) {
        let port = free_port();
        let file = self.path("proxy.conf");
        let mut command = match proxy {
            Proxy::Nginx => {
                std::fs::write(&file, self.nginx(port, ports)).unwrap();
                let mut command = Command::new(find("nginx").unwrap());
                command.arg("-c").arg(&file);
                command
            }
            Proxy::Haproxy => {
                std::fs::write(&file, self.haproxy(port, ports)).unwrap();
                let mut command = Command::new(find("haproxy").unwrap());
                command.arg("-db").arg("-f").arg(&file);
                command
            }
        };
        let mut process = Process::spawn(&mut command);
        eventually("the proxy accepts connections", || {
            if !process.is_running() {
                // Says what is wrong with its configuration.
                process.line();
            }
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        (process, port.to_string())
    }

    fn nginx(&self, port: u16, ports: &[String]) -> String {
        let here = self.folder.path().display();
        let mut text = format!(
            "daemon off; master_process off; user root; pid {here}/pid;\n\
             error_log {here}/error.log; events {{ worker_connections 1024; }}\n\
             http {{ access_log off; keepalive_requests 1000000;\n"
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(text, "{kind}_temp_path {here}/{kind};").unwrap();
        }
        writeln!(text, "upstream servers {{ keepalive 8;").unwrap();
        for port in ports {
            writeln!(text, "server 127.0.0.1:{port};").unwrap();
        }
        writeln!(
            text,
            "}} server {{ listen 127.0.0.1:{port} ssl;\n\
             ssl_certificate {}; ssl_certificate_key {};\n\
             location / {{ proxy_pass https://servers; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; }} }} }}",
            self.certificate.path().display(),
            self.certificate.key().display(),
        )
        .unwrap();
        text
    }

    fn haproxy(&self, port: u16, ports: &[String]) -> String {
        let mut both = std::fs::read(self.certificate.path()).unwrap();
        both.extend(std::fs::read(self.certificate.key()).unwrap());
        let pem = self.path("both.pem");
        std::fs::write(&pem, both).unwrap();
        let mut text = format!(
            "defaults\n mode http\n timeout connect 30s\n timeout client 60s\n timeout server 60s\n\
             frontend front\n bind 127.0.0.1:{port} ssl crt {}\n default_backend servers\n\
             backend servers\n balance roundrobin\n http-reuse always\n",
            pem.display()
        );
        for (number, port) in ports.iter().enumerate() {
            writeln!(
                text,
                " server s{number} 127.0.0.1:{port} ssl verify none pool-max-conn 8"
            )
            .unwrap();
        }
        text
    }
}

/// How much is asked.
#[derive(Clone, Copy)]
struct Load {
    /// Ports of the server, each of which is a server of its own.
    ports: usize,
    /// Connections to each port.
    connections: usize,
    /// Requests on each connection.
    requests: usize,
}

/// By process, role and target: the local and the peer address.
type Truth = HashMap<(u64, String, String), (String, String)>;

/// Runs client, perhaps proxy, and server under httpsniff, and compares what
/// it says of each exchange with what they say.
fn check(server: End, proxy: Option<Proxy>, client: End, when: When, load: Load) {
    let _guard = lock::shared();
    let scene = Scene::new(&[server, client]);
    let (of_server, mut ports) = scene.serve(server, load.ports);
    let between = proxy.map(|proxy| scene.proxy(proxy, &ports));
    if let Some((_, port)) = &between {
        ports = vec![port.clone()];
    }
    let mut of_client = scene.ask(client, load, when, &ports);
    let mut pids = vec![of_server.pid(), of_client.pid()];
    pids.extend(between.iter().map(|(process, _)| process.pid()));
    let mut httpsniff = Httpsniff::new().json();
    for pid in &pids {
        httpsniff = httpsniff.args(["--pid", &pid.to_string()]);
    }
    let running = httpsniff.start();
    of_client.send("go");
    of_client.line_with("done");
    let outcome = running.stop().success();
    of_client.send("end");

    let mut truth = Truth::new();
    let logs = [("client.log", of_client), ("server.log", of_server)];
    for (pid, [role, local, peer, target]) in logs.iter().flat_map(|(name, process)| {
        scene
            .log(name)
            .into_iter()
            .map(|line| (process.pid(), line))
    }) {
        if let Some((process, _)) = &between {
            let other = if role == "client" { "server" } else { "client" };
            let key = (u64::from(process.pid()), other.to_owned(), target.clone());
            // Its ends are those of the others, mirrored.
            truth.insert(key, (peer.clone(), local.clone()));
        }
        truth.insert((u64::from(pid), role, target), (local, peer));
    }
    let views = if between.is_some() { 4 } else { 2 };
    let ways = if between.is_some() { 1 } else { load.ports };
    assert_eq!(
        truth.len(),
        views * ways * load.connections * load.requests,
        "the ends themselves say otherwise"
    );
    let unknown = compare(&truth, &outcome.exchanges(), &outcome.stderr);
    assert!(
        unknown * 100 < truth.len(),
        "{unknown} of {} are unknown: {}",
        truth.len(),
        outcome.stderr
    );
}

/// Panics if an exchange is missing or has a wrong peer; how many have none.
fn compare(truth: &Truth, seen: &[Exchange], stderr: &str) -> usize {
    let mut problems = String::new();
    let (mut wrong, mut unknown) = (0, 0);
    let mut left = truth.clone();
    for exchange in seen {
        let key = (
            exchange.pid(),
            exchange.role().to_owned(),
            exchange.target().to_owned(),
        );
        let Some((local, peer)) = left.remove(&key) else {
            writeln!(problems, "not expected, or twice: {}", short(exchange)).unwrap();
            continue;
        };
        match (exchange.text("/local"), exchange.text("/peer")) {
            ("", "") => unknown += 1,
            (l, p) if l == local && p == peer => {}
            _ => {
                wrong += 1;
                writeln!(problems, "{local} {peer} is shown as {}", short(exchange)).unwrap();
            }
        }
    }
    for missing in left.keys() {
        writeln!(problems, "missing: {missing:?}").unwrap();
    }
    println!(
        "{} exchanges, {wrong} with a wrong peer, {unknown} with an unknown one",
        truth.len()
    );
    let first: Vec<_> = problems.lines().take(10).collect();
    assert!(problems.is_empty(), "{}\n{stderr}", first.join("\n"));
    unknown
}

/// One thread that talks to 50 servers.
const MANY: Load = Load {
    ports: 50,
    connections: 1,
    requests: 10,
};

/// Connections that share a backend.
const PROXIED: Load = Load {
    ports: 3,
    connections: 10,
    requests: 50,
};

/// A test for each combination of server, proxy and client.
macro_rules! peers {
    ($($name:ident: $server:ident, $proxy:expr, $client:ident, $when:ident, $load:ident;)*) => { $(
        #[test]
        fn $name() {
            needs!("openssl", "gcc", "node", "nginx", "haproxy");
            check(End::$server, $proxy, End::$client, When::$when, $load);
        }
    )* };
}

peers! {
    asyncio: Asyncio, None, Asyncio, Early, MANY;
    asyncio_late: Asyncio, None, Asyncio, Late, MANY;
    node: Node, None, Node, Early, MANY;
    node_late: Node, None, Node, Late, MANY;
    sockets: Socket, None, Socket, Early, MANY;
    sockets_late: Socket, None, Socket, Late, MANY;
    pairs: Pairs, None, Pairs, Early, MANY;
    pairs_late: Pairs, None, Pairs, Late, MANY;
    behind_nginx: Asyncio, Some(Proxy::Nginx), Pairs, Early, PROXIED;
    behind_nginx_late: Asyncio, Some(Proxy::Nginx), Pairs, Late, PROXIED;
    behind_haproxy: Asyncio, Some(Proxy::Haproxy), Pairs, Early, PROXIED;
    behind_haproxy_late: Asyncio, Some(Proxy::Haproxy), Pairs, Late, PROXIED;
}

/// Where records go by a function that nobody but the program knows, they are
/// looked for once objects are seen that have no socket: then they get it.
#[test]
fn own_bios() {
    needs!("openssl", "gcc");
    let _guard = lock::shared();
    let scene = Scene::new(&[End::Own]);
    let (server, ports) = scene.serve(End::Own, 4);
    let load = Load {
        ports: 4,
        connections: 2,
        requests: 10,
    };
    let mut client = scene.ask(End::Own, load, When::Early, &ports);
    let pids = format!("{},{}", server.pid(), client.pid());
    let running = Httpsniff::new().json().args(["--pid", &pids]).start();
    let shown = running.folder().join("out.json");
    let mut known = Vec::new();
    eventually("both ends know their peers", || {
        client.send("go");
        client.line_with("done");
        let text = std::fs::read_to_string(&shown).unwrap_or_default();
        known = ["client", "server"]
            .map(|role| {
                text.lines()
                    .filter(|line| line.contains(&format!("\"role\":\"{role}\"")))
                    .any(|line| line.contains("\"peer\":\"127.0.0.1:"))
            })
            .to_vec();
        known.iter().all(|known| *known)
    });
    client.send("go");
    client.line_with("done");
    let outcome = running.stop().success();
    let truth: Truth = [("client.log", &client), ("server.log", &server)]
        .iter()
        .flat_map(|(name, process)| {
            scene
                .log(name)
                .into_iter()
                .map(|[role, local, peer, target]| {
                    ((u64::from(process.pid()), role, target), (local, peer))
                })
        })
        .collect();
    compare(&truth, &outcome.exchanges(), &outcome.stderr);
    let of_last_round = outcome.exchanges();
    let last = &of_last_round[of_last_round.len() - 16..];
    assert!(
        last.iter()
            .all(|exchange| !exchange.text("/peer").is_empty()),
        "{}",
        short(&last[0])
    );
}

/// TLS in TLS: to a server behind an https proxy. Both the CONNECT and what is
/// inside the tunnel go by the socket to the proxy.
fn check_tls_in_tls(client: impl Fn(&Certificate, u16, &str) -> Command) {
    let _guard = lock::shared();
    let certificate = Certificate::new();
    let docroot = Docroot::new(&[1]);
    let server = nginx(&docroot, Some(&certificate));
    let mut proxy = Process::spawn(
        Command::new(PYTHON)
            .arg(program("connect_proxy.py"))
            .args([certificate.path(), certificate.key()]),
    );
    let port: u16 = proxy.line().parse().unwrap();
    let url = format!("https://localhost:{}/1.bin", server.port());
    let outcome = Httpsniff::new()
        .json()
        .run(&client(&certificate, port, &url))
        .success();
    // The tunnel ends last.
    let exchanges = outcome.of_role("client");
    let methods: Vec<_> = exchanges
        .iter()
        .map(|e| e.text("/request/method"))
        .collect();
    let shown: Vec<_> = exchanges.iter().map(short).collect();
    assert_eq!(methods, ["GET", "CONNECT"], "{shown:?}");
    let local = String::from_utf8(outcome.stdout).unwrap();
    for exchange in &exchanges {
        assert_eq!(exchange.text("/local"), local.trim(), "{shown:?}");
        assert_eq!(
            exchange.text("/peer"),
            format!("127.0.0.1:{port}"),
            "{shown:?}"
        );
    }
}

#[test]
fn tls_in_tls_on_a_socket() {
    needs!("openssl", "nginx", "curl");
    check_tls_in_tls(|certificate, port, url| {
        let mut command = Command::new("curl");
        command.args(["-q", "-sS", "--fail", "--http1.1", "-o", "/dev/null"]);
        command.args(["-w", "%{local_ip}:%{local_port}"]);
        command.arg("--cacert").arg(certificate.path());
        command.arg("--proxy-cacert").arg(certificate.path());
        command
            .arg("--proxy")
            .arg(format!("https://localhost:{port}"));
        command.arg(url);
        command
    });
}

#[test]
fn tls_in_tls_in_memory() {
    needs!("openssl", "nginx");
    check_tls_in_tls(|certificate, port, url| {
        let mut command = Command::new(PYTHON);
        command.arg(program("fetch_tls_in_tls.py"));
        command
            .arg(certificate.path())
            .arg(port.to_string())
            .arg(url);
        command
    });
}
