//! The languages that get their TLS from OpenSSL, as clients and as servers:
//! node, Ruby, Perl and PHP (curl and Python are in [`crate::bodies`]); and
//! Java, which does not.

use std::process::Command;

use crate::support::clients::{Client, run};
use crate::support::files::{Certificate, Docroot, SIZES, folder};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::process::Process;
use crate::support::servers::{PERL, Server, http_server, program, runtime};
use crate::support::skip::needs;
use crate::views::{check_get, check_post};

type Start = fn(&Docroot, &Certificate) -> Server;

fn python(docroot: &Docroot, certificate: &Certificate) -> Server {
    http_server(docroot, Some(certificate))
}

fn node(docroot: &Docroot, certificate: &Certificate) -> Server {
    runtime("node", "serve_node.js", docroot, certificate)
}

fn ruby(docroot: &Docroot, certificate: &Certificate) -> Server {
    runtime("ruby", "serve_ruby.rb", docroot, certificate)
}

fn perl(docroot: &Docroot, certificate: &Certificate) -> Server {
    runtime(PERL, "serve_perl.pl", docroot, certificate)
}

fn php(docroot: &Docroot, certificate: &Certificate) -> Server {
    runtime("php", "serve_php.php", docroot, certificate)
}

/// Gets and posts every file, seen from either end.
fn exchange(start: Start, client: Client) {
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = start(&docroot, &certificate);
    check_get(&server, client, &docroot, "/", Some(&certificate));
    check_post(&server, client, &docroot, "/echo/", Some(&certificate));
}

macro_rules! tests {
    ($($name:ident: $server:ident $client:ident $($program:literal)*;)*) => { $(
        #[test]
        fn $name() {
            needs!("openssl" $(, $program)*);
            let _guard = lock::shared();
            exchange($server, Client::$client);
        }
    )* };
}

tests! {
    node_to_node: node Node "node";
    node_to_python: python Node "node";
    curl_to_node: node Curl "node" "curl";
    ruby_to_ruby: ruby Ruby "ruby";
    ruby_to_python: python Ruby "ruby";
    curl_to_ruby: ruby Curl "ruby" "curl";
    perl_to_perl: perl Perl "perl";
    perl_to_python: python Perl "perl";
    curl_to_perl: perl Curl "perl" "curl";
    php_to_php: php Php "php";
    php_to_python: python Php "php";
    curl_to_php: php Curl "php" "curl";
}

/// Java has its TLS in Java: nothing is shown, and the reason is said.
#[test]
fn java_is_named_as_not_read() {
    needs!("openssl", "java");
    let _guard = lock::shared();
    let certificate = Certificate::new();
    let kept = folder();
    let store = kept.path().join("store.p12");
    run(Command::new("openssl")
        .args(["pkcs12", "-export", "-passout", "pass:secret", "-in"])
        .arg(certificate.path())
        .arg("-inkey")
        .arg(certificate.key())
        .arg("-out")
        .arg(&store));
    let mut java = Command::new("java");
    java.arg(program("TlsJava.java")).arg(&store).arg("secret");
    let mut java = Process::spawn(&mut java);
    java.line_with("ready");
    // It is said after five seconds.
    let outcome = Httpsniff::new()
        .json()
        .args(["--pid", &java.pid().to_string(), "--duration", "8s"])
        .finish()
        .success();
    java.send("end");
    java.finish();
    assert!(outcome.exchanges().is_empty());
    assert!(outcome.stderr.contains("Java"), "{}", outcome.stderr);
}
