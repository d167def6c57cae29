//! Tests of the ClientHello reader: real hellos, and broken ones.

use super::*;

/// curl 7.88 with OpenSSL 3.0, SNI and ALPN, padded to 517 bytes.
const CURL: &[u8] = include_bytes!("testdata/tls_curl.bin");

/// Feeds all bytes at once.
fn read(bytes: &[u8]) -> Option<Read> {
    HelloReader::default().watch(bytes)
}

/// The hello of bytes that have to be TLS.
fn hello(bytes: &[u8]) -> ClientHello {
    match read(bytes) {
        Some(Read::Tls(hello)) => hello,
        other => panic!("expected TLS, got {other:?}"),
    }
}

/// A length before bytes, in `width` bytes.
fn vector(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[4 - width..], bytes].concat()
}

/// A handshake message with these extensions.
fn message(extensions: &[u8]) -> Vec<u8> {
    let body = [&[3; 34][..], &[0], &vector(2, &[0x13, 0x01]), &[1, 0], &vector(2, extensions)].concat();
    [&[CLIENT_HELLO][..], &vector(3, &body)].concat()
}

/// A record.
fn record(payload: &[u8]) -> Vec<u8> {
    [&[HANDSHAKE, 3, 1][..], &vector(2, payload)].concat()
}

/// A server name extension with one host name.
fn named(name: &[u8]) -> Vec<u8> {
    [&[0, 0][..], &vector(2, &vector(2, &[&[0][..], &vector(2, name)].concat()))].concat()
}

/// An ALPN extension.
fn offering(names: &[&[u8]]) -> Vec<u8> {
    let names: Vec<u8> = names.iter().flat_map(|name| vector(1, name)).collect();
    [&[0, 16][..], &vector(2, &vector(2, &names))].concat()
}

#[test]
fn real_hellos_give_name_and_protocols() {
    let both = ["h2", "http/1.1"].map(String::from).to_vec();
    let post_quantum = include_bytes!("testdata/tls_rustls_post_quantum.bin");
    let fragmented = include_bytes!("testdata/tls_rustls_fragmented.bin");
    assert!(post_quantum.len() > 1400);
    for (bytes, name) in [
        (CURL, "curl.sluice.test"),
        (include_bytes!("testdata/tls_openssl.bin"), "openssl.sluice.test"),
        (post_quantum, "pq.sluice.test"),
        (fragmented, "fragmented.sluice.test"),
    ] {
        assert_eq!(hello(bytes), ClientHello { sni: Some(name.into()), alpn: both.clone() });
    }
    assert_eq!(hello(include_bytes!("testdata/tls_openssl_no_sni.bin")), ClientHello::default());
}

#[test]
fn a_hello_may_be_cut_into_records_of_one_byte() {
    let records: Vec<u8> = CURL[RECORD_HEADER..].iter().flat_map(|byte| record(&[*byte])).collect();
    assert_eq!(hello(&records), hello(CURL));
}

#[test]
fn only_valid_names_are_reported() {
    let longest = [b'a'; MAX_NAME];
    for name in [&b"a"[..], b"127.0.0.1", b"_dmarc.Example.test", &longest] {
        assert_eq!(hello(&record(&message(&named(name)))).sni.unwrap().as_bytes(), name);
    }
    for name in [&b""[..], b"a b", b"a\nb", b"a\"b", b"\xc3\xa9.test", &[b'a'; MAX_NAME + 1]] {
        assert_eq!(hello(&record(&message(&named(name)))).sni, None, "{name:?}");
    }
}

#[test]
fn grease_and_unprintable_protocols_are_left_out() {
    let offered = offering(&[b"\x0a\x0a", b"ZZ", b"**", b"h2", b"\x00\xff", b"", b"a b", b"http/1.1"]);
    assert_eq!(hello(&record(&message(&offered))).alpn, ["h2", "http/1.1"]);
    assert_eq!(hello(&record(&message(&offering(&[&b"x"[..]; 100])))).alpn.len(), MAX_ALPN);
}

#[test]
fn a_name_that_cannot_be_read_leaves_the_protocols() {
    let extensions = [&[0, 0, 0, 1, 9][..], &offering(&[b"h2"])].concat();
    assert_eq!(hello(&record(&message(&extensions))), ClientHello { sni: None, alpn: vec!["h2".into()] });
}

#[test]
fn a_hello_without_extensions_is_tls() {
    let body = [&[3; 34][..], &[0, 0, 2, 0x13, 0x01, 1, 0]].concat();
    assert_eq!(hello(&record(&[&[CLIENT_HELLO][..], &vector(3, &body)].concat())), ClientHello::default());
}

#[test]
fn broken_insides_are_still_tls() {
    let mut grown = CURL.to_vec();
    grown[RECORD_HEADER + MESSAGE_HEADER + 2 + 32] = 0xff;
    let truncated = message(&[&named(b"a.test")[..], &[0, 16, 0]].concat());
    let alert = [&record(&[CLIENT_HELLO, 0])[..], &[21, 3, 1, 0, 2, 2, 40]].concat();
    for bytes in [grown, record(&truncated), record(&[CLIENT_HELLO, 0, 0, 0]), alert] {
        assert_eq!(hello(&bytes), ClientHello::default(), "{bytes:x?}");
    }
}

#[test]
fn an_oversized_hello_is_tls_without_a_name() {
    let largest = record(&[CLIENT_HELLO, 0, 0x40, 0x00]);
    assert_eq!(read(&largest), None);
    assert_eq!(hello(&record(&[CLIENT_HELLO, 0, 0x40, 0x01])), ClientHello::default());
}

#[test]
fn what_is_held_is_bounded_and_grows_with_what_came() {
    let mut reader = HelloReader::default();
    assert_eq!(reader.watch(&record(&[CLIENT_HELLO, 0, 0x40, 0x00])), None);
    assert!(reader.held() <= 512);
    for _ in 0..MAX_MESSAGE - 1 {
        assert_eq!(reader.watch(&record(&[0])), None);
        assert!(reader.held() <= MAX_MESSAGE + MESSAGE_HEADER);
    }
    assert_eq!(reader.watch(&record(&[0])), Some(Read::Tls(ClientHello::default())));
}

#[test]
fn other_records_are_not_tls() {
    for bytes in [
        &[HANDSHAKE, 2][..],
        &[HANDSHAKE, 3, 5],
        &[HANDSHAKE, 3, 1, 0, 0],
        &[HANDSHAKE, 3, 1, 0x41, 0x01],
        &[HANDSHAKE, 3, 1, 0, 4, 2],
        &[23, 3, 3, 0, 4, 1],
    ] {
        assert_eq!(read(bytes), Some(Read::Other), "{bytes:x?}");
    }
}
