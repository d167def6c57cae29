//! HPACK: header blocks, compared with another decoder.
//!
//! The other decoder is shown one field at a time, since it is less strict than the RFC about where the table's
//! size may change, and knows no limit of ours.

use loona_hpack::{
    Decoder,
    decoder::{DecoderError, StringDecodingError},
};
use sluice::observe::{Lost, fuzzing::Hpack};

use crate::memory::Watch;

/// What parts two blocks.
pub const MARK: &[u8] = b"\xfb|";
/// The largest table that is followed.
const MAX_TABLE: usize = 64 * 1024;
/// A table holds three bytes at most for every two of the largest size that was used.
const MAX_HEAP: usize = MAX_TABLE / 2 * 3;
/// Bytes in a header block that is read.
const MAX_BLOCK: usize = 16 * 1024;

type Field = (Vec<u8>, Vec<u8>);

/// The target `hpack`.
pub fn hpack(input: &[u8]) {
    let watch = Watch::start();
    let mut ours = Hpack::default();
    let mut oks = 0;
    // Without the other decoder, so that the memory is the one's alone.
    for block in blocks(input) {
        if ours.read(block, |_name, _value| {}).is_err() {
            break;
        }
        oks += 1;
    }
    assert!(watch.peak() <= MAX_HEAP, "{} bytes", watch.peak());
    drop(ours);
    assert_eq!(watch.live(), 0);
    compare(input, oks);
}

/// The blocks of an input.
fn blocks(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(input);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let at = bytes.windows(MARK.len()).position(|window| window == MARK);
        let (block, behind) = match at {
            Some(at) => (bytes.get(..at)?, bytes.get(at + MARK.len()..)),
            None => (bytes, None),
        };
        rest = behind;
        Some(block.get(..MAX_BLOCK).unwrap_or(block))
    })
}

/// Reads the blocks with both decoders.
fn compare(input: &[u8], oks: usize) {
    let (mut ours, mut theirs) = (Hpack::default(), Other(Decoder::new()));
    for (at, block) in blocks(input).enumerate() {
        let mut fields: Vec<Field> = Vec::new();
        let read = ours.read(block, |name, value| fields.push((name.to_vec(), value.to_vec())));
        assert_eq!(read.is_ok(), at < oks, "read twice, it says the same");
        let mut expected = Vec::new();
        match theirs.read(block, &mut expected) {
            Ok(()) => {
                assert_eq!(read, Ok(()), "block {at}: the other says {expected:?}");
                assert_eq!(fields, expected, "block {at}");
            }
            Err(Refusal::Unsure) => return,
            Err(Refusal::Lost(why)) => {
                assert_eq!(read, Err(why), "block {at}");
                return;
            }
        }
        if read.is_err() {
            return;
        }
    }
}

/// The other decoder.
struct Other(Decoder<'static>);

/// Why the other decoder does not say what a block is.
enum Refusal {
    /// It is wrong.
    Lost(Lost),
    /// It may be right: the other one has limits of its own.
    Unsure,
}

impl Other {
    /// The fields of interest of a block, as much as is kept of them.
    fn read(&mut self, block: &[u8], fields: &mut Vec<Field>) -> Result<(), Refusal> {
        let mut rest = block;
        let mut may_resize = true;
        while let Some(&first) = rest.first() {
            let size = field_length(rest)?;
            let (field, behind) = rest.split_at_checked(size).ok_or(MALFORMED)?;
            rest = behind;
            if first & 0xe0 == 0x20 {
                let (size, _) = integer(field, 5)?;
                if !may_resize {
                    return Err(MALFORMED);
                }
                if size > MAX_TABLE {
                    return Err(Refusal::Lost(Lost::TableTooLarge));
                }
                self.0.set_max_table_size(size);
                continue;
            }
            may_resize = false;
            match self.0.decode(field) {
                Ok(decoded) => fields.extend(decoded.into_iter().filter_map(|(name, mut value)| {
                    value.truncate(Hpack::kept(&name)?);
                    Some((name, value))
                })),
                // Ours does not look at values of no interest that go into no table.
                Err(DecoderError::StringDecodingError(StringDecodingError::HuffmanDecoderError(_)))
                    if first & 0xc0 == 0 =>
                {
                    return Err(Refusal::Unsure);
                }
                Err(_) => return Err(MALFORMED),
            }
        }
        Ok(())
    }
}

const MALFORMED: Refusal = Refusal::Lost(Lost::MalformedHpack);

/// Bytes of the field that a block begins with.
fn field_length(block: &[u8]) -> Result<usize, Refusal> {
    let first = block.first().copied().unwrap_or_default();
    let prefix = match first.leading_zeros() {
        0 => return integer(block, 7).map(|(_, length)| length),
        1 => 6,
        2 => return integer(block, 5).map(|(_, length)| length),
        _ => 4,
    };
    let (index, mut length) = integer(block, prefix)?;
    // A name, if it has no index, and a value.
    for _text in usize::from(index != 0)..2 {
        let (text, prefix_length) = integer(block.get(length..).unwrap_or_default(), 7)?;
        length += prefix_length + text;
    }
    Ok(length)
}

/// An integer, and how many bytes it takes (RFC 7541, section 5.1).
fn integer(bytes: &[u8], prefix: u32) -> Result<(usize, usize), Refusal> {
    let mask = (1 << prefix) - 1;
    let (first, rest) = bytes.split_first().ok_or(MALFORMED)?;
    let start = usize::from(first & mask);
    if start < usize::from(mask) {
        return Ok((start, 1));
    }
    let end = rest.iter().position(|byte| byte & 0x80 == 0).ok_or(MALFORMED)?;
    // The other decoder takes four bytes after the first at most, ours five.
    if end >= 3 {
        return if end >= 5 { Err(MALFORMED) } else { Err(Refusal::Unsure) };
    }
    let digits = rest.iter().take(end + 1).rev();
    let value = digits.fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    Ok((start + value, end + 2))
}
