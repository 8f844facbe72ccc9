//! The filter's promises: and, or, what lacks, what is undecided.

use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::event::{ConnectionKey, Source};
use crate::exchange::{Body, Fields, Version};

fn info(local: Option<&str>, peer: Option<&str>) -> ConnectionInfo {
    let end = |text: &str| Endpoint::Tcp(text.parse::<SocketAddr>().unwrap());
    ConnectionInfo {
        key: ConnectionKey {
            source: Source::Tcp,
            object: 1,
            born: 1,
        },
        local: local.map(end),
        peer: peer.map(end),
        namespace: 0,
        from_start: true,
        tls_library: None,
        perspective_unknown: false,
        number: None,
    }
}

fn request(method: &str, target: &str, scheme: &'static str, host: Option<&str>) -> Request {
    Request {
        method: method.into(),
        target: target.into(),
        scheme,
        host: host.map(Into::into),
        version: Version::Http11,
        headers: Fields::default(),
        trailers: Fields::default(),
        body: Body::default(),
    }
}

fn host(pattern: &str, authority: &str) -> bool {
    let glob: HostGlob = pattern.parse().unwrap();
    glob.matches(authority.as_bytes(), "https")
}

fn path(pattern: &str, target: &str) -> bool {
    let glob: PathGlob = pattern.parse().unwrap();
    glob.matches(b"GET", target.as_bytes())
}

#[test]
fn a_host_pattern_ignores_case_a_trailing_dot_and_the_port() {
    assert!(host("api.*", "API.example.com"));
    assert!(host("Example.COM", "example.com:8443"));
    assert!(host("example.com.", "example.com"));
    assert!(host("example.com", "example.com.:443"));
    assert!(host("example.com", "user:pass@example.com"));
    assert!(!host("example.com", "example.com.evil.org"));
    assert!(!host("example.com", "notexample.com"));
}

#[test]
fn a_host_pattern_with_a_port_looks_at_the_port() {
    assert!(host("*:8443", "example.com:8443"));
    assert!(host("*:8443", "[::1]:8443"));
    assert!(!host("*:8443", "example.com"));
    assert!(host("example.com:443", "example.com"));
    let glob: HostGlob = "example.com:80".parse().unwrap();
    assert!(glob.matches(b"example.com", "http"));
    assert!(!glob.matches(b"example.com", "https"));
    assert!(host("example.com:8*", "example.com.:8443"));
}

#[test]
fn a_bracketed_host_is_an_address_and_no_set_of_characters() {
    assert!(host("[::1]:8080", "[::1]:8080"));
    assert!(!host("[::1]:8080", "[::1]:8081"));
    assert!(!host("[::1]:8080", "1:8080"));
    assert!(host("[::1]", "[::1]:8081"));
    assert!(host("::1", "[::1]:8081"));
    assert!(host("[FE80::*]", "[fe80::1]"));
    assert!(!host("[*]", "example.com"));
    assert!(!host("a[bc].com", "ab.com"));
    assert!(host("a[bc].com", "a[bc].com"));
}

#[test]
fn a_host_pattern_that_cannot_match_is_an_error_that_helps() {
    let error = |pattern: &str| pattern.parse::<HostGlob>().unwrap_err();
    assert_eq!(
        error("https://example.com/x").to_string(),
        "a host is wanted, not a URL: write --host 'example.com', and --path for the rest"
    );
    assert_eq!(error("example.com/x"), PatternError::Host);
    assert_eq!(error("[::1"), PatternError::HostBracket);
    assert_eq!(error("example.com:"), PatternError::HostPort);
    assert_eq!(error("example.com:http"), PatternError::HostPort);
    assert_eq!(error(""), PatternError::Glob(crate::glob::GlobError::Empty));
    assert_eq!(
        error("."),
        PatternError::Glob(crate::glob::GlobError::Empty)
    );
}

#[test]
fn a_path_is_matched_without_its_query_unless_asked_for() {
    assert!(path("/api/*", "/api/users?id=1"));
    assert!(path("/api", "/api?x"));
    assert!(!path("/api/?", "/api/"));
    assert!(path("*x=1", "/x=1"));
    assert!(!path("*x=1", "/a?x=1"));
    assert!(path(r"/a\?x=*", "/a?x=1"));
    assert!(!path(r"/a\?x=*", "/a"));
    assert!(path("*/users", "http://example.com/api/users?page=2"));
    assert!(path("/", "http://example.com"));
    assert!(path("/", "http://example.com?x=1"));
    assert!(path("/go/*", "/go/http://other/x"));
    assert!(path("*", "*"));
    let glob: PathGlob = "*".parse().unwrap();
    assert!(!glob.matches(b"CONNECT", b"example.com:443"));
    let chat: PathGlob = "/chat".parse().unwrap();
    assert!(chat.matches(b"CONNECT", b"/chat?x=1"));
    assert_eq!("users".parse::<PathGlob>(), Err(PatternError::Path));
}

