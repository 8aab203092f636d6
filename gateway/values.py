"""The values that clients send: the rule of each kind of value, and the error text when it is broken."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Annotated, Any
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError
from yarl import URL

from common.contracts.codes import ids_of
from common.contracts.currencies import CURRENCIES, LARGEST_AMOUNT, SOURCE
from common.contracts.resources import CAPACITY_MAX, NAME_MAX, Currency, Name
from common.contracts.statuses import BoxOfficeMethod, EventStatus, PaymentMethods
from common.contracts.values import CATEGORY_MAX, DESCRIPTION_MAX, EMAIL_MAX, PROMO_CODE_MAX, QUANTITY_MAX
from common.contracts.webhooks import URL_MAX, WEBHOOK_TYPES

UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Characters, as in OpenID Connect: https://openid.net/specs/openid-connect-core-1_0.html#IDToken
SUBJECT_MAX = 255
# RFC 5646, section 4.4.1 recommends room for this many characters, and section 2.1 has the form: the language,
# script, region and variants, without extensions, private use and tags from before.
LOCALE_MAX = 35
LOCALE = (
    r"^[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*$"
)
# Characters: a reference has 12, and people may put more spaces or hyphens between them.
REFERENCE_MAX = 40
# https://www.itu.int/rec/T-REC-E.164: a country's code and a number, 15 digits at most.
PHONE = r"^\+[1-9][0-9]{1,14}$"
# Format characters that some names need: joiners (Persian, emoji), direction marks, and tags that make flags. Other
# format characters are refused, as they change how the text around them is shown.
FORMAT_CHARACTERS = frozenset("\u200c\u200d\u200e\u200f\u061c") | frozenset(map(chr, range(0xE0020, 0xE0080)))
# What a text of several lines has beside its lines.
LINES = frozenset("\n\r\t")
# Characters of a visible category that are drawn as nothing: Hangul fillers, and Braille without a dot.
BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
# https://www.unicode.org/reports/tr44/#General_Category_Values: letters, numbers, punctuation and symbols are
# visible; a mark is so only on one of these.
VISIBLE = frozenset("LNPS")


@cache
def _time_zones() -> frozenset[str]:
    """The names of IANA's time zones, from the package `tzdata`: the same on every machine, and without names such
    as `localtime`. `Factory` means that no zone was chosen."""
    names = resources.files("tzdata").joinpath("zones").read_text().split()
    return frozenset(names) - {"Factory"}


def _known_zone(value: str) -> str:
    if value not in _time_zones():
        raise PydanticCustomError(
            "time_zone_unknown", "must be the IANA name of a time zone, such as Europe/Berlin"
        )
    return value


def _sold_in(value: str) -> str:
    if value not in CURRENCIES:
        raise PydanticCustomError("currency_unknown", f"not a currency that Stripe takes: {SOURCE}")
    return value


def _is_plain(character: str) -> bool:
    """Whether it may be in a line of text. Zl and Zp: the separators of lines and paragraphs. C: control
    characters, surrogates, private use."""
    category = unicodedata.category(character)
    return category not in ("Zl", "Zp") and (category[0] != "C" or character in FORMAT_CHARACTERS)


def _visible(value: str) -> str:
    if not any(unicodedata.category(each)[0] in VISIBLE and each not in BLANKS for each in value):
        raise PydanticCustomError("not_visible", "must have at least one visible character")
    return value


def _one_visible_line(value: str) -> str:
    if not all(map(_is_plain, value)):
        raise PydanticCustomError("not_one_line", "must be one line, without control or bidirectional characters")
    return _visible(value)


def _visible_text(value: str) -> str:
    if not all(_is_plain(each) or each in LINES for each in value):
        raise PydanticCustomError("not_text", "must be text, without control or bidirectional characters")
    return _visible(value)


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("not_printable", "must have printable characters alone, as tokens have them")
    return value


def _email(value: str) -> str:
    """The address as Stripe and mail servers take it, which is compared and kept. Nothing is looked up."""
    try:
        known = validate_email(value, check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as error:
        raise PydanticCustomError("email_form", f"must be an email address: {error}") from None
    return known.ascii_email or known.normalized


def _reference(value: str) -> str:
    if ids_of(value) is None:
        raise PydanticCustomError("reference_form", "must be a booking's reference such as HF-7K3M-9Q2T")
    return value


def _webhook_url(value: str) -> str:
    """The URL as it is sent to. What may be sent to, the booking actor decides by its settings."""
    try:
        url = URL(value)
        wrong = url.scheme not in ("https", "http") or not url.host or url.user or url.password or url.fragment
    except ValueError:
        wrong = True
    if wrong or not value.isprintable() or " " in value:
        raise PydanticCustomError(
            "url_form", "must be a URL such as https://example.com/hooks, without user, password and fragment"
        )
    return str(url)


def _webhook_type(value: str) -> str:
    if value not in WEBHOOK_TYPES:
        raise PydanticCustomError("webhook_type_unknown", "must be one of the types of webhooks")
    return value


def _canonical_id(value: Any) -> Any:
    if isinstance(value, str) and not UUID_TEXT.fullmatch(value):
        raise PydanticCustomError("uuid_form", "must be a UUID such as 018f2b6e-1f5a-7c3d-9e21-5b7c8d9e0f12")
    return value


def _text(value: Any) -> str:
    # A time begins with a year and a hyphen. pydantic would read a number, also in a string, as Unix seconds.
    if not isinstance(value, str) or value[4:5] != "-":
        raise ValueError("must be an RFC 3339 time such as 2030-01-31T20:00:00Z")
    return value


def _in_range(value: datetime) -> datetime:
    if not 1970 <= value.year <= 9000:
        raise ValueError("must be a year from 1970 to 9000")
    return value.astimezone(UTC)


# Not strict, so that a string is read; `_text` refuses everything else.
Time = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_text), AfterValidator(_in_range)]


def _line(most: int) -> WithJsonSchema:
    """The pattern is the part of the rule that JSON Schema can express."""
    return WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": most,
            "pattern": r"^[^\u0000-\u001f\u007f]+$",
            "description": "One line with at least one visible character, and no control or bidirectional marks",
        },
        mode="validation",
    )


Label = Annotated[Name, AfterValidator(_one_visible_line), _line(NAME_MAX)]
Category = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=CATEGORY_MAX),
    AfterValidator(_one_visible_line),
    _line(CATEGORY_MAX),
]
# The views look at what its Markdown says.
DescriptionText = Annotated[str, Field(min_length=1, max_length=DESCRIPTION_MAX), AfterValidator(_visible_text)]
Country = Annotated[str, Field(pattern="^[A-Z]{2}$", description="By ISO 3166-1, in two capital letters")]
# What a token may be known by. The pattern is the part of the rule that JSON Schema can express.
ClaimText = Annotated[
    str,
    Field(min_length=1, max_length=SUBJECT_MAX),
    AfterValidator(_printable),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": SUBJECT_MAX, "pattern": r"^[^\u0000-\u001f\u007f]+$"},
        mode="validation",
    ),
]
# Only the form of RFC 9562, section 4: pydantic also reads braces, `urn:uuid:` and 32 digits without hyphens.
Id = Annotated[UUID, Field(strict=False), BeforeValidator(_canonical_id)]
TimeZone = Annotated[
    str,
    Field(max_length=64, description="The venue's, by its IANA name"),
    AfterValidator(_known_zone),
]
SoldIn = Annotated[
    Currency,
    Field(description=f"One that Stripe takes: {SOURCE}", json_schema_extra={"enum": sorted(CURRENCIES)}),
    AfterValidator(_sold_in),
]
# What JSON Schema can express of these rules: a client learns the rest from the answer.
Email = Annotated[
    str,
    Field(max_length=EMAIL_MAX, description="Without quotes, and with letters of ASCII before the `@`"),
    AfterValidator(_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": EMAIL_MAX}, mode="validation"),
]
Locale = Annotated[
    str,
    Field(
        max_length=LOCALE_MAX, pattern=LOCALE, description="The language to write in, by BCP 47, such as `de-AT`"
    ),
]
Reference = Annotated[str, Field(max_length=REFERENCE_MAX), AfterValidator(_reference)]
Phone = Annotated[str, Field(pattern=PHONE)]
WebhookUrl = Annotated[
    str,
    Field(max_length=URL_MAX, description="Begins with `https://`, unless the installation allows others"),
    AfterValidator(_webhook_url),
    WithJsonSchema({"type": "string", "format": "uri", "maxLength": URL_MAX}, mode="validation"),
]
# Each once: the order does not matter.
WebhookTypes = Annotated[
    tuple[
        Annotated[str, Field(json_schema_extra={"enum": list(WEBHOOK_TYPES)}), AfterValidator(_webhook_type)], ...
    ],
    Field(min_length=1),
    AfterValidator(lambda types: tuple(dict.fromkeys(types))),
]
# Not strict, so that a string is read.
Methods = Annotated[PaymentMethods, Field(strict=False)]
Status = Annotated[EventStatus, Field(strict=False)]
SoldBy = Annotated[BoxOfficeMethod, Field(strict=False)]
Percent = Annotated[int, Field(ge=1, le=100)]
AmountOff = Annotated[int, Field(ge=1, le=LARGEST_AMOUNT)]
# What customers enter. What no operator could have written is a code that does not exist.
PromoCodeText = Annotated[str, Field(min_length=1, max_length=PROMO_CODE_MAX, pattern=r"^[^\u0000-\u001f\u007f]+$")]
# What operators write: three letters or digits at least, so that it is not guessed at once. The hyphen and the ten
# characters behind a prefix fit beside it.
NewPromoCodeText = Annotated[
    str, Field(max_length=PROMO_CODE_MAX, pattern=r"^[A-Za-z0-9](?:[ ._-]*[A-Za-z0-9]){2,63}$")
]
CodePrefix = Annotated[str, Field(max_length=PROMO_CODE_MAX - 16, pattern=r"^[A-Za-z0-9](?:[ ._-]*[A-Za-z0-9])*$")]
Quantity = Annotated[int, Field(ge=1, le=QUANTITY_MAX)]
Capacity = Annotated[int, Field(ge=0, le=CAPACITY_MAX)]
SeatLimit = Annotated[int, Field(ge=1, le=CAPACITY_MAX)]
