//! What tshark says of the HTTP/2 in a file.

use serde_json::Value;

/// The values of a field with the stream that they are in, as `1 GET`.
pub(crate) fn field(packets: &Value, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(packets, name, None, &mut found);
    found
}

/// The bytes of a stream's bodies, both directions.
pub(crate) fn body(packets: &Value, stream: u32) -> Vec<u8> {
    let mut found = Vec::new();
    collect_body(packets, &stream.to_string(), &mut found);
    found
}

fn collect_body(value: &Value, stream: &str, found: &mut Vec<u8>) {
    match value {
        Value::Array(list) => {
            for value in list {
                collect_body(value, stream, found);
            }
        }
        Value::Object(object) => {
            let is = |name: &str, value: &str| object.get(name).is_some_and(|v| v == value);
            if is("http2.streamid", stream) && is("http2.type", "0") && !is("http2.length", "0") {
                let text = match &object["http2.data.data"] {
                    Value::Array(list) => list[0].as_str(),
                    value => value.as_str(),
                };
                let bytes = text.unwrap().split(':');
                let bytes: Vec<u8> = bytes.map(|h| u8::from_str_radix(h, 16).unwrap()).collect();
                // The last frame's is the whole body, put together.
                let own = object["http2.length"].as_str().unwrap();
                let own = bytes.len().min(own.parse().unwrap());
                found.extend(&bytes[bytes.len() - own..]);
            }
            for value in object.values() {
                collect_body(value, stream, found);
            }
        }
        _ => {}
    }
}

fn collect(value: &Value, name: &str, stream: Option<&str>, found: &mut Vec<String>) {
    match value {
        Value::Array(list) => {
            for value in list {
                collect(value, name, stream, found);
            }
        }
        Value::Object(object) => {
            let own = object.get("http2.streamid").and_then(Value::as_str);
            let stream = own.or(stream);
            if let Some(value) = object.get(name) {
                let values = match value {
                    Value::Array(list) => list.clone(),
                    value => vec![value.clone()],
                };
                for value in values {
                    let (stream, value) = (stream.unwrap_or("?"), value.as_str().unwrap());
                    found.push(format!("{stream} {value}"));
                }
            }
            for value in object.values() {
                collect(value, name, stream, found);
            }
        }
        _ => {}
    }
}
