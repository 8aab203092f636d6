"""The pages as the gateway serves them: headers, files, languages, colours. What they do in a
browser is in `tests/pages/`."""

from __future__ import annotations

import gzip
import json
import re
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientResponse

from common.contracts.errors import ConfigurationError
from common.contracts.scopes import OPERATOR, Scope
from common.runtime.settings import load
from gateway.brand import CONTRAST, DARK, LIGHT, Colour, contrast, readable, stylesheet
from gateway.catalogue_reader import CATALOGUE
from gateway.docs import ASSETS
from gateway.page_files import COMMENTS, FOLDER, PageFiles, without_comments
from gateway.page_views import PAGE_FILES, PAGES, chosen_language, id_of, policy
from gateway.settings import GatewaySettings
from payment.sdk import STRIPE_VERSION
from tests.gateway.conftest import Gateway
from tests.gateway.stage import EVENT_ID, SECRET, Client, event

SLUG_ID = "01j000000070080000000000e0"  # not an event's
LANGUAGES = ["de", "en"]
CLIENT = ASSETS / "holdfast.js"
SANDBOX = "http://127.0.0.1:12111/stripe.js"


@pytest.fixture
def start(start: Gateway) -> Gateway:
    """Of gateways with pages, which those of other tests do not have."""
    return partial(start, shop=True, desk=True)


def settings(**values: Any) -> GatewaySettings:
    return load(GatewaySettings, auth_jwt_secrets=SECRET, **values)


def given(html: str) -> dict[str, Any]:
    """What the shell tells the scripts."""
    found = re.search(r'<script type="application/json" id="shop">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    shop: dict[str, Any] = json.loads(found[1])
    return shop


DESK = ["/desk", "/desk/events", "/desk/events/new", f"/desk/events/{EVENT_ID}", "/desk/bookings", "/desk/sell"]


@pytest.mark.parametrize(
    "path", ["/", "/b/HF-7K3M-9Q2T", "/my", f"/e/words-{SLUG_ID}", f"/e/{SLUG_ID}", *DESK, "/door"]
)
async def test_each_page_is_the_shell_with_its_script(gateway: Client, path: str) -> None:
    response = await gateway.get(path)
    html = await response.text()
    assert (response.status, response.content_type) == (200, "text/html")
    scripts = re.findall(r'<script type="module" src="([^"]+)"', html)
    assert scripts
    for address in scripts + re.findall(r'<link rel="[a-z]+"[^>]* href="([^"]+)"', html):
        if address.startswith("/events"):
            continue  # no actor answers here
        answer = await gateway.get(address)
        assert answer.status == 200, address
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    tag = response.headers["ETag"]
    assert response.headers["Cache-Control"] == "no-cache"
    assert (await gateway.get(path, headers={"If-None-Match": tag})).status == 304
    assert (await gateway.head(path)).status == 200


@pytest.mark.parametrize(
    ("script", "served"),
    [
        ("// a\nlet a = 1; // b\n", "\nlet a = 1; // b\n"),
        ("/** a\n * b\n */\nlet a;\n", "\n\n\nlet a;\n"),
        ("  /** @type {A} */ \n", "\n"),
        ("let a =\n  /** @type {A} */ (b);\n/** c */\n", "let a =\n  /** @type {A} */ (b);\n\n"),
        ("/*! licence */\n", "/*! licence */\n"),
        ("let a = `http://a`;\n", "let a = `http://a`;\n"),
    ],
)
def test_comments_of_scripts_stay_at_home(script: str, served: str) -> None:
    assert without_comments(script) == served


async def test_scripts_are_served_without_comments_and_with_all_else(gateway: Client) -> None:
    """Each line is one of the file, or empty where the file has a comment; no text in quotes looks like one."""
    release = gateway.app[PAGE_FILES].release
    for path in (*FOLDER.glob("*.js"), CLIENT):
        written = path.read_text()
        answer = await gateway.get(f"/pages/{release}/{path.name}")
        lines = list(zip(written.splitlines(), (await answer.text()).splitlines(), strict=True))
        left_out = [line.strip() for line, there in lines if line and not there]
        assert all(line == there for line, there in lines if there)
        assert all(line.startswith(("//", "/**", "*")) for line in left_out)
        assert written.count("`") % 2 == 0
        inside = re.findall(r"`[^`]*`", written)
        assert not any(COMMENTS.search(text) for text in inside), path.name


async def test_pages_load_from_here_and_from_stripe_alone(start: Gateway) -> None:
    response = await (await start()).get("/")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self' https://js.stripe.com https://*.js.stripe.com; style-src 'self'; "
        "img-src 'self' blob: data:; connect-src 'self' https://api.stripe.com; "
        "frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    html = await response.text()
    assert not re.search(r"<script(?![^>]* src=)(?! type=.application/json)|style=|\son\w+=", html)


async def test_no_script_of_others_runs_at_the_desk(start: Gateway) -> None:
    gateway = await start(stripe_js_url=SANDBOX)
    for path in ("/desk", "/door"):
        assert (await gateway.get(path)).headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )


