//! Clients that ask before they send a body, and what they send when it is not asked for.

use super::{
    Scenario,
    Turn::{Client, Server},
};

/// A head that asks first, with a body of so many bytes.
macro_rules! asking {
    ($length:literal) => {
        Client(
            concat!("PUT /e HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: ", $length, "\r\n\r\n")
                .as_bytes(),
        )
    };
}

const REFUSED: super::Turn = Server(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
const NEXT_IS_ANSWERED: super::Turn = Server(b"HTTP/1.1 204 No Content\r\n\r\n");

pub(super) const CORPUS: &[Scenario] = &[
    Scenario {
        name: "a refusal, and the next request",
        turns: &[asking!("2000000"), REFUSED, Client(b"GET /n HTTP/1.1\r\nHost: a\r\n\r\n"), NEXT_IS_ANSWERED],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0 unended", "> GET HTTP/1.1 a /n", "< GET 204 0"],
    },
    Scenario {
        name: "a refusal, and the same request with its body",
        turns: &[
            asking!("3"),
            REFUSED,
            Client(b"PUT /e HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
            NEXT_IS_ANSWERED,
        ],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0 unended", "> PUT HTTP/1.1 - /e", "< PUT 204 0"],
    },
    Scenario {
        name: "a refusal, and a method that is nobody's after an empty line",
        turns: &[asking!("500"), REFUSED, Client(b"\r\nMKCOL /n HTTP/1.1\r\n\r\n"), NEXT_IS_ANSWERED],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0 unended", "> other HTTP/1.1 - /n", "< other 204 0"],
    },
    Scenario {
        name: "a refusal, and the body all the same",
        turns: &[
            asking!("12"),
            REFUSED,
            Client(b"{\"a\": \"body\"GET /n HTTP/1.1\r\n\r\n"),
            NEXT_IS_ANSWERED,
        ],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0", "> GET HTTP/1.1 - /n", "< GET 204 0"],
    },
    Scenario {
        name: "a refusal, and a body that begins as a request does",
        turns: &[
            asking!("17"),
            REFUSED,
            Client(b"GET /a HTTP/1.1xxGET /n HTTP/1.1\r\n\r\n"),
            NEXT_IS_ANSWERED,
        ],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0", "> GET HTTP/1.1 - /n", "< GET 204 0"],
    },
    Scenario {
        name: "a refusal, and a body that may be the start of a method",
        turns: &[asking!("2"), REFUSED, Client(b"okGET /n HTTP/1.1\r\n\r\n"), NEXT_IS_ANSWERED],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0", "> GET HTTP/1.1 - /n", "< GET 204 0"],
    },
    Scenario {
        name: "a refusal, and a body that may be the start of a request, with more behind it",
        turns: &[asking!("3"), REFUSED, Client(b"a bGET /n HTTP/1.1\r\n\r\n"), NEXT_IS_ANSWERED],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0", "> GET HTTP/1.1 - /n", "< GET 204 0"],
    },
    Scenario {
        name: "a refusal, and a short body at the connection's end",
        turns: &[asking!("3"), REFUSED, Client(b"GET")],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0"],
    },
    Scenario {
        name: "a refusal, and part of what may be a request at the connection's end",
        turns: &[asking!("30"), REFUSED, Client(b"GET /n HTTP")],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0 unended"],
    },
    Scenario {
        name: "a refusal, and chunks",
        turns: &[
            Client(b"PUT /e HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
            REFUSED,
            Client(b"A\r\n0123456789\r\n0\r\nA: b\r\n\r\nGET /n HTTP/1.1\r\n\r\n"),
            NEXT_IS_ANSWERED,
        ],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0", "> GET HTTP/1.1 - /n", "< GET 204 0"],
    },
    Scenario {
        name: "a refusal, and no chunks but a request that begins with digits of sixteen",
        turns: &[
            Client(b"PUT /e HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
            REFUSED,
            Client(b"DELETE /n HTTP/1.1\r\n\r\n"),
            NEXT_IS_ANSWERED,
        ],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0 unended", "> DELETE HTTP/1.1 - /n", "< DELETE 204 0"],
    },
    Scenario {
        name: "a refusal, and neither chunks nor a request",
        turns: &[
            Client(b"PUT /e HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
            REFUSED,
            Client(b"{\"no\": \"chunk\"}"),
        ],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0 unended", "lost malformed-http1 0"],
    },
    Scenario {
        name: "a refusal whose own body comes while the next request does",
        turns: &[
            asking!("20"),
            Server(b"HTTP/1.1 401 Who Are You\r\nContent-Length: 4\r\n\r\nwh"),
            Client(b"PUT /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            Server(b"o?"),
            Server(b"HTTP/1.1 100 Continue\r\n\r\n"),
            Client(b"ok"),
            NEXT_IS_ANSWERED,
        ],
        told: &["> PUT HTTP/1.1 - /e", "> PUT HTTP/1.1 - /e", "< PUT 401 4 unended", "< PUT 204 0"],
    },
    Scenario {
        name: "a client that was asked for its body, and then answered",
        turns: &[
            asking!("20"),
            Server(b"HTTP/1.1 100 Continue\r\n\r\n"),
            REFUSED,
            Client(b"GET /n HTTP/1.1\r\n\r\n!GET /n HTTP/1.1\r\n\r\n"),
            NEXT_IS_ANSWERED,
        ],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0", "> GET HTTP/1.1 - /n", "< GET 204 0"],
    },
    Scenario {
        name: "a client that was tired of waiting",
        turns: &[
            asking!("20"),
            Client(b"GET /n HTTP/1.1\r\n"),
            REFUSED,
            Client(b"\r\n!GET /n HTTP/1.1\r\n\r\n"),
            NEXT_IS_ANSWERED,
        ],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 417 0", "> GET HTTP/1.1 - /n", "< GET 204 0"],
    },
    Scenario {
        name: "an answer to another request says nothing of the expectation",
        turns: &[
            Client(b"GET /a HTTP/1.1\r\n\r\nPUT /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n"),
            Server(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 OK\r\n\r\n"),
            REFUSED,
            Client(b"GET /n HTTP/1.1\r\n\r\n"),
        ],
        told: &[
            "> GET HTTP/1.1 - /a",
            "> PUT HTTP/1.1 - /e",
            "< GET 204 0",
            "< PUT 417 0 unended",
            "> GET HTTP/1.1 - /n",
            "< GET - 0 Cut",
        ],
    },
    Scenario {
        name: "an answered exchange is told before the connection is lost",
        turns: &[
            Client(b"PUT /e HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            NEXT_IS_ANSWERED,
            Client(b"no chunk"),
        ],
        told: &["> PUT HTTP/1.1 - /e", "< PUT 204 0 unended", "lost malformed-http1 0"],
    },
];
