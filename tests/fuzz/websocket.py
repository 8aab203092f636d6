"""The WebSocket: sessions of messages that are valid, nearly valid, or no messages at all."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from uuid import uuid4

from hypothesis import strategies as st

from common.contracts.errors import ERRORS
from common.contracts.resources import Booking, Event, OperatorsEvent
from gateway.websocket import Close
from tests.acceptance.client import Json
from tests.fuzz.examples import JSON, Progress, tried
from tests.fuzz.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, RawSocket
from tests.fuzz.harness import Caller, Harness, leaked
from tests.fuzz.tally import Tally

Steps = list[list[Frame]]

PART = "websocket"
ANSWERS_S = 10.0
STEPS_MAX = 40
MESSAGE_MAX = 16_384
END = b"the end"
KINDS = frozenset({"snapshot", "booking", "event", "queue", "error"})


@dataclass(frozen=True)
class Session:
    """The caller that opens the socket, and how it sends its token: in a header, in a message, or not at all."""

    caller: str
    greeting: str
    steps: Steps


async def fuzz(harness: Harness, requests: int, seed: int, tally: Tally, progress: Progress) -> None:
    sessions = st.builds(
        Session,
        st.sampled_from(sorted(harness.callers)),
        st.sampled_from(["header", "message", "none"]),
        st.lists(_steps(harness), min_size=1, max_size=STEPS_MAX),
    )
    await tried(PART, sessions, lambda session: _run(harness, session, tally), requests, seed, tally, progress)


# --- what is sent -----------------------------------------------------------------------------------------


def _messages(harness: Harness) -> st.SearchStrategy[Json]:
    known = {
        "booking_id": [*harness.bookings, str(uuid4())],
        "event_id": [*harness.event_ids, str(uuid4())],
    }
    targets = st.sampled_from([{name: id} for name, ids in known.items() for id in ids])
    subscribing = st.builds(
        lambda kind, target: {"type": kind, **target},
        st.sampled_from(["subscribe", "subscribe", "unsubscribe"]),
        targets,
    )
    tokens = st.sampled_from([caller.client.token or "" for caller in harness.callers.values()]) | st.text(
        max_size=99
    )
    right = subscribing | st.builds(lambda token: {"type": "auth", "token": token}, tokens)
    return right | st.builds(lambda message, name, value: {**message, name: value}, right, _names(), JSON)


def _names() -> st.SearchStrategy[str]:
    return st.sampled_from(["type", "token", "booking_id", "event_id", "version"]) | st.text(max_size=10)


def _texts(harness: Harness) -> st.SearchStrategy[bytes]:
    messages = st.one_of(_messages(harness), JSON).map(lambda value: json.dumps(value).encode())
    nested = st.builds(
        lambda opening, depth: (opening * depth).encode()[: MESSAGE_MAX - 1],
        st.sampled_from(["[", '{"a":']),
        st.integers(1, 16_000),
    )
    return (
        messages
        | messages
        | messages
        | nested
        | st.text(max_size=200).map(lambda text: text.encode())
        | st.binary(max_size=200)
    )


def _steps(harness: Harness) -> st.SearchStrategy[list[Frame]]:
    texts = _texts(harness)
    complete = st.builds(lambda text: [Frame(TEXT, text)], texts)
    control = st.builds(
        lambda opcode, payload: [Frame(opcode, payload)],
        st.sampled_from([PING, PONG, CLOSE]),
        st.binary(max_size=130),
    )
    odd = st.builds(
        lambda opcode, payload, final, masked, reserved: [Frame(opcode, payload, final, masked, reserved)],
        st.integers(0, 15),
        st.binary(max_size=300),
        st.booleans(),
        st.booleans(),
        st.integers(0, 7),
    )
    huge = st.builds(
        lambda opcode, length: [Frame(opcode, b"x" * 100, length=length)],
        st.sampled_from([TEXT, BINARY, CONTINUATION, PING]),
        st.sampled_from([126, MESSAGE_MAX, 65_535, 65_536, 2**31, 2**40, 2**63 - 1, 2**63, 2**64 - 1]),
    )
    full = st.sampled_from([MESSAGE_MAX - 1, MESSAGE_MAX, 100_000]).map(lambda size: [Frame(TEXT, b" " * size)])
    usual = st.one_of(complete, st.builds(_fragments, texts, st.integers(1, 9), st.booleans()))
    # Only one step of twenty is unusual: a frame that breaks the protocol ends the session, which should be rare.
    return st.integers(0, 19).flatmap(lambda die: usual if die else st.one_of(control, odd, huge, full))


def _fragments(text: bytes, size: int, pings: bool) -> list[Frame]:
    parts = [text[at : at + size * 10] for at in range(0, len(text), size * 10)] or [b""]
    frames = [
        Frame(CONTINUATION if number else TEXT, part, final=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]
    return [one for frame in frames for one in ((Frame(PING, b"between"), frame) if pings else (frame,))]


# --- what comes back --------------------------------------------------------------------------------------


async def _run(harness: Harness, session: Session, tally: Tally) -> None:
    caller = harness.callers[session.caller]
    in_header = session.greeting == "header" and caller.name not in ("nobody", "bad token")
    socket = await RawSocket.open(harness.holdfast.stack.gateway_url, caller.headers if in_header else {})
    steps = list(session.steps)
    if session.greeting == "message":
        hello = json.dumps({"type": "auth", "token": caller.client.token}).encode()
        steps.insert(0, [Frame(TEXT, hello)])
    try:
        async with asyncio.timeout(ANSWERS_S):
            sending = asyncio.create_task(_send(socket, steps))
            labels = await _receive(socket, _readers(harness, caller, steps), steps, tally)
            await sending
    except TimeoutError:
        raise AssertionError("the socket fell silent: neither an answer nor its end") from None
    finally:
        socket.abort()
    for label in (labels + ["no answer due"] * len(steps))[: len(steps)]:
        tally.sent(PART, label)


def _readers(harness: Harness, caller: Caller, steps: Steps) -> list[Caller]:
    """The callers whose messages may come: the one that opened the socket, and all whose tokens were sent."""
    sent = _sent(steps)
    return [caller, *(one for one in harness.callers.values() if one.client.token and one.client.token in sent)]


def _sent(steps: Steps) -> str:
    """All data that was sent, joined as the server does: control frames may come between fragments."""
    frames = [frame for frames in steps for frame in frames if frame.opcode < CLOSE]
    return b"".join(frame.payload for frame in frames).decode(errors="replace")


async def _send(socket: RawSocket, steps: Steps) -> None:
    try:
        for frames in steps:
            await socket.send(b"".join(frame.raw for frame in frames))
        await socket.send(Frame(PING, END).raw)
        if any(frame.length is not None for frames in steps for frame in frames):
            socket.end()  # the missing rest of a frame does not come
    except OSError:
        return  # closed already


async def _receive(socket: RawSocket, readers: list[Caller], steps: Steps, tally: Tally) -> list[str]:
    """A label of each answer, up to the answer to the last ping or the end of the socket."""
    hidden = set.intersection(*(reader.hidden for reader in readers))
    operator = all(reader.operator for reader in readers)
    sent = _sent(steps)
    closed_by_us = any(frame.opcode == CLOSE for frames in steps for frame in frames)
    labels: list[str] = []
    while (frame := await socket.receive()) is not None:
        if frame.opcode == PONG and frame.payload == END:
            break
        if frame.opcode == CLOSE:
            code = int.from_bytes(frame.payload[:2], "big")
            assert closed_by_us or code in set(Close), f"close code {code} is not documented"
            labels.append(f"closed {code}")
            break
        if frame.opcode == TEXT:
            labels.append(_check(json.loads(frame.payload), operator))
            tally.count_searched(PART)
            assert not leaked(hidden, frame.payload.decode(), sent), (
                f"{readers[-1].name} is shown what is another's"
            )
    return labels


def _check(message: Json, operator: bool) -> str:
    """Check a message of the server, and return its label. `operator`: only operators may read it."""
    assert message["type"] in KINDS, f"a message of type {message['type']}"
    if message["type"] == "error":
        status = ERRORS[message["code"]].status
        assert status < 500 or status == 503, f"error {message['code']}"
        assert message["detail"]
        return f"error {message['code']}"
    if "booking" in message:
        booking = Booking.model_validate_json(json.dumps(message["booking"]), strict=True)
        assert not operator or booking.payment.client_secret is None, "an operator sees a secret"
    elif "event" in message:
        kind = OperatorsEvent if operator else Event
        kind.model_validate_json(json.dumps(message["event"]), strict=True)
    return str(message["type"])
