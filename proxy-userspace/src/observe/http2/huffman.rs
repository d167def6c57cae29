//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! The code is canonical: the lengths alone determine it. Within a length the codes count up in the
//! order of the symbols, and each length continues where the one before ended.

/// A string that is not of this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

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

/// The code, ready to be decoded.
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

/// Bits by which the short codes are looked up; printable ASCII has few that are longer.
const SHORT: usize = 8;

/// By the next eight bits, the symbol that they begin with and the bits in its code; zero bits for a
/// longer one.
static SHORT_CODES: [(u8, u8); 1 << SHORT] = short();

/// Builds the table of the short codes.
const fn short() -> [(u8, u8); 1 << SHORT] {
    let mut table = [(0, 0); 1 << SHORT];
    let mut length = 1;
    while length <= SHORT {
        let level = CODE.levels[length];
        let [.., bits] = length.to_be_bytes();
        let mut within = 0;
        while within < level.count {
            let first = ((level.first + within) as usize) << (SHORT - length);
            let mut at = first;
            while at < first + (1 << (SHORT - length)) {
                let [_, symbol] = CODE.symbols[(level.start + within) as usize].to_be_bytes();
                table[at] = (symbol, bits);
                at += 1;
            }
            within += 1;
        }
        length += 1;
    }
    table
}

/// Gives each byte that `coded` stands for to `byte`.
///
/// # Errors
/// The end-of-string symbol within the string, or padding that is not its first bits or too long.
pub(super) fn decode(coded: &[u8], mut byte: impl FnMut(u8)) -> Result<(), Malformed> {
    // The next bit is the highest of `bits`; behind the last of `length` there are zeros.
    let (mut bits, mut length) = (0_u64, 0_usize);
    let mut coded = coded.iter();
    loop {
        while length <= 56
            && let Some(next) = coded.next()
        {
            bits |= u64::from(*next) << (56 - length);
            length += 8;
        }
        let (symbol, taken) = next_symbol(bits)?;
        if taken > length {
            break;
        }
        // Only the end of the string is no byte.
        byte(u8::try_from(symbol).ok().ok_or(Malformed)?);
        bits <<= taken;
        length -= taken;
    }
    let ones = !(u64::MAX >> length.min(8));
    if length < 8 && bits == ones { Ok(()) } else { Err(Malformed) }
}

/// The symbol at the start of `bits`, and the bits in its code.
fn next_symbol(bits: u64) -> Result<(u16, usize), Malformed> {
    // The longest code has fewer.
    let bits = u32::try_from(bits >> 32).ok().ok_or(Malformed)?;
    if let Some(&(symbol, length @ 1..)) = SHORT_CODES.get((bits >> (32 - SHORT)) as usize) {
        return Ok((u16::from(symbol), usize::from(length)));
    }
    for (length, level) in CODE.levels.iter().enumerate().skip(SHORT + 1) {
        let code = bits >> (32 - length);
        if let Some(within) = code.checked_sub(level.first).filter(|&within| within < level.count) {
            let symbol = CODE.symbols.get((level.start + within) as usize).ok_or(Malformed)?;
            return Ok((*symbol, length));
        }
    }
    Err(Malformed)
}

/// Encodes a string, as the tests of HPACK need.
#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let bits = text.iter().flat_map(|&byte| {
        let length = usize::from(LENGTHS[usize::from(byte)]);
        let level = CODE.levels[length];
        let symbols = &CODE.symbols[level.start as usize..];
        let within = symbols.iter().position(|&symbol| symbol == u16::from(byte)).unwrap();
        let code = level.first + u32::try_from(within).unwrap();
        (0..length).rev().map(move |at| code >> at & 1 == 1)
    });
    let bits: Vec<bool> = bits.collect();
    bits.chunks(8)
        .map(|bits| (0..8).fold(0, |byte, at| byte << 1 | u8::from(bits.get(at).copied().unwrap_or(true))))
        .collect()
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
    fn every_byte_encodes_as_another_encoder_does() {
        assert_eq!(encode(&(0..=255).collect::<Vec<_>>()), ALL_BYTES);
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
