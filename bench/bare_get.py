"""The yardstick of GET /events: an aiohttp server that sends the same bytes each time, on uvloop.

`python -m bench.bare_get` serves the file BODY on PORT, at the same route as Holdfast: ROUTE.
"""

from __future__ import annotations

import os
from pathlib import Path

import uvloop
from aiohttp import web

from bench.raw import bare, serve
from common.runtime.web import Handler


def _sends(body: bytes) -> Handler:
    async def send(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    return send


if __name__ == "__main__":
    sends = _sends(Path(os.environ["BODY"]).read_bytes())
    uvloop.run(serve(bare("GET", os.environ["ROUTE"], sends), int(os.environ["PORT"])))
