//! The pcapng files as tshark sees them.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod pcapng_support;

use httpsniff::event::{Direction, MissingReason, Source};
use httpsniff::output::{Content, Sink};
use pcapng_support::*;

#[test]
fn one_end_watched_dissects_on_every_port() {
    for port in [80, 443, 8443, 34567] {
        let mut run = Run::new();
        let mut view = View::new(
            1,
            Source::OpenSsl,
            "127.0.0.1:50000",
            &format!("127.0.0.1:{port}"),
            Some(curl()),
        );
        for path in ["/a", "/b"] {
            view.send(&mut run, &get(path));
            view.receive(&mut run, &ok(b"hello"));
        }
        view.close(&mut run);
        let bytes = run.finish();
        check_sound(&bytes);
        if !have("tshark") {
            return;
        }
        assert_eq!(dissected(&bytes), ["/a", "200", "/b", "200"]);
        let (_directory, path) = save(&bytes);
        let followed = tshark(&path, &["-q", "-z", "follow,http,ascii,0"]).join("\n");
        assert!(
            followed.contains("GET /a") && followed.contains("hello"),
            "{followed}"
        );
        let comments = fields(&path, "tcp.len > 0", &["frame.comment"]);
        assert!(
            comments[0].contains("Cmd: /usr/bin/curl"),
            "{}",
            comments[0]
        );
        let interface = fields(&path, "frame.number == 1", &["frame.interface_name"]);
        assert_eq!(interface, ["openssl"]);
        let directions = fields(&path, "tcp.len > 0", &["frame.packet_flags_direction"]);
        assert_eq!(directions.len(), 4);
        assert_ne!(directions[0], directions[1]);
    }
}

/// Both ends of a loopback connection.
fn pair(source: Source, client: u64, server: u64, port: u16) -> (View, View) {
    let (a, b) = (format!("127.0.0.1:{port}"), "127.0.0.1:8080");
    (
        View::new(client, source, &a, b, Some(curl())),
        View::new(server, source, b, &a, Some(nginx())),
    )
}

#[test]
fn both_ends_watched_every_byte_once_from_its_sender() {
    let mut run = Run::new();
    for (round, receiver_first) in [(0, false), (1, true)] {
        let (mut client, mut server) = pair(
            Source::Tcp,
            2 * round + 1,
            2 * round + 2,
            50000 + round as u16,
        );
        for path in ["/a", "/b"] {
            let sent = run.now + 100;
            run.now += 5000;
            let now = run.now;
            let request = get(path);
            // The receiver's record often comes first.
            if receiver_first {
                server.put_at(&mut run, now, Direction::Receive, Content::Bytes(&request));
                client.put_at(&mut run, sent, Direction::Send, Content::Bytes(&request));
            } else {
                client.put_at(&mut run, sent, Direction::Send, Content::Bytes(&request));
                server.put_at(&mut run, now, Direction::Receive, Content::Bytes(&request));
            }
            let response = ok(b"hello");
            let sent = run.now + 100;
            run.now += 5000;
            let now = run.now;
            if receiver_first {
                client.put_at(&mut run, now, Direction::Receive, Content::Bytes(&response));
                server.put_at(&mut run, sent, Direction::Send, Content::Bytes(&response));
            } else {
                server.put_at(&mut run, sent, Direction::Send, Content::Bytes(&response));
                client.put_at(&mut run, now, Direction::Receive, Content::Bytes(&response));
            }
        }
        client.close(&mut run);
        server.close(&mut run);
    }
    let bytes = run.finish();
    check_sound(&bytes);
    if !have("tshark") {
        return;
    }
    let (_directory, path) = save(&bytes);
    let lines = fields(
        &path,
        "http",
        &[
            "tcp.srcport",
            "frame.packet_flags_direction",
            "frame.comment",
        ],
    );
    assert_eq!(lines.len(), 8);
    for line in lines {
        // Outbound (2) always: the sender's view, the receiver named.
        let request = line.starts_with("5000");
        assert!(
            line.contains("\t0x00000002\t") || line.contains("\t2\t"),
            "{line}"
        );
        let (own, other) = if request { (4242, 77) } else { (77, 4242) };
        assert!(
            line.contains(&format!("PID: {own}\n")) || line.contains(&format!("PID: {own}\\nCmd")),
            "{line}"
        );
        assert!(line.contains(&format!("Other end PID: {other}")), "{line}");
    }
}