async def test_the_desk_knows_scopes_and_currencies(gateway: Client) -> None:
    found = given(await (await gateway.get("/desk")).text())
    assert found["scopes"]["holdfast:finance"] == ["holdfast:finance", "holdfast:read"]
    assert found["scopes"][OPERATOR] == sorted(Scope)
    assert (found["currencies"]["eur"], found["currencies"]["jpy"], found["currencies"]["isk"]) == (2, 0, 2)
    assert "scopes" not in given(await (await gateway.get("/")).text())


def test_the_sandbox_stands_in_for_stripe_in_the_policy() -> None:
    sources = policy(settings(stripe_js_url=SANDBOX))
    assert "stripe.com" not in sources
    for directive in ("script-src 'self'", "connect-src 'self'", "frame-src"):
        assert f"{directive} http://127.0.0.1:12111;" in sources


def test_the_script_belongs_to_the_pinned_release_of_the_api() -> None:
    release = STRIPE_VERSION.partition(".")[2]
    assert str(settings().stripe_js_url) == f"https://js.stripe.com/{release}/stripe.js"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"stripe_publishable_key": "pk_live_1", "stripe_js_url": SANDBOX}, "STRIPE_JS_URL"),
        (
            {"stripe_publishable_key": "pk_live_1", "stripe_js_url": "http://js.stripe.com/endive/stripe.js"},
            "STRIPE",
        ),
        ({"shop_colour": "red"}, "SHOP_COLOUR"),
        ({"shop_logo": "/nowhere/logo.svg"}, "SHOP_LOGO"),
        ({"shop_logo": __file__}, "SHOP_LOGO"),
        ({"shop_terms_url": "javascript:alert(1)"}, "SHOP_TERMS_URL"),
    ],
)
def test_settings_that_would_harm_customers_are_refused(values: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        settings(**values)


async def test_the_shop_is_there_where_guests_get_tokens_and_the_desk_everywhere_unless_switched_off(
    start: Gateway,
) -> None:
    off = {"shop": False, "desk": False}
    for overrides, shop, desk in (
        ({}, 200, 200),
        ({"shop": False}, 404, 200),
        ({"auth_guests": False}, 404, 200),
        ({"desk": False}, 200, 404),
        (off, 404, 404),
    ):
        gateway = await start(**overrides)
        assert [(await gateway.get(path)).status for path in ("/my", "/desk", "/door")] == [shop, desk, desk]


# --- what the shell says ----------------------------------------------------------------------------------


async def test_what_the_operator_has_set_reaches_the_page_as_text(start: Gateway, tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    gateway = await start(
        shop_name="</script><b>Pier & Co", shop_logo=str(logo), shop_terms_url="https://pier.example/terms",
        shop_tax_line="incl. 7 % VAT", stripe_js_url=SANDBOX,
    )  # fmt: skip
    html = await (await gateway.get("/")).text()
    assert "<b>" not in html
    assert "<title>&lt;/script&gt;&lt;b&gt;Pier &amp; Co</title>" in html
    shop = given(html)
    assert shop["name"] == "</script><b>Pier & Co"
    assert shop["links"] == {"terms": "https://pier.example/terms"}
    assert (shop["tax_line"], shop["stripe_js_url"]) == ("incl. 7 % VAT", SANDBOX)
    image = await gateway.get(shop["logo"])
    assert (await image.read(), image.content_type) == (logo.read_bytes(), "image/svg+xml")
    assert "script-src" not in image.headers["Content-Security-Policy"]


async def test_the_page_of_an_event_has_its_name_for_those_who_run_no_scripts(start: Gateway) -> None:
    gateway = await start(event_catalogue_max=10)
    reader = gateway.app[CATALOGUE]
    reader.catalogue.put(event(name="Jazz <&> Blues"))
    reader._confirmed_until = float("inf")
    html = await (await gateway.get(f"/e/jazz-{SLUG_ID}")).text()
    assert "<title>Tickets</title>" in html
    html = await (await gateway.get(f"/e/jazz-{slug_id(EVENT_ID)}")).text()
    assert "<title>Jazz &lt;&amp;&gt; Blues · Tickets</title>" in html


def slug_id(id: UUID) -> str:
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return "".join(alphabet[id.int >> 5 * place & 31] for place in reversed(range(26)))


def test_a_slug_ends_in_the_id_whatever_words_are_before_it() -> None:
    short = slug_id(EVENT_ID)
    for slug in (short, f"a-concert-{short}", f"A-CONCERT-{short.upper()}", f"ein-käfig-{short}"):
        assert id_of(slug) == EVENT_ID
    for wrong in ("", "concert", f"concert{short}", short[1:], f"{short}-", "z" * 26, f"{short[:-1]}u"):
        assert id_of(wrong) is None


async def test_an_address_without_an_id_is_a_page_that_says_so(gateway: Client) -> None:
    response = await gateway.get("/e/concert")
    assert (response.status, response.content_type) == (404, "text/html")


@pytest.mark.parametrize(
    ("asked", "accepted", "chosen"),
    [
        (None, "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "fr,en;q=0.5,de;q=0.7", "de"),
        (None, "de;q=0, fr", "en"),
        (None, "de;q=much,*", "en"),
        ("en", "de", "en"),
        ("../x", "de", "de"),
    ],
)
def test_the_language_is_the_one_asked_for_or_the_one_liked_most(
    asked: str | None, accepted: str, chosen: str
) -> None:
    assert chosen_language(asked, accepted, LANGUAGES) == chosen


# --- files ------------------------------------------------------------------------------------------------


async def served(gateway: Client, name: str, **headers: str) -> ClientResponse:
    release = gateway.app[PAGE_FILES].release
    return await gateway.get(f"/pages/{release}/{name}", headers=headers, auto_decompress=False)


async def test_files_are_compressed_for_those_who_can_read_it(gateway: Client) -> None:
    plain = without_comments((FOLDER / "page.js").read_text()).encode()
    compressed = await served(gateway, "page.js", **{"Accept-Encoding": "br, gzip"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await compressed.read()) == plain
    other = await served(gateway, "page.js", **{"Accept-Encoding": "identity"})
    assert await other.read() == plain
    assert compressed.headers["Vary"] == other.headers["Vary"] == "Accept-Encoding"


async def test_a_file_of_another_release_is_not_kept(gateway: Client) -> None:
    response = await gateway.get("/pages/0123456789abcdef/page.js")
    assert (response.status, response.headers["Cache-Control"]) == (200, "no-cache")
    assert (await gateway.get("/pages/0123456789abcdef/../settings.py")).status == 404
    assert (await served(gateway, "page.html")).status == 404


def test_a_page_names_all_modules_that_it_needs() -> None:
    files = PageFiles(settings())
    assert set(files.modules("my.js")) == {
        "dom.js", "holdfast.js", "page.js", "recovery.js", "shop.js", "words.js",
    }  # fmt: skip
    assert {"pay.js", "payment.js", "tickets.js"} <= set(files.modules("booking.js"))


def test_a_page_links_the_stylesheets_of_its_modules() -> None:
    files = PageFiles(settings())
    for script, own in (("my.js", []), ("desk-sell.js", ["desk.css"]), ("door.js", ["door.css"])):
        assert files.stylesheets(script) == ["pages.css", *own]


async def test_what_a_page_reads_first_is_read_at_once(gateway: Client) -> None:
    for path, address in (
        ("/", "/events"),
        (f"/e/{slug_id(EVENT_ID)}", f"/events/{EVENT_ID}"),
        ("/my", None),
        ("/?q=a", None),
    ):
        found = re.search(
            r'<link rel="preload" as="fetch" [^>]*href="(/events[^"]*)"', await (await gateway.get(path)).text()
        )
        assert (found and found[1]) == address


def test_the_address_of_the_files_changes_with_each_of_them() -> None:
    assert PageFiles(settings()).release == PageFiles(settings()).release
    assert PageFiles(settings()).release != PageFiles(settings(shop_colour="#112233")).release


# --- texts and colours ------------------------------------------------------------------------------------

NAMED = re.compile(r'\bt\(\s*"([^"]+)"')
# By language; `door.en.json` has those of one page.
MESSAGES: dict[str, dict[str, Any]] = {}
for path in (FOLDER / "messages").iterdir():
    MESSAGES.setdefault(path.stem.rpartition(".")[2], {}).update(json.loads(path.read_text()))


def placeholders(message: Any) -> set[str]:
    return set(re.findall(r"{(\w+)}", json.dumps(message)))


def test_every_language_has_every_message_with_the_same_places_for_values() -> None:
    assert sorted(MESSAGES) == LANGUAGES
    german, english = MESSAGES["de"], MESSAGES["en"]
    assert german.keys() == english.keys()
    for name in english:
        assert placeholders(german[name]) == placeholders(english[name]), name
        assert isinstance(english[name], str) or english[name].keys() == {"one", "other"}, name
        assert type(german[name]) is type(english[name]), name


def test_every_message_that_scripts_name_exists() -> None:
    named = {name for path in FOLDER.glob("*.js") for name in NAMED.findall(path.read_text())}
    assert len(named) > 50
    assert named <= MESSAGES["en"].keys()


def test_every_page_has_its_script() -> None:
    assert all((FOLDER / f"{page.script}.js").is_file() for page in PAGES)


@pytest.mark.parametrize("colour", ["#000000", "#ffffff", "#ffee00", "#3d3bd9", "#7f7f7f", "#c0392b"])
def test_texts_of_every_colour_and_on_it_can_be_read(colour: str) -> None:
    css = stylesheet(colour)
    brand, on_brand, light, dark = (Colour.of(each) for each in re.findall(r"#[0-9a-f]{6}", css))
    assert brand.text == colour
    assert contrast(brand, on_brand) >= CONTRAST
    assert contrast(light, Colour.of(LIGHT)) >= CONTRAST
    assert contrast(dark, Colour.of(DARK)) >= CONTRAST


def test_a_colour_that_can_be_read_stays_as_it_is() -> None:
    assert readable(Colour.of("#3d3bd9"), Colour.of(LIGHT)).text == "#3d3bd9"
    assert round(contrast(Colour.of("#000000"), Colour.of("#ffffff")), 2) == 21


# --- the door ---------------------------------------------------------------------------------------------


async def test_the_worker_of_the_door_may_answer_for_its_page(gateway: Client) -> None:
    worker = await served(gateway, "door-worker.js")
    assert worker.headers["Service-Worker-Allowed"] == "/door"
    # What a worker requests follows its own policy, not that of the page.
    assert worker.headers["Content-Security-Policy"] == "default-src 'none'; connect-src 'self'"
    assert "Service-Worker-Allowed" not in (await served(gateway, "door.js")).headers


def test_the_worker_keeps_all_that_the_page_of_the_door_loads() -> None:
    files = PageFiles(settings())
    needed = {
        "door.js",
        *files.modules("door.js"),
        *files.stylesheets("door.js"),
        "icon.svg",
        "qr/decode.js",
        "qr/index.js",
    }
    needed |= {f"messages/{page}{language}.json" for page in ("", "door.") for language in files.languages}
    (listed,) = re.findall(r"const FILES = \[(.*?)\];", (FOLDER / "door-worker.js").read_text(), re.DOTALL)
    assert re.findall(r'"([^"]+)"', listed) == sorted(needed)


def test_the_reader_of_codes_is_what_its_makers_have_published() -> None:
    _, *lines = (FOLDER / "qr/SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in (FOLDER / "qr").iterdir()}
    assert {name: digest for name, digest in found.items() if name != "SHA256SUMS"} == listed
