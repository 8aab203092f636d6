"""Who may come in under `/_sandbox`, which Stripe has not: not without the key, nor from another site's page."""

import hmac
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.errors import RefusedError

KEY_MISSING = (
    "The control of the sandbox needs its key: Authorization: Bearer, and the value of SANDBOX_CONTROL_KEY."
)
KEY_WRONG = "This is not the key of the sandbox's control, SANDBOX_CONTROL_KEY."
NO_KEY = "The control of the sandbox is off: start it with SANDBOX_CONTROL_KEY."
OTHER_SITE = "A page of another site may not do this: it is for the sandbox's own pages, and for programs."
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sandbox"'}
OWN = ("same-origin", "none", None)
SAFE = ("GET", "HEAD")


def check_key(request: web.Request, key: str) -> None:
    """Raises:
    RefusedError: 403, the control has no `key`; 401, the caller has not sent it.
    """
    if not key:
        raise RefusedError(403, NO_KEY)
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise RefusedError(401, KEY_MISSING, headers=CHALLENGE)
    if not hmac.compare_digest(sent.strip().encode(), key.encode()):
        raise RefusedError(401, KEY_WRONG, headers=CHALLENGE)


def refuse_other_sites(request: web.Request) -> None:
    """A browser says where a request comes from, a program says nothing. Browsers of today send Sec-Fetch-Site
    (https://www.w3.org/TR/fetch-metadata/), older ones send Origin with a POST.

    Raises:
        RefusedError: 403, a page of another site has sent a request that changes something.
    """
    if request.method in SAFE:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is None and origin is not None:
        site = "same-origin" if urlsplit(origin).netloc == request.host else "cross-site"
    if site not in OWN:
        raise RefusedError(403, OTHER_SITE)
