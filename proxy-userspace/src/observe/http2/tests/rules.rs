//! What breaks the rules, and what is beyond the bounds.

use super::*;

/// What is learnt last from a conversation that has opened, after the client's frames and the server's.
fn last(client: &[u8], server: &[u8]) -> String {
    follow(&opened([(Client, client.to_vec()), (Server, server.to_vec())])).pop().unwrap_or_default()
}

#[test]
fn what_breaks_the_rules_is_followed_no_further() {
    let open = frame(HEADERS, 0, 1, &[0x82]);
    for client in [
        frame(DATA, 0, 1, b"idle"),
        frame(DATA, 0, 0, b""),
        frame(DATA, 0, 2, b"the server's"),
        frame(HEADERS, END_HEADERS, 0, &[0x82]),
        frame(HEADERS, END_HEADERS, 2, &[0x82]),
        frame(HEADERS, END_HEADERS | PADDED, 1, &[]),
        frame(HEADERS, END_HEADERS | PADDED, 1, &[2, 0x82]),
        frame(HEADERS, END_HEADERS | PRIORITY, 1, &[0; 4]),
        frame(RST_STREAM, 0, 1, &[0; 4]),
        frame(RST_STREAM, 0, 0, &[0; 4]),
        frame(RST_STREAM, 0, 1, &[0; 5]),
        frame(CONTINUATION, END_HEADERS, 1, &[0x82]),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
        [&open[..], &frame(SETTINGS, 0, 0, &[])].concat(),
        [&open[..], &frame(CONTINUATION, END_HEADERS, 3, &[])].concat(),
        [&open[..], &get(3)].concat(),
    ] {
        assert_eq!(last(&client, &[]), "lost malformed-http2 0", "{client:x?}");
    }
    for server in [
        frame(DATA, 0, 3, b"idle"),
        frame(DATA, 0, 2, b"idle"),
        frame(HEADERS, END_HEADERS, 2, &[0x88]),
        frame(RST_STREAM, 0, 3, &[0; 4]),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0]),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 3, 0x82]),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 0, 0x82]),
        frame(PUSH_PROMISE, END_HEADERS, 3, &[0, 0, 0, 2, 0x82]),
    ] {
        assert_eq!(last(&get(1), &server), "lost malformed-http2 1", "{server:x?}");
    }
    assert_eq!(last(&get(1), &frame(HEADERS, END_HEADERS, 3, &[0x88])), "lost unasked-response 1");
    assert_eq!(last(&get(1), &frame(HEADERS, END_HEADERS, 1, &[0xff])), "lost malformed-hpack 1");
    assert_eq!(last(&frame(HEADERS, END_HEADERS, 1, &[0xbe]), &[]), "lost malformed-hpack 0");
}

#[test]
fn answered_exchanges_are_told_before_the_connection_is_lost() {
    let steps = [
        (Client, [call(1, "/a/b"), get(3), call(5, "/a/c")].concat()),
        (Server, [ok(WHOLE, 1), ok(END_HEADERS, 3), ok(WHOLE, 5)].concat()),
        (Client, frame(DATA, 0, 0, b"")),
    ];
    let told = [
        "complete POST Grpc b.test /a/b: 200 grpc - 0 bytes 2/-/3/3",
        "complete POST Grpc b.test /a/c: 200 grpc - 0 bytes 2/-/3/3",
        "lost malformed-http2 1",
    ];
    assert_eq!(follow(&opened(steps))[3..], told);
}

#[test]
fn a_table_that_is_too_large_is_followed_no_further() {
    let resize = |size: &[u8]| frame(HEADERS, WHOLE, 1, &[&[0x3f][..], size, &[0x82]].concat());
    assert_eq!(last(&resize(&[0xe1, 0xff, 0x03]), &ok(WHOLE, 1))[..8], *"complete");
    assert_eq!(last(&resize(&[0xe2, 0xff, 0x03]), &[]), "lost table-too-large 0");
}

