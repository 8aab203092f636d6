"""What bounds the figures that have goals, and what was tried: shown where a goal is missed.

What was measured and not kept is in README.md with its figures, under "Tried and not kept".
"""

from __future__ import annotations

HOPS = (
    "a booking is twelve messages and three HTTP requests through three processes. Each hop costs system "
    "calls, and wakes a process, which costs most where it is alone: see the profile. Kept: rows passed as "
    "JSON, the SDK's own parts without its layers, connections to Redis and Postgres without pools. Not kept: "
    "unix sockets, a wait for larger batches"
)
COMMITS = (
    "four commits, each synced before the next message, Stripe's answer, and nine trips of which most wake a "
    "process. Fewer would ask Stripe before there is a row that knows of it, or publish what is not stored"
)
GATHERED = (
    "what is done for several bookings at once comes on top of six statements and nine trips: reports are "
    "acknowledged together each half second, and tokens for Stripe are taken five at a time. More at a time "
    "was tried for both: the first is felt where a customer pays at once, the second lets idle processes take "
    "the rate"
)
DRAIN = (
    "the Python of one process, which decodes, decides, and writes rows and messages of each entry. Postgres "
    "works on one batch while the messages of the last are made and the next is read. More booking actors "
    "drain more"
)
SHARED_CORES = (
    "all processes share the cores with the load driver and the stand-in for Stripe, which take a third of "
    "them, and each hop waits for a core: see the cores that were busy, and at the profile. Fewer hops "
    "would help, faster ones hardly do"
)
SPREAD_THIN = (
    "the same clients over more processes: each read brings fewer entries, notifications of a booking go to the "
    "gateway that was asked and to that of its socket, and webhooks to any payment process. Kept: readers "
    "without the lease read half as often, samples and renewals of gateways take one trip"
)
SOCKET = (
    "uvloop's transport, the frame reader and one task. A tenth of a KB is noise of the allocator: resident "
    "memory of a gateway with 10,000 is compared with that of one without"
)
EVERY_GET = (
    "aiohttp's parser, router and task for each request, which the bare server has as well; beside them the "
    "metrics, the log and the limits of every request"
)
FAN_OUT = "`send(2)` for each socket, one after the other in one process; more gateways share them"
SLICES = "two or three hundredths are noise of slices that last seconds: run it again with TIMES=2"
RUSH = (
    "the gateway's Python: each client is authenticated, asked about and answered by one process, and a fifth "
    "of that is garbage collection of what waits. Two gateways share it; on two cores they take a core from "
    "booking. Tried: other thresholds of the collector, more that is under way at once"
)
MEMORY = "modules that are imported, and what is kept within bounds; growth that goes on is a fault"
PROMISED = "nothing may: this is a fault"
MACHINE = "the speed of one core, and the disk: compare with another run on the same machine"
UNFORESEEN = "see the profile"

# By the beginning of the goal's name.
BOUNDS = {
    "CPU of a booking at": HOPS,
    "CPU of a confirmed booking at": HOPS,
    "a lone POST /bookings": COMMITS,
    "SQL statements": GATHERED,
    "WAL syncs": GATHERED,
    "Redis round trips": GATHERED,
    "one hot event": SLICES,
    "one booking actor drains": DRAIN,
    "half load": SHARED_CORES,
    "an idle authenticated socket": SOCKET,
    "notifications delivered": FAN_OUT,
    "XADD to socket": FAN_OUT,
    "CPU of GET /events": EVERY_GET,
    "CPU of a booking with 1,000,000 finished": SLICES,
    "CPU of a booking with": SPREAD_THIN,
    "`make up`": MACHINE,
    "a process until ready": MACHINE,
    "an idle process": MEMORY,
    "rush: oversold": PROMISED,
    "rush: 5xx": PROMISED,
    "rush: clients without an answer": PROMISED,
    "rush": RUSH,
    "soak": MEMORY,
}


def bound(goal: str) -> str:
    """What bounds the figure of the goal with this name."""
    return next((text for name, text in BOUNDS.items() if goal.startswith(name)), UNFORESEEN)
