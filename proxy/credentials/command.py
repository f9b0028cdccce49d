"""A program that prints a bearer token.

It prints either the token alone, or a JSON object with the token (`access_token`, `accessToken` or `token`) and its end (`expires_in` in
seconds; `expires_on`, `expires_at`, `expiry` or `expiration`, in seconds since the epoch or as a date with its time zone).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from math import isfinite
from time import time
from typing import Any

from ...codecs import jsontext
from ...conf.model import TokenCommand
from .credential import PLAIN_LIFE, Credential, Fault, bearer
from .program import Program

TOKENS = ("access_token", "accessToken", "token")
ENDS = ("expires_on", "expires_at", "expiry", "expiration")


class Command:
    """Giver. timeout: seconds for the program."""

    def __init__(self, way: TokenCommand, timeout: float, clock: Callable[[], float] = time) -> None:
        self.name = way.text
        self._clock = clock
        self._program = Program(way.argv, timeout)

    def get(self, *, ahead: bool = False) -> Credential:
        return read(self._program.output(ahead=ahead), self._clock())

    def close(self) -> None:
        self._program.close()


def read(output: bytes, now: float) -> Credential:
    """The credential in what a program printed. now: seconds since the epoch. Raises Fault."""
    try:
        text = output.decode("ascii").strip()
    except UnicodeDecodeError:
        raise Fault("printed something that is not ASCII text") from None
    if not text:
        raise Fault("printed nothing")
    if not text.startswith("{"):
        return bearer(text, None, now + PLAIN_LIFE)
    try:
        value = jsontext.loads(text.encode())
    except ValueError:
        raise Fault("printed JSON that cannot be read") from None
    if not isinstance(value, dict):
        raise Fault("printed JSON that cannot be read")
    token = next((value[name] for name in TOKENS if name in value), None)
    ends = _end(value, now)
    return bearer(token, ends, None if ends is not None else now + PLAIN_LIFE)


def _end(value: Mapping[str, Any], now: float) -> float | None:
    """When the token ends; None if nothing says it. Raises Fault for an end that cannot be read: it must not count as none."""
    if value.get("expires_in") is not None:
        return now + _number(value["expires_in"], "expires_in")
    name = next((name for name in ENDS if value.get(name) is not None), None)
    if name is None:
        return None
    end = value[name]
    if isinstance(end, str) and not end.replace(".", "", 1).isdecimal():
        try:
            date = datetime.fromisoformat(end)
        except ValueError:
            date = None
        if date is None or date.tzinfo is None:
            raise Fault(f"printed an `{name}` that is not a time with a zone")
        return date.timestamp()
    return _number(end, name)


def _number(value: object, name: str) -> float:
    with suppress(ValueError):
        if isinstance(value, int | float | str) and not isinstance(value, bool) and isfinite(number := float(value)):
            return number
    raise Fault(f"printed an `{name}` that is no number of seconds")
