//! What is held, and what is too much.

use super::{
    super::{
        super::{MAX_HELD, TraceContext},
        Http1,
        fields::MAX_HEAD,
        pending::{MAX_DETAILS, MAX_OPEN, MAX_TEXTS, Open},
    },
    Client, Followed, Server, Turn,
};

/// What is told of these bytes after a first request, whole and in pieces.
fn told(turn: Turn, bytes: &[u8]) -> Vec<String> {
    let follow = |length: usize| {
        let mut followed = Followed::new();
        followed.turn(Client(b""), [&b"GET / HTTP/1.1\r\n\r\n"[..]]);
        followed.turn(turn, bytes.chunks(length));
        followed.told().split_off(1)
    };
    let whole = follow(bytes.len());
    assert_eq!(follow(1), whole);
    assert_eq!(follow(1000), whole);
    whole
}

#[test]
fn a_connection_is_small() {
    assert!(size_of::<Http1>() <= 1536, "{} bytes", size_of::<Http1>());
    assert!(
        MAX_OPEN * size_of::<Open>() + MAX_TEXTS + MAX_DETAILS + 1024 <= MAX_HELD,
        "{} bytes",
        size_of::<Open>()
    );
}

#[test]
fn a_head_of_64_kib_is_followed_and_one_byte_more_is_not() {
    for (turn, start, complete, lost) in [
        (
            Client(b""),
            &b"GET / HTTP/1.1\r\nHost: a\r\nX: "[..],
            "> GET HTTP/1.1 a /",
            &["< GET - 0 Cut", "lost head-too-large 0"][..],
        ),
        (
            Server(b""),
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ",
            "< GET 200 0",
            &["lost head-too-large 1"],
        ),
    ] {
        let mut head = start.to_vec();
        head.resize(MAX_HEAD - 4, b'x');
        assert_eq!(told(turn, &[&head, &b"\r\n\r\n"[..]].concat())[0], complete);
        assert_eq!(told(turn, &[&head, &b"x\r\n\r\n"[..]].concat()), lost);
    }
}

#[test]
fn a_head_without_an_end_is_too_large_wherever_it_is() {
    let endless = vec![b'x'; MAX_HEAD + 1];
    let lines = b"a: b\r\n".repeat(MAX_HEAD / 6 + 1);
    for (turn, start, rest) in [
        (Client(b""), "GET /", &endless),
        (Client(b""), "GET / HTTP/1.1\r\n", &endless),
        (Client(b""), "GET / HTTP/1.1\r\n", &lines),
        (Client(b""), "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", &lines),
        (Server(b""), "HTTP/1.1 200 ", &endless),
        (Server(b""), "HTTP/1.1 200 OK\r\nX: ", &endless),
        (Server(b""), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", &lines),
    ] {
        let told = told(turn, &[start.as_bytes(), rest].concat());
        assert!(told.last().unwrap().starts_with("lost head-too-large"), "{start:?}: {told:?}");
    }
}

#[test]
fn a_framing_that_is_too_long_to_keep_is_malformed() {
    let ones = "1, ".repeat(100);
    let lengths = format!("POST / HTTP/1.1\r\nContent-Length: {ones}1\r\n\r\n");
    assert_eq!(told(Client(b""), lengths.as_bytes()), ["< GET - 0 Cut", "lost malformed-http1 0"]);
    let codings = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {}chunked\r\n\r\n", "gzip, ".repeat(30));
    assert_eq!(told(Server(b""), codings.as_bytes()), ["lost malformed-http1 1"]);
}

#[test]
fn so_many_requests_are_kept_open_and_no_more() {
    let heads = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(MAX_OPEN);
    let told = told(Client(b""), &heads);
    assert_eq!(told.len(), MAX_OPEN);
    assert_eq!(told.last().unwrap(), "lost too-many-requests 128");
}

#[test]
fn so_much_text_is_kept_open_and_no_more() {
    let heads: Vec<u8> = (0..MAX_OPEN - 2)
        .flat_map(|index| {
            let text = "t".repeat(200);
            format!("GET /{text} HTTP/1.1\r\nHost: {index}{text}\r\nUpgrade: {text}\r\n\r\n").into_bytes()
        })
        .collect();
    let told = told(Client(b""), &heads);
    assert!(told.len() > 8);
    assert!(told.last().unwrap().starts_with("lost memory-bound"));
}

#[test]
fn targets_and_traces_that_have_no_room_are_left_out_and_nothing_is_lost() {
    let target = "t".repeat(200);
    let parent = "00-000000000000000000000000000000ab-00f067aa0ba902b7-01";
    let head = format!("GET /{target} HTTP/1.1\r\nHost: a\r\ntraceparent: {parent}\r\n\r\n");
    let mut followed = Followed::new();
    for _ in 0..2 {
        followed.turn(Client(b""), [head.repeat(MAX_OPEN).as_bytes()]);
        followed.turn(Server(b""), [&b"HTTP/1.1 204 No Content\r\n\r\n".repeat(MAX_OPEN)[..]]);
    }
    let told = followed.told();
    assert_eq!(told.len(), 4 * MAX_OPEN);
    let whole = told.iter().filter(|line| line.ends_with("trace=ab")).count();
    let without = told.iter().filter(|line| *line == "> GET HTTP/1.1 a -").count();
    assert_eq!(whole + without, 2 * MAX_OPEN);
    assert_eq!(whole, 2 * (MAX_DETAILS / (2 * size_of::<usize>() + 201 + size_of::<TraceContext>())));
}

#[test]
fn texts_are_released_with_their_requests() {
    let mut followed = Followed::new();
    for index in 0..1000 {
        let head = format!("GET /{} HTTP/1.1\r\nHost: {index}\r\n\r\n", "t".repeat(300));
        followed.turn(Client(b""), [head.as_bytes()]);
        followed.turn(Server(b""), [&b"HTTP/1.1 204 No Content\r\n\r\n"[..]]);
    }
    assert!(followed.http1.held() < 1024, "{}", followed.http1.held());
    assert_eq!(followed.told().len(), 2000);
}

#[test]
fn a_slow_head_holds_nothing() {
    let mut followed = Followed::new();
    followed.turn(Client(b""), [&b"GET / HTTP/1.1\r\n"[..]]);
    for _ in 0..1000 {
        followed.turn(Client(b""), [&b"X-Slow: loris and more\r\n"[..], b"Cookie: 0123456789"]);
        followed.turn(Client(b""), [&b"\r\n"[..]]);
        assert_eq!(followed.http1.held(), 0);
    }
}
