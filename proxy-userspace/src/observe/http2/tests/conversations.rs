//! Whole conversations, and what is told of them.

use proptest::prelude::*;

use super::*;

/// Conversations, and what is told of each. The first two steps are the openings.
fn corpus() -> Vec<(&'static str, Steps, Vec<&'static str>)> {
    let message = [0, 0, 0, 0, 2, b'h', b'i'];
    let insert = |name: &str, value: &str| {
        let mut field = block(&[(name, value)]);
        field[0] = 0x40;
        field
    };
    vec![
        (
            "a GET and its answer",
            opened([
                (Client, get(1)),
                (Server, [ok(END_HEADERS, 1), frame(DATA, 0, 1, b"hel")].concat()),
                (Server, frame(DATA, END_STREAM, 1, b"lo")),
            ]),
            vec!["request GET Http a.test -", "complete GET Http a.test -: 200 grpc - 5 bytes 2/2/3/4"],
        ),
        (
            "a POST with padding, priority, continuations and trailers",
            opened([
                (
                    Client,
                    [
                        frame(HEADERS, PADDED | PRIORITY, 1, &[2, 0, 0, 0, 0, 15, 0x83, 0, 0]),
                        frame(CONTINUATION, 0, 1, &[]),
                        frame(CONTINUATION, 0, 1, &[0x86]),
                        frame(CONTINUATION, END_HEADERS, 1, &[0x84]),
                        frame(DATA, PADDED, 1, &[3, b'x', 0, 0, 0]),
                    ]
                    .concat(),
                ),
                (Client, headers(WHOLE, 1, &[("x-checksum", "1")])),
                (Server, frame(HEADERS, WHOLE | PADDED, 1, &[1, 0x89, 0])),
            ]),
            vec!["request POST Http - -", "complete POST Http - -: 204 grpc - 0 bytes 2/3/4/4"],
        ),
        (
            "a call",
            opened([
                (Client, [call(1, "/s.S/M"), frame(DATA, END_STREAM, 1, &message)].concat()),
                (Server, [ok(END_HEADERS, 1), frame(DATA, 0, 1, &message)].concat()),
                (Server, headers(WHOLE, 1, &[("grpc-status", "0"), ("grpc-message", "")])),
            ]),
            vec![
                "request POST Grpc b.test /s.S/M",
                "complete POST Grpc b.test /s.S/M: 200 grpc 0 7 bytes 2/2/3/4",
            ],
        ),
        (
            "a call answered with trailers alone, and one with neither status nor body",
            opened([
                (Client, [call(1, "/s.S/M"), call(3, "/s.S/N")].concat()),
                (Server, frame(HEADERS, WHOLE, 1, &[&[0x88][..], &block(&[("grpc-status", "12")])].concat())),
                (Server, frame(HEADERS, WHOLE, 3, &[0x88])),
                (Client, [frame(DATA, END_STREAM, 3, &[]), frame(DATA, END_STREAM, 1, &message)].concat()),
            ]),
            vec![
                "request POST Grpc b.test /s.S/M",
                "request POST Grpc b.test /s.S/N",
                "complete POST Grpc b.test /s.S/N: 200 grpc - 0 bytes 2/5/4/4",
                "complete POST Grpc b.test /s.S/M: 200 grpc 12 0 bytes 2/5/3/3",
            ],
        ),
        (
            "streams that are interleaved",
            opened([
                (Client, [get(1), call(3, "/s.S/Chat"), get(5)].concat()),
                (Server, [ok(END_HEADERS, 5), ok(END_HEADERS, 3), frame(DATA, 0, 3, &message)].concat()),
                (Client, frame(DATA, 0, 3, &message)),
                (Server, [frame(DATA, END_STREAM, 5, b"5"), ok(WHOLE, 1)].concat()),
                (Server, frame(DATA, 0, 3, &message)),
                (Client, frame(DATA, END_STREAM, 3, &[])),
                (Server, headers(WHOLE, 3, &[("grpc-status", "0")])),
            ]),
            vec![
                "request GET Http a.test -",
                "request POST Grpc b.test /s.S/Chat",
                "request GET Http a.test -",
                "complete GET Http a.test -: 200 grpc - 1 bytes 2/2/3/5",
                "complete GET Http a.test -: 200 grpc - 0 bytes 2/2/5/5",
                "complete POST Grpc b.test /s.S/Chat: 200 grpc 0 14 bytes 2/7/3/8",
            ],
        ),
        (
            "heads before the final one",
            opened([
                (Client, get(1)),
                (Server, headers(END_HEADERS, 1, &[(":status", "100")])),
                (Server, headers(END_HEADERS, 1, &[(":status", "103"), ("grpc-status", "1")])),
                (Server, frame(HEADERS, WHOLE, 1, &[0x8d])),
            ]),
            vec!["request GET Http a.test -", "complete GET Http a.test -: 404 grpc - 0 bytes 2/2/5/5"],
        ),
        (
            "streams that become something else",
            opened([
                (
                    Client,
                    [
                        headers(END_HEADERS, 1, &[(":method", "CONNECT"), (":protocol", "WebSocket")]),
                        headers(END_HEADERS, 3, &[(":method", "CONNECT"), (":authority", "c.test:80")]),
                        headers(END_HEADERS, 5, &[(":method", "CONNECT")]),
                    ]
                    .concat(),
                ),
                (
                    Server,
                    [ok(END_HEADERS, 1), ok(END_HEADERS, 3), frame(HEADERS, WHOLE, 5, &[0x8d])].concat(),
                ),
                (Server, frame(DATA, 0, 1, b"frames")),
                (Client, [frame(DATA, END_STREAM, 1, b"x"), frame(RST_STREAM, 0, 3, &[0; 4])].concat()),
                (Server, frame(DATA, END_STREAM, 1, b"bye")),
            ]),
            vec![
                "request CONNECT Http - -",
                "request CONNECT Http c.test:80 -",
                "request CONNECT Http - -",
                "upgraded websocket",
                "upgraded connect",
                "client-reset CONNECT Http c.test:80 -: 200 grpc - 0 bytes 2/-/3/5",
                "complete CONNECT Http - -: 200 grpc - 9 bytes 2/5/3/6",
                "complete CONNECT Http - -: 404 grpc - 0 bytes 2/-/3/3",
            ],
        ),
        (
            "streams that are reset",
            opened([
                (Client, [get(1), get(3), call(5, "/s.S/M"), call(7, "/s.S/M")].concat()),
                (Client, frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
                (Server, [frame(RST_STREAM, 0, 3, &[0, 0, 0, 7]), ok(WHOLE, 5), ok(WHOLE, 7)].concat()),
                (Server, frame(RST_STREAM, 0, 5, &[0; 4])),
                (Client, frame(RST_STREAM, 0, 7, &[0, 0, 0, 8])),
                // What was on its way.
                (Server, [ok(END_HEADERS, 1), frame(DATA, END_STREAM, 1, b"late")].concat()),
                (Client, [frame(DATA, END_STREAM, 5, b"late"), frame(RST_STREAM, 0, 5, &[0; 4])].concat()),
            ]),
            vec![
                "request GET Http a.test -",
                "request GET Http a.test -",
                "request POST Grpc b.test /s.S/M",
                "request POST Grpc b.test /s.S/M",
                "client-reset GET Http a.test -: - grpc - 0 bytes 2/2/-/3",
                "server-reset GET Http a.test -: - grpc - 0 bytes 2/2/-/4",
                "complete POST Grpc b.test /s.S/M: 200 grpc - 0 bytes 2/-/4/4",
                "complete POST Grpc b.test /s.S/M: 200 grpc - 0 bytes 2/-/4/4",
            ],
        ),
        (
            "a promise, whose block the table remembers",
            opened([
                (Client, [frame(PRIORITY_FRAME, 0, 9, &[0; 5]), get(1)].concat()),
                (
                    Server,
                    [
                        frame(
                            PUSH_PROMISE,
                            PADDED,
                            1,
                            &[&[1, 0, 0, 0, 2, 0x82][..], &insert(":status", "418"), &[0]].concat(),
                        ),
                        frame(CONTINUATION, END_HEADERS, 1, &insert("grpc-status", "7")),
                        frame(HEADERS, WHOLE, 2, &[0x88]),
                        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 4, 0x82]),
                        ok(END_HEADERS, 4),
                        frame(DATA, END_STREAM, 4, b"unasked"),
                    ]
                    .concat(),
                ),
                (Client, frame(RST_STREAM, 0, 4, &[0, 0, 0, 8])),
                (Server, frame(HEADERS, WHOLE, 1, &[0xbf, 0xbe])),
            ]),
            vec!["request GET Http a.test -", "complete GET Http a.test -: 418 grpc 7 0 bytes 2/2/5/5"],
        ),
        (
            "frames that say nothing here",
            opened([
                (
                    Client,
                    [
                        frame(SETTINGS, 1, 0, &[]),
                        frame(PING, 0, 0, &[0; 8]),
                        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
                        frame(0xfa, 0xff, 77, b"greased"),
                        get(1),
                    ]
                    .concat(),
                ),
                (
                    Server,
                    [
                        frame(GOAWAY, 0, 0, &[0; 12]),
                        frame(WINDOW_UPDATE, 0, 3, &[0, 0, 1, 0]),
                        frame(0xfb, 0, 0, &[]),
                        ok(END_HEADERS, 1),
                        frame(DATA, END_STREAM, 1, &[0; 300]),
                    ]
                    .concat(),
                ),
            ]),
            vec!["request GET Http a.test -", "complete GET Http a.test -: 200 grpc - 300 bytes 2/2/3/3"],
        ),
        (
            "a connection that ends with streams open",
            opened([
                (Client, [get(1), call(3, "/s.S/M"), get(5), call(7, "")].concat()),
                (Server, [&ok(END_HEADERS, 5)[..], &frame(DATA, 0, 5, &[0; 9])[..12]].concat()),
                (Server, [&[0; 6][..], &ok(WHOLE, 3)].concat()),
            ]),
            vec![
                "request GET Http a.test -",
                "request POST Grpc b.test /s.S/M",
                "request GET Http a.test -",
                "request POST Grpc b.test -",
                "cut GET Http a.test -: - grpc - 0 bytes 2/2/-/5",
                "complete POST Grpc b.test /s.S/M: 200 grpc - 0 bytes 2/-/4/4",
                "cut GET Http a.test -: 200 grpc - 9 bytes 2/2/3/5",
                "cut POST Grpc b.test -: - grpc - 0 bytes 2/-/-/5",
            ],
        ),
    ]
}

