"""Stripe's error object, and the errors that more than one operation raises.

Types, codes and HTTP statuses: https://docs.stripe.com/api/errors and https://docs.stripe.com/error-codes.
"""

import time
from collections.abc import Mapping
from typing import Any, Literal

ErrorType = Literal["api_error", "card_error", "idempotency_error", "invalid_request_error"]


class ApiError(Exception):
    """An error as an answer. An idempotency key keeps it, because the operation had begun."""

    kept = True
    keeps_work = False
    """Whether the changes that the operation made before this error are kept, as with a declined card."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: ErrorType = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        fields: dict[str, Any] = {"code": code, **details}
        if code is not None:
            fields["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        fields |= {"message": message, "param": param, "type": type}
        self.error = {name: value for name, value in fields.items() if value is not None}

    @property
    def code(self) -> str | None:
        code: str | None = self.error.get("code")
        return code

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON body; its `request_log_url` contains the request's id."""
        log_url = f"https://dashboard.stripe.com/test/logs/{request_id}?t={int(time.time())}"
        return {"error": self.error | {"request_log_url": log_url}}


class RefusedError(ApiError):
    """Refused before the operation began: an idempotency key does not keep this answer."""

    kept = False


class ParameterError(RefusedError):
    """A parameter that Stripe does not accept; 400."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(400, message, param=param, code=code)


class CardError(ApiError):
    """A payment attempt that the card's issuer declined; 402. The failed attempt is kept."""

    keeps_work = True

    def __init__(self, error: dict[str, Any], **details: Any) -> None:
        fields = {name: value for name, value in error.items() if name not in ("message", "type", "doc_url")}
        super().__init__(402, error["message"], type="card_error", **(fields | details))


def missing_parameter(path: str) -> ParameterError:
    """400 for a required parameter that is missing."""
    return ParameterError(f"Missing required param: {path}.", path, "parameter_missing")


def missing_object(kind: str, object_id: str, param: str = "id", status: int = 404) -> ApiError:
    """The error for an unknown id: 404 if it is in the URL, 400 if it is a parameter."""
    return ApiError(status, f"No such {kind}: '{object_id}'", code="resource_missing", param=param)


def unexpected_state(message: str, intent: dict[str, Any]) -> ApiError:
    """400 for a request that the intent's status does not allow; the error contains the intent."""
    return ApiError(400, message, code="payment_intent_unexpected_state", payment_intent=intent)
