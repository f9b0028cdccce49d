"""Change single values inside JSON bytes without changing any other byte.

Traffic between two ends of the same shape is passed on as bytes: parsing and serialising JSON changes numbers, key order and escapes,
which invalidates prompt caches. This module finds what the gateway must know of a request, and changes what it must change.

Strategy: orjson validates the JSON and returns the values; a regular expression finds the position of the wanted key. If the key
occurs more than once, each occurrence is renamed to a unique key and the bytes are parsed again, which shows the one on the wanted
level. That is several times faster than a scan of the structure in Python, and independent of depth and size. To search a large body
takes longer than to parse it, so `scan` reads it in parts (parts.py), and searches those that have a wanted member.

Parsers may disagree on which of two `model` members is used, so that a caller could bypass a policy. Members that the gateway's
decisions depend on (SINGLE) may therefore occur only once on the top level, with or without escapes, and in no other spelling: a
parser that ignores case accepts `Model` as `model`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from functools import cache
from itertools import count
from typing import Any, NamedTuple

from . import errors, jsontext, parts

Span = tuple[int, int]

SINGLE = frozenset({"model", "stream", "previous_response_id", "conversation", "store", "background"})
"""Members of a request body that the gateway's decisions depend on."""

LONGEST_KEY = 256  # bytes of a wanted key, including escapes
SLICE = 256 * 1024  # bytes scanned between two yields
OVERLAP = 1024  # bytes of a key and the white space before its colon
LONGEST_CONVERSATION = 4096  # bytes of a `conversation` that is an object


class Scan(NamedTuple):
    """The top-level members of a request body that the gateway needs."""

    value: dict[str, Any]  # the body itself
    model: str | None  # None: absent or null
    model_span: Span | None  # byte range of the value of `model`, including null; None: absent
    stream: bool | None  # None: absent or null
    stream_at: int | None = None  # offset of the value of `stream`; None: absent or not known

    @property
    def include_usage(self) -> bool:
        """Whether the body of a chat request asks for usage in the stream."""
        options = self.value.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True


def scan(body: bytes) -> Scan:
    """Parse a request body.

    Raises errors.Malformed (not a JSON object in UTF-8; a duplicate or differently spelled member of SINGLE) and errors.WrongType
    (`model` is not a string, `stream` not a boolean). A missing `model` is not an error here.
    """
    pieces = parts.cut(body) if len(body) >= parts.LARGE else []
    if pieces:
        return _scan_parts(body, pieces)
    value = None
    try:
        value = jsontext.loads(body, "strict") if pieces is not None else jsontext.loads_refused(body, "strict")
    except ValueError as error:
        reason = str(error)
    else:
        reason = ""
    if reason:  # not raised above: that error refers to the text of the entire body
        raise errors.Malformed("The request body is not valid JSON in UTF-8.", reason)
    if not isinstance(value, dict):
        raise errors.Malformed("The request body must be a JSON object.")
    return scanned(body, value, _single(body, value))


def _scan_parts(body: bytes, pieces: list[parts.Part]) -> Scan:
    """As `scan`, for a body that is cut. Raises as scan."""
    value: dict[str, Any] = {}
    places: dict[str, list[int]] = {}
    for start, _, text, members in pieces:
        value |= members
        for key, inside in _single(text, members).items():
            places.setdefault(key, []).extend([start + place for place in inside])
    return scanned(body, value, places)


def _single(text: bytes, value: dict[str, Any]) -> dict[str, list[int]]:
    """The offsets of the values of members of SINGLE. value: the parsed text. Raises Malformed for another spelling."""
    places = {}
    plain = None
    for key in value:
        if key in SINGLE:
            if plain is None:
                plain = _is_plain(text)
            places[key] = _places(text, value, (key,), plain)
        elif key.casefold() in SINGLE:
            check_spelling(key)
    return places


def check_spelling(key: str) -> None:
    """Raises Malformed for a differently spelled member of SINGLE. key: not equal to one of them."""
    folded = key.casefold()
    if folded in SINGLE:
        raise errors.Malformed(f"`{key}` must be spelled `{folded}`.", param=folded)


def scanned(body: bytes, value: dict[str, Any], places: dict[str, list[int]]) -> Scan:
    """Return the Scan of a body. value: the parsed body. places: offsets of the values of members of SINGLE. Raises as scan."""
    for key, offsets in places.items():
        if len(offsets) > 1:
            raise errors.Malformed(f"`{key}` occurs twice in the request body.", param=key)
    if isinstance(value.get("conversation"), dict):
        _check_conversation(body, places["conversation"][0])
    models = places.get("model")
    model = value.get("model")
    if not isinstance(model, str | None):
        raise errors.WrongType("`model` must be a string.", param="model")
    stream = value.get("stream")
    if not isinstance(stream, bool | None):
        raise errors.WrongType("`stream` must be a boolean.", param="stream")
    streams = places.get("stream")
    return Scan(value, model, (models[0], _end(body, models[0])) if models else None, stream, streams[0] if streams else None)


