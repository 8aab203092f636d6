"""holdfast.js: its unit tests, its types, and that TypeScript programs can use it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.clients.declarations import DECLARATIONS, FOLDER, declarations
from tests.clients.node import needs_node
from tests.generators.install import Missing
from tests.generators.made import or_skip, ran

HERE = Path(__file__).parent
PROGRAM = """
import { Holdfast, HoldfastError, isPayable } from "@holdfast/client";
import type { Booking, NewBooking } from "@holdfast/client/types";

const holdfast = new Holdfast({ url: "http://127.0.0.1:8080", storage: localStorage });
const wanted: NewBooking = { event_id: "e", quantity: 2 };
const booking: Booking = await holdfast.book(wanted, { signal: new AbortController().signal });
const secret: string | null | undefined = booking.payment.client_secret;
for await (const event of holdfast.events({ from: new Date() })) console.log(event.ticket_types[0]?.available);
const first: string | undefined = (await holdfast.bookings()).items[0]?.id;
for await (const now of holdfast.watch(booking)) if (isPayable(now)) break;
await holdfast.admin.refund(booking.id, { amount: 100 }, { ifMatch: booking.version });
export const code = (error: unknown) => (error instanceof HoldfastError ? error.code : null);
const later = await holdfast.keyed("POST /of/a/later/release");
export { secret, first, later };
// @ts-expect-error: a text is no number
await holdfast.book({ event_id: "e", quantity: "2" });
// @ts-expect-error: there is no such member
console.log(booking.payment.client_secrets);
// @ts-expect-error: of an operation's answer neither
console.log((await holdfast.request("GET /events/{id}", { path: { id: "e" } })).names);
"""


@pytest.mark.parametrize("file", sorted(path.name for path in (HERE / "js").glob("*.test.mjs")))
async def test_unit_tests_pass(file: str) -> None:
    await needs_node()
    said = await ran("node", "--test", f"js/{file}", folder=HERE)
    (passed,) = re.findall(r"^\S+ pass (\d+)$", said, re.MULTILINE)
    assert int(passed) > 5


def test_the_declarations_are_those_of_the_module_and_a_typescript_program_uses_them(tmp_path: Path) -> None:
    """Both under strict checks."""
    package = tmp_path / "node_modules" / "@holdfast" / "client"
    package.mkdir(parents=True)  # as npm would put it there
    for name in ("package.json", "holdfast.js", "holdfast.d.ts", "types.d.ts"):
        shutil.copy(FOLDER / name, package)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "program.ts").write_text(PROGRAM)
    try:
        made = declarations(tmp_path / "program.ts")
    except Missing as missing:
        or_skip(missing)
        raise
    assert DECLARATIONS.read_text() == made, "run .venv/bin/python -m tests.clients.declarations"
