"""WebSocket: websocket_peer.py serve PORT, an echo; ask HOST:PORT, which prints `echoed N`."""

import asyncio
import sys

import websockets


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def serve(port):
    async with websockets.serve(echo, "127.0.0.1", port):
        await asyncio.Future()


async def ask(addr):
    messages = ["text", b"\x00\xff", "", "long " * 20_000, b"GET / HTTP/1.1\r\n\r\n"]
    # Without compression: what looks like HTTP is on the wire as it is.
    async with websockets.connect(f"ws://{addr}/chat", compression=None, proxy=None) as connection:
        for message in messages:
            await connection.send(message)
            assert await connection.recv() == message
        await (await connection.ping())
    print("echoed", len(messages), flush=True)


asyncio.run(serve(int(sys.argv[2])) if sys.argv[1] == "serve" else ask(sys.argv[2]))
