"""A program that prints a bearer token: started without a shell, bounded in time and output.

It prints either the token alone, or a JSON object with the token (`access_token`, `accessToken` or `token`) and its end (`expires_in` in
seconds; `expires_on`, `expires_at`, `expiry` or `expiration`, in seconds since the epoch or as a date with its time zone). What it
writes to standard error is thrown away, as it may hold secrets.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from math import isfinite
from time import monotonic, time
from typing import Any

from ...codecs import jsontext
from ...conf.model import TokenCommand
from .source import Credential, Fault, bearer

PLAIN_LIFE = 300.0  # seconds after which a token without an end is asked for anew
MOST = 64 * 1024  # bytes of output
LOOK = 0.05  # seconds between two looks whether the program has ended

TOKENS = ("access_token", "accessToken", "token")
ENDS = ("expires_on", "expires_at", "expiry", "expiration")


class Command:
    """Giver. timeout: seconds for the program."""

    def __init__(self, way: TokenCommand, timeout: float, clock: Callable[[], float] = time) -> None:
        self.name = way.text
        self._argv, self._timeout, self._clock = way.argv, timeout, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def get(self) -> Credential:
        return read(self._output(), self._clock())

    def close(self) -> None:
        self._closed = True
        if (process := self._process) is not None:
            _kill(process)

    def _output(self) -> bytes:
        if self._closed:
            raise Fault("was ended with the gateway")
        deadline = monotonic() + self._timeout
        try:
            process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise Fault(f"cannot be started: {reason or 'its arguments are not usable'}", missing=True) from None
        self._process = process
        try:
            with process:
                try:
                    found = _read(process, deadline)
                    code = process.wait(max(0.0, deadline - monotonic()))
                except subprocess.TimeoutExpired:
                    raise Fault(f"did not end within {self._timeout:g} s", passing=True) from None
                finally:
                    _kill(process)  # also what it has left running in its session
        finally:
            self._process = None
        if self._closed:
            raise Fault("was ended with the gateway")
        if code:
            raise Fault(f"ended with status {code}" if code > 0 else f"was ended by signal {-code}")
        return found


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _read(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """What it prints, until it closes its output or ends. Raises Fault, TimeoutExpired."""
    assert process.stdout is not None
    out, found = process.stdout.fileno(), b""
    poll = select.poll()  # select() takes no descriptor above 1023
    poll.register(out, select.POLLIN)
    while True:
        left = deadline - monotonic()
        if left <= 0:
            raise subprocess.TimeoutExpired(process.args, 0)
        ended = process.poll() is not None  # before the look: what it printed last is seen
        if not poll.poll(0 if ended else min(left, LOOK) * 1e3):
            if ended:  # something that it started has its output still
                return found
            continue
        piece = os.read(out, MOST)
        if not piece:
            return found
        found += piece
        if len(found) > MOST:
            raise Fault(f"printed more than {MOST >> 10} kB")


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
        if isinstance(value, int | float | str) and not isinstance(value, bool) and isfinite(found := float(value)):
            return found
    raise Fault(f"printed an `{name}` that is no number of seconds")
