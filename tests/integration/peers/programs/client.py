import asyncio
import hashlib
import socket
import sys
import threading
import urllib.request

mode, url, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
SENT = b"x" * 1_000_000


def tell(word, data):
    print(word, hashlib.sha256(data).hexdigest(), flush=True)


def blocking():
    with urllib.request.urlopen(url) as answer:
        tell("fetched", answer.read())
    with socket.create_connection(("127.0.0.1", port)) as connection:
        def send():
            connection.sendall(SENT)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = bytearray()
        while chunk := connection.recv(65536):
            received += chunk
        sender.join()
        tell("echoed", received)


async def fetch():
    host, rest = url.removeprefix("http://").split(":")
    number, path = rest.split("/", 1)
    reader, writer = await asyncio.open_connection(host, int(number))
    writer.write(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    tell("fetched", await reader.read())
    writer.close()


async def echo():
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send():
        writer.write(SENT)
        await writer.drain()
        writer.write_eof()

    _, received = await asyncio.gather(send(), reader.read())
    tell("echoed", received)
    writer.close()


async def main():
    await fetch()
    await echo()


blocking() if mode == "blocking" else asyncio.run(main())
