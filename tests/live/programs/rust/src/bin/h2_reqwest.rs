//! reqwest: the client of most Rust programs, on hyper, with OpenSSL's library
//! (native-tls) or with rustls.
//!
//! ```text
//! h2_reqwest native|rustls get [--cafile CA] URL TARGET…
//! h2_reqwest native|rustls post [--cafile CA] URL FOLDER TARGET…
//! h2_reqwest native|rustls lines [--cafile CA] URL
//! ```
//!
//! `PEER_HTTP=1.1` asks for that version, without it HTTP/2 must come of it; in
//! clear that is spoken by prior knowledge. The first target is asked for alone,
//! which makes the connection, and all others at once. Answers are kept in files
//! 0, 1, ….
//!
//! `lines` makes a request for each line of its stdin, which is method and target
//! and then names and values of fields, between tabs, and prints what was got:
//! fields and body as JSON.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use peers::{file, tls};
use reqwest::{Certificate, Client, Version};

/// What is asked for, and how.
struct Ask {
    client: Client,
    version: Version,
    url: String,
    folder: Option<PathBuf>,
    targets: Vec<String>,
}

fn main() {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(run());
}

async fn run() {
    let mut arguments = std::env::args().skip(1);
    let mut next = move || arguments.next();
    let [library, mode] = [next(), next()].map(Option::unwrap);
    let version = match std::env::var("PEER_HTTP").as_deref() {
        Ok("1.1") => Version::HTTP_11,
        _ => Version::HTTP_2,
    };
    let mut url = next().unwrap();
    let authority = (url == "--cafile").then(|| {
        let path = next().unwrap();
        url = next().unwrap();
        path
    });
    let folder = (mode == "post").then(|| next().unwrap().into());
    let ask = Arc::new(Ask {
        client: client(&library, version, authority.as_deref()),
        version,
        url,
        folder,
        targets: std::iter::from_fn(next).collect(),
    });
    if mode == "lines" {
        for line in std::io::stdin().lines() {
            println!("{}", ask.line(&line.unwrap()).await);
        }
        return;
    }
    ask.keep(0).await;
    let others: Vec<_> = (1..ask.targets.len())
        .map(|number| {
            let ask = ask.clone();
            tokio::spawn(async move { ask.keep(number).await })
        })
        .collect();
    for other in others {
        other.await.unwrap();
    }
}

fn client(library: &str, version: Version, authority: Option<&str>) -> Client {
    let mut builder = Client::builder().no_proxy();
    if version == Version::HTTP_11 {
        builder = builder.http1_only();
    } else if authority.is_none() {
        builder = builder.http2_prior_knowledge();
    }
    // Also without TLS it wants a configuration that it can use.
    builder = if library == "native" {
        builder.tls_backend_native()
    } else {
        let certificate = authority.map(peers::der).unwrap_or_default();
        let mut config = tls::client(certificate);
        if version == Version::HTTP_2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        builder.tls_backend_preconfigured(config)
    };
    if library == "native"
        && let Some(path) = authority
    {
        let pem = std::fs::read(path).unwrap();
        builder = builder.tls_certs_only([Certificate::from_pem(&pem).unwrap()]);
    }
    builder.build().unwrap()
}

impl Ask {
    async fn keep(&self, number: usize) {
        let target = &self.targets[number];
        let url = format!("{}{target}", self.url);
        let request = match self.folder.as_deref() {
            Some(folder) => self.client.post(url).body(content(folder, target)),
            None => self.client.get(url),
        };
        let answer = request.send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (200, self.version)
        );
        std::fs::write(number.to_string(), answer.bytes().await.unwrap()).unwrap();
    }

    async fn line(&self, line: &str) -> String {
        let words: Vec<_> = line.split('\t').collect();
        let method = words[0].parse().unwrap();
        let url = format!("{}{}", self.url, words[1]);
        let mut request = self.client.request(method, url);
        for pair in words[2..].chunks(2) {
            request = request.header(pair[0], pair[1]);
        }
        let answer = request.send().await.unwrap();
        let fields: Vec<_> = answer
            .headers()
            .iter()
            .map(|(name, value)| [name.as_str().to_owned(), value.to_str().unwrap().to_owned()])
            .collect();
        let body = answer.text().await.unwrap();
        // For ASCII that is printable Debug is JSON.
        format!(r#"{{"fields":{fields:?},"body":{body:?}}}"#)
    }
}

fn content(folder: &Path, target: &str) -> Vec<u8> {
    let path = target.split('?').next().unwrap();
    file(folder, path).unwrap()
}
