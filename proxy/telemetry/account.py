"""What is known of one exchange once it is over: the record that the log, the metrics, the traces and the budgets are made from.

It is made once, by exchange/settle.py, and holds plain values only. Nothing in it leads back to the exchange, and nothing in it is
content: no prompt, no answer, no credential. Times are monotonic seconds, except Account.time.

These are NamedTuples: a frozen dataclass of as many fields takes more than twice as long to make, and one is made for every request.
"""

from __future__ import annotations

from typing import NamedTuple

from ...codecs import errors
from ...codecs.usage import Usage


class Failure(NamedTuple):
    """A GatewayError in words."""

    code: str  # "" when the error has none
    kind: str
    timer: str  # of a timeout: which one; "" of any other error
    message: str  # what the caller reads, as far as nobody's words are in it
    detail: str  # what only the log says

    @property
    def name(self) -> str:
        """The most exact name that the error has."""
        return self.code or self.kind


class Target(NamedTuple):
    """The upstream of a call, as the configuration and the router describe it; the same object for all calls of one candidate."""

    upstream: str  # provider/model
    provider: str
    model: str  # the upstream's own name
    shape: str  # what the upstream speaks
    api: str  # the same, by its name in the configuration
    host: str
    port: int
    reason: str  # why this candidate stands where it stands
    explained: str  # the line of /explain, without its number


class Call(NamedTuple):
    """One attempt at one upstream."""

    target: Target
    again: bool  # the attempt before this one was at the same candidate
    lane: str
    status: int  # of the upstream's answer; 0: none came
    error: str  # error_kind() of what went wrong; "" when nothing did
    error_message: str
    sent: float | None
    headers: float | None
    first: float | None  # the first content
    end: float | None
    sendings: int  # how often the request was written to an upstream's connection
    events: int | None  # of the upstream's stream; None when it did not stream
    usage: Usage | None
    cost: float | None  # USD; None when the tokens or the price are not known
    stop: str | None
    dropped: list[str]  # entries of the headers of the same names
    adapted: list[str]
    response_dropped: list[str]
    unknown: int  # things in the answer that the caller's shape has no place for
    span: int  # the id of the call's span; 0: not traced


class Account(NamedTuple):
    """One exchange."""

    time: float  # when it was settled, seconds since the epoch
    request_id: str
    key: str  # the name of the caller's access key; "" without one
    operation: str  # what was asked for: the caller's shape, where that is an answer of a model; else `embeddings`, `count_tokens`, …
    shape: str  # the caller's
    method: str
    route: str  # the path with what varies in it as `{id}`
    path: str  # as the caller asked, without the query
    model: str  # as the caller asked for it, at most LONGEST_MODEL characters; "" when it named none
    stream: bool
    status: int  # LEFT when the caller did not wait for an answer
    begun: float
    ended: float
    client_left: bool
    error: Failure | None
    calls: list[Call]  # in the order in which they were made
    settings: dict[str, float]  # max_tokens, temperature, …: only of an exchange that is traced

    @property
    def last(self) -> Call | None:
        """The attempt that decided."""
        return self.calls[-1] if self.calls else None


LONGEST_MODEL = 200
LEFT = 499  # the status of a request whose client left before it was answered


def error_kind(error: errors.GatewayError) -> str:
    """A failed attempt in one word: `timeout_idle`, `refused`, or the kind of error that the upstream itself reported."""
    if isinstance(error, errors.Timeout):
        return f"timeout_{error.timer}"
    if error.code == "upstream_auth_failed":  # a bad gateway for the caller, whose key is not at fault
        return "authentication"
    if isinstance(error, errors.Answered) or type(error) in (errors.GatewayError, errors.UpstreamFault):
        return error.kind
    return type(error).__name__.lower()


def failure(error: errors.GatewayError) -> Failure:
    timer = error.timer if isinstance(error, errors.Timeout) else ""
    return Failure(error.code or "", error.kind, timer, error.logged, error.detail)
