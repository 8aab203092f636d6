"""Run the stand-in: `python -m sandbox`."""

import uvloop

from sandbox.app import build_app
from sandbox.logs import configure_logs
from sandbox.server import serve
from sandbox.settings import Settings

settings = Settings()
configure_logs(settings.log_level)
uvloop.run(serve(build_app(settings), settings.host, settings.port))
