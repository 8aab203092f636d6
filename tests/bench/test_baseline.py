"""The release before: how it is prepared, run and compared, and which stored figures replace it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import psutil
import pytest

from bench.baseline import ROOT, stored
from bench.baseline.phase import over_stored
from bench.baseline.release import Release, Unavailable, prepared
from bench.baseline.stage import release_running
from bench.baseline.stored import Level, Stored
from bench.clients import connected, order
from bench.errors import BenchError
from bench.figures import SPREAD, Ways
from bench.sides import Side
from ops.migrate import migrate

RESULT = {
    "measured_at": "2030-01-02T030405Z",
    "machine": {"cores": 2},
    "phases": {
        "baseline": {
            "commit": "abc",
            "raw_cpu_ms": 0.05,
            "ways": {"before": [{"concurrency": 64, "cpu_sum": 4.0, "payable_p50": 100.0, "per_second": 250.0}]},
        }
    },
}


async def test_commit_that_git_does_not_have_is_unavailable_and_leaves_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="git"):
        await prepared("0" * 40, tmp_path)
    assert not (tmp_path / ("0" * 12) / "checkout").exists()


async def test_release_is_run_by_its_own_command_and_all_of_it_is_stopped() -> None:
    """This checkout stands for the release: its processes are found, sell, and are gone afterwards."""
    release = Release("0" * 40, ROOT, Path(sys.executable), "this one")
    async with release_running(release) as stage, connected(stage, 1) as (client,):
        pids = stage.pids()
        assert set(pids) == {
            f"{kind}-1" for kind in ("gateway", "booking", "payment", "sandbox", "postgres", "redis")
        }
        assert stage.pids("booking") == {"booking-1": pids["booking-1"]}
        (event,) = await stage.events(1, 1, "Evening")
        await client.buy(order(event["id"]))
        await stage.wait_until_idle()
        folder, url = stage.stack.data_dir, stage.stack.booking_database_url
        # The figures of a release whose schema is older are judged, too.
        database = await asyncpg.connect(url)
        await database.execute("DELETE FROM tortoise_migrations WHERE name = '0031_cheap_checks'")
        await database.close()
        (found,) = await Side("before", stage, [client], url).problems()
        assert found == "before: 1 bookings are confirmed and were reported on no socket"
        assert await migrate(url, None) == []
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert not folder.exists()


def test_stored_figures_are_scaled_to_another_machine(tmp_path: Path) -> None:
    """Where a raw POST costs twice as much, everything takes twice as long."""
    path = tmp_path / "stored.json"
    stored.write(RESULT, path)
    kept = stored.read(path, "abc")
    assert kept == Stored("abc", 0.05, {64: Level(4.0, 100.0, 250.0)})
    assert kept.scaled(0.1) == {64: Level(8.0, 200.0, 125.0)}


def test_stored_figures_of_another_release_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "stored.json"
    stored.write(RESULT, path)
    with pytest.raises(BenchError, match="those of abc"):
        stored.read(path, "def")
    with pytest.raises(BenchError, match="no stored figures"):
        stored.read(tmp_path / "none.json", "abc")


def test_run_without_the_release_before_is_not_stored(tmp_path: Path) -> None:
    result: dict[str, Any] = {"phases": {"baseline": {"ways": {"now": []}}}}
    with pytest.raises(BenchError, match="not measured"):
        stored.write(result, tmp_path / "stored.json")


def test_this_tree_is_compared_with_stored_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Stored("abc", 0.05, {64: Level(4.0, 100.0, 250.0)})
    monkeypatch.setattr(stored, "read", lambda: kept)
    ways = Ways(64, SPREAD, 1, 10, 100.0, 50.0, None, None, None, {}, {}, 4.0, 40.0)
    found = over_stored([ways], 0.1)
    assert found[64].cpu == pytest.approx(0.5)
    assert found[64].payable_p50 == pytest.approx(0.25)
    assert over_stored([ways], None) == {}


def test_stored_figures_that_are_kept_are_those_of_the_release_before() -> None:
    assert set(stored.read().levels) == {1, 16, 64}
    assert orjson.loads(stored.STORED.read_bytes())["machine"]["cores"] == 2
