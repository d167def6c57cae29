"""Asks an HTTP server: ask.py MODE HOST:PORT METHOD:PATH[:length|:chunked]...

Prints `status N` for each response, and `local ADDR` for each connection that it can tell of.
"""

import asyncio
import http.client
import socket
import sys

mode, addr, items = sys.argv[1], sys.argv[2], [item.split(":") for item in sys.argv[3:]]
BODY = b"x" * 3000


def pieces():
    for start in range(0, len(BODY), 1000):
        yield BODY[start : start + 1000]


def told(status):
    print("status", status, flush=True)


def blocking(version):
    connection = http.client.HTTPConnection(addr, timeout=30)
    if version == "1.0":
        connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"
    for method, path, *framing in items:
        if framing == ["length"]:
            connection.request(method, path, body=BODY)
        elif framing == ["chunked"]:
            connection.request(method, path, body=pieces(), encode_chunked=True,
                               headers={"Transfer-Encoding": "chunked"})
        else:
            connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        told(answer.status)
        if version == "1.0":
            # The server closes, and may not say so.
            connection.close()
    connection.close()


def pipelined():
    """All requests in one write; then all responses."""
    host, port = addr.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        requests = b""
        for method, path, *framing in items:
            requests += f"{method} {path} HTTP/1.1\r\nHost: {addr}\r\n".encode()
            if framing == ["length"]:
                requests += b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
            elif framing == ["chunked"]:
                chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces())
                requests += b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
            else:
                requests += b"\r\n"
        connection.sendall(requests)
        reader = connection.makefile("rb")

        class Shared:
            def makefile(self, _mode):
                return reader

        # The response would close what it reads from.
        reader.close = lambda: None
        for method, *_ in items:
            answer = http.client.HTTPResponse(Shared(), method=method)
            answer.begin()
            answer.read()
            told(answer.status)


async def with_aiohttp():
    import aiohttp

    async def chunks():
        for piece in pieces():
            yield piece

    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        for method, path, *framing in items:
            data = BODY if framing == ["length"] else chunks() if framing == ["chunked"] else None
            asked = session.request(method, f"http://{addr}{path}", data=data, allow_redirects=False)
            async with asked as answer:
                await answer.read()
                told(answer.status)


if mode == "pipelined":
    pipelined()
elif mode == "aiohttp":
    asyncio.run(with_aiohttp())
else:
    blocking(mode)
