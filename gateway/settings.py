"""The gateway's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from aiohttp import web
from pydantic import Field, FilePath, HttpUrl, field_validator, model_validator

from common.runtime.settings import ActorSettings, CommaSeparated

# RFC 7518, section 3.2: an HS256 key has at least as many bits as the hash.
SECRET_BYTES_MIN = 32
SYMMETRIC = frozenset({"HS256"})
ASYMMETRIC = frozenset({"RS256", "ES256"})
# Where Stripe's own script is.
STRIPE_JS_HOST = "js.stripe.com"
# The files that browsers show as a logo.
LOGO_SUFFIXES = (".png", ".svg", ".webp")
# The settings that bound what one client may do; each may be 0, for no limit.
CLIENT_LIMITS = (
    "RATE_LIMIT_PER_ADDRESS",
    "RATE_LIMIT_PER_SUBJECT",
    "GUESTS_PER_ADDRESS_PER_MINUTE",
    "WASTED_BOOKINGS_PER_ADDRESS",
    "WASTED_BOOKINGS_PER_SUBJECT",
    "WRONG_CODES_PER_ADDRESS_PER_MINUTE",
    "WRONG_CODES_PER_SUBJECT_PER_MINUTE",
    "WS_SOCKETS_PER_SUBJECT",
    "WS_SOCKETS_PER_ADDRESS",
)


class GatewaySettings(ActorSettings):
    """What the gateway reads from its environment; `.env.example` describes each setting."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "auth_jwt_secret": "auth_jwt_secrets",
        "placing_max": "booking_slots",
        "placing_patience_seconds": "booking_slot_wait_seconds",
        "rate_limit_per_second": "rate_limit_per_subject",
    }

    port: int = Field(default=8080, ge=0, le=65535)

    # For tokens: either secrets (the first signs, each is accepted) or the JWKS URL. The algorithms come from here,
    # never from a token.
    auth_jwt_secrets: Annotated[CommaSeparated, Field(repr=False)] = ()
    auth_jwks_url: HttpUrl | None = None
    auth_algorithms: CommaSeparated = ()
    auth_issuer: str = Field(default="holdfast", min_length=1)
    auth_audience: str = Field(default="holdfast", min_length=1)
    auth_guests: bool | None = None
    auth_token_seconds: int = Field(default=86_400, ge=60, le=31_536_000)
    # How long fetched keys are used before they are fetched again, and the least time between two fetches, so that
    # tokens with made-up key ids do not flood the identity provider with fetches.
    auth_jwks_cache_seconds: float = Field(default=300, gt=0)
    auth_jwks_interval_seconds: float = Field(default=10, ge=0)

    stripe_publishable_key: str | None = Field(default=None, pattern="^pk_(test|live)_")
    # The script that the pages pay with. Its version belongs to the pinned release of the API (payment/sdk.py), and
    # has that release's name: https://docs.stripe.com/sdks/stripejs-versioning
    stripe_js_url: HttpUrl = HttpUrl(f"https://{STRIPE_JS_HOST}/endive/stripe.js")

    # The pages for those who buy, which are there where guests get tokens.
    shop: bool = True
    # Those for operators, whatever issues their tokens.
    desk: bool = True
    shop_name: str = Field(default="Tickets", min_length=1, max_length=100)
    shop_colour: str = Field(default="#3d3bd9", pattern="^#[0-9a-fA-F]{6}$")
    shop_logo: FilePath | None = None
    shop_imprint_url: HttpUrl | None = None
    shop_terms_url: HttpUrl | None = None
    shop_privacy_url: HttpUrl | None = None
    # Said beside the total, as it is here, in every language.
    shop_tax_line: str | None = Field(default=None, max_length=200)

    # A booking of a hundred ticket types has at most 9 KB, an event of a hundred 40 KB, and a description 80 KB.
    body_max_bytes: int = Field(default=131_072, ge=1024, le=10_485_760)
    mailbox_limit: int = Field(default=20_000, ge=1)
    # Booking slots: POST /bookings under way at once, each until there is a booking. As many as one gateway and one
    # booking actor finish within republish_ms. Others wait this many seconds, then get 503 with Retry-After.
    booking_slots: int = Field(default=500, ge=1)
    booking_slot_wait_seconds: float = Field(default=20, gt=0, le=300)
    # How old the known mailbox lengths may be: meanwhile a rush can exceed mailbox_limit.
    mailbox_sample_ms: int = Field(default=250, ge=10, le=10_000)
    # Requests a second of one address, for all gateways together; 0: no limit. An office of 500 people who all want
    # seats gets through in seconds, by waiting for Retry-After; one machine cannot keep a gateway busy alone.
    rate_limit_per_address: float = Field(default=100, ge=0, le=1_000_000)
    # The same of one subject: several times what a page sends that polls and whose user clicks.
    rate_limit_per_subject: float = Field(default=20, ge=0, le=1_000_000)
    # New guests of one address in a minute, for all gateways together; 0: no limit.
    guests_per_address_per_minute: float = Field(default=300, ge=0, le=1_000_000)
    # Wasted bookings of one address (of its guests) or of one subject in a second, 25 seconds' worth at once;
    # 0: no limit. Wasted is one that is refused as its buyer has what one may have, or that its owner cancels. A
    # person who changes their mind five times in a row is below it.
    wasted_bookings_per_address: float = Field(default=2, ge=0, le=1_000_000)
    wasted_bookings_per_subject: float = Field(default=0.2, ge=0, le=1_000_000)
    # Promo codes that do not exist, entered in a minute at one address or by one subject; 0: no limit. Of the codes
    # that are made at random a million such guesses find none; a word that everybody knows needs no guess.
    wrong_codes_per_address_per_minute: float = Field(default=60, ge=0, le=1_000_000)
    wrong_codes_per_subject_per_minute: float = Field(default=10, ge=0, le=1_000_000)
    # Where a proof is checked before a new guest gets a token; None: no proof is needed.
    guest_proof_url: HttpUrl | None = None
    # New guests wait meanwhile, and most checks take a tenth of it.
    guest_proof_timeout_seconds: float = Field(default=5, gt=0, le=30)
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    cors_origins: CommaSeparated = ()

    # Events that are answered from memory (0: none, the booking actor is asked), how often their versions are read
    # to see whether a notification was lost, and how long clients may cache an answer.
    event_catalogue_max: int = Field(default=10_000, ge=0, le=1_000_000)
    event_catalogue_read_seconds: float = Field(default=5, gt=0, le=300)
    events_max_age_seconds: int = Field(default=1, ge=0, le=300)
    # Memory for the images of events, of which each takes twice its size: some 300 of the usual 100 KB.
    event_images_max_bytes: int = Field(default=67_108_864, ge=1_048_576, le=4_294_967_296)

    # How often all revocations of tokens are read, to see whether a notification was lost. 0: never, and this
    # gateway accepts tokens that are revoked.
    revocations_read_seconds: float = Field(default=10, ge=0, le=300)

    wait_seconds: float = Field(default=5, ge=0)
    wait_max_seconds: float = Field(default=30, ge=0, le=300)
    # Without a reply in this time CreateBooking is published once more, as Redis may have lost it.
    republish_ms: int = Field(default=2000, ge=1)
    answer_seconds: float = Field(default=5, gt=0, le=60)

    ws_auth_seconds: float = Field(default=10, gt=0)
    ws_ping_seconds: float = Field(default=25, gt=0)
    # The longest message is `auth`, whose token must also fit into a header (8 KB in aiohttp).
    ws_message_max_bytes: int = Field(default=16_384, ge=1024)
    # Bytes that may wait for a client that does not keep up; beyond that the socket is closed with 1013.
    ws_queue_max_bytes: int = Field(default=262_144, ge=4096)
    # Open sockets of one gateway: of one subject (a few devices with a few pages each), and of one address; 0: no
    # limit. A socket takes some 10 KB.
    ws_sockets_per_subject: int = Field(default=20, ge=0)
    ws_sockets_per_address: int = Field(default=1000, ge=0)
    ws_subscriptions_max: int = Field(default=100, ge=1)
    ws_snapshots_max: int = Field(default=100, ge=1)

    @field_validator("auth_jwt_secrets", mode="before")
    @classmethod
    def _none_empty(cls, value: Any) -> Any:
        """Where one of them was not filled in, another than the one that was meant would sign."""
        if isinstance(value, str) and not all(part.strip() for part in value.split(",")):
            raise ValueError("one of them is empty")
        return value

    @field_validator("auth_jwt_secrets")
    @classmethod
    def _long_and_different(cls, secrets: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(secret.encode()) < SECRET_BYTES_MIN for secret in secrets):
            raise ValueError(f"each must have at least {SECRET_BYTES_MIN} bytes")
        if len(set(secrets)) < len(secrets):
            raise ValueError("one of them is there twice")
        return secrets

    @field_validator("shop_logo")
    @classmethod
    def _image(cls, logo: Path | None) -> Path | None:
        if logo is not None and logo.suffix.lower() not in LOGO_SUFFIXES:
            raise ValueError(f"must be a file that ends in one of {', '.join(LOGO_SUFFIXES)}")
        return logo

    @model_validator(mode="after")
    def _cards_go_to_stripe(self) -> Self:
        live = (self.stripe_publishable_key or "").startswith("pk_live_")
        if live and (self.stripe_js_url.scheme, self.stripe_js_url.host) != ("https", STRIPE_JS_HOST):
            raise ValueError("STRIPE_JS_URL must be Stripe's own with a live STRIPE_PUBLISHABLE_KEY")
        return self

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, separator, host = origin.partition("://")
            if origin != "*" and not (separator and scheme in ("http", "https") and host and "/" not in host):
                raise ValueError(f"{origin!r} is not an origin such as https://tickets.example")
        return origins

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        if bool(self.auth_jwt_secrets) == (self.auth_jwks_url is not None):
            raise ValueError("set exactly one of AUTH_JWT_SECRETS and AUTH_JWKS_URL")
        allowed = SYMMETRIC if self.auth_jwks_url is None else ASYMMETRIC
        if wrong := set(self.auth_algorithms) - allowed:
            source = "AUTH_JWT_SECRETS" if self.auth_jwks_url is None else "AUTH_JWKS_URL"
            raise ValueError(
                f"AUTH_ALGORITHMS: {', '.join(sorted(wrong))} cannot be used with {source}, "
                f"only {', '.join(sorted(allowed))}"
            )
        if self.auth_guests and self.auth_jwks_url is not None:
            raise ValueError("AUTH_GUESTS needs AUTH_JWT_SECRETS: another's keys cannot sign tokens for guests")
        if self.guest_proof_url is not None and not self.guests:
            raise ValueError("GUEST_PROOF_URL is of no use where no guests get tokens: see AUTH_GUESTS")
        return self

    @property
    def algorithms(self) -> tuple[str, ...]:
        return self.auth_algorithms or tuple(sorted(SYMMETRIC if self.auth_jwks_url is None else ASYMMETRIC))

    @property
    def guests(self) -> bool:
        return bool(self.auth_jwt_secrets) and self.auth_guests is not False

    @property
    def shop_pages(self) -> bool:
        return self.shop and self.guests


SETTINGS = web.AppKey("settings", GatewaySettings)
