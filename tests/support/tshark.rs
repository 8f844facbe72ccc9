//! What Wireshark makes of a capture file, by its command-line sister.

use std::path::Path;
use std::process::Command;

/// The packets that match `filter`, and the `fields` of each. Several values
/// of one field in a packet are separated by `,`.
pub(crate) fn fields(file: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    dissected(&[], file, filter, fields)
}

/// As [`fields`], with what is on a port decoded as `-d` says.
pub(crate) fn decoded(file: &Path, port: &str, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    dissected(&["-d", port], file, filter, fields)
}

/// As [`decoded`], for all packets: of each field all values in a row.
pub(crate) fn columns(file: &Path, port: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let packets = decoded(file, port, "tcp", fields);
    let column = |at: usize| {
        let values = packets.iter().filter_map(move |packet| packet.get(at));
        let values = values.flat_map(|values| values.split(','));
        values.filter(|v| !v.is_empty()).map(str::to_owned)
    };
    (0..fields.len()).map(|at| column(at).collect()).collect()
}

fn dissected(options: &[&str], file: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-n").args(options).arg("-r").arg(file);
    command.args(["-Y", filter, "-T", "fields", "-E", "separator=/t"]);
    for field in fields {
        command.args(["-e", field]);
    }
    // tshark warns about running as root; only its stdout counts.
    let text = super::clients::run(&mut command);
    let values = |line: &str| line.split('\t').map(str::to_owned).collect();
    text.lines().map(values).collect()
}

/// How many packets match `filter`.
pub(crate) fn count(file: &Path, filter: &str) -> usize {
    fields(file, filter, &["frame.number"]).len()
}

/// Wireshark's “Follow HTTP stream” of a stream, as text.
pub(crate) fn follow_http(file: &Path, stream: &str) -> String {
    super::clients::run(
        Command::new("tshark")
            .args(["-n", "-q", "-r"])
            .arg(file)
            .args(["-z", &format!("follow,http,ascii,{stream}")]),
    )
}

/// Panics unless the file is as promised: every packet has a comment with its
/// process, TCP has nothing to complain about, and no packet is malformed.
pub(crate) fn assert_sound(file: &Path) {
    assert_eq!(
        count(file, "!(frame.comment contains \"PID: \")"),
        0,
        "packets without a process"
    );
    let analysis = fields(
        file,
        "tcp.analysis.flags",
        &["frame.number", "tcp.stream", "_ws.col.Info"],
    );
    assert!(analysis.is_empty(), "TCP analysis: {analysis:?}");
    let malformed = fields(file, "_ws.malformed", &["frame.number", "_ws.col.Info"]);
    assert!(malformed.is_empty(), "malformed: {malformed:?}");
    assert!(count(file, "tcp") > 0, "an empty file");
}

/// Method, target and status of each exchange that `http` dissects: requests
/// as `GET /x`, responses as `200`.
pub(crate) fn http(file: &Path) -> (Vec<String>, Vec<String>) {
    let requests = fields(
        file,
        "http.request",
        &["http.request.method", "http.request.uri"],
    )
    .iter()
    .flat_map(|fields| {
        // Pipelined requests share a packet.
        let methods = fields[0].split(',').map(str::to_owned);
        let targets = fields[1].split(',').map(str::to_owned).collect::<Vec<_>>();
        methods
            .zip(targets)
            .map(|(m, t)| format!("{m} {t}"))
            .collect::<Vec<_>>()
    })
    .collect();
    let responses = fields(file, "http.response", &["http.response.code"])
        .iter()
        .flat_map(|fields| fields[0].split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    (requests, responses)
}
