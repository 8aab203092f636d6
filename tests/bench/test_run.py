"""A run of several phases: each is measured, also if another one fails."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from bench import run
from bench.__main__ import arguments
from bench.errors import BenchError
from bench.findings import Findings, Goal
from bench.progress import Steps
from bench.run import Plan, measure
from ops.errors import StartError


class RecordedSteps(Steps):
    """Records the steps that are reported."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.done = 0.0

    def _show(self, text: str, done: float) -> None:
        self.lines.append(text)
        self._move(done)

    def _move(self, done: float) -> None:
        assert self.done <= done <= 1
        self.done = done


@dataclass
class Phase:
    """A phase that takes no time; it raises `error` in the middle."""

    error: Exception | None = None
    SECONDS: float = 10.0
    given: list[float] = field(default_factory=list)

    async def run(self, seconds: float, steps: Steps) -> Findings:
        self.given.append(seconds)
        steps.begin("half", 0.5)
        if self.error is not None:
            raise self.error
        steps.begin("the rest", 0.5)
        steps.part(1.0)
        return Findings({"seconds": seconds}, goals=[Goal("quick", 1.0, 2.0, False, "s")])


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> dict[str, Phase]:
    """Five phases instead of the real ones, three of which fail."""
    made = {
        "one": Phase(),
        "bad": Phase(BenchError("not true")),
        "never": Phase(StartError("it does not start")),
        "broken": Phase(ValueError("unforeseen")),
        "two": Phase(SECONDS=30.0),
    }
    monkeypatch.setattr(run, "PHASES", made)
    return made


async def test_phase_that_fails_is_a_problem_and_the_others_are_measured(phases: dict[str, Phase]) -> None:
    steps = RecordedSteps()
    report = await measure(Plan(tuple(phases)), steps)
    assert report.problems == ["bad: not true", "never: it does not start", "broken: ValueError: unforeseen"]
    assert [goal.name for goal in report.goals] == ["quick", "quick"]
    assert list(report.phases) == list(phases)
    assert "two: the rest" in steps.lines
    assert steps.done == pytest.approx(1.0)
    assert {"cores", "postgres", "redis", "python"} <= report.machine.keys()


async def test_phases_run_in_their_own_order_and_as_long_as_requested(phases: dict[str, Phase]) -> None:
    report = await measure(Plan(("two", "one"), times=1.5), RecordedSteps())
    assert list(report.phases) == ["one", "two"]
    assert (phases["one"].given, phases["two"].given, phases["bad"].given) == ([15.0], [45.0], [])


def test_command_line() -> None:
    assert arguments([]) == (Plan(), None)
    assert arguments(["--times", "2", "--only", "drain", "--only", "rush", "--name", "reference-machine"]) == (
        Plan(("drain", "rush"), 2.0),
        "reference-machine",
    )


@pytest.mark.parametrize("words", [["--times", "0"], ["--only", "nothing"], ["--name", "../elsewhere"]])
def test_wrong_command_line_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        arguments(words)
    assert words[0] in capsys.readouterr().err


def test_all_phases_take_at_most_a_quarter_of_an_hour() -> None:
    assert Plan().seconds < 900
