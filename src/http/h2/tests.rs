use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        length: payload.len() as u32,
        kind,
        flags,
        stream,
    };
    [&header.encode()[..], payload].concat()
}

fn find(bytes: &[u8], wanted: Wanted, is_open: &dyn Fn(u32) -> bool) -> Found {
    super::find(bytes, wanted, is_open, &mut 10_000)
}

#[test]
fn a_search_does_not_decode_without_end() {
    // Every nine bytes a header section of 16 KiB may begin.
    let fake = [0, 0x40, 0, 1, 4, 0, 0, 0, 1];
    let bytes = fake.repeat(7000);
    let mut work = 10_000;
    let found = super::find(&bytes, Wanted::Any, &|_| false, &mut work);
    assert!(matches!(found, Found::Nothing(_)));
    assert!(work < 1024, "{work}");
}

#[test]
fn a_header_is_read_as_it_is_written() {
    let header = FrameHeader {
        length: 0x01_02_03,
        kind: 9,
        flags: 4,
        stream: 0x7fff_fff1,
    };
    assert_eq!(FrameHeader::parse(&header.encode()), Some(header));
    assert_eq!(FrameHeader::parse(&[0; 8]), None);
}

#[test]
fn padding_and_priority_are_left_out() {
    let header = |flags, kind| FrameHeader {
        length: 0,
        kind,
        flags,
        stream: 1,
    };
    let padded = header(flag::PADDED | flag::PRIORITY, kind::HEADERS);
    let payload = [2, 0, 0, 0, 0, 9, b'a', b'b', 0, 0];
    assert_eq!(fragment(&padded, &payload).map(|f| f.block), Ok(&b"ab"[..]));
    let promise = header(0, kind::PUSH_PROMISE);
    let found = fragment(&promise, &[0x80, 0, 0, 2, b'x']);
    assert_eq!(
        found,
        Ok(Fragment {
            block: b"x",
            promised: Some(2)
        })
    );
    assert!(fragment(&padded, &[9, 0, 0, 0, 0, 9, b'a']).is_err());
    assert!(fragment(&promise, &[0, 0]).is_err());
}

#[test]
fn a_server_begins_with_settings() {
    let settings = frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    for length in 0..HEADER_LENGTH {
        assert_eq!(server_start(&settings[..length]), None, "{length} bytes");
    }
    assert_eq!(server_start(&settings), Some(true));
    assert_eq!(server_start(b"HTTP/1.1 200 OK"), Some(false));
    assert_eq!(
        server_start(&frame(kind::SETTINGS, flag::ACK, 0, b"")),
        Some(false)
    );
    assert_eq!(server_start(b"\0\0"), None);
}

#[test]
fn a_search_finds_a_header_section_behind_the_rest_of_a_frame() {
    let mut bytes = vec![0x55; 40];
    // :method GET, :path /, and a literal.
    bytes.extend(frame(
        kind::HEADERS,
        flag::END_STREAM | flag::END_HEADERS,
        5,
        &[0x82, 0x84, 0x00, 1, b'a', 1, b'b'],
    ));
    assert_eq!(find(&bytes, Wanted::Any, &|_| false), Found::Request(40));
    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(find(cut, Wanted::Any, &|_| false), Found::Nothing(40));
    assert!(matches!(
        find(&bytes, Wanted::Responses, &|_| false),
        Found::Nothing(_)
    ));
}

#[test]
fn a_search_finds_frames_of_open_streams_behind_each_other() {
    let mut bytes = vec![0; 30];
    bytes.extend(frame(kind::DATA, 0, 7, b"abc"));
    bytes.extend(frame(kind::DATA, flag::END_STREAM, 7, b"de"));
    assert_eq!(
        find(&bytes, Wanted::Responses, &|s| s == 7),
        Found::Frame(30)
    );
    assert!(matches!(
        find(&bytes, Wanted::Responses, &|_| false),
        Found::Nothing(_)
    ));
}
