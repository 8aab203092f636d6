"""What a parameter may be. Each reader gets the raw parameter and its name, and returns its value.

The messages and codes are those of Stripe's own parameter checks.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.errors import ParameterError, missing_parameter
from sandbox.params import Raw

Reader = Callable[[Raw, str], Any]

INTEGER = re.compile(r"[+-]?\d{1,18}")
STRING_MAX = 5000

METADATA_KEYS_MAX = 50
METADATA_NAME_MAX = 40
METADATA_VALUE_MAX = 500
"""https://docs.stripe.com/metadata#data"""


@dataclass(frozen=True)
class Schema:
    """The parameters of an operation; any other parameter is refused as unknown."""

    readers: Mapping[str, Reader] = field(default_factory=dict)
    required: tuple[str, ...] = ()

    def read(self, raw: dict[str, Raw], prefix: str = "") -> dict[str, Any]:
        """The values of the parameters that were sent.

        Raises:
            ParameterError: a parameter is unknown, missing, or not of its type.
        """
        values: dict[str, Any] = {}
        for name, value in raw.items():
            path = f"{prefix}[{name}]" if prefix else name
            reader = self.readers.get(name)
            if reader is None:
                raise ParameterError(f"Received unknown parameter: {path}", path, "parameter_unknown")
            values[name] = reader(value, path)
        for name in self.required:
            if name not in values:
                path = f"{prefix}[{name}]" if prefix else name
                raise missing_parameter(path)
        return values


def text(raw: Raw, path: str) -> str:
    """A scalar that is not empty."""
    if isinstance(raw, dict):
        raise ParameterError("Invalid string: a hash was given", path)
    if raw == "":
        raise ParameterError(
            f"You passed an empty string for '{path}'. We assume empty values are an attempt to unset a "
            f"parameter; however '{path}' cannot be unset. You should remove '{path}' from your request or "
            "supply a non-empty value.",
            path,
            "parameter_invalid_empty",
        )
    return raw


def string(*, longest: int = STRING_MAX, clearable: bool = False) -> Reader:
    """A string of at most `longest` characters; if `clearable`, an empty one is None, which unsets the field."""

    def read(raw: Raw, path: str) -> str | None:
        if clearable and raw == "":
            return None
        value = text(raw, path)
        if len(value) > longest:
            raise ParameterError(f"Invalid string: {value[:10]}...; must be at most {longest} characters", path)
        return value

    return read


def integer(*, least: int | None = None, most: int | None = None) -> Reader:
    """A whole number."""

    def read(raw: Raw, path: str) -> int:
        value = text(raw, path)
        if INTEGER.fullmatch(value) is None:
            raise ParameterError(f"Invalid integer: {value}", path, "parameter_invalid_integer")
        number = int(value)
        if least is not None and number < least:
            message = f"This value must be greater than or equal to {least}."
            raise ParameterError(message, path, "parameter_invalid_integer")
        if most is not None and number > most:
            message = f"This value must be less than or equal to {most}."
            raise ParameterError(message, path, "parameter_invalid_integer")
        return number

    return read


def boolean(raw: Raw, path: str) -> bool:
    """`true` or `false`."""
    value = text(raw, path)
    if value not in ("true", "false"):
        raise ParameterError(f"Invalid boolean: {value}", path)
    return value == "true"


def one_of(*choices: str) -> Reader:
    """One of the words."""

    def read(raw: Raw, path: str) -> str:
        value = text(raw, path)
        if value not in choices:
            allowed = " or ".join((", ".join(choices[:-1]), choices[-1])) if len(choices) > 1 else choices[0]
            raise ParameterError(f"Invalid {path}: must be one of {allowed}", path)
        return value

    return read


def either(*readers: Reader) -> Reader:
    """The value from the first reader that accepts the parameter."""

    def read(raw: Raw, path: str) -> Any:
        for reader in readers[:-1]:
            try:
                return reader(raw, path)
            except ParameterError:
                continue
        return readers[-1](raw, path)

    return read


def array(element: Reader, *, longest: int = 100) -> Reader:
    """A list, in the order of its indexes."""

    def read(raw: Raw, path: str) -> list[Any]:
        if not isinstance(raw, dict) or not all(index.isdecimal() for index in raw):
            raise ParameterError("Invalid array", path)
        if len(raw) > longest:
            raise ParameterError(f"Invalid array: at most {longest} elements are allowed", path)
        ordered = sorted(raw.items(), key=lambda item: int(item[0]))
        return [element(value, f"{path}[{index}]") for index, value in ordered]

    return read


def hash_of(schema: Schema) -> Reader:
    """A hash with its own schema."""

    def read(raw: Raw, path: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise ParameterError("Invalid object", path)
        return schema.read(raw, path)

    return read


def any_hash(raw: Raw, path: str) -> dict[str, Raw]:
    """A hash with any content, which the stand-in does not interpret."""
    if not isinstance(raw, dict):
        raise ParameterError("Invalid object", path)
    return raw


def anything(raw: Raw, path: str) -> Raw:
    """Anything; the stand-in does not interpret it."""
    return raw


def metadata(raw: Raw, path: str) -> dict[str, str] | None:
    """Keys and strings; an empty string unsets its key. None, for an empty `metadata`, unsets all of them."""
    if raw == "":
        return None
    if not isinstance(raw, dict):
        raise ParameterError("Invalid object", path)
    if len(raw) > METADATA_KEYS_MAX:
        raise ParameterError(f"You can only have up to {METADATA_KEYS_MAX} metadata keys.", path)
    values = {}
    for key, value in raw.items():
        if isinstance(value, dict):
            raise ParameterError("Metadata values must be strings.", f"{path}[{key}]")
        if len(key) > METADATA_NAME_MAX:
            message = f"Metadata keys can have up to {METADATA_NAME_MAX} characters."
            raise ParameterError(message, f"{path}[{key}]")
        if len(value) > METADATA_VALUE_MAX:
            message = f"Metadata values can have up to {METADATA_VALUE_MAX} characters."
            raise ParameterError(message, f"{path}[{key}]")
        values[key] = value
    return values


def not_modelled(raw: Raw, path: str) -> None:
    """A parameter that Stripe has and the stand-in has not. It is refused, so that no test depends on it.

    Raises:
        ParameterError: always.
    """
    raise ParameterError(f"The sandbox does not model the parameter {path}", path)
