"""Reads HTTP as it comes over the wire, and checks the form of every error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

HEAD_END = b"\r\n\r\n"
# An answer has the version of its request, if the request has one.
VERSIONS = ("HTTP/1.1", "HTTP/1.0", "HTTP/0.9")
PROBLEM_JSON = "application/problem+json"
# Requests use a new connection each, as an idle one may be closed just when the next request is sent.
ONCE = {"Connection": "close"}
MEMBERS = {"type", "title", "status", "code", "detail"}


@dataclass(frozen=True)
class Reply:
    """One answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def read(reader: asyncio.StreamReader) -> Reply | None:
    """The next answer; None when the connection ends without one. Raises AssertionError if it is not HTTP."""
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
    """Raises AssertionError for an error that does not have the documented form, and for 5xx other than 503."""
    if status < 400:
        return
    assert status < 500 or status == 503, f"status {status}"
    assert content_type == PROBLEM_JSON, f"{status} comes as {content_type}"
    problem = json.loads(body)
    assert problem.keys() >= MEMBERS, f"{status} without {MEMBERS - problem.keys()}"
    assert problem["status"] == status, f"{status} calls itself {problem['status']}"
    assert status != 503 or "retry-after" in {name.lower() for name in headers}, "503 without Retry-After"