def _check_conversation(body: bytes, place: int) -> None:
    """Raises Malformed if parsers may read different values of `id` from the object."""
    hit = _FLAT.match(body, place, place + LONGEST_CONVERSATION)
    if hit is None or len(_keys(hit[0], "id")) > 1 or b"\\" in hit[0]:
        raise errors.Malformed("`conversation` must be an id, or an object with one.", param="conversation")


def replace_model(body: bytes, scan: Scan, name: str) -> bytes:
    """Return the body with another model name, inserted if missing. Must be the first change of the body."""
    return _with_model(body, scan, name)[0]


def named(body: bytes, scan: Scan, name: str) -> tuple[bytes, Scan]:
    """As `replace_model`, but also return the Scan of the new body."""
    body, span = _with_model(body, scan, name)
    return body, Scan(scan.value | {"model": name}, name, span, scan.stream, _stream_at(body, scan))


def _with_model(body: bytes, scan: Scan, name: str) -> tuple[bytes, Span]:
    """As `replace_model`, and where the name is in the new body."""
    text = jsontext.dumps(name)
    if scan.model_span is None:
        member = b'"model":' + text
        end = body.rindex(b"}") + len(member) + bool(scan.value)  # a comma precedes it
        return _appended(body, member, scan), (end - len(text), end)
    start = scan.model_span[0]
    return _replaced(body, scan.model_span, text), (start, start + len(text))


def written(value: dict[str, Any]) -> tuple[bytes, Scan]:
    """A body as JSON, with what it says. value: of a scan, changed in other members than `model` and `stream`."""
    stream = value.get("stream")
    if "model" not in value:
        return jsontext.dumps(value), Scan(value, None, None, stream)
    body, start = _written_from("model", value)
    return body, Scan(value, value["model"], (start, _end(body, start)), stream)


def _written_from(key: str, value: dict[str, Any]) -> tuple[bytes, int]:
    """A body as JSON, and the offset of a member's value, which is not searched. key: an ASCII name."""
    place = len(key) + 4
    if next(iter(value)) == key:
        return jsontext.dumps(value), place
    count, members = list(value).index(key), list(value.items())
    before, after = jsontext.dumps(dict(members[:count])), jsontext.dumps(dict(members[count:]))
    return b"".join((memoryview(before)[:-1], b",", memoryview(after)[1:])), len(before) - 1 + place


def add_include_usage(body: bytes, scan: Scan) -> bytes:
    """Return the chat body with `stream_options.include_usage` true; the same object if it already is.

    body: the scanned one, or the result of `replace_model`. Values of the wrong type are left for the provider to refuse.
    """
    if "stream_options" not in scan.value:
        return _appended(body, b'"stream_options":{"include_usage":true}', scan)
    options = scan.value["stream_options"]
    plain = _is_plain(body)
    place = _places(body, scan.value, ("stream_options",), plain)[-1]
    if options is None:
        return _replaced(body, (place, _end(body, place)), b'{"include_usage":true}')
    if not isinstance(options, dict):
        return body
    if "include_usage" not in options:
        return _replaced(body, (place, place + 1), b'{"include_usage":true,' if options else b'{"include_usage":true')
    if options["include_usage"] is not None and options["include_usage"] is not False:
        return body
    place = _places(body, scan.value, ("stream_options", "include_usage"), plain)[-1]
    return _replaced(body, (place, _end(body, place)), b"true")


def ask_stream(body: bytes, scan: Scan) -> bytes:
    """Return the body with `stream` true. body: the scanned one, or the result of `replace_model`."""
    if "stream" not in scan.value:
        return _appended(body, b'"stream":true', scan)
    place = _stream_at(body, scan)
    if place is None:
        place = _places(body, scan.value, ("stream",), _is_plain(body))[-1]
    return _replaced(body, (place, _end(body, place)), b"true")


def without(body: bytes, value: dict[str, Any], keys: Iterable[str]) -> bytes:
    """The body without the members of its top level that have these names; every other byte stays. value: the body, parsed."""
    present = [key for key in keys if key in value]
    if not present:
        return body
    plain = _is_plain(body)
    cuts = sorted((start, value_end(body, end)) for key in present for start, end in _spans(body, value, (key,), plain))
    pieces, at = [], 0
    for start, end in cuts:
        pieces.append(body[at:start])
        comma = _COMMA.match(body, end)
        at = comma.end() if comma else end
        if not comma:  # the last member: the comma before it goes, too
            joined = b"".join(pieces).rstrip(b" \t\n\r")
            pieces = [joined.removesuffix(b",")]
    return b"".join([*pieces, body[at:]])


