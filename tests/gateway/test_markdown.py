"""What Markdown a description may have, and that no HTML gets through, whatever the database has."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from common.contracts.messages import CreateEvent, UpdateEvent
from common.contracts.values import DESCRIPTION_MAX
from gateway.descriptions import ATTRIBUTES, SCHEMES, TAGS, faults, rendered
from tests.gateway.stage import EVENT_ID, Client, ScriptedBooking, as_json, bearer, event

OPERATOR = bearer("root", operator=True)
# By the rule that refuses them.
EVIL = {
    "markdown_html": [
        "<script>alert(1)</script>",
        "a <b onmouseover=alert(1)>b</b>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)>",
        "<!-- a comment -->",
        "<?php echo 1 ?>",
        "<![CDATA[x]]>",
        "<!DOCTYPE html>",
        "<iframe src='https://evil.example'></iframe>",
        "> * a\n>   <style>*{display:none}</style>",
        "[<b>x</b>](https://example.com)",
        "</div>",
    ],
    "markdown_link": [
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](&#x6A;avascript&colon;alert(1))",
        "[x](<javascript:alert(1)>)",
        "[x]( javascript:alert(1) )",
        "<javascript:alert(1)>",
        "[x][y]\n\n[y]: javascript:alert(1)",
        "[x]\n\n[x]: <vbscript:x>",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](file:///etc/passwd)",
        "[x](//evil.example)",
        "[x](/relative)",
        "[x](javascript%3Aalert(1))",
        "[x](\\javascript:alert(1))",
        "[x]()",
        "[x](http\u200b://example.com)",
    ],
    "markdown_image": [
        "![x](https://evil.example/pixel.png)",
        "![x](javascript:alert(1))",
        "[![x](https://evil.example/pixel.png)](https://example.com)",
        "![x][y]\n\n[y]: https://evil.example/pixel.png",
    ],
}
TABLE = [(markdown, rule) for rule, each in EVIL.items() for markdown in each]
# Harmless, or made so: with what becomes of it.
GOOD = {
    "*em* **strong** `<b>`": "<p><em>em</em> <strong>strong</strong> <code>&lt;b&gt;</code></p>\n",
    "a < b & c > d <3": "<p>a &lt; b &amp; c &gt; d &lt;3</p>\n",
    "\\<script>": "<p>&lt;script&gt;</p>\n",
    "```\n<script>\n```": "<pre><code>&lt;script&gt;\n</code></pre>\n",
    "# Title\n\n> quote\n\n3. three": "<h1>Title</h1>\n<blockquote>\n<p>quote</p>\n</blockquote>\n"
    '<ol start="3">\n<li>three</li>\n</ol>\n',
    "[us](https://example.com/?a=1&b=2 \"t\\\" onclick=x\")": '<p><a href="https://example.com/?a=1&amp;b=2" '
    'title="t&quot; onclick=x" rel="noopener noreferrer">us</a></p>\n',
    "<https://a.example>": '<p><a href="https://a.example" rel="noopener noreferrer">https://a.example</a></p>\n',
    "[mail](mailto:a@b.example)": '<p><a href="mailto:a@b.example" rel="noopener noreferrer">mail</a></p>\n',
    "[x]: javascript:alert(1)": "<p>[x]: javascript:alert(1)</p>\n",
    "<svg/onload=alert(1)>": "<p>&lt;svg/onload=alert(1)&gt;</p>\n",
    "javascript:alert(1)": "<p>javascript:alert(1)</p>\n",
}  # fmt: skip


@pytest.mark.parametrize(("markdown", "rule"), TABLE)
def test_what_is_evil_is_refused_by_its_rule(markdown: str, rule: str) -> None:
    assert rule in [found for found, _ in faults(markdown)]


@pytest.mark.parametrize("markdown", GOOD)
def test_what_is_harmless_becomes_html(markdown: str) -> None:
    assert faults(markdown) == []
    assert rendered(markdown) == GOOD[markdown]


class Safe(HTMLParser):
    """Fails on whatever is not of the few tags and attributes."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attrs:
            assert name in ATTRIBUTES.get(tag, ()) or (tag, name) == ("a", "rel")
            if name == "href":
                assert re.match(rf"({'|'.join(SCHEMES)}):", value or "")

    handle_startendtag = handle_starttag

    def handle_comment(self, data: str) -> None:
        pytest.fail(data)

    def handle_decl(self, decl: str) -> None:
        pytest.fail(decl)

    def handle_pi(self, data: str) -> None:
        pytest.fail(data)

    def unknown_decl(self, data: str) -> None:
        pytest.fail(data)


