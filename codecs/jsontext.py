"""JSON text: parsing what orjson rejects, and processing JSON that arrives in pieces.

`loads` and `dumps` call orjson, with a slower fallback for what JSON allows and orjson does not: lone surrogates (some providers split
an emoji), integers beyond 64 bits, deep nesting. The classes process text that arrives in deltas; each instance holds the state of
one stream of text.

Nothing here repairs JSON, except `arguments_to_input` for arguments cut off by the token limit.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, NoReturn

import orjson

INVALID = "INVALID_JSON"  # Anthropic's convention for arguments that are not valid JSON: {"INVALID_JSON": the text}

_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_OR_ESCAPE = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")
_ROUNDED = 2.0**63
_HALF = re.compile(rb"\\(?:\\|u(d[89a-f][0-9a-f]{2}))")  # as `dumps` writes it; a literal backslash is two


def _refuse(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not JSON")


def _finite(literal: str) -> float:
    number = float(literal)
    return number if isfinite(number) else _refuse("a number beyond a double")


_PATIENT = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def loads(data: bytes | str, errors: str = "replace") -> Any:
    """As `orjson.loads`, but lone surrogates are preserved in strings and one leading BOM is skipped.

    errors: how bytes that are not UTF-8 are handled, as for `bytes.decode`; "strict" rejects them.
    Raises ValueError (also for NaN, Infinity and numbers outside the range of a double).
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    return loads_refused(data, errors)


def loads_refused(data: bytes | str, errors: str = "replace") -> Any:
    """As `loads`, for text that orjson has refused."""
    text = (data if isinstance(data, str) else data.decode("utf-8", errors)).removeprefix("\ufeff")
    if not _SURROGATE_OR_ESCAPE.search(text):
        return orjson.loads(text)
    try:
        return _PATIENT.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_json(text: str) -> bool:
    try:
        loads(text)
    except ValueError:
        return False
    return True


def described(data: bytes) -> str:
    """Describe invalid JSON for a log: its length and where it is invalid. The description does not quote the data."""
    form = "text"
    if data.lstrip().startswith(b"<"):
        form = "markup"
    elif data.lstrip().startswith((b"{", b"[")):
        try:
            loads(data)
            form = "JSON"
        except ValueError as error:
            form = f"broken JSON, {error}"
    return f"{len(data)} bytes, {form}"


def dumps(value: Any) -> bytes:
    """Return compact JSON in UTF-8, as `orjson.dumps`; lone surrogates become escapes. value: a tree of JSON types."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return _patient_dumps(value)


def dumps_whole(value: Any) -> bytes:
    """As `dumps`, with U+FFFD in the place of lone surrogates, which many servers refuse."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return _HALF.sub(lambda match: b"\\ufffd" if match[1] else match[0], _patient_dumps(value))


def trimmed(text: bytes) -> bytes:
    """The same bytes in as much memory as they need, for text that is kept: orjson leaves what it writes in blocks of up to ten times
    its size, 4 kB at least."""
    return bytes(memoryview(text))


def joined(first: bytes, second: bytes) -> bytes:
    """One JSON array of the elements of two, each as compact as `dumps` writes it."""
    if first == b"[]" or second == b"[]":
        return second if first == b"[]" else first
    return b"".join((memoryview(first)[:-1], b",", memoryview(second)[1:]))


def _patient_dumps(value: Any) -> bytes:
    pieces: list[str] = []
    todo: list[Any] = [value]  # a stack, not recursion, because the depth is untrusted; punctuation is stacked as bytes
    while todo:
        item = todo.pop()
        if isinstance(item, bytes):
            pieces.append(item.decode())
        elif isinstance(item, dict):
            members = [piece for key, member in item.items() for piece in (b",", key, b":", member)]
            todo += [b"}", *reversed(members[1:]), b"{"]
        elif isinstance(item, list | tuple):
            members = [piece for member in item for piece in (b",", member)]
            todo += [b"]", *reversed(members[1:]), b"["]
        elif isinstance(item, str):
            pieces.append(_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(item, ensure_ascii=False)))
        else:
            pieces.append(str(item) if type(item) is int else orjson.dumps(item).decode())
    return "".join(pieces).encode()


def mended(value: Any) -> Any:
    """The value with lone surrogates in its strings replaced by U+FFFD."""
    try:
        orjson.dumps(value)
        return value
    except TypeError:
        text = dumps_whole(value).decode()
    try:
        return _PATIENT.decode(text)  # long numbers stay exact
    except RecursionError:
        return orjson.loads(text)


# ---- complete arguments ----


