//! One direction of a connection: bytes that come from one socket and go to the other.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

use super::Means;

/// Bytes that are moved at once: of the sizes that were tried, copies are cheapest by the byte with
/// this one, and it is as much as a pipe holds here.
const AT_ONCE: usize = 256 << 10;
/// Moves of one lane before the others get their turn.
const MOVES_PER_TURN: usize = 16;

/// What moves bytes, for all connections in turn.
pub(super) enum Mover {
    Copy(Vec<u8>),
    /// Empty pipes: a connection has one only while bytes are in it.
    Splice(Vec<Pipe>),
}

/// A pipe of [`AT_ONCE`] bytes.
pub(super) struct Pipe {
    read: File,
    write: File,
}

/// What was taken from the source and is not with the sink yet.
enum Held {
    Nothing,
    Bytes(Vec<u8>),
    InPipe(Pipe, usize),
}

/// One direction.
pub(super) struct Lane {
    held: Held,
    /// The source has said its last.
    finished: bool,
}

impl Mover {
    pub(super) fn new(means: Means) -> Self {
        match means {
            Means::Copy => Self::Copy(vec![0; AT_ONCE]),
            Means::Splice => Self::Splice(Vec::new()),
        }
    }

    /// Moves what fits; the number of bytes taken, and those of them that did not fit. No bytes: the
    /// source has ended.
    fn step(&mut self, mut source: &TcpStream, sink: &TcpStream) -> io::Result<(usize, Held)> {
        match self {
            Self::Copy(buffer) => {
                let len = source.read(buffer)?;
                let bytes = buffer.get(..len).unwrap_or_default();
                let rest = write_some(sink, bytes)?;
                let held = if rest.is_empty() { Held::Nothing } else { Held::Bytes(rest.to_vec()) };
                Ok((len, held))
            }
            Self::Splice(pool) => {
                let pipe = pool.pop().map_or_else(Pipe::new, Ok)?;
                let len = match splice_some(source, &pipe.write, AT_ONCE) {
                    Ok(len) => len,
                    Err(error) => {
                        pool.push(pipe);
                        return Err(error);
                    }
                };
                Ok((len, Self::drain(pool, pipe, len, sink)?))
            }
        }
    }

    /// Goes on with what did not fit.
    fn resume(&mut self, held: Held, sink: &TcpStream) -> io::Result<Held> {
        match (self, held) {
            (Self::Splice(pool), Held::InPipe(pipe, inside)) => Self::drain(pool, pipe, inside, sink),
            (_, Held::Bytes(mut bytes)) => {
                let written = bytes.len() - write_some(sink, &bytes)?.len();
                bytes.drain(..written);
                Ok(if bytes.is_empty() { Held::Nothing } else { Held::Bytes(bytes) })
            }
            (_, held) => Ok(held),
        }
    }

    /// Empties a pipe as far as the sink has room.
    fn drain(pool: &mut Vec<Pipe>, pipe: Pipe, mut inside: usize, sink: &TcpStream) -> io::Result<Held> {
        while inside > 0 {
            match splice_some(&pipe.read, sink, inside) {
                Ok(len) => inside -= len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Held::InPipe(pipe, inside));
                }
                Err(error) => return Err(error),
            }
        }
        pool.push(pipe);
        Ok(Held::Nothing)
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        let size = i32::try_from(AT_ONCE).map_err(io::Error::other)?;
        fcntl(&write, FcntlArg::F_SETPIPE_SZ(size))?;
        Ok(Self { read: read.into(), write: write.into() })
    }
}

impl Lane {
    pub(super) fn new() -> Self {
        Self { held: Held::Nothing, finished: false }
    }

    /// Whether the sink has to take something before more can be read.
    pub(super) fn is_stuck(&self) -> bool {
        !matches!(self.held, Held::Nothing)
    }

    pub(super) fn wants_bytes(&self) -> bool {
        !self.finished && !self.is_stuck()
    }

    pub(super) fn is_done(&self) -> bool {
        self.finished && !self.is_stuck()
    }

    /// Moves what there is, as long as it is this lane's turn.
    pub(super) fn relay(
        &mut self,
        source: &TcpStream,
        sink: &TcpStream,
        mover: &mut Mover,
    ) -> io::Result<()> {
        if self.is_stuck() {
            let held = std::mem::replace(&mut self.held, Held::Nothing);
            self.held = mover.resume(held, sink)?;
            if self.finished && !self.is_stuck() {
                return sink.shutdown(Shutdown::Write);
            }
        }
        for _ in 0..MOVES_PER_TURN {
            if !self.wants_bytes() {
                break;
            }
            let (moved, held) = match mover.step(source, sink) {
                Ok(moved) => moved,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            self.held = held;
            if moved == 0 {
                self.finished = true;
                return sink.shutdown(Shutdown::Write);
            }
            if moved < AT_ONCE {
                break;
            }
        }
        Ok(())
    }
}

/// Writes until there is no room; what is left.
fn write_some<'a>(mut sink: &TcpStream, mut bytes: &'a [u8]) -> io::Result<&'a [u8]> {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

fn splice_some(from: impl AsFd, to: impl AsFd, len: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(splice(from, None, to, None, len, flags)?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Two sockets of this process that talk to one another.
    fn pair() -> io::Result<[TcpStream; 2]> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        Ok([client, server])
    }

    #[test]
    fn both_means_carry_more_than_fits_and_the_end() -> io::Result<()> {
        for means in [Means::Copy, Means::Splice] {
            let ([mut sender, source], [sink, mut receiver]) = (pair()?, pair()?);
            source.set_nonblocking(true)?;
            sink.set_nonblocking(true)?;
            let sent: Vec<u8> = (0..=250).cycle().take(20 << 20).collect();
            let expected = sent.clone();
            let writer = std::thread::spawn(move || sender.write_all(&sent));
            let reader = std::thread::spawn(move || {
                let mut received = Vec::new();
                receiver.read_to_end(&mut received).map(|_| received)
            });
            let (mut lane, mut mover) = (Lane::new(), Mover::new(means));
            while !lane.is_done() {
                lane.relay(&source, &sink, &mut mover)?;
                std::thread::yield_now();
            }
            writer.join().expect("the writer ends")?;
            assert!(reader.join().expect("the reader ends")? == expected, "{means:?}");
        }
        Ok(())
    }
}
