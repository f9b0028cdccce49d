"""Find the `model` field of a multipart form (RFC 7578), such that no parser of the form can find another one.

A form is passed to its upstream unchanged except for the model's name. The name checked by the gateway must be the one the upstream
uses, and parsers differ: some split at a bare line feed, some ignore case, some decode `\\"` or `%6d`, some use the first of two
fields and some the last. This parser therefore only accepts forms that all of them parse equally, and refuses others. It accepts what
clients send: a boundary, CRLF, quoted names, files of any content.

Strategy: the boundary may only occur in delimiters, so that contents are skipped with bytes.find. Only the heads of the parts are
parsed, and they are few and short.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from . import errors

MOST_PARTS = 256
MOST_HEAD = 8192  # bytes of one part's head
MOST_NAME = 256  # bytes of the model's name

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# a quote after a backslash ends the string for some parsers only: it is not matched
_PARAMETER = re.compile(rf';[ \t]*+({_TOKEN})=(?:"((?:[^"\\\r\n]++|\\(?!"))*+)"|({_TOKEN}))[ \t]*+')
_FIELD = re.compile(rf"({_TOKEN}):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)")
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_NOT_PRINTED = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN_CODINGS = ("7bit", "8bit", "binary")
_PLAIN_CHARSETS = ("utf-8", "us-ascii")


class Part(NamedTuple):
    """A part. head: header fields by lower-case name. start, end: byte offsets of the content in the body."""

    head: dict[str, str]
    start: int
    end: int


class Model(NamedTuple):
    """The model's name. start, end: its byte offsets in the body."""

    name: str
    start: int
    end: int


def find_model(body: bytes, content_type: str) -> Model | None:
    """Return the form's `model` field; None if there is none. content_type: the request's header.

    Raises errors.Malformed for an invalid form, or one that parsers could interpret differently.
    """
    model = None
    for part in _parts(body, _boundary(content_type)):
        name, plain = _name(part.head)
        if name != "model":
            _refuse_lookalike(name)
            continue
        if model is not None:
            raise _refused("`model` stands twice in the form")
        if not plain:
            raise _refused("the form's `model` is not plain text")
        model = Model(_value(body[part.start : part.end]), part.start, part.end)
    return model


def _refused(why: str) -> errors.Malformed:
    return errors.Malformed(f"The request body cannot be read as a form: {why}.", code="invalid_form", param="model")


def _boundary(content_type: str) -> bytes:
    kind, parameters = _parameters(content_type)
    if kind.lower() != "multipart/form-data":
        raise _refused("its content type is not multipart/form-data")
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise _refused("its boundary is missing or malformed")
    return boundary.encode()


def _parameters(value: str) -> tuple[str, dict[str, str]]:
    """Return a header's value and its parameters by lower-case name. Raises Malformed for a duplicate one."""
    at = value.find(";")
    kind = value if at < 0 else value[:at]
    parameters: dict[str, str] = {}
    while 0 <= at < len(value):
        parameter = _PARAMETER.match(value, at)
        if parameter is None:
            raise _refused("a parameter of a header is malformed")
        name = parameter[1].lower()
        if name in parameters:
            raise _refused(f"the parameter {name[:40]} stands twice")
        parameters[name] = parameter[3] if parameter[2] is None else parameter[2]
        at = parameter.end()
    return kind.strip(" \t"), parameters


def _parts(body: bytes, boundary: bytes) -> Iterator[Part]:
    """Every part of the form, in order."""
    delimiter = b"\r\n--" + boundary
    if not body.startswith(delimiter[2:]):
        raise _refused("it does not begin with its boundary")
    at, seen = len(delimiter) - 2, 1
    while body[at : at + 2] == b"\r\n":
        if seen > MOST_PARTS:
            raise _refused(f"it has more than {MOST_PARTS} parts")
        # a part without a head starts with the blank line: it cannot be `model`, and parsers differ on it
        blank = body.find(b"\r\n\r\n", at, at + MOST_HEAD)
        end = body.find(delimiter, at)
        if not at < blank <= end - 4:
            raise _refused("a part does not end, or its head is missing or too long")
        yield Part(_head(body[at + 2 : blank]), blank + 4, end)
        at, seen = end + len(delimiter), seen + 1
    if body[at:] not in (b"--", b"--\r\n"):
        raise _refused("its end is not where it should be")
    if body.count(delimiter[2:]) != seen:
        raise _refused("its boundary stands within a part")


def _head(raw: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in raw.decode("latin-1").split("\r\n"):
        field = _FIELD.fullmatch(line)
        if field is None:
            raise _refused("a header of a part is malformed")
        name = field[1].lower()
        if name in headers:
            raise _refused(f"the header {name[:40]} of a part stands twice")
        headers[name] = field[2]
    return headers


def _name(head: dict[str, str]) -> tuple[str, bool]:
    """Return a part's name, and whether its content is plain text without further encoding."""
    kind, parameters = _parameters(head.get("content-disposition", ""))
    if kind.lower() != "form-data" or "name" not in parameters:
        raise _refused("a part has no name")
    if any(name.startswith("name*") for name in parameters):
        raise _refused("the name of a part is encoded")
    media, options = _parameters(head.get("content-type", "text/plain"))
    plain = (
        parameters.keys() == {"name"}
        and media.lower() == "text/plain"
        and options.get("charset", "utf-8").lower() in _PLAIN_CHARSETS
        and head.get("content-transfer-encoding", "8bit").strip(" \t").lower() in _PLAIN_CODINGS
    )
    return parameters["name"], plain


def _refuse_lookalike(name: str) -> None:
    """Raises Malformed for a name that some parser treats as `model`, or that changes how others are decoded."""
    text = name.encode("latin-1").decode("utf-8", "replace")
    letters = unicodedata.normalize("NFKC", unquote(text)).casefold().replace("\\", "").strip(" \t\"'")
    if letters.partition("[")[0].partition("\0")[0].strip() in ("model", "_charset_"):
        raise _refused("a field is named nearly like `model`" if "model" in letters else "it names its own charset")


def _value(content: bytes) -> str:
    try:
        name = content.decode("utf-8") if len(content) <= MOST_NAME else ""
    except UnicodeDecodeError:
        name = ""
    if not name or _NOT_PRINTED.search(name):
        raise _refused(f"`model` is not a name of at most {MOST_NAME} bytes in one line")
    return name
