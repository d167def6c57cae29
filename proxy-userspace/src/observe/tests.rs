//! Tests of the whole observer: a corpus of first flights, cut in every way.

use super::*;
use proptest::prelude::*;

/// A grpcio 1.x client's bytes up to its first HEADERS, captured on loopback through a relay.
const GRPC: &[u8] = include_bytes!("testdata/grpc_python.bin");
/// A SETTINGS frame as Node's server sends it unasked.
const SERVER_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// First flights of clients and what they are, with the name where there is one.
const CORPUS: &[(&[u8], Protocol, Option<&str>)] = &[
    (include_bytes!("testdata/http1_curl.bin"), Protocol::Http1, None),
    (b"\r\nPOST /a HTTP/1.0\nHost: x\n\n", Protocol::Http1, None),
    (b"PRI * HTTP/1.1\r\n\r\n", Protocol::Http1, None),
    (include_bytes!("testdata/http2_curl.bin"), Protocol::Http2, None),
    (include_bytes!("testdata/http2_nghttp.bin"), Protocol::Http2, None),
    (GRPC, Protocol::Grpc, None),
    (include_bytes!("testdata/tls_curl.bin"), Protocol::Tls, Some("curl.sluice.test")),
    (include_bytes!("testdata/tls_openssl.bin"), Protocol::Tls, Some("openssl.sluice.test")),
    (include_bytes!("testdata/tls_openssl_no_sni.bin"), Protocol::Tls, None),
    (include_bytes!("testdata/tls_rustls_post_quantum.bin"), Protocol::Tls, Some("pq.sluice.test")),
    (include_bytes!("testdata/tls_rustls_fragmented.bin"), Protocol::Tls, Some("fragmented.sluice.test")),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", Protocol::Opaque, None),
    (b"PING\r\n", Protocol::Opaque, None),
    (b"ABCDEFGHIJKLMNOP", Protocol::Opaque, None),
    (b"*1\r\n$4\r\nPING\r\n", Protocol::Opaque, None),
    (b"GET /index.html\n", Protocol::Opaque, None),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Protocol::Opaque, None),
    (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", Protocol::Opaque, None),
];

/// Nobody who listens.
struct Nobody;

