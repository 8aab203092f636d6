"""TLS and passwords of mail servers: nothing is said in the clear that should not be."""

from __future__ import annotations

import ssl
from email.message import EmailMessage
from pathlib import Path

import pytest

from booking.smtp import MailServer, MailServerUnavailable
from common.runtime.urls import smtp_options
from tests.booking.mail_server import MailServerInTests, mail_server
from tests.gateway.test_proxy import certificate as certified


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    certified(tmp_path, "localhost")
    return tmp_path / "fullchain.pem"


def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, certificate.with_name("privkey.pem"))
    return made


async def send(stand: MailServerInTests, url: str) -> None:
    server, message = MailServer(smtp_options(url.format(port=stand.port)), 5.0), EmailMessage()
    message["From"], message["To"] = "shop@example.com", "ada@example.com"
    async with server.connection() as smtp:
        await server.send(smtp, message, "shop@example.com", "ada@example.com")


async def test_starttls_and_a_password(certificate: Path) -> None:
    async with mail_server(starttls=context(certificate), auth=True) as stand:
        await send(stand, "smtp://shop:right@localhost:{port}?cafile=" + str(certificate))
        assert (stand.recipients, stand.users) == (["ada@example.com"], ["shop"])


async def test_tls_from_the_first_byte(certificate: Path) -> None:
    async with mail_server(tls=context(certificate)) as stand:
        await send(stand, "smtps://localhost:{port}?cafile=" + str(certificate))
        assert stand.recipients == ["ada@example.com"]


async def test_a_wrong_password_is_the_servers_no(certificate: Path) -> None:
    async with mail_server(starttls=context(certificate), auth=True) as stand:
        with pytest.raises(MailServerUnavailable) as error:
            await send(stand, "smtp://shop:wrong@localhost:{port}?cafile=" + str(certificate))
        assert "wrong" not in str(error.value)


async def test_a_server_without_starttls_gets_nothing() -> None:
    async with mail_server() as stand:
        with pytest.raises(MailServerUnavailable):
            await send(stand, "smtp://localhost:{port}")
        assert stand.recipients == []


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    async with mail_server(starttls=context(certificate)) as stand:
        with pytest.raises(MailServerUnavailable):
            await send(stand, "smtp://localhost:{port}")


async def test_nobody_listens() -> None:
    with pytest.raises(MailServerUnavailable):
        await send(MailServerInTests(), "smtp://127.0.0.1:1?starttls=no")


@pytest.mark.parametrize(
    "url",
    [
        "http://mail",
        "smtp://",
        "smtp://mail/path",
        "smtp://a,b",
        "smtp://mail:0",
        "smtp://user@mail",
        "smtp://user:secret@mail?starttls=no",
        "smtps://mail?starttls=no",
        "smtp://mail?starttls=maybe",
        "smtp://mail?other=1",
        "smtp://mail?cafile=/nowhere",
        "smtp://user:sec ret@mail",
    ],
)
def test_a_wrong_address_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|has|goes|cannot|is no") as error:
        smtp_options(url)
    assert "secret" not in str(error.value)


def test_ports_unless_they_are_given() -> None:
    assert [smtp_options(url).port for url in ("smtp://m", "smtps://m", "smtp://m:25")] == [587, 465, 25]