/// Pieces of `bytes`, their lengths taken from `lengths` in turn.
fn cut<'a>(mut bytes: &'a [u8], lengths: &mut impl Iterator<Item = usize>) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(lengths.next().unwrap_or(bytes.len()).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// What is learnt from the steps, cut so.
fn follow_cut<'a>(
    steps: &'a [(Side, Vec<u8>)],
    pieces: impl FnMut(&'a [u8]) -> Vec<&'a [u8]>,
) -> Vec<String> {
    follow_from(Http2::new(), Recorder::new(false), steps, pieces)
}

#[test]
fn conversations_are_told_as_they_were() {
    for (name, steps, told) in corpus() {
        assert_eq!(follow(&steps), told, "{name}");
    }
}

#[test]
fn every_conversation_byte_by_byte_is_told_the_same() {
    for (name, steps, told) in corpus() {
        assert_eq!(follow_cut(&steps, |bytes| bytes.chunks(1).collect()), told, "{name}");
    }
}

#[test]
fn every_conversation_cut_in_two_anywhere_is_told_the_same() {
    for (name, steps, told) in corpus() {
        let longest = steps.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
        for at in 0..longest {
            let pieces = |bytes| cut(bytes, &mut [at].into_iter());
            assert_eq!(follow_cut(&steps, pieces), told, "{name}, cut at {at}");
        }
    }
}

#[test]
fn what_details_cost_is_kept_where_they_are_wanted() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let fields = [(":method", "GET"), (":path", "/a?b"), ("traceparent", parent)];
    let several =
        [("x-b3-spanid", "00f067aa0ba902b7"), ("x-b3-traceid", "a3ce929d0e0e4736"), ("x-b3-sampled", "0")];
    let steps = opened([(Client, [headers(WHOLE, 1, &fields), headers(WHOLE, 3, &several)].concat())]);
    let told = follow_from(Http2::new(), Recorder::new(true), &steps, |bytes| vec![bytes]);
    assert_eq!(told[..2], ["request GET Http - /a?b traced(true)", "request other Http - - traced(false)"]);
    assert_eq!(follow(&steps)[..2], ["request GET Http - -", "request other Http - -"]);
}

