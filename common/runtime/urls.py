"""Addresses of servers (Postgres, Redis, mail) and of the shop in settings: checked at the start, so that a wrong
one is refused at once."""

from __future__ import annotations

import re
import ssl
from typing import Annotated, Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import AfterValidator
from redis.asyncio.connection import SSLConnection, parse_url

POSTGRES_PORT = 5432
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword")
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-TARGET-SESSION-ATTRS
SESSION_ATTRS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
POSTGRES_OPTIONS = (
    *TLS_OPTIONS, "host", "port", "target_session_attrs", "statement_cache_size", "application_name",
)  # fmt: skip
# redis-py's other options are not the user's to set: how answers are read, the time limits, the retries.
REDIS_OPTIONS = re.compile("ssl_[a-z_]+|db|client_name")


def _parts(url: str, *schemes: str) -> SplitResult:
    """Raises ValueError for a URL with none of these schemes."""
    try:
        parts = urlsplit(url)
    except ValueError:  # the error quotes the URL
        raise ValueError("is no URL") from None
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if re.search(r"\s", url):
        raise ValueError("must have no spaces: write them as %20")
    return parts


def _addresses(parts: SplitResult) -> list[tuple[str, int | None]]:
    """Hosts and their ports; no host where the URL names none. Raises ValueError for a wrong host or port."""
    found = []
    for address in filter(None, parts.netloc.rpartition("@")[2].split(",")):
        named = re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^\[\]:]+)(?::(\d{1,5}))?", address)
        port = int(named[2]) if named and named[2] else None
        if named is None or (port is not None and not 1 <= port <= 65535):
            raise ValueError("has a host or port that is none")
        found.append((unquote(named[1].strip("[]")), port))
    return found


def _options(parts: SplitResult) -> dict[str, str]:
    """Raises ValueError for an option that occurs twice or has no value."""
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) < len(pairs) or not all(options.values()):
        raise ValueError("has an option twice, or one without a value")
    return options


def postgres_options(url: str) -> dict[str, Any]:
    """asyncpg's arguments for a `postgresql://` URL, read as libpq reads it.

    Raises ValueError, whose text has no secret, for any other URL, for an option that Holdfast does not know, and
    for a certificate that cannot be read.
    """
    parts = _parts(url, "postgresql", "postgres")
    options = _options(parts)
    if unknown := sorted(options.keys() - set(POSTGRES_OPTIONS)):
        raise ValueError(f"has unknown options: {', '.join(unknown)}; known are {', '.join(POSTGRES_OPTIONS)}")
    found: dict[str, Any] = {
        **_where(parts, options),
        "user": None if parts.username is None else unquote(parts.username),
        "password": None if parts.password is None else unquote(parts.password),
        "database": unquote(parts.path[1:]) or None,
    }
    if (size := options.get("statement_cache_size")) is not None:
        if not re.fullmatch(r"\d{1,6}", size):
            raise ValueError("statement_cache_size must be a whole number")
        found["statement_cache_size"] = int(size)
    if (name := options.get("application_name")) is not None:
        found["server_settings"] = {"application_name": name}
    if any(option in options for option in TLS_OPTIONS):
        found["ssl"] = _tls({name: options.get(name) for name in TLS_OPTIONS})
    return found


def _where(parts: SplitResult, options: dict[str, str]) -> dict[str, Any]:
    """asyncpg's host and port; of several hosts the one that accepts writes, unless the URL asks otherwise."""
    addresses = _addresses(parts)
    hosts = [host for host, _ in addresses] or options.get("host", "").split(",")
    ports = {str(port or POSTGRES_PORT) for _, port in addresses} or {options.get("port", str(POSTGRES_PORT))}
    if not all(hosts) or (addresses and "host" in options):
        raise ValueError("must name a host, once")
    if len(ports) > 1:
        raise ValueError("names several hosts with different ports: they must have the same")
    (port,) = ports
    if not re.fullmatch(r"\d{1,5}", port) or ("port" in options and addresses):
        raise ValueError("must have one port")
    attrs = options.get("target_session_attrs", "read-write" if len(hosts) > 1 else "any")
    if attrs not in SESSION_ATTRS:
        raise ValueError(f"target_session_attrs must be one of {', '.join(SESSION_ATTRS)}")
    host = hosts if len(hosts) > 1 else hosts[0]
    return {"host": host, "port": int(port), "target_session_attrs": attrs}


