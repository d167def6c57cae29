//! What a head says, and how it may be written.

use std::{sync::Arc, time::Instant};

use super::{
    super::super::exchange::UNREADABLE_AUTHORITY,
    End, Exchange, Http1, Listener, Lost, Record, Request, Scenario,
    Turn::{Client, Finish, Server},
    told_whole,
};

pub(super) const CORPUS: &[Scenario] = &[
    Scenario {
        name: "names in any case, values with whitespace around, lines that end in LF",
        turns: &[
            Client(b"POST /a HTTP/1.1\nhOST:\t a.test \t\nCONTENT-LENGTH:2 \n\nab"),
            Server(b"HTTP/1.1 200 OK\ncOnTeNt-LeNgTh:  1\t\n\nx"),
        ],
        told: &["> POST HTTP/1.1 a.test /a", "< POST 200 1"],
    },
    Scenario {
        name: "folded fields",
        turns: &[
            Client(b"POST /a HTTP/1.1\r\nHost:\r\n a.test\r\nX: y\r\n\tContent-Length: 9\r\nContent-Length: \r\n\t2\r\n\r\nab"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip,\r\n  chunked\r\n\r\n0\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 a.test /a", "< POST 200 5"],
    },
    Scenario {
        name: "a length in two lines",
        turns: &[Client(b"POST /a HTTP/1.1\r\nContent-Length: 1\r\n 2\r\n\r\n")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "an authority in two lines",
        turns: &[Client(b"GET /a HTTP/1.1\r\nHost: a \t\r\n \tb\r\n\r\n")],
        told: &["> GET HTTP/1.1 a b /a", "< GET - 0 Cut"],
    },
    Scenario {
        name: "empty lines before a request and before a response",
        turns: &[
            Client(b"\r\n\nGET /a HTTP/1.1\r\n\r\n"),
            Server(b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n"),
            Client(b"\r\nGET /b HTTP/1.1\r\n\r\n"),
            Server(b"\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /a", "< GET 200 0", "> GET HTTP/1.1 - /b", "< GET 200 0"],
    },
    Scenario {
        name: "a status line without a reason",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 204\r\n\r\nHTTP/1.0 999 \nContent-Length: 0\n\nHTTP/1.1 204\n\n"),
        ],
        told: &[
            "> GET HTTP/1.1 - /",
            "> GET HTTP/1.1 - /",
            "> GET HTTP/1.1 - /",
            "< GET 204 0",
            "< GET 999 0",
            "< GET 204 0",
        ],
    },
    Scenario {
        name: "targets that name an authority",
        turns: &[Client(
            b"GET http://a.test:80/x?y HTTP/1.1\r\nHost: b\r\n\r\nGET ws+unix://u:secret@[::1]:80?x HTTP/1.1\r\nHost: b\r\n\r\nOPTIONS HTTPS://c HTTP/1.1\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: d\r\nHost: e\r\n\r\nGET http:///x HTTP/1.1\r\nHost: f\r\n\r\nGET /http://g/ HTTP/1.1\r\nHost:\r\n\r\n",
        ), Finish],
        told: &[
            "> GET HTTP/1.1 a.test:80 http://a.test:80/x?y",
            "> GET HTTP/1.1 [::1]:80 ws+unix://u:secret@[::1]:80?x",
            "> OPTIONS HTTP/1.1 c HTTPS://c",
            "> OPTIONS HTTP/1.1 d *",
            "> GET HTTP/1.1 f http:///x",
            "> GET HTTP/1.1 - /http://g/",
            "< GET - 0 Cut",
            "< GET - 0 Cut",
            "< OPTIONS - 0 Cut",
            "< OPTIONS - 0 Cut",
            "< GET - 0 Cut",
            "< GET - 0 Cut",
        ],
    },
    Scenario {
        name: "traces",
        turns: &[
            Client(b"get /a HTTP/1.1\r\nTraceParent: 00-000000000000000000000000000000ab-00f067aa0ba902b7-01\r\nb3: 00000000000000cd-00f067aa0ba902b7-1\r\n\r\nGET /b HTTP/1.1\r\nX-B3-TraceId: 00000000000000ef\r\nX-B3-SpanId: 00f067aa0ba902b7\r\nX-B3-Sampled: 1\r\n\r\nGET /c HTTP/1.1\r\n\r\n"),
        ],
        told: &[
            "> other HTTP/1.1 - /a trace=ab",
            "> GET HTTP/1.1 - /b trace=ef",
            "> GET HTTP/1.1 - /c",
            "< other - 0 Cut",
            "< GET - 0 Cut",
            "< GET - 0 Cut",
        ],
    },
    Scenario {
        name: "what is no request, first of all",
        turns: &[Client(b"GET /a\r\n\r\n")],
        told: &["other"],
    },
    Scenario {
        name: "what is no request, later on",
        turns: &[Client(b"GET /a HTTP/1.1\r\n\r\nGET /a\r\n\r\n")],
        told: &["> GET HTTP/1.1 - /a", "< GET - 0 Cut", "lost malformed-http1 0"],
    },
    Scenario {
        name: "more empty lines between requests than before the first one",
        turns: &[Client(b"GET /a HTTP/1.1\r\n\r\n\r\n\n\r\nGET /b HTTP/1.1\r\n\r\n"), Finish],
        told: &["> GET HTTP/1.1 - /a", "> GET HTTP/1.1 - /b", "< GET - 0 Cut", "< GET - 0 Cut"],
    },
    Scenario {
        name: "a line without a colon",
        turns: &[Client(b"GET /a HTTP/1.1\r\nHost\r\n\r\n")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "a line without a name",
        turns: &[Client(b"GET /a HTTP/1.1\r\n: a\r\n\r\n")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "whitespace before the colon",
        turns: &[Client(b"GET /a HTTP/1.1\r\nContent-Length : 5\r\n\r\n")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "a fold of nothing",
        turns: &[Client(b"GET /a HTTP/1.1\r\n Host: a\r\n\r\n")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "a CR that ends no line",
        turns: &[Client(b"GET /a HTTP/1.1\r\n\rHost: a\r\n\r\n")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "names and values that are odd",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n(\xe9): \0\r\x7f\r\nA-very-long-name-that-nobody-has-asked-for: x\r\nEmpty:\r\n\r\n"),
            Server(b"HTTP/1.1 200 \xff\r\nX[]: \r\r\nContent-Length: 0\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "< GET 200 0"],
    },
    Scenario {
        name: "what is no response",
        turns: &[Client(b"GET / HTTP/1.1\r\n\r\n"), Server(b"HTTP/2 200\r\n\r\n")],
        told: &["> GET HTTP/1.1 - /", "lost malformed-http1 1"],
    },
    Scenario {
        name: "a status that is none",
        turns: &[Client(b"GET / HTTP/1.1\r\n\r\n"), Server(b"HTTP/1.1 099 OK\r\n\r\n")],
        told: &["> GET HTTP/1.1 - /", "lost malformed-http1 1"],
    },
];

/// Keeps the requests it is told of.
struct Requests(Vec<Request>);

impl Listener for Requests {
    fn request(&mut self, request: &Request) {
        self.0.push(request.clone());
    }

    fn exchange(&mut self, _exchange: &Exchange<'_>) {}

    fn upgraded(&mut self, _to: &str) {}

    fn untracked(&mut self, _why: Lost) {}

    fn lost(&mut self, _why: Lost, _open: usize) {}
}

/// The requests in these bytes, where no details are wanted.
fn requests(bytes: &[u8]) -> Vec<Request> {
    let mut requests = Requests(Vec::new());
    assert!(Http1::new().client_bytes(bytes, Instant::now(), &mut requests).is_ok());
    requests.0
}

#[test]
fn details_are_kept_only_where_they_are_wanted() {
    let bytes =
        b"GET /a HTTP/1.1\r\ntraceparent: 00-000000000000000000000000000000ab-00f067aa0ba902b7-01\r\n\r\n";
    let [request] = &requests(bytes)[..] else { panic!("one request") };
    assert_eq!((&request.target, request.trace.is_none()), (&None, true));
    let grpc_web = b"POST /s.S/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\n\r\n";
    assert_eq!(requests(grpc_web)[0].rpc(), Some(("s.S", "M")));

    let mut record = Record::default();
    assert!(Http1::new().client_bytes(bytes, Instant::now(), &mut record).is_ok());
    assert_eq!(record.lines, ["> GET HTTP/1.1 - /a trace=ab"]);
}

#[test]
fn requests_share_an_authority_while_it_stays_the_same() {
    let heads = ["a.test", "a.test", "b.test", "a.test"]
        .map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let authorities: Vec<Arc<str>> =
        requests(heads.concat().as_bytes()).into_iter().map(|request| request.authority.unwrap()).collect();
    let [a, again, b, at_last] = &authorities[..] else { panic!("four requests") };
    assert!(Arc::ptr_eq(a, again));
    assert!(!Arc::ptr_eq(a, b));
    assert_eq!((&**b, &**at_last), ("b.test", "a.test"));
}

#[test]
fn targets_are_cut_to_the_text_that_is_kept_and_authorities_are_whole() {
    let host = |host: &[u8]| {
        let head = [b"GET / HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
        requests(&head)[0].authority.as_deref().map(str::to_owned)
    };
    assert_eq!(host(&[b'a'; 260]).unwrap().len(), 260);
    for unreadable in [&[b'a'; 261][..], &[b'a'; 1000], b"caf\xe9.test", b"good.test\xff.evil", b"\xe9"] {
        assert_eq!(host(unreadable).as_deref(), Some(UNREADABLE_AUTHORITY), "{unreadable:?}");
    }

    let target = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nContent-Type: application/grpc\r\n\r\n");
        requests(head.as_bytes())[0].clone()
    };
    let long = format!("/{}", "é".repeat(200));
    assert_eq!(target(&long).target.unwrap().len(), 255);
    let name = "a".repeat(253);
    assert_eq!(target(&format!("https://{name}:65535/")).authority.unwrap().len(), 259);
}

#[test]
fn no_part_of_a_password_is_taken_for_an_authority() {
    let secret = "secret".repeat(50);
    for head in [
        format!("GET http://user:{secret}@a.test/ HTTP/1.1\r\n\r\n"),
        format!("GET http://user:{secret} HTTP/1.1\r\nHost: b\r\n\r\n"),
        format!("CONNECT user:{secret}@a.test:443 HTTP/1.1\r\nHost: b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: user:{secret}@a.test\r\n\r\n"),
    ] {
        let [request] = &requests(head.as_bytes())[..] else { panic!("one request") };
        assert_eq!((request.authority.as_deref(), request.host()), (Some(UNREADABLE_AUTHORITY), None));
    }
    let head = format!("GET http://user:p@a.test/{secret} HTTP/1.1\r\n\r\n");
    assert_eq!(requests(head.as_bytes())[0].host(), Some("a.test"), "what is cut is behind it");
}

#[test]
fn a_response_that_ends_before_its_request_keeps_its_end() {
    struct Ends(Vec<(Option<Instant>, Instant, End)>);
    impl Listener for Ends {
        fn request(&mut self, _request: &Request) {}
        fn exchange(&mut self, exchange: &Exchange<'_>) {
            self.0.push((exchange.request_ended, exchange.ended, exchange.end));
        }
        fn upgraded(&mut self, _to: &str) {}
        fn untracked(&mut self, _why: Lost) {}
        fn lost(&mut self, _why: Lost, _open: usize) {}
    }
    let start = Instant::now();
    let at = |seconds| start + std::time::Duration::from_secs(seconds);
    for (rest, request_ended) in [(&b"2"[..], Some(at(2))), (b"", None)] {
        let (mut http1, mut ends) = (Http1::new(), Ends(Vec::new()));
        http1.client_bytes(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n1", start, &mut ends).unwrap();
        http1.server_bytes(b"HTTP/1.1 204 No Content\r\n\r\n", at(1), &mut ends).unwrap();
        http1.client_bytes(rest, at(2), &mut ends).unwrap();
        http1.close(End::Cut, at(3), &mut ends);
        assert_eq!(ends.0, [(request_ended, at(1), End::Complete)]);
    }
}

#[test]
fn a_minor_version_other_than_0_is_told_as_1() {
    assert_eq!(
        told_whole(&[Client(b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.9\r\n\r\n")])[..2],
        ["> GET HTTP/1.0 - /", "> GET HTTP/1.1 - /"]
    );
}
