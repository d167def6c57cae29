//! Connections with both ends in the test's hands, one after the other.
//!
//! What one end sends is awaited at the other before anything else happens, and compared: bytes that
//! are altered, dropped, added or held back until more comes end the test.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::exec::{Outcome, Running};
use crate::peer::{self, steps::hex};
use crate::process::readable;
use crate::suite::Env;
use crate::{server, wait};

/// A connection from a client under `sluice exec` to a socket of the test.
#[derive(Debug)]
pub struct Dialogue {
    client: Running,
    listener: TcpListener,
    server: TcpStream,
}

impl Dialogue {
    /// Connects.
    #[must_use]
    pub fn begin(env: &Env) -> Self {
        Self::begin_with(env, &[])
    }

    /// Connects, with flags for `sluice exec`.
    ///
    /// # Panics
    /// When the client does not come.
    #[must_use]
    pub fn begin_with(env: &Env, flags: &[(&str, String)]) -> Self {
        let listener = server::listen("127.0.0.1:0");
        listener.set_nonblocking(true).expect("set O_NONBLOCK");
        let addr = listener.local_addr().expect("the address of a listener").to_string();
        let exec = env.exec(&peer::command(&["puppet"], &[addr]));
        let exec = flags.iter().fold(exec, |exec, (name, value)| exec.flag(name, value));
        let mut client = exec.start();
        let server = accepted(&mut client, &listener);
        Self { client, listener, server }
    }

    /// Closes both ends, and connects again.
    ///
    /// # Panics
    /// When the client does not come.
    pub fn again(&mut self) {
        self.server.shutdown(Shutdown::Both).ok();
        self.client.process.say("connect");
        self.server = accepted(&mut self.client, &self.listener);
    }

    /// The client writes; the server gets just that.
    ///
    /// # Panics
    /// When it does not.
    pub fn client(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.client.process.say(&format!("write {}", hex(bytes)));
        let mut got = vec![0; bytes.len()];
        let mut have = 0;
        while have < got.len() {
            match self.server.read(&mut got[have..]) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("after {have} of {} bytes: {error}", got.len()),
            }
        }
        same("the server", &got[..have], bytes);
    }

    /// The server writes; the client gets just that.
    ///
    /// # Panics
    /// When it does not.
    pub fn server(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.client.process.say(&format!("read {}", bytes.len()));
        self.server.write_all(bytes).expect("write to the client");
        let got = self.client.process.line("read");
        if got != hex(bytes) {
            same("the client", &peer::steps::unhex(&got).expect("hexadecimal"), bytes);
        }
    }

    /// The client ends its side; the server sees that, and no more bytes.
    ///
    /// # Panics
    /// When it does not.
    pub fn client_fin(&mut self) {
        self.client.process.say("fin");
        let mut more = [0; 64];
        let count = self.server.read(&mut more).expect("the client's FIN");
        same("the server", &more[..count], b"");
    }

    /// The server ends its side; the client sees that, and no more bytes.
    ///
    /// # Panics
    /// When it does not.
    pub fn server_fin(&mut self) {
        self.server.shutdown(Shutdown::Write).expect("end the server's side");
        self.client.process.say("end");
        assert_eq!(self.client.process.line("end"), "eof", "the client gets the server's FIN and no more");
    }

    /// The client resets the connection; the server sees that, and no more bytes.
    ///
    /// # Panics
    /// When it does not.
    pub fn client_reset(&mut self) {
        self.client.process.say("reset");
        let error = self.server.read(&mut [0; 64]).expect_err("the client's RST");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }

    /// The server resets the connection; the client sees that, and no more bytes.
    ///
    /// # Panics
    /// When it does not.
    pub fn server_reset(self) -> Outcome {
        let Self { mut client, server, .. } = self;
        SockRef::from(&server).set_linger(Some(Duration::ZERO)).expect("set SO_LINGER");
        drop(server);
        client.process.say("end");
        assert_eq!(client.process.line("end"), "ECONNRESET", "the client gets the server's RST and no more");
        client.process.feed(b"");
        client.finish().success()
    }

    /// Closes both ends, where they are open, and gives what is left of the run.
    #[must_use]
    pub fn finish(self) -> Outcome {
        let Self { mut client, server, .. } = self;
        client.process.feed(b"");
        drop(server);
        client.finish().success()
    }
}

/// The server's end of the connection that the client has just opened.
fn accepted(client: &mut Running, listener: &TcpListener) -> TcpStream {
    client.process.line("local");
    let server = wait::eventually("the client to come", || listener.accept().ok()).0;
    server.set_nonblocking(false).expect("clear O_NONBLOCK");
    server.set_nodelay(true).expect("set TCP_NODELAY");
    server.set_read_timeout(Some(wait::patience() * 3)).expect("set a timeout");
    server.set_write_timeout(Some(wait::patience() * 3)).expect("set a timeout");
    server
}

/// Compares what came with what was sent, and shows where they part.
fn same(who: &str, got: &[u8], sent: &[u8]) {
    if got == sent {
        return;
    }
    let at = got.iter().zip(sent).take_while(|(got, sent)| got == sent).count();
    let near = |bytes: &[u8]| readable(bytes.get(at..bytes.len().min(at + 80)).unwrap_or_default());
    panic!(
        "{who} got {} bytes, {} were sent; from byte {at} on got {:?}, sent {:?}",
        got.len(),
        sent.len(),
        near(got),
        near(sent)
    );
}
