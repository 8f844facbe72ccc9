//! rustls 0.21 on blocking sockets.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::SystemTime;

use peers::Task;
use rustls21::client::{ServerCertVerified, ServerCertVerifier};
use rustls21::{
    Certificate, ClientConfig, ClientConnection, Error, PrivateKey, ServerConfig, ServerConnection,
    ServerName, Stream, StreamOwned,
};

fn main() {
    match peers::task() {
        Task::Serve {
            folder,
            address,
            certificate,
            key,
            ..
        } => {
            let config = ServerConfig::builder()
                .with_safe_defaults()
                .with_no_client_auth()
                .with_single_cert(vec![Certificate(certificate)], PrivateKey(key))
                .unwrap();
            let config = Arc::new(config);
            let listener = TcpListener::bind(address).unwrap();
            println!("{}", listener.local_addr().unwrap().port());
            for socket in listener.incoming().flatten() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let folder = folder.clone();
                std::thread::spawn(move || {
                    let mut stream = StreamOwned::new(connection, socket);
                    let _ = peers::serve(&mut stream, &folder);
                    stream.conn.send_close_notify();
                    let _ = stream.conn.complete_io(&mut stream.sock);
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
            let config = ClientConfig::builder()
                .with_safe_defaults()
                .with_custom_certificate_verifier(Arc::new(Only(certificate)))
                .with_no_client_auth();
            let name = host.as_str().try_into().unwrap();
            let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
            let mut socket = TcpStream::connect(address).unwrap();
            let stream = Stream::new(&mut connection, &mut socket);
            peers::fetch(stream, &host, &targets, post.as_deref()).unwrap();
            connection.send_close_notify();
            let _ = connection.complete_io(&mut socket);
        }
    }
}

/// The tests' certificate is its own authority, which webpki refuses.
struct Only(Vec<u8>);

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        certificate: &Certificate,
        _: &[Certificate],
        _: &ServerName,
        _: &mut dyn Iterator<Item = &[u8]>,
        _: &[u8],
        _: SystemTime,
    ) -> Result<ServerCertVerified, Error> {
        if certificate.0 == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General("another certificate".into()))
        }
    }
}
