"""The stand-in's HTTP server, which runs until it is asked to stop and names neither itself nor its release."""

import asyncio
import signal
from functools import partial
from typing import Any, cast

from aiohttp import hdrs, web


class _Request(web.Request):
    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Remove the header that aiohttp has just added; also from the answer to what is no HTTP."""
        await super()._prepare_hook(response)
        response.headers.pop(hdrs.SERVER, None)


class Runner(web.AppRunner):
    """Runs the application without a log of requests: `Api` logs them."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(app, access_log=None)

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.request_factory = partial(cast(Any, server.request_factory), _cls=_Request)
        return server


async def serve(app: web.Application, host: str, port: int) -> None:
    """Serve `app` until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = Runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await stop.wait()
    finally:
        await runner.cleanup()
