"""The `holdfast` command."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer
from rich.console import Console

from common.contracts.scopes import OPERATOR, Scope
from common.runtime.urls import check_postgres_url
from ops.audit.databases import SourceUnavailable
from ops.audit.sources import find_sources
from ops.errors import StartError
from ops.init import init, text
from ops.installation import Choice
from ops.layout import Ports, Scale
from ops.migrate import migrate_with
from ops.secrets import read_secrets
from ops.tokens import make_token, signing_secret
from ops.version import holdfast_version

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Data = Annotated[Path, typer.Option(envvar="HOLDFAST_DATA", help="Where the local stack keeps its data.")]
DATA = Path(".holdfast")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"holdfast {holdfast_version()}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run and operate Holdfast."""


def _fail(error: Exception, code: int = 1) -> NoReturn:
    Console(stderr=True).print(f"holdfast: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def _port(name: str, help: str) -> Any:
    return typer.Option(envvar=f"{name.upper()}_PORT", min=0, max=65535, help=f"{help}; 0 takes a free one.")


def _check_url(name: str, url: str) -> None:
    """Ends the command with exit code 2 and one line if `url` is no URL of a Postgres database."""
    try:
        check_postgres_url(url)
    except ValueError as error:
        _fail(ValueError(f"{name} {error}"), 2)


def parse_scale(text: str) -> Scale:
    """`booking=2,payment=3` as a Scale. Raises typer.BadParameter."""
    counts: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if name not in vars(Scale()) or not number.isascii() or not number.isdigit() or not 1 <= int(number) <= 64:
            raise typer.BadParameter(f"{part!r}: say it as booking=2,payment=2,gateway=2, each from 1 to 64")
        counts[name] = int(number)
    return Scale(**counts)


# As long as a token's subject may be.
NAME_MAX = 255
AGE_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def parse_since(text: str) -> datetime:
    """A time (ISO 8601, UTC unless it says otherwise) or an age such as 90m, 2h, 7d. Raises typer.BadParameter."""
    number, unit = text[:-1], AGE_UNITS.get(text[-1:])
    if unit is not None and number.isascii() and number.isdigit() and len(number) < 6:
        return datetime.now(UTC) - timedelta(**{unit: int(number)})
    try:
        since = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: say it as 2026-05-01T19:30, or as an age: 90m, 2h, 7d") from None
    return since if since.tzinfo is not None else since.replace(tzinfo=UTC)


def _warn_renamed(former: str, name: str) -> None:
    Console(stderr=True).print(f"holdfast: {former} is now {name}", style="yellow", highlight=False)


def _name(text: str | None) -> str | None:
    """A name that fits into the records. Raises typer.BadParameter."""
    if text is not None and not (0 < len(text) <= NAME_MAX and text.isprintable()):
        raise typer.BadParameter(f"say a name of 1 to {NAME_MAX} printable characters")
    return text


def _wait_seconds(wait_seconds: float, settle: float | None) -> float:
    """The value of --wait-seconds, or that of its old name --settle, which prints a warning."""
    if settle is None:
        return wait_seconds
    _warn_renamed("--settle", "--wait-seconds")
    return settle


@app.command()
def up(
    data: Data = DATA,
    port: Annotated[int, _port("gateway", "The gateway's port")] = Ports.gateway,
    booking_port: Annotated[int, _port("booking", "Where booking serves health and metrics")] = Ports.booking,
    payment_port: Annotated[int, _port("payment", "Where payment takes Stripe's webhooks")] = Ports.payment,
    sandbox_port: Annotated[int, _port("sandbox", "Where the Stripe stand-in serves")] = Ports.sandbox,
    postgres_port: Annotated[int, _port("postgres", "The embedded PostgreSQL's port")] = Ports.postgres,
    redis_port: Annotated[int, _port("redis", "The embedded Redis' port")] = Ports.redis,
    mail_port: Annotated[int, _port("mail", "Where the stand-in for a mail server takes mails")] = Ports.mail,
    scale: Annotated[str, typer.Option(help="How many of each, such as booking=2,payment=2,gateway=2.")] = "",
    logs: Annotated[
        bool, typer.Option("--logs", help="Show all that the processes log, not only warnings.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show nothing of what the processes log.")] = False,
) -> None:
    """Run all of Holdfast here, with an embedded PostgreSQL and Redis, until Ctrl-C.

    REDIS_URL, BOOKING_DATABASE_URL, PAYMENT_DATABASE_URL and STRIPE_SECRET_KEY in the environment replace what is
    embedded; every other setting of the processes is handed on to them. A process that ends is started again.
    """
    # Imported here, as production images have neither the embedded servers nor psutil.
    from ops.stack import Stack
    from ops.up import Up

    ports = Ports(port, booking_port, payment_port, sandbox_port, postgres_port, redis_port, mail_port)
    how_many = parse_scale(scale)
    shown = "all" if logs else "none" if quiet else "warnings"

    async def run() -> None:
        await Up(Stack(data, ports=ports, scale=how_many), Console(), shown).run()

    try:
        asyncio.run(run())
    except StartError as error:
        _fail(error)


@app.command("init")
def init_command(
    file: Annotated[Path, typer.Option(help="Where to write; - prints it.")] = Path(".env"),
    force: Annotated[
        bool, typer.Option("--force", help="Write a new file; the old one is kept under another name.")
    ] = False,
    missing: Annotated[
        bool, typer.Option("--missing", help="Add to the file what it lacks, and change nothing else.")
    ] = False,
) -> None:
    """Write the settings that compose needs, with new secrets, for you alone (mode 0600).

    `holdfast up` needs no such file: it keeps secrets of its own in its data folder.
    """
    if str(file) == "-":
        print(text(), end="")
        return
    try:
        print(init(file, force=force, missing=missing))
    except StartError as error:
        _fail(error)


@app.command()
def url(
    what: Annotated[str, typer.Argument(help="redis, booking or payment.")],
    data: Data = DATA,
) -> None:
    """Print the address of the local stack's Redis, or of a database, with its password: for redis-cli and psql."""
    if what not in ("redis", "booking", "payment"):
        raise typer.BadParameter("say redis, booking or payment")
    try:
        sources = find_sources(data, os.environ)
    except SourceUnavailable as error:
        _fail(error)
    found = {"redis": sources.redis_url, "booking": sources.booking_url, "payment": sources.payment_url}[what]
    if found is None:
        _fail(StartError(f"no local stack has run in {data}"))
    print(found)


@app.command()
def migrate(
    keep_id_of: Annotated[
        str | None, typer.Option(help="booking or payment: whose installation id both get, where they differ.")
    ] = None,
    new_id: Annotated[
        bool, typer.Option("--new-id", help="A new installation id: for a copy that goes on beside the original.")
    ] = False,
    new_account: Annotated[
        bool, typer.Option("--new-account", help="Forget Stripe's account: the next start takes that of its key.")
    ] = False,
) -> None:
    """Bring the databases of BOOKING_DATABASE_URL and PAYMENT_DATABASE_URL up to date; either may be left out.

    Both get the same installation id. Where they have different ones nothing is written, unless it is said whose
    stays.
    """
    if keep_id_of not in (None, "booking", "payment"):
        raise typer.BadParameter("say booking or payment", param_hint="--keep-id-of")
    choice = Choice(cast(Any, keep_id_of), new_id, new_account)
    booking, payment = (os.environ.get(f"{name}_DATABASE_URL") or None for name in ("BOOKING", "PAYMENT"))
    try:
        if booking is None and payment is None:
            raise StartError("set BOOKING_DATABASE_URL, PAYMENT_DATABASE_URL or both")
        for name, url in (("BOOKING", booking), ("PAYMENT", payment)):
            if url is not None:
                _check_url(f"{name}_DATABASE_URL", url)
        applied = asyncio.run(migrate_with(choice, booking, payment))
    except StartError as error:
        _fail(error)
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("nothing to apply")


@app.command()
def token(
    scope: Annotated[list[Scope] | None, typer.Option(help="What it allows; may be given several times.")] = None,
    operator: Annotated[bool, typer.Option("--operator", help="It allows all that operators do.")] = False,
    subject: Annotated[str, typer.Option(help="Whom it stands for.")] = "local",
    seconds: Annotated[int, typer.Option(min=1, help="How long it is valid.")] = 86_400,
    data: Data = DATA,
) -> None:
    """Print a bearer token for the local stack, signed with the first of AUTH_JWT_SECRETS or the secret in the data
    folder."""
    if os.environ.get("AUTH_JWT_SECRET"):
        _warn_renamed("AUTH_JWT_SECRET", "AUTH_JWT_SECRETS")
    try:
        secret = signing_secret(os.environ) or read_secrets(data).auth_jwt_secret
    except StartError as error:
        _fail(error)
    scopes = [*([OPERATOR] if operator else []), *(scope or ())]
    print(make_token(secret, os.environ, subject, scopes=scopes, seconds=seconds))


@app.command()
def audit(
    since: Annotated[
        str | None, typer.Option(help="Only what was made since: a time, or an age such as 90m, 2h, 7d.")
    ] = None,
    wait_seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="How long work under way has to end; 0 checks once.")
    ] = 30,
    settle: Annotated[float | None, typer.Option(hidden=True, min=0, max=3600)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    data: Data = DATA,
) -> None:
    """Compare bookings, seats, payments, refunds and Stripe's ledger, and say what does not match.

    Changes nothing, and may be run at any time. Reads BOOKING_DATABASE_URL, PAYMENT_DATABASE_URL and Stripe
    (STRIPE_SECRET_KEY, STRIPE_API_BASE), else the local stack. Exits with 0 when all matches, 1 when something
    does not, 2 when it could not read everything.
    """
    from ops.audit import command  # Stripe's library takes a second to import
    from ops.audit.report import INCOMPLETE

    made_since = parse_since(since) if since is not None else None
    seconds = _wait_seconds(wait_seconds, settle)
    try:
        code = asyncio.run(command.run(data, os.environ, made_since, seconds, as_json=as_json))
    except StartError as error:
        _fail(error, INCOMPLETE)
    raise typer.Exit(code)


