//! gRPC by tonic, in clear or inside rustls, as `h2_grpc.py` speaks it;
//! messages are bytes, so that no compiler of protocols is needed.
//!
//! ```text
//! grpc_tonic serve [CERT KEY]            prints its port
//! grpc_tonic call [--cafile CA] ADDRESS  calls each kind of method once
//! ```

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes};
use hyper::http::uri::PathAndQuery;
use hyper::{Request as HttpRequest, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, iter};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;

/// Messages as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match arguments[0].as_str() {
            "serve" => serve(&arguments[1..]).await,
            _ => call(&arguments[1..]).await,
        }
    });
}

async fn serve(files: &[String]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let mut server = Server::builder();
    if let [certificate, key] = files {
        let [certificate, key] = [certificate, key].map(|path| std::fs::read(path).unwrap());
        let identity = Identity::from_pem(certificate, key);
        let config = ServerTlsConfig::new().identity(identity);
        server = server.tls_config(config).unwrap();
    }
    let service = service_fn(|request: HttpRequest<Body>| async {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let handler = service_fn(move |request| answer(method.clone(), request));
        let answer = tonic::server::Grpc::new(Raw)
            .streaming(handler, request)
            .await;
        Ok::<_, Infallible>(answer)
    });
    let connections = TcpListenerStream::new(listener);
    server
        .serve_with_incoming(service, connections)
        .await
        .unwrap();
}

/// Every kind of method is one of streams on the wire.
async fn answer(
    method: String,
    request: Request<Streaming<Bytes>>,
) -> Result<Response<Answers>, Status> {
    let mut messages = request.into_inner();
    if method == "Both" {
        let (sender, answers) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            }
        });
        return Ok(Response::new(Box::pin(ReceiverStream::new(answers))));
    }
    let mut got = Vec::new();
    while let Some(message) = messages.message().await? {
        got.push(message);
    }
    let got = got.concat();
    let answers = match method.as_str() {
        "Unary" | "Up" => vec![Bytes::from(got)],
        "Down" => {
            let sizes = got.iter().map(|size| usize::from(*size));
            sizes.map(|size| vec![b'd'; size].into()).collect()
        }
        _ => return Err(Status::not_found("not here: 50% é")),
    };
    Ok(Response::new(Box::pin(iter(answers.into_iter().map(Ok)))))
}

async fn channel(authority: Option<&str>, address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let Some(path) = authority else {
        return endpoint.connect().await.unwrap();
    };
    // tonic's own verifier refuses the tests' certificate.
    let mut config = peers::tls::client(peers::der(path));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let origin = Uri::try_from(format!("https://{address}")).unwrap();
    let to = address.to_owned();
    let connect = service_fn(move |_: Uri| {
        let (connector, to) = (connector.clone(), to.clone());
        async move {
            let socket = TcpStream::connect(to).await?;
            let stream = connector.connect("localhost".try_into().unwrap(), socket);
            stream.await.map(TokioIo::new)
        }
    });
    let endpoint = endpoint.origin(origin);
    endpoint.connect_with_connector(connect).await.unwrap()
}

async fn call(arguments: &[String]) {
    let (authority, address) = match arguments {
        [_, path, address] => (Some(path.as_str()), address),
        _ => (None, &arguments[0]),
    };
    let mut client = tonic::client::Grpc::new(channel(authority, address).await);
    let path = |method: &str| PathAndQuery::try_from(format!("/httpsniff.Test/{method}")).unwrap();
    let parts = [vec![b'a'; 10], vec![b'b'; 20_000], vec![]].map(Bytes::from);
    let large = Bytes::from(vec![b'u'; 100_000]);

    client.ready().await.unwrap();
    let answer = client
        .unary(Request::new(large.clone()), path("Unary"), Raw)
        .await;
    assert_eq!(answer.unwrap().into_inner(), large);

    client.ready().await.unwrap();
    let sizes = Request::new(Bytes::from_static(&[0, 1, 200]));
    let answers = client.server_streaming(sizes, path("Down"), Raw).await;
    let answers = all(answers.unwrap().into_inner()).await;
    assert_eq!(answers, [vec![], vec![b'd'], vec![b'd'; 200]]);

    client.ready().await.unwrap();
    let messages = Request::new(iter(parts.clone()));
    let answer = client.client_streaming(messages, path("Up"), Raw).await;
    assert_eq!(answer.unwrap().into_inner(), parts.concat());

    client.ready().await.unwrap();
    let messages = Request::new(iter(parts.clone()));
    let answers = client.streaming(messages, path("Both"), Raw).await;
    assert_eq!(all(answers.unwrap().into_inner()).await, parts);

    client.ready().await.unwrap();
    let message = Request::new(Bytes::from_static(b"x"));
    let failed = client.unary(message, path("Fail"), Raw).await.unwrap_err();
    let ended = (failed.code(), failed.message());
    assert_eq!(ended, (Code::NotFound, "not here: 50% é"));
}

async fn all(mut answers: Streaming<Bytes>) -> Vec<Bytes> {
    let mut got = Vec::new();
    while let Some(message) = answers.message().await.unwrap() {
        got.push(message);
    }
    got
}
