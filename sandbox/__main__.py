"""Run the stand-in: `python -m sandbox`."""

import uvloop
from aiohttp import web

from sandbox.app import build_app
from sandbox.logs import configure_logs
from sandbox.settings import Settings

settings = Settings()
configure_logs(settings.log_level)
uvloop.install()
web.run_app(build_app(settings), host=settings.host, port=settings.port, access_log=None, print=None)
