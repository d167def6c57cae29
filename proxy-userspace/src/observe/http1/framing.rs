//! What the header fields say of where a message ends (RFC 9112, section 6).

use super::{super::Lost, body::Body, fields::Value};

/// What `Content-Length` and `Transfer-Encoding` say.
#[derive(Debug, Default)]
pub(super) struct Framing {
    length: Option<u64>,
    coding: Coding,
}

/// The last transfer coding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    None,
    Chunked,
    Other,
}

impl Framing {
    /// Takes a `content-length` or a `transfer-encoding`; other fields are passed over.
    pub(super) fn field(&mut self, name: &[u8], value: Value<'_>) -> Result<(), Lost> {
        match name {
            b"content-length" => self.content_length(value),
            b"transfer-encoding" => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    /// The same length may be said more than once, in one field or several.
    fn content_length(&mut self, value: Value<'_>) -> Result<(), Lost> {
        let mut elements = value.elements()?.peekable();
        if elements.peek().is_none() {
            return Err(Lost::MalformedHttp1);
        }
        for element in elements {
            let length = decimal(element).ok_or(Lost::MalformedHttp1)?;
            if *self.length.get_or_insert(length) != length {
                return Err(Lost::MalformedHttp1);
            }
        }
        Ok(())
    }

    /// `identity` is what RFC 2616 called no coding at all.
    fn transfer_encoding(&mut self, value: Value<'_>) -> Result<(), Lost> {
        for coding in value.elements()? {
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.coding = Coding::Chunked;
            } else if !coding.eq_ignore_ascii_case(b"identity") {
                self.coding = Coding::Other;
            }
        }
        Ok(())
    }

    /// The body of a request.
    pub(super) fn of_request(&self) -> Result<Body, Lost> {
        match self.coding {
            Coding::None => Ok(Body::of_length(self.length.unwrap_or(0))),
            Coding::Chunked => Ok(Body::chunked()),
            Coding::Other => Err(Lost::MalformedHttp1),
        }
    }

    /// The body of a response that may have one.
    pub(super) fn of_response(&self) -> Body {
        match self.coding {
            Coding::None => self.length.map_or(Body::UntilClose, Body::of_length),
            Coding::Chunked => Body::chunked(),
            Coding::Other => Body::UntilClose,
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
