"""Serves HTTP: serve.py SERVER PORT LOG, with `METHOD STATUS` in LOG for each response."""

import asyncio
import http.server
import sys

server, port, log = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "w", buffering=1)
STATUS = {
    "/ok": 200, "/stream": 200, "/take": 200, "/empty": 204, "/moved": 302, "/same": 304,
    "/broken": 500,
}
BODY = b"hello\n"


def logged(method, status):
    log.write(f"{method} {status}\n")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self):
        self.body()
        status = STATUS.get(self.path, 404)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/ok")
        if self.path == "/stream" and self.request_version == "HTTP/1.1":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if self.command != "HEAD":
                for _ in range(3):
                    self.wfile.write(b"%x;of=three\r\n%s\r\n" % (len(BODY), BODY))
                self.wfile.write(b"0\r\nX-Last: yes\r\n\r\n")
        elif self.path == "/stream":
            # Its end is the connection's.
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(BODY * 3)
        elif status in (204, 304):
            self.end_headers()
        else:
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(BODY)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_request(self, code="-", size="-"):
        logged(self.command, int(code))

    def log_message(self, *_):
        pass


def with_http_server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as listening:
        listening.serve_forever()


def with_aiohttp():
    from aiohttp import web
    from aiohttp.abc import AbstractAccessLogger

    async def answer(request):
        await request.read()
        status = STATUS.get(request.path, 404)
        if request.path == "/stream":
            response = web.StreamResponse()
            await response.prepare(request)
            if request.method != "HEAD":
                for _ in range(3):
                    await response.write(BODY)
            await response.write_eof()
            return response
        headers = {"Location": "/ok"} if status == 302 else {}
        return web.Response(status=status, headers=headers, body=None if status in (204, 304) else BODY)

    class Log(AbstractAccessLogger):
        def __init__(self, *_):
            pass

        @property
        def enabled(self):
            return True

        def log(self, request, response, _time):
            logged(request.method, response.status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=port, access_log_class=Log, print=None)


def with_hypercorn():
    import hypercorn.asyncio
    import hypercorn.config

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        status = STATUS.get(scope["path"], 404)
        headers = [(b"location", b"/ok")] if status == 302 else []
        bodiless = status in (204, 304) or scope["method"] == "HEAD"
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if scope["path"] == "/stream" and not bodiless:
            for _ in range(3):
                await send({"type": "http.response.body", "body": BODY, "more_body": True})
        body = b"" if bodiless else BODY
        await send({"type": "http.response.body", "body": body})
        logged(scope["method"], status)

    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "error"
    asyncio.run(hypercorn.asyncio.serve(app, config))


def with_h2():
    """Grants every upgrade to HTTP/2, also to a request that says it has a body of length zero."""
    import h2.connection
    import h2.config
    import h2.events

    async def answer(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
        line, *lines = head.split("\r\n")
        method, path, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_upgrade_connection(headers["http2-settings"].encode())

        def respond(stream, method, path):
            status = STATUS.get(path, 404)
            bodiless = method == "HEAD" or status in (204, 304)
            logged(method, status)
            connection.send_headers(stream, [(":status", str(status))], end_stream=bodiless)
            if not bodiless:
                connection.send_data(stream, BODY, end_stream=True)

        respond(1, method, path)
        writer.write(connection.data_to_send())
        asked = {}
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    fields = {name.decode(): value.decode() for name, value in event.headers}
                    asked[event.stream_id] = (fields[":method"], fields[":path"])
                elif isinstance(event, h2.events.StreamEnded):
                    respond(event.stream_id, *asked[event.stream_id])
            writer.write(connection.data_to_send())
        writer.close()

    async def serve():
        async with await asyncio.start_server(answer, "127.0.0.1", port) as listening:
            await listening.serve_forever()

    asyncio.run(serve())


{
    "http.server": with_http_server,
    "aiohttp": with_aiohttp,
    "hypercorn": with_hypercorn,
    "h2": with_h2,
}[server]()
