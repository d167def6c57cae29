//! What a client sends that asked first, with `Expect: 100-continue`, and was answered with a final status.
//!
//! It may send its body all the same, or its next request (RFC 9110, section 10.1.1), and curl, .NET and
//! others do either. Both are followed until the bytes fit one alone.

use std::time::Instant;

use super::{
    super::{Lost, Method, Progress},
    body::Body,
    fields::{Fields, Nobody},
    request_line::RequestLine,
};

/// The one possibility: the body, and what would come behind it. The other one is a [`RequestLine`].
#[derive(Debug)]
pub(super) struct Declined {
    pub(super) body: Body,
    /// Once the body is complete: when it was, and the request line behind it.
    pub(super) next: Option<(Instant, RequestLine)>,
}

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fits {
    /// It is not known yet.
    Both,
    /// The body; if `is_line_complete`, a whole request line behind it as well.
    Body { is_line_complete: bool },
    /// The next request; if `is_line_complete`, its whole line.
    Request { is_line_complete: bool },
}

impl Declined {
    /// Before the first byte of either.
    pub(super) const fn new(body: Body) -> Self {
        Self { body, next: None }
    }

    /// When the body was complete, if that is all that came.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.next.as_ref().filter(|(_, line)| line.is_blank()).map(|(ended, _)| *ended)
    }

    /// Takes the next bytes, until it is known what they are; answers with those behind as well. `line` is
    /// that of the next request, `fields` those that a body may have behind its chunks.
    ///
    /// # Errors
    /// They are neither.
    pub(super) fn take<'a, const N: usize>(
        &mut self,
        mut bytes: &'a [u8],
        now: Instant,
        line: &mut RequestLine,
        fields: &mut Fields<N>,
    ) -> Result<(Fits, &'a [u8]), Lost> {
        // One byte at a time: few are needed, and where they are cut makes no difference.
        while let Some((byte, rest)) = bytes.split_at_checked(1) {
            bytes = rest;
            let (as_request, _) = line.take(byte);
            let as_body = self.take_body(byte, now, fields);
            let fits = match (as_request, as_body) {
                (Progress::More, Ok(false)) => continue,
                (Progress::Failed, Err(why)) => return Err(why),
                (Progress::Failed, Ok(is_line_complete)) => Fits::Body { is_line_complete },
                (Progress::More, Ok(true)) => Fits::Body { is_line_complete: true },
                (Progress::Matched, Ok(true)) if self.is_likelier_than(line) => {
                    Fits::Body { is_line_complete: true }
                }
                (Progress::Matched, _) => Fits::Request { is_line_complete: true },
                (Progress::More, Err(_)) => Fits::Request { is_line_complete: false },
            };
            return Ok((fits, bytes));
        }
        Ok((Fits::Both, bytes))
    }

    /// Takes the next byte as one of the body, or of what is behind it; `true` at the end of a request line.
    fn take_body<const N: usize>(
        &mut self,
        byte: &[u8],
        now: Instant,
        fields: &mut Fields<N>,
    ) -> Result<bool, Lost> {
        if let Some((_, line)) = &mut self.next {
            return match line.take(byte).0 {
                Progress::More => Ok(false),
                Progress::Matched => Ok(true),
                Progress::Failed => Err(Lost::MalformedHttp1),
            };
        }
        self.body.take(byte, fields, &mut Nobody, |_data| {})?;
        if self.body == Body::Ended {
            let mut line = RequestLine::new();
            line.begin();
            self.next = Some((now, line));
        }
        Ok(false)
    }

    /// Where the bytes are a whole request line with and without a body before it: whether only the method
    /// behind the body is one that there is, as of `okGET` with a body of two bytes.
    fn is_likelier_than(&self, line: &RequestLine) -> bool {
        let is_known = |line: &RequestLine| line.method() != Method::Other;
        !is_known(line) && self.next.as_ref().is_some_and(|(_, next)| is_known(next))
    }
}