#[test]
fn statuses_are_single_classes_or_ranges() {
    let status = |text: &str| text.parse::<StatusRange>();
    assert!(status("404").unwrap().contains(404));
    assert!(!status("404").unwrap().contains(405));
    assert!(status("5xx").unwrap().contains(599));
    assert!(status("5XX").unwrap().contains(500));
    assert!(!status("5xx").unwrap().contains(499));
    assert!(status("400-499").unwrap().contains(450));
    assert!(status("4xx-5xx").unwrap().contains(599));
    for bad in [
        "", "4", "40x", "4000", "0xx", "6xx", "099", "-", "400-", "-400", "40 ", "+40",
    ] {
        assert_eq!(status(bad), Err(PatternError::Status), "{bad}");
    }
    assert_eq!(status("499-400"), Err(PatternError::StatusOrder));
}

#[test]
fn methods_and_ports_say_what_is_wrong() {
    assert!("get".parse::<Method>().unwrap().matches(b"GET"));
    assert_eq!("GET,POST".parse::<Method>(), Err(PatternError::Method));
    assert_eq!(parse_port("8443"), Ok(8443));
    for bad in ["0", "65536", "http", "-1", ""] {
        assert_eq!(parse_port(bad), Err(PatternError::Port));
    }
}

#[test]
fn an_exe_pattern_without_a_slash_is_for_the_name() {
    let exe = |pattern: &str, path: &str| {
        let glob: ExeGlob = pattern.parse().unwrap();
        glob.matches(path.as_bytes())
    };
    assert!(exe("curl", "/usr/bin/curl"));
    assert!(exe("python3*", "/usr/bin/python3.11"));
    assert!(exe("/usr/*/curl", "/usr/local/bin/curl"));
    assert!(!exe("/bin/curl", "/usr/bin/curl"));
    assert!(exe("curl", "/usr/bin/curl (deleted)"));
}

struct Case {
    process: Option<Process>,
    info: ConnectionInfo,
    request: Option<Request>,
}

impl Case {
    fn judge(&self, filter: &Filter, status: Option<u16>, last: bool) -> Verdict {
        filter.judge(&Subject {
            process: self.process.as_ref(),
            thread: b"worker-1",
            info: &self.info,
            request: self.request.as_ref(),
            status,
            last,
        })
    }
}

fn curl() -> Case {
    Case {
        process: Some(Process {
            pid: 4242,
            comm: b"curl".to_vec(),
            exe: Some(b"/usr/bin/curl".to_vec()),
            uid: Some(1000),
            ..Process::default()
        }),
        info: info(Some("127.0.0.1:50000"), Some("127.0.0.1:443")),
        request: Some(request("GET", "/x", "https", Some("example.com"))),
    }
}

#[test]
fn the_same_option_means_or_and_different_options_mean_and() {
    let mut filter = Filter::default();
    assert!(filter.is_empty());
    assert_eq!(curl().judge(&filter, None, false), Verdict::Keep);
    filter.hosts = vec!["other".parse().unwrap(), "example.*".parse().unwrap()];
    assert!(!filter.is_empty());
    assert_eq!(curl().judge(&filter, None, false), Verdict::Keep);
    filter.methods = vec!["post".parse().unwrap()];
    assert_eq!(curl().judge(&filter, None, false), Verdict::Drop);
    filter.methods.push("get".parse().unwrap());
    filter.pids = vec![1, 4242];
    filter.uids = vec![1000];
    filter.ports = vec![80, 443];
    filter.exes = vec!["curl".parse().unwrap()];
    filter.paths = vec!["/x".parse().unwrap()];
    filter.comms = vec![Glob::new("cur?").unwrap()];
    assert_eq!(curl().judge(&filter, None, false), Verdict::Keep);
    filter.pids = vec![1];
    assert_eq!(curl().judge(&filter, None, false), Verdict::Drop);
}

#[test]
fn a_thread_name_is_enough_for_comm() {
    let filter = Filter {
        comms: vec![Glob::new("worker-*").unwrap()],
        ..Filter::default()
    };
    assert_eq!(curl().judge(&filter, None, false), Verdict::Keep);
    let case = Case {
        process: None,
        ..curl()
    };
    assert_eq!(case.judge(&filter, None, false), Verdict::Keep);
}

