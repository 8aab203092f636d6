"""What a process shows to operators alone, on a port of its own: its metrics, and why it is ready or not."""

from __future__ import annotations

from aiohttp import web

from common.runtime import health, telemetry
from common.runtime.health import HEALTH
from common.runtime.supervisor import SUPERVISOR
from common.runtime.telemetry import METRICS
from common.runtime.web import BODY_SECONDS, observe


def admin_app(app: web.Application) -> web.Application:
    """The operators' side of `app`: `/metrics`, `/health/live` and `/health/ready` with the reasons."""
    admin = web.Application(middlewares=[observe])
    admin[HEALTH], admin[METRICS] = app[HEALTH], app[METRICS]
    admin[SUPERVISOR], admin[BODY_SECONDS] = app[SUPERVISOR], app[BODY_SECONDS]
    admin.router.add_get("/health/live", health.live)
    admin.router.add_get("/health/ready", health.details)
    admin.router.add_get("/metrics", telemetry.metrics)
    return admin
