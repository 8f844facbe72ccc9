//! The examples of the standard, in pieces of every size.

use proptest::prelude::*;

use super::*;

/// An event as `event|data|id|retry|comment`, with `-` for what is not there.
fn shown(event: &SseEvent<'_>) -> String {
    let text = |bytes: Option<&[u8]>| {
        bytes.map_or("-".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
    };
    let retry = event
        .retry
        .map_or("-".to_owned(), |retry| retry.to_string());
    let cut = if event.cut { "|cut" } else { "" };
    let (kind, data, id) = (text(event.event), text(event.data), text(event.id));
    let comment = text(event.comment);
    format!("{kind}|{data}|{id}|{retry}|{comment}{cut}")
}

fn events(stream: &[u8], size: usize) -> Vec<String> {
    sized(stream, size)
        .into_iter()
        .map(|(event, _)| event)
        .collect()
}

/// Each event, and its size in the body.
fn sized(stream: &[u8], size: usize) -> Vec<(String, u64)> {
    let mut parser = SseParser::new();
    let mut all = Vec::new();
    for piece in stream.chunks(size) {
        parser.push(piece, &mut |event| {
            all.push((shown(&event), event.wire_size))
        });
    }
    all
}

#[test]
fn the_examples_of_the_standard() {
    let cases: &[(&str, &[&str])] = &[
        (
            "data: YHOO\ndata: +2\ndata: 10\n\n",
            &["-|YHOO\n+2\n10|-|-|-"],
        ),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[
                "-|-|-|-|test stream",
                "-|first event|1|-|-",
                "-|second event||-|-",
                "-| third event|-|-|-",
            ],
        ),
        ("data\n\ndata\ndata\n\ndata:", &["-||-|-|-", "-|\n|-|-|-"]),
        (
            "data:test\n\ndata: test\n\n",
            &["-|test|-|-|-", "-|test|-|-|-"],
        ),
        ("\u{feff}event: add\ndata: 1\n\n", &["add|1|-|-|-"]),
        ("retry: 1000\nretry: x\nother: y\n\n", &["-|-|-|1000|-"]),
        (
            "\n\n\nevent: a\nevent: b\ndata: x:y\n\n\n",
            &["b|x:y|-|-|-"],
        ),
        ("data: unfinished\n", &[]),
    ];
    for (stream, wanted) in cases {
        for end in ["\n", "\r\n", "\r"] {
            let stream = stream.replace('\n', end);
            for size in 1..=stream.len() {
                assert_eq!(
                    events(stream.as_bytes(), size),
                    *wanted,
                    "{stream:?} {size}"
                );
            }
        }
    }
}

#[test]
fn an_event_comes_with_the_cr_of_its_empty_line() {
    let mut parser = SseParser::new();
    let mut sizes = Vec::new();
    parser.push(b"data: a\r\n\r", &mut |event| sizes.push(event.wire_size));
    assert_eq!(sizes, [9]);
    parser.push(b"\ndata: b\n\n", &mut |event| sizes.push(event.wire_size));
    assert_eq!(sizes, [9, 8]);
}

#[test]
fn a_huge_event_is_cut() {
    let mut parser = SseParser::new();
    let mut seen = 0;
    let mut check = |event: SseEvent<'_>| {
        seen += 1;
        assert!(event.cut && event.data.unwrap().len() <= LIMIT);
        assert!(event.wire_size > 3 << 20);
    };
    // In one line, and in many.
    parser.push(b"data: ", &mut check);
    for _ in 0..40 {
        parser.push(&[b'x'; 100_000], &mut check);
        assert!(parser.memory() < 3 << 20);
    }
    parser.push(b"\n\n", &mut check);
    for _ in 0..400_000 {
        parser.push(b"data: xxxx\n", &mut check);
    }
    assert!(parser.memory() < 3 << 20);
    parser.push(b"\n", &mut check);
    assert_eq!(seen, 2);
    parser.push(b"data: x\n\n", &mut |event| assert!(!event.cut));
}

#[test]
fn a_hole_marks_the_event_that_it_is_in() {
    let mut parser = SseParser::new();
    let mut all = Vec::new();
    let keep = &mut |event: SseEvent<'_>| all.push(shown(&event));
    parser.push(b"data: 1\n\ndata: tw", keep);
    parser.lost();
    parser.push(b"rest\n\ndata: 3\n\n", keep);
    parser.lost();
    parser.push(b"\n\ndata: 4\n\n", keep);
    assert_eq!(
        all,
        [
            "-|1|-|-|-",
            "-|tw|-|-|-|cut",
            "-|3|-|-|-",
            "-|-|-|-|-|cut",
            "-|4|-|-|-"
        ]
    );
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        stream in prop::collection::vec(prop::sample::select(b"\r\n: datevnid\xef\xbb\xbf7".to_vec()), 0..200),
        size in 1usize..20,
    ) {
        prop_assert_eq!(sized(&stream, 1000), sized(&stream, size));
    }
}
