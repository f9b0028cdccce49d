"""Cut a large request body into parts that can be parsed and searched by themselves.

Almost all of an agent's request is one list (`messages`, `input`); what the gateway looks for stands before or after it. Searching
the list costs more than parsing it. So the text of the object is cut at commas between its members, and each part, in braces of its
own, is parsed by orjson: what is looked for must then be searched in the part that has it, which is short.

Where to cut is guessed: at the comma before a list's key (a `[` after one of LISTS) or before `instructions`, and at one that stands
between the end of an array and a key that is usual on the top level (KEYS). Why a wrong guess does no harm:

- The parts are used only if each of them is valid and has a member. Such objects, joined by commas, are an object: then the body is
  valid, its members are theirs in the same order, duplicates included, and each is as deep as in the body, so that orjson's limit of
  depth holds as well.
- In a valid body a part before or after the list is valid only if it begins and ends on the top level: a comma inside a string leaves
  a part that begins or ends in one (the quote after the comma would end the string, and no key follows the end of a string), and a
  comma on a lower level one whose brackets do not match. So if these are valid and the rest is not, orjson refuses the body as well.

What orjson refuses is not cut (lone surrogates, a byte order mark). The guesses are bounded in proportion to the body: brackets that are
looked at, bytes that are parsed in vain, parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

LARGE = 16 * 1024  # bytes of a body that is worth cutting
MOST = 8  # parts after the list
VAIN = 8  # guesses that may be wrong, before the list and after it
SPARSE = 512  # bytes of the body for each bracket that is looked at before the list, and for each after it
BRACKETS = 512  # that are looked at after the list; before it, a quarter of them
ENDING = 8  # the last eighth of the body is looked at in any case, the rest until USUAL is found
TOOLS = 128 * 1024  # bytes; the same, for the tools of an agent in a shorter body
LONG = 4 * 1024  # bytes of a part after the list that is worth cutting once more
GAP = 256  # bytes from the end of an array to the colon of the next key

USUAL = frozenset({"model", "stream"})

KEYS = (
    "model|stream|stream_options|previous_response_id|conversation|store|background|messages|input|system|instructions|tools"
    "|tool_choice|functions|function_call|parallel_tool_calls|max_tokens|max_completion_tokens|max_output_tokens|max_tool_calls"
    "|temperature|top_p|top_k|stop|stop_sequences|seed|metadata|thinking|output_config|context_management|container|mcp_servers"
    "|reasoning_effort|response_format|service_tier|prompt_cache_key|safety_identifier|include|truncation|modalities|logit_bias"
    "|frequency_penalty|presence_penalty|verbosity"
)

LISTS = tuple(b'"%b":%b' % (key, blank) for key in (b"messages", b"input", b"system", b"tools") for blank in (b"", b" "))
_NEXT = re.compile(rb'\s*+(,)\s*+"(?:%b)"\s*+:' % KEYS.encode())
_COMMA_OR_BLANK = b", \t\n\r"


class Part(NamedTuple):
    """Members of the body between two commas. start: the first comma's offset, or the opening brace's. end: the second's, or the body's.

    text: an object of these members, whose byte i is the body's byte start + i, but for the braces.
    """

    start: int
    end: int
    text: bytes
    members: dict[str, Any]


def cut(body: bytes) -> list[Part] | None:
    """The parts of a JSON object, in order; [] if none is found, None if orjson would refuse the body. Never raises."""
    if body[:1] != b"{":
        return []
    head = _head(body, 0, len(body))
    first = [] if head is None else [head]
    start = 0 if head is None else head.end
    tail = _tail(body, start, USUAL if head is None else USUAL.difference(head.members))
    if not first and not tail:
        return []
    large = _part(body, start, tail[-1].start if tail else len(body))
    return None if large is None else [*first, large, *reversed(tail)]


def _part(body: bytes, start: int, end: int) -> Part | None:
    """The members between two commas; None if they are none."""
    text = b"".join((b"{", memoryview(body)[start + 1 : end], b"}" if end < len(body) else b""))
    try:
        members = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return Part(start, end, text, members) if members else None


def _head(body: bytes, start: int, end: int) -> Part | None:
    """What stands before the first list, or before `instructions`."""
    spare = (end - start) // 2
    for key in _large_keys(body, start, end):
        comma = body.rfind(b",", start + 1, key)
        if comma < 0 or comma - start > spare:
            break
        part = _part(body, start, comma)
        if part is not None:
            return part
        spare -= max(comma - start, (end - start) // (2 * VAIN))
    return None


def _large_keys(body: bytes, start: int, end: int) -> Iterator[int]:
    """Where there may be a key of a large member."""
    key = body.find(b'"instructions":', start, min(start + LONG, end))
    if body.find(b",", start + 1, max(key, 0)) >= 0:
        yield key
    at = start
    for _ in range(min((end - start) // SPARSE, BRACKETS // 4)):
        at = body.find(b"[", at + 1, end)
        if at < 0:
            return
        if body.endswith(LISTS, start, at):
            yield body.rfind(b'"', start, body.rfind(b'"', start, at))


def _tail(body: bytes, start: int, missing: frozenset[str]) -> list[Part]:
    """What stands after the largest list, the last part first. missing: keys of USUAL that do not stand before it."""
    parts: list[Part] = []
    end, at, spare = len(body), len(body) - 1, len(body) // 4
    enough = end - max(end // ENDING, TOOLS)
    for _ in range(min(len(body) // SPARSE, BRACKETS)):
        at = body.rfind(b"]", start, at)
        if at < 0 or (at < enough and not missing):
            break
        hit = _NEXT.match(body, at + 1, at + GAP) if body[at + 1] in _COMMA_OR_BLANK else None
        if hit is None:
            continue
        comma = hit.start(1)
        trailing = _from_the_right(body, comma, end)
        if not trailing:
            spare -= max(end - comma, len(body) // (4 * VAIN))
            if spare < 0:
                break
            continue
        parts += trailing
        end = comma
        missing = missing.difference(*(part.members for part in trailing))
        if len(parts) >= MOST:
            break
    return parts


def _from_the_right(body: bytes, start: int, end: int) -> list[Part]:
    """The members between two commas, in two parts if they are many and end with a list; [] if they are none."""
    head = _head(body, start, end) if end - start > LONG else None
    rest = _part(body, start if head is None else head.end, end)
    if rest is None:
        return []
    return [rest] if head is None else [rest, head]
