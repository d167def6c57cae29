//! Enough of HPACK (RFC 7541) to tell whether the first header block of a connection is of gRPC.
//!
//! No field is stored. Of each only its kind is of interest, so that a block of 16 KiB, whatever it
//! refers to, costs a byte for each field that it adds to the table. Entries are never evicted: an
//! encoder does not refer to one that it had to evict, so that its valid blocks read the same.

use super::huffman;

/// The block breaks the rules of HPACK; a server closes the connection over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Entries in the static table (RFC 7541, appendix A).
const STATIC_ENTRIES: usize = 61;
/// `content-type` in the static table, without a value.
const STATIC_CONTENT_TYPE: usize = 31;
/// Bytes that an integer may take after its prefix; five hold 35 bits.
const MAX_INTEGER: u32 = 5;
/// The media type of gRPC; a `+` and a codec, or a `;` and parameters may follow.
const GRPC: &[u8] = b"application/grpc";

/// What a header field is to this reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// No content type.
    Other,
    /// A content type, not gRPC's.
    ContentType,
    /// The content type of gRPC.
    Grpc,
}

/// Whether the first content type of a connection's first header block is that of gRPC.
///
/// # Errors
/// The block is malformed, in any of its fields.
pub(super) fn is_grpc(block: &[u8]) -> Result<bool, Malformed> {
    let mut input = Input(block);
    let mut table = Table(Vec::new());
    let mut content_type = None;
    let mut fields = 0_usize;
    while let Some(first) = input.next() {
        let field = match first.leading_zeros() {
            0 => table.field(input.integer(first, 7)?)?,
            1 => {
                let field = input.literal(first, 6, &table)?;
                table.0.push(field);
                field
            }
            // A change of the table's size comes before all fields.
            2 if fields == 0 => {
                input.integer(first, 5)?;
                continue;
            }
            2 => return Err(Malformed),
            _ => input.literal(first, 4, &table)?,
        };
        fields += 1;
        if field != Field::Other {
            content_type.get_or_insert(field);
        }
    }
    Ok(content_type == Some(Field::Grpc))
}

/// The dynamic table behind the static one; the newest entry comes last.
struct Table(Vec<Field>);

impl Table {
    /// The field at an index, which starts at 1.
    fn field(&self, index: usize) -> Result<Field, Malformed> {
        match index {
            0 => Err(Malformed),
            STATIC_CONTENT_TYPE => Ok(Field::ContentType),
            1..=STATIC_ENTRIES => Ok(Field::Other),
            _ => self.0.iter().rev().nth(index - STATIC_ENTRIES - 1).copied().ok_or(Malformed),
        }
    }
}

/// The part of a block still to be read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    /// The next byte.
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// An integer whose first byte, read already, holds it in its lowest `prefix` bits (section 5.1).
    fn integer(&mut self, first: u8, prefix: u32) -> Result<usize, Malformed> {
        let mask = (1_u8 << prefix) - 1;
        let mut value = u64::from(first & mask);
        let mut goes_on = first & mask == mask;
        let mut places = 0..MAX_INTEGER;
        while goes_on {
            let (place, byte) = places.next().zip(self.next()).ok_or(Malformed)?;
            value += u64::from(byte & 0x7f) << (7 * place);
            goes_on = byte & 0x80 != 0;
        }
        usize::try_from(value).ok().ok_or(Malformed)
    }

    /// A string (section 5.2).
    fn string(&mut self) -> Result<Text, Malformed> {
        let first = self.next().ok_or(Malformed)?;
        let length = self.integer(first, 7)?;
        let (raw, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        let mut text = Text::default();
        if first & 0x80 == 0 {
            raw.iter().for_each(|&byte| text.push(byte));
        } else {
            huffman::decode(raw, |byte| text.push(byte))?;
        }
        Ok(text)
    }

    /// A field with a value of its own, and a name of its own or from the table (section 6.2).
    fn literal(&mut self, first: u8, prefix: u32, table: &Table) -> Result<Field, Malformed> {
        let is_content_type = match self.integer(first, prefix)? {
            0 => self.string()?.is(b"content-type"),
            index => table.field(index)? != Field::Other,
        };
        let value = self.string()?;
        Ok(match (is_content_type, value.is_grpc()) {
            (false, _) => Field::Other,
            (true, false) => Field::ContentType,
            (true, true) => Field::Grpc,
        })
    }
}

/// The start of a string: as much as is ever compared.
#[derive(Default)]
struct Text {
    /// The first bytes.
    head: [u8; GRPC.len() + 1],
    /// The whole length.
    length: usize,
}

