//! Files of our own give back what the run saw.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod pcapng_support;

use httpsniff::event::{Direction, MissingReason, Source};
use httpsniff::output::Content;
use pcapng_support::*;

/// Finishes the run and compares what its file gives back with what its views
/// saw.
fn check(run: Run) -> Vec<u8> {
    let log = run.log.clone();
    let bytes = run.finish();
    let (read, _) = read_back(&bytes);
    for (key, entries) in &log.0 {
        assert_eq!(Some(entries), read.0.get(key), "{key:?}");
    }
    assert_eq!(log, read);
    bytes
}

#[test]
fn one_view_comes_back_with_all_its_facts() {
    let mut run = Run::new();
    let mut view = View::new(7, Source::OpenSsl, "127.0.0.1:50000", "", Some(curl()))
        .with(|info| info.from_start = false);
    view.tid = 4243;
    view.thread = b"worker \xff".to_vec();
    view.send(&mut run, &get("/a"));
    view.receive(&mut run, &ok(&noise(200_000)));
    view.tid = 4244;
    view.process = Some(nginx());
    view.send(&mut run, &get("/b"));
    view.process = None;
    view.receive(&mut run, &ok(b"x"));
    view.close(&mut run);
    let info = view.info.clone();
    let bytes = check(run);
    let (_, infos) = read_back(&bytes);
    let read = &infos[&7];
    assert_eq!((&read.local, &read.peer), (&info.local, &info.peer));
    assert_eq!(read.tls_library, info.tls_library);
    assert_eq!((read.namespace, read.from_start), (info.namespace, false));
    assert_eq!(read.key.source, Source::OpenSsl);
    let mut processes = Vec::new();
    httpsniff::read::read(&bytes[..], &mut |item| {
        if let httpsniff::read::Item::Event(event) = item {
            processes.extend(event.process.cloned());
        }
        Ok(true)
    })
    .unwrap();
    assert!(processes.contains(&curl()) && processes.contains(&nginx()));
}

#[test]
fn what_becomes_known_later_comes_back_too() {
    let mut run = Run::new();
    let mut view = View::new(1, Source::OpenSsl, "", "", Some(curl()));
    view.send(&mut run, &get("/"));
    run.tick();
    view = view.with(|info| info.peer = endpoint("10.0.0.2:443"));
    view.receive(&mut run, &ok(b"x"));
    let info = view.info.clone();
    let (_, infos) = read_back(&check(run));
    assert_eq!(infos[&1].peer, info.peer);
}

#[test]
fn both_views_come_back_with_their_own_times() {
    for late in [false, true] {
        let mut run = Run::new();
        let mut client = View::new(
            1,
            Source::Tcp,
            "127.0.0.1:50000",
            "127.0.0.1:80",
            Some(curl()),
        );
        let mut server = View::new(
            2,
            Source::Tcp,
            "127.0.0.1:80",
            "127.0.0.1:50000",
            Some(nginx()),
        );
        for path in ["/a", "/b", "/c"] {
            let message = get(path);
            client.send(&mut run, &message);
            if late {
                run.tick();
            }
            // In two calls.
            let (one, two) = message.split_at(10);
            server.receive(&mut run, one);
            server.receive(&mut run, two);
            let message = ok(&noise(70_000));
            for part in message.chunks(30_000) {
                server.send(&mut run, part);
            }
            if late {
                run.tick();
            }
            for part in message.chunks(16_384) {
                client.receive(&mut run, part);
            }
        }
        client.end(&mut run, Direction::Send, false);
        server.end(&mut run, Direction::Receive, false);
        server.end(&mut run, Direction::Send, false);
        client.end(&mut run, Direction::Receive, false);
        check(run);
    }
}

#[test]
fn the_receivers_record_may_come_first() {
    let mut run = Run::new();
    let mut client = View::new(
        1,
        Source::Tcp,
        "127.0.0.1:50000",
        "127.0.0.1:80",
        Some(curl()),
    );
    let mut server = View::new(
        2,
        Source::Tcp,
        "127.0.0.1:80",
        "127.0.0.1:50000",
        Some(nginx()),
    );
    for path in ["/a", "/b"] {
        let time = run.now + 10;
        run.now += 1000;
        let now = run.now;
        server.put_at(
            &mut run,
            now,
            Direction::Receive,
            Content::Bytes(&get(path)),
        );
        client.put_at(&mut run, time, Direction::Send, Content::Bytes(&get(path)));
        run.now += 1000;
        server.send(&mut run, &ok(b"hello"));
        client.receive(&mut run, &ok(b"hello"));
    }
    check(run);
}

