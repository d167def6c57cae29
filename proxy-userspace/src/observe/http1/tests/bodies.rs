//! Where a body ends.

use super::{
    End, Scenario,
    Turn::{Client, Close, Finish, Server},
};

pub(super) const CORPUS: &[Scenario] = &[
    Scenario {
        name: "chunks with extensions and trailers",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n00A ;x\r\n0123456789\r\n0\r\nTrailer: x\r\nContent-Length: 7\r\n\r\nGET /b HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n2\nok\n0;last\nA: b\n c\n\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        ],
        told: &[
            "> POST HTTP/1.1 - /",
            "> GET HTTP/1.1 - /b",
            "< POST 200 21",
            "< GET 200 1",
        ],
    },
    Scenario {
        name: "chunks over a length",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST 200 5"],
    },
    Scenario {
        name: "a size beyond 64 bits",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "lost malformed-http1 1"],
    },
    Scenario {
        name: "sizes with zeros in front",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000001\r\na\r\n000000000000000000\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "< GET 200 44"],
    },
    Scenario {
        name: "a chunk that is longer than its size",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "lost malformed-http1 1"],
    },
    Scenario {
        name: "a chunk without a size",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n;a\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST - 0 unended Cut", "lost malformed-http1 0"],
    },
    Scenario {
        name: "a request in a coding that has no end",
        turns: &[Client(b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "codings that are none",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\na"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: ,\r\nContent-Length: 1\r\n\r\nb"),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST 200 1"],
    },
    Scenario {
        name: "a response in another coding lasts until the server has finished",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\nContent-Length: 1\r\n\r\n123"),
            Finish,
        ],
        told: &["> GET HTTP/1.1 - /", "< GET 200 3"],
    },
    Scenario {
        name: "the same length more than once",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nContent-Length: 2\r\ncontent-length: 02 , 2\r\n\r\nab"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 1,1\r\n\r\na"),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST 200 1"],
    },
    Scenario {
        name: "two lengths of a request",
        turns: &[Client(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "chunks over lengths that are none",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nContent-Length: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1, 2\r\n\r\n0\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST 200 5"],
    },
    Scenario {
        name: "lengths that differ, of responses without a body",
        turns: &[
            Client(b"HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n"),
            Server(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5, 7\r\n\r\n"),
            Server(b"HTTP/1.1 204 No Content\r\nContent-Length: none\r\n\r\n"),
        ],
        told: &[
            "> HEAD HTTP/1.1 - /",
            "> GET HTTP/1.1 - /",
            "> GET HTTP/1.1 - /",
            "< HEAD 200 0",
            "< GET 304 0",
            "< GET 204 0",
        ],
    },
    Scenario {
        name: "a length that was none and then is one",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nContent-Length: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"),
        ],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "whitespace that is none of HTTP's",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nTransfer-Encoding: \t chunked \t\r\n\r\n0\r\n\r\n"),
            Client(b"POST / HTTP/1.1\r\nTransfer-Encoding: \x0cchunked\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST - 0 Cut", "lost malformed-http1 0"],
    },
    Scenario {
        name: "a length with a CR behind it",
        turns: &[Client(b"POST / HTTP/1.1\r\nContent-Length: 3\r\r\n\r\n")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "two lengths of a response",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nab"),
        ],
        told: &["> GET HTTP/1.1 - /", "lost malformed-http1 1"],
    },
    Scenario {
        name: "a length that is no number",
        turns: &[Client(b"POST / HTTP/1.1\r\nContent-Length: +2\r\n\r\nab")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "a length beyond 64 bits",
        turns: &[Client(b"POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\nab")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "an empty length",
        turns: &[Client(b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\nab")],
        told: &["lost malformed-http1 0"],
    },
    Scenario {
        name: "responses without a body, whatever they say",
        turns: &[
            Client(b"HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 55\r\n\r\nHTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ],
        told: &[
            "> HEAD HTTP/1.1 - /",
            "> GET HTTP/1.1 - /",
            "> GET HTTP/1.1 - /",
            "> HEAD HTTP/1.1 - /",
            "< HEAD 200 0",
            "< GET 204 0",
            "< GET 304 0",
            "< HEAD 200 0",
        ],
    },
    Scenario {
        name: "a body until the server has finished",
        turns: &[
            Client(b"GET / HTTP/1.0\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"),
            Finish,
            Close(End::ClientReset),
        ],
        told: &["> GET HTTP/1.0 - /", "< GET 200 9"],
    },
    Scenario {
        name: "an empty body until the server has finished",
        turns: &[Client(b"GET / HTTP/1.0\r\n\r\n"), Server(b"HTTP/1.0 200 OK\r\n\r\n"), Finish],
        told: &["> GET HTTP/1.0 - /", "< GET 200 0"],
    },
    Scenario {
        name: "a body that a reset cuts off",
        turns: &[
            Client(b"GET / HTTP/1.0\r\n\r\n"),
            Server(b"HTTP/1.0 200 OK\r\n\r\nsome"),
            Close(End::ServerReset),
        ],
        told: &["> GET HTTP/1.0 - /", "< GET 200 4 ServerReset"],
    },
    Scenario {
        name: "a body until the server has finished, of a request that never ends",
        turns: &[
            Client(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"),
            Server(b"HTTP/1.0 400 Bad\r\n\r\nno"),
            Finish,
            Close(End::Cut),
        ],
        told: &["> POST HTTP/1.1 - /", "< POST 400 2 unended"],
    },
    Scenario {
        name: "gRPC-Web with its trailers in the body",
        turns: &[
            Client(b"POST /s.v1.S/M HTTP/1.1\r\nHost: g\r\nContent-Type: application/grpc-web+proto\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web+proto\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\0\0\0\0\r\n4\r\n\x02hi\x80\r\n4\r\n\0\0\0\x23\r\n23\r\ngrpc-message: no\r\nGrpc-Status: 14\r\n\r\n0\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 g /s.v1.S/M GrpcWeb", "< POST 200 73 grpc=14"],
    },
    Scenario {
        name: "gRPC-Web with its status in the head",
        turns: &[
            Client(b"POST /s.v1.S/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\ngrpc-status: 7\r\nContent-Length: 0\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /s.v1.S/M GrpcWeb", "< POST 200 0 grpc=7"],
    },
    Scenario {
        name: "gRPC-Web in Base64, whose trailers are not read",
        turns: &[
            Client(b"POST /s.v1.S/M HTTP/1.1\r\nContent-Type: application/grpc-web-text\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web-text\r\nContent-Length: 8\r\n\r\ngAAAAAA="),
        ],
        told: &["> POST HTTP/1.1 - /s.v1.S/M GrpcWeb", "< POST 200 8"],
    },
    Scenario {
        name: "gRPC-Web with trailers that are compressed",
        turns: &[
            Client(b"POST /s.v1.S/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nContent-Length: 25\r\n\r\n\x81\0\0\0\x01z\x80\0\0\0\x0egrpc-status: 0"),
        ],
        told: &["> POST HTTP/1.1 - /s.v1.S/M GrpcWeb", "< POST 200 25"],
    },
    Scenario {
        name: "gRPC-Web with empty messages before its trailers",
        turns: &[
            Client(b"POST /s.v1.S/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nContent-Length: 31\r\n\r\n\0\0\0\0\0\x01\0\0\0\x02hi\x80\0\0\0\x0egrpc-status: 0"),
        ],
        told: &["> POST HTTP/1.1 - /s.v1.S/M GrpcWeb", "< POST 200 31 grpc=0"],
    },
    Scenario {
        name: "gRPC-Web whose body cannot be read, among others",
        turns: &[
            Client(b"POST /s/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\n\r\nPOST /s/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\n\r\n"),
            Client(b"POST /s/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\n\r\nPOST /s/M HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nContent-Encoding: gzip\r\nContent-Length: 19\r\n\r\n\x80\0\0\0\x0egrpc-status: 0"),
            Server(b"HTTP/1.1 103 Hints\r\ngrpc-status: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nContent-Length: 0\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n\x80\0\0\0\x0egrpc-status: 0"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nContent-Length: 19\r\n\r\n\x80\0\0\0\x0egrpc-status: 0"),
        ],
        told: &[
            "> POST HTTP/1.1 - /s/M GrpcWeb",
            "> POST HTTP/1.1 - /s/M GrpcWeb",
            "> POST HTTP/1.1 - /s/M GrpcWeb",
            "> POST HTTP/1.1 - /s/M",
            "< POST 200 19",
            "< POST 200 0",
            "< POST 200 19",
            "< POST 200 19",
        ],
    },
    Scenario {
        name: "gRPC-Web after a body that could not be read",
        turns: &[
            Client(b"POST /s/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\n\r\nPOST /s/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nContent-Length: 19\r\n\r\n\x80\0\0\0\x0egrpc-status: 0"),
        ],
        told: &[
            "> POST HTTP/1.1 - /s/M GrpcWeb",
            "> POST HTTP/1.1 - /s/M GrpcWeb",
            "< POST 200 1",
            "< POST 200 19 grpc=0",
        ],
    },
    Scenario {
        name: "gRPC over HTTP/1, with its status in trailers",
        turns: &[
            Client(b"POST /s.v1.S/M HTTP/1.1\r\nContent-Type: application/grpc\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: 5\r\n\r\n"),
        ],
        told: &["> POST HTTP/1.1 - /s.v1.S/M Grpc", "< POST 200 21 grpc=5"],
    },
    Scenario {
        name: "a status of gRPC that nobody asked for",
        turns: &[
            Client(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\ngrpc-status: 5\r\nContent-Length: 0\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: 5\r\n\r\n"),
        ],
        told: &["> GET HTTP/1.1 - /", "> GET HTTP/1.1 - /", "< GET 200 0", "< GET 200 21"],
    },
];