#[test]
fn requests_of_one_method_and_authority_share_them() {
    let mut http2 = Http2::new();
    let mut recorder = Recorder::new(false);
    let now = recorder.start;
    let bytes = [OPENING, &call(1, "/s.S/M"), &call(3, "/s.S/N"), &call(5, "/s.S/M")].concat();
    assert!(http2.client_bytes(&bytes, now, &mut recorder).is_ok());
    let request = |http2: &mut Http2, id| http2.streams.get_mut(id).unwrap().request.clone();
    let (first, other, again) = (request(&mut http2, 1), request(&mut http2, 3), request(&mut http2, 5));
    let same =
        |a: &Request, b: &Request| std::ptr::eq(&**a.target.as_ref().unwrap(), &**b.target.as_ref().unwrap());
    assert!(same(&first, &again) && !same(&first, &other));
    assert!(std::ptr::eq(&**first.authority.as_ref().unwrap(), &**other.authority.as_ref().unwrap()));
    assert_eq!(first.rpc(), Some(("s.S", "M")));
}

#[test]
fn no_part_of_a_password_is_taken_for_an_authority() {
    // 261 is 127 + 6 + 128, the least that is too long.
    let authority = format!("user:{}", "s".repeat(256));
    let field = [&[0x01, 0x7f, 0x86, 0x01][..], authority.as_bytes()].concat();
    let too_long = frame(HEADERS, WHOLE, 1, &[&[0x82, 0x86, 0x84][..], &field].concat());
    assert_eq!(follow(&opened([(Client, too_long)]))[0], "request GET Http ? -");
    let field = [&[0x01, 0x7f, 0x85, 0x01][..], &authority.as_bytes()[1..]].concat();
    let longest = frame(HEADERS, WHOLE, 1, &[&[0x82, 0x86, 0x84][..], &field].concat());
    assert_eq!(follow(&opened([(Client, longest)]))[0], format!("request GET Http {} -", &authority[1..]));
}