def exchanged(body: bytes, value: dict[str, Any], leaves: Collection[str], joins: dict[str, Any]) -> bytes:
    """The body without some members of its top level and with others at its end; every other byte stays. value: the body, parsed."""
    shortened = without(body, value, leaves)
    if not joins:
        return shortened
    member = jsontext.dumps(joins)[1:-1]
    brace = shortened.rindex(b"}")
    rest = any(name not in leaves for name in value)
    return _replaced(shortened, (brace, brace), b"," + member if rest else member)


def shift_number(data: bytes, key: str, by: int) -> bytes:
    """The data of one frame with a number of its top level raised; the same object where no whole number stands there."""
    try:
        value = jsontext.loads(data)
    except ValueError:
        return data
    number = value.get(key) if isinstance(value, dict) else None
    if type(number) is not int:
        return data
    place = _places(data, value, (key,), _is_plain(data))[-1]
    return _replaced(data, (place, _end(data, place)), str(number + by).encode())


def _stream_at(body: bytes, scan: Scan) -> int | None:
    """The offset of the value of `stream`, None if not known. body: the scanned one, or the result of `replace_model`."""
    if scan.stream_at is None or scan.model_span is None or scan.stream_at < scan.model_span[0]:
        return scan.stream_at
    start, end = scan.model_span
    return scan.stream_at + _end(body, start) - end


def replace_answer_model(data: bytes, path: tuple[str, ...], name: str) -> bytes:
    """Return an answer, or the data of one frame, with another model name at `path`; the same object if there is no string.

    path: as in a shape's `model_at`. Never raises.
    """
    if b'"%b"' % path[-1].encode() not in data:
        return data
    if usual := _leading(path).match(data):
        return _replaced(data, usual.span(1), jsontext.dumps(name))
    try:
        places = _places(data, jsontext.loads(data), path, _is_plain(data))
    except ValueError:
        return data
    if not places or data[places[-1] : places[-1] + 1] != b'"':
        return data
    return _replaced(data, (places[-1], _end(data, places[-1])), jsontext.dumps(name))


def replace_members(body: bytes, key: str, holders: Callable[[dict[str, Any]], Iterable[dict[str, Any]]], text: bytes) -> bytes:
    """Return the body with another value of every member of this name in the objects that `holders` finds in the parsed body.

    text: JSON. Only strings, numbers and literals are replaced.
    """
    hits = _plain_keys(body, key) if _is_plain(body) else _keys(body, key)
    taken = set(_NUMBERED.findall(body))
    mark = next(str(number) for number in count() if b"%d" % number not in taken)
    selected = {name for holder in holders(jsontext.loads(_marked(body, hits, mark))) for name in holder}
    pieces, at = [], 0
    for number, (_, place) in enumerate(hits):
        if f"{mark}:{number}" in selected and body[place] not in b"{[":
            pieces += [body[at:place], text]
            at = _end(body, place)
    return b"".join([*pieces, body[at:]])


# ---- changing ----

LARGE = 4 * 1024 * 1024  # bytes; to copy more takes so long that it is to be done apart
_PIECE = 512 * 1024


def _replaced(body: bytes, span: Span, text: bytes) -> bytes:
    if len(body) <= LARGE:
        view = memoryview(body)  # copied only once
        return b"".join((view[: span[0]], text, view[span[1] :]))
    # twice, but others run meanwhile where this is not the loop's thread: between two pieces, and while bytes objects are joined
    return b"".join((*_pieces(body, 0, span[0]), text, *_pieces(body, span[1], len(body))))


def _pieces(body: bytes, start: int, end: int) -> Iterator[bytes]:
    return (body[at : min(at + _PIECE, end)] for at in range(start, end, _PIECE))


def _appended(body: bytes, member: bytes, scan: Scan) -> bytes:
    """Insert a member before the closing brace of the body. scan: of the body, or of what it was before another member was inserted."""
    brace = body.rindex(b"}")
    empty = not scan.value and b'"' not in body
    return _replaced(body, (brace, brace), member if empty else b"," + member)


# ---- finding ----

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_SCALAR = re.compile(_STRING + rb'|[^"{}\[\],\s]++', re.DOTALL)
# an object without nested objects
_FLAT = re.compile(rb"\{(?:" + _STRING + rb'|[^"{}\[\]])*+\}', re.DOTALL)
# every string of a text, including the colon after a key
_ANY_KEY = re.compile(rb"(" + _STRING + rb")(\s*+:\s*+)?", re.DOTALL)
# an ASCII letter or underscore written as an escape
_ESCAPED_LETTER = re.compile(rb"\\u00[567]")


# a string, or what opens or closes a container
_MARK = re.compile(_STRING + rb"?|[][{}]", re.DOTALL)
_COMMA = re.compile(rb"[ \t\n\r]*+,")
_NUMBERED = re.compile(rb'"([0-9]++):')  # a string that begins as those of `_marked` do


