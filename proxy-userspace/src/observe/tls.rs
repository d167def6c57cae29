//! TLS: the ClientHello, over any number of segments and of records.
//!
//! ```text
//! record:    type 22 · major 3 · minor 0-4 · length 1-16640 (2 bytes) · payload
//! handshake: type 1 · length (3 bytes) · ClientHello       (cut over records at will)
//! ```
//!
//! One whole record header and the handshake type make it TLS. Whatever is wrong after that only
//! costs the server name and the offered protocols.

use super::append;

/// Record type: handshake.
const HANDSHAKE: u8 = 22;
/// Handshake type: ClientHello.
const CLIENT_HELLO: u8 = 1;
/// Bytes in a record's header.
const RECORD_HEADER: usize = 5;
/// Bytes in a handshake message's header.
const MESSAGE_HEADER: usize = 4;
/// Bytes in a record, with what encryption may add.
const MAX_RECORD: u16 = (1 << 14) + 256;
/// Bytes in a ClientHello that are kept to be read. Post-quantum key shares make for 1.5 KiB or more.
const MAX_MESSAGE: usize = 16 * 1024;
/// Bytes in a server name.
const MAX_NAME: usize = 255;
/// Protocols that are reported of those offered.
const MAX_ALPN: usize = 16;
/// Extension: server name (RFC 6066).
const SERVER_NAME: u16 = 0;
/// Extension: application-layer protocol negotiation (RFC 7301).
const ALPN: u16 = 16;

/// What a ClientHello asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// The server's name, where a valid one was sent.
    pub(super) sni: Option<String>,
    /// The protocols offered, but GREASE and what is not printable.
    pub(super) alpn: Vec<String>,
}

/// What a reader knows once it knows enough.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// TLS, with what could be read of its ClientHello.
    Tls(ClientHello),
    /// Not TLS.
    Other,
}

/// Puts a ClientHello together from a client's bytes. Holds `MAX_MESSAGE + MESSAGE_HEADER` bytes at most.
#[derive(Debug, Default)]
pub(super) struct HelloReader {
    /// The header of the record at hand, as far as it was seen.
    header: [u8; RECORD_HEADER],
    /// How much of `header` was seen.
    header_seen: usize,
    /// Bytes of the record at hand still to come.
    record_left: usize,
    /// The handshake message so far, with its header.
    message: Vec<u8>,
}

impl HelloReader {
    /// Whether a first byte can begin a TLS connection.
    pub(super) const fn begins_with(byte: u8) -> bool {
        byte == HANDSHAKE
    }

    /// Whether what was seen is enough to call it TLS.
    pub(super) fn is_tls(&self) -> bool {
        !self.message.is_empty()
    }

    /// Takes the client's next bytes. Nothing is to be fed after an answer.
    pub(super) fn watch(&mut self, mut bytes: &[u8]) -> Option<Read> {
        while !bytes.is_empty() {
            if self.record_left == 0 {
                let (byte, rest) = bytes.split_first()?;
                bytes = rest;
                if self.push_header(*byte).is_none() {
                    return Some(self.give_up());
                }
                continue;
            }
            let wanted = self.message_end().saturating_sub(self.message.len());
            let (taken, rest) = bytes.split_at(wanted.min(self.record_left).min(bytes.len()));
            bytes = rest;
            self.record_left -= taken.len();
            append(&mut self.message, taken, MESSAGE_HEADER + MAX_MESSAGE);
            if self.message.first() != Some(&CLIENT_HELLO) {
                return Some(Read::Other);
            }
            if self.message_end() > MESSAGE_HEADER + MAX_MESSAGE {
                return Some(self.give_up());
            }
            if self.message.len() >= MESSAGE_HEADER && self.message.len() == self.message_end() {
                let hello = self.message.get(MESSAGE_HEADER..).and_then(client_hello);
                return Some(Read::Tls(hello.unwrap_or_default()));
            }
        }
        None
    }

