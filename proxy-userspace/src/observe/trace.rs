//! The trace that a request belongs to, as its headers tell.

/// A trace context: W3C's `traceparent`, or B3 in one header (`b3`) or several (`x-b3-*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceContext {
    /// The trace, big-endian; B3's short ids are padded with zeros in front.
    pub trace_id: [u8; 16],
    /// The span that the request was sent from, big-endian.
    pub parent_id: [u8; 8],
    /// Whether the sender records the trace.
    pub sampled: bool,
}

/// What the headers of one request tell of its trace, gathered one by one in any order.
///
/// `traceparent` goes before `b3`, and `b3` before `x-b3-*`. What is malformed counts as absent.
#[derive(Debug, Default)]
pub(super) struct TraceHeaders {
    traceparent: Once<TraceContext>,
    b3: Once<TraceContext>,
    trace_id: Once<[u8; 16]>,
    span_id: Once<[u8; 8]>,
    sampled: bool,
    debug: bool,
}

/// A header's value; a header that comes twice tells nothing.
#[derive(Debug, Clone, Copy, Default)]
enum Once<T> {
    #[default]
    Absent,
    Valid(T),
    Invalid,
}

impl<T: Copy> Once<T> {
    fn set(&mut self, value: Option<T>) {
        *self = match (&self, value) {
            (Self::Absent, Some(value)) => Self::Valid(value),
            (Self::Absent, None) | (Self::Valid(_) | Self::Invalid, _) => Self::Invalid,
        };
    }

    const fn valid(self) -> Option<T> {
        match self {
            Self::Valid(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }
}

impl TraceHeaders {
    /// Bytes of a value that are enough to read it, or to see that it is too long.
    pub(super) const MAX_VALUE: usize = 72;

    /// Takes a header: its name in lower case, and its value without the whitespace around it, or the
    /// first [`Self::MAX_VALUE`] bytes of it. Headers of other names are passed over.
    pub(super) fn header(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"traceparent" => self.traceparent.set(traceparent(value)),
            b"b3" => self.b3.set(b3(value)),
            b"x-b3-traceid" => self.trace_id.set(b3_trace_id(value)),
            b"x-b3-spanid" => self.span_id.set(id(value)),
            // Early tracers wrote a word.
            b"x-b3-sampled" => self.sampled = value == b"1" || value.eq_ignore_ascii_case(b"true"),
            b"x-b3-flags" => self.debug = value == b"1",
            _ => {}
        }
    }

    /// The trace context that the headers so far tell.
    pub(super) fn context(&self) -> Option<TraceContext> {
        let several = || {
            let (trace_id, parent_id) = (self.trace_id.valid()?, self.span_id.valid()?);
            Some(TraceContext { trace_id, parent_id, sampled: self.sampled || self.debug })
        };
        self.traceparent.valid().or(self.b3.valid()).or_else(several)
    }
}

/// W3C Trace Context: `version-trace-parent-flags`, in lower case.
///
/// What a later version adds behind another `-` is left aside, whatever it is, as section 3.2.2.3 asks for.
fn traceparent(value: &[u8]) -> Option<TraceContext> {
    let mut parts = value.split(|&byte| byte == b'-');
    let mut lower = || parts.next().filter(|part| !part.iter().any(u8::is_ascii_uppercase));
    let [version] = hex::<1>(lower()?)?;
    let (trace_id, parent_id) = (id(lower()?)?, id(lower()?)?);
    let [flags] = hex::<1>(lower()?)?;
    let is_known = version == 0 && parts.next().is_none() || (1..0xff).contains(&version);
    is_known.then_some(TraceContext { trace_id, parent_id, sampled: flags & 1 != 0 })
}

/// B3 in one header: `trace-span`, `trace-span-sampling` or `trace-span-sampling-parent`. A sampling
/// decision alone, `0`, belongs to no trace.
fn b3(value: &[u8]) -> Option<TraceContext> {
    let mut parts = value.split(|&byte| byte == b'-');
    let (trace_id, parent_id) = (b3_trace_id(parts.next()?)?, id(parts.next()?)?);
    let sampled = match parts.next() {
        Some(b"1" | b"d") => true,
        Some(b"0") | None => false,
        Some(_) => return None,
    };
    if let Some(parent) = parts.next() {
        hex::<8>(parent)?;
    }
    parts.next().is_none().then_some(TraceContext { trace_id, parent_id, sampled })
}

/// A trace's id, in its long or in its short form.
fn b3_trace_id(digits: &[u8]) -> Option<[u8; 16]> {
    id(digits).or_else(|| Some(u128::from(u64::from_be_bytes(id(digits)?)).to_be_bytes()))
}

/// An id: all zeros is none.
fn id<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    hex(digits).filter(|id| id.iter().any(|&byte| byte != 0))
}

