"""What a request is sent with, and why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

UNAUTHORIZED = 401  # the status of an upstream that does not know a credential, or any more
PLAIN_LIFE = 300.0  # seconds after which one without an end is asked for anew
LATEST = 253_402_300_800.0  # the end of the year 9999, in seconds since the epoch: no token ends later
LONGEST = 16 * 1024  # characters of a token


class Fault(Exception):
    """No credential. The message names the step that failed; it is public, in our own words, and holds nothing that a service said.

    missing: there is none to be had, or it is refused for good reason to search no further. passing: the same may work soon.
    """

    def __init__(self, message: str, *, missing: bool = False, passing: bool = False) -> None:
        super().__init__(message)
        self.message, self.missing, self.passing = message, missing, passing


def busy(status: int | None) -> bool:
    """Whether a service that answers with this status may answer otherwise soon."""
    return status is not None and (status == 429 or status >= 500)


class Answer(NamedTuple):
    """An upstream's, in which it may say that it does not know a credential. headers: without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Credential:
    """What a request is sent with. ends, renew_at: seconds since the epoch; renew_at: from when the giver has another one.

    An `ends` of None is unknown: the credential is used until it is refused, and renewed after `renew_at`. project: of Google Cloud, to
    which the credential belongs, if its giver says one.
    """

    token: str = field(repr=False)
    ends: float | None
    renew_at: float | None = None
    project: str | None = field(default=None, kw_only=True)

    signs: ClassVar[bool] = False
    """Whether each request is signed, instead of bearing the token."""

    def ended(self, now: float) -> bool:
        """now: seconds since the epoch."""
        return self.ends is not None and self.ends <= now

    @property
    def headers(self) -> dict[str, str]:
        """What every request is sent with."""
        return {"authorization": f"Bearer {self.token}"}

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown in an upstream's error."""
        return (self.token,)

    def refused(self, answer: Answer) -> bool:
        """Whether the upstream says that it does not know this credential, or any more."""
        return answer.status == UNAUTHORIZED

    def unknown(self, answer: Answer) -> bool:
        """The same, or that the upstream cannot verify it: not that it lacks a permission."""
        return self.refused(answer)

    def corrected(self, answer: Answer) -> bool:
        """Whether an answer showed what was wrong with a signature, so that the next one is better."""
        return False

    def sign(self, method: str, target: str, headers: Mapping[str, str], body: bytes, place: tuple[str, str]) -> dict[str, str]:
        """The headers to add to a request, if `signs`.

        target: path and query as sent. headers: by lower-case name, the host among them. place: region and service.
        """
        raise NotImplementedError


def bearer(token: object, ends: float | None, renew_at: float | None = None, project: str | None = None) -> Credential:
    """Raises Fault for what cannot stand in a header."""
    if not isinstance(token, str) or not token:
        raise Fault("the answer holds no token")
    if len(token) > LONGEST or not token.isascii() or not token.isprintable() or " " in token:
        raise Fault("the token is not one of printable ASCII, or too long")
    if ends is not None and not ends < LATEST:
        raise Fault("the token's end is no time")
    return Credential(token, ends, renew_at, project=project)