@pytest.mark.parametrize("markdown", [markdown for markdown, _ in TABLE] + list(GOOD))
def test_what_got_into_the_database_all_the_same_becomes_safe_html(markdown: str) -> None:
    parser = Safe()
    parser.feed(rendered(markdown))
    parser.close()


def test_the_search_for_unsafe_html_finds_it() -> None:
    for html in ("<script>", '<a href="javascript:x">', "<p onclick=x>", "<!-- x -->", "<img src=x>"):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            Safe().feed(html)


REFUSED = [
    ({"description": "a <b>b</b> [x](javascript:x)"}, ["markdown_html", "markdown_link"]),
    ({"description": "x" * (DESCRIPTION_MAX + 1)}, ["string_too_long"]),
    ({"description": ""}, ["string_too_short"]),
    ({"description": " \n "}, ["not_visible"]),
    ({"description": "a\u0000b"}, ["not_text"]),
    ({"description": "a\u202eb"}, ["not_text"]),
    ({"category": "a\nb"}, ["not_one_line"]),
    ({"category": "x" * 65}, ["string_too_long"]),
    ({"venue": {"city": "Graz"}}, ["missing"]),
    ({"venue": {"name": "Hall", "country": "Austria"}}, ["string_pattern_mismatch"]),
    ({"venue": {"name": "Hall", "planet": "Mars"}}, ["extra_forbidden"]),
]


@pytest.mark.parametrize(("values", "rules"), REFUSED)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_content_that_is_not_valid_changes_nothing(
    gateway: Client, actor: ScriptedBooking, method: str, values: dict[str, object], rules: list[str]
) -> None:
    """The answer names the rule and where."""
    types = [{"name": "Stalls", "unit_amount": 2500, "capacity": 10}]
    new = {"name": "Concert", "starts_at": "2031-01-01T20:00:00Z", "currency": "eur", "ticket_types": types}
    path = "/admin/events" if method == "POST" else f"/admin/events/{EVENT_ID}"
    body = (new if method == "POST" else {}) | values
    response = await gateway.request(method, path, json=body, headers=OPERATOR)
    problem = await response.json()
    assert (response.status, problem["code"]) == (422, "invalid_request")
    assert [each["type"] for each in problem["errors"]] == rules
    assert {each["loc"][1] for each in problem["errors"]} == values.keys()
    assert actor.received == []


async def test_content_is_passed_on_as_it_was_sent(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(UpdateEvent, as_json(event()))
    actor.on(CreateEvent, as_json(event()))
    values = {"description": "# Hi\n\n*all*\t", "category": " Théâtre ", "venue": {"name": "Hall", "country": "AT"}}
    response = await gateway.patch(f"/admin/events/{EVENT_ID}", json=values, headers=OPERATOR)
    assert response.status == 200
    (changed,) = actor.messages(UpdateEvent)
    assert (changed.changes.description, changed.changes.category) == ("# Hi\n\n*all*\t", "Théâtre")
    assert (changed.changes.venue.name, changed.changes.venue.country) == ("Hall", "AT")
    assert changed.changes.model_fields_set == values.keys()
    await gateway.patch(f"/admin/events/{EVENT_ID}", json=dict.fromkeys(values), headers=OPERATOR)
    removed = actor.messages(UpdateEvent)[1].changes
    assert removed.model_dump(exclude_unset=True) == dict.fromkeys(values)