/// As many bytes as are asked for, two digits each.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for &digit in pair {
            let value = char::from(digit).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(value).ok()?;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: [u8; 16] =
        [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
    const SHORT: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
    const SPAN: [u8; 8] = [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];

    fn told(headers: &[(&str, &str)]) -> Option<TraceContext> {
        let mut gathered = TraceHeaders::default();
        for (name, value) in headers {
            gathered.header(name.as_bytes(), value.as_bytes());
        }
        gathered.context()
    }

    const fn context(trace_id: [u8; 16], sampled: bool) -> Option<TraceContext> {
        Some(TraceContext { trace_id, parent_id: SPAN, sampled })
    }

    #[test]
    fn a_traceparent_tells_trace_parent_and_sampling() {
        for (value, sampled) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-is", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-WHAT-IT-IS-IN-CAPITALS", true),
        ] {
            assert_eq!(told(&[("traceparent", value)]), context(TRACE, sampled), "{value}");
        }
    }

    #[test]
    fn a_malformed_traceparent_tells_nothing() {
        for value in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        ] {
            assert_eq!(told(&[("traceparent", value)]), None, "{value}");
        }
    }

    #[test]
    fn a_single_b3_header_tells_the_same() {
        for (value, trace_id, sampled) in [
            ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", TRACE, false),
            ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", TRACE, false),
            ("4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-1", TRACE, true),
            ("a3ce929d0e0e4736-00f067aa0ba902b7-d-05e3ac9a4f6e3b90", SHORT, true),
        ] {
            assert_eq!(told(&[("b3", value)]), context(trace_id, sampled), "{value}");
        }
        for value in [
            "0",
            "d",
            "a3ce929d0e0e4736",
            "a3ce929d0e0e4736-00f067aa0ba902b7-2",
            "a3ce929d0e0e4736-00f067aa0ba902b7-1-",
            "a3ce929d0e0e4736-00f067aa0ba902b7-1-05e3ac9a4f6e3b90-1",
            "0000000000000000-00f067aa0ba902b7-1",
        ] {
            assert_eq!(told(&[("b3", value)]), None, "{value}");
        }
    }

    #[test]
    fn several_b3_headers_tell_the_same_in_any_order() {
        let trace = ("x-b3-traceid", "a3ce929d0e0e4736");
        let span = ("x-b3-spanid", "00f067aa0ba902b7");
        assert_eq!(told(&[trace, span]), context(SHORT, false));
        assert_eq!(told(&[("x-b3-sampled", "1"), span, trace]), context(SHORT, true));
        assert_eq!(told(&[trace, ("x-b3-sampled", "True"), span]), context(SHORT, true));
        assert_eq!(told(&[trace, span, ("x-b3-sampled", "0")]), context(SHORT, false));
        assert_eq!(told(&[trace, span, ("x-b3-flags", "1")]), context(SHORT, true));
        assert_eq!(told(&[trace]), None);
        assert_eq!(told(&[span, ("x-b3-sampled", "1")]), None);
    }

    #[test]
    fn traceparent_goes_before_b3_and_b3_before_its_several_headers() {
        let w3c = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let b3 = ("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-0");
        let several = [
            ("x-b3-traceid", "1"),
            ("x-b3-traceid", "00000000000000ff"),
            ("x-b3-spanid", "00f067aa0ba902b7"),
        ];
        assert_eq!(told(&[several[1], several[2], b3, w3c]), context(TRACE, true));
        assert_eq!(told(&[b3, several[1], several[2]]), context(SHORT, false));
        assert_eq!(told(&[("traceparent", "none"), b3]), context(SHORT, false));
        assert_eq!(told(&several), None);
    }

    #[test]
    fn a_header_that_comes_twice_tells_nothing() {
        let w3c = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(told(&[w3c, w3c]), None);
        assert_eq!(told(&[w3c, ("tracestate", "a=b")]), context(TRACE, true));
    }

    #[test]
    fn the_longest_value_is_read_whole() {
        let b3 = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-05e3ac9a4f6e3b90";
        assert!(b3.len() < TraceHeaders::MAX_VALUE);
        assert_eq!(told(&[("b3", b3)]), context(TRACE, true));
    }
}
