//! What clients tell of their exchanges, by what they print.

use crate::http2::Pairs;

/// An exchange as its client tells it.
pub(super) struct Told {
    pub(super) stream: u64,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) status: u64,
    pub(super) sent: Pairs,
    pub(super) received: Pairs,
    pub(super) body: Vec<u8>,
}

/// `name: value`.
pub(super) fn pair(line: &str) -> Option<(String, String)> {
    let colon = line.get(1..)?.find(": ")? + 1;
    Some((line[..colon].to_owned(), line[colon + 2..].to_owned()))
}

/// The output of `curl -v`.
pub(super) fn told_by_curl(lines: &[String]) -> Vec<Told> {
    let mut all = Vec::<Told>::new();
    for line in lines {
        if let Some(line) = line.strip_prefix("> ") {
            if let Some(start) = line.trim_end().strip_suffix(" HTTP/2") {
                let (method, target) = start.split_once(' ').unwrap();
                all.push(Told {
                    stream: 2 * all.len() as u64 + 1,
                    method: method.to_owned(),
                    target: target.to_owned(),
                    status: 0,
                    sent: Vec::new(),
                    received: Vec::new(),
                    body: Vec::new(),
                });
            } else if let Some((name, value)) = pair(line.trim_end()).filter(|p| p.0 != "Host") {
                all.last_mut().unwrap().sent.push((name, value));
            }
        } else if let Some(line) = line.strip_prefix("< ") {
            let told = all.last_mut().unwrap();
            if let Some(status) = line.strip_prefix("HTTP/2 ") {
                told.status = status.trim().parse().unwrap();
            } else {
                told.received.extend(pair(line.trim_end()));
            }
        }
    }
    all
}

/// The output of `nghttp -nv`.
pub(super) fn told_by_nghttp(lines: &[String]) -> Vec<Told> {
    let mut all = Vec::<Told>::new();
    let mut sends = false;
    let number = |line: &str| -> u64 {
        let rest = line.split("stream_id=").nth(1).unwrap();
        rest.split(['>', ')']).next().unwrap().parse().unwrap()
    };
    for line in lines {
        if line.contains("] send HEADERS frame ") {
            all.push(Told {
                stream: number(line),
                method: String::new(),
                target: String::new(),
                status: 0,
                sent: Vec::new(),
                received: Vec::new(),
                body: Vec::new(),
            });
        }
        if line.starts_with('[') {
            sends = line.contains("] send HEADERS frame ");
        }
        if let Some((_, rest)) = line.split_once("] recv (stream_id=") {
            let (stream, field) = rest.split_once(") ").unwrap();
            let stream: u64 = stream.parse().unwrap();
            let told = all.iter_mut().find(|told| told.stream == stream).unwrap();
            match pair(field) {
                Some((name, value)) if name == ":status" => told.status = value.parse().unwrap(),
                field => told.received.extend(field),
            }
        } else if let Some(field) = line.strip_prefix("          ").filter(|_| sends)
            && !field.starts_with([';', '('])
        {
            let told = all.last_mut().unwrap();
            match pair(field).unwrap() {
                (name, value) if name == ":method" => told.method = value,
                (name, value) if name == ":path" => told.target = value,
                (name, _) if name.starts_with(':') => {}
                field => told.sent.push(field),
            }
        }
    }
    all
}
