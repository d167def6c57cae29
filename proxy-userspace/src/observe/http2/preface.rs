//! What the two sides of a connection open with (RFC 9113, section 3.4).

use super::super::Progress;

/// What a client opens with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes in a frame's header.
const FRAME_HEADER: usize = 9;
/// The frame type.
const SETTINGS: u8 = 4;

/// Follows a client's bytes through the preface.
#[derive(Debug)]
pub(super) struct Preface {
    /// Bytes matched; `None` if it does not match.
    matched: Option<usize>,
}

impl Default for Preface {
    fn default() -> Self {
        Self { matched: Some(0) }
    }
}

impl Preface {
    /// Takes the next byte. `Failed` is for good; nothing is to be pushed after `Matched`.
    pub(super) fn push(&mut self, byte: u8) -> Progress {
        self.matched = self.matched.filter(|&at| PREFACE.get(at) == Some(&byte)).map(|at| at + 1);
        match self.matched {
            Some(matched) if matched == PREFACE.len() => Progress::Matched,
            Some(_) => Progress::More,
            None => Progress::Failed,
        }
    }
}

/// Follows a server's bytes through the header of the SETTINGS frame that opens its side.
///
/// Servers may send it before they have read anything, and those of gRPC's C core, Node and nghttp2 do:
/// the server speaks first, and it is still HTTP/2.
#[derive(Debug, Default)]
pub(super) struct ServerSettings {
    /// The header so far.
    header: [u8; FRAME_HEADER],
    /// How much of it was seen.
    seen: usize,
}

impl ServerSettings {
    /// Takes the server's next bytes; `false` if they are no such frame.
    pub(super) fn watch(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            let Some(place) = self.header.get_mut(self.seen) else {
                break;
            };
            *place = byte;
            let plausible = match self.seen {
                0 => byte == 0,
                // A setting is six bytes.
                2 => u16::from_be_bytes([self.header[1], byte]).is_multiple_of(6),
                3 => byte == SETTINGS,
                1 => true,
                // No flags (it acknowledges nothing yet), stream 0.
                _ => byte == 0,
            };
            if !plausible {
                return false;
            }
            self.seen += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_a_servers_side_is_told_from_other_greetings() {
        // nghttpd, Node, and gRPC's C core, as seen when nothing was sent to them.
        for header in [[0, 0, 6, 4, 0, 0, 0, 0, 0], [0, 0, 0, 4, 0, 0, 0, 0, 0], [0, 0, 24, 4, 0, 0, 0, 0, 0]]
        {
            for cut in 0..=header.len() {
                let (head, tail) = header.split_at(cut);
                let mut settings = ServerSettings::default();
                assert!(settings.watch(head) && settings.watch(tail) && settings.watch(b"anything"));
            }
        }
        for greeting in [
            &b"220 mail.test ESMTP\r\n"[..],
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x4a\x00\x00\x00\x0a8.0.36\x00",
            b"\x00\x00\x06\x04\x01",
            b"\x00\x00\x09",
            b"\x00\x00\x06\x03\x00",
            b"\x00\x00\x06\x04\x00\x00\x00\x00\x01",
        ] {
            assert!(!ServerSettings::default().watch(greeting), "{greeting:x?}");
        }
    }
}
