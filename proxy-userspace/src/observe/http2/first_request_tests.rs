//! Tests of the HTTP/2 automata: frames written by hand.

use super::*;

/// Priority, as in HEADERS.
const SOME_PRIORITY: [u8; 5] = [0, 0, 0, 0, 15];

/// A frame.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A header block with this content type.
fn block(content_type: &str) -> Vec<u8> {
    [&[0x83, 0x86, 0x84, 0x0f, 16, u8::try_from(content_type.len()).unwrap()], content_type.as_bytes()]
        .concat()
}

/// Follows the frames from the start.
fn follow(frames: &[&[u8]]) -> Option<Protocol> {
    FirstRequest::default().watch(&frames.concat())
}

/// The block of a gRPC request.
fn grpc() -> Vec<u8> {
    block("application/grpc+proto")
}

#[test]
fn the_first_request_tells() {
    let settings = frame(SETTINGS, 0, 0, &[0; 12]);
    assert_eq!(follow(&[&settings]), None);
    assert_eq!(follow(&[&settings, &frame(HEADERS, END_HEADERS, 1, &grpc())]), Some(Protocol::Grpc));
    let (web, text) = (block("application/grpc-web"), block("text/plain"));
    assert_eq!(follow(&[&settings, &frame(HEADERS, END_HEADERS, 1, &web)]), Some(Protocol::Http2));
    let second = frame(HEADERS, END_HEADERS, 3, &grpc());
    assert_eq!(follow(&[&frame(HEADERS, END_HEADERS, 1, &text), &second]), Some(Protocol::Http2));
}

#[test]
fn padding_and_priority_are_left_out() {
    let padded = [&[7][..], &grpc(), &[0; 7]].concat();
    let ranked = [&SOME_PRIORITY[..], &grpc()].concat();
    let both = [&[2][..], &SOME_PRIORITY, &grpc(), &[0; 2]].concat();
    for (flags, payload) in [(PADDED, padded), (PRIORITY, ranked), (PADDED | PRIORITY, both)] {
        assert_eq!(follow(&[&frame(HEADERS, END_HEADERS | flags, 1, &payload)]), Some(Protocol::Grpc));
    }
}

#[test]
fn a_block_goes_on_in_continuations() {
    let block = grpc();
    let (head, tail) = block.split_at(9);
    let padded = frame(HEADERS, PADDED, 1, &[&[3][..], head, &[0; 3]].concat());
    let empty = frame(CONTINUATION, 0, 1, &[]);
    assert_eq!(follow(&[&padded, &empty]), None);
    let last = frame(CONTINUATION, END_HEADERS, 1, tail);
    assert_eq!(follow(&[&padded, &empty, &last]), Some(Protocol::Grpc));
    let each: Vec<u8> = block.iter().flat_map(|byte| frame(CONTINUATION, 0, 1, &[*byte])).collect();
    let end = frame(CONTINUATION, END_HEADERS, 1, &[]);
    assert_eq!(follow(&[&frame(HEADERS, 0, 1, &[]), &each, &end]), Some(Protocol::Grpc));
}

#[test]
fn frames_against_the_rules_settle_as_http2() {
    let open = frame(HEADERS, 0, 1, &[0x83]);
    for frames in [
        frame(HEADERS, END_HEADERS, 0, &grpc()),
        frame(DATA, 0, 1, b"x"),
        frame(CONTINUATION, END_HEADERS, 1, &grpc()),
        frame(HEADERS, END_HEADERS | PADDED, 1, &[]),
        frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 0x83]),
        frame(HEADERS, END_HEADERS | PRIORITY, 1, &[0; 4]),
        frame(HEADERS, END_HEADERS, 1, &[0xff]),
        // More padding than payload, with the byte that it lacks.
        [&frame(HEADERS, PADDED, 1, &[1])[..], &[0], &frame(CONTINUATION, END_HEADERS, 1, &grpc())].concat(),
        [&open[..], &frame(SETTINGS, 0, 0, &[])].concat(),
        [&open[..], &frame(CONTINUATION, END_HEADERS, 3, &grpc())].concat(),
    ] {
        assert_eq!(follow(&[&frames]), Some(Protocol::Http2), "{frames:x?}");
    }
}

#[test]
fn an_oversized_block_settles_as_http2_before_it_is_held() {
    let header = &frame(HEADERS, 0, 1, &vec![0; MAX_BLOCK])[..FRAME_HEADER];
    assert_eq!(follow(&[header]), None);
    assert_eq!(
        follow(&[&frame(HEADERS, 0, 1, &vec![0; MAX_BLOCK + 1])[..FRAME_HEADER]]),
        Some(Protocol::Http2)
    );
    let mut request = FirstRequest::default();
    assert_eq!(request.watch(&frame(HEADERS, 0, 1, &[0])), None);
    for _ in 1..MAX_BLOCK {
        assert_eq!(request.watch(&frame(CONTINUATION, 0, 1, &[0])), None);
        assert!(request.held() <= MAX_BLOCK);
    }
    assert_eq!(request.watch(&frame(CONTINUATION, 0, 1, &[0])), Some(Protocol::Http2));
}

#[test]
fn what_opens_a_servers_side_is_told_from_other_greetings() {
    // nghttpd, Node, and gRPC's C core, as seen when nothing was sent to them.
    for header in [[0, 0, 6, 4, 0, 0, 0, 0, 0], [0, 0, 0, 4, 0, 0, 0, 0, 0], [0, 0, 24, 4, 0, 0, 0, 0, 0]] {
        for cut in 0..=header.len() {
            let (head, tail) = header.split_at(cut);
            let mut settings = ServerSettings::default();
            assert!(settings.watch(head) && settings.watch(tail) && settings.watch(b"anything"));
        }
    }
    for greeting in [
        &b"220 mail.test ESMTP\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x4a\x00\x00\x00\x0a8.0.36\x00",
        b"\x00\x00\x06\x04\x01",
        b"\x00\x00\x09",
        b"\x00\x00\x06\x03\x00",
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x01",
    ] {
        assert!(!ServerSettings::default().watch(greeting), "{greeting:x?}");
    }
}