def value_end(text: bytes, place: int) -> int:
    """Where the value of any kind that begins at `place` ends. The text is valid JSON."""
    if text[place] not in b"{[":
        return _end(text, place)
    depth = 0
    for mark in _MARK.finditer(text, place):
        first = text[mark.start()]
        depth += (first in b"{[") - (first in b"}]")
        if not depth:
            return mark.end()
    return len(text)


def _end(text: bytes, place: int) -> int:
    """The end of the string, number or literal that starts at `place`."""
    scalar = _SCALAR.match(text, place)
    return scalar.end() if scalar else place


def _is_plain(text: bytes) -> bool:
    """Whether all keys that are ASCII names are written without escapes."""
    return not _ESCAPED_LETTER.search(text)


def count_members(text: bytes, keys: Iterable[str]) -> Generator[None, None, dict[str, int]]:
    """Count the members of these names in JSON text, at any depth, in short steps. keys: of lower-case letters and underscores.

    With very long white space between a name and its colon, the count may be too low.
    """
    counts = dict.fromkeys(keys, 0)
    if _is_plain(text):
        for key in counts:
            for begin in range(0, len(text), SLICE):
                hits = _key(key).finditer(text, begin, begin + SLICE + OVERLAP)
                counts[key] += sum(hit.start() < begin + SLICE for hit in hits)
                yield
        return counts
    for number, hit in enumerate(_ANY_KEY.finditer(text)):
        if number % 1024 == 0:
            yield
        if hit[2] and len(hit[1]) <= LONGEST_KEY:
            key = jsontext.loads(hit[1]) if b"\\" in hit[1] else hit[1][1:-1].decode()
            if key in counts:
                counts[key] += 1
    return counts


def _places(text: bytes, value: Any, path: tuple[str, ...], plain: bool) -> list[int]:
    """The offsets of the values of the member at `path`: several if the key is duplicated. value: the parsed text."""
    return [end for _, end in _spans(text, value, path, plain)]


def _spans(text: bytes, value: Any, path: tuple[str, ...], plain: bool) -> list[Span]:
    """Where the key of each member at `path` begins, and its value."""
    level = value if len(path) == 1 and isinstance(value, dict) else _at(value, path[:-1])
    if path[-1] not in level:
        return []
    hits = _plain_keys(text, path[-1]) if plain else _keys(text, path[-1])
    if len(hits) > 1:
        taken = {key.partition(":")[0] for key in level}
        mark = next(str(number) for number in count() if str(number) not in taken)
        renamed = _at(jsontext.loads(_marked(text, hits, mark)), path[:-1])
        hits = [hit for number, hit in enumerate(hits) if f"{mark}:{number}" in renamed]
    return hits


def _at(value: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """The object at a path, {} if there is none."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _marked(text: bytes, hits: list[Span], mark: str) -> bytes:
    """The text with the key of each hit renamed to "mark:number"."""
    pieces = []
    position = 0
    for number, (start, end) in enumerate(hits):
        pieces += [text[position:start], b'"%b:%d":' % (mark.encode(), number)]
        position = end
    return b"".join([*pieces, text[position:]])


def _plain_keys(text: bytes, key: str) -> list[Span]:
    """The spans of all members of this name at any depth, from the key's quote to the value."""
    return [hit.span() for hit in _key(key).finditer(text)]


def _keys(text: bytes, key: str) -> list[Span]:
    """As `_plain_keys`, for keys with escapes."""
    quoted = b'"%b"' % key.encode()
    hits = _ANY_KEY.finditer(text)
    return [hit.span() for hit in hits if hit[2] and (hit[1] == quoted or (b"\\u" in hit[1] and jsontext.loads(hit[1]) == key))]


@cache
def _key(key: str) -> re.Pattern[bytes]:
    # a quote after a backslash is inside a string; one that ends a string is never followed by a letter
    quoted = b'"%b"' % key.encode()
    return re.compile(quoted + rb"(?<!\\" + quoted + rb")\s*+:\s*+")


@cache
def _leading(path: tuple[str, ...]) -> re.Pattern[bytes]:
    """A pattern for the string at a path that is only preceded by strings, numbers and literals, the most frequent case."""
    pattern = b""
    for step in path:
        quoted = b'"%b"' % step.encode()
        plain = rb"(?!" + quoted + rb')"[^"\\]*+"\s*+:\s*+(?:' + _STRING + rb'|[^"{}\[\],\s]++)\s*+,\s*+'
        pattern += rb"\s*+\{\s*+(?:" + plain + rb")*+" + quoted + rb"\s*+:\s*+"
    return re.compile(pattern + rb"(" + _STRING + rb")", re.DOTALL)