#[test]
fn gaps_come_back_with_their_reasons() {
    for length in [1, 256 << 10, 1 << 20, 65 << 20] {
        let mut run = Run::new();
        let mut view = View::new(
            1,
            Source::Tcp,
            "10.0.0.1:50000",
            "10.0.0.2:80",
            Some(curl()),
        );
        view.send(&mut run, &get("/"));
        view.receive(
            &mut run,
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        );
        view.gap(&mut run, Direction::Receive, length);
        view.receive(&mut run, b"more");
        view.put(
            &mut run,
            Direction::Send,
            Content::Gap {
                length: 3,
                reason: MissingReason::NoBuffer,
            },
        );
        view.send(&mut run, &get("/next"));
        view.receive(&mut run, &ok(b"x"));
        view.close(&mut run);
        check(run);
    }
}

#[test]
fn each_view_has_its_own_gaps() {
    let mut run = Run::new();
    let mut client = View::new(
        1,
        Source::Tcp,
        "127.0.0.1:50000",
        "127.0.0.1:80",
        Some(curl()),
    );
    let mut server = View::new(
        2,
        Source::Tcp,
        "127.0.0.1:80",
        "127.0.0.1:50000",
        Some(nginx()),
    );
    client.send(&mut run, &get("/"));
    server.put(
        &mut run,
        Direction::Receive,
        Content::Gap {
            length: get("/").len() as u64,
            reason: MissingReason::RingFull,
        },
    );
    let body = noise(100_000);
    server.send(
        &mut run,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    );
    server.put(
        &mut run,
        Direction::Send,
        Content::Gap {
            length: 100_000,
            reason: MissingReason::NoBuffer,
        },
    );
    client.receive(
        &mut run,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    );
    client.receive(&mut run, &body);
    check(run);
}

#[test]
fn a_synthetic_end_is_no_end_and_a_reset_is_one() {
    let mut run = Run::new();
    let mut open = View::new(
        1,
        Source::Tcp,
        "10.0.0.1:50000",
        "10.0.0.2:80",
        Some(curl()),
    );
    open.send(&mut run, &get("/"));
    open.end(&mut run, Direction::Send, true);
    let mut unended = View::new(
        2,
        Source::Tcp,
        "10.0.0.1:50001",
        "10.0.0.2:80",
        Some(curl()),
    );
    unended.send(&mut run, &get("/"));
    let mut reset = View::new(
        3,
        Source::Tcp,
        "10.0.0.1:50002",
        "10.0.0.2:80",
        Some(curl()),
    );
    reset.send(&mut run, &get("/"));
    reset.put(&mut run, Direction::Send, Content::Reset);
    check(run);
}

#[test]
fn a_view_that_joins_late_is_given_what_it_saw() {
    for source in [Source::Tcp, Source::OpenSsl] {
        let mut run = Run::new();
        let mut client = View::new(1, source, "127.0.0.1:50000", "127.0.0.1:80", Some(curl()));
        let mut server = View::new(2, source, "127.0.0.1:80", "127.0.0.1:50000", Some(nginx()))
            .with(|info| info.from_start = false);
        client.offsets = [5_000_000, 9_000_000];
        client.send(&mut run, &get("/a"));
        client.receive(&mut run, &ok(b"first"));
        run.tick();
        if source == Source::Tcp {
            // The kernel's sequence numbers are the same for both ends.
            server.offsets = [client.offsets[1], client.offsets[0]];
        }
        client.send(&mut run, &get("/b"));
        server.receive(&mut run, &get("/b"));
        server.send(&mut run, &ok(b"second"));
        client.receive(&mut run, &ok(b"second"));
        let bytes = check(run);
        check_sound(&bytes);
    }
}

#[test]
fn two_layers_namespaces_and_a_reused_pair_come_back_apart() {
    let mut run = Run::new();
    let (a, b) = ("127.0.0.1:50000", "127.0.0.1:3128");
    let mut views = vec![
        View::new(1, Source::Tcp, a, b, Some(curl())),
        View::new(2, Source::OpenSsl, a, b, Some(curl())),
        View::new(3, Source::Tcp, a, b, Some(curl())).with(|info| info.namespace = 7),
        View::new(4, Source::Tcp, a, b, Some(curl())),
    ];
    for view in &mut views {
        view.send(&mut run, &get(&format!("/{}", view.number)));
        view.receive(&mut run, &ok(b"hello"));
        view.close(&mut run);
        run.tick();
    }
    check(run);
}

#[test]
fn a_cut_file_is_read_up_to_the_cut() {
    let mut run = Run::new();
    let mut view = View::new(
        1,
        Source::Tcp,
        "10.0.0.1:50000",
        "10.0.0.2:80",
        Some(curl()),
    );
    view.send(&mut run, &get("/"));
    view.receive(&mut run, &ok(&noise(1000)));
    let bytes = run.finish();
    for end in 0..bytes.len() {
        let mut events = 0;
        let result = httpsniff::read::read(&bytes[..end], &mut |_| {
            events += 1;
            Ok(true)
        });
        match result {
            Ok(summary) => assert!(summary.truncated || events > 0 || end < 300),
            Err(error) => assert!(end < 28, "{end}: {error}"),
        }
    }
}
