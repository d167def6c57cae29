//! Tests of HPACK: the examples of RFC 7541, and another model of the encoder.

mod model;

use super::*;

/// The fields of interest that a block has, as text.
type Fields = Vec<(Name, String)>;

/// A block in hexadecimal, what it says, and the size of the table after it.
type Example<'a> = (&'a str, &'a [(Name, &'a str)], usize);

/// A block in hexadecimal, spaces aside.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// Reads a block.
fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, Lost> {
    let mut fields = Vec::new();
    decoder
        .read(block, |name, value| fields.push((name, String::from_utf8_lossy(value).into_owned())))
        .map(|()| fields)
}

/// Fields, as they are expected.
fn fields(expected: &[(Name, &str)]) -> Fields {
    expected.iter().map(|&(name, value)| (name, value.to_owned())).collect()
}

/// A literal field with a new name, both strings raw, that goes into the table.
fn insert(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0x40];
    for text in [name, value] {
        field.push(u8::try_from(text.len()).unwrap());
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// Reads these blocks in turn, and compares what they say and the size of the table after each.
fn assert_reads(mut decoder: Decoder, blocks: &[Example<'_>]) {
    for &(hex, expected, size) in blocks {
        assert_eq!(read(&mut decoder, &bytes(hex)), Ok(fields(expected)), "{hex}");
        assert_eq!(decoder.table.size(), size, "{hex}");
    }
}

#[test]
fn the_examples_of_single_fields_read_as_they_are() {
    // Section C.2.
    let custom = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    for (block, expected, size) in [
        (custom, &[][..], 55),
        ("040c 2f73 616d 706c 652f 7061 7468", &[(Name::Path, "/sample/path")], 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", &[], 0),
        ("82", &[(Name::Method, "GET")], 0),
    ] {
        assert_reads(Decoder::default(), &[(block, expected, size)]);
    }
}

#[test]
fn the_examples_of_requests_read_as_they_are() {
    let get = (Name::Method, "GET");
    let authority = (Name::Authority, "www.example.com");
    let expected: [&[(Name, &str)]; 3] = [
        &[get, (Name::Path, "/"), authority],
        &[get, (Name::Path, "/"), authority],
        &[get, (Name::Path, "/index.html"), authority],
    ];
    // Section C.3, and with Huffman C.4.
    for [first, second, third] in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ] {
        let blocks = [(first, expected[0], 57), (second, expected[1], 110), (third, expected[2], 164)];
        assert_reads(Decoder::default(), &blocks);
    }
}

#[test]
fn the_examples_of_responses_with_evictions_read_as_they_are() {
    let status = |status| [(Name::Status, status)];
    let (found, not_modified, good) = (status("302"), status("307"), status("200"));
    // Section C.5, and with Huffman C.6. The table has 256 bytes.
    for [first, second, third] in [
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 \
             3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a \
             6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d \
             6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
        ],
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d \
             29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d \
             d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 \
             3d50 07",
        ],
    ] {
        let mut decoder = Decoder::default();
        decoder.table.resize(256);
        assert_reads(decoder, &[(first, &found, 222), (second, &not_modified, 222), (third, &good, 215)]);
    }
}

#[test]
fn a_smaller_table_lets_the_oldest_go() {
    let mut decoder = Decoder::default();
    let three = [insert("host", "a"), insert("host", "b"), insert("host", "c")].concat();
    assert_eq!(read(&mut decoder, &three).unwrap().len(), 3);
    assert_eq!(decoder.table.size(), 3 * 37);
    // 2 * 37 is 31 + 43.
    assert_eq!(
        read(&mut decoder, &[0x3f, 43, 0xbe, 0xbf]),
        Ok(fields(&[(Name::Host, "c"), (Name::Host, "b")]))
    );
    assert_eq!(read(&mut decoder, &[0xc0]), Err(MALFORMED));
    assert_eq!(read(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f]), Ok(vec![]), "two changes, to nothing and back");
    assert_eq!((decoder.table.size(), read(&mut decoder, &[0xbe])), (0, Err(MALFORMED)));
}

#[test]
fn what_is_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::default();
    assert!(read(&mut decoder, &[&[0x3f, 20][..], &insert("host", "a")].concat()).is_ok());
    assert_eq!(decoder.table.size(), 37);
    let large = insert("host", "sixteen letters!");
    assert_eq!(read(&mut decoder, &large), Ok(fields(&[(Name::Host, "sixteen letters!")])));
    assert_eq!((decoder.table.size(), read(&mut decoder, &[0xbe])), (0, Err(MALFORMED)));
    assert!(read(&mut decoder, &insert("host", "fifteen letters")).is_ok());
    assert_eq!(decoder.table.size(), 51, "as large as the table");
}

#[test]
fn a_name_may_be_that_of_the_entry_that_has_to_go() {
    let mut decoder = Decoder::default();
    assert!(read(&mut decoder, &[&[0x3f, 20][..], &insert("host", "a")].concat()).is_ok());
    assert_eq!(read(&mut decoder, &[0x7e, 1, b'b', 0xbe]), Ok(fields(&[(Name::Host, "b"); 2])));
}

#[test]
fn values_are_kept_as_far_as_they_are_of_use() {
    let mut decoder = Decoder::default();
    // 368 is 127 + 113 + 128.
    let path = [&[0x44, 0x7f, 0x80 + 113, 1][..], "/".repeat(368).as_bytes()].concat();
    let kept = (Name::Path, "/".repeat(256));
    assert_eq!(read(&mut decoder, &path), Ok(vec![kept.clone()]));
    assert_eq!(read(&mut decoder, &[0xbe]), Ok(vec![kept]));
    assert_eq!(decoder.table.size(), 5 + 368 + 32);
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
        assert_eq!(read(&mut Decoder::default(), block), Err(MALFORMED), "{block:x?}");
    }
    assert_eq!(read(&mut Decoder::default(), &[0x3f, 0xe2, 0xff, 0x03]), Err(Lost::TableTooLarge));
}

#[test]
fn a_table_holds_little_and_less_than_its_bound() {
    let mut decoder = Decoder::default();
    for at in 0..2000 {
        let block = insert(if at % 3 == 0 { ":path" } else { "x-id" }, &format!("/{}", at * at));
        assert!(read(&mut decoder, &block).is_ok());
        assert!(decoder.held() <= 5 * 1024);
    }
    let many = [&[0x3f, 0xe1, 0xff, 0x03][..], &[0x42, 0].repeat(3000)].concat();
    assert!(read(&mut decoder, &many).is_ok());
    assert!(decoder.held() <= 20 * 1024, "{} bytes", decoder.held());
}
