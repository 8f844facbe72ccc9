//! What the peers have in common: their arguments, and HTTP/1.1 by hand over
//! anything that reads and writes.
//!
//! ```text
//! PEER FOLDER ADDRESS PORT CERTIFICATE KEY        serves; prints its port
//! PEER --cafile CERTIFICATE [--post FOLDER] URL…  fetches into files 0, 1, …
//! ```

pub mod tls;

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::path::{Path, PathBuf};

/// What a peer is to do.
pub enum Task {
    /// Serve the files of a folder, and send back what is posted.
    Serve {
        folder: PathBuf,
        address: String,
        certificate: Vec<u8>,
        key: Vec<u8>,
        certificate_file: String,
        key_file: String,
    },
    /// Fetch targets over one connection into files of the current folder.
    Fetch {
        host: String,
        address: String,
        certificate: Vec<u8>,
        certificate_file: String,
        targets: Vec<String>,
        post: Option<PathBuf>,
    },
}

/// Reads the command line.
pub fn task() -> Task {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments[0] != "--cafile" {
        return Task::Serve {
            folder: arguments[0].clone().into(),
            address: format!("{}:{}", arguments[1], arguments[2]),
            certificate: der(&arguments[3]),
            key: der(&arguments[4]),
            certificate_file: arguments[3].clone(),
            key_file: arguments[4].clone(),
        };
    }
    let certificate = der(&arguments[1]);
    let mut urls = arguments.split_off(2);
    let mut post = None;
    if urls[0] == "--post" {
        post = Some(urls[1].clone().into());
        urls.drain(..2);
    }
    let mut address = String::new();
    let targets = urls
        .iter()
        .map(|url| {
            let rest = url.strip_prefix("https://").unwrap();
            let (authority, target) = rest.split_once('/').unwrap();
            authority.clone_into(&mut address);
            format!("/{target}")
        })
        .collect();
    Task::Fetch {
        host: "localhost".to_owned(),
        address,
        certificate,
        certificate_file: arguments[1].clone(),
        targets,
        post,
    }
}

/// The first block of a PEM file, decoded.
pub fn der(path: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut bytes = Vec::new();
    let (mut bits, mut value) = (0, 0_u32);
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .skip(1);
    for c in lines
        .take_while(|line| !line.starts_with("-----END"))
        .flat_map(str::bytes)
    {
        value = value << 6
            | match c {
                b'A'..=b'Z' => u32::from(c - b'A'),
                b'a'..=b'z' => u32::from(c - b'a') + 26,
                b'0'..=b'9' => u32::from(c - b'0') + 52,
                b'+' => 62,
                b'/' => 63,
                _ => continue,
            };
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((value >> bits) as u8);
            value &= (1 << bits) - 1;
        }
    }
    bytes
}

/// The file that a target names.
pub fn file(folder: &Path, target: &str) -> Option<Vec<u8>> {
    let name = target.rsplit('/').next()?;
    std::fs::read(folder.join(name)).ok()
}

/// Answers requests until the peer closes.
pub fn serve(stream: impl Read + Write, folder: &Path) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some((start, length)) = head(&mut stream)? {
        let mut words = start.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body)?;
        let body = if method == "POST" {
            Some(body)
        } else {
            file(folder, target)
        };
        let status = if body.is_some() {
            "200 OK"
        } else {
            "404 Not Found"
        };
        let body = body.unwrap_or_default();
        let stream = stream.get_mut();
        if target.starts_with("/close/") {
            write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n\r\n")?;
            stream.write_all(&body)?;
            return stream.flush();
        }
        if target.starts_with("/chunked/") {
            write!(
                stream,
                "HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )?;
            for piece in body.chunks(10_000) {
                write!(stream, "{:x}\r\n", piece.len())?;
                stream.write_all(piece)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        } else {
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            write_both(stream, head.as_bytes(), &body)?;
        }
        stream.flush()?;
    }
    Ok(())
}

/// Sends a request for each target and keeps the answers.
pub fn fetch(
    stream: impl Read + Write,
    host: &str,
    targets: &[String],
    post: Option<&Path>,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    for (number, target) in targets.iter().enumerate() {
        let body = post
            .and_then(|folder| file(folder, target))
            .unwrap_or_default();
        let method = if post.is_some() { "POST" } else { "GET" };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        write_both(stream.get_mut(), request.as_bytes(), &body)?;
        stream.get_mut().flush()?;
        let (start, length) = head(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert!(start.contains(" 200"), "{start}");
        let mut answer = Vec::new();
        if let Some(length) = length {
            answer.resize(length, 0);
            stream.read_exact(&mut answer)?;
        } else {
            stream.read_to_end(&mut answer)?;
        }
        std::fs::write(number.to_string(), answer)?;
    }
    Ok(())
}

/// Start line and Content-Length, if it has one; `None` at the end of the
/// connection.
fn head(stream: &mut impl BufRead) -> io::Result<Option<(String, Option<usize>)>> {
    let (mut start, mut length) = (String::new(), None);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some((start, length)));
        }
        if start.is_empty() {
            line.clone_into(&mut start);
        } else if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.parse().unwrap());
        }
    }
}

/// Both in one call, as far as the stream takes them.
fn write_both(stream: &mut impl Write, head: &[u8], body: &[u8]) -> io::Result<()> {
    let written = stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
    stream.write_all(&head[written.min(head.len())..])?;
    stream.write_all(&body[written.saturating_sub(head.len())..])
}
