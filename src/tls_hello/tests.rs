use super::*;
use proptest::prelude::*;

/// The recorded bytes of a direction.
fn recorded(name: &str, side: &str) -> Vec<u8> {
    let text = include_str!("../../fixtures/hellos/hellos.txt");
    let prefix = format!("{name} {side} ");
    let hex = text.lines().find_map(|l| l.strip_prefix(&prefix)).unwrap();
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn client(name: &str) -> ClientHello {
    match read(&recorded(name, "client")) {
        Progress::Done(Hello::Client(hello)) => hello,
        other => panic!("{name}: {other:?}"),
    }
}

fn server(name: &str) -> ServerHello {
    match read(&recorded(name, "server")) {
        Progress::Done(Hello::Server(hello)) => hello,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn real_clients_say_what_they_were_told_to() {
    let h2: &[&str] = &["h2", "http/1.1"];
    let all: &[&str] = &["TLS 1.3", "TLS 1.2", "TLS 1.1", "TLS 1.0"];
    let both = &all[..2];
    for (name, sni, alpn, versions) in [
        ("curl-1.3", Some("localhost"), h2, all),
        ("s_client-retry", Some("retry.example"), &h2[1..], all),
        ("s_client-1.0", None, &[], &["TLS 1.0"]),
        ("python", Some("python.example"), &h2[1..], all),
        ("node", Some("node.example"), h2, both),
        ("go", Some("go.example"), &h2[..1], both),
        ("gnutls", Some("gnutls.example"), &h2[..1], all),
        ("java", Some("java.example"), h2, both),
    ] {
        let hello = client(name);
        assert_eq!(hello.sni.as_deref(), sni.map(str::as_bytes), "{name}");
        assert_eq!(
            hello.alpn,
            alpn.iter().map(|a| a.as_bytes()).collect::<Vec<_>>(),
            "{name}"
        );
        let spoken: Vec<_> = hello.versions.iter().map(ToString::to_string).collect();
        assert_eq!(spoken, versions, "{name}");
    }
}

#[test]
fn real_servers_say_what_they_chose() {
    for name in ["curl-1.3", "python", "node", "go", "gnutls", "java"] {
        let hello = server(name);
        assert_eq!(hello.version.to_string(), "TLS 1.3", "{name}");
        assert!((0x1301..=0x1303).contains(&hello.cipher), "{name}");
        assert_eq!((hello.alpn, hello.retry), (None, false), "{name}");
    }
    let hello = server("curl-1.2");
    assert_eq!(hello.version.to_string(), "TLS 1.2");
    assert_eq!(
        suite_name(hello.cipher),
        Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
    );
    assert_eq!(hello.alpn.as_deref(), Some(&b"h2"[..]));
    let hello = server("s_client-retry");
    assert!(hello.retry);
    assert_eq!(hello.version.to_string(), "TLS 1.3");
    // internal_error.
    let refused = read(&recorded("s_client-1.0", "server"));
    assert_eq!(refused, Progress::Done(Hello::Alert(80)));
}

/// The handshake message of a record, in records of `size` bytes.
fn fragmented(record: &[u8], size: usize) -> Vec<u8> {
    let records = record[5..].chunks(size).flat_map(|fragment| {
        let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[22, 3, 1, length[0], length[1]], fragment].concat()
    });
    records.collect()
}

#[test]
fn a_hello_in_pieces_is_the_same_hello() {
    let whole = recorded("go", "client");
    let Progress::Done(hello) = read(&whole) else {
        panic!();
    };
    for size in [1, 2, 3, 4, 5, 100] {
        let bytes = fragmented(&whole, size);
        assert_eq!(read(&bytes), Progress::Done(hello.clone()));
        // However few are there, more are asked for, and not more than come.
        for end in 0..bytes.len() {
            match read(&bytes[..end]) {
                Progress::More(needed) => assert!(needed > end && needed <= bytes.len()),
                done => assert_eq!(done, Progress::Done(hello.clone())),
            }
        }
    }
}

#[test]
fn a_hello_without_its_end_gives_what_is_there() {
    let whole = recorded("java", "client");
    let Hello::Client(cut) = read_cut(&whole[..whole.len() - 1]) else {
        panic!();
    };
    assert_eq!(cut.sni.as_deref(), Some(&b"java.example"[..]));
    assert_eq!(read_cut(&whole[..8]), Hello::None);
}

#[test]
fn what_is_no_handshake_is_none() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x17\x03\x03\x00\x05abcde",
        b"\x16\x03\x03\x00\x00",
        b"\x16\x03\x03\xff\xff\x01",
        // An encrypted alert, and a handshake that is none of the hellos.
        b"\x15\x03\x03\x00\x1a01234567890123456789012345",
        b"\x16\x03\x03\x00\x04\x04\x00\x00\x00",
        b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x02",
    ] {
        assert_eq!(read(bytes), Progress::Done(Hello::None), "{bytes:?}");
    }
    assert_eq!(read(b""), Progress::More(5));
    assert_eq!(read(b"\x16\x03"), Progress::More(5));
}

#[test]
fn a_hello_without_end_is_not_waited_for() {
    // 16 MiB of hello are announced.
    let mut endless = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff, 3, 3];
    while endless.len() < LIMIT {
        endless.resize(endless.len().next_multiple_of(16389), 0);
        endless.extend([22, 3, 1, 0x40, 0]);
    }
    assert!(matches!(read(&endless[..LIMIT - 1]), Progress::More(_)));
    assert!(matches!(read(&endless), Progress::Done(Hello::Client(_))));
}

#[test]
fn names_of_suites_are_found() {
    for number in 0..=u16::MAX {
        assert!(suite_name(number).is_none_or(|name| name.starts_with("TLS_")));
    }
    assert_eq!(
        suite_name(0xccaa),
        Some("TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256")
    );
    assert_eq!(Version(0x7f1c).to_string(), "0x7f1c");
}

proptest! {
    #[test]
    fn whatever_is_changed_nothing_panics(
        which in 0..3_usize, at in 0..600_usize, byte: u8, end in 0..700_usize,
    ) {
        let mut bytes = recorded(["gnutls", "curl-1.2", "java"][which], "client");
        bytes.extend(recorded("curl-1.2", "server"));
        if let Some(b) = bytes.get_mut(at) {
            *b = byte;
        }
        let bytes = &bytes[..end.min(bytes.len())];
        let _ = (read(bytes), read_cut(bytes));
    }
}
