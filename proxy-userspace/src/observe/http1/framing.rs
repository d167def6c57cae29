//! What the header fields say of where a message ends (RFC 9112, section 6).

use super::{super::Lost, body::Body, fields::Value};

/// What `Content-Length` and `Transfer-Encoding` say.
///
/// What is malformed counts only where it decides: a coding goes before a length, and some responses have no
/// body whatever they say.
#[derive(Debug, Default)]
pub(super) struct Framing {
    length: Length,
    coding: Coding,
}

/// The length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Length {
    #[default]
    None,
    Of(u64),
    /// No number, or several that differ.
    Malformed,
}

/// The last transfer coding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    None,
    Chunked,
    Other,
    /// There are more than can be read.
    Unreadable,
}

impl Framing {
    /// Takes a `content-length` or a `transfer-encoding`; other fields are passed over.
    pub(super) fn field(&mut self, name: &[u8], value: Value<'_>) {
        match name {
            b"content-length" => self.content_length(value),
            b"transfer-encoding" => self.transfer_encoding(value),
            _ => {}
        }
    }

    /// The same length may be said more than once, in one field or several.
    fn content_length(&mut self, value: Value<'_>) {
        let mut lengths = value.elements().map(decimal);
        let length = match lengths.next() {
            Some(Some(first)) if !value.is_cut && lengths.all(|other| other == Some(first)) => {
                Length::Of(first)
            }
            Some(_) | None => Length::Malformed,
        };
        self.length = if matches!(self.length, Length::None) || self.length == length {
            length
        } else {
            Length::Malformed
        };
    }

    /// `identity` is what RFC 2616 called no coding at all.
    fn transfer_encoding(&mut self, value: Value<'_>) {
        if self.coding == Coding::Unreadable {
            return;
        }
        for coding in value.elements() {
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.coding = Coding::Chunked;
            } else if !coding.eq_ignore_ascii_case(b"identity") {
                self.coding = Coding::Other;
            }
        }
        if value.is_cut {
            self.coding = Coding::Unreadable;
        }
    }

    /// The body of a request.
    pub(super) fn of_request(&self) -> Result<Body, Lost> {
        match self.coding {
            Coding::None => Ok(self.of_length()?.unwrap_or(Body::Ended)),
            Coding::Chunked => Ok(Body::chunked()),
            Coding::Other | Coding::Unreadable => Err(Lost::MalformedHttp1),
        }
    }

    /// The body of a response that may have one.
    pub(super) fn of_response(&self) -> Result<Body, Lost> {
        match self.coding {
            Coding::None => Ok(self.of_length()?.unwrap_or(Body::UntilClose)),
            Coding::Chunked => Ok(Body::chunked()),
            Coding::Other => Ok(Body::UntilClose),
            Coding::Unreadable => Err(Lost::MalformedHttp1),
        }
    }

    /// The body by its length alone.
    const fn of_length(&self) -> Result<Option<Body>, Lost> {
        match self.length {
            Length::None => Ok(None),
            Length::Of(length) => Ok(Some(Body::of_length(length))),
            Length::Malformed => Err(Lost::MalformedHttp1),
        }
    }
}

/// A number in digits alone, at least one.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| {
        let digit = char::from(digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
