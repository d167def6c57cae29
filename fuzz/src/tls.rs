//! TLS: a client's first bytes, from a record's header on.

use sluice::observe::Observer;

use crate::{
    conversation::{Conversation, Turn},
    follow,
    record::Record,
};

/// Bytes in a server name, and protocols that are reported.
const MAX_NAME: usize = 255;
const MAX_ALPN: usize = 16;
/// Bytes in a record at most.
const MAX_RECORD: usize = 1 << 14;

/// The target `tls`: the first byte of the turns decides whether they are records, or a handshake message that
/// is put into records of the right lengths.
pub fn tls(input: &[u8]) {
    let mut conversation = Conversation::parse(input);
    if let Some(Turn::Client(bytes)) = conversation.turns.first_mut()
        && bytes.first() != Some(&22)
    {
        *bytes = records(bytes, conversation.cut);
    }
    follow::hold(&conversation);
    if let Some(Turn::Client(bytes)) = conversation.turns.first() {
        check_names(bytes);
    }
}

/// A ClientHello in records: the header of the message is made right as well.
fn records(hello: &[u8], cut: u16) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(hello.len()).unwrap_or_default().to_be_bytes();
    let message = [&[1][..], &length, hello].concat();
    let longest = if cut & 1 == 0 { MAX_RECORD } else { usize::from(cut >> 8) + 1 };
    let record = |payload: &[u8]| {
        let [high, low] = u16::try_from(payload.len()).unwrap_or_default().to_be_bytes();
        [&[22, 3, 1, high, low], payload].concat()
    };
    message.chunks(longest).flat_map(record).collect()
}

/// What is reported of a ClientHello is text, and little.
fn check_names(bytes: &[u8]) {
    let start = std::time::Instant::now();
    let mut observer = Observer::inspecting();
    observer.client_bytes(bytes, start, &mut Record::new(false, start));
    let observation = observer.observation();
    if let Some(sni) = &observation.sni {
        let is_name = sni.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        assert!((1..=MAX_NAME).contains(&sni.len()) && is_name, "{sni:?}");
        assert!(holds(bytes, sni.as_bytes()), "{sni:?} was not sent");
    }
    assert!(observation.alpn.len() <= MAX_ALPN);
    for name in &observation.alpn {
        assert!((1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

/// Whether the bytes of a name were sent, in their order: there may be headers of records between them.
fn holds(bytes: &[u8], name: &[u8]) -> bool {
    let mut sent = bytes.iter();
    name.iter().all(|byte| sent.any(|other| other == byte))
}