#[test]
fn a_large_body_comes_out_byte_by_byte() {
    let mut run = Run::new();
    let (mut client, mut server) = pair(Source::Tcp, 1, 2, 50000);
    let body = noise(1 << 20);
    let message = ok(&body);
    client.send(&mut run, &get("/large"));
    server.receive(&mut run, &get("/large"));
    let mut parts = message.chunks(100_000);
    server.send(&mut run, parts.next().unwrap());
    for (i, part) in message.chunks(70_001).enumerate() {
        client.receive(&mut run, part);
        if let Some(part) = parts.next() {
            server.send(&mut run, part);
        }
        if i % 5 == 0 {
            run.tick();
        }
    }
    client.close(&mut run);
    let bytes = run.finish();
    check_sound(&bytes);
    if !have("tshark") {
        return;
    }
    let (directory, path) = save(&bytes);
    let objects = directory.path().join("objects");
    tshark(
        &path,
        &[
            "-q",
            "--export-objects",
            &format!("http,{}", objects.display()),
        ],
    );
    assert!(std::fs::read(objects.join("large")).unwrap() == body);
}

#[test]
fn a_layer_a_namespace_and_a_reused_pair_are_streams_of_their_own() {
    let mut run = Run::new();
    let (a, b) = ("127.0.0.1:50000", "127.0.0.1:3128");
    let mut outer = View::new(1, Source::Tcp, a, b, Some(curl()));
    outer.send(
        &mut run,
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    );
    outer.receive(&mut run, b"HTTP/1.1 200 Connection established\r\n\r\n");
    let mut inner = View::new(2, Source::OpenSsl, a, b, Some(curl()));
    inner.send(&mut run, &get("/inner"));
    inner.receive(&mut run, &ok(b"inner"));
    let mut elsewhere =
        View::new(3, Source::Tcp, a, b, Some(curl())).with(|info| info.namespace = 7);
    elsewhere.send(&mut run, &get("/elsewhere"));
    elsewhere.receive(&mut run, &ok(b"elsewhere"));
    for view in [&mut outer, &mut inner, &mut elsewhere] {
        view.close(&mut run);
    }
    run.tick();
    let mut again = View::new(4, Source::Tcp, a, b, Some(curl()));
    again.send(&mut run, &get("/again"));
    again.receive(&mut run, &ok(b"again"));
    let bytes = run.finish();
    check_sound(&bytes);
    if !have("tshark") {
        return;
    }
    assert_eq!(
        dissected(&bytes),
        [
            "example.com:443",
            "200",
            "/inner",
            "200",
            "/elsewhere",
            "200",
            "/again",
            "200"
        ]
    );
    let (_directory, path) = save(&bytes);
    let syn = fields(
        &path,
        "tcp.flags.syn==1 && tcp.flags.ack==0",
        &["tcp.stream", "tcp.seq_raw", "frame.comment"],
    );
    assert_eq!(syn.len(), 4);
    let mut numbers: Vec<&str> = syn.iter().map(|l| l.split('\t').nth(1).unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 4);
    assert!(!syn[0].contains("stands for"));
    assert!(syn[2].contains("stands for 127.0.0.1:50000"), "{}", syn[2]);
}

