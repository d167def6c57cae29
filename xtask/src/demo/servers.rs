//! The demonstration's servers: threads in this process, which end with it.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// HTTP/1.1, many requests on a connection: `GET /N` answers with N bytes.
    Http,
    /// Greets first, as mail servers do; then one line for each line, until `QUIT`.
    Banner,
    /// [`Kind::Http`] inside TLS.
    Tls,
}

/// The TLS server's identity, made for this run.
pub(super) struct Tls {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
}

impl Tls {
    pub(super) fn new(name: &str, alpn: &str) -> Result<Self> {
        let made =
            rcgen::generate_simple_self_signed([name.to_owned()]).context("cannot make a certificate")?;
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)?;
        config.alpn_protocols = vec![alpn.into()];
        Ok(Self { config: Arc::new(config), certificate })
    }

    /// DER.
    pub(super) fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

/// A server that is listening.
pub(super) struct Server {
    pub(super) address: SocketAddr,
}

impl Server {
    pub(super) fn start(kind: Kind, tls: &Tls) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
        let address = listener.local_addr()?;
        let config = Arc::clone(&tls.config);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                thread::spawn(move || {
                    // The client sees what went wrong, and says so.
                    drop(serve(kind, stream, config));
                });
            }
        });
        Ok(Self { address })
    }
}

fn serve(kind: Kind, stream: TcpStream, config: Arc<ServerConfig>) -> Result<()> {
    stream.set_nodelay(true)?;
    match kind {
        Kind::Http => http(stream).map(drop),
        Kind::Banner => banner(stream),
        Kind::Tls => {
            let mut stream = http(StreamOwned::new(ServerConnection::new(config)?, stream))?;
            stream.conn.send_close_notify();
            Ok(stream.flush()?)
        }
    }
}

/// Answers requests until one says `connection: close`.
fn http<S: Read + Write>(stream: S) -> Result<S> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut target, mut close) = (String::new(), false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(stream.into_inner());
            }
            if line.trim().is_empty() {
                break;
            }
            close |= line.trim().eq_ignore_ascii_case("connection: close");
            if target.is_empty() {
                target = line.split(' ').nth(1).unwrap_or_default().to_owned();
            }
        }
        let length: usize = target.trim_start_matches('/').parse().unwrap_or(0);
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + length, b'x');
        stream.get_mut().write_all(&answer)?;
        stream.get_mut().flush()?;
        if close {
            return Ok(stream.into_inner());
        }
    }
}

fn banner(mut stream: TcpStream) -> Result<()> {
    stream.write_all(b"220 demo.test ready\r\n")?;
    let lines = BufReader::new(stream.try_clone()?).lines();
    for line in lines {
        if line?.trim() == "QUIT" {
            return Ok(stream.write_all(b"221 bye\r\n")?);
        }
        stream.write_all(b"250 ok\r\n")?;
    }
    Ok(())
}
