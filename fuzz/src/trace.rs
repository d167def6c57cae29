//! Trace contexts: `traceparent`, `b3`, `x-b3-*`.

use std::fmt::Write as _;

use sluice::observe::{
    TraceContext,
    fuzzing::{MAX_TRACE_VALUE, trace_context},
};

/// The target `trace`: a header a line, `name: value`.
pub fn trace(input: &[u8]) {
    let headers: Vec<_> = input.split(|&byte| byte == b'\n').filter_map(header).collect();
    let told = trace_context(headers.iter().copied());
    let cut = headers.iter().map(|&(name, value)| (name, value.get(..MAX_TRACE_VALUE).unwrap_or(value)));
    assert_eq!(trace_context(cut), told, "so many bytes of a value are enough");
    if let [(name, value)] = headers[..] {
        check_one(name, value, told);
    }
    if let Some(context) = told {
        assert!(context.trace_id != [0; 16] && context.parent_id != [0; 8]);
        write_and_read(&context);
    }
}

/// A name and a value without the whitespace around it, as the parsers of heads hand them over.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
}

/// What a single header says, read by other rules: all are hexadecimal with dashes in fixed places.
fn check_one(name: &[u8], value: &[u8], told: Option<TraceContext>) {
    let Ok(text) = str::from_utf8(value) else {
        // Such a byte can stand where a later version of `traceparent` goes on, and nowhere else.
        assert!(told.is_none() || name == b"traceparent");
        return;
    };
    let parts: Vec<_> = text.split('-').collect();
    let is_id = |part: &str, length: usize| {
        part.len() == length
            && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            && part.bytes().any(|byte| byte != b'0')
    };
    let is_expected = match (name, &parts[..]) {
        (b"traceparent", [version, trace, parent, flags, more @ ..]) => {
            let is_hex = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex(version)
                && is_hex(flags)
                && *version != "ff"
                && (*version != "00" || more.is_empty())
                && is_id(trace, 32)
                && is_id(parent, 16)
                && [version, trace, parent, flags].iter().all(|part| **part == part.to_ascii_lowercase())
        }
        (b"b3", [trace, span, more @ ..]) => {
            (is_id(trace, 32) || is_id(trace, 16))
                && is_id(span, 16)
                && match more {
                    [] => true,
                    [sampled] => ["0", "1", "d"].contains(sampled),
                    [sampled, parent] => {
                        ["0", "1", "d"].contains(sampled)
                            && parent.len() == 16
                            && parent.bytes().all(|byte| byte.is_ascii_hexdigit())
                    }
                    _ => false,
                }
        }
        _ => false,
    };
    assert_eq!(told.is_some(), is_expected, "{text:?}");
}

/// A context, written in each form, is the same.
fn write_and_read(context: &TraceContext) {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _infallible = write!(text, "{byte:02x}");
            text
        })
    };
    let TraceContext { trace_id, parent_id, sampled } = context;
    let (trace, span, sampled) = (hex(trace_id), hex(parent_id), u8::from(*sampled));
    let read = |headers: &[(&str, &str)]| {
        trace_context(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    };
    let traceparent = format!("00-{trace}-{span}-0{sampled}");
    assert_eq!(read(&[("traceparent", &traceparent)]).as_ref(), Some(context));
    assert_eq!(read(&[("b3", &format!("{trace}-{span}-{sampled}"))]).as_ref(), Some(context));
    let several = [
        ("x-b3-sampled", if sampled == 1 { "1" } else { "0" }),
        ("x-b3-spanid", &*span),
        ("x-b3-traceid", &*trace),
    ];
    assert_eq!(read(&several).as_ref(), Some(context));
}
