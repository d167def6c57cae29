//! What HTTP/1 turns into, and what it does not.

use std::time::Instant;

use super::{
    super::super::{Observer, Protocol},
    Record, Scenario,
    Turn::{Client, Server},
};

pub(super) const CORPUS: &[Scenario] = &[
    Scenario {
        name: "a WebSocket",
        turns: &[
            Client(b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
            Server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi"),
            Client(b"\x81\x82\0\0\0\0hi"),
        ],
        told: &["> GET HTTP/1.1 a /chat", "< GET 101 0", "upgraded websocket", "tunnel"],
    },
    Scenario {
        name: "a protocol that only the client has named",
        turns: &[
            Client(b"GET / HTTP/1.1\r\nUpgrade: , Raw/1.0, other\r\n\r\n"),
            Server(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "< GET 101 0", "upgraded raw/1.0", "tunnel"],
    },
    Scenario {
        name: "a protocol with a long name",
        turns: &[
            Client(b"GET / HTTP/1.1\r\nUpgrade: 0123456789012345678901234567890123456789\r\n\r\n"),
            Server(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "< GET 101 0", "upgraded 01234567890123456789012345678901", "tunnel"],
    },
    Scenario {
        name: "an upgrade that nobody asked for",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "lost malformed-http1 1"],
    },
    Scenario {
        name: "an upgrade that is refused",
        turns: &[
            Client(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
            Server(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nContent-Length: 2\r\n\r\nno"),
            Client(b"GET /b HTTP/1.1\r\nUpgrade: raw\r\n\r\n"),
            Server(b"HTTP/1.1 101 OK\r\n\r\n"),
        ],
        told: &[
            "> GET HTTP/1.1 - /",
            "< GET 426 2",
            "> GET HTTP/1.1 - /b",
            "< GET 101 0",
            "upgraded raw",
            "tunnel",
        ],
    },
    Scenario {
        name: "an upgrade that is refused, and one that nobody asked for",
        turns: &[
            Client(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nGET /b HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 204 OK\r\n\r\nHTTP/1.1 101 OK\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "> GET HTTP/1.1 - /b", "< GET 204 0", "lost malformed-http1 1"],
    },
    Scenario {
        name: "an upgrade that is refused, with a request behind it",
        turns: &[
            Client(b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\nGET /b HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 204 OK\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "> GET HTTP/1.1 - /b", "< GET 200 2", "< GET 204 0"],
    },
    Scenario {
        name: "an upgrade that is granted, with what looked like a request behind it",
        turns: &[
            Client(b"GET / HTTP/1.1\r\nUpgrade: raw\r\n\r\nGET /b HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 101 OK\r\n\r\n"),
        ],
        told: &[
            "> GET HTTP/1.1 - /",
            "> GET HTTP/1.1 - /b",
            "< GET 101 0",
            "upgraded raw",
            "lost ambiguous 1",
        ],
    },
    Scenario {
        name: "an upgrade that is granted to a client that did not wait",
        turns: &[
            Client(b"GET / HTTP/1.1\r\nUpgrade: raw\r\n\r\n\x81\x82\0\0\0\0hi"),
            Client(b"more"),
            Server(b"HTTP/1.1 101 OK\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "< GET 101 0", "upgraded raw", "tunnel"],
    },
    Scenario {
        name: "an upgrade that is refused to a client that did not wait",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nUpgrade: raw\r\n\r\n\x81\x82\0\0\0\0hi"),
            Server(b"HTTP/1.1 204 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /a", "> GET HTTP/1.1 - /", "< GET 204 0", "lost ambiguous 1"],
    },
    Scenario {
        name: "two upgrades, of which the second is granted",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\nUpgrade: raw\r\n\r\nGET /b HTTP/1.1\r\nUpgrade: raw\r\n\r\n\0"),
            Server(b"HTTP/1.1 204 OK\r\n\r\nHTTP/1.1 101 OK\r\n\r\n"),
        ],
        told: &[
            "> GET HTTP/1.1 - /a",
            "> GET HTTP/1.1 - /b",
            "< GET 204 0",
            "< GET 101 0",
            "upgraded raw",
            "tunnel",
        ],
    },
    Scenario {
        name: "an upgrade before the request's body has ended",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nUpgrade: raw\r\nContent-Length: 5\r\n\r\nab"),
            Server(b"HTTP/1.1 101 OK\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST 101 0 unended", "upgraded raw", "tunnel"],
    },
    Scenario {
        name: "HTTP/2",
        turns: &[
            Client(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"),
            Server(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ],
        told: &["> GET HTTP/1.1 a /", "upgraded h2c", "http/2 GET 71"],
    },
    Scenario {
        name: "HTTP/2 after a body and other requests",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab"),
            Server(b"HTTP/1.1 204 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /a", "> POST HTTP/1.1 - /", "< GET 204 0", "upgraded h2c", "http/2 POST 69"],
    },
    Scenario {
        name: "HTTP/2 with a client that did not wait",
        turns: &[
            Client(b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            Server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "upgraded h2c", "lost ambiguous 1"],
    },
    Scenario {
        name: "HTTP/2 with a client that had begun it",
        turns: &[
            Client(b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\nPR"),
            Server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "upgraded h2c", "lost ambiguous 1"],
    },
    Scenario {
        name: "HTTP/2 before the request's body has ended",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nab"),
            Server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /", "upgraded h2c", "lost ambiguous 1"],
    },
    Scenario {
        name: "a tunnel, whose answer has a length",
        turns: &[
            Client(b"CONNECT a.test:443 HTTP/1.1\r\nHost: b\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            Client(b"\x16\x03\x01"),
        ],
        told: &["> CONNECT HTTP/1.1 a.test:443 a.test:443", "< CONNECT 200 0", "upgraded connect", "tunnel"],
    },
    Scenario {
        name: "a tunnel whose client did not wait",
        turns: &[
            Client(b"CONNECT a.test:443 HTTP/1.0\r\n\r\n\x16\x03\x01"),
            Server(b"HTTP/1.0 200 Connection established\r\n\r\n"),
        ],
        told: &["> CONNECT HTTP/1.0 a.test:443 a.test:443", "< CONNECT 200 0", "upgraded connect", "tunnel"],
    },
    Scenario {
        name: "a tunnel that is refused",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n\r\nCONNECT a.test:443 HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 204 OK\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 407 Who Are You\r\nContent-Length: 1\r\n\r\n?"),
            Client(b"CONNECT a.test:443 HTTP/1.1\r\nProxy-Authorization: x\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\n\r\n"),
        ],
        told: &[
            "> GET HTTP/1.1 - /",
            "> CONNECT HTTP/1.1 a.test:443 a.test:443",
            "< GET 204 0",
            "< CONNECT 407 1",
            "> CONNECT HTTP/1.1 a.test:443 a.test:443",
            "< CONNECT 200 0",
            "upgraded connect",
            "tunnel",
        ],
    },
    Scenario {
        name: "tunnels to nowhere",
        turns: &[
            Client(b"CONNECT /a HTTP/1.1\r\nHost: b\r\n\r\n"),
            Server(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            Client(b"CONNECT http://a.test/ HTTP/1.1\r\nHost: b\r\n\r\n"),
            Server(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        ],
        told: &[
            "> CONNECT HTTP/1.1 b /a",
            "< CONNECT 400 0",
            "> CONNECT HTTP/1.1 a.test http://a.test/",
            "< CONNECT 400 0",
        ],
    },
    Scenario {
        name: "a tunnel that is refused to a client that did not wait",
        turns: &[
            Client(b"CONNECT a.test:443 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 405 Not Allowed\r\nContent-Length: 0\r\n\r\n"),
        ],
        told: &["> CONNECT HTTP/1.1 a.test:443 a.test:443", "lost ambiguous 1"],
    },
];

/// An observer after a request and its response, and what it was told.
fn observed(request: &[u8], response: &[u8]) -> (Observer, Vec<String>) {
    let (mut observer, mut record) = (Observer::inspecting(), Record::default());
    observer.client_bytes(request, Instant::now(), &mut record);
    observer.server_bytes(response, Instant::now(), &mut record);
    (observer, record.lines)
}

#[test]
fn a_tunnel_is_http1_and_is_watched_no_more() {
    let (observer, told) = observed(
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
    );
    assert_eq!(told, ["> GET HTTP/1.1 - /", "< GET 101 0", "upgraded websocket"]);
    assert_eq!((observer.observation().protocol, observer.wants_bytes()), (Protocol::Http1, false));
}

#[test]
fn an_upgrade_to_http2_is_followed_into_it() {
    let (observer, told) = observed(
        b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    );
    assert_eq!(told, ["> GET HTTP/1.1 - /", "upgraded h2c"]);
    assert_eq!((observer.observation().protocol, observer.wants_bytes()), (Protocol::Http2, true));
}

#[test]
fn what_is_lost_is_told_with_what_was_open() {
    let (observer, told) = observed(b"GET / HTTP/1.1\r\n\r\n", b"220 mail.test ESMTP\r\n");
    assert_eq!(told, ["> GET HTTP/1.1 - /", "lost malformed-http1 1"]);
    assert_eq!((observer.observation().protocol, observer.wants_bytes()), (Protocol::Http1, false));
}
