//! rustls 0.23 on blocking sockets: `StreamOwned` as client, `Stream` as
//! server, a thread per connection.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use peers::Task;
use peers::tls::{client, server};
use rustls::{ClientConnection, ServerConnection, Stream, StreamOwned};

fn main() {
    match peers::task() {
        Task::Serve {
            folder,
            address,
            certificate,
            key,
            ..
        } => {
            let config = Arc::new(server(certificate, key));
            let listener = TcpListener::bind(address).unwrap();
            println!("{}", listener.local_addr().unwrap().port());
            for socket in listener.incoming().flatten() {
                let mut connection = ServerConnection::new(config.clone()).unwrap();
                let folder = folder.clone();
                std::thread::spawn(move || {
                    let mut socket = socket;
                    let _ = peers::serve(Stream::new(&mut connection, &mut socket), &folder);
                    connection.send_close_notify();
                    let _ = connection.complete_io(&mut socket);
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
            let name = host.clone().try_into().unwrap();
            let connection = ClientConnection::new(Arc::new(client(certificate)), name).unwrap();
            let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
            peers::fetch(&mut stream, &host, &targets, post.as_deref()).unwrap();
            stream.conn.send_close_notify();
            let _ = stream.conn.complete_io(&mut stream.sock);
        }
    }
}
