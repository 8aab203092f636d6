"""`make check` asks for known vulnerabilities of what is locked; a database in this process answers."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from release import advisories

LOCK = "idna==3.6 \\\n    --hash=sha256:{0}\nsix==1.16.0 \\\n    --hash=sha256:{0}\n".format("0" * 64)
KNOWN = {
    "id": "PYSEC-0000-1",
    "published": "2024-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "idna", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.7"}]}],
        }
    ],
}


@contextmanager
def database(*known: dict[str, Any], fails_after: int = 100) -> Iterator[tuple[str, list[str]]]:
    """Its address, and the names of the packages that it was asked about."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
            asked.append(name)
            found = [each for each in known if each["affected"][0]["package"]["name"] == name]
            body = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200 if len(asked) <= fails_after else 500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text("[tool.holdfast]\nignored-advisories = []\n")
    (tmp_path / ".venv").mkdir()
    return tmp_path


def test_every_locked_package_is_asked_about_once_a_day(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with database() as (source, asked):
        assert advisories.main(source, root) == 0
        assert asked == ["pip", "idna", "six"]
        assert advisories.main(source, root) == 0
        assert len(asked) == 3
        os.utime(root / "requirements.lock", (time.time() + 5,) * 2)  # it has changed
        assert advisories.main(source, root) == 0
        assert len(asked) == 6
    assert "none" in capsys.readouterr().out


def test_a_known_vulnerability_fails_the_check_until_it_is_ignored_by_name(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with database(KNOWN) as (source, _):
        assert advisories.main(source, root) == 1
        assert capsys.readouterr().err == "advisories: idna 3.6: PYSEC-0000-1, mended in 3.7\n"
        (root / "pyproject.toml").write_text('[tool.holdfast]\nignored-advisories = ["PYSEC-0000-1"]\n')
        assert advisories.main(source, root) == 0


def test_without_the_database_one_line_says_so_and_the_check_passes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with database() as (source, _):
        pass
    assert advisories.main(source, root) == 0
    assert capsys.readouterr().out == f"advisories: not checked, {source} cannot be reached\n"


def test_a_database_that_fails_half_way_fails_the_check(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with database(fails_after=2) as (source, _):
        assert advisories.main(source, root) == 1
    assert "not checked" in capsys.readouterr().err
