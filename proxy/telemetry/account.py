"""The record of one exchange that has ended: log, metrics, traces and budgets are derived from it.

exchange/settle.py creates it once, of plain values: no reference to the exchange and no content (prompt, answer or credential).
Times are monotonic seconds, except Account.time.

These are NamedTuples: creating a frozen dataclass of as many fields takes more than twice as long, and one is created per request.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

from ...codecs import errors
from ...codecs.usage import Usage, added


class Failure(NamedTuple):
    """A GatewayError as plain values."""

    code: str  # "" when the error has none
    kind: str
    timer: str  # the timer of a timeout; "" for any other error
    message: str  # GatewayError.logged: the caller's message without content
    detail: str  # shown in the log only

    @property
    def name(self) -> str:
        """The most specific name of the error."""
        return self.code or self.kind


class Target(NamedTuple):
    """The upstream of a call, as the configuration and the router describe it; one object for all calls of a candidate."""

    upstream: str  # provider/model
    provider: str
    model: str  # the upstream's name of it
    shape: str  # the upstream's
    api: str  # the shape's name in the configuration
    host: str
    port: int
    reason: str  # why the router chose this candidate
    explained: str  # the line of /explain, without its number


class Call(NamedTuple):
    """One attempt at one upstream."""

    target: Target
    again: bool  # an attempt before it was at the same model of the same entry
    lane: str
    status: int  # of the upstream's answer; 0: no answer
    error: str  # error_kind() of the failure; "" if it succeeded
    error_message: str
    sent: float | None
    headers: float | None
    first: float | None  # the first content
    end: float | None
    sendings: int  # number of times the request was written to a connection
    events: int | None  # of the upstream's stream; None when it did not stream
    usage: Usage | None
    cost: float | None  # USD; None when the tokens or the price are unknown
    cost_complete: bool  # nothing was used that the price says nothing of
    stop: str | None
    category: str  # of a refusal, in the provider's word; "" when it gave none
    dropped: list[str]  # entries of the headers of the same names
    adapted: list[str]
    response_dropped: list[str]
    unknown: int  # members of the answer that the caller's shape cannot represent
    span: int  # the id of the call's span; 0: not traced
    overtaken: bool = False  # the first content came from another call, and this one was cancelled
    continued: bool = False  # it broke off after its first content, and a later call went on with it
    routed: str = ""  # the model to which the upstream gave the request
    id: str = ""  # the provider's own, that a caller was told
    region: str = ""  # where the provider answered, if it says so
    of_upstream: bool = False  # the failure was the upstream's: the request was sent, or could not be delivered


class Via(NamedTuple):
    """The WebSocket that a request came on. connection: the id of its upgrade. stream_id: of the request's lane; None for the default."""

    connection: str
    stream_id: str | None


class Account(NamedTuple):
    """One exchange that has ended."""

    time: float  # when it was settled, seconds since the epoch
    request_id: str
    key: str  # the name of the caller's access key; "" without one
    operation: str  # the caller's shape for a model's answer; otherwise `embeddings`, `count_tokens`, …
    shape: str  # the caller's
    method: str
    route: str  # the path with its variable part as `{id}`
    path: str  # of the caller's request, without the query
    model: str  # as the caller requested it, at most LONGEST_MODEL characters; "" when it named none
    stream: bool
    status: int  # LEFT when the caller left before the answer
    begun: float
    ended: float
    client_left: bool
    error: Failure | None
    calls: list[Call]  # in order
    settings: dict[str, float]  # max_tokens, temperature, …: only when the exchange is traced
    # asked by `trigger` or `endpoint`, `automatic`, or `native` where the upstream itself did it; "" for any other request
    compaction: str = ""
    summed: Usage | None = None  # of a summary that precedes the answer; counted in the last call's usage
    via: Via | None = None  # None: it was an HTTP request of its own
    team: str = ""  # of the key
    user: str = ""  # within its key
    chosen: str = ""  # what chose among several candidates at one place: `affinity`, `moved`, or a balance
    hedge: str = ""  # where a second call was made beside the first: whose content came first, `first`, `second` or `none`
    dry: bool = False  # nothing was sent: it is logged, and counts nowhere else

    @property
    def last(self) -> Call | None:
        """The last attempt, which determined the outcome."""
        return self.calls[-1] if self.calls else None

    @property
    def first(self) -> float | None:
        """When the first content came; the last call may only have gone on with it."""
        if len(self.calls) < 2:
            return self.calls[-1].first if self.calls else None
        return next((call.first for call in self.calls if call.continued), self.calls[-1].first)

    @property
    def charged(self) -> list[Call]:
        """The calls whose tokens the caller is charged for: the last, and those that worked for the answer in vain."""
        if len(self.calls) < 2:
            return self.calls
        return [*(call for call in self.calls[:-1] if call.overtaken or call.continued), self.calls[-1]]

    def spent(self) -> tuple[Usage | None, float | None, bool]:
        """The tokens of all `charged` calls, their cost as far as it is known, and whether it is known of everything."""
        last = self.last
        if last is None or len(self.calls) < 2:
            return (None, None, True) if last is None else (last.usage, last.cost, last.cost_complete)
        calls = self.charged
        used = [call.usage for call in calls if call.usage is not None]
        costs = [call.cost for call in calls if call.cost is not None]
        return reduce(added, used) if used else None, sum(costs) if costs else None, all(call.cost_complete for call in calls)


class SocketAccount(NamedTuple):
    """One WebSocket that is over. connection: the id of its upgrade. close_code: that was sent or received; 1006 without one."""

    time: float  # seconds since the epoch
    connection: str
    key: str
    seconds: float
    messages: int
    responses: int
    bytes_in: int
    bytes_out: int
    close_code: int
    closed_by: str  # as metrics name it


LONGEST_MODEL = 200


def error_kind(error: errors.GatewayError) -> str:
    """The name of an attempt's failure: `timeout_idle`, `refused`, or the kind of error that the upstream reported."""
    if isinstance(error, errors.Timeout):
        return f"timeout_{error.timer}"
    if error.code == "upstream_auth_failed":  # not of the caller's key
        return "authentication"
    if isinstance(error, errors.Answered) or type(error) in (errors.GatewayError, errors.UpstreamFault):
        return error.kind
    return type(error).__name__.lower()


def failure(error: errors.GatewayError) -> Failure:
    timer = error.timer if isinstance(error, errors.Timeout) else ""
    return Failure(error.code or "", error.kind, timer, error.logged, error.detail)
