"""What an upstream's error answer means: to the caller, and to the next attempt.

Nothing is retried here. A refusal of something that the upstream can be asked without is learned (`lessons.py`), and marks the attempt.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from ...codecs import errors, lessons, limits
from ...codecs.carrier import ErrorReader
from ..keys import secrets
from ..memory.expansion import native
from . import grants

if TYPE_CHECKING:
    from .attempt import Attempt

# statuses of refusals that teach: whatever they are about, or that another API is to be asked
_TEACHING = {400: "all", 422: "all", 404: "recognised"}  # what a shape's table has a row for
_LIVES_UPSTREAM = ("previous_response_id", "conversation", "background")
_OPERATORS_FAULT = frozenset({401, 402, 403})  # with the gateway's own key
_OPERATORS_KINDS = frozenset({"auth", "billing"})  # likewise: OpenAI says by a 429 that an account has nothing left


def read(attempt: Attempt, body: bytes) -> errors.GatewayError:
    """The error that the upstream answered with; `attempt.refusal` becomes its bytes where the caller may get them as they are."""
    if 300 <= attempt.status < 400:
        return errors.Garbled("The upstream answered with a redirect.", f"status {attempt.status}")
    clean, provider = without_key(attempt, body), attempt.candidate.provider
    of_carrier = _carriers_reader(attempt)
    if of_carrier is not None:
        error = of_carrier(attempt.status, clean, attempt.upstream_headers)
    else:
        error = attempt.candidate.speaks.decode_error(attempt.status, clean, attempt.upstream_headers.get("Content-Type", ""))
    _learn(attempt, error)
    if error.retry_after is None:
        error.retry_after = limits.retry_after(attempt.upstream_headers, time())
    if grants.mended(attempt, body):
        attempt.learned = attempt.exchange.passing is None  # to ask again with another; a body that has gone cannot be sent again
    if (refused := grants.refused(attempt, body)) is not None:
        return refused
    if _is_the_operators(attempt, error):
        return _operators(attempt, error)
    if isinstance(error, errors.Answered) and error.kind == "bad_gateway" and attempt.status < 500:
        error.elsewhere = True
        return error  # the operator's configuration is wrong: that is not what the caller's SDK would make of the status
    if attempt.same_shape and of_carrier is None and clean.lstrip().startswith(b"{"):  # not a page, or nothing
        own = provider.passthrough_auth
        shown = secrets.scrub(body, secrets.of(provider)) if own else clean  # its own the caller may see
        attempt.refusal = (attempt.status, attempt.forwarded_down(), shown)
    error.headers = attempt.translated_limits()
    return error


def _carriers_reader(attempt: Attempt) -> ErrorReader | None:
    """What reads an error of the candidate's carrier, where this is one and not the API's own."""
    carrier = attempt.candidate.carrier
    if carrier is None or (carrier.error_header and carrier.error_header not in attempt.upstream_headers):
        return None
    return carrier.read_error


def _is_the_operators(attempt: Attempt, error: errors.GatewayError) -> bool:
    """Whether the gateway's own credential was refused, and not one of the caller's."""
    if not attempt.candidate.capabilities.owns_key or attempt.candidate.provider.passthrough_auth:
        return False
    return attempt.status in _OPERATORS_FAULT or error.kind in _OPERATORS_KINDS


def _operators(attempt: Attempt, error: errors.GatewayError) -> errors.GatewayError:
    denied = errors.Answered(
        "The gateway's credential was refused by the upstream.",
        f"status {attempt.status}, {error.code or error.kind}",
        kind="upstream_auth",
        code="upstream_auth_failed",
        should_retry=False,
    )
    denied.again = error.kind != "billing"  # a second attempt finds the account as it is
    return denied


def without_key(attempt: Attempt, body: bytes) -> bytes:
    """An upstream's error without the credentials that it may know: some providers say which one they refused."""
    granted = () if attempt.granted is None else attempt.granted.secrets
    return secrets.scrub(body, (*secrets.of(attempt.candidate.provider), attempt.exchange.credential, *granted))


def _learn(attempt: Attempt, error: errors.GatewayError) -> None:
    """A refusal of something that the upstream can be asked without: it is asked again."""
    exchange, sent = attempt.exchange, attempt.request.body or b""
    if attempt.status not in _TEACHING or not attempt.asks:
        return
    table, elsewhere = attempt.candidate.speaks.lessons, _could_go_elsewhere(attempt)
    lesson = lessons.read(table, error, sent, attempt.same_shape, elsewhere)
    if lesson is None or (lesson.member and _TEACHING[attempt.status] != "all"):
        return
    if exchange.strict and attempt.same_shape and not (lesson.adapts or lesson.elsewhere):
        return
    attempt.learned = exchange.taught.add(attempt.candidate, lesson)


def _could_go_elsewhere(attempt: Attempt) -> bool:
    """Whether another API of the upstream could be asked: not where something is continued that lives behind this one."""
    if not attempt.candidate.others:
        return False
    return not native(attempt.candidate) or not any(attempt.exchange.scan.value.get(name) for name in _LIVES_UPSTREAM)
