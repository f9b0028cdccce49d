"""`x-dragoman-dry-run: 1`: what an upstream would be asked, shown to the caller and not sent.

The request is read, admitted, routed and written as any other, by the same functions; it ends where an attempt would call its
upstream. No credential is fetched, nothing is stored, locked, learned or begun. Credentials are hidden: of every configured header only
the name is shown, and what a query or a header calls a key or a token is not.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ...codecs import errors, jsontext
from ..keys import secrets
from ..routing.candidate import Candidate
from ..wire import bodies
from . import counting, question
from .attempt import HEADER_LANES, Attempt

if TYPE_CHECKING:
    from .exchange import Exchange

HEADER = "X-Dragoman-Dry-Run"
HIDDEN = "[hidden]"

_HARMLESS = frozenset({"idempotency-key"})
_IN_URLS = frozenset({"sig", "code"})  # what clouds call credentials in a query
_IN_QUERY = re.compile(r"([?&])([^?=&]*+)=([^&]*+)")


def asked(headers: Mapping[str, str]) -> bool:
    """Whether the caller asks for a dry run. headers: HTTPHeaders."""
    return HEADER in headers and headers[HEADER].strip() == "1"


async def answer(exchange: Exchange, candidates: tuple[Candidate, ...]) -> None:
    """Answer with the first upstream request that there would be. Raises what would refuse it before it is sent."""
    candidate = _first(exchange, candidates)
    if candidate is None:
        known = {"dry_run": True, "upstream": None, "request": None, "why": "The count would be estimated here."}
        await exchange.client.answer(200, exchange.own_headers() | _HEADERS, jsontext.dumps(known))
        return
    attempt = Attempt(exchange, candidate)
    url, body = await question.written(attempt)
    lane = HEADER_LANES.get(attempt.lane_name, attempt.lane_name)
    headers = exchange.own_headers() | _HEADERS | {"x-dragoman-upstream": candidate.name, "x-dragoman-lane": lane}
    shown = await bodies.apart(len(body or b"") > bodies.AT_ONCE, partial(_shown, exchange, attempt, lane, url, body))
    await exchange.client.answer(200, headers, shown)


_HEADERS = {"content-type": "application/json", "x-dragoman-dry-run": "1"}


def _first(exchange: Exchange, candidates: tuple[Candidate, ...]) -> Candidate | None:
    """The candidate that would be asked first; None where a count would be estimated."""
    if exchange.operation.lane != "count":
        return candidates[0]
    first = candidates[0]
    return first if counting.native(exchange.shape, first) or counting.askable(exchange, first) else None


def _shown(exchange: Exchange, attempt: Attempt, lane: str, url: str, body: bytes | None) -> bytes:
    candidate, ledger = attempt.candidate, attempt.ledger
    known = {
        "dry_run": True,
        "upstream": candidate.name,
        "api": candidate.speaks.api,
        "lane": lane,
        "why": candidate.reason,
        "ledger": {
            "dropped": ledger.names(ledger.dropped, exchange.scan.value),
            "adapted": ledger.names(ledger.adapted, exchange.scan.value),
        },
    }
    if attempt.warms:
        return jsontext.dumps(known | {"request": None})  # it asks nothing of the model: no upstream is called
    sent: dict[str, Any] = {"method": exchange.operation.method, "url": _url(url), "headers": _headers(attempt, body)}
    text = jsontext.dumps(known | {"request": sent})
    answer = text if body is None else text[:-2] + _member(body) + b"}}"
    return secrets.scrub(answer, (*secrets.of(candidate.provider), exchange.key, exchange.credential))


def _member(body: bytes) -> bytes:
    """The body as the last member of the request: JSON as it would be sent, byte by byte, anything else in base64."""
    try:
        jsontext.loads(body)
        return b',"body":' + body.removeprefix(b"\xef\xbb\xbf")
    except ValueError:
        return b',"body_base64":"%b"' % b64encode(body)


def _headers(attempt: Attempt, body: bytes | None) -> dict[str, str]:
    """The headers, those of the configuration by their names alone. Raises Unconfigured without a credential."""
    candidate = attempt.candidate
    headers = question.headers(attempt, body)
    configured = candidate.headers(attempt.exchange.credential, None).keys() - {"host"}
    if candidate.source is not None:
        headers.setdefault("authorization", HIDDEN)  # it would be fetched now
        candidate.without_removed(headers)
    return {name: HIDDEN if name in configured or _is_secret(name) else value for name, value in headers.items()}


def _is_secret(name: str) -> bool:
    return name not in _HARMLESS and secrets.HOLDS_SECRET.search(name) is not None


def _url(url: str) -> str:
    """The URL without the values of its query that may be credentials."""

    def shown(match: re.Match[str]) -> str:
        before, name, value = match.groups()
        return f"{before}{name}={HIDDEN if _is_secret(name) or name.lower() in _IN_URLS else value}"

    return _IN_QUERY.sub(shown, url)


def refuse(exchange: Exchange) -> None:
    """Raise ClientFault where a dry run cannot be answered."""
    if exchange.message is not None:
        raise errors.ClientFault("A dry run is only available over HTTP.", param=HEADER.lower())