#[test]
fn numbers_that_are_not_in_order_belong_to_streams_that_have_ended() {
    let told = follow(&opened([(Client, [get(5), get(3), get(1)].concat()), (Server, ok(WHOLE, 5))]));
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_header_block_that_is_too_large_is_seen_before_it_is_held() {
    let announced = frame(HEADERS, 0, 1, &vec![0; MAX_BLOCK + 1]);
    assert_eq!(last(&announced[..9], &[]), "lost head-too-large 0");
    let (padding, block) = ([200; 1], [0x82; MAX_BLOCK]);
    let largest = frame(HEADERS, WHOLE | PADDED, 1, &[&padding[..], &block, &[0; 200]].concat());
    assert_eq!(last(&largest, &ok(WHOLE, 1))[..8], *"complete");
    let mut http2 = Http2::new();
    let mut recorder = Recorder::new(false);
    let now = recorder.start;
    let start = [OPENING, &frame(HEADERS, 0, 1, &[0x82])].concat();
    assert!(http2.client_bytes(&start, now, &mut recorder).is_ok());
    for _ in 1..MAX_BLOCK {
        assert!(http2.client_bytes(&frame(CONTINUATION, 0, 1, &[0x82]), now, &mut recorder).is_ok());
        assert!(http2.client.held_now() <= MAX_BLOCK);
    }
    let stop = http2.client_bytes(&frame(CONTINUATION, 0, 1, &[0x82]), now, &mut recorder);
    assert!(matches!(stop, Err(Stop::Lost(Lost::HeadTooLarge))));
}

#[test]
fn a_cut_block_is_given_back_when_it_is_whole() {
    let mut http2 = Http2::new();
    let mut recorder = Recorder::new(false);
    let now = recorder.start;
    let bytes = [OPENING, &get(1)].concat();
    let (head, tail) = bytes.split_at(bytes.len() - 1);
    assert!(http2.client_bytes(head, now, &mut recorder).is_ok());
    assert!(http2.client.held_now() > 0);
    assert!(http2.client_bytes(tail, now, &mut recorder).is_ok());
    assert_eq!((http2.client.held(), http2.client.held_now(), http2.open()), (0, 0, 1));
}

#[test]
fn more_streams_than_are_kept_are_counted_and_the_connection_is_followed_on() {
    let id = |at: usize| u32::try_from(2 * at + 1).unwrap();
    let all: Vec<u8> = (0..MAX_OPEN).flat_map(|at| get(id(at))).collect();
    assert_eq!(follow(&opened([(Client, all.clone())])).len(), 2 * MAX_OPEN);

    // Ones that there is no room for, whatever becomes of them; their blocks change the tables all the same.
    let [one, other, third, next] = [0, 1, 2, 3].map(|more| id(MAX_OPEN + more));
    let insert = [&[0x40][..], &block(&[(":authority", "late.test")])[1..]].concat();
    let more = [
        frame(HEADERS, END_HEADERS, one, &[&[0x83][..], &insert].concat()),
        get(other),
        call(third, "/a/b"),
        frame(DATA, END_STREAM, one, b"body"),
        frame(RST_STREAM, 0, third, &[0; 4]),
    ];
    let insert = [&[0x40][..], &block(&[("grpc-status", "7")])[1..]].concat();
    let answers = [
        frame(HEADERS, END_HEADERS, one, &[&[0x88][..], &insert].concat()),
        frame(DATA, END_STREAM, one, b"body"),
        frame(RST_STREAM, 0, other, &[0; 4]),
        ok(WHOLE, 101),
    ];
    let told = follow(&opened([
        (Client, all),
        (Client, more.concat()),
        (Server, answers.concat()),
        (Client, frame(HEADERS, WHOLE, next, &[0x82, 0xbe])),
        (Server, frame(HEADERS, WHOLE, next, &[0x88, 0xbe])),
        (Client, frame(DATA, 0, id(MAX_OPEN + 4), b"idle")),
    ]));
    let expected = [
        "request POST Http late.test -",
        "untracked too-many-requests",
        "request GET Http a.test -",
        "untracked too-many-requests",
        "request POST Grpc b.test /a/b",
        "untracked too-many-requests",
        "complete GET Http a.test -: 200 grpc - 0 bytes 2/2/4/4",
        "request GET Http late.test -",
        "complete GET Http late.test -: 200 grpc 7 0 bytes 5/5/6/6",
        &format!("lost malformed-http2 {}", MAX_OPEN - 1),
    ];
    assert_eq!(told[MAX_OPEN..], expected);
}

#[test]
fn what_a_server_sends_behind_the_end_of_its_response_is_no_part_of_it() {
    let late = [ok(END_HEADERS, 1), frame(DATA, 0, 1, b"late")].concat();
    let told = follow(&opened([
        (Client, call(1, "/a/b")),
        (Server, frame(DATA, END_STREAM, 1, b"ab")),
        (Server, late),
        (Client, frame(DATA, END_STREAM, 1, b"")),
    ]));
    assert_eq!(told[1..], ["complete POST Grpc b.test /a/b: - grpc - 2 bytes 2/5/-/3"]);
}

#[test]
fn a_protocol_that_has_no_name_is_a_tunnel() {
    for (protocol, told) in [("", "connect"), ("a b", "connect"), ("WebSocket", "websocket")] {
        let connect = headers(END_HEADERS, 1, &[(":method", "CONNECT"), (":protocol", protocol)]);
        let told_of = follow(&opened([(Client, connect), (Server, ok(END_HEADERS, 1))]));
        assert_eq!(told_of[1], format!("upgraded {told}"));
    }
}

#[test]
fn before_the_preface_is_whole_it_may_be_another_protocol() {
    let server = |bytes: &[u8]| follow(&[(Server, bytes.to_vec())]);
    assert_eq!(follow(&[(Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_vec())]), ["other"]);
    assert_eq!(server(b"220 mail.test ESMTP\r\n"), ["other"]);
    assert_eq!(server(&[SERVER_SETTINGS, &ok(WHOLE, 1)].concat()), ["other"], "a response to nothing");
    assert!(server(&[SERVER_SETTINGS, &frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0])].concat()).is_empty());
}

#[test]
fn a_server_that_answers_in_another_protocol_is_followed_no_further() {
    let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let steps = [(Client, [OPENING, &get(1)].concat()), (Server, answer)];
    assert_eq!(follow(&steps).pop().unwrap(), "lost malformed-http2 1");
}

#[test]
fn the_first_request_tells_whether_it_is_grpc() {
    for (first, second, is_grpc) in [(call(1, "/a/b"), get(3), true), (get(1), call(3, "/a/b"), false)] {
        let mut http2 = Http2::new();
        let mut recorder = Recorder::new(false);
        let now = recorder.start;
        assert!(http2.client_bytes(OPENING, now, &mut recorder).is_ok());
        assert_eq!((http2.is_http(), http2.is_grpc()), (true, None));
        for frame in [first, second] {
            assert!(http2.client_bytes(&frame, now, &mut recorder).is_ok());
            assert_eq!(http2.is_grpc(), Some(is_grpc));
        }
    }
}
