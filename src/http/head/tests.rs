use super::*;

#[test]
fn the_end_is_found_whatever_the_line_ends_are() {
    for head in [
        &b"GET / HTTP/1.1\r\nA: b\r\n\r\n"[..],
        b"GET / HTTP/1.1\nA: b\n\n",
        b"X\r\n\n",
        b"X\n\r\n",
    ] {
        let mut with_rest = head.to_vec();
        with_rest.extend_from_slice(b"\r\n\r\nrest");
        assert_eq!(find_end(&with_rest, &mut 0), Some(head.len()));
        let mut scanned = 0;
        for end in 0..head.len() {
            assert_eq!(find_end(&head[..end], &mut scanned), None);
        }
        assert_eq!(find_end(head, &mut scanned), Some(head.len()));
    }
}

#[test]
fn a_target_is_kept_as_it_is() {
    for target in [&b"/x?y"[..], b"/a b", b"/\xff\xfe", b"*", b"http://h/x"] {
        let head = [b"GET ", target, b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
        let parsed = request(&head, "http").unwrap().message;
        assert_eq!(parsed.target, target);
        assert_eq!(parsed.host.as_deref(), Some(&b"h"[..]));
    }
}

#[test]
fn the_authority_of_a_target_comes_before_host() {
    let host = |line: &str| {
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let parsed = request(head.as_bytes(), "http").unwrap().message;
        (
            parsed.scheme,
            String::from_utf8(parsed.host.unwrap()).unwrap(),
        )
    };
    assert_eq!(host("GET https://u:p@a:8/x"), ("https", "a:8".into()));
    assert_eq!(host("GET HTTP://a?x"), ("http", "a".into()));
    assert_eq!(host("CONNECT a:443"), ("http", "a:443".into()));
    assert_eq!(host("GET /x"), ("http", "h".into()));
}

#[test]
fn folded_lines_are_joined_with_a_space() {
    let head = b"GET / HTTP/1.1\r\nA: b \r\n \t c\r\n\td\r\nE: f\n g\n\n";
    let parsed = request(head, "http").unwrap().message.headers;
    assert_eq!(parsed.get("a"), Some(&b"b c d"[..]));
    assert_eq!(parsed.get("e"), Some(&b"f g"[..]));
    let head = b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n";
    assert_eq!(
        response(head).unwrap().message.headers.get("A"),
        Some(&b"b c"[..])
    );
}

#[test]
fn five_hundred_and_twelve_fields_are_parsed() {
    for count in [64, 65, 512] {
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        for i in 0..count {
            head.extend_from_slice(format!("N{i}: {i}\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        assert_eq!(request(&head, "http").unwrap().message.headers.len(), count);
    }
}

#[test]
fn a_field_that_is_none_is_left_out_and_said_so() {
    let head = b"GET / HTTP/1.1\r\nGood: 1\r\nbad line\r\nAlso: 2\r\n\r\n";
    let parsed = request(head, "http").unwrap();
    assert!(parsed.lenient);
    assert_eq!(parsed.message.headers.len(), 2);
}

#[test]
fn a_status_line_may_lack_its_reason_or_have_any() {
    for (line, reason) in [
        (&b"HTTP/1.1 200"[..], &b""[..]),
        (b"HTTP/1.1 200 ", b""),
        (b"HTTP/1.0 200 \xd0\x9e\xd0\x9a", b"\xd0\x9e\xd0\x9a"),
        (b"HTTP/1.1 200 Very Fine", b"Very Fine"),
    ] {
        let head = [line, b"\r\n\r\n"].concat();
        assert_eq!(response(&head).unwrap().message.reason, reason);
    }
}

#[test]
fn trailers_are_fields() {
    let fields = trailers(b"A: 1\r\nB: 2\r\n\r\n");
    assert_eq!(fields.get("b"), Some(&b"2"[..]));
    assert!(trailers(b"\r\n").is_empty());
}

#[test]
fn what_httparse_refuses_is_shown_all_the_same() {
    let head = b"HTTP/1.1 200 \x1b[31mOK\xff\r\nX-Bell: a\x07\x1b\x7fb\r\nContent-Length: 3\r\nOdd : c\r\n\r\n";
    let parsed = response(head).unwrap();
    assert_eq!(parsed.message.status, 200);
    assert_eq!(parsed.message.reason, b"\x1b[31mOK\xff");
    let headers = &parsed.message.headers;
    assert_eq!(headers.get("x-bell"), Some(&b"a\x07\x1b\x7fb"[..]));
    assert_eq!(headers.get("odd"), Some(&b"c"[..]));
    assert_eq!(headers.get("content-length"), Some(&b"3"[..]));
    assert!(!parsed.lenient);

    let head = b"GET /n\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n";
    let parsed = request(head, "http").unwrap();
    assert_eq!(parsed.message.target, b"/n\x1b[31m");
}

#[test]
fn more_fields_than_httparse_has_room_for_are_all_there() {
    let mut head = b"GET / HTTP/1.1\r\n".to_vec();
    for i in 0..2000 {
        head.extend_from_slice(format!("X-{i}: {i}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    let parsed = request(&head, "http").unwrap();
    assert_eq!(parsed.message.headers.len(), 2000);
    assert_eq!(parsed.message.headers.get("x-1999"), Some(&b"1999"[..]));
}
