//! One line of httpsniff's JSON, and its comparison with the truth.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use base64::Engine as _;
use serde_json::Value;

/// A JSON line of kind `exchange`.
#[derive(Clone, Debug)]
pub(crate) struct Exchange(pub(crate) Value);

impl Exchange {
    /// Parses JSON lines; each must be valid, and of schema 1. Other kinds
    /// than exchanges are left out.
    pub(crate) fn parse(lines: &[u8]) -> Vec<Self> {
        let text = std::str::from_utf8(lines).expect("JSON is UTF-8");
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "a line was cut off"
        );
        text.lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .inspect(|value: &Value| assert_eq!(value["schema"], 1, "{value}"))
            .filter(|value| value["kind"] == "exchange")
            .map(Self)
            .collect()
    }

    /// The string at a JSON pointer, empty if there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    /// The number at a JSON pointer.
    pub(crate) fn number(&self, pointer: &str) -> Option<u64> {
        self.0.pointer(pointer).and_then(Value::as_u64)
    }

    /// `client` or `server`.
    pub(crate) fn role(&self) -> &str {
        self.text("/role")
    }

    /// The request's target.
    pub(crate) fn target(&self) -> &str {
        self.text("/request/target")
    }

    /// The process.
    pub(crate) fn pid(&self) -> u64 {
        self.number("/process/pid").unwrap_or(0)
    }

    /// The body of `request` or `response`; `None` if there is no such body.
    pub(crate) fn body(&self, of: &str) -> Option<Vec<u8>> {
        let body = self.0.get(of)?.get("body")?;
        if let Some(text) = body["text"].as_str() {
            return Some(text.as_bytes().to_vec());
        }
        let base64 = body["base64"].as_str()?;
        let engine = base64::engine::general_purpose::STANDARD;
        Some(engine.decode(base64).expect("base64"))
    }

    /// All that is wrong with it, a line each, empty if nothing.
    fn differences(&self, expected: &Expected) -> String {
        let mut text = String::new();
        let mut differs = |what: &str, is: &dyn std::fmt::Debug, should: &dyn std::fmt::Debug| {
            writeln!(
                text,
                "  {} {}: {what} is {is:?}, not {should:?}",
                expected.method, expected.target
            )
            .unwrap();
        };
        let strings = [
            ("state", "/state", "complete"),
            ("method", "/request/method", &expected.method),
            ("target", "/request/target", &expected.target),
            ("request body's state", "/request/body/state", "complete"),
            ("response body's state", "/response/body/state", "complete"),
        ];
        for (what, pointer, should) in strings {
            let is = self.text(pointer);
            if is != should {
                differs(what, &is, &should);
            }
        }
        let numbers = [
            ("status", "/response/status", u64::from(expected.status)),
            ("lost_bytes", "/lost_bytes", 0),
            (
                "request body's size",
                "/request/body/size",
                expected.request_body.len() as u64,
            ),
            (
                "response body's size",
                "/response/body/size",
                expected.response_body.len() as u64,
            ),
        ];
        for (what, pointer, should) in numbers {
            let is = self.number(pointer);
            if is != Some(should) {
                differs(what, &is, &should);
            }
        }
        for (of, should) in [
            ("request", &expected.request_body),
            ("response", &expected.response_body),
        ] {
            let is = self.body(of);
            if is.as_deref() != Some(should) {
                let at = is.as_deref().map(|is| first_difference(is, should));
                differs(
                    of,
                    &format!(
                        "a body of {:?} bytes, other from {at:?} on",
                        is.map(|b| b.len())
                    ),
                    &format!("the {} bytes of the endpoint", should.len()),
                );
            }
        }
        text
    }
}

/// Index of the first byte in which they differ.
fn first_difference(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// An exchange as the endpoints know it.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Method.
    pub(crate) method: String,
    /// Request target.
    pub(crate) target: String,
    /// Status.
    pub(crate) status: u16,
    /// Body of the request.
    pub(crate) request_body: Vec<u8>,
    /// Body of the response.
    pub(crate) response_body: Vec<u8>,
}

impl Expected {
    /// A GET that is answered with 200 and this body.
    pub(crate) fn get(target: &str, body: Vec<u8>) -> Self {
        Self {
            method: "GET".to_owned(),
            target: target.to_owned(),
            status: 200,
            request_body: Vec::new(),
            response_body: body,
        }
    }

    /// A POST whose body is sent back.
    pub(crate) fn echo(target: &str, body: Vec<u8>) -> Self {
        Self {
            method: "POST".to_owned(),
            target: target.to_owned(),
            status: 200,
            request_body: body.clone(),
            response_body: body,
        }
    }
}

/// Panics unless exactly the expected exchanges are there, each once and equal
/// to the last byte. Targets must be unique; the order does not matter.
pub(crate) fn assert_exchanges(view: &str, seen: &[Exchange], expected: &[Expected]) {
    let mut problems = String::new();
    let mut by_target = HashMap::<&str, Vec<&Exchange>>::new();
    for exchange in seen {
        by_target
            .entry(exchange.target())
            .or_default()
            .push(exchange);
    }
    for should in expected {
        let found = by_target
            .get(should.target.as_str())
            .map_or(&[][..], Vec::as_slice);
        match *found {
            [exchange] => problems.push_str(&exchange.differences(should)),
            _ => writeln!(
                problems,
                "  {} {}: seen {} times",
                should.method,
                should.target,
                found.len()
            )
            .unwrap(),
        }
    }
    let targets: HashSet<_> = expected.iter().map(|e| e.target.as_str()).collect();
    for exchange in seen {
        if !targets.contains(exchange.target()) {
            writeln!(problems, "  not expected: {}", short(exchange)).unwrap();
        }
    }
    // The first are enough to see what it is.
    let (shown, all) = (20, problems.lines().count());
    let first: Vec<_> = problems.lines().take(shown).collect();
    assert!(
        problems.is_empty(),
        "{view}, {} seen of {}, {all} differences:\n{}",
        seen.len(),
        expected.len(),
        first.join("\n")
    );
}

/// The line without its bodies.
pub(crate) fn short(exchange: &Exchange) -> String {
    let mut value = exchange.0.clone();
    for body in ["/request/body", "/response/body"] {
        if let Some(Value::Object(body)) = value.pointer_mut(body) {
            body.remove("text");
            body.remove("base64");
        }
    }
    value.to_string()
}
