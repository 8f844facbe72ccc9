//! BoringSSL on blocking sockets, by its C interface: in the program itself, or
//! in a shared library. See `scripts/peers.sh`.

use std::ffi::{CString, c_char, c_int, c_long, c_void};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use peers::Task;

unsafe extern "C" {
    fn TLS_method() -> *const c_void;
    fn SSL_CTX_new(method: *const c_void) -> *mut c_void;
    fn SSL_CTX_use_certificate_chain_file(context: *mut c_void, file: *const c_char) -> c_int;
    fn SSL_CTX_use_PrivateKey_file(context: *mut c_void, file: *const c_char, kind: c_int)
    -> c_int;
    fn SSL_CTX_load_verify_locations(
        context: *mut c_void,
        file: *const c_char,
        folder: *const c_char,
    ) -> c_int;
    fn SSL_CTX_set_verify(context: *mut c_void, mode: c_int, callback: *const c_void);
    fn SSL_new(context: *mut c_void) -> *mut c_void;
    fn SSL_set_fd(ssl: *mut c_void, fd: c_int) -> c_int;
    fn SSL_accept(ssl: *mut c_void) -> c_int;
    fn SSL_connect(ssl: *mut c_void) -> c_int;
    fn SSL_peek(ssl: *mut c_void, to: *mut c_void, length: c_int) -> c_int;
    fn SSL_read(ssl: *mut c_void, to: *mut c_void, length: c_int) -> c_int;
    fn SSL_write(ssl: *mut c_void, from: *const c_void, length: c_int) -> c_int;
    fn SSL_get_error(ssl: *const c_void, result: c_int) -> c_int;
    fn SSL_get_verify_result(ssl: *const c_void) -> c_long;
    fn SSL_shutdown(ssl: *mut c_void) -> c_int;
    fn SSL_free(ssl: *mut c_void);
}

const FILETYPE_PEM: c_int = 1;
const VERIFY_PEER: c_int = 1;
const ERROR_ZERO_RETURN: c_int = 6;

/// What it is told to do by its arguments.
pub fn main() {
    match peers::task() {
        Task::Serve {
            folder,
            address,
            certificate_file,
            key_file,
            ..
        } => {
            let (certificate, key) = (text(&certificate_file), text(&key_file));
            // SAFETY: the strings live as long as the calls.
            let context = unsafe {
                let context = SSL_CTX_new(TLS_method());
                assert_eq!(
                    SSL_CTX_use_certificate_chain_file(context, certificate.as_ptr()),
                    1
                );
                assert_eq!(
                    SSL_CTX_use_PrivateKey_file(context, key.as_ptr(), FILETYPE_PEM),
                    1
                );
                context as usize
            };
            let listener = TcpListener::bind(address).unwrap();
            println!("{}", listener.local_addr().unwrap().port());
            for socket in listener.incoming().flatten() {
                let folder = folder.clone();
                std::thread::spawn(move || {
                    if let Some(stream) = Stream::new(context as *mut c_void, socket, SSL_accept) {
                        let _ = peers::serve(stream, &folder);
                    }
                });
            }
        }
        Task::Fetch {
            host,
            address,
            certificate_file,
            targets,
            post,
            ..
        } => {
            let certificate = text(&certificate_file);
            // SAFETY: as above.
            let context = unsafe {
                let context = SSL_CTX_new(TLS_method());
                let loaded =
                    SSL_CTX_load_verify_locations(context, certificate.as_ptr(), std::ptr::null());
                assert_eq!(loaded, 1);
                SSL_CTX_set_verify(context, VERIFY_PEER, std::ptr::null());
                context
            };
            let socket = TcpStream::connect(address).unwrap();
            let stream = Stream::new(context, socket, SSL_connect).expect("a handshake");
            // SAFETY: the object is live.
            assert_eq!(unsafe { SSL_get_verify_result(stream.ssl) }, 0);
            peers::fetch(stream, &host, &targets, post.as_deref()).unwrap();
        }
    }
}

fn text(path: &str) -> CString {
    CString::new(path).unwrap()
}

/// A connection.
struct Stream {
    ssl: *mut c_void,
    _socket: TcpStream,
}

impl Stream {
    fn new(
        context: *mut c_void,
        socket: TcpStream,
        shake: unsafe extern "C" fn(*mut c_void) -> c_int,
    ) -> Option<Self> {
        // SAFETY: the socket lives as long as the object.
        let ssl = unsafe { SSL_new(context) };
        let stream = Self {
            ssl,
            _socket: socket,
        };
        // SAFETY: as above.
        let done = unsafe { SSL_set_fd(ssl, stream._socket.as_raw_fd()) == 1 && shake(ssl) == 1 };
        done.then_some(stream)
    }

    fn result(&self, count: c_int) -> io::Result<usize> {
        if count > 0 {
            return Ok(count as usize);
        }
        // SAFETY: the object is live.
        match unsafe { SSL_get_error(self.ssl, count) } {
            ERROR_ZERO_RETURN => Ok(0),
            _ => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let length = to.len().min(1 << 20) as c_int;
        // SAFETY: the buffer has this length. Looking first is no traffic.
        let count = unsafe {
            SSL_peek(self.ssl, to.as_mut_ptr().cast(), length.min(3));
            SSL_read(self.ssl, to.as_mut_ptr().cast(), length)
        };
        self.result(count)
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let length = from.len().min(1 << 20) as c_int;
        if length == 0 {
            return Ok(0);
        }
        // SAFETY: the buffer has this length.
        let count = unsafe { SSL_write(self.ssl, from.as_ptr().cast(), length) };
        self.result(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: nobody uses the object any more.
        unsafe {
            SSL_shutdown(self.ssl);
            SSL_free(self.ssl);
        }
    }
}
