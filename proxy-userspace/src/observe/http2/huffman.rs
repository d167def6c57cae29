//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! The code is canonical: the lengths alone determine it. Within a length the codes count up in the
//! order of the symbols, and each length continues where the one before ended.

use super::hpack::Malformed;

/// Bits in the longest code.
const LONGEST: usize = 30;
/// Bytes, and the end-of-string symbol.
const SYMBOLS: usize = 257;

/// Bits in each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The codes of one length.
#[derive(Clone, Copy)]
struct Level {
    /// The first code.
    first: u32,
    /// How many there are.
    count: u32,
    /// Where their symbols start in `Code::symbols`.
    start: u32,
}

/// The code, ready to be decoded a bit at a time.
struct Code {
    /// By length in bits.
    levels: [Level; LONGEST + 1],
    /// All symbols, by length and then by value.
    symbols: [u16; SYMBOLS],
}

/// Built when the program is.
static CODE: Code = canonical();

/// Builds the code from its lengths.
const fn canonical() -> Code {
    let mut code =
        Code { levels: [Level { first: 0, count: 0, start: 0 }; LONGEST + 1], symbols: [0; SYMBOLS] };
    let (mut next, mut placed, mut length) = (0, 0, 1);
    while length <= LONGEST {
        let (first, start) = (next, placed);
        let mut symbol: u16 = 0;
        while (symbol as usize) < SYMBOLS {
            if LENGTHS[symbol as usize] as usize == length {
                code.symbols[placed as usize] = symbol;
                placed += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.levels[length] = Level { first, count: next - first, start };
        next <<= 1;
        length += 1;
    }
    code
}

/// Gives each byte that `coded` stands for to `byte`.
///
/// # Errors
/// The end-of-string symbol within the string, or padding that is not its first bits or too long.
pub(super) fn decode(coded: &[u8], mut byte: impl FnMut(u8)) -> Result<(), Malformed> {
    // `bits` holds the code so far, `length` its number of bits.
    let (mut bits, mut length) = (0_u32, 0_usize);
    for bit in coded.iter().flat_map(|coded| (0..8).rev().map(move |at| u32::from(coded >> at & 1))) {
        bits = bits << 1 | bit;
        length += 1;
        let level = CODE.levels.get(length).ok_or(Malformed)?;
        let Some(within) = bits.checked_sub(level.first).filter(|&within| within < level.count) else {
            continue;
        };
        let symbol = CODE.symbols.get((level.start + within) as usize).ok_or(Malformed)?;
        // Only the end of the string is no byte.
        byte(u8::try_from(*symbol).ok().ok_or(Malformed)?);
        (bits, length) = (0, 0);
    }
    let ones = (1_u32 << length.min(8)) - 1;
    if length < 8 && bits == ones { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All 256 bytes in order, as Python's `hpack` 4 encodes them.
    const ALL_BYTES: &[u8] = include_bytes!("../testdata/huffman_all_bytes.bin");

    /// Decodes into a vector.
    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut bytes = Vec::new();
        decode(coded, |byte| bytes.push(byte)).map(|()| bytes)
    }

    #[test]
    fn every_byte_decodes() {
        assert_eq!(decoded(ALL_BYTES), Ok((0..=255).collect()));
    }

    #[test]
    fn the_examples_of_rfc_7541_decode() {
        let www = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&www), Ok(b"www.example.com".to_vec()));
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]), Ok(b"no-cache".to_vec()));
        assert_eq!(decoded(&[]), Ok(vec![]));
    }

    #[test]
    fn wrong_padding_is_malformed() {
        // 'a' is 00011: three bits of padding, which have to be ones.
        assert_eq!(decoded(&[0b0001_1111]), Ok(b"a".to_vec()));
        assert_eq!(decoded(&[0b0001_1110]), Err(Malformed));
        // '&' is 11111000: no padding.
        assert_eq!(decoded(&[0b1111_1000]), Ok(b"&".to_vec()));
        assert_eq!(decoded(&[0b1111_1000, 0xff]), Err(Malformed), "eight bits");
    }

    #[test]
    fn an_end_of_string_symbol_is_malformed() {
        assert_eq!(decoded(&[0xff; 4]), Err(Malformed));
    }

    #[test]
    fn the_code_is_complete() {
        let sum: u64 = LENGTHS.iter().map(|&length| 1 << (LONGEST - usize::from(length))).sum();
        assert_eq!(sum, 1 << LONGEST);
    }
}