#[test]
fn an_upgrade_goes_on_with_its_request_as_stream_1() {
    let recorder = Recorder::new(false);
    let request = Request {
        version: crate::observe::Version::Http2,
        method: Method::Get,
        kind: Kind::Http,
        authority: None,
        target: None,
        trace: None,
    };
    let http2 = Http2::upgraded(request, recorder.start, recorder.start);
    assert_eq!((http2.is_http(), http2.is_grpc(), http2.open()), (true, Some(false), 1));
    let steps = [
        (Server, [SERVER_SETTINGS, &ok(END_HEADERS, 1)].concat()),
        (Client, OPENING[..10].to_vec()),
        (Server, frame(DATA, END_STREAM, 1, b"x")),
        (Client, [&OPENING[10..], &get(3)].concat()),
        (Server, ok(WHOLE, 3)),
    ];
    let told = [
        "complete GET Http - -: 200 grpc - 1 bytes 0/0/0/2",
        "request GET Http a.test -",
        "complete GET Http a.test -: 200 grpc - 0 bytes 3/3/4/4",
    ];
    assert_eq!(follow_from(http2, recorder, &steps, |bytes| bytes.chunks(1).collect()), told);
}

proptest! {
    #[test]
    fn any_segmentation_is_told_the_same(at in 0..11_usize, lengths in prop::collection::vec(0..40_usize, 0..80)) {
        let (_, steps, told) = corpus().swap_remove(at);
        let mut lengths = lengths.into_iter();
        prop_assert_eq!(follow_cut(&steps, |bytes| cut(bytes, &mut lengths)), told);
    }

    #[test]
    fn what_is_corrupted_never_panics_and_is_told_the_same_however_cut(
        at in 0..11_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..5),
        lengths in prop::collection::vec(0..40_usize, 0..80),
    ) {
        let (_, mut steps, _) = corpus().swap_remove(at);
        for (step, at, byte) in changes {
            let bytes = &mut step.get_mut(&mut steps[2..]).1;
            *at.get_mut(bytes) = byte;
        }
        let mut lengths = lengths.into_iter();
        prop_assert_eq!(follow_cut(&steps, |bytes| cut(bytes, &mut lengths)), follow(&steps));
    }

    #[test]
    fn random_frames_never_panic_and_are_told_the_same_however_cut(
        frames in prop::collection::vec(
            (any::<bool>(), 0..11_u8, any::<u8>(), 0..8_u32, prop::collection::vec(any::<u8>(), 0..60)),
            0..40,
        ),
        lengths in prop::collection::vec(0..40_usize, 0..80),
    ) {
        let steps = opened(frames.into_iter().map(|(by_client, kind, flags, stream, payload)| {
            (if by_client { Client } else { Server }, frame(kind, flags, stream, &payload))
        }));
        let mut lengths = lengths.into_iter();
        prop_assert_eq!(follow_cut(&steps, |bytes| cut(bytes, &mut lengths)), follow(&steps));
    }
}