#[test]
fn what_may_still_come_is_undecided_and_lacks_at_the_end() {
    let filter = Filter {
        statuses: vec!["5xx".parse().unwrap()],
        ..Filter::default()
    };
    assert_eq!(curl().judge(&filter, None, false), Verdict::Undecided);
    assert_eq!(curl().judge(&filter, None, true), Verdict::Lacks);
    assert_eq!(curl().judge(&filter, Some(503), false), Verdict::Keep);
    assert_eq!(curl().judge(&filter, Some(200), false), Verdict::Drop);

    let filter = Filter {
        hosts: vec!["*".parse().unwrap()],
        ..Filter::default()
    };
    let mut case = Case {
        request: None,
        ..curl()
    };
    assert_eq!(case.judge(&filter, Some(200), false), Verdict::Undecided);
    assert_eq!(case.judge(&filter, Some(200), true), Verdict::Lacks);
    case.request = Some(request("GET", "/", "http", None));
    assert_eq!(case.judge(&filter, None, false), Verdict::Lacks);
}

#[test]
fn an_exchange_without_its_process_lacks_what_who_asks_for() {
    let case = Case {
        process: None,
        ..curl()
    };
    for filter in [
        Filter {
            pids: vec![4242],
            ..Filter::default()
        },
        Filter {
            uids: vec![1000],
            ..Filter::default()
        },
        Filter {
            exes: vec!["curl".parse().unwrap()],
            ..Filter::default()
        },
        Filter {
            comms: vec![Glob::new("curl").unwrap()],
            ..Filter::default()
        },
    ] {
        assert_eq!(case.judge(&filter, None, true), Verdict::Lacks);
    }
}

#[test]
fn a_port_is_that_of_either_end_and_a_unix_socket_has_none() {
    let filter = Filter {
        ports: vec![8080],
        ..Filter::default()
    };
    let judge = |info| {
        let case = Case { info, ..curl() };
        case.judge(&filter, None, false)
    };
    assert_eq!(judge(info(Some("[::1]:8080"), None)), Verdict::Keep);
    assert_eq!(judge(info(None, Some("1.2.3.4:8080"))), Verdict::Keep);
    assert_eq!(judge(info(None, Some("1.2.3.4:80"))), Verdict::Undecided);
    assert_eq!(
        judge(info(Some("1.1.1.1:1"), Some("2.2.2.2:2"))),
        Verdict::Drop
    );
    let mut unix = info(None, None);
    let path: Arc<str> = Arc::from("/run/docker.sock");
    unix.local = Some(Endpoint::Unix(Arc::clone(&path)));
    unix.peer = Some(Endpoint::Unix(path));
    assert_eq!(judge(unix), Verdict::Drop);
}

#[test]
fn a_known_difference_outweighs_what_is_not_known() {
    let filter = Filter {
        methods: vec!["POST".parse().unwrap()],
        statuses: vec!["200".parse().unwrap()],
        ..Filter::default()
    };
    assert_eq!(curl().judge(&filter, None, false), Verdict::Drop);
}

#[test]
fn what_a_connection_joined_late_does_not_tell_is_lacking() {
    let any = info(Some("10.0.0.1:1"), Some("10.0.0.2:2"));
    let mut late = request("<unknown>", "<unknown:62>", "https", Some("<unknown:63>"));
    let judge = |filter: &Filter, request: &Request, status| {
        filter.judge(&Subject {
            process: None,
            thread: b"",
            info: &any,
            request: Some(request),
            status,
            last: false,
        })
    };
    let filters = [
        Filter {
            methods: vec!["GET".parse().unwrap()],
            ..Filter::default()
        },
        Filter {
            paths: vec!["/x".parse().unwrap()],
            ..Filter::default()
        },
        Filter {
            hosts: vec!["example.com".parse().unwrap()],
            ..Filter::default()
        },
    ];
    for filter in &filters {
        assert_eq!(judge(filter, &late, None), Verdict::Drop, "HTTP/1");
    }
    late.version = Version::Http2;
    for filter in &filters {
        assert_eq!(judge(filter, &late, None), Verdict::Lacks);
    }
    // One that differs outweighs.
    late.method = b"POST".to_vec();
    assert_eq!(judge(&filters[0], &late, None), Verdict::Drop);

    let status = Filter {
        statuses: vec!["5xx".parse().unwrap()],
        ..Filter::default()
    };
    assert_eq!(judge(&status, &late, Some(0)), Verdict::Lacks);
    assert_eq!(judge(&status, &late, Some(200)), Verdict::Drop);
    assert_eq!(judge(&Filter::default(), &late, Some(0)), Verdict::Keep);
}
