"""After an attempt that failed: whether the same request may be sent again, and after how long; and what the caller is told in the end."""

from __future__ import annotations

from typing import Any

from ...codecs import errors
from ...conf.model import Provider
from ..routing.candidate import Candidate

# what another candidate could do better: everything that is not the request's own fault
_RETRIED_KINDS = frozenset({"bad_gateway", "upstream_auth", "server", "overloaded", "timeout", "rate_limit"})
_AT_ONCE = frozenset({429, 500, 502, 503, 504, 529})  # without a retry_policy: these go to the next candidate when there is one


def verdict(failed: list[tuple[Candidate, errors.GatewayError]]) -> errors.GatewayError:
    """Every candidate failed: one error is told as it is, several are listed."""
    error = failed[-1][1]
    last = {id(candidate): (candidate.called, fault.message) for candidate, fault in failed}  # of several attempts at one
    if len(last) == 1:
        return error
    tried = "; ".join(f"{called}: {message}" for called, message in last.values())
    listed = errors.AllFailed(f"All upstreams failed. {tried}", kind=error.kind, code=error.code)
    listed.retry_after = error.retry_after
    return listed


def mendable(error: errors.GatewayError, status: int, provider: Provider) -> bool:
    """Whether the same request may succeed elsewhere, or a second time."""
    policy = provider.retry_policy
    if isinstance(error, errors.ClientFault | errors.Unconfigured):
        return False
    if isinstance(error, errors.Answered):
        if error.elsewhere:
            return True
        if status >= 300:
            return status in (policy.on_status_codes if policy else _AT_ONCE) or error.code == "upstream_auth_failed"
        used_up = error.kind == "billing" and not provider.passthrough_auth  # the gateway's own account, told within a stream
        return used_up or error.kind in _RETRIED_KINDS
    return isinstance(error, errors.UpstreamFault)


def pause(error: errors.GatewayError, status: int, number: int, policy: Any) -> float | None:
    """Seconds before the next attempt at the same candidate; None when it must not be tried again.

    What the candidate may have read, it may have done. It gets that again only where the policy names the status: the candidate's own
    or, where it gave none, the one that a caller would get.
    """
    if isinstance(error, errors.Timeout) and error.timer == "first_content":
        return None  # the time was set for another candidate to take over
    if error.kind == "billing" or (isinstance(error, errors.UpstreamFault) and not error.again):
        return None  # a second attempt finds the account, the login, the certificate as it is
    if isinstance(error, errors.Answered):
        status = error.original or status
    unread = isinstance(error, errors.UpstreamFault) and not error.sent
    if policy is None:
        return 0.0 if unread and isinstance(error, errors.Refused) else None
    if not unread and (status if status >= 300 else errors.KINDS[error.kind].openai_status) not in policy.on_status_codes:
        return None
    wait: float = min(policy.backoff.base * 2 ** (number - 1), policy.backoff.max)
    if error.retry_after is None:
        return wait
    return None if error.retry_after > policy.backoff.max else max(wait, error.retry_after)
