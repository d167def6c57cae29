//! An encoder that keeps its table as the RFC describes it and takes every liberty that it gives, against
//! the decoder.

use proptest::prelude::*;

use super::*;
use crate::observe::http2::huffman;

/// How a field is to be sent, where there is a choice.
#[derive(Debug, Clone, Copy)]
struct Choice {
    by_index: bool,
    name_by_index: bool,
    /// 0 to 2: into the table, not into it, never.
    form: u8,
    huffman: bool,
}

/// Keeps whole fields, the newest first.
#[derive(Default)]
struct Encoder {
    table: Vec<(String, String)>,
    max_size: usize,
    out: Vec<u8>,
}

impl Encoder {
    fn integer(&mut self, first: u8, prefix: u32, value: usize) {
        let mask = (1 << prefix) - 1;
        if value < mask {
            self.out.push(first | u8::try_from(value).unwrap());
            return;
        }
        self.out.push(first | u8::try_from(mask).unwrap());
        let mut rest = value - mask;
        while rest >= 0x80 {
            self.out.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
            rest /= 0x80;
        }
        self.out.push(u8::try_from(rest).unwrap());
    }

    fn text(&mut self, text: &str, is_huffman: bool) {
        let (flag, raw) =
            if is_huffman { (0x80, huffman::encode(text.as_bytes())) } else { (0, text.as_bytes().to_vec()) };
        self.integer(flag, 7, raw.len());
        self.out.extend(raw);
    }

    fn evict(&mut self) {
        while self.size() > self.max_size {
            self.table.pop();
        }
    }

    fn size(&self) -> usize {
        self.table.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    }

    fn resize(&mut self, size: usize) {
        self.max_size = size;
        self.integer(0x20, 5, size);
        self.evict();
    }

    fn field(&mut self, (name, value): (&str, &str), choice: Choice) {
        let at = |found: Option<usize>| found.map(|at| at + STATIC_ENTRIES + 1);
        let whole = at(self.table.iter().position(|field| (&*field.0, &*field.1) == (name, value)));
        if let (true, Some(index)) = (choice.by_index, whole) {
            return self.integer(0x80, 7, index);
        }
        let of_name = at(self.table.iter().position(|field| field.0 == name)).or_else(|| {
            let named = |index: &usize| static_name(*index).unwrap().0.as_bytes() == name.as_bytes();
            (1..=STATIC_ENTRIES).find(named)
        });
        let (first, prefix) = [(0x40, 6), (0, 4), (0x10, 4)][usize::from(choice.form)];
        match of_name.filter(|_| choice.name_by_index) {
            Some(index) => self.integer(first, prefix, index),
            None => {
                self.out.push(first);
                self.text(name, choice.huffman);
            }
        }
        self.text(value, choice.huffman);
        if choice.form == 0 {
            self.table.insert(0, (name.to_owned(), value.to_owned()));
            self.evict();
        }
    }
}

/// A field, of few names and values so that they come again.
fn field() -> impl Strategy<Value = (String, String)> {
    let names = Name::ALL.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
    let name = prop_oneof![
        4 => prop::sample::select(names.to_vec()),
        2 => "[a-c]{1,3}",
        1 => "x-b3-[a-z]{1,20}",
    ];
    let value = prop_oneof![4 => "[0-3]{0,2}", 2 => "[ -~]{0,40}", 1 => "[ -~]{0,400}"];
    (name, value)
}

fn choice() -> impl Strategy<Value = Choice> {
    (any::<bool>(), any::<bool>(), prop::sample::select(vec![0, 0, 1, 2]), any::<bool>()).prop_map(
        |(by_index, name_by_index, form, huffman)| Choice { by_index, name_by_index, form, huffman },
    )
}

/// New sizes of the table, and fields.
type Block = (Vec<usize>, Vec<((String, String), Choice)>);

fn block() -> impl Strategy<Value = Block> {
    let size = prop_oneof![0..200_usize, 0..5000_usize, Just(MAX_SIZE)];
    let sizes = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(size, 1..3)];
    (sizes, prop::collection::vec((field(), choice()), 0..12))
}

proptest! {
    #[test]
    fn whatever_an_encoder_chooses_reads_as_the_fields_that_it_sent(
        blocks in prop::collection::vec(block(), 0..40),
    ) {
        let mut encoder = Encoder { max_size: 4096, ..Encoder::default() };
        let mut decoder = Decoder::default();
        for (sizes, sent) in blocks {
            encoder.out.clear();
            sizes.iter().for_each(|&size| encoder.resize(size));
            let mut expected = Vec::new();
            for ((name, value), choice) in &sent {
                encoder.field((name, value), *choice);
                let known = Name::from_bytes(name.as_bytes());
                if known != Name::Other {
                    expected.push((known, value.chars().take(known.kept()).collect()));
                }
            }
            prop_assert_eq!(read(&mut decoder, &encoder.out), Ok(expected));
            prop_assert_eq!(decoder.table.size(), encoder.size());
        }
    }

    #[test]
    fn random_blocks_never_panic(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let mut decoder = Decoder::default();
        for block in blocks {
            if read(&mut decoder, &block).is_err() {
                break;
            }
            prop_assert!(decoder.held() <= 80 * 1024);
        }
    }
}
