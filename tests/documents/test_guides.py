"""The guides name what there is: what the pages say, settings, Stripe's version and events. The front end's code is
run by `tests/pages/test_front_end.py`."""

from __future__ import annotations

import json
import re

import pytest

from documents.sources import ROOT
from gateway.settings import GatewaySettings
from payment.sdk import STRIPE_VERSION
from payment.stripe_objects import NEEDED_TYPES

GUIDES = ("docs/first-ticket.md", "docs/first-payment.md", "docs/front-end.md", "docs/going-live.md")
TEXTS = {path: (ROOT / path).read_text(encoding="utf-8") for path in GUIDES}
# What stands in italics and is none of ours: of Stripe's pages.
OF_STRIPE = {"Payments"}
# What is no setting of a process: a name of the reader's own.
OTHER_NAMES = {"RESTRICTED_KEY"}


def said() -> set[str]:
    """All that the pages, the sandbox's form and the example of a front end say in English, without full stops."""
    found: set[str] = set()
    for name in ("en.json", "desk.en.json", "door.en.json"):
        messages = json.loads((ROOT / "gateway/pages/messages" / name).read_text(encoding="utf-8"))
        found |= {text.rstrip(".") for text in messages.values() if isinstance(text, str)}
    example = (ROOT / "clients/js/examples/page.html").read_text(encoding="utf-8")
    form = (ROOT / "sandbox/browser/stripe.js").read_text(encoding="utf-8")
    return found | set(re.findall(r">([^<>]+)<", example)) | set(re.findall(r'"([^"\n]+)"', form))


@pytest.mark.parametrize("path", GUIDES)
def test_what_a_reader_sees_is_said_by_the_pages(path: str) -> None:
    text = re.sub(r"```.*?```", "", TEXTS[path], flags=re.DOTALL)
    named = {" ".join(each.split()) for each in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text)}
    assert named - said() - OF_STRIPE == set()


def test_the_steps_name_what_is_pressed() -> None:
    assert {
        "Save as a draft",
        "Publish",
        "Hold seats and go to payment",
        "Order and pay",
        "Start the camera",
    } <= set(re.findall(r"\*([A-Z][^*]+)\*", TEXTS["docs/first-ticket.md"]))


@pytest.mark.parametrize("path", GUIDES)
def test_settings_are_those_of_the_processes(path: str) -> None:
    known = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    named = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`", TEXTS[path]))
    assert named - known - OTHER_NAMES == set()


def test_the_webhook_endpoint_has_the_version_and_the_events_that_are_read() -> None:
    command = TEXTS["docs/first-payment.md"].partition("/v1/webhook_endpoints")[2].partition("```")[0]
    assert re.findall(r"enabled_events\[\]=([\w.]+)", command) == list(NEEDED_TYPES)
    assert re.findall(r"api_version=(\S+)", command) == [STRIPE_VERSION]


def test_pages_load_the_script_of_the_pinned_release() -> None:
    url = str(GatewaySettings.model_fields["stripe_js_url"].default)
    assert url in TEXTS["docs/front-end.md"]
    assert f'src="{url}"' in (ROOT / "clients/js/examples/page.html").read_text(encoding="utf-8")
