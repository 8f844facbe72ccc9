//! HAR of real traffic: what curl and the server say, byte by byte, and a run
//! that is killed.

use std::path::Path;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::clients::{Client, curl};
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::process::{Process, eventually};
use crate::support::servers::{http_server, nginx};
use crate::support::skip::needs;

fn entries(file: &Path) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    document["log"]["entries"].as_array().unwrap().clone()
}

fn bytes(content: &Value, encoding: &str) -> Vec<u8> {
    let text = content["text"].as_str().unwrap_or_default();
    if content[encoding] == "base64" {
        STANDARD.decode(text).unwrap()
    } else {
        text.as_bytes().to_vec()
    }
}

/// Name and value of each header field that curl has kept with `-D`.
fn kept(file: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(file).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(": "));
    fields.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

#[test]
fn headers_and_bodies_are_those_that_curl_got() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let mut docroot = Docroot::new(&[0, 35, 70_000]);
    docroot.add("text.txt", "Grüße, 世界\n".as_bytes());
    let certificate = Certificate::new();
    for certificate in [None, Some(&certificate)] {
        let server = nginx(&docroot, certificate);
        for name in docroot.names() {
            let here = folder();
            let (head, har) = (here.path().join("head"), here.path().join("out.har"));
            let url = format!("{}/{name}?a=1&b=x%20y", server.url());
            let mut command = curl(certificate);
            command.args(["-b", "c=1; d=2", "-o", "/dev/null", "-D"]);
            command.arg(&head).arg(&url);
            let started = Instant::now();
            let outcome = Httpsniff::new().arg("-w").arg(&har).run(&command).success();
            let took = started.elapsed().as_secs_f64() * 1000.0;
            let entries = entries(&har);
            let [entry] = &entries[..] else {
                panic!("{} entries: {}", entries.len(), outcome.stderr);
            };
            let content = docroot.content(name);
            let (request, response) = (&entry["request"], &entry["response"]);
            assert_eq!(request["url"], url.as_str());
            assert_eq!(request["cookies"][1]["name"], "d");
            assert_eq!(request["queryString"][1]["value"], "x y");
            assert_eq!(response["status"], 200);
            assert!(bytes(&response["content"], "encoding") == content, "{name}");
            assert_eq!(response["content"]["size"], content.len());
            assert_eq!(response["bodySize"], content.len());
            let fields: Vec<(String, String)> = response["headers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|field| {
                    let text = |key: &str| field[key].as_str().unwrap().to_owned();
                    (text("name"), text("value"))
                })
                .collect();
            assert_eq!(fields, kept(&head));
            let time = entry["time"].as_f64().unwrap();
            assert!(time > 0.0 && time < took, "{time} ms of {took} ms");
            assert_eq!(entry["_comm"], "curl");
            assert!(entry["_pid"].as_u64().is_some_and(|pid| pid > 1));
            let arguments = entry["_cmdline"].as_array().unwrap();
            assert_eq!(arguments.last().unwrap(), url.as_str());
            let address = entry["serverIPAddress"].as_str().unwrap();
            assert!(["127.0.0.1", "::1"].contains(&address), "{address}");
        }
    }
}

#[test]
fn uploads_are_those_that_were_sent() {
    needs!("curl");
    let _guard = lock::shared();
    let mut docroot = Docroot::new(&[35, 70_000]);
    docroot.add("text.txt", "Grüße\n".as_bytes());
    let server = http_server(&docroot, None);
    let here = folder();
    let har = here.path().join("out.har");
    let url = format!("{}/echo/", server.url());
    let names = docroot.names();
    let command = Client::Curl.post(&url, docroot.path(), names, here.path(), None);
    Httpsniff::new()
        .args(["-o", "har", "-O"])
        .arg(&har)
        .run(&command)
        .success();
    let entries = entries(&har);
    assert_eq!(entries.len(), names.len());
    for (entry, name) in entries.iter().zip(names) {
        let content = docroot.content(name);
        let (request, response) = (&entry["request"], &entry["response"]);
        assert!(
            bytes(&request["postData"], "_encoding") == content,
            "{name}"
        );
        assert_eq!(request["bodySize"], content.len());
        assert!(bytes(&response["content"], "encoding") == content, "{name}");
    }
}

#[test]
fn a_killed_run_leaves_a_whole_file() {
    needs!("nginx", "curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = nginx(&docroot, None);
    let here = folder();
    let har = here.path().join("out.har");
    let watch = Httpsniff::new()
        .args([
            "--pid",
            &server.pid().to_string(),
            "--follow",
            "--no-tls",
            "-w",
        ])
        .arg(&har)
        .start();
    let mut command = curl(None);
    let url = format!("{}/35.bin?n=[1-100000]", server.url());
    command.args(["-o", "/dev/null", &url]);
    let mut load = Process::spawn(&mut command);
    eventually("there are entries in the file", || {
        std::fs::metadata(&har).is_ok_and(|meta| meta.len() > 1 << 20)
    });
    assert!(load.is_running());
    watch.kill();
    drop(load);
    let entries = entries(&har);
    assert!(entries.len() > 500, "{}", entries.len());
    assert!(
        entries
            .iter()
            .all(|entry| entry["response"]["status"] == 200)
    );
}
