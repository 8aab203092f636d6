"""What a rush has shown, in the form in which it is judged, printed, drawn and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, NamedTuple

from bench.findings import Chart, Findings, Goal, Series, Table, cell
from bench.rush.sale import Rush
from bench.rush.tally import Sample, milliseconds

# How soon after the sale has begun every seat has an owner; "in seconds" is the goal.
SOLD_OUT_MAX_S, SOLD_OUT_BEFORE_S = 10.0, 2.5
# How soon every client knows whether there is a seat for it. Clients with seats pay afterwards: intents come no
# faster than Stripe allows.
ANSWERED_MAX_S, ANSWERED_BEFORE_S = 8.0, 15.2


def findings(rush: Rush) -> Findings:
    plan, tally = rush.plan, rush.tally
    return Findings(
        figures={
            "clients": plan.clients,
            "office": plan.office,
            "attacks": {
                name: {str(key): n for key, n in sorted(counts.items())} for name, counts in rush.attackers.items()
            },
            "seats": plan.seats,
            "within_seconds": plan.within,
            "processes": asdict(plan.scale),
            "connections": rush.connections,
            "seconds": rush.seconds,
            "sold_out_after": rush.sold_out_after,
            "answered_after": rush.answered_after,
            "paid_after": rush.paid_after,
            "oversold": max(rush.oversold, 0),
            "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
            "sent_back": tally.sent_back,
            "unanswered": rush.unanswered,
            "answer_ms": _spread(tally.latencies),
            "verdict_ms": _spread(tally.verdicts),
            "sale_ms": _spread(tally.sales),
            "cpu_seconds": rush.cpu,
            "driver_lag_p99_ms": None if rush.lag is None else rush.lag * 1000,
        },
        tables=[_clients_table(rush), _times_table(rush)],
        goals=_goals(rush),
        charts=_charts(rush.tally.samples),
        problems=rush.problems,
    )


def _spread(seconds: Sequence[float]) -> dict[str, float | None]:
    return {
        name: milliseconds(seconds, share)
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }


def _goals(rush: Rush) -> list[Goal]:
    return [
        Goal("rush: oversold", max(rush.oversold, 0), 0, False, "seats"),
        Goal("rush: 5xx that say not when to come again", rush.tally.bad, 0, False, "answers"),
        Goal("rush: clients without an answer", rush.unanswered, 0, False, "clients"),
        Goal("rush: sold out after", rush.sold_out_after, SOLD_OUT_MAX_S, False, "s", SOLD_OUT_BEFORE_S),
        Goal(
            "rush: everyone knows whether they have a seat after",
            rush.answered_after,
            ANSWERED_MAX_S,
            False,
            "s",
            ANSWERED_BEFORE_S,
        ),
    ]


def _clients_table(rush: Rush) -> Table:
    plan, tally = rush.plan, rush.tally
    title = (
        f"A rush of {plan.clients:,} clients within {plan.within:g} s for {plan.seats:,} seats, "
        f"over {rush.connections:,} connections"
    )
    return Table(
        title,
        ("", "clients"),
        [
            ("got a seat and paid for it", f"{len(tally.confirmed):,}"),
            ("were refused: sold out", f"{tally.refused:,}"),
            ("had no answer", f"{rush.unanswered:,}"),
            ("answers that said when to come again", f"{tally.sent_back:,}"),
            ("seconds until every seat was held", cell(rush.sold_out_after)),
            ("seconds until everyone knew whether they have a seat", cell(rush.answered_after)),
            ("seconds until every seat was paid for", cell(rush.paid_after)),
            ("seconds until no client waited any more", cell(rush.seconds)),
        ],
    )


def _times_table(rush: Rush) -> Table:
    rows = (
        ("one request, until its answer", rush.tally.latencies),
        ("a client, until it knew whether it has a seat", rush.tally.verdicts),
        ("a client, until its booking was confirmed", rush.tally.sales),
    )
    return Table(
        "How long it took, in seconds",
        ("", "p50", "p90", "p99", "longest"),
        [
            (name, *(cell(None if ms is None else ms / 1000, 2) for ms in _spread(seconds).values()))
            for name, seconds in rows
        ],
    )


# What attackers may cost the others: a tenth of their latency.
COSTS_MAX = 1.1
# A round counts if others used no more of the machine's cores than this during each of its sales.
OTHERS_MAX = 0.05


class Compared(NamedTuple):
    """Three sales, played one after the other: without attackers, with attackers of another installation on this
    machine, and with attackers."""

    calm: Rush
    elsewhere: Rush
    attacked: Rush


WAITS: tuple[tuple[str, Callable[[Rush], Sequence[float]]], ...] = (
    ("an answer", lambda rush: rush.tally.latencies),
    ("knew whether there is a seat", lambda rush: rush.tally.verdicts),
    ("booking confirmed", lambda rush: rush.tally.sales),
)


def compared(rounds: Sequence[Compared]) -> Findings:
    """What attackers have cost the others. Here they share the machine's cores and its kernel with those whom they
    attack, which real ones do not: what they cost beside those who attack somebody else is what they cost Holdfast.

    Medians of the rounds, so that the machine's other work disturbs one round and not the figure. Rounds in which
    there was too much of it do not count, if most had less: latency is the first thing that it adds to."""
    quiet = [each for each in rounds if all((rush.others or 0.0) <= OTHERS_MAX for rush in each)]
    enough = 2 * len(quiet) > len(rounds)
    notes = []
    if len(quiet) < len(rounds):
        so = "which do not count" if enough else "so that all count, and mean little"
        notes.append(
            f"others used more than {OTHERS_MAX:.0%} of the machine's cores in "
            f"{len(rounds) - len(quiet)} of {len(rounds)} rounds, {so}"
        )
    problems = [problem for sales in rounds for rush in sales for problem in rush.problems]
    got = Counter[tuple[str, int]]()
    for _, _, each in rounds:
        got.update({(name, status): n for name, counts in each.attackers.items() for status, n in counts.items()})
    rounds = quiet if enough else rounds
    rows, goals = [], []
    figures: dict[str, Any] = {
        "rounds": len(rounds),
        "others": [[rush.others for rush in sales] for sales in rounds],
    }
    for name, of in WAITS:
        spreads = [[_spread(of(rush)) for rush in each] for each in rounds]
        for point in ("p50", "p90", "p99"):
            known = [waits for spread in spreads if all(waits := [each[point] or 0.0 for each in spread])]
            calm, elsewhere, attacked = (
                median(waits) if waits else None for waits in ([each[n] for each in known] for n in range(3))
            )
            to_calm, times = (median([waits[2] / waits[n] for waits in known]) if known else None for n in range(2))
            calms = [waits[0] for waits in known]
            figures[f"{name}, {point}"] = {
                "calm_ms": calm,
                "calm_least_ms": min(calms, default=None),
                "calm_most_ms": max(calms, default=None),
                "elsewhere_ms": elsewhere,
                "attacked_ms": attacked,
                "times_calm": to_calm,
                "times": times,
            }
            spread_of_calm = f"{cell(min(calms, default=None))} to {cell(max(calms, default=None))}"
            cells = (cell(calm), spread_of_calm, cell(elsewhere), cell(attacked), cell(to_calm, 2), cell(times, 2))
            rows.append((f"{name}, {point}", *cells))
            goals.append(Goal(f"attack: {name}, {point}", times, COSTS_MAX, False, "times"))
    answers = [
        (f"{name}, answers {status or 'without a status'}", f"{number:,}")
        for (name, status), number in sorted(got.items())
    ]
    return Findings(
        figures=figures,
        tables=[
            Table(
                "What attackers cost the others, in ms",
                ("", "no attackers", "least to most", "elsewhere", "here", "here / none", "here / elsewhere"),
                rows,
            ),
            Table("What the attackers got", ("", "answers"), answers),
        ],
        goals=goals,
        problems=problems,
        notes=notes,
    )


def _charts(samples: Sequence[Sample]) -> list[Chart]:
    def curve(name: str, value: Callable[[Sample], float | None]) -> Series:
        return Series(name, [(each.at, y) for each in samples if (y := value(each)) is not None])

    over = "seconds since the sale began"
    return [
        Chart("Rush: seats", over, "seats", [curve("held", lambda m: m.held), curve("sold", lambda m: m.sold)]),
        Chart(
            "Rush: clients",
            over,
            "clients",
            [
                curve("came", lambda m: m.came),
                curve("have no answer yet", lambda m: m.asking),
                curve("were refused", lambda m: m.refused),
            ],
        ),
        Chart(
            "Rush: answers in each quarter of a second",
            over,
            "answers",
            [curve("all", lambda m: m.answers), curve("come again", lambda m: m.sent_back)],
        ),
        Chart(
            "Rush: latency of a request", over, "ms", [curve("p50", lambda m: m.p50), curve("p99", lambda m: m.p99)]
        ),
    ]
