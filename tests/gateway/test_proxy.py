"""deploy/nginx.conf, run by the real nginx in front of a gateway: TLS, HSTS, and nothing that a proxy must hide."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.runtime.settings import ProcessSettings
from gateway.images import SENT_BYTES_MAX
from gateway.settings import GatewaySettings
from ops.child import free_port
from payment.settings import PaymentSettings
from tests.gateway.stage import Client, token

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
SHOP, HOOKS = "tickets.example", "hooks.tickets.example"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
HSTS = "max-age=63072000; includeSubDomains"

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")


class Here(AbstractResolver):
    """Every name is this machine."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        return


@dataclass
class Proxy:
    """The proxy from outside. `received`: the requests that reached payment."""

    session: aiohttp.ClientSession
    http: int
    https: int
    received: list[tuple[str, str, dict[str, str], bytes]]

    def url(self, path: str, host: str = SHOP) -> str:
        return f"https://{host}:{self.https}{path}"


def certificate(folder: Path, *names: str) -> ssl.SSLContext:
    """Write a certificate for these names; returns what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SHOP)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "fullchain.pem").write_bytes(made.public_bytes(pem))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ssl.create_default_context(cafile=str(folder / "fullchain.pem"))


def here(folder: Path, ports: dict[str, int]) -> str:
    """The configuration with this test's ports and folders, and otherwise as it is delivered."""
    text = CONFIGURATION.read_text()
    replaced = {
        "worker_processes auto;": "worker_processes 1;\ndaemon off;",
        "/run/nginx.pid": str(folder / "nginx.pid"),
        "/etc/ssl/holdfast": str(folder),
        "127.0.0.1:8080": f"127.0.0.1:{ports['gateway']}",
        "127.0.0.1:8082": f"127.0.0.1:{ports['payment']}",
        "listen 80 ": f"listen 127.0.0.1:{ports['http']} ",
        "listen 443 ": f"listen 127.0.0.1:{ports['https']} ",
        "http {": "http {\n" + "".join(f"{name}_temp_path {folder / name};\n" for name in TEMPORARY),
    }
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def nginx(folder: Path, text: str) -> AsyncIterator[None]:
    (folder / "nginx.conf").write_text(text)
    errors = folder / "error.log"
    process = await asyncio.create_subprocess_exec(
        str(NGINX), "-p", str(folder), "-e", str(errors), "-c", str(folder / "nginx.conf")
    )
    try:
        async with asyncio.timeout(10):
            while not (folder / "nginx.pid").exists():
                assert process.returncode is None, errors.read_text()
                await asyncio.sleep(0.01)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.fixture
async def proxy(gateway: Client, tmp_path: Path) -> AsyncIterator[Proxy]:
    received: list[tuple[str, str, dict[str, str], bytes]] = []

    async def note(request: web.Request) -> web.Response:
        received.append((request.method, request.path, dict(request.headers), await request.read()))
        return web.Response(headers={"Server": "to be hidden"})

    payment = web.Application(client_max_size=2**20)
    payment.router.add_route("*", "/{path:.*}", note)
    trust = certificate(tmp_path, SHOP, HOOKS)
    async with TestServer(payment) as there:
        ports = {
            "gateway": gateway.port or 0,
            "payment": there.port or 0,
            "http": free_port(),
            "https": free_port(),
        }
        connector = aiohttp.TCPConnector(ssl=trust, resolver=Here())
        async with nginx(tmp_path, here(tmp_path, ports)), aiohttp.ClientSession(connector=connector) as session:
            yield Proxy(session, ports["http"], ports["https"], received)


@needs_nginx
async def test_http_leads_to_https_and_nowhere_else(proxy: Proxy) -> None:
    url = f"http://{SHOP}:{proxy.http}/events?limit=1"
    async with proxy.session.get(url, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (308, f"https://{SHOP}/events?limit=1")


@needs_nginx
async def test_clients_reach_the_gateway_and_stay_with_tls(proxy: Proxy) -> None:
    async with proxy.session.get(proxy.url("/openapi.json")) as answer:
        assert (answer.status, answer.headers["Strict-Transport-Security"]) == (200, HSTS)
        assert answer.headers.get("Server") == "nginx"  # neither its release, nor ours
    async with proxy.session.get(proxy.url("/bookings")) as answer:
        assert (answer.status, answer.headers["Strict-Transport-Security"]) == (401, HSTS)


@needs_nginx
async def test_browsers_get_the_pages_by_http_2(proxy: Proxy) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection("127.0.0.1", proxy.https, ssl=context, server_hostname=SHOP)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    writer.close()


@needs_nginx
async def test_sockets_go_through(proxy: Proxy) -> None:
    async with proxy.session.ws_connect(proxy.url("/ws")) as socket:
        await socket.send_json({"type": "auth", "token": token("ada")})
        await socket.send_json({"type": "nothing"})
        assert (await socket.receive_json(timeout=10))["type"] == "error"


@needs_nginx
@pytest.mark.parametrize("path", ["/metrics", "/health/ready", "/health/live"])
async def test_what_is_for_operators_is_hidden(proxy: Proxy, path: str) -> None:
    async with proxy.session.get(proxy.url(path)) as answer:
        assert answer.status == 404
        assert b"urn:holdfast" not in await answer.read()  # it did not get as far as that


@needs_nginx
async def test_stripe_reaches_the_webhook_alone(proxy: Proxy) -> None:
    headers = {"Stripe-Signature": "t=1,v1=2", "X-Forwarded-For": "203.0.113.9"}
    async with proxy.session.post(
        proxy.url("/payment/webhook", HOOKS), data=b'{"a": 1}', headers=headers
    ) as answer:
        assert answer.status == 200
    ((method, path, received, body),) = proxy.received
    assert (method, path, body) == ("POST", "/payment/webhook", b'{"a": 1}')
    assert received["Stripe-Signature"] == "t=1,v1=2"
    assert received["X-Forwarded-For"] == "203.0.113.9, 127.0.0.1"  # what the client claims comes first
    async with proxy.session.get(proxy.url("/payment/webhook", HOOKS)) as answer:
        assert answer.status == 403
    for path in ("/", "/health/ready", "/metrics", "/payment/webhook/", "/_sandbox/faults"):
        async with proxy.session.post(proxy.url(path, HOOKS)) as answer:
            assert answer.status == 404, path
    assert len(proxy.received) == 1


@needs_nginx
async def test_a_name_that_is_not_ours_gets_no_answer(proxy: Proxy) -> None:
    with pytest.raises(aiohttp.ClientConnectorError):
        await proxy.session.get(proxy.url("/events", "elsewhere.example"))


def directives(name: str) -> list[str]:
    return re.findall(rf"^\s*{name}\s+(.+?);", CONFIGURATION.read_text(), re.MULTILINE)


def test_its_limits_are_those_of_the_processes() -> None:
    """Also where nginx is not installed."""
    sizes = [int(size.removesuffix("k")) * 1024 for size in directives("client_max_body_size")]
    fields = GatewaySettings.model_fields
    assert sizes == [
        fields["body_max_bytes"].default,
        SENT_BYTES_MAX,
        PaymentSettings.model_fields["webhook_body_max_bytes"].default,
    ]
    (read,) = directives("proxy_read_timeout")
    seconds = int(read.removesuffix("s"))
    assert seconds > fields["wait_max_seconds"].default
    assert seconds > 2 * fields["ws_ping_seconds"].default
    for kept in directives("keepalive_timeout"):
        assert int(kept.removesuffix("s")) < ProcessSettings.model_fields["idle_seconds"].default
    assert len(directives("add_header Strict-Transport-Security")) == 2