    /// Takes the next byte of a record's header; `None` if no handshake record can have it.
    fn push_header(&mut self, byte: u8) -> Option<()> {
        *self.header.get_mut(self.header_seen)? = byte;
        self.header_seen += 1;
        let [kind, major, minor, high, low] = self.header;
        let length = u16::from_be_bytes([high, low]);
        let plausible = match self.header_seen {
            1 => kind == HANDSHAKE,
            2 => major == 3,
            3 => minor <= 4,
            4 => true,
            _ => (1..=MAX_RECORD).contains(&length),
        };
        if self.header_seen == RECORD_HEADER {
            self.header_seen = 0;
            self.record_left = usize::from(length);
        }
        plausible.then_some(())
    }

    /// The answer when the bytes make no sense any more.
    fn give_up(&self) -> Read {
        if self.is_tls() { Read::Tls(ClientHello::default()) } else { Read::Other }
    }

    /// Where the message ends: of its header, until that is there.
    fn message_end(&self) -> usize {
        match self.message.first_chunk() {
            Some(&[_, a, b, c]) => u32::from_be_bytes([0, a, b, c]) as usize + MESSAGE_HEADER,
            None => MESSAGE_HEADER,
        }
    }

    /// Bytes held on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.message.capacity()
    }
}

/// Reads a ClientHello without its handshake header; `None` where its lengths do not add up.
fn client_hello(bytes: &[u8]) -> Option<ClientHello> {
    let mut fields = Fields(bytes);
    let _version_and_random = fields.take(2 + 32)?;
    let _session_id = fields.vector_u8()?;
    let _cipher_suites = fields.vector_u16()?;
    let _compression_methods = fields.vector_u8()?;
    let mut hello = ClientHello::default();
    if fields.is_empty() {
        return Some(hello);
    }
    let mut extensions = Fields(fields.vector_u16()?);
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.vector_u16()?;
        match kind {
            SERVER_NAME => hello.sni = server_name(data),
            ALPN => hello.alpn = offered_protocols(data),
            _ => {}
        }
    }
    Some(hello)
}

/// The host name of a server name extension.
fn server_name(data: &[u8]) -> Option<String> {
    let mut names = Fields(Fields(data).vector_u16()?);
    while !names.is_empty() {
        let kind = names.u8()?;
        let name = names.vector_u16()?;
        if kind == 0 {
            let valid = (1..=MAX_NAME).contains(&name.len()) && name.iter().all(|&byte| is_name_byte(byte));
            return valid.then(|| text(name));
        }
    }
    None
}

/// A byte of a host name: letters, digits, `-`, `.`, and `_`, which is not allowed and used.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// The protocols of an ALPN extension that mean something to a reader.
fn offered_protocols(data: &[u8]) -> Vec<String> {
    let mut offered = Vec::new();
    let mut names = Fields(Fields(data).vector_u16().unwrap_or_default());
    while let Some(name) = names.vector_u8() {
        if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) && !is_grease(name) {
            offered.push(text(name));
        }
        if offered.len() == MAX_ALPN {
            break;
        }
    }
    offered
}

/// A name that means nothing and is sent to keep servers tolerant (RFC 8701): 0x0a0a, 0x1a1a … 0xfafa.
/// Six of them are printable.
const fn is_grease(name: &[u8]) -> bool {
    matches!(name, [first, second] if *first == *second && *first & 0x0f == 0x0a)
}

/// ASCII as text.
fn text(ascii: &[u8]) -> String {
    String::from_utf8_lossy(ascii).into_owned()
}

/// Bytes still to be read as fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Whether all was read.
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `length` bytes.
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A byte.
    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// Two bytes, network byte order.
    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().copied().map(u16::from_be_bytes)
    }

    /// Bytes after their length in one byte.
    fn vector_u8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// Bytes after their length in two bytes.
    fn vector_u16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