def arguments_to_input(raw: str, truncated: bool = False) -> dict[str, Any]:
    """Convert a call's arguments (the OpenAI shapes' JSON text) to the messages shape's input object.

    Text after the first object is ignored, an empty text and null become {}, anything else is returned under INVALID_JSON. truncated:
    the provider reported that the token limit cut off the answer; the arguments are then repaired (strings and brackets are closed, a
    dangling key is dropped), or {} if no object had started.
    """
    try:
        parsed = orjson.loads(raw)  # nearly always an object
    except ValueError:
        parsed = None
    if type(parsed) is dict and not _is_rounded(parsed):
        return parsed
    text = raw.strip()
    if text in ("", "null"):
        return {}
    value = _first_value(text)
    if isinstance(value, dict):
        return value
    return _repaired(text) if truncated else {INVALID: raw}


def _first_value(text: str) -> Any:
    """The JSON value at the start of the text; None if there is none. Long integers stay exact."""
    try:
        value = loads(text)
        if not _is_rounded(value):
            return value
    except ValueError:
        pass
    try:
        return _PATIENT.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def _is_rounded(value: Any) -> bool:
    """Whether it may hold an integer of more than 64 bits: orjson makes a float of it."""
    waiting = [value]
    for item in waiting:  # which grows
        kind = type(item)
        if kind is str or kind is int:
            continue
        if kind is dict:
            waiting += item.values()
        elif kind is list:
            waiting += item
        elif kind is float and not -_ROUNDED < item < _ROUNDED:
            return True
    return False


def input_to_arguments(value: Any) -> str:
    """Convert the messages shape's input object to JSON text; text is returned unchanged. Reverts the INVALID_JSON convention."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get(INVALID), str):
        raw: str = value[INVALID]
        return raw
    return argument_text(value)


def argument_text(value: Any) -> str:
    """A call's arguments as text, for servers that send text, the value itself, or nothing."""
    if isinstance(value, str):
        return value
    return "" if value is None else dumps(value).decode()


# a string may lack its end; the escape of a high surrogate at the end of the text is not matched
_TOKEN = re.compile(
    r"""[ \t\n\r]*+(?:
        (?P<string>"(?:[^"\\\x00-\x1f]++
            |\\(?:["\\/bfnrt]|u(?![dD][89abAB]..(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z)[0-9a-fA-F]{4}))*+)(?P<quote>"?)
        |(?P<scalar>true|false|null|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)
        |(?P<mark>[][{}:,]))""",
    re.VERBOSE,
)
_CLOSER = {"{": "}", "[": "]"}
# what may follow, as a set of tokens: " for a string, 0 for another scalar, or the punctuation itself
_FIRST_KEY, _KEY, _COLON, _VALUE, _FIRST_VALUE = '"}', '"', ":", '"0{[', '"0{[]'


def _repaired(text: str) -> dict[str, Any]:
    """The object from the longest prefix of the text that becomes valid by closing brackets; {} if there is none."""
    expected = "{"
    closers: list[str] = []
    valid_end = position = 0  # text[:valid_end] is valid except for its open brackets, which are those at `position`
    quote = ""
    while expected and (token := _TOKEN.match(text, position)):
        kind = token["mark"] or ('"' if token["string"] else "0")
        if kind not in expected:
            break
        is_key = kind == '"' and expected in (_KEY, _FIRST_KEY)
        position = token.end()
        if kind == '"' and not token["quote"]:
            if not is_key:
                valid_end, quote = position, '"'
            break
        expected = _COLON if is_key else _after(kind, closers)
        if not is_key and kind not in ",:":
            valid_end = position
    value = _first_value(text[:valid_end] + quote + "".join(reversed(closers)))
    return value if isinstance(value, dict) else {}


_PART_OF_A_TOKEN = re.compile(r"-|\.|[eE][+-]?|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?")


def may_become_object(text: str) -> bool:
    """Whether the text may be the beginning of a JSON object."""
    expected, position = "{", 0
    closers: list[str] = []
    while token := _TOKEN.match(text, position):
        kind = token["mark"] or ('"' if token["string"] else "0")
        if kind not in expected:
            return False
        if kind == '"' and not token["quote"]:
            return True
        position = token.end()
        expected = _COLON if kind == '"' and expected in (_KEY, _FIRST_KEY) else _after(kind, closers)
    rest = text[position:].strip(" \t\n\r")
    return not rest or _PART_OF_A_TOKEN.fullmatch(rest) is not None


def _after(kind: str, closers: list[str]) -> str:
    """The tokens that may follow one that is not a key. Opens and closes brackets."""
    if kind == ":":
        return _VALUE
    if kind == ",":
        return _KEY if closers[-1] == "}" else _VALUE
    if kind in _CLOSER:
        closers.append(_CLOSER[kind])
        return _FIRST_KEY if kind == "{" else _FIRST_VALUE
    if kind in "]}":
        closers.pop()
    return "," + closers[-1] if closers else ""


# ---- text in deltas ----

