//! The client: real conversations with each server, counted on its own side of the socket.
//!
//! Prints one JSON object for each connection; [`super::outcome`] reads them.
//! Standard output is the only tie to the demonstration, because sluice stands between.

use std::cell::Cell;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use super::{ALPN, NAME};

/// A server that does not answer within this is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the servers are.
#[derive(Debug, clap::Args)]
pub(crate) struct ClientArgs {
    /// The TLS server's certificate, DER.
    #[arg(long)]
    pub(super) certificate: PathBuf,
    /// An HTTP server.
    #[arg(long)]
    pub(super) http: SocketAddr,
    /// A server that speaks first.
    #[arg(long)]
    pub(super) banner: SocketAddr,
    /// A TLS server.
    #[arg(long)]
    pub(super) tls: SocketAddr,
    /// An HTTP server on an opaque port.
    #[arg(long)]
    pub(super) opaque_port: SocketAddr,
    /// An HTTP server on a skipped port.
    #[arg(long)]
    pub(super) skipped_port: SocketAddr,
}

/// Talks to every server.
pub(crate) fn run(args: &ClientArgs) -> Result<()> {
    let talk = |name, address, conversation: &dyn Fn(Counted) -> Result<Vec<Duration>>| {
        talk(name, address, conversation).with_context(|| format!("{name} at {address}"))
    };
    // Many small requests, a large answer, and a connection for one request.
    for sizes in [&[100; 50][..], &[4_000_000], &[0]] {
        talk("http", args.http, &|stream| http(stream, sizes).map(|(took, _)| took))?;
    }
    for lines in [1, 20] {
        talk("banner", args.banner, &|stream| banner(stream, lines))?;
    }
    let config = tls_config(args)?;
    for sizes in [&[1_000; 20][..], &[1_000_000]] {
        talk("tls", args.tls, &|stream| tls(stream, Arc::clone(&config), sizes))?;
    }
    talk("opaque-port", args.opaque_port, &|stream| http(stream, &[100; 20]).map(|(took, _)| took))?;
    talk("skipped-port", args.skipped_port, &|stream| http(stream, &[100; 20]).map(|(took, _)| took))?;
    Ok(())
}

/// Has one conversation and prints what it was.
fn talk(
    server: &str,
    address: SocketAddr,
    conversation: &dyn Fn(Counted) -> Result<Vec<Duration>>,
) -> Result<()> {
    let stream = TcpStream::connect(address).context("cannot connect")?;
    let peer = stream.peer_addr()?;
    ensure!(peer == address, "connected to {address}, and the socket's peer is {peer}");
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (sent, received) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let counted = Counted { stream, sent: Rc::clone(&sent), received: Rc::clone(&received) };
    let took = conversation(counted)?;
    let latencies: Vec<_> = took.iter().map(Duration::as_secs_f64).collect();
    let line = json!({
        "server": server, "bytes_sent": sent.get(), "bytes_received": received.get(),
        "latencies_seconds": latencies,
    });
    println!("{line}");
    Ok(())
}

/// One request for each size, on one connection, to the end of the stream.
fn http<S: Read + Write>(stream: S, sizes: &[usize]) -> Result<(Vec<Duration>, S)> {
    let mut stream = BufReader::new(stream);
    let mut took = Vec::new();
    for (at, size) in sizes.iter().enumerate() {
        let close = if at + 1 == sizes.len() { "connection: close\r\n" } else { "" };
        let began = Instant::now();
        let request = format!("GET /{size} HTTP/1.1\r\nhost: {NAME}\r\n{close}\r\n");
        stream.get_mut().write_all(request.as_bytes())?;
        stream.get_mut().flush()?;
        let mut status = String::new();
        stream.read_line(&mut status)?;
        ensure!(status.starts_with("HTTP/1.1 200 "), "expected 200, got {status:?}");
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            ensure!(stream.read_line(&mut line)? > 0, "the answer ended in its head");
        }
        let mut body = vec![0; *size];
        stream.read_exact(&mut body).context("the answer ended in its body")?;
        ensure!(body.iter().all(|byte| *byte == b'x'), "the body came changed");
        took.push(began.elapsed());
    }
    ensure!(stream.read(&mut [0])? == 0, "more came than was asked for");
    Ok((took, stream.into_inner()))
}

fn banner(stream: Counted, lines: usize) -> Result<Vec<Duration>> {
    let mut stream = BufReader::new(stream);
    let mut expect = |say: &str, answer: &str| -> Result<Duration> {
        let began = Instant::now();
        stream.get_mut().write_all(say.as_bytes())?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        ensure!(line.starts_with(answer), "expected {answer}, got {line:?}");
        Ok(began.elapsed())
    };
    let mut took = vec![expect("", "220 ")?];
    for _ in 0..lines {
        took.push(expect("NOOP\r\n", "250 ")?);
    }
    took.push(expect("QUIT\r\n", "221 ")?);
    ensure!(stream.read(&mut [0])? == 0, "more came after the farewell");
    Ok(took)
}

fn tls_config(args: &ClientArgs) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(fs::read(&args.certificate)?))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.into()];
    Ok(Arc::new(config))
}

fn tls(stream: Counted, config: Arc<ClientConfig>, sizes: &[usize]) -> Result<Vec<Duration>> {
    let connection = ClientConnection::new(config, ServerName::try_from(NAME)?)?;
    let (took, mut stream) = http(StreamOwned::new(connection, stream), sizes)?;
    ensure!(stream.conn.alpn_protocol() == Some(ALPN.as_bytes()), "the server chose no {ALPN}");
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(took)
}

/// A connection that counts what passes.
struct Counted {
    stream: TcpStream,
    sent: Rc<Cell<u64>>,
    received: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.received.set(self.received.get() + n as u64);
        Ok(n)
    }
}

impl Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.stream.write(buffer)?;
        self.sent.set(self.sent.get() + n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
