"""Reading HTTP as it comes over the wire, and what every refusal must be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

HEAD_END = b"\r\n\r\n"
# That of the request, as far as it has one.
VERSIONS = ("HTTP/1.1", "HTTP/1.0", "HTTP/0.9")
PROBLEM_JSON = "application/problem+json"
# A connection that is kept may be closed for being idle just when the next request goes out.
ONCE = {"Connection": "close"}
MEMBERS = {"type", "title", "status", "code", "detail"}


@dataclass(frozen=True)
class Reply:
    """One answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def read(reader: asyncio.StreamReader) -> Reply | None:
    """The next answer; None when the connection ends without one. Raises AssertionError for what is no HTTP."""
    try:
        head = await reader.readuntil(HEAD_END)
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        version, status, *_ = first.split(" ")
        assert version in VERSIONS, first
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Reply(int(status), headers, await reader.readexactly(int(headers.get("content-length", 0))))
    except (asyncio.IncompleteReadError, OSError):
        return None


def check(status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Raises AssertionError for an error that is none of the documented form, or of the server."""
    if status < 400:
        return
    assert status < 500 or status == 503, f"status {status}"
    assert content_type == PROBLEM_JSON, f"{status} comes as {content_type}"
    problem = json.loads(body)
    assert problem.keys() >= MEMBERS, f"{status} without {MEMBERS - problem.keys()}"
    assert problem["status"] == status, f"{status} calls itself {problem['status']}"
    assert status != 503 or "retry-after" in {name.lower() for name in headers}, "503 without Retry-After"
