"""How many tokens an attempt used, as far as anyone can know: what the upstream counted, or an estimate of what it did not tell.

An upstream counts at the end of its answer. Where the end was never seen (the caller left, the connection broke) what it had
written until then is estimated from the stream: a provider streams one token an event, or several in a longer one. Of a caller who
left before anything came the prompt is charged, once the upstream has it, and so of an attempt that another one overtook. A
background response that an upstream runs itself is charged to the request that reads its end first.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ...codecs.compaction import with_spent
from ...codecs.usage import Usage

if TYPE_CHECKING:
    from .attempt import Attempt

_TOKEN = 4  # bytes of text
_OF_FILES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"  # bytes of an image or another file, in base64
_FILE = 2000  # bytes of such a run, at least
_STRIDE = _FILE // 2
# as many strides as do not begin with that many of these bytes
_TEXT = re.compile(rb"(?:(?![A-Za-z0-9+/=_-]{%d}).{%d})*+" % (_STRIDE, _STRIDE), re.DOTALL)
_ENDS = (b'"', b"\\", b" ")  # what ends a file's run in JSON; to search for these is many times faster than to look at each byte of it
_FILE_TOKENS = 1600


def used(attempt: Attempt) -> Usage | None:
    """None when nothing was answered, or nothing is charged."""
    usage, made = _used(attempt), attempt.exchange.summary
    if made is None or attempt.compacting == "first" or attempt.usage is not None or attempt.lane is not None:
        return usage  # a reported usage includes the summary before it
    return with_spent(usage, made.usage)


def _used(attempt: Attempt) -> Usage | None:
    exchange, lane = attempt.exchange, attempt.lane
    if not (exchange.operation.counted or attempt.owed) or (exchange.turn is not None and exchange.turn.owed):
        return None
    known = attempt.usage or (lane.usage if lane is not None else None)
    if known is None and not attempt.received and _left_waiting(attempt):
        return Usage(input=_prompt(attempt), output=0)
    if attempt.status != 200 or (known is not None and (lane is None or lane.counted)):
        return known
    if not attempt.received or (attempt.raw and not (lane is not None and lane.events)):
        return known
    events, least = (lane.events, lane.events) if lane is not None else (1, 0)
    written = max(least, (attempt.received - events * attempt.candidate.speaks.overhead) // _TOKEN)
    if known is None:
        return Usage(input=_prompt(attempt), output=written)
    return replace(known, input=known.input or _prompt(attempt), output=max(known.output, written), total=None)


def _left_waiting(attempt: Attempt) -> bool:
    """Whether the upstream was left while it was at work on the whole request: it has read the prompt at least."""
    exchange = attempt.exchange
    sent = "sent" in attempt.times and attempt.request.sent_at is not None
    return (exchange.client.gone or attempt.overtaken) and sent and attempt.status in (0, 200) and exchange.form_field is None


def _prompt(attempt: Attempt) -> int:
    return read(attempt.request.body or b"") if attempt.prompt is None else attempt.prompt


def read(body: bytes) -> int:
    """Tokens of a request, about.

    A file's run has one of the strides whole, in text the first space ends a stride: most bytes are not looked at.
    """
    at = files = length = 0
    while (at := _end_of_text(body, at)) + _STRIDE <= len(body):
        end = _end_of_file(body, at + _STRIDE)
        before = body[max(0, at - _STRIDE) : at]
        size = end - at + len(before) - len(before.rstrip(_OF_FILES))
        if size >= _FILE:
            files, length = files + 1, length + size
        at = end
    return (len(body) - length) // _TOKEN + files * _FILE_TOKENS


def _end_of_text(body: bytes, at: int) -> int:
    """Where the next stride within a file's run begins, or one begins that is not whole."""
    match = _TEXT.match(body, at)
    return at if match is None else match.end()


def _end_of_file(body: bytes, at: int) -> int:
    """Where a file's run ends that has come so far. Each window is as long as all before it, so that the time is linear."""
    window = _FILE
    while at < len(body):
        places = [place for mark in _ENDS if (place := body.find(mark, at, at + window)) >= 0]
        if places:
            return min(places)
        at, window = at + window, window * 2
    return len(body)
