"""`holdfast up`: run the local stack until Ctrl-C, and print where everything is."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Coroutine
from typing import Any

from rich.console import Console
from rich.text import Text

from common.contracts.scopes import Scope
from common.runtime.backoff import Backoff
from ops.actor import ActorProcess
from ops.child import Child
from ops.demo import ensure_event
from ops.errors import StartError
from ops.log_follower import LogFollower
from ops.postgres import Postgres
from ops.redis import RedisServer
from ops.stack import Stack
from ops.tokens import make_token

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A process that ran this long was well: the pause before its next restart is a short one again.
WELL_SECONDS = 60


class Up:
    """One run of the stack. `logs` says which lines of the processes to print: "all", "warnings" or "none"."""

    def __init__(self, stack: Stack, console: Console, logs: str = "warnings") -> None:
        self._stack = stack
        self._console = console
        self._logs = logs
        self._signals = 0
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()

    async def run(self) -> None:
        """Start, serve until a signal, stop. Raises StartError when a process could not be started."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signalled)
        try:
            await self._unless_stopped(self._start())
            if not self._stop.is_set():
                await self._serve()
        finally:
            await self._end()
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals > 1:
            self._at_once.set()

    async def _start(self) -> None:
        started = time.monotonic()
        with self._console.status("Starting Holdfast …"):
            await self._stack.start()
            secret = self._stack.jwt_secret
            event = None
            if secret is not None:
                token = make_token(secret, self._stack.settings, "holdfast-up", scopes=[Scope.ADMIN], seconds=60)
                event = await ensure_event(self._stack.gateway_url, token)
        for name in self._stack.migrated:
            self._console.print(f"migrated {name}")
        describe(self._console, self._stack, event)
        self._console.print(f"Up after {time.monotonic() - started:.1f} s. Ctrl-C stops it.", style="bold")

    async def _serve(self) -> None:
        children = list(self._stack.processes.values())
        tasks = [asyncio.create_task(self._keep_running(child), name=child.name) for child in children]
        if self._logs != "none":
            shown = [one for one in children if self._logs == "all" or not isinstance(one, Postgres | RedisServer)]
            follower = LogFollower(self._console, shown, everything=self._logs == "all")
            tasks.append(asyncio.create_task(follower.run(), name="follow"))
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        done, rest = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        for task in done:
            task.result()  # a task fails only by a mistake of ours: its error is raised, not lost

    async def _keep_running(self, child: Child) -> None:
        """Start `child` again whenever it ends by itself, after a growing pause, as a supervisor would."""
        pauses = Backoff(first=0.5, most=30)
        while True:
            since = time.monotonic()
            code = await child.wait()
            if time.monotonic() - since > WELL_SECONDS:
                pauses.reset()
            pause = pauses.next()
            self._console.print(
                f"{child.name} ended with {code}: {child.last_line()}; starting it again in {pause:.1f} s",
                style="red",
                markup=False,
                soft_wrap=True,
            )
            await asyncio.sleep(pause)
            try:
                await child.start()
            except StartError as error:
                self._console.print(str(error), style="red", markup=False, soft_wrap=True)
            else:
                self._console.print(f"{child.name} is up again", style="green")

    async def _unless_stopped(self, starting: Coroutine[Any, Any, None]) -> None:
        work = asyncio.create_task(starting, name="start")
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if work.done():
            work.result()
            return
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    async def _end(self) -> None:
        """Stop in order; a second signal kills everything at once."""
        ending = asyncio.create_task(self._stack.stop(), name="end")
        at_once = asyncio.create_task(self._at_once.wait(), name="at once")
        with self._console.status("Stopping … (Ctrl-C again ends it at once)"):
            await asyncio.wait([ending, at_once], return_when=asyncio.FIRST_COMPLETED)
            at_once.cancel()
            if not ending.done():
                await self._stack.kill()
            await ending
        self._console.print("Stopped.")


def describe(console: Console, stack: Stack, event: dict[str, Any] | None) -> None:
    """Print where everything is, and what to try first."""
    for name, value in _addresses(stack):
        line = Text.assemble((f"{name:<17} ", "bold"), value)
        console.print(line, soft_wrap=True, highlight=False)  # never cut, so that it can be copied
    if event is not None:
        console.print(f"\nOn sale: {event['name']}, event {event['id']}", markup=False)
        console.print("Book two seats:")
        console.print(example(stack.gateway_url, event), markup=False, soft_wrap=True, highlight=False)


def without_password(url: str) -> str:
    """The URL as it may be shown; the password is what nobody should read from a terminal or a log."""
    shown = re.sub(r"^([a-z]+://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(password=)[^&]*", r"\1***", shown)


def _addresses(stack: Stack) -> list[tuple[str, str]]:
    actors = [child for child in stack.processes.values() if isinstance(child, ActorProcess) and child.admin_port]
    addresses = [
        ("gateway", stack.gateway_url),
        ("shop", f"{stack.gateway_url}/"),
        ("desk", desk_address(stack)),
        ("documentation", f"{stack.gateway_url}/docs (OpenAPI: {stack.gateway_url}/openapi.json)"),
        ("WebSocket", f"{stack.gateway_url.replace('http', 'ws', 1)}/ws"),
        ("webhook", stack.webhook_url),
        ("Stripe", f"{stack.sandbox_url} (sandbox)" if stack.sandbox_url else "the real one"),
        *([("mail", f"{stack.mail_url} (what was sent)")] if stack.mail_url else []),
        ("Redis", without_password(stack.redis_url)),
        ("booking database", without_password(stack.booking_database_url)),
        ("payment database", without_password(stack.payment_database_url)),
        ("logs", str(stack.logs)),
        *((f"metrics {child.name}", f"{child.admin_url}/metrics") for child in actors),
    ]
    if stack.sandbox_url is not None:
        addresses.insert(6, ("publishable key", stack.secrets.stripe_publishable_key))
    return addresses


def desk_address(stack: Stack) -> str:
    """Where operators work; it signs them in for a day, unless an identity provider issues the tokens."""
    address = f"{stack.gateway_url}/desk"
    if stack.jwt_secret is None:
        return address
    return f"{address}#token={make_token(stack.jwt_secret, stack.settings, 'desk', scopes=[Scope.ADMIN])}"


def example(gateway_url: str, event: dict[str, Any]) -> str:
    """Commands that make a booking, to be pasted into a shell."""
    body = f'{{"event_id": "{event["id"]}", "items": [{{"ticket_type_id": "{event["ticket_types"][0]["id"]}", '
    return (
        f"  TOKEN=$(curl -sX POST {gateway_url}/auth/guest | python3 -c 'import json,sys; "
        'print(json.load(sys.stdin)["token"])\')\n'
        f'  curl -sX POST {gateway_url}/bookings -H "Authorization: Bearer $TOKEN" \\\n'
        "    -H 'Content-Type: application/json' -H 'Idempotency-Key: first' \\\n"
        f"""    -d '{body}"quantity": 2}}]}}'"""
    )
