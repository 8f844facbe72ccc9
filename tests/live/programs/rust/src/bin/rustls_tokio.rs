//! tokio-rustls under hyper: the runtime of most Rust services and clients.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use peers::Task;
use peers::tls::{client, server};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_io()
        .build()
        .unwrap();
    runtime.block_on(run());
}

async fn run() {
    match peers::task() {
        Task::Serve {
            folder,
            address,
            certificate,
            key,
            ..
        } => {
            let acceptor = TlsAcceptor::from(Arc::new(server(certificate, key)));
            let listener = TcpListener::bind(address).await.unwrap();
            println!("{}", listener.local_addr().unwrap().port());
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, folder) = (acceptor.clone(), folder.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else {
                        return;
                    };
                    let service = service_fn(move |request| answer(request, folder.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        }
        Task::Fetch {
            host,
            address,
            certificate,
            targets,
            post,
            ..
        } => {
            let connector = TlsConnector::from(Arc::new(client(certificate)));
            let socket = TcpStream::connect(address).await.unwrap();
            let name = host.clone().try_into().unwrap();
            let stream = connector.connect(name, socket).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .unwrap();
            let connection = tokio::spawn(connection);
            for (number, target) in targets.iter().enumerate() {
                let body = post
                    .as_deref()
                    .and_then(|folder| peers::file(folder, target));
                let request = Request::builder()
                    .method(if post.is_some() {
                        Method::POST
                    } else {
                        Method::GET
                    })
                    .uri(target)
                    .header("Host", &host)
                    .body(Full::new(Bytes::from(body.unwrap_or_default())))
                    .unwrap();
                sender.ready().await.unwrap();
                let answer = sender.send_request(request).await.unwrap();
                assert_eq!(answer.status(), 200);
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                std::fs::write(number.to_string(), body).unwrap();
            }
            drop(sender);
            let _ = connection.await;
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    folder: PathBuf,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.uri().path().to_owned();
    let body = if request.method() == Method::POST {
        request.into_body().collect().await.unwrap().to_bytes()
    } else {
        peers::file(&folder, &target).unwrap().into()
    };
    Ok(Response::new(Full::new(body)))
}
