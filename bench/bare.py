"""The yardstick of a socket: aiohttp's WebSocket and nothing else, on uvloop without compression.

`python -m bench.bare` serves it on PORT. It keeps sockets open and sends nothing.
"""

from __future__ import annotations

import os

import uvloop
from aiohttp import web

from bench.raw import bare, serve


async def _socket(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for _ in socket:
        pass
    return socket


if __name__ == "__main__":
    uvloop.run(serve(bare("GET", "/ws", _socket), int(os.environ["PORT"])))
