//! Exchanges of all kinds for the tests of the outputs.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use crate::event::{
    ConnectionInfo, ConnectionKey, Direction, Endpoint, MissingReason, Source, Timestamp,
};
use crate::exchange::{
    Body, BodyMessage, BodyMessages, BodyState, Exchange, Fields, Interim, Missing, Request,
    Response, Role, State, Times, Upgrade, Version,
};
use crate::message::{Message, MessageKind};
use crate::process::Process;
use crate::tls_flow::{TlsFlow, Unread};
use crate::tls_hello::{ClientHello, ServerHello, Version as TlsVersion};

/// 2026-11-20T12:00:00.123456789Z
pub(crate) const NOON: u64 = 1_795_176_000_123_456_789;

/// Somewhere to write that the test can look at afterwards.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    pub(crate) fn take_text(&self) -> String {
        String::from_utf8(self.take()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn fields(list: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in list {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

pub(crate) fn body(bytes: &[u8]) -> Body {
    Body {
        encoded_size: bytes.len() as u64,
        size: Some(bytes.len() as u64),
        bytes: bytes.to_vec(),
        ..Body::default()
    }
}

pub(crate) fn process(pid: u32, comm: &str, cmdline: &[&str]) -> Arc<Process> {
    Arc::new(Process {
        pid,
        start: 1,
        comm: comm.into(),
        exe: Some(format!("/usr/bin/{comm}").into_bytes()),
        cmdline: cmdline.iter().map(|a| a.as_bytes().to_vec()).collect(),
        uid: Some(1000),
        ..Process::default()
    })
}

fn connection(source: Source, local: &str, peer: &str) -> ConnectionInfo {
    let end = |text: &str| match text.strip_prefix("unix:") {
        Some(path) => Endpoint::Unix(path.into()),
        None => Endpoint::Tcp(text.parse().unwrap()),
    };
    ConnectionInfo {
        key: ConnectionKey {
            source,
            object: 1,
            born: 1,
        },
        local: Some(end(local)),
        peer: Some(end(peer)),
        namespace: 4_026_531_840,
        from_start: true,
        tls_library: (source == Source::OpenSsl).then(|| "OpenSSL 3.0.22".into()),
        perspective_unknown: false,
        number: None,
    }
}

pub(crate) fn request(method: &str, scheme: &'static str, host: &str, target: &str) -> Request {
    Request {
        method: method.into(),
        target: target.into(),
        scheme,
        host: Some(host.into()),
        version: Version::Http11,
        headers: fields(&[("Host", host)]),
        trailers: Fields::default(),
        body: body(b""),
    }
}

pub(crate) fn response(status: u16, reason: &str, content_type: &str, bytes: &[u8]) -> Response {
    Response {
        status,
        reason: reason.into(),
        version: Version::Http11,
        headers: fields(&[("Content-Type", content_type)]),
        trailers: Fields::default(),
        interim: Vec::new(),
        body: body(bytes),
    }
}

/// The exchange of CONTRACT's example line.
pub(crate) fn plain() -> Exchange {
    let at = |micros: u64| Some(Timestamp(NOON + micros * 1000));
    Exchange {
        connection: 7,
        ordinal: 1,
        stream: None,
        role: Role::Client,
        state: State::Complete,
        process: Some(process(
            4242,
            "curl",
            &["curl", "-s", "https://example.com/x"],
        )),
        tid: 4242,
        thread: b"curl".to_vec(),
        info: Arc::new(connection(
            Source::OpenSsl,
            "127.0.0.1:50000",
            "127.0.0.1:443",
        )),
        request: Some(request("GET", "https", "example.com", "/x")),
        response: Some(response(200, "OK", "text/plain", b"hello")),
        interim: Vec::new(),
        times: Times {
            request_start: at(0),
            request_end: at(12),
            response_start: at(842),
            response_end: at(882),
        },
        lost_bytes: 0,
        upgraded_to: None,
        tunnel_bytes: [0, 0],
        messages: None,
        notes: Vec::new(),
    }
}

/// A server's view, by a thread with a name of its own, of a POST with
/// `Expect: 100-continue` and trailers.
pub(crate) fn served() -> Exchange {
    let mut exchange = plain();
    exchange.connection = 8;
    exchange.ordinal = 3;
    exchange.role = Role::Server;
    exchange.process = Some(process(31337, "java", &["java", "-jar", "app server.jar"]));
    exchange.tid = 31_401;
    exchange.thread = b"http-nio-8080-e".to_vec();
    exchange.info = Arc::new(connection(Source::Tcp, "[::1]:8080", "[::1]:41000"));
    let mut request = request("POST", "http", "[::1]:8080", "/orders?dry=1");
    request.headers.push(b"Expect", b"100-continue");
    request.trailers = fields(&[("Checksum", "abc")]);
    request.body = body("{\"name\":\"Grüße\"}\n".as_bytes());
    exchange.request = Some(request);
    let mut response = response(
        201,
        "Created",
        "application/json",
        b"{\"id\":1}\n{\"id\":2}\n",
    );
    response.interim = vec![Interim {
        status: 100,
        headers: Fields::default(),
    }];
    exchange.response = Some(response);
    exchange
}

/// A big body of which a part is missing, then a reset.
pub(crate) fn broken() -> Exchange {
    let mut exchange = plain();
    exchange.connection = 9;
    exchange.state = State::Reset;
    exchange.info = Arc::new(connection(Source::Tcp, "10.0.0.1:50001", "10.0.0.2:80"));
    exchange.request = Some(request("GET", "http", "mirror.example.org", "/big.iso"));
    let mut response = response(200, "OK", "application/octet-stream", b"");
    response.body = Body {
        encoded_size: 5 << 20,
        size: None,
        encodings: Vec::new(),
        bytes: (0..=255).cycle().take(600).collect(),
        state: BodyState::Lost,
        missing: vec![Missing {
            offset: 600,
            length: 12,
            reason: MissingReason::RingFull,
        }],
        ..Body::default()
    };
    exchange.response = Some(response);
    exchange.lost_bytes = 12;
    exchange.times.response_end = None;
    exchange
}

/// A request that was never answered; the container is known.
pub(crate) fn unanswered() -> Exchange {
    let mut exchange = plain();
    exchange.connection = 10;
    exchange.state = State::Open;
    exchange.process = Some(Arc::new(Process {
        container: Some("0123456789abcdef".to_owned()),
        container_name: Some("web".to_owned()),
        cmdline_cut: true,
        uid: None,
        ..Process::clone(exchange.process.as_ref().unwrap())
    }));
    exchange.request = Some(request(
        "DELETE",
        "https",
        "api.example.com",
        "/v1/items/17",
    ));
    exchange.response = None;
    exchange.interim = vec![Interim {
        status: 103,
        headers: fields(&[("Link", "</a.css>; rel=preload")]),
    }];
    exchange.times.response_start = None;
    exchange.times.response_end = None;
    exchange
}

/// A response without its request, without process, from a capture file.
pub(crate) fn orphan() -> Exchange {
    let mut exchange = plain();
    exchange.connection = 11;
    exchange.state = State::Closed;
    exchange.process = None;
    exchange.tid = 0;
    exchange.thread = Vec::new();
    exchange.info = Arc::new(connection(Source::Tcp, "10.0.0.1:50002", "10.0.0.2:80"));
    exchange.request = None;
    exchange.response = Some(response(404, "Not Found", "text/html", b"<h1>no</h1>"));
    exchange.times.request_start = None;
    exchange.times.request_end = None;
    exchange.notes = vec!["joined in mid-connection"];
    exchange
}

/// CONNECT, and a tunnel after it.
pub(crate) fn tunnel() -> Exchange {
    let mut exchange = plain();
    exchange.connection = 12;
    exchange.info = Arc::new(connection(Source::Tcp, "10.0.0.1:50003", "10.0.0.9:3128"));
    exchange.request = Some(request(
        "CONNECT",
        "http",
        "example.com:443",
        "example.com:443",
    ));
    exchange.response = Some(response(200, "Connection established", "text/plain", b""));
    exchange.upgraded_to = Some(Upgrade::Tunnel);
    exchange.tunnel_bytes = [1234, 5_678_901];
    exchange
}

/// A stream of HTTP/2 with an interim response and trailers.
pub(crate) fn h2() -> Exchange {
    let mut exchange = served();
    exchange.connection = 14;
    exchange.ordinal = 5;
    exchange.stream = Some(5);
    let request = exchange.request.as_mut().unwrap();
    request.version = Version::Http2;
    request.headers = fields(&[("accept", "*/*")]);
    request.trailers = Fields::default();
    let response = exchange.response.as_mut().unwrap();
    response.version = Version::Http2;
    response.reason = Vec::new();
    response.interim[0].status = 103;
    response.trailers = fields(&[("checksum", "abc")]);
    exchange
}

/// A gRPC call that streams its request and fails.
pub(crate) fn grpc() -> Exchange {
    let mut exchange = plain();
    exchange.connection = 15;
    exchange.stream = Some(1);
    let mut request = request("POST", "https", "stock.example.com", "/shop.Stock/Find");
    request.version = Version::Http2;
    request.headers = fields(&[("content-type", "application/grpc"), ("grpc-timeout", "2S")]);
    request.body = body(b"\0\0\0\0\x05\x0a\x03abc");
    request
        .body
        .bytes
        .extend_from_slice(b"\x01\0\0\0\x03xyz\0\0\0\0\0");
    request.body.encoded_size = 23;
    request.body.size = Some(23);
    let message = |size, compressed| BodyMessage {
        size,
        compressed,
        complete: true,
    };
    request.body.messages = Some(Box::new(BodyMessages {
        count: 3,
        listed: vec![message(5, false), message(3, true), message(0, false)],
        trailers: None,
    }));
    exchange.request = Some(request);
    let mut response = response(200, "", "application/grpc", b"");
    response.version = Version::Http2;
    response.trailers = fields(&[
        ("grpc-status", "5"),
        ("grpc-message", "no such thing: %C3%A9"),
    ]);
    response.body.messages = Some(Box::default());
    exchange.response = Some(response);
    exchange
}

/// A WebSocket at its end.
pub(crate) fn websocket() -> Exchange {
    let mut exchange = plain();
    exchange.request = Some(request("GET", "https", "example.com", "/chat"));
    exchange.response = Some(response(101, "Switching Protocols", "", b""));
    exchange.upgraded_to = Some(Upgrade::WebSocket);
    exchange.tunnel_bytes = [1234, 20];
    exchange.messages = Some([12, 3]);
    exchange
}

/// One of its messages, `data` of it kept.
pub(crate) fn message(kind: MessageKind, data: &[u8]) -> Message<'_> {
    Message {
        number: 3,
        direction: Direction::Send,
        time: Timestamp(NOON),
        kind,
        size: Some(data.len() as u64),
        wire_size: data.len() as u64,
        fragments: 1,
        compressed: false,
        state: BodyState::Complete,
        data,
        close: None,
        event: None,
        event_id: None,
    }
}

/// Everything off the wire is hostile.
pub(crate) fn hostile() -> Exchange {
    let mut exchange = plain();
    exchange.connection = 13;
    exchange.process = Some(Arc::new(Process {
        pid: 66,
        comm: b"ev\x1b[31mil\xff".to_vec(),
        exe: Some(b"/tmp/\xe2\x80\xae\xff".to_vec()),
        cmdline: vec![b"a\nPID: 1".to_vec(), b"\xff".to_vec()],
        ..Process::default()
    }));
    exchange.thread = b"\xff".to_vec();
    exchange.info = Arc::new(connection(Source::Tcp, "unix:", "unix:/run/\u{1b}x.sock"));
    let mut request = request("GET", "http", "host", "/\u{202e}gpj.\u{9b}31m\u{200b}");
    request.host = Some(b"h\xff".to_vec());
    request.headers.push(b"X-\x07", b"\x1b]0;title\x07\xff");
    exchange.request = Some(request);
    let mut response = response(
        299,
        "\u{1b}[2J",
        "text/plain",
        b"line\r\n\x1b[2Jmore\n< HTTP/1.1 200 forged",
    );
    response.reason.push(0xff);
    exchange.response = Some(response);
    exchange
}

/// All of them.
/// TLS connections that were not read: an ordinary one, one of which little is
/// known, and one that means harm.
pub(crate) fn flows() -> Vec<TlsFlow> {
    let ordinary = TlsFlow {
        connection: 7,
        info: Arc::new(connection(Source::Tcp, "10.0.0.2:50000", "10.0.0.1:443")),
        process: Some(process(4242, "java", &["java", "-jar", "x.jar"])),
        tid: 4243,
        thread: b"http-1".to_vec(),
        role: Some(Role::Client),
        state: State::Complete,
        client: Some(ClientHello {
            versions: vec![TlsVersion(0x304), TlsVersion(0x303)],
            sni: Some(b"example.com".to_vec()),
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }),
        server: Some(ServerHello {
            version: TlsVersion(0x304),
            cipher: 0x1301,
            alpn: None,
            retry: false,
        }),
        refused: None,
        unread: Unread {
            library: Some("Java".into()),
            why: Some("Java is not read".into()),
        },
        sent: Some(1234),
        received: Some(34 << 10),
        start: Timestamp(NOON),
        end: Timestamp(NOON + 120_000_000),
    };
    let mut joined = connection(Source::Tcp, "10.0.0.2:50001", "[2001:db8::1]:8443");
    joined.from_start = false;
    let little = TlsFlow {
        info: Arc::new(joined),
        process: None,
        role: None,
        state: State::Open,
        client: None,
        server: None,
        unread: Unread::default(),
        sent: None,
        received: Some(0),
        ..ordinary.clone()
    };
    let hostile = TlsFlow {
        role: Some(Role::Server),
        state: State::Reset,
        client: Some(ClientHello {
            versions: vec![TlsVersion(0x7f1c)],
            sni: Some(b"a\x1b[2J\n\xff".to_vec()),
            alpn: vec![b"\x07".to_vec(), "\u{202e}".into()],
        }),
        server: None,
        refused: Some(40),
        ..ordinary.clone()
    };
    vec![ordinary, little, hostile]
}

pub(crate) fn all() -> Vec<Exchange> {
    vec![
        plain(),
        served(),
        broken(),
        unanswered(),
        orphan(),
        tunnel(),
        hostile(),
        h2(),
        grpc(),
    ]
}

/// Compares with a file in fixtures/output; `HTTPSNIFF_BLESS=1` in the
/// environment writes the file instead.
pub(crate) fn compare_golden(name: &str, actual: &[u8]) {
    let path = format!("{}/fixtures/output/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("HTTPSNIFF_BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_default();
    assert_eq!(
        String::from_utf8_lossy(actual),
        String::from_utf8_lossy(&golden),
        "{path} differs; HTTPSNIFF_BLESS=1 writes it anew"
    );
}