#[test]
fn gaps_of_every_size_leave_the_next_message_readable() {
    for length in [1_000_u64, 256 << 10, (256 << 10) + 1, 10 << 20, 65 << 20] {
        let mut run = Run::new();
        let mut view = View::new(
            1,
            Source::Tcp,
            "10.0.0.1:50000",
            "10.0.0.2:80",
            Some(curl()),
        );
        view.send(&mut run, &get("/holey"));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", length + 10);
        view.receive(&mut run, head.as_bytes());
        view.gap(&mut run, Direction::Receive, length);
        view.receive(&mut run, b"0123456789");
        view.send(&mut run, &get("/next"));
        view.receive(&mut run, &ok(b"next"));
        view.close(&mut run);
        let bytes = run.finish();
        check_sound(&bytes);
        if !have("tshark") {
            return;
        }
        let found = dissected(&bytes);
        let end = found.len() - 2;
        assert_eq!(found[0], "/holey");
        assert_eq!(found[end..], ["/next", "200"], "{length}: {found:?}");
        let (_directory, path) = save(&bytes);
        let said = fields(
            &path,
            "frame.comment contains \"bytes are not there: ring_full\"",
            &["frame.number"],
        );
        assert!(!said.is_empty(), "{length}");
        if length <= 256 << 10 {
            assert_eq!(found, ["/holey", "200", "/next", "200"]);
        }
        assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    }
}

#[test]
fn what_the_filter_drops_leaves_no_hole() {
    let mut run = Run::new();
    let mut view = View::new(
        1,
        Source::Tcp,
        "10.0.0.1:50000",
        "10.0.0.2:80",
        Some(curl()),
    );
    for path in ["/a", "/b", "/c"] {
        view.send(&mut run, &get(path));
        view.receive(&mut run, &ok(b"hello"));
        view.offsets = [view.offsets[0] + 12_345, view.offsets[1] + 6_000_000_000];
    }
    let bytes = run.finish();
    check_sound(&bytes);
    if have("tshark") {
        assert_eq!(dissected(&bytes), ["/a", "200", "/b", "200", "/c", "200"]);
    }
}

#[test]
fn unknown_peers_unix_sockets_and_ipv6_are_shown() {
    let mut run = Run::new();
    let ends = [
        ("127.0.0.1:50000", ""),
        ("", ""),
        ("", ""),
        ("unix:/run/docker.sock", "unix:/run/docker.sock"),
        ("[::1]:50000", "[::1]:34567"),
        ("[2001:db8::5]:50000", ""),
    ];
    let mut expected = Vec::new();
    for (i, (local, peer)) in ends.iter().enumerate() {
        let number = i as u64 + 1;
        let source = if i % 2 == 0 {
            Source::OpenSsl
        } else {
            Source::Tcp
        };
        let mut view = View::new(number, source, local, peer, (i != 2).then(curl));
        let path = format!("/{number}");
        view.send(&mut run, &get(&path));
        view.receive(&mut run, &ok(b"hello"));
        expected.extend([path, "200".to_owned()]);
        view.close(&mut run);
    }
    let bytes = run.finish();
    check_sound(&bytes);
    if !have("tshark") {
        return;
    }
    assert_eq!(dissected(&bytes), expected);
    let (_directory, path) = save(&bytes);
    let said = fields(
        &path,
        "frame.comment contains \"stands for\"",
        &["frame.comment"],
    );
    assert_eq!(said.len(), 5, "{said:#?}");
    assert!(
        said.iter()
            .any(|s| s.contains("stands for unix:/run/docker.sock"))
    );
}

#[test]
fn joined_late_and_ended_by_the_capture() {
    let mut run = Run::new();
    // A response first, then a whole exchange whose body ends with the
    // connection, which the capture does not see.
    let mut view = View::new(
        1,
        Source::Tcp,
        "10.0.0.1:50000",
        "10.0.0.2:80",
        Some(curl()),
    )
    .with(|info| info.from_start = false);
    view.receive(&mut run, &ok(b"late"));
    view.send(&mut run, &get("/until-close"));
    view.receive(
        &mut run,
        b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it",
    );
    let bytes = run.finish();
    check_sound(&bytes);
    if !have("tshark") {
        return;
    }
    assert_eq!(dissected(&bytes), ["200", "/until-close", "200"]);
    let (_directory, path) = save(&bytes);
    let ends = fields(&path, "tcp.flags.fin == 1", &["frame.comment"]);
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|c| c.contains("synthetic")), "{ends:?}");
}

