//! Which response is for which request, and when both are over.

use super::{
    End, Scenario,
    Turn::{Client, Close, Finish, Server},
};

pub(super) const CORPUS: &[Scenario] = &[
    Scenario {
        name: "a connection that is kept alive",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            Client(b"DELETE /b HTTP/1.1\r\nHost: b.test\r\n\r\n"),
            Server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            Finish,
        ],
        told: &[
            "> GET HTTP/1.1 a.test /a",
            "< GET 200 5",
            "> DELETE HTTP/1.1 b.test /b",
            "< DELETE 404 0",
        ],
    },
    Scenario {
        name: "pipelined requests, answered in their order",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nHEAD /b HTTP/1.1\r\nHost: a\r\n\r\nPOST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 201 OK\r\nContent-Length: 55\r\n\r\nHTTP/1.1 202 OK\r\nContent-Length: 2\r\n\r\ncc"),
        ],
        told: &[
            "> GET HTTP/1.1 a /a",
            "> HEAD HTTP/1.1 a /b",
            "> POST HTTP/1.1 a /c",
            "< GET 200 1",
            "< HEAD 201 0",
            "< POST 202 2",
        ],
    },
    Scenario {
        name: "a response before the request's body has ended",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345"),
            Server(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"),
            Client(b"67890GET /next HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        told: &[
            "> POST HTTP/1.1 - /",
            "< POST 413 2",
            "> GET HTTP/1.1 - /next",
            "< GET 200 0",
        ],
    },
    Scenario {
        name: "a response to a request that never ends",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345"),
            Server(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"),
            Finish,
            Close(End::ClientReset),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST 413 2 unended"],
    },
    Scenario {
        name: "a second response while the request of the first goes on",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST 200 0 unended", "lost unasked-response 0"],
    },
    Scenario {
        name: "both bodies at once",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"),
            Client(b"1\r\nb\r\n0\r\n\r\n"),
            Server(b"1\r\nb\r\n0\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST 200 17"],
    },
    Scenario {
        name: "interim responses",
        turns: &[
            Client(b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            Server(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n"),
            Client(b"ok"),
            Server(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        ],
        told: &["> PUT HTTP/1.1 - /", "< PUT 204 0"],
    },
    Scenario {
        name: "an expectation that fails",
        turns: &[
            Client(b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            Server(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"),
            Close(End::Cut),
        ],
        told: &["> PUT HTTP/1.1 - /", "< PUT 417 0 unended"],
    },
    Scenario {
        name: "requests that are never answered",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"),
            Finish,
            Close(End::ServerReset),
        ],
        told: &[
            "> GET HTTP/1.1 - /a",
            "> GET HTTP/1.1 - /b",
            "< GET 200 3 ServerReset",
            "< GET - 0 ServerReset",
        ],
    },
    Scenario {
        name: "a connection that ends in a response's head",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 5"),
            Finish,
            Close(End::Cut),
        ],
        told: &["> GET HTTP/1.1 - /a", "< GET - 0 Cut"],
    },
    Scenario {
        name: "a response that nobody asked for",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n"),
            Server(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "< GET 200 0", "lost unasked-response 0"],
    },
    Scenario {
        name: "a server that speaks before the first request line is complete",
        turns: &[
            Client(b"GET / HT"),
            Server(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Client(b"TP/1.1\r\nHost: a\r\n\r\n"),
        ],
        told: &["lost unasked-response 0"],
    },
    Scenario {
        name: "a server that speaks before the first head is complete",
        turns: &[Client(b"GET / HTTP/1.1\r\nHost"), Server(b"HTTP/1.1 431 Too Large\r\n\r\n")],
        told: &["> GET HTTP/1.1 - /", "< GET 431 0 unended Cut", "lost unasked-response 0"],
    },
    Scenario {
        name: "a client that has finished, with the answer still coming",
        turns: &[
            Client(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
            Server(b"HTTP/1.0 200 OK\r\n\r\nsome"),
            Server(b" more"),
            Finish,
            Close(End::Cut),
        ],
        told: &["> GET HTTP/1.0 a /", "< GET 200 9"],
    },
    Scenario {
        name: "a request that ends after the server has finished",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\n\r\nall"),
            Finish,
            Client(b"abc"),
            Close(End::ClientReset),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST 200 3"],
    },
];
