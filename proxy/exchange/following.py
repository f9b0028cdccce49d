"""Answers that an upstream gives in several, each asked for with what the one before ended with (`Shape.follows`).

Strategy: for an attempt they are one call. What the later ones bring of a stream goes where the first one's reads go, and the decoder
goes on (`Reply.followed`); complete answers become one body, a list of lists. An answer that cannot be had leaves those before it as
they are, and their decoder tells that the answer reached its limit; one that breaks off is a failure, as of any stream.

A caller of the same API gets each answer as it is, and asks for the next one by itself.
"""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING

from tornado.httpclient import HTTPResponse
from tornado.httputil import HTTPHeaders

from ...codecs import errors, jsontext, splice
from .lanes import json_object

if TYPE_CHECKING:
    from ...codecs.shape import Following
    from .attempt import Attempt

MOST = 16  # requests for one answer, after the first


def fetch(attempt: Attempt) -> asyncio.Future[HTTPResponse]:
    """The upstream's call, or all of them as one. Raises and fails as UpstreamClient.fetch does."""
    follows = attempt.candidate.speaks.follows
    if follows is None or attempt.same_shape or not (attempt.asks and getattr(attempt.capabilities, follows.flag)):
        only: asyncio.Future[HTTPResponse] = attempt.upstream().fetch(attempt.request)
        return only
    return asyncio.ensure_future(_all(attempt, follows))


async def _all(attempt: Attempt, follows: Following) -> HTTPResponse:
    request = attempt.request
    asked = request.body or b""  # before the answer: it is let go of when that begins (unneeded.py)
    response: HTTPResponse = await attempt.upstream().fetch(request)
    if attempt.status != 200 or (attempt.lane is None and attempt.streams):
        return response
    bodies, room = [response.body], request.max_body  # of all together
    rest = _rest(attempt, follows, bodies[-1])
    value = jsontext.loads(asked) if rest else {}
    while rest and len(bodies) <= MOST:
        if attempt.lane is not None and (pending := attempt.receive(b"\n\n")) is not None:  # an event that lacks its blank line is over
            await pending
        request.max_body = room - sum(map(len, bodies))
        request.body = splice.exchanged(asked, value, (), {follows.member: rest})
        body = await _next(attempt)
        if body is None:
            break
        bodies.append(body)
        rest = _rest(attempt, follows, body)
    if len(bodies) == 1 or attempt.lane is not None:
        return response
    return HTTPResponse(request, 200, response.headers, BytesIO(b"[[%b]]" % b"],[".join(bodies)))


def _rest(attempt: Attempt, follows: Following, body: bytes) -> str:
    """What to ask for the next answer with; "" if this one was the last."""
    if attempt.lane is not None:
        return "" if attempt.lane.ended else attempt.reply.rest
    try:
        return follows.token(json_object(body))
    except errors.Garbled:
        return ""


async def _next(attempt: Attempt) -> bytes | None:
    """Ask for the next answer. Returns its body, b"" of a stream; None if there is none."""
    request = attempt.request
    begun = False

    def on_headers(status: int, headers: HTTPHeaders) -> None:
        nonlocal begun
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        begun = status == 200 and (kind == "application/json") == (attempt.lane is None)
        if begun and attempt.lane is not None:
            attempt.reply.followed += 1
            request.streaming_callback = attempt.receive

    request.on_headers, request.streaming_callback = on_headers, None
    try:
        response = await attempt.upstream().fetch(request)
    except errors.UpstreamFault:
        if begun and attempt.lane is not None:
            raise
        return None
    shape = attempt.candidate.speaks
    if not begun:
        return None
    if attempt.lane is not None:
        return b""
    try:
        value = json_object(response.body)
    except errors.Garbled:
        return None
    return response.body if isinstance(value.get(shape.bears), shape.bears_a) and not shape.is_error(value) else None