impl Text {
    /// Appends a byte.
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.head.get_mut(self.length) {
            *place = byte;
        }
        self.length += 1;
    }

    /// Whether it is this, which is no longer than `head`.
    fn is(&self, other: &[u8]) -> bool {
        self.length == other.len() && self.head.starts_with(other)
    }

    /// Whether it is a media type of gRPC. Media types know no case.
    fn is_grpc(&self) -> bool {
        let (name, end) = self.head.split_at(GRPC.len());
        name.eq_ignore_ascii_case(GRPC) && (self.length == GRPC.len() || matches!(end, [b'+' | b';']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A literal field with a new name, both strings raw, that goes into the table or does not.
    fn literal(indexed: bool, name: &str, value: &str) -> Vec<u8> {
        let mut field = vec![if indexed { 0x40 } else { 0 }];
        for text in [name, value] {
            field.push(u8::try_from(text.len()).unwrap());
            field.extend_from_slice(text.as_bytes());
        }
        field
    }

    /// `is_grpc` of a block in hexadecimal.
    fn of_hex(hex: &str) -> Result<bool, Malformed> {
        let digits: Vec<_> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
        let block: Vec<_> =
            digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect();
        is_grpc(&block)
    }

    #[test]
    fn blocks_of_a_real_encoder_read_as_they_are() {
        // Python's hpack 4: a POST with seven more fields, the content type the seventh; with Huffman and without.
        for (hex, wanted) in [
            (
                "83864485606bdd62f74181f34082497f864d833505b11f4083f2b0ff810f5f8b1d75d0620d263d4c4d65644083f2b47f8117",
                true,
            ),
            (
                "83864485606bdd62f74181f34082497f864d833505b11f4083f2b0ff810f5f901d75d0620d263d4c4d6564ff75d8749f4083f2b47f8117",
                true,
            ),
            (
                "83864485606bdd62f74181f34082497f864d833505b11f4083f2b0ff810f5f8e1d75d0620d263d4c4d65645bc1634083f2b47f8117",
                false,
            ),
            (
                "83864485606bdd62f74181f34082497f864d833505b11f4083f2b0ff810f5f87497ca58ae819aa4083f2b47f8117",
                false,
            ),
            (
                "838644062f612e422f434101784002746508747261696c6572734003782d6101315f106170706c69636174696f6e2f677270634003782d620132",
                true,
            ),
            (
                "838644062f612e422f434101784002746508747261696c6572734003782d6101315f166170706c69636174696f6e2f677270632b70726f746f4003782d620132",
                true,
            ),
            (
                "838644062f612e422f434101784002746508747261696c6572734003782d6101315f146170706c69636174696f6e2f677270632d7765624003782d620132",
                false,
            ),
            (
                "838644062f612e422f434101784002746508747261696c6572734003782d6101315f0a746578742f706c61696e4003782d620132",
                false,
            ),
        ] {
            assert_eq!(of_hex(hex), Ok(wanted), "{hex}");
        }
    }

    #[test]
    fn only_grpc_and_its_codecs_count() {
        for (value, wanted) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc+json", true),
            ("application/grpc;charset=utf-8", true),
            ("Application/gRPC", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/grp", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(&literal(false, "content-type", value)), Ok(wanted), "{value:?}");
            assert_eq!(is_grpc(&literal(true, "x-content-type", value)), Ok(false), "{value:?} elsewhere");
        }
    }

    #[test]
    fn the_first_content_type_decides() {
        let (grpc, text) =
            (literal(true, "content-type", "application/grpc"), literal(true, "content-type", "text/a"));
        assert_eq!(is_grpc(&[&grpc[..], &text].concat()), Ok(true));
        assert_eq!(is_grpc(&[&text[..], &grpc].concat()), Ok(false));
    }

    #[test]
    fn the_table_gives_names_and_fields_back() {
        // 63 is the entry before the newest, 62 the newest: their names, with another value.
        let mut block = [literal(true, "content-type", ""), literal(true, "a", "b")].concat();
        for (index, wanted) in [(63, Field::Grpc), (62, Field::Other)] {
            let table = Table(vec![Field::ContentType, Field::Other]);
            let field = [&[16][..], GRPC].concat();
            assert_eq!(table.field(64), Err(Malformed));
            assert_eq!(Input(&[&[index - 15][..], &field].concat()).literal(0x0f, 4, &table), Ok(wanted));
        }
        block.splice(..0, [0x20, 0x3f, 0xe1, 0x1f]);
        assert_eq!(is_grpc(&block), Ok(false), "two changes of size at the start");
        let typed = [&[0x5f, 16][..], b"application/grpc"].concat();
        assert_eq!(is_grpc(&typed), Ok(true), "the static name, index 31");
        assert_eq!(is_grpc(&[&[0x90][..], &typed].concat()), Ok(true), "a static field before");
        assert_eq!(is_grpc(&[&typed[..], &[0xbe]].concat()), Ok(true), "and again by index 62");
    }

    #[test]
    fn broken_blocks_are_malformed() {
        for block in [
            &[0x80][..],
            &[0xbe],
            &[0x3f],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x82, 0x20],
            &[0x40, 5, b'a'],
            &[0x40, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x00],
            &[0x7f, 0x00, 0],
            &[0x40, 0x81, 0x00, 0],
        ] {
            assert_eq!(is_grpc(block), Err(Malformed), "{block:x?}");
        }
    }
}
