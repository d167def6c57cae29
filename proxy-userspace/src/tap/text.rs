//! Exchanges as lines, for people and for programs.

use std::fmt::{self, Write as _};

use super::event::Event;

/// One line without its end, after the manner of `linkerd tap`. What came from the network is shown in
/// printable ASCII without spaces: anything else is escaped.
#[must_use]
pub fn text(event: &Event<'_>) -> String {
    let mut line = String::new();
    // Writing to a string does not fail.
    let _infallible = write_text(&mut line, event);
    line
}

/// One line of JSON without its end. No character in it does anything to a terminal.
#[must_use]
pub fn json(event: &Event<'_>) -> String {
    let json = serde_json::to_string(event).unwrap_or_default();
    if !json.contains(is_terminal_control) {
        return json;
    }
    // JSON itself escapes what is below the space only. Such characters stand in strings alone.
    let mut escaped = String::with_capacity(json.len() + 16);
    for char in json.chars() {
        if is_terminal_control(char) {
            let _infallible = write!(escaped, "\\u{:04x}", u32::from(char));
        } else {
            escaped.push(char);
        }
    }
    escaped
}

/// DEL, and the control characters with the eighth bit.
const fn is_terminal_control(char: char) -> bool {
    matches!(char, '\u{7f}'..='\u{9f}')
}

fn write_text(line: &mut String, event: &Event<'_>) -> fmt::Result {
    write!(
        line,
        "{} {} proxy={} src={} dst={} protocol={} :method={} :authority={} :path={}",
        Word(Some(&event.time)),
        Word(Some(&event.workload)),
        match &*event.direction {
            "inbound" => "in",
            _outbound => "out",
        },
        event.client,
        event.dst,
        event.protocol.label(),
        Word(Some(&event.method)),
        Word(event.authority.as_deref()),
        Word(event.path.as_deref()),
    )?;
    match event.status {
        Some(status) => write!(line, " :status={status}")?,
        None => line.push_str(" :status=-"),
    }
    if let Some(grpc) = &event.grpc {
        match grpc.status {
            Some(status) => write!(line, " grpc-status={status}")?,
            None => line.push_str(" grpc-status=-"),
        }
    }
    match event.latency_ms {
        Some(latency) => write!(line, " latency={}", Microseconds(latency))?,
        None => line.push_str(" latency=-"),
    }
    write!(line, " duration={} response-length={}B", Microseconds(event.duration_ms), event.response_bytes)?;
    if let Some(trace) = &event.trace_id {
        write!(line, " trace={}", Word(Some(trace)))?;
    }
    if event.end != "complete" {
        write!(line, " end={}", Word(Some(&event.end)))?;
    }
    Ok(())
}

/// Milliseconds, shown in microseconds.
struct Microseconds(f64);

impl fmt::Display for Microseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}µs", self.0 * 1_000.0)
    }
}

/// Text from elsewhere, as a word; `-` where there is none.
struct Word<'a>(Option<&'a str>);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(word) = self.0.filter(|word| !word.is_empty()) else {
            return f.write_char('-');
        };
        for char in word.chars() {
            match char {
                '\\' => f.write_str("\\\\")?,
                char if char.is_ascii_graphic() => f.write_char(char)?,
                char => write!(f, "{}", char.escape_unicode())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::{call, exchange, parties, request};
    use super::*;
    use crate::observe::{End, Exchange, Request};

    fn shown(request: &Request, change: impl FnOnce(&mut Exchange<'_>)) -> String {
        let (parties, mut exchange) = (parties(), exchange(request));
        change(&mut exchange);
        text(&Event { time: "T".into(), ..Event::of(&parties, &exchange) })
    }

    #[test]
    fn a_request_is_a_line() {
        assert_eq!(
            shown(&request(), |_| {}),
            "T shop proxy=out src=127.0.0.1:40000 dst=10.0.0.9:8080 protocol=http/1 :method=GET \
             :authority=web:8080 :path=/items :status=200 latency=1234µs duration=2000µs response-length=12B"
        );
    }

    #[test]
    fn a_grpc_call_that_was_reset_says_so() {
        let line = shown(&call(), |exchange| exchange.end = End::ServerReset);
        assert!(line.contains(" protocol=grpc ") && line.contains(" :path=/shop.Cart/Add "), "{line}");
        assert!(line.contains(" :status=200 grpc-status=- latency="), "{line}");
        assert!(line.ends_with(&format!(" trace={} end=server-reset", "ab".repeat(16))), "{line}");
    }

    #[test]
    fn what_there_is_not_is_a_dash() {
        let nothing = Request { authority: None, target: Some("host:443".into()), ..request() };
        let line = shown(&nothing, |exchange| (exchange.status, exchange.response_began) = (None, None));
        assert!(line.contains(" :authority=- :path=- :status=- latency=- duration=2000µs "), "{line}");
    }

    #[test]
    fn nothing_from_the_network_moves_the_cursor_or_looks_like_another_field() {
        let target = "/a b\u{1b}[2J\n\\\u{9b}é\u{202e}";
        let nasty = Request { target: Some(target.into()), ..request() };
        let line = shown(&nasty, |_| {});
        let path = r":path=/a\u{20}b\u{1b}[2J\u{a}\\\u{9b}\u{e9}\u{202e} ";
        assert!(line.contains(path), "{line}");

        let (parties, exchange) = (parties(), exchange(&nasty));
        let line = json(&Event::of(&parties, &exchange));
        assert!(!line.contains(char::is_control), "{line:?}");
        let event: Event<'_> = serde_json::from_str(&line).unwrap();
        assert_eq!(event.path.as_deref(), Some(target));
    }
}
