//! HAR as other programs see it: the schema of the format (har-validator), an
//! importer (mitmproxy), and what is left of a run that ended badly. No root
//! needed; what is not installed is said when a test is skipped.

// clippy's exception for tests knows only functions marked #[test].
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "only a part is used")]
mod common;
#[path = "support/skip.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "only a part is used"
)]
mod skip;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{httpsniff, pcap, run, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

/// Where Debian puts what its packages of node modules hold.
const NODE_MODULES: &str = "/usr/share/nodejs";

/// A folder with a capture `in.pcap` of these exchanges.
fn folder(exchanges: &[(&[u8], &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.pcap"), pcap(exchanges)).unwrap();
    dir
}

/// The entries of a document that must be JSON.
fn entries(har: &[u8]) -> Vec<Value> {
    let document: Value = serde_json::from_slice(har).unwrap();
    document["log"]["entries"].as_array().unwrap().clone()
}

/// The HAR of the capture in a folder, by `-o har` and by `-w FILE.har`, which
/// are the same.
fn har_of(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let base = ["-r", "in.pcap"].iter().chain(arguments);
    let shown: Vec<&str> = base.clone().chain(&["-o", "har"]).copied().collect();
    let shown = httpsniff(&shown).current_dir(dir).output().unwrap();
    assert!(shown.status.success(), "{}", stderr(&shown));
    let written: Vec<&str> = base.chain(&["-w", "out.har"]).copied().collect();
    let written = httpsniff(&written).current_dir(dir).output().unwrap();
    assert!(written.status.success(), "{}", stderr(&written));
    assert!(stderr(&written).contains("passwords and tokens") || arguments.contains(&"--redact"));
    let file = fs::read(dir.join("out.har")).unwrap();
    assert!(file == shown.stdout, "{}", stdout(&shown));
    file
}

/// Has a program judge a file; `None` if it is not installed.
fn judged(mut command: Command, har: &Path) -> Option<String> {
    let output = command.arg(har).output().unwrap();
    let text = stdout(&output);
    assert!(output.status.success(), "{text}{}", stderr(&output));
    Some(text)
}

/// har-validator's opinion, which a test without it cannot have.
fn validate(har: &Path) -> Option<String> {
    const SCRIPT: &str = r#"
        const har = JSON.parse(require("fs").readFileSync(process.argv[1]));
        require("har-validator/lib/promise").har(har).then(
            har => console.log(har.log.entries.length),
            error => { console.log(JSON.stringify(error.errors)); process.exit(1); });
    "#;
    let installed =
        skip::find("node").is_some() && Path::new(NODE_MODULES).join("har-validator").exists();
    installed.then_some(())?;
    let mut command = Command::new("node");
    command.env("NODE_PATH", NODE_MODULES).args(["-e", SCRIPT]);
    judged(command, har)
}

/// What mitmproxy makes of it: a JSON object per exchange.
fn imported(har: &Path) -> Option<Vec<Value>> {
    const SCRIPT: &str = r#"
import base64, json, sys
from mitmproxy.io import FlowReader
text = lambda b: base64.b64encode(b or b"").decode()
for flow in FlowReader(open(sys.argv[1], "rb")).stream():
    q, r = flow.request, flow.response
    print(json.dumps({
        "method": q.method, "url": q.url, "request": text(q.raw_content), "status": r.status_code,
        "response": text(r.raw_content), "version": q.http_version,
        "headers": [[text(n), text(v)] for n, v in r.headers.fields],
        "took": round((r.timestamp_end - q.timestamp_start) * 1e6)}))
"#;
    let python = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/target/peers/python/bin/python3"
    ));
    python.exists().then_some(())?;
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]);
    let text = judged(command, har)?;
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    Some(lines.collect())
}

/// Ends the test if a program is not there.
macro_rules! or_skip {
    ($value:expr, $what:literal) => {{
        fn here() {}
        match $value {
            Some(value) => value,
            None => {
                let name = std::any::type_name_of_val(&here);
                return skip::skipped(name, concat!($what, " is not installed"));
            }
        }
    }};
}

