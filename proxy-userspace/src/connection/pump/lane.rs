//! One direction of a connection.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::{io::Interest, net::TcpStream};

use super::{
    super::{
        buffer::{Buffer, Size},
        pipe::Pipe,
        socket,
    },
    Side, Watch,
};

/// Reads of one direction before other connections get their turn.
const READS_PER_TURN: u32 = 16;

/// How one direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The source finished, and the sink was told.
    Finished,
    /// The source was reset or timed out; everything it had sent was written.
    SourceGone,
    /// The sink takes no more.
    SinkGone,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Lane {
    from: Side,
    may_splice: bool,
    cargo: Option<Cargo>,
    size: Size,
    pub(super) ended: Option<Ended>,
    pub(super) error: Option<io::Error>,
    /// tokio was told that the source is not readable while it may be: ask the socket itself, until
    /// it says that it is empty.
    readiness_unknown: bool,
    /// The other direction found its sink, which is this one's source, reset. That took the error
    /// from the socket, so that what is read after the last byte looks like FIN and is not.
    pub(super) source_is_gone: bool,
}

/// What was taken from the source and is not written to the sink yet.
#[derive(Debug)]
enum Cargo {
    Copied(Buffer),
    Piped(Pipe),
}

impl Lane {
    pub(super) const fn new(from: Side, may_splice: bool) -> Self {
        Self {
            from,
            may_splice,
            cargo: None,
            size: Size::Small,
            ended: None,
            error: None,
            readiness_unknown: false,
            source_is_gone: false,
        }
    }

    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        watch: &mut impl Watch,
    ) -> Poll<Ended> {
        if let Some(ended) = self.ended {
            return Poll::Ready(ended);
        }
        for _ in 0..READS_PER_TURN {
            if self.cargo.is_none() {
                match ready!(self.poll_load(context, source, watch)) {
                    Ok(0) if self.source_is_gone => return Poll::Ready(self.end_reset()),
                    Ok(0) => return Poll::Ready(self.finish(sink, watch)),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(self.end(Ended::SourceGone, error)),
                }
            }
            match self.poll_unload(context, sink, watch) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(self.end(Ended::SinkGone, error)),
                Poll::Pending => return self.poll_source_while_blocked(context, source),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what the source has; 0 is its end.
    fn poll_load(
        &mut self,
        context: &mut Context<'_>,
        source: &TcpStream,
        watch: &mut impl Watch,
    ) -> Poll<io::Result<usize>> {
        loop {
            if !self.readiness_unknown {
                ready!(source.poll_read_ready(context))?;
            }
            if self.may_splice && self.size == Size::Large && !watch.looks() {
                let len = self.splice(source)?;
                if len > 0 {
                    watch.sent_unseen(self.from, len);
                    return Poll::Ready(Ok(len));
                }
            }
            match self.read(source) {
                Ok(len) => {
                    if let Some(Cargo::Copied(buffer)) = &self.cargo {
                        watch.sent(self.from, buffer.pending());
                    }
                    return Poll::Ready(Ok(len));
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Moves what the source has into a pipe of the pool; 0 says nothing of the source.
    fn splice(&mut self, source: &TcpStream) -> io::Result<usize> {
        let Some(mut pipe) = Pipe::take() else { return Ok(0) };
        let filled = pipe.fill(source);
        match filled {
            Ok(len) if len > 0 => {
                self.size = self.size.after_read(len);
                self.cargo = Some(Cargo::Piped(pipe));
            }
            Ok(_) | Err(_) => pipe.give_back(),
        }
        filled
    }

    /// Reads into a buffer of the pool; holds it only if bytes came.
    fn read(&mut self, source: &TcpStream) -> io::Result<usize> {
        let mut buffer = Buffer::take(self.size);
        let read = if self.readiness_unknown {
            let read = socket::read_now(source, buffer.space());
            self.readiness_unknown = read.as_ref().is_ok_and(|read| !read.was_last);
            read.map(|read| read.len)
        } else {
            read_ready(source, buffer.space())
        };
        match read {
            Ok(len) if len > 0 => {
                buffer.filled(len);
                self.size = self.size.after_read(len);
                self.cargo = Some(Cargo::Copied(buffer));
            }
            Ok(_) | Err(_) => buffer.give_back(),
        }
        read
    }

    /// Writes what was taken.
    fn poll_unload(
        &mut self,
        context: &mut Context<'_>,
        sink: &TcpStream,
        watch: &mut impl Watch,
    ) -> Poll<io::Result<()>> {
        while let Some(cargo) = &mut self.cargo {
            match cargo.write_to(sink) {
                Ok(len) => watch.took(self.from.other(), len),
                Err(error) if is_transient(&error) => {
                    ready!(sink.poll_write_ready(context))?;
                    continue;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            if cargo.len() == 0 {
                self.give_back_cargo();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn give_back_cargo(&mut self) {
        match self.cargo.take() {
            Some(Cargo::Copied(buffer)) => buffer.give_back(),
            Some(Cargo::Piped(pipe)) => pipe.give_back(),
            None => {}
        }
    }

    /// While the sink has no room nothing is read, but a source that is reset must not wait for the
    /// sink: its reset goes ahead of the bytes that are stuck, as it would on the wire.
    fn poll_source_while_blocked(&mut self, context: &mut Context<'_>, source: &TcpStream) -> Poll<Ended> {
        if self.source_is_gone {
            return Poll::Ready(self.end_reset());
        }
        while let Poll::Ready(ready) = source.poll_read_ready(context) {
            if let Some(error) = ready.err().or_else(|| socket::pending_error(source)) {
                return Poll::Ready(self.end(Ended::SourceGone, error));
            }
            if !forget_readable(source) {
                // FIN has come behind the bytes: no more news is to be had from the source.
                break;
            }
            self.readiness_unknown = true;
        }
        Poll::Pending
    }

    fn finish(&mut self, sink: &TcpStream, watch: &mut impl Watch) -> Ended {
        match socket::shutdown_write(sink) {
            Ok(()) => {
                watch.finished(self.from);
                self.ended = Some(Ended::Finished);
                Ended::Finished
            }
            Err(error) => self.end(Ended::SinkGone, error),
        }
    }

    fn end_reset(&mut self) -> Ended {
        self.end(Ended::SourceGone, io::ErrorKind::ConnectionReset.into())
    }

    fn end(&mut self, ended: Ended, error: io::Error) -> Ended {
        self.give_back_cargo();
        self.error = Some(error);
        self.ended = Some(ended);
        ended
    }
}

impl Cargo {
    /// Bytes that are still to be written.
    fn len(&self) -> usize {
        match self {
            Self::Copied(buffer) => buffer.pending().len(),
            Self::Piped(pipe) => pipe.held(),
        }
    }

    /// Writes what the sink has room for.
    fn write_to(&mut self, sink: &TcpStream) -> io::Result<usize> {
        match self {
            Self::Copied(buffer) => {
                let len = sink.try_write(buffer.pending())?;
                buffer.written(len);
                Ok(len)
            }
            Self::Piped(pipe) => pipe.drain(sink),
        }
    }
}

/// Reads what is there. Where that empties the socket, tokio is told within the same call, which saves
/// the read that would find nothing.
fn read_ready(source: &TcpStream, space: &mut [u8]) -> io::Result<usize> {
    let mut last = None;
    let read = source.try_io(Interest::READABLE, || {
        let read = socket::read_now(source, space)?;
        if read.was_last {
            last = Some(read.len);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(read.len)
    });
    last.map_or(read, Ok)
}

/// Makes tokio report the source as readable only when something new comes. `false` where that
/// cannot be had, because the source has finished.
fn forget_readable(source: &TcpStream) -> bool {
    let forgotten = source.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    forgotten.is_err() && !has_finished(source)
}

/// Whether FIN has come, read or not.
fn has_finished(source: &TcpStream) -> bool {
    // tokio keeps "the read side is closed" however often it is told that nothing is readable.
    source.try_io(Interest::READABLE, || Ok(())).is_ok()
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