@app.command()
def repair(
    since: Annotated[
        str | None, typer.Option(help="Only what was made since: a time, or an age such as 90m, 2h, 7d.")
    ] = None,
    wait_seconds: Annotated[
        float, typer.Option(min=1, max=3600, help="How long the payment actor has to do what it is sent.")
    ] = 60,
    settle: Annotated[float | None, typer.Option(hidden=True, min=1, max=3600)] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before acting.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and end.")] = False,
    by: Annotated[
        str | None,
        typer.Option(callback=_name, help="Who decides this, for the records; else the account that runs it."),
    ] = None,
    data: Data = DATA,
) -> None:
    """Make both databases and Stripe match again, after a restore or a failover that lost something.

    Reads Stripe's lists and both databases as `holdfast audit` does, says what it would do, and asks.
    Payments are adopted and reported again by the payment actor, which must run; what belongs to no booking goes
    back to the customer, without further waiting; seats are counted anew. Exits with 0 only when an audit at the
    end is clean, 1 when it is not, 2 when it could not read everything.
    """
    from ops.repair import command  # Stripe's library takes a second to import

    made_since = parse_since(since) if since is not None else None
    seconds = _wait_seconds(wait_seconds, settle)
    confirm = (lambda _: False) if dry_run else typer.confirm
    options: dict[str, Any] = {"yes": yes and not dry_run, "ask": confirm, "by": by}
    try:
        code = asyncio.run(command.run(data, os.environ, made_since, seconds, **options))
    except StartError as error:
        _fail(error, command.INCOMPLETE)
    raise typer.Exit(code)