impl Listener for Nobody {
    fn request(&mut self, _: &Request) {}
    fn exchange(&mut self, _: &Exchange<'_>) {}
    fn upgraded(&mut self, _: &str) {}
    fn untracked(&mut self, _: Lost) {}
    fn lost(&mut self, _: Lost, _: usize) {}
}

/// Shows the client's bytes.
fn client(observer: &mut Observer, bytes: &[u8]) {
    observer.client_bytes(bytes, Instant::now(), &mut Nobody);
}

/// Shows the server's bytes.
fn server(observer: &mut Observer, bytes: &[u8]) {
    observer.server_bytes(bytes, Instant::now(), &mut Nobody);
}

/// What an observer says, and whether it may still change its mind.
type Word = (Observation, bool);

/// What an observer says after these pieces.
fn after<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Word {
    let mut observer = Observer::inspecting();
    for piece in pieces {
        client(&mut observer, piece);
        assert!(observer.held() <= MAX_HELD);
    }
    (observer.observation(), observer.is_known())
}

/// Pieces of `bytes`, their lengths taken from `lengths` in turn.
fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &length in lengths {
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

#[test]
fn first_flights_are_what_they_are() {
    for &(bytes, protocol, name) in CORPUS {
        let (observation, _) = after([bytes]);
        assert_eq!(observation.protocol, protocol, "{bytes:x?}");
        assert_eq!(observation.detected_by, DetectedBy::ClientBytes);
        assert_eq!(observation.sni.as_deref(), name);
        assert_eq!(observation.alpn.is_empty(), name.is_none());
    }
}

#[test]
fn every_prefix_byte_by_byte_says_what_it_says_at_once() {
    for (bytes, ..) in CORPUS {
        let mut observer = Observer::inspecting();
        for (at, byte) in bytes.iter().enumerate() {
            client(&mut observer, &[*byte]);
            let word = (observer.observation(), observer.is_known());
            assert_eq!(word, after([&bytes[..=at]]), "{:x?}", &bytes[..=at]);
        }
    }
}

#[test]
fn every_flight_cut_in_two_says_what_it_says_at_once() {
    for (bytes, ..) in CORPUS {
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(after([head, tail]), after([*bytes]), "cut at {at}: {bytes:x?}");
            // And all the prefixes that this cut can be in, for the short ones.
            for end in (0..tail.len()).take_while(|_| bytes.len() <= 104) {
                assert_eq!(after([head, &tail[..end]]), after([&bytes[..at + end]]));
            }
        }
    }
}

#[test]
fn tls_is_known_from_the_sixth_byte() {
    let hello = CORPUS[6].0;
    let protocol = |length: usize| after([&hello[..length]]).0.protocol;
    assert_eq!((protocol(5), protocol(6)), (Protocol::Opaque, Protocol::Tls));
    assert_eq!(after([&hello[..6]]).0, Observation::plain(Protocol::Tls, DetectedBy::ClientBytes));
}

#[test]
fn http2_is_known_from_the_prefaces_last_byte() {
    let protocol = |length: usize| after([&GRPC[..length]]).0.protocol;
    assert_eq!((protocol(23), protocol(24)), (Protocol::Opaque, Protocol::Http2));
    assert_eq!((protocol(GRPC.len() - 1), protocol(GRPC.len())), (Protocol::Http2, Protocol::Grpc));
}

#[test]
fn what_is_settled_stays() {
    for (bytes, ..) in CORPUS {
        let mut observer = Observer::inspecting();
        let mut settled = None;
        for byte in *bytes {
            client(&mut observer, &[*byte]);
            server(&mut observer, b"HTTP/1.1 200 OK\r\n\r\n");
            match &settled {
                Some(word) => assert_eq!(&observer.observation(), word),
                None if observer.is_known() => settled = Some(observer.observation()),
                None => {}
            }
        }
        client(&mut observer, b"GET / HTTP/1.1\r\n\r\n");
        assert!(settled.is_none_or(|word| word == observer.observation()));
    }
}

#[test]
fn settled_observers_hold_nothing_but_their_report() {
    for (bytes, ..) in CORPUS {
        let mut observer = Observer::inspecting();
        client(&mut observer, bytes);
        assert!(observer.wants_bytes() || observer.held() == 0, "{bytes:x?}");
    }
}

#[test]
fn a_server_that_speaks_first_makes_it_opaque_at_once() {
    let greetings: [&[u8]; 3] = [b"220 mail.test ESMTP\r\n", b"SSH-2.0-x\r\n", b"\x4a\x00\x00\x00\x0a8.0.36"];
    for greeting in greetings {
        let mut observer = Observer::inspecting();
        server(&mut observer, &greeting[..1]);
        assert!(observer.is_known());
        client(&mut observer, b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(observer.observation(), Observation::plain(Protocol::Opaque, DetectedBy::ServerFirst));
    }
}

#[test]
fn an_http2_server_that_speaks_first_is_still_http2() {
    for at in 0..=SERVER_SETTINGS.len() {
        let mut observer = Observer::inspecting();
        server(&mut observer, &SERVER_SETTINGS[..at]);
        let opaque = Observation::plain(
            Protocol::Opaque,
            if at == 0 { DetectedBy::Silent } else { DetectedBy::ServerFirst },
        );
        assert_eq!((observer.observation(), observer.is_known()), (opaque, false));
        client(&mut observer, &GRPC[..24]);
        server(&mut observer, &SERVER_SETTINGS[at..]);
        assert_eq!(observer.observation(), Observation::plain(Protocol::Http2, DetectedBy::ClientBytes));
        client(&mut observer, &GRPC[24..]);
        assert_eq!(observer.observation(), Observation::plain(Protocol::Grpc, DetectedBy::ClientBytes));
    }
}

#[test]
fn after_server_settings_only_the_preface_counts() {
    for (bytes, protocol, _) in CORPUS {
        let mut observer = Observer::inspecting();
        server(&mut observer, SERVER_SETTINGS);
        client(&mut observer, bytes);
        let expected = match protocol {
            Protocol::Http2 | Protocol::Grpc => Observation::plain(*protocol, DetectedBy::ClientBytes),
            Protocol::Http1 | Protocol::Tls | Protocol::Opaque => {
                Observation::plain(Protocol::Opaque, DetectedBy::ServerFirst)
            }
        };
        assert_eq!(observer.observation(), expected, "{bytes:x?}");
    }
}

#[test]
fn nobody_speaking_is_silent() {
    let mut observer = Observer::inspecting();
    client(&mut observer, &[]);
    server(&mut observer, &[]);
    assert_eq!(observer.observation(), Observation::plain(Protocol::Opaque, DetectedBy::Silent));
    assert!(!observer.is_known());
}

#[test]
fn what_is_not_inspected_is_opaque_by_config() {
    let mut observer = Observer::not_inspecting();
    assert!(observer.is_known());
    client(&mut observer, GRPC);
    server(&mut observer, SERVER_SETTINGS);
    assert_eq!(observer.observation(), Observation::plain(Protocol::Opaque, DetectedBy::Config));
}

#[test]
fn an_observer_is_small() {
    assert!(size_of::<Observer>() <= 48, "{} bytes", size_of::<Observer>());
}

proptest! {
    #[test]
    fn any_segmentation_says_the_same(flight in 0..CORPUS.len(), lengths in prop::collection::vec(0..200_usize, 0..60)) {
        let bytes = CORPUS[flight].0;
        prop_assert_eq!(after(cut(bytes, &lengths)), after([bytes]));
    }

    #[test]
    fn a_corrupted_flight_never_panics_and_says_the_same_however_cut(
        flight in 0..CORPUS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        lengths in prop::collection::vec(0..200_usize, 0..60),
    ) {
        let mut bytes = CORPUS[flight].0.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(after(cut(&bytes, &lengths)), after([&bytes[..]]));
    }

    #[test]
    fn random_bytes_never_panic(
        start in prop::sample::select(vec![&b""[..], b"\x16\x03\x01\x40\x00\x01\x00\x40\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET "]),
        bytes in prop::collection::vec(any::<u8>(), 0..20_000),
        lengths in prop::collection::vec(0..2000_usize, 0..60),
        greeting in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let flight = [start, &bytes].concat();
        prop_assert_eq!(after(cut(&flight, &lengths)), after([&flight[..]]));
        let mut observer = Observer::inspecting();
        server(&mut observer, &greeting);
        client(&mut observer, &flight);
    }
}
