//! Heads that are not complete, or malformed, and answered all the same.

use super::{
    End, Scenario,
    Turn::{Client, Close, Finish, Server},
};

const TIMED_OUT: super::Turn = Server(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 2\r\n\r\nno");
const BAD: super::Turn = Server(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>");

pub(super) const CORPUS: &[Scenario] = &[
    Scenario {
        name: "half a head",
        turns: &[Client(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Le"), TIMED_OUT, Client(b"ngth: 5\r\n\r\n")],
        told: &["> POST HTTP/1.1 a /a", "< POST 408 2 unended", "lost unasked-response 0"],
    },
    Scenario {
        name: "half a head, answered until the server has finished",
        turns: &[Client(b"GET /a HTTP/1.0\r\nHost: a\r\n"), BAD, Client(b"X: y\r\n\r\n"), Finish],
        told: &["> GET HTTP/1.0 a /a", "< GET 400 6 unended", "lost unasked-response 0"],
    },
    Scenario {
        name: "half a head whose answer is cut",
        turns: &[Client(b"GET /a HTTP/1.1\r\n"), BAD, Close(End::ServerReset)],
        told: &["> GET HTTP/1.1 - /a", "< GET 400 6 unended ServerReset", "lost unasked-response 0"],
    },
    Scenario {
        name: "half a head that is not answered",
        turns: &[Client(b"GET /a HTTP/1.1\r\n"), Server(b"HTTP/1.1 408 Request"), Close(End::Cut)],
        told: &[],
    },
    Scenario {
        name: "a head that is complete before the head of its answer is",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n"),
            Server(b"\r\nHTTP/1.1 204 No"),
            Client(b"\r\nGET /b HTTP/1.1\r\n\r\n"),
            Server(b" Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /a", "> GET HTTP/1.1 - /b", "< GET 204 0", "< GET 204 0"],
    },
    Scenario {
        name: "an interim response to half a head",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n"),
            Server(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
            Client(b"\r\n"),
            Server(b"HTTP/1.1 204 No Content\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /a", "< GET 204 0"],
    },
    Scenario {
        name: "half a line after a request",
        turns: &[
            Client(b"GET http://a/ HTTP/1.0\r\nContent-Type: application/grpc\r\n\r\n"),
            Server(b"HTTP/1.1 204 No Content\r\n\r\n"),
            Client(b"PUT http://b"),
            TIMED_OUT,
        ],
        told: &[
            "> GET HTTP/1.0 a http://a/ Grpc",
            "< GET 204 0",
            "> PUT HTTP/1.1 - -",
            "< PUT 408 2 unended",
            "lost unasked-response 0",
        ],
    },
    Scenario {
        name: "half a method after requests that are answered first",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n\r\nGET"),
            Server(b"HTTP/1.1 204 No Content\r\n\r\n\r\n"),
            TIMED_OUT,
        ],
        told: &[
            "> GET HTTP/1.1 - /a",
            "< GET 204 0",
            "> other HTTP/1.1 - -",
            "< other 408 2 unended",
            "lost unasked-response 0",
        ],
    },
    Scenario {
        name: "empty lines are no beginning",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n\r\n\r\n"),
            Server(b"HTTP/1.1 204 No Content\r\n\r\n"),
            TIMED_OUT,
        ],
        told: &["> GET HTTP/1.1 - /a", "< GET 204 0", "lost unasked-response 0"],
    },
    Scenario {
        name: "a malformed head",
        turns: &[
            Client(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\nmore"),
            BAD,
            Client(b"and more"),
            Finish,
        ],
        told: &["> POST HTTP/1.1 a /a", "< POST 400 6 unended", "lost malformed-http1 0"],
    },
    Scenario {
        name: "a malformed line after a request",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n\r\nGET /b c HTTP/1.1\r\nHost: a\r\n\r\n"),
            Server(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"),
        ],
        told: &[
            "> GET HTTP/1.1 - /a",
            "< GET 204 0",
            "> GET HTTP/1.1 - -",
            "< GET 400 0 unended",
            "lost malformed-http1 0",
        ],
    },
    Scenario {
        name: "a malformed head that is not answered",
        turns: &[Client(b"GET /a HTTP/1.1\r\n : b\r\n\r\n"), Server(b"HTTP/1.1 100 OK\r\n\r\n"), Finish],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "what is no request behind one that is answered",
        turns: &[Client(b"GET /a HTTP/1.1\r\n\r\n\0\0"), Server(b"HTTP/1.1 204 No Content\r\n\r\n")],
        told: &["> GET HTTP/1.1 - /a", "< GET 204 0", "lost malformed-http1 0"],
    },
    Scenario {
        name: "what is no request behind one that is answered already",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 204 No Content\r\n\r\n"),
            Client(b"\0\0"),
            BAD,
        ],
        told: &["> GET HTTP/1.1 - /a", "< GET 204 0", "lost malformed-http1 0"],
    },
    Scenario {
        name: "malformed chunks, and the answer to them",
        turns: &[
            Client(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"),
            Server(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /a", "< POST 400 0 unended", "lost malformed-http1 0"],
    },
    Scenario {
        name: "an upgrade to what is not complete",
        turns: &[Client(b"GET /a HTTP/1.1\r\nUpgrade: raw\r\n"), Server(b"HTTP/1.1 101 OK\r\n\r\n")],
        told: &["lost unasked-response 0"],
    },
];