_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+("?)|[{\[]|[}\]]', re.DOTALL)
_STRING_REST = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)


class ObjectScanner:
    """Finds the end of a JSON object or array that arrives in pieces.

    complete: whether its last bracket was read. Only strings, escapes and brackets are tracked; other syntax is not checked.
    """

    def __init__(self) -> None:
        self.complete = False
        self._depth = 0
        self._in_string = False
        self._escaped = False  # the last text ended after the backslash of an escape

    def feed(self, text: str) -> int | None:
        """Return None if the value continues; else the number of characters of this text that belong to it (0 after its end)."""
        if self.complete:
            return 0
        position = self._string_end(text, 0) if self._in_string else 0
        while not self._in_string and (token := _STRUCTURE.search(text, position)):
            position = token.end()
            mark = token[0][0]
            if mark == '"':
                if not token[1]:
                    self._in_string = True
                    self._escaped = False
                    position = self._string_end(text, token.start() + 1)
            elif mark in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    self.complete = True
                    return position
        return None

    def _string_end(self, text: str, position: int) -> int:
        """Scan inside a string. Returns the position of its end, or of the end of the text."""
        if self._escaped and text:
            self._escaped = False
            position += 1
        rest = _STRING_REST.match(text, position)
        position = rest.end() if rest else position
        if position == len(text):
            return position
        if text[position] == '"':
            self._in_string = False
            return position + 1
        self._escaped = True  # only a backslash at the end stops the match
        return position + 1


class SurrogateJoiner:
    """Joins surrogate pairs split between two deltas; a lone surrogate becomes U+FFFD."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        if not self._held and (text.isascii() or not _SURROGATE.search(text)):
            return text
        text = self._held + text
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held = text[-1]
            text = text[:-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def finish(self) -> str:
        held, self._held = self._held, ""
        return "\ufffd" if held else ""


_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_INPUT_OPENING = ("{", '"input"', ":", '"')
_LONGEST_OPENING = 1024  # characters; a longer one is mostly white space, scanned again with every delta
# text up to an incomplete escape; invalid escapes count as complete and stay unchanged
_WHOLE = re.compile(r'(?:[^"\\]++|\\[^u]|\\u(?![0-9a-fA-F]{0,3}\Z))*+', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([^u]))", re.DOTALL)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _ESCAPES.get(match[2], match[0])


class InputUnwrapper:
    """Extracts a custom tool's free text from the function arguments that contain it, {"input": "…"}, as they arrive.

    Text after the closing quote is ignored. Invalid escapes stay unchanged.
    """

    def __init__(self) -> None:
        self._state = "opening"  # then "text", then "over"; or "foreign" if the arguments have another form
        self._held = ""  # the opening so far, then an incomplete escape
        self._foreign: list[str] = []
        self._joiner = SurrogateJoiner()

    def feed(self, text: str) -> str:
        """Return the next piece of the free text, "" if there is none yet."""
        if self._state == "opening":
            text = self._opened(text)
        if self._state == "text":
            return self._decoded(text)
        if self._state == "foreign":
            self._foreign.append(text)
        return ""

    def finish(self) -> str:
        """Return the remaining text: the raw arguments unless they are an object with only a string `input`."""
        raw = self._held if self._state == "opening" else "".join(self._foreign)
        try:
            value = loads(raw)
        except ValueError:
            value = None
        if isinstance(value, dict) and value.keys() == {"input"} and isinstance(value["input"], str):
            raw = value["input"]
        return self._joiner.feed(raw) + self._joiner.finish()

    def _opened(self, text: str) -> str:
        """Decide the state once the opening allows it. Returns the text after the opening, or all text if foreign."""
        raw = self._held + text
        length = _opening(raw)
        if length == 0 and len(raw) < _LONGEST_OPENING:
            self._held = raw
            return ""
        self._held = ""
        self._state = "text" if length > 0 else "foreign"
        return raw[max(length, 0) :]

    def _decoded(self, text: str) -> str:
        raw = self._held + text
        if "\\" not in raw and '"' not in raw:
            return self._joiner.feed(raw)
        whole = _WHOLE.match(raw)
        end = whole.end() if whole else 0
        self._held = raw[end:]
        if self._held.startswith('"'):
            self._held = ""
            self._state = "over"
        return self._joiner.feed(_ESCAPE.sub(_unescaped, raw[:end]))


def _opening(raw: str) -> int:
    """The length of `{"input":"` at the start of raw, including white space; 0 if incomplete, -1 if it is something else."""
    position = 0
    for token in _INPUT_OPENING:
        position = len(raw) - len(raw[position:].lstrip(" \t\n\r"))
        piece = raw[position : position + len(token)]
        if piece != token:
            return 0 if token.startswith(piece) else -1
        position += len(token)
    return position
