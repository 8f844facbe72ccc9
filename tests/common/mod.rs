//! What whole-program tests share: running httpsniff, and small captures made
//! by hand, so that they do not depend on httpsniff's own writer.

use std::process::{Command, Output, Stdio};

/// The program, away from the surroundings of who runs the tests.
pub(crate) fn httpsniff(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpsniff"));
    command.args(arguments).stdin(Stdio::null());
    for name in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "NO_COLOR"] {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    httpsniff(arguments).output().unwrap()
}

/// What it said on stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What it gave on stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A classic pcap (raw IP, little-endian, microseconds) with one connection
/// of 127.0.0.1 from port 50000 to 80 for each request and response.
pub(crate) fn pcap(exchanges: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 101] {
        file.extend(word.to_le_bytes());
    }
    let mut time = 0;
    for (number, (request, response)) in exchanges.iter().enumerate() {
        let client = 50000 + u16::try_from(number).unwrap();
        let (fin, syn, psh) = (0x11_u8, 0x02, 0x18);
        let sent = 1001 + u32::try_from(request.len()).unwrap();
        let received = 5001 + u32::try_from(response.len()).unwrap();
        for (from_client, seq, ack, flags, payload) in [
            (true, 1000, 0, syn, &b""[..]),
            (false, 5000, 1001, syn | 0x10, b""),
            (true, 1001, 5001, psh, *request),
            (false, 5001, sent, psh, *response),
            (true, sent, received, fin, b""),
            (false, received, sent + 1, fin, b""),
        ] {
            time += 1000;
            let ports = if from_client {
                (client, 80)
            } else {
                (80, client)
            };
            packet(&mut file, time, ports, (seq, ack), flags, payload);
        }
    }
    file
}

/// Appends one packet, `time` in microseconds after 2026-01-01.
fn packet(
    file: &mut Vec<u8>,
    time: u32,
    ports: (u16, u16),
    (seq, ack): (u32, u32),
    flags: u8,
    payload: &[u8],
) {
    let length = u16::try_from(40 + payload.len()).unwrap();
    for word in [
        1_767_225_600 + time / 1_000_000,
        time % 1_000_000,
        u32::from(length),
        u32::from(length),
    ] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0x45, 0]);
    file.extend(length.to_be_bytes());
    file.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    file.extend(ports.0.to_be_bytes());
    file.extend(ports.1.to_be_bytes());
    file.extend(seq.to_be_bytes());
    file.extend(ack.to_be_bytes());
    file.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    file.extend(payload);
}

/// A capture of one GET answered by `hello`.
pub(crate) fn hello() -> Vec<u8> {
    pcap(&[(
        b"GET /hello?token=s3cret HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    )])
}
