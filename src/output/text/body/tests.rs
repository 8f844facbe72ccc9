//! Bodies as a person sees them.

use super::*;
use crate::output::samples;

const TERMINAL: Look = Look {
    color: false,
    indent_json: true,
};
const FILE: Look = Look {
    color: false,
    indent_json: false,
};

fn shown(kind: &str, bytes: &[u8], state: BodyState, look: Look) -> String {
    let mut response = samples::response(200, "OK", kind, bytes);
    response.body.state = state;
    let mut out = String::new();
    push(&mut out, &response.body, &response.headers, look);
    out
}

fn whole(kind: &str, bytes: &[u8]) -> String {
    shown(kind, bytes, BodyState::Complete, TERMINAL)
}

#[test]
fn text_is_shown_in_its_charset() {
    assert_eq!(
        whole("text/plain; charset=latin1", b"Stra\xdfe\n"),
        "  Straße\n"
    );
    assert_eq!(
        whole("text/html; charset=\"Shift_JIS\"", b"\x93\x8c\x8b\x9e"),
        "  東京\n"
    );
    // Without a charset nothing is guessed.
    assert!(whole("text/plain", b"Stra\xdfe\n").starts_with("  [text/plain, 7 B]\n  00000000"));
    let cut = shown(
        "text/plain; charset=shift_jis",
        b"\x93\x8c\x8b",
        BodyState::Cut,
        TERMINAL,
    );
    assert_eq!(cut, "  東\n");
}

#[test]
fn a_long_text_of_another_charset_is_counted_in_its_own_bytes() {
    let text = [&b"\xdf"[..]; 5000].concat();
    let shown = whole("text/plain; charset=iso-8859-1", &text);
    assert_eq!(shown.matches('ß').count(), TEXT);
    assert!(
        shown.ends_with("[… 904 B more]\n"),
        "{}",
        &shown[shown.len() - 40..]
    );
}

#[test]
fn json_is_indented_on_a_terminal_only() {
    let json = b"{\"b\":1.10,\"a\":[]}";
    let indented = "  {\n    \"b\": 1.10,\n    \"a\": []\n  }\n";
    assert_eq!(whole("application/problem+json; x", json), indented);
    let plain = shown("application/json", json, BodyState::Complete, FILE);
    assert_eq!(plain, "  {\"b\":1.10,\"a\":[]}\n");
    assert_eq!(whole("text/plain", json), plain);
    assert_eq!(whole("application/json", b"{\"b\":1,}"), "  {\"b\":1,}\n");
    let cut = shown("application/json", b"{\"b\":\"x", BodyState::Cut, TERMINAL);
    assert_eq!(cut, "  {\n    \"b\": \"x\n");
}

#[test]
fn the_rest_of_a_long_json_is_counted() {
    let json = format!("[{}1]", "1,".repeat(5000));
    let shown = whole("application/json", json.as_bytes());
    assert!(shown.starts_with("  [\n    1,\n    1,\n"));
    assert!(
        shown.ends_with("  [… 5.76 KiB more]\n"),
        "{}",
        &shown[shown.len() - 40..]
    );
}

#[test]
fn images_are_type_and_size() {
    assert_eq!(
        whole("image/png", b"\x89PNG\r\n\x1a\n"),
        "  [image/png, 8 B]\n"
    );
    assert_eq!(whole("image/svg+xml", b"<svg/>"), "  <svg/>\n");
    assert!(whole("application/zip", b"PK\x03\x04").contains("00000000  50 4b"));
    // What could not be decoded is no image.
    let broken = shown(
        "image/png",
        b"\x1f\x8b\x08\0",
        BodyState::Undecodable,
        TERMINAL,
    );
    assert!(broken.contains("00000000  1f 8b") && broken.ends_with("[could not be decoded]\n"));
}

#[test]
fn a_form_is_shown_by_its_parts() {
    let form = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
        --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\x1b.png\"\r\n\
        Content-Type: image/png\r\n\r\n\x89PNG\r\n\
        --b\r\nContent-Type: application/json\r\n\r\n{\"a\":1}\r\n\
        --b\r\nContent-Type: text/plain; charset=latin1\r\n\r\n\xdf";
    let shown = shown(
        "multipart/form-data; boundary=b",
        form,
        BodyState::Cut,
        TERMINAL,
    );
    let wanted = "  [part 1: a, 1 B]
  1
  [part 2: f, file x\\x1b.png, image/png, 4 B]
  [part 3: application/json, 7 B]
  {
    \"a\": 1
  }
  [part 4: text/plain; charset=latin1, 1 B, its end is missing]
  ß
";
    assert_eq!(shown, wanted);
}

#[test]
fn many_parts_are_counted() {
    let form = b"--b\r\n\r\nx\r\n".repeat(30);
    let shown = whole("multipart/mixed; boundary=b", &form);
    assert!(shown.contains("[part 20: 1 B]") && !shown.contains("part 21"));
    assert!(shown.ends_with("  [… 10 more parts]\n"), "{shown}");
    // Without its delimiters it is text like any other.
    assert_eq!(whole("multipart/mixed; boundary=c", b"x"), "  x\n");
}

/// A body of which `bytes` could be decoded out of 4 KiB of gzip.
fn decoded(kind: &str, bytes: &[u8], size: Option<u64>, state: BodyState) -> String {
    let mut response = samples::response(200, "OK", kind, bytes);
    response.body.state = state;
    response.body.size = size;
    response.body.encoded_size = 4 << 10;
    response.body.encodings = vec!["gzip".to_owned()];
    let mut out = String::new();
    push(&mut out, &response.body, &response.headers, TERMINAL);
    out
}

#[test]
fn a_body_that_was_encoded_says_of_how_much_it_was_made() {
    let text = |bytes, size, state| decoded("text/plain", bytes, size, state);
    assert_eq!(
        text(b"abc", Some(3), BodyState::Complete),
        "  abc\n  [3 B from 4.00 KiB of gzip]\n"
    );
    // A bomb: nobody knows how large it is.
    let bomb = text(&[0; 5000], None, BodyState::Cut);
    assert!(bomb.starts_with("  [text/plain, at least 4.88 KiB from 4.00 KiB of gzip]\n"));
    assert!(bomb.ends_with("  [… 4.63 KiB more, and what is beyond --max-body]\n"));
    assert_eq!(
        text(b"abc", None, BodyState::Cut),
        "  abc\n  [… what is beyond --max-body]\n  [at least 3 B from 4.00 KiB of gzip]\n"
    );
    let json = decoded("application/json", b"[1", None, BodyState::Undecodable);
    let word = "  [the rest could not be decoded]\n  [at least 2 B from 4.00 KiB of gzip]\n";
    assert_eq!(json, format!("  [\n    1\n{word}"));
    let nothing = text(b"", None, BodyState::Undecodable);
    assert!(
        nothing.starts_with("  [could not be decoded]\n"),
        "{nothing}"
    );
}

#[test]
fn a_body_that_ended_early_says_so() {
    let shown = shown("text/plain", b"abc", BodyState::Lost, TERMINAL);
    assert_eq!(shown, "  abc\n  [its end did not come]\n");
}
