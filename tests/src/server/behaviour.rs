//! What servers do.

use std::sync::{Arc, Condvar, Mutex};

use crate::server::Session;
use crate::wait;

/// Sends back what comes, while it comes; FIN for FIN.
pub fn echo(session: &mut Session) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = session.read(&mut buffer);
        if count == 0 || !session.write(&buffer[..count]) {
            break;
        }
    }
    session.fin();
}

/// Reads all, then says how much it was.
pub fn sink(session: &mut Session) {
    session.read_to_end();
    let bytes = session.record().received.bytes();
    session.write(format!("{bytes}\n").as_bytes());
}

/// Reads nothing but the end, says nothing.
pub fn silent(session: &mut Session) {
    session.read_to_end();
}

/// Waits for the client's FIN, then answers with the pattern.
pub fn answer_after_fin(len: u64) -> impl Fn(&mut Session) {
    move |session| {
        session.read_to_end();
        session.write_pattern(len);
    }
}

/// Sends the pattern at once and ends its side; reads the rest.
pub fn source(len: u64) -> impl Fn(&mut Session) {
    move |session| {
        session.write_pattern(len);
        session.fin();
        session.read_to_end();
    }
}

/// Sends the pattern while it reads, and ends its side: both ways at once.
pub fn both_ways(len: u64) -> impl Fn(&mut Session) {
    move |session| {
        use std::io::Write as _;
        let mut writer = session.writer();
        let thread = std::thread::spawn(move || {
            let mut offset = 0;
            while offset < len {
                let slice = crate::pattern::at(offset, len - offset);
                if writer.write_all(slice).is_err() {
                    return;
                }
                offset += slice.len() as u64;
            }
            // The client may be gone already.
            writer.shutdown(std::net::Shutdown::Write).ok();
        });
        session.read_to_end();
        // A panic there would be a fault of this function.
        thread.join().expect("the writer");
    }
}

/// Speaks first, then echoes.
pub fn banner(text: &'static str) -> impl Fn(&mut Session) {
    move |session| {
        session.write(text.as_bytes());
        echo(session);
    }
}

/// Answers each HTTP/1 request head with the same body.
pub fn http(body: &'static str) -> impl Fn(&mut Session) {
    move |session| {
        let mut head = Vec::new();
        let mut byte = [0];
        while session.read(&mut byte) == 1 {
            head.push(byte[0]);
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                session.write(answer.as_bytes());
            }
        }
    }
}

/// Writes so much, waits for so much, then resets.
pub fn reset_after(written: u64, read: u64) -> impl Fn(&mut Session) {
    move |session| {
        session.write_pattern(written);
        session.read_up_to(read);
        session.reset();
    }
}

/// Never reads; waits for the end of the connection.
pub fn stall(session: &mut Session) {
    session.watch();
}

/// A door that a behaviour waits at until the test opens it.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody through.
    ///
    /// # Panics
    /// When a thread that held the gate panicked.
    pub fn open(&self) {
        *self.0.0.lock().expect("not poisoned") = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open.
    ///
    /// # Panics
    /// When it stays closed.
    pub fn wait(&self) {
        let open = self.0.0.lock().expect("not poisoned");
        let limit = wait::patience() * 3;
        let (open, _) = self.0.1.wait_timeout_while(open, limit, |open| !*open).expect("not poisoned");
        assert!(*open, "the gate stayed closed");
    }
}