/// One of each kind: a form, binary both ways, cookies, a redirection, a
/// charset, what breaks off, what is no request at all.
fn manifold() -> Vec<(Vec<u8>, Vec<u8>)> {
    let binary: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let with = |head: &[u8], body: &[u8]| {
        let length = format!("\r\nContent-Length: {}\r\n\r\n", body.len());
        [head, length.as_bytes(), body].concat()
    };
    let get =
        |target: &str| format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n").into_bytes();
    vec![
        (
            with(
                b"POST /form?x=1&y=%C3%BC HTTP/1.1\r\nHost: example.com\r\nCookie: a=1; b=2\r\nContent-Type: application/x-www-form-urlencoded",
                b"q=caf%C3%A9&r=1+2",
            ),
            with(
                b"HTTP/1.1 302 Found\r\nLocation: /there\r\nSet-Cookie: sid=9; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT; HttpOnly\r\nSet-Cookie: t=1; Max-Age=60",
                b"",
            ),
        ),
        (
            with(b"PUT /binary HTTP/1.1\r\nHost: example.com", &binary),
            with(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream",
                &binary,
            ),
        ),
        (
            get("/text"),
            with(
                b"HTTP/1.1 200 OK\r\nX-Latin: Gr\xfc\xdfe\r\nContent-Type: text/plain; charset=utf-8",
                "Grüße, 世界\n".as_bytes(),
            ),
        ),
        (
            get("/latin1"),
            with(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=iso-8859-1",
                b"Gr\xfc\xdfe",
            ),
        ),
        (
            b"GET /old HTTP/1.0\r\n\r\n".to_vec(),
            b"HTTP/1.0 200 OK\r\n\r\nuntil the end".to_vec(),
        ),
        (
            b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec(),
            b"HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n".to_vec(),
        ),
        (
            b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(),
        ),
        (
            get("/early"),
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec(),
        ),
        (get("/unanswered"), Vec::new()),
        (
            b"GET /b\xe4d\xff\"<> HTTP/1.1\r\nHost: ex\xe4mple\r\nX: \xff\x01\r\n\r\n".to_vec(),
            with(b"HTTP/1.1 200 \xe4\x1b", b"x"),
        ),
        (
            get("/chunked"),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"
                .to_vec(),
        ),
    ]
}

fn manifold_folder() -> TempDir {
    let all = manifold();
    let list: Vec<(&[u8], &[u8])> = all.iter().map(|(a, b)| (&a[..], &b[..])).collect();
    folder(&list)
}

#[test]
fn the_schema_of_the_format_accepts_it() {
    let dir = manifold_folder();
    let har = har_of(dir.path(), &[]);
    assert_eq!(entries(&har).len(), manifold().len());
    let accepted = or_skip!(validate(&dir.path().join("out.har")), "har-validator");
    assert_eq!(accepted.trim(), manifold().len().to_string());

    let lines = stdout(&run(&[
        "-r",
        &dir.path().join("in.pcap").display().to_string(),
        "-o",
        "json",
    ]));
    assert_eq!(lines.lines().count(), manifold().len());

    // The validator can say no.
    let broken = String::from_utf8(har).unwrap();
    let broken = broken.replace("\"startedDateTime\":\"2", "\"startedDateTime\":\"x");
    let file = dir.path().join("broken.har");
    fs::write(&file, broken).unwrap();
    assert!(std::panic::catch_unwind(|| validate(&file)).is_err());
}

#[test]
fn captures_of_other_programs_give_a_har_too() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let dir = tempfile::tempdir().unwrap();
    for name in ["ethernet.pcap", "ethernet.pcapng", "cooked1.pcap"] {
        let out = dir.path().join("out.har");
        let input = fixtures.join(name).display().to_string();
        let output = run(&["-r", &input, "-w", &out.display().to_string()]);
        assert!(output.status.success(), "{}", stderr(&output));
        let count = entries(&fs::read(&out).unwrap()).len();
        assert_eq!(count, 4, "{name}");
        let accepted = or_skip!(validate(&out), "har-validator");
        assert_eq!(accepted.trim(), "4", "{name}");
    }
}

#[test]
fn an_importer_gets_every_byte() {
    let dir = manifold_folder();
    let har = har_of(dir.path(), &[]);
    let flows = or_skip!(
        imported(&dir.path().join("out.har")),
        "mitmproxy (scripts/peers.sh)"
    );
    let entries = entries(&har);
    assert_eq!(flows.len(), entries.len());
    let find = |path: &str| {
        let is_it = |flow: &&Value| flow["url"].as_str().unwrap().contains(path);
        flows.iter().find(is_it).unwrap()
    };
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let body_of = |message: &[u8]| {
        let at = message.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        message[at + 4..].to_vec()
    };
    let all = manifold();
    for (number, path) in [
        (0, "/form"),
        (1, "/binary"),
        (2, "/text"),
        (3, "/latin1"),
        (4, "/old"),
    ] {
        let flow = find(path);
        assert!(
            bytes(&flow["response"]) == body_of(&all[number].1),
            "{path}"
        );
    }
    assert_eq!(bytes(&find("/chunked")["response"]), b"hello");
    assert_eq!(bytes(&find("/early")["response"]), b"short");
    let form = find("/form");
    assert_eq!(form["url"], "http://example.com/form?x=1&y=%C3%BC");
    assert_eq!(
        (&form["method"], &form["status"]),
        (&"POST".into(), &302.into())
    );
    assert_eq!(bytes(&form["request"]), b"q=caf%C3%A9&r=1+2");
    for (flow, entry) in flows.iter().zip(&entries) {
        let took = entry["time"].as_f64().unwrap() * 1000.0;
        assert!(
            (flow["took"].as_f64().unwrap() - took).abs() < 2.0,
            "{flow}"
        );
    }
}