#[test]
fn times_never_run_backwards_and_a_request_comes_before_its_response() {
    let mut run = Run::new();
    let mut view = View::new(
        1,
        Source::Tcp,
        "10.0.0.1:50000",
        "10.0.0.2:80",
        Some(curl()),
    );
    for path in ["/a", "/b", "/c"] {
        run.now += 10 * MS;
        let now = run.now;
        // Their records change places, and so do their times.
        view.put_at(&mut run, now, Direction::Send, Content::Bytes(&get(path)));
        view.put_at(
            &mut run,
            now - MS,
            Direction::Receive,
            Content::Bytes(&ok(b"hello")),
        );
    }
    let bytes = run.finish();
    check_sound(&bytes);
    if !have("tshark") {
        return;
    }
    assert_eq!(dissected(&bytes), ["/a", "200", "/b", "200", "/c", "200"]);
    let (_directory, path) = save(&bytes);
    assert!(fields(&path, "frame.time_delta < 0", &["frame.number"]).is_empty());
}

#[test]
fn a_receivers_bytes_stand_in_for_a_sendfile() {
    let mut run = Run::new();
    let (mut client, mut server) = pair(Source::Tcp, 1, 2, 50000);
    let body = noise(100_000);
    client.send(&mut run, &get("/file"));
    server.receive(&mut run, &get("/file"));
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
    client.close(&mut run);
    server.close(&mut run);
    let bytes = run.finish();
    check_sound(&bytes);
    if !have("tshark") {
        return;
    }
    let (directory, path) = save(&bytes);
    let objects = directory.path().join("objects");
    tshark(
        &path,
        &[
            "-q",
            "--export-objects",
            &format!("http,{}", objects.display()),
        ],
    );
    assert!(std::fs::read(objects.join("file")).unwrap() == body);
}

#[test]
fn packets_come_as_time_passes_and_a_killed_runs_file_opens() {
    let mut run = Run::new();
    let head = run.file.0.lock().unwrap().len();
    assert!(head > 0, "the file's head is there at once");
    let mut view = View::new(
        1,
        Source::Tcp,
        "10.0.0.1:50000",
        "10.0.0.2:80",
        Some(curl()),
    );
    view.send(&mut run, &get("/live"));
    view.receive(&mut run, &ok(b"hello"));
    run.tick();
    let bytes = run.file.0.lock().unwrap().clone();
    assert!(bytes.len() > head);
    check_sound(&bytes);
    if have("tshark") {
        assert_eq!(dissected(&bytes), ["/live", "200"]);
    }
}

#[test]
fn a_reset_is_a_reset_and_the_response_is_still_shown() {
    let mut run = Run::new();
    let mut view = View::new(
        1,
        Source::Tcp,
        "10.0.0.1:50000",
        "10.0.0.2:80",
        Some(curl()),
    );
    view.send(&mut run, &get("/reset"));
    view.receive(&mut run, b"HTTP/1.0 200 OK\r\n\r\npart of it");
    view.put(&mut run, Direction::Receive, Content::Reset);
    let bytes = run.finish();
    check_sound(&bytes);
    if have("tshark") {
        assert_eq!(dissected(&bytes), ["/reset", "200"]);
        let (_directory, path) = save(&bytes);
        assert_eq!(
            fields(&path, "tcp.flags.reset == 1", &["frame.number"]).len(),
            1
        );
    }
}

#[test]
fn a_port_of_another_protocol_is_remarked_on() {
    let mut run = Run::new();
    let mut view = View::new(
        1,
        Source::Tcp,
        "10.0.0.1:50000",
        "10.0.0.2:6379",
        Some(curl()),
    );
    view.send(&mut run, &get("/"));
    run.tick();
    assert!(run.sink.remarks()[0].contains("-d tcp.port==6379,http"));
}