def _tls(options: dict[str, str | None]) -> ssl.SSLContext | str:
    """asyncpg's `ssl`: the mode's name, or a context where there are certificates."""
    mode, root, cert, key = (options[name] for name in TLS_OPTIONS[:4])
    if mode is not None and mode not in SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(SSL_MODES)}")
    if cert is None and (key is not None or options["sslpassword"] is not None):
        raise ValueError("sslkey and sslpassword go with sslcert")
    verifies = root is not None or mode in ("verify-ca", "verify-full")
    if mode == "disable" or not (verifies or cert):
        return mode or "prefer"
    try:
        context = ssl.create_default_context(cafile=None if root == "system" else root)
        if cert is not None:
            # OpenSSL must not prompt for the password: a process has no terminal.
            context.load_cert_chain(cert, key, password=options["sslpassword"] or "")
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"the certificates cannot be read: {type(error).__name__}") from None
    context.check_hostname = verifies and mode != "verify-ca"
    if not verifies:
        context.verify_mode = ssl.CERT_NONE
    return context


def check_postgres_url(url: str) -> str:
    """Returns `url`. Raises ValueError if it is no valid address of Postgres."""
    postgres_options(url)
    return url


def check_redis_url(url: str) -> str:
    """Returns `url`. Raises ValueError if it is no valid address of Redis."""
    parts = _parts(url, "redis", "rediss")
    if len(_addresses(parts)) != 1:
        raise ValueError("must name one host: the one that takes writes, or what leads to it")
    options = _options(parts)
    if unknown := sorted(name for name in options if not REDIS_OPTIONS.fullmatch(name)):
        raise ValueError(f"has unknown options: {', '.join(unknown)}")
    if not re.fullmatch(r"/?\d{0,5}", parts.path) or not re.fullmatch(r"\d{1,5}", options.get("db", "0")):
        raise ValueError("must end in the number of a database, such as /0")
    if parts.scheme == "rediss":
        arguments: dict[str, Any] = dict(parse_url(url))
        del arguments["connection_class"]
        try:  # redis-py reads certificates when it connects: here they are read earlier
            SSLConnection(**arguments).ssl_context.get()
        except Exception as error:
            raise ValueError(f"the options of TLS are not right: {type(error).__name__}") from None
    elif any(name.startswith("ssl_") for name in options):
        raise ValueError("has options of TLS, which go with rediss://")
    return url


class SmtpOptions(NamedTuple):
    """A mail server: TLS from the first byte (`tls`), or asked for before anything else is said (`starttls`)."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool
    starttls: bool
    context: ssl.SSLContext | None


def smtp_options(url: str) -> SmtpOptions:
    """Reads `smtps://user:password@host:port` (TLS; port 465) or `smtp://` (STARTTLS, which the server must offer
    unless the option `starttls=no` is there; port 587). `cafile`: who signs the server's certificate.

    Raises ValueError, whose text has no secret.
    """
    parts = _parts(url, "smtp", "smtps")
    options = _options(parts)
    if unknown := sorted(options.keys() - {"starttls", "cafile"}):
        raise ValueError(f"has unknown options: {', '.join(unknown)}; known are starttls, cafile")
    if options.get("starttls", "required") not in ("required", "no"):
        raise ValueError("starttls must be required or no")
    addresses = _addresses(parts)
    if len(addresses) != 1 or not addresses[0][0] or parts.path not in ("", "/"):
        raise ValueError("must name one host, and nothing behind it")
    if (parts.username is None) != (parts.password is None):
        raise ValueError("must have a user and a password, or neither")
    tls, (host, port) = parts.scheme == "smtps", addresses[0]
    starttls = not tls and options.get("starttls") != "no"
    if tls and "starttls" in options:
        raise ValueError("starttls goes with smtp://")
    if parts.password is not None and not (tls or starttls):
        raise ValueError("a password goes over TLS alone")
    try:
        context = ssl.create_default_context(cafile=options.get("cafile")) if tls or starttls else None
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"the certificates cannot be read: {type(error).__name__}") from None
    username = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return SmtpOptions(host, port or (465 if tls else 587), username, password, tls, starttls, context)


def check_smtp_url(url: str) -> str:
    """Returns `url`. Raises ValueError if it is no valid address of a mail server."""
    smtp_options(url)
    return url


def public_url(url: str) -> str:
    """Returns `url` without a slash at its end. Raises ValueError if no link can begin with it: links lead into
    bookings, so that they go over TLS, but for a front end on this machine."""
    parts = _parts(url, "https", "http")
    addresses = _addresses(parts)
    if len(addresses) != 1 or "@" in parts.netloc:
        raise ValueError("must name one host, without a user")
    if "?" in url or "#" in url:
        raise ValueError("must end with the path, if it has one")
    if parts.scheme == "http" and addresses[0][0] not in LOOPBACK:
        raise ValueError(f"must begin with https://, unless the host is one of {', '.join(LOOPBACK)}")
    return url.rstrip("/")


PostgresUrl = Annotated[str, AfterValidator(check_postgres_url)]
RedisUrl = Annotated[str, AfterValidator(check_redis_url)]
SmtpUrl = Annotated[str, AfterValidator(check_smtp_url)]
PublicUrl = Annotated[str, AfterValidator(public_url)]
