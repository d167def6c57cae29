//! What is said over the socket.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{event::Event, filter::Filter};

/// The version of what is said. Another one is refused; fields may be added without a new one.
pub const VERSION: u32 = 1;

/// The client's first and only line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// [`VERSION`].
    pub version: u32,
    /// Which exchanges, of a tap.
    #[serde(default)]
    pub tap: Filter,
    /// Asks how the pods of the node fare, instead: one answer, and the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pods: bool,
}

/// A line of the agent's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message<'a> {
    /// The tap is open: what finishes from now on is told. The first line, unless the tap is refused.
    Open {
        /// [`VERSION`].
        version: u32,
    },
    /// What is asked for is not to be had; the last line.
    Refused(String),
    /// How the pods fare; the only line of such an answer.
    Pods(serde_json::Value),
    /// A request and its response are over.
    Exchange(Box<Event<'a>>),
    /// So many exchanges were lost since the last time, because the tap was slow.
    Lost(u64),
    /// The agent ends; the last line.
    End {},
}

impl Message<'_> {
    /// The message as JSON, with a line end.
    pub(super) fn to_line(&self) -> Bytes {
        // Nothing in a message can fail: no map, and nothing that writes itself.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::HttpProtocol;
    use super::*;

    fn line(message: &Message<'_>) -> String {
        String::from_utf8(message.to_line().to_vec()).unwrap()
    }

    #[test]
    fn the_lines_are_the_documented_ones() {
        assert_eq!(line(&Message::Open { version: VERSION }), "{\"open\":{\"version\":1}}\n");
        assert_eq!(line(&Message::Refused("no".into())), "{\"refused\":\"no\"}\n");
        assert_eq!(line(&Message::Lost(3)), "{\"lost\":3}\n");
        assert_eq!(line(&Message::End {}), "{\"end\":{}}\n");
    }

    #[test]
    fn a_client_may_leave_out_what_it_does_not_ask_for() {
        let ask: Ask = serde_json::from_str(r#"{"version":1}"#).unwrap();
        assert_eq!(ask, Ask { version: 1, tap: Filter::default(), pods: false });
        let tap = Filter { port: Some(80), protocol: Some(HttpProtocol::Http2), workload: None };
        let text = serde_json::to_string(&Ask { version: 1, tap, pods: false }).unwrap();
        assert_eq!(text, r#"{"version":1,"tap":{"protocol":"http/2","port":80}}"#);
    }
}
