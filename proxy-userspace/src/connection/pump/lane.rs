//! One direction of a connection.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::{io::Interest, net::TcpStream};

use super::super::{
    buffer::{Buffer, Size},
    socket,
};

/// Reads of one direction before other connections get their turn.
const READS_PER_TURN: u32 = 16;

/// What passes through a lane.
pub(super) enum Passing<'a> {
    Read(&'a [u8]),
    Written(usize),
    Finished,
}

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
#[derive(Debug, Default)]
pub(super) struct Lane {
    buffer: Option<Buffer>,
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

impl Lane {
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        passing: &mut impl FnMut(Passing<'_>),
    ) -> Poll<Ended> {
        if let Some(ended) = self.ended {
            return Poll::Ready(ended);
        }
        for _ in 0..READS_PER_TURN {
            if self.buffer.is_none() {
                match ready!(self.poll_read(context, source)) {
                    Ok(0) if self.source_is_gone => return Poll::Ready(self.end_reset()),
                    Ok(0) => return Poll::Ready(self.finish(sink, passing)),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(self.end(Ended::SourceGone, error)),
                }
                if let Some(buffer) = &self.buffer {
                    passing(Passing::Read(buffer.pending()));
                }
            }
            match self.poll_write(context, sink, passing) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(self.end(Ended::SinkGone, error)),
                Poll::Pending => return self.poll_source_while_blocked(context, source),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads into a buffer of the pool; holds it only if bytes came.
    fn poll_read(&mut self, context: &mut Context<'_>, source: &TcpStream) -> Poll<io::Result<usize>> {
        loop {
            if !self.readiness_unknown {
                ready!(source.poll_read_ready(context))?;
            }
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
                    self.buffer = Some(buffer);
                    self.size = self.size.after_read(len);
                    return Poll::Ready(Ok(len));
                }
                other => {
                    buffer.give_back();
                    match other {
                        Err(error) if is_transient(&error) => {}
                        other => return Poll::Ready(other),
                    }
                }
            }
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        sink: &TcpStream,
        passing: &mut impl FnMut(Passing<'_>),
    ) -> Poll<io::Result<()>> {
        while let Some(mut buffer) = self.buffer.take() {
            if buffer.pending().is_empty() {
                buffer.give_back();
                break;
            }
            let written = match sink.try_write(buffer.pending()) {
                Err(error) if is_transient(&error) => {
                    self.buffer = Some(buffer);
                    ready!(sink.poll_write_ready(context))?;
                    continue;
                }
                written => written,
            };
            match written {
                Ok(len) => {
                    passing(Passing::Written(len));
                    buffer.written(len);
                    self.buffer = Some(buffer);
                }
                Err(error) => {
                    buffer.give_back();
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
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

    fn finish(&mut self, sink: &TcpStream, passing: &mut impl FnMut(Passing<'_>)) -> Ended {
        match socket::shutdown_write(sink) {
            Ok(()) => {
                passing(Passing::Finished);
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
        if let Some(buffer) = self.buffer.take() {
            buffer.give_back();
        }
        self.error = Some(error);
        self.ended = Some(ended);
        ended
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