#[test]
fn options_apply_as_in_other_outputs() {
    let dir = manifold_folder();
    let of = |arguments: &[&str]| entries(&har_of(dir.path(), arguments));
    assert_eq!(of(&["--path", "/form"]).len(), 1);
    assert_eq!(of(&["--host", "other"]).len(), 0);
    assert_eq!(of(&["-c", "3"]).len(), 3);
    let cut = &of(&["--path", "/text", "--max-body", "5"])[0]["response"]["content"];
    // Five bytes end within the ß.
    assert_eq!(
        (&cut["text"], &cut["_state"]),
        (&"Grü".into(), &"cut".into())
    );
    assert_eq!(cut["size"], 16);
    let masked = &of(&["--path", "/form", "--redact"])[0];
    assert!(!masked.to_string().contains("sid"), "{masked}");
    assert_eq!(masked["response"]["cookies"][0]["name"], "");
}

#[test]
fn a_full_disk_leaves_a_whole_file() {
    let response = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n".to_vec(),
        vec![b'x'; 3000],
    ]
    .concat();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let many: Vec<(&[u8], &[u8])> = (0..400).map(|_| (&request[..], &response[..])).collect();
    let dir = folder(&many);
    let mut seen = Vec::new();
    // The limit cuts a write in the middle, as a full disk does.
    for blocks in [1, 200, 201, 300, 777] {
        let script = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$@\"");
        let mut sniff = httpsniff(&["-r", "in.pcap", "-w", "out.har"]);
        let mut command = Command::new("bash");
        command.args(["-c", &script, "-"]).arg(sniff.get_program());
        command.args(sniff.get_args()).current_dir(dir.path());
        let output = command.output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let file = fs::read(dir.path().join("out.har")).unwrap();
        if file.is_empty() {
            assert!(text.contains("nothing is in it"), "{text}");
            continue;
        }
        assert!(text.contains("can be read"), "{text}");
        seen.push(entries(&file).len());
        sniff.stdin(Stdio::null());
    }
    assert!(
        seen.len() >= 4 && seen.is_sorted() && seen[3] > seen[0],
        "{seen:?}"
    );
}

#[test]
fn what_was_killed_in_a_pipe_or_torn_is_repaired_as_documented() {
    let dir = manifold_folder();
    let whole = har_of(dir.path(), &[]);
    let document =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OUTPUT.md")).unwrap();
    let repair = document
        .lines()
        .find(|line| line.starts_with("jq -nR"))
        .unwrap();
    if skip::find("jq").is_none() {
        return skip::skipped("what_was_killed", "jq is not installed");
    }
    let all = entries(&whole);
    let lines: Vec<usize> = whole
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(n, _)| n)
        .collect();
    for cut in [
        lines[0] + 1,
        lines[1],
        lines[1] + 1,
        lines[1] + 2,
        lines[4] - 3,
        lines[4],
        whole.len() - 5,
        whole.len(),
    ] {
        let torn = dir.path().join("torn.har");
        // As a write over the old ending that was cut after two bytes.
        let mut bytes = whole[..cut].to_vec();
        if cut == lines[1] + 2 {
            bytes.extend(b"}}\n");
        }
        fs::write(&torn, bytes).unwrap();
        let output = Command::new("sh")
            .args(["-c", repair])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let repaired = entries(&fs::read(dir.path().join("whole.har")).unwrap());
        let expected = lines[1..]
            .iter()
            .filter(|end| **end <= cut)
            .count()
            .min(all.len());
        assert_eq!(repaired, all[..expected], "cut at {cut}");
        if let Some(accepted) = validate(&dir.path().join("whole.har")) {
            assert_eq!(accepted.trim(), expected.to_string());
        }
    }
}

#[test]
fn a_killed_run_leaves_a_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.har");
    let mut child = httpsniff(&["-r", "-", "-w"])
        .arg(&out)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It ticks by the time in the capture, which takes a while.
    let all = manifold();
    let list = all.iter().map(|(a, b)| (&a[..], &b[..])).cycle();
    let list: Vec<(&[u8], &[u8])> = list.take(500).collect();
    stdin.write_all(&pcap(&list)).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let file = fs::read(&out).unwrap_or_default();
        if serde_json::from_slice::<Value>(&file).is_ok_and(|d| d["log"]["entries"][0].is_object())
        {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "nothing was written");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!entries(&fs::read(&out).unwrap()).is_empty());
}

#[test]
fn what_is_appended_to_keeps_what_was_there() {
    let dir = manifold_folder();
    let out = dir.path().join("log");
    fs::write(&out, "mine\n").unwrap();
    let file = fs::File::options().append(true).open(&out).unwrap();
    let status = httpsniff(&["-r", "in.pcap", "-o", "har"])
        .current_dir(dir.path())
        .stdout(file)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let mut text = String::new();
    fs::File::open(&out)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let har = text.strip_prefix("mine\n").unwrap();
    assert_eq!(entries(har.as_bytes()).len(), manifold().len());
}
